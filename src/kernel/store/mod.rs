//! The local store of kernels: `$XDG_DATA_HOME/bootdisk/kernels`, else `$HOME/.local/share/bootdisk/kernels`.
//!
//! ```text
//! lock                      held while an entry appears or disappears
//! default-x86_64            the identifier of that architecture's default
//! IDENTIFIER/               SHA-256 over what the kernel is, in hexadecimal (see entry.rs)
//!   manifest.json  boot  config  modules.builtin  modules.builtin.modinfo  modules.order
//!   modules.index  modules.info  modules.pack
//! .new-XXXXXX/              an entry that is being written, locked by who writes it
//! ```
//!
//! An entry is written under a temporary name and renamed when it is whole, so a reader sees all of it or nothing, and
//! two who add the same kernel at once end with one entry. Specification: XDG Base Directory Specification.

mod entry;
pub mod pack;

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

pub use entry::Entry;

use super::{Bundle, Given, KernelError};
use crate::arch::Arch;
use crate::file_lock::Locked;
use crate::own_folder;
use crate::whole_file;

/// Prefix of entries that are being written.
const NEW: &str = ".new-";
/// Shortest prefix of an identifier that stands for it.
const MIN_PREFIX: usize = 4;

/// A store. It need not exist before something is added.
#[derive(Clone, Debug)]
pub struct Store {
    dir: PathBuf,
}

/// What [`Store::add`] did.
#[derive(Clone, Debug)]
pub struct Added {
    /// The entry.
    pub entry: Entry,
    /// False when the store had it already.
    pub new: bool,
    /// It is now its architecture's default, because there was none.
    pub became_default: bool,
}

impl Store {
    /// The user's store.
    pub fn of_user() -> Result<Store, KernelError> {
        Store::of(std::env::var_os("XDG_DATA_HOME"), std::env::var_os("HOME"))
    }

    /// The store of a user with these variables. The specification has relative paths ignored.
    fn of(data_home: Option<OsString>, home: Option<OsString>) -> Result<Store, KernelError> {
        let absolute = |value: Option<OsString>| value.map(PathBuf::from).filter(|path| path.is_absolute());
        let data = absolute(data_home).or_else(|| absolute(home).map(|home| home.join(".local/share")));
        Ok(Store::at(own_folder::within(&data.ok_or(KernelError::NoStore)?, "bootdisk/kernels")?))
    }

    /// The store in `dir`.
    pub fn at(dir: impl Into<PathBuf>) -> Store {
        Store { dir: dir.into() }
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Adds a kernel: a boot file, a package or a directory, with the modules directory and the configuration that
    /// belong to it, if they are elsewhere. The first kernel of an architecture becomes its default.
    pub fn add(&self, kernel: &Path, modules: Option<&Path>, config: Option<&Path>) -> Result<Added, KernelError> {
        let given = Given { files: &[kernel.to_owned()], modules, config, keys: None };
        self.add_given(&given, &mut |_, _| {})
    }

    /// As [`Store::add`], of all that was given. `observe` hears how many modules and how many bytes of them have been
    /// taken. A kernel that is there already and is signed now is remembered as signed.
    pub fn add_given(&self, given: &Given<'_>, observe: &mut dyn FnMut(usize, u64)) -> Result<Added, KernelError> {
        let (place, _in_use) = {
            // Under the lock: between the two steps another's sweep would take it for a leftover.
            let _lock = self.lock()?;
            let place = tempfile::Builder::new().prefix(NEW).tempdir_in(&self.dir);
            let place = place.map_err(KernelError::io("write", &self.dir))?;
            let in_use = lock(place.path(), Locked::wait)?;
            (place, in_use)
        };
        let id = entry::write(place.path(), given, observe)?;

        let _lock = self.lock()?;
        self.sweep()?;
        let target = self.dir.join(&id);
        let name = place.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        let written = Entry::open(&self.dir, &name)?;
        // Before the entry has its name: until then nobody takes it for one, and afterwards nothing is missing.
        let became_default = self.default_id(written.arch)?.is_none();
        if became_default {
            self.write_default(written.arch, &id)?;
        }
        let new = match Entry::open(&self.dir, &id).and_then(|old| old.check().map(|()| old)) {
            Ok(mut old) => {
                if !written.signed().is_empty() {
                    old.adopt_proof(written)?;
                }
                false
            }
            Err(_) => {
                // Nothing there, or something damaged that the new one mends.
                remove_dir(&target)?;
                fs::rename(place.keep(), &target).map_err(KernelError::io("write", &target))?;
                sync_dir(&self.dir)?;
                true
            }
        };
        Ok(Added { entry: Entry::open(&self.dir, &id)?, new, became_default })
    }

    /// All entries, by release, then identifier. A damaged one is an error in its place.
    pub fn list(&self) -> Result<Vec<Result<Entry, KernelError>>, KernelError> {
        let mut entries: Vec<_> = self.ids()?.iter().map(|id| Entry::open(&self.dir, id)).collect();
        entries.sort_by_key(|entry| entry.as_ref().ok().map(|entry| (entry.release.clone(), entry.id.clone())));
        Ok(entries)
    }

    /// The entry called `name`: an identifier or a prefix of one (4 digits or more), a release, or `default`.
    pub fn find(&self, name: &str) -> Result<Entry, KernelError> {
        self.find_for(name, None)
    }

    /// As [`Store::find`]; `default` is that of `arch`. Where nothing says which, it is the only one there is, and of
    /// several this host's.
    pub fn find_for(&self, name: &str, arch: Option<Arch>) -> Result<Entry, KernelError> {
        if name == "default" {
            return arch.map_or_else(|| self.the_default(), |arch| self.default_entry(arch));
        }
        let by_id = |id: &&String| name.len() >= MIN_PREFIX && id.starts_with(name);
        let ids = self.ids()?;
        let mut fits: Vec<String> = ids.iter().filter(by_id).cloned().collect();
        if fits.is_empty() {
            let entries = self.list()?.into_iter().filter_map(Result::ok);
            fits = entries.filter(|entry| entry.release == name).map(|entry| entry.id).collect();
        }
        match fits.as_slice() {
            [id] => Entry::open(&self.dir, id),
            [] => Err(KernelError::Unknown(name.to_owned())),
            several => {
                let short: Vec<&str> = several.iter().map(|id| &id[..12]).collect();
                Err(KernelError::Ambiguous { fits: short.join(", "), name: name.to_owned() })
            }
        }
    }

    /// The default of an architecture.
    pub fn default_entry(&self, arch: Arch) -> Result<Entry, KernelError> {
        match self.default_id(arch)? {
            Some(id) => Entry::open(&self.dir, &id),
            None => Err(self.no_default(Some(arch))?),
        }
    }

    /// The entries that are an architecture's default.
    pub fn defaults(&self) -> Result<Vec<Entry>, KernelError> {
        let ids = Arch::ALL.into_iter().filter_map(|arch| self.default_id(arch).transpose());
        ids.map(|id| Entry::open(&self.dir, &id?)).collect()
    }

    fn the_default(&self) -> Result<Entry, KernelError> {
        let mut defaults = self.defaults()?;
        let host = Arch::from_name(std::env::consts::ARCH);
        match (defaults.len(), defaults.iter().position(|entry| Some(entry.arch) == host)) {
            (0, _) => Err(self.no_default(None)?),
            (1, _) => Ok(defaults.remove(0)),
            (_, Some(of_host)) => Ok(defaults.remove(of_host)),
            (_, None) => {
                let fits: Vec<&str> = defaults.iter().map(|entry| entry.release.as_str()).collect();
                Err(KernelError::Ambiguous { fits: fits.join(", "), name: "default".to_owned() })
            }
        }
    }

    fn no_default(&self, arch: Option<Arch>) -> Result<KernelError, KernelError> {
        let fits = |entry: &Entry| arch.is_none_or(|arch| entry.arch == arch);
        let stored = self.list()?.into_iter().filter_map(Result::ok).rfind(fits).map(|entry| entry.release);
        Ok(KernelError::NoDefault { arch, stored })
    }

    /// The bundle of an architecture's default.
    pub fn default_bundle(&self, arch: Arch) -> Result<Bundle, KernelError> {
        self.default_entry(arch)?.bundle()
    }

    /// Makes an entry its architecture's default.
    pub fn set_default(&self, entry: &Entry) -> Result<(), KernelError> {
        let _lock = self.lock()?;
        self.write_default(entry.arch, &entry.id)
    }

    /// Removes an entry. If it was the default, its architecture has none until one is added or chosen.
    pub fn remove(&self, entry: &Entry) -> Result<(), KernelError> {
        self.remove_id(&entry.id)
    }

    /// Removes the entry called `name` (see [`Store::find`]), damaged or not.
    pub fn remove_by_name(&self, name: &str) -> Result<String, KernelError> {
        let id = match self.find(name) {
            Ok(entry) => entry.id,
            Err(KernelError::Damaged { id, .. }) => id,
            Err(error) => return Err(error),
        };
        self.remove_id(&id)?;
        Ok(id)
    }

    fn remove_id(&self, id: &str) -> Result<(), KernelError> {
        let _lock = self.lock()?;
        for arch in Arch::ALL {
            if self.default_id(arch)?.as_deref() == Some(id) {
                let path = self.default_path(arch);
                fs::remove_file(&path).map_err(KernelError::io("write", &path))?;
            }
        }
        // Out of sight in one step, then gone: a half-removed entry is never seen under its name.
        let trash = tempfile::Builder::new().prefix(NEW).tempdir_in(&self.dir);
        let trash = trash.map_err(KernelError::io("write", &self.dir))?;
        let from = self.dir.join(id);
        fs::rename(&from, trash.path().join("entry")).map_err(KernelError::io("write", &from))?;
        trash.close().map_err(KernelError::io("write", &self.dir))
    }

    /// The identifier of an architecture's default, if it has one that exists.
    pub fn default_id(&self, arch: Arch) -> Result<Option<String>, KernelError> {
        let path = self.default_path(arch);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text.trim().to_owned()).filter(|id| is_id(id) && self.dir.join(id).is_dir())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(KernelError::io("read", path)(error)),
        }
    }

    fn default_path(&self, arch: Arch) -> PathBuf {
        self.dir.join(format!("default-{arch}"))
    }

    fn write_default(&self, arch: Arch, id: &str) -> Result<(), KernelError> {
        replace_file(&self.default_path(arch), format!("{id}\n").as_bytes())
    }

    fn ids(&self) -> Result<Vec<String>, KernelError> {
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(KernelError::io("read", &self.dir)(error)),
        };
        let mut ids = Vec::new();
        for entry in entries {
            let entry = entry.map_err(KernelError::io("read", &self.dir))?;
            ids.extend(entry.file_name().to_str().filter(|name| is_id(name)).map(str::to_owned));
        }
        ids.sort();
        Ok(ids)
    }

    fn lock(&self) -> Result<Locked, KernelError> {
        own_folder::make(&self.dir)?;
        let path = self.dir.join("lock");
        File::create(&path).map_err(KernelError::io("write", &path))?;
        lock(&path, Locked::wait)
    }

    /// Removes what an interrupted add or remove left: temporary entries that nobody holds.
    fn sweep(&self) -> Result<(), KernelError> {
        let entries = fs::read_dir(&self.dir).map_err(KernelError::io("read", &self.dir))?;
        for entry in entries.filter_map(Result::ok) {
            let left = entry.file_name().to_str().is_some_and(|name| name.starts_with(NEW));
            // Taken without waiting: whoever writes there holds it.
            if left && let Ok(_lock) = lock(&entry.path(), Locked::alone) {
                remove_dir(&entry.path())?;
            }
        }
        Ok(())
    }
}

fn is_id(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn lock(path: &Path, how: fn(File) -> io::Result<Locked>) -> Result<Locked, KernelError> {
    let file = File::open(path).map_err(KernelError::io("open", path))?;
    how(file).map_err(KernelError::io("lock", path))
}

/// Puts a file with these bytes in the place of the one at `path`: who reads it has the one or the other.
fn replace_file(path: &Path, bytes: &[u8]) -> Result<(), KernelError> {
    whole_file::write_synced(path, bytes).map_err(KernelError::io("write", path))
}

fn remove_dir(path: &Path) -> Result<(), KernelError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(KernelError::io("remove", path)(error)),
        _ => Ok(()),
    }
}

fn sync_dir(path: &Path) -> Result<(), KernelError> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(KernelError::io("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_folder_follows_the_specification() {
        let dir = |data: &str, home: &str| {
            let some = |text: &str| (!text.is_empty()).then(|| OsString::from(text));
            Store::of(some(data), some(home)).map(|store| store.dir().to_str().unwrap().to_owned())
        };
        assert_eq!(dir("/data", "/home/x").unwrap(), "/data/bootdisk/kernels");
        assert_eq!(dir("", "/home/x").unwrap(), "/home/x/.local/share/bootdisk/kernels");
        assert_eq!(dir("relative", "/home/x").unwrap(), "/home/x/.local/share/bootdisk/kernels");
        assert!(matches!(dir("relative", ""), Err(KernelError::NoStore)));
    }
}
