//! A kernel's modules directory (`/lib/modules/RELEASE`), in a directory, a package or the store.
//!
//! Names and paths are known at once; a module's bytes are read when asked for. What depmod makes (`modules.dep` and
//! the like) is neither read nor needed: packages do not carry it. Symbolic links in a directory are not followed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::place::{MAX_MODULE, module_file, module_name};
use crate::formats::unpack;
use crate::inputs;
use crate::kernel::KernelError;
use crate::kernel::modinfo::normal_name;
use crate::kernel::package::Source;
use crate::kernel::store::pack::{Facts, Pack};

/// Most bytes of modules kept in memory at once.
const MAX_KEPT: u64 = 512 << 20;
/// Names of the lists of [`Builtin`].
const BUILTIN_FILES: [&str; 3] = ["modules.builtin", "modules.builtin.modinfo", "modules.order"];
/// Longest of these lists, in bytes.
const MAX_LIST: u64 = 16 << 20;
/// Deepest directory below the modules directory.
const MAX_DEPTH: usize = 32;
/// Most modules; distributions have 4,000.
const MAX_MODULES: usize = 100_000;

/// Where the bytes are.
#[derive(Debug)]
pub(crate) enum Storage {
    /// The modules directory itself.
    Directory(PathBuf),
    /// Packages, the release the modules directory is named after, and modules kept when they were read.
    Package { sources: Vec<Source>, release: String, kept: BTreeMap<String, Vec<u8>> },
    /// An entry of the store.
    Pack(Pack),
}

/// The modules of one kernel.
#[derive(Debug)]
pub struct ModuleTree {
    /// Path below the modules directory by normalised name.
    paths: BTreeMap<String, String>,
    /// The lists of built-in modules, as they are in the modules directory.
    builtin: Builtin,
    builtin_names: OnceLock<BTreeSet<String>>,
    storage: Storage,
}

/// The lists that come with modules: which are part of the kernel, and which come first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Builtin {
    /// Text of `modules.builtin`: a path a line.
    pub list: Vec<u8>,
    /// `modules.builtin.modinfo`: `name.key=value`, NUL-terminated.
    pub modinfo: Vec<u8>,
    /// Text of `modules.order`: a path a line, in the order in which the kernel's build links them.
    pub order: Vec<u8>,
}

impl Builtin {
    /// See [`ModuleTree::builtin_names`].
    fn names(&self) -> BTreeSet<String> {
        let list = String::from_utf8_lossy(&self.list);
        let mut names: BTreeSet<String> = list.lines().filter_map(module_name).collect();
        let aliases = self.modinfo.split(|&b| b == 0).filter_map(|field| std::str::from_utf8(field).ok());
        let aliases = aliases.filter_map(|field| field.split_once('=')).filter(|(key, _)| key.ends_with(".alias"));
        names.extend(aliases.map(|(_, alias)| normal_name(alias)));
        names
    }

    /// The lists under their names.
    pub fn files(&self) -> [(&'static str, &[u8]); 3] {
        let [list, modinfo, order] = BUILTIN_FILES;
        [(list, &self.list), (modinfo, &self.modinfo), (order, &self.order)]
    }

    /// Takes a file of the modules directory if it is one of the lists.
    pub(crate) fn take(&mut self, path: &str, body: impl std::io::Read) -> std::io::Result<bool> {
        let place = match path {
            "modules.builtin" => &mut self.list,
            "modules.builtin.modinfo" => &mut self.modinfo,
            "modules.order" => &mut self.order,
            _ => return Ok(false),
        };
        let too_long = || std::io::Error::other(format!("{path} is larger than {MAX_LIST} bytes"));
        *place = unpack::read_bounded(body, MAX_LIST)?.ok_or_else(too_long)?;
        Ok(true)
    }
}

/// The path of a module in an initramfs, uncompressed, below the modules directory.
pub(crate) fn unpacked_path(path: &str) -> &str {
    [".gz", ".xz", ".zst"].iter().find_map(|end| path.strip_suffix(end)).unwrap_or(path)
}

impl ModuleTree {
    pub(crate) fn new(paths: Vec<String>, builtin: Builtin, storage: Storage) -> ModuleTree {
        let mut by_name = BTreeMap::<String, String>::new();
        for path in paths {
            let Some(name) = module_name(&path) else { continue };
            // depmod.d(5): what is in updates/ comes before the kernel's own.
            let better = |old: &String| (!path.starts_with("updates/"), &path) < (!old.starts_with("updates/"), old);
            if by_name.get(&name).is_none_or(better) {
                by_name.insert(name, path);
            }
        }
        ModuleTree { paths: by_name, builtin, builtin_names: OnceLock::new(), storage }
    }

    /// The modules directory `dir`, which is `/lib/modules/RELEASE` or looks like it.
    pub fn open_directory(dir: &Path) -> Result<ModuleTree, KernelError> {
        let mut paths = Vec::new();
        collect(dir, "", 0, &mut paths)?;
        paths.sort();
        let mut builtin = Builtin::default();
        for name in BUILTIN_FILES {
            let path = dir.join(name);
            match inputs::open(&path) {
                Ok(file) => _ = builtin.take(name, file).map_err(KernelError::io("read", &path))?,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(KernelError::io("open", &path)(error)),
            }
        }
        Ok(ModuleTree::new(paths, builtin, Storage::Directory(dir.to_owned())))
    }

    /// The path below the modules directory of the module called `name` (normalised).
    pub fn path(&self, name: &str) -> Option<&str> {
        self.paths.get(name).map(String::as_str)
    }

    /// The lists that came with the modules.
    pub fn builtin(&self) -> &Builtin {
        &self.builtin
    }

    /// Normalised names of the built-in modules and what their aliases are.
    pub fn builtin_names(&self) -> &BTreeSet<String> {
        self.builtin_names.get_or_init(|| self.builtin.names())
    }

    /// How many modules there are.
    pub fn len(&self) -> usize {
        self.paths.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    /// The uncompressed bytes of the modules at `paths`, in that order.
    pub fn read(&self, paths: &[&str]) -> Result<Vec<Vec<u8>>, KernelError> {
        let packed = match &self.storage {
            Storage::Directory(dir) => paths.iter().map(|path| read_file(&dir.join(path))).collect::<Result<_, _>>()?,
            Storage::Package { sources, release, kept } => read_packages(sources, release, kept, paths)?,
            Storage::Pack(pack) => paths.iter().map(|path| pack.read(path)).collect::<Result<Vec<_>, _>>()?,
        };
        paths.iter().zip(packed).map(|(path, bytes)| plain(path, bytes)).collect()
    }

    /// SHA-256 of the uncompressed module at `path` where the store has noted it.
    pub(crate) fn stored_sha256(&self, path: &str) -> Option<&str> {
        match &self.storage {
            // Of a compressed module the store has noted the digest of what is compressed.
            Storage::Pack(pack) if path.ends_with(".ko") => pack.modules().get(path).map(|module| &*module.sha256),
            _ => None,
        }
    }

    /// What the store knows of the module at `path` without reading it.
    pub(crate) fn stored_facts(&self, path: &str) -> Option<&Facts> {
        self.pack()?.facts(path)
    }

    /// Every module as it is stored, packed or not, once, in no particular order.
    pub fn for_each(&self, visit: &mut Sink<'_>) -> Result<(), KernelError> {
        match &self.storage {
            Storage::Directory(dir) => {
                for path in self.paths.values() {
                    visit(path, &read_file(&dir.join(path))?)?;
                }
            }
            Storage::Package { sources, release, .. } => {
                for source in sources {
                    source.scan(&mut |entry, body| match module_file(&entry.path) {
                        Some((of, path)) if of == release && module_name(path).is_some() => {
                            visit(path, &bounded(path, body)?)
                        }
                        _ => Ok(()),
                    })?;
                }
            }
            Storage::Pack(pack) => {
                for path in self.paths.values() {
                    visit(path, &pack.read(path)?)?;
                }
            }
        }
        Ok(())
    }

    /// Every module that a name leads to, uncompressed, in the order of the names, whatever they are kept in.
    pub fn for_each_by_name(&self, visit: &mut Sink<'_>) -> Result<(), KernelError> {
        if !self.is_from_package() {
            return self.for_each(&mut |path, bytes| visit(unpacked_path(path), &plain(path, bytes.to_vec())?));
        }
        // A package is read once, in its own order: on disk its modules take the room that they would in memory.
        let spool = tempfile::tempfile().map_err(KernelError::io("make a file in", &std::env::temp_dir()))?;
        let failed = || KernelError::io("use a file in", std::env::temp_dir());
        let (mut places, mut end) = (BTreeMap::new(), 0);
        self.for_each(&mut |path, bytes| {
            let name = module_name(path).filter(|name| self.path(name) == Some(path));
            let Some(name) = name else { return Ok(()) };
            let bytes = plain(path, bytes.to_vec())?;
            std::os::unix::fs::FileExt::write_all_at(&spool, &bytes, end).map_err(failed())?;
            places.insert(name, (unpacked_path(path).to_owned(), end, bytes.len()));
            end += bytes.len() as u64;
            Ok(())
        })?;
        for (path, offset, length) in places.values() {
            let mut bytes = vec![0; *length];
            std::os::unix::fs::FileExt::read_exact_at(&spool, &mut bytes, *offset).map_err(failed())?;
            visit(path, &bytes)?;
        }
        Ok(())
    }

    /// Whether the modules are in a package, which [`Bundle::open`](crate::kernel::Bundle::open) has read through.
    pub(crate) fn is_from_package(&self) -> bool {
        matches!(self.storage, Storage::Package { .. })
    }

    /// The store's entry these modules are in, if they are.
    pub(crate) fn pack(&self) -> Option<&Pack> {
        match &self.storage {
            Storage::Pack(pack) => Some(pack),
            _ => None,
        }
    }
}

/// Called with a module's path below the modules directory and its bytes as stored.
pub type Sink<'a> = dyn FnMut(&str, &[u8]) -> Result<(), KernelError> + 'a;

fn collect(dir: &Path, below: &str, depth: usize, paths: &mut Vec<String>) -> Result<(), KernelError> {
    let read = || KernelError::io("read", dir);
    for entry in fs::read_dir(dir).map_err(read())? {
        let entry = entry.map_err(read())?;
        let kind = entry.file_type().map_err(read())?;
        let name = entry.file_name();
        // Only text can be named in the boot specification.
        let Some(name) = name.to_str() else { continue };
        let path = if below.is_empty() { name.to_owned() } else { format!("{below}/{name}") };
        if kind.is_dir() && depth < MAX_DEPTH {
            collect(&entry.path(), &path, depth + 1, paths)?;
        } else if kind.is_file() && module_name(name).is_some() {
            paths.push(path);
            if paths.len() > MAX_MODULES {
                let what =
                    KernelError::TooLarge { what: "list of modules", limit: MAX_MODULES as u64, name: path_text(dir) };
                return Err(what);
            }
        }
    }
    Ok(())
}

fn path_text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn read_file(path: &Path) -> Result<Vec<u8>, KernelError> {
    let file = inputs::open(path).map_err(KernelError::io("open", path))?;
    let bytes = unpack::read_bounded(file, MAX_MODULE).map_err(KernelError::io("read", path))?;
    bytes.ok_or_else(|| too_large(&path_text(path)))
}

/// Reads a module's bytes, bounded.
pub(crate) fn bounded(path: &str, body: impl std::io::Read) -> Result<Vec<u8>, KernelError> {
    let bad = |error: std::io::Error| KernelError::Module { reason: error.to_string(), path: path.to_owned() };
    unpack::read_bounded(body, MAX_MODULE).map_err(bad)?.ok_or_else(|| too_large(path))
}

fn too_large(name: &str) -> KernelError {
    KernelError::TooLarge { what: "module", limit: MAX_MODULE, name: name.to_owned() }
}

fn plain(path: &str, bytes: Vec<u8>) -> Result<Vec<u8>, KernelError> {
    if path.ends_with(".ko") {
        return Ok(bytes);
    }
    let bad = |error: std::io::Error| KernelError::Module { reason: error.to_string(), path: path.to_owned() };
    bounded(path, unpack::reader(bytes.as_slice()).map_err(bad)?)
}

/// What was kept, and one more pass over the packages for the rest, if there is any.
fn read_packages(
    sources: &[Source],
    release: &str,
    kept: &BTreeMap<String, Vec<u8>>,
    paths: &[&str],
) -> Result<Vec<Vec<u8>>, KernelError> {
    let missing: BTreeSet<&str> = paths.iter().copied().filter(|path| !kept.contains_key(*path)).collect();
    let (mut found, mut total) = (BTreeMap::new(), 0);
    for source in sources.iter().filter(|_| !missing.is_empty()) {
        source.scan(&mut |entry, body| {
            let wanted = module_file(&entry.path).filter(|(of, path)| *of == release && missing.contains(path));
            let Some((_, path)) = wanted else { return Ok(()) };
            let bytes = bounded(path, body)?;
            keep(&mut total, path, &bytes)?;
            found.insert(path.to_owned(), bytes);
            Ok(())
        })?;
    }
    let shown = |path: &str| crate::escape::escape(path.as_bytes());
    let place = sources.first().map(Source::path).unwrap_or(Path::new(""));
    let lost = |path: &str| {
        KernelError::package(place, format!("it has changed while it was read, now missing: {}", shown(path)))
    };
    let get = |path: &&str| kept.get(*path).or_else(|| found.get(*path)).cloned().ok_or_else(|| lost(path));
    paths.iter().map(get).collect()
}

/// Counts bytes kept in memory and refuses more than [`MAX_KEPT`].
pub(crate) fn keep(total: &mut u64, path: &str, bytes: &[u8]) -> Result<(), KernelError> {
    *total += bytes.len() as u64;
    if *total > MAX_KEPT {
        return Err(KernelError::TooLarge { what: "set of modules", limit: MAX_KEPT, name: path.to_owned() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packed_module_is_unpacked_in_an_initramfs() {
        assert_eq!(unpacked_path("kernel/x.ko.xz"), "kernel/x.ko");
        assert_eq!(unpacked_path("kernel/x.ko"), "kernel/x.ko");
    }

    #[test]
    fn built_in_names_and_their_aliases_are_known() {
        let builtin = Builtin {
            list: b"kernel/fs/ext4/ext4.ko\nkernel/crypto/crc32c-generic.ko\n".to_vec(),
            modinfo: b"ext4.alias=fs-ext4\0crc32c_generic.alias=crypto-crc32c\0ext4.license=GPL\0".to_vec(),
            order: Vec::new(),
        };
        let names: Vec<String> = builtin.names().into_iter().collect();
        assert_eq!(names, ["crc32c_generic", "crypto_crc32c", "ext4", "fs_ext4"]);
    }

    #[test]
    fn updates_come_before_the_kernels_own() {
        let paths = ["kernel/a/x.ko", "updates/x.ko", "kernel/b/y.ko", "kernel/a/y.ko"].map(String::from).to_vec();
        let tree = ModuleTree::new(paths, Builtin::default(), Storage::Directory("/".into()));
        assert_eq!(tree.path("x"), Some("updates/x.ko"));
        assert_eq!(tree.path("y"), Some("kernel/a/y.ko"));
        assert_eq!(tree.len(), 2);
    }
}
