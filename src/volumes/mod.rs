//! Volumes: ext4 file systems in files of their own, which outlive images, kernels and machines.
//!
//! ```text
//!  XDG_DATA_HOME/bootdisk/volumes/NAME.img   sparse, no partition table, made whole or not at all
//! ```
//!
//! A machine that uses one has an exclusive lock on it, as two kernels that write to one file system destroy it. QEMU
//! inherits the lock with the file, so that it lasts exactly as long as QEMU. What the image has in a volume's place, PID 1
//! copies into an empty one; what was added to the file's end, PID 1 gives to the file system.
//!
//! Not supported: file systems other than ext4, a smaller size than a volume has, several readers at once.

mod error;
mod make;
pub mod name;

pub use error::VolumeError;

use crate::disk_lock::lock;
use crate::own_folder;
use crate::whole_file;
use nix::errno::Errno;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Bytes of a volume for which nobody has named a size. It takes what is in it.
pub const USUAL_SIZE: u64 = 10 << 30;
/// The smallest that is made: it has a journal, and room.
pub const LEAST_SIZE: u64 = 16 << 20;

/// The end of a volume's file.
const END: &str = ".img";

/// The folder with a user's volumes; it need not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store(PathBuf);

/// A volume in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Its file.
    pub path: PathBuf,
    /// Bytes it can hold, its own bookkeeping included.
    pub size: u64,
    /// Bytes it takes on this host.
    pub allocated: u64,
    /// A machine has it.
    pub in_use: bool,
}

impl Store {
    /// The store in this folder.
    pub fn at(folder: PathBuf) -> Store {
        Store(folder)
    }

    /// Where a volume's file is, or would be.
    ///
    /// # Errors
    /// When it is no name of a volume.
    pub fn path(&self, name: &str) -> Result<PathBuf, VolumeError> {
        name::check(name)?;
        Ok(self.0.join(format!("{name}{END}")))
    }

    /// All volumes, by their names.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn list(&self) -> Result<Vec<Entry>, VolumeError> {
        let names = match fs::read_dir(&self.0) {
            Ok(names) => names.collect::<io::Result<Vec<_>>>(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => Err(error),
        };
        let names = names.map_err(VolumeError::io("list the volumes in", &self.0))?;
        let name = |entry: &fs::DirEntry| Some(entry.file_name().to_str()?.strip_suffix(END)?.to_owned());
        let is_file = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_file());
        let names =
            names.iter().filter(|entry| is_file(entry)).filter_map(name).filter(|name| name::check(name).is_ok());
        let mut entries = names.map(|name| self.entry(&name)).collect::<Result<Vec<_>, _>>()?;
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(entries)
    }

    /// One volume.
    ///
    /// # Errors
    /// [`VolumeError::Missing`], or when its file cannot be looked at.
    pub fn entry(&self, name: &str) -> Result<Entry, VolumeError> {
        let path = self.path(name)?;
        let file = open(name, &path, false)?;
        let facts = file.metadata().map_err(VolumeError::io("look at the volume", &path))?;
        // Not `lock`, which waits a moment: nobody is kept waiting by a list.
        let in_use = matches!(file.try_lock(), Err(fs::TryLockError::WouldBlock));
        let (size, allocated) = (facts.len(), facts.blocks().saturating_mul(512));
        Ok(Entry { name: name.to_owned(), path, size, allocated, in_use })
    }

    /// Makes a volume unless there is one. Whether it was made.
    ///
    /// # Errors
    /// When it cannot be made, or the size is none that a volume can have.
    pub fn create(&self, name: &str, size: Option<u64>) -> Result<bool, VolumeError> {
        let path = self.path(name)?;
        if path.exists() {
            return Ok(false);
        }
        own_folder::make(&self.0)?;
        let size = blocks(size.unwrap_or(USUAL_SIZE))?;
        match whole_file::make(&path, |file| make::write(file, size, name)) {
            Ok(()) => Ok(true),
            Err(source) if source.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(source) => Err(VolumeError::io("make the volume", &path)(source)),
        }
    }

    /// Opens a volume for a machine, which then has it alone; one that is not there is made. With a size its file becomes
    /// that large.
    ///
    /// # Errors
    /// When another machine has it, it cannot be made, or it is larger.
    pub fn take(&self, name: &str, size: Option<u64>) -> Result<File, VolumeError> {
        self.create(name, size)?;
        let path = self.path(name)?;
        let file = open(name, &path, true)?;
        lock(&file, true).map_err(|errno| match errno {
            Errno::EWOULDBLOCK => VolumeError::InUse(name.to_owned()),
            errno => VolumeError::io("lock the volume", &path)(errno.into()),
        })?;
        if let Some(size) = size {
            self.grow(&file, name, blocks(size)?)?;
        }
        Ok(file)
    }

    fn grow(&self, file: &File, name: &str, size: u64) -> Result<(), VolumeError> {
        let failed = VolumeError::io("enlarge the volume", &self.path(name)?);
        match file.metadata() {
            Ok(facts) if size < facts.len() => Err(VolumeError::Smaller { name: name.to_owned(), size: facts.len() }),
            Ok(_) => file.set_len(size).map_err(failed),
            Err(source) => Err(failed(source)),
        }
    }

    /// Removes a volume that no machine has.
    ///
    /// # Errors
    /// [`VolumeError::Missing`], [`VolumeError::InUse`], or what the system says.
    pub fn remove(&self, name: &str) -> Result<(), VolumeError> {
        let path = self.path(name)?;
        let file = open(name, &path, false)?;
        match file.try_lock() {
            Err(fs::TryLockError::WouldBlock) => return Err(VolumeError::InUse(name.to_owned())),
            Ok(()) | Err(fs::TryLockError::Error(_)) => {}
        }
        fs::remove_file(&path).map_err(VolumeError::io("remove the volume", &path))
    }
}

/// A volume without a name, for one machine.
///
/// # Errors
/// What the system says.
pub fn nameless(size: Option<u64>) -> Result<File, VolumeError> {
    let folder = crate::output::scratch_dir();
    let size = blocks(size.unwrap_or(USUAL_SIZE))?;
    let made = tempfile::tempfile_in(&folder).and_then(|file| make::write(&file, size, "").map(|()| file));
    made.map_err(VolumeError::io("make a volume in", &folder))
}

fn open(name: &str, path: &Path, write: bool) -> Result<File, VolumeError> {
    let opened =
        OpenOptions::new().read(true).write(write).custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW).open(path);
    match opened {
        Ok(file) => Ok(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(VolumeError::Missing(name.to_owned())),
        Err(error) => Err(VolumeError::io("open the volume", path)(error)),
    }
}

/// Whole blocks of a file system.
fn blocks(size: u64) -> Result<u64, VolumeError> {
    match size.checked_next_multiple_of(4096) {
        Some(whole) if size >= LEAST_SIZE && whole <= 1 << 44 => Ok(whole),
        _ => Err(VolumeError::Size(size)),
    }
}

#[cfg(test)]
mod tests;
