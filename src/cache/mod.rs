//! Disks that `bootdisk run IMAGE` built, kept by content: the same image, kernel and options boot at once the next
//! time.
//!
//! ```text
//! $XDG_CACHE_HOME/bootdisk/disks/KEY.img    the disk
//!                                KEY.seal   what it was when it was made
//!                                KEY.lock   held shared while a machine uses the disk, exclusively while it is made;
//!                                           its time of last modification is that of the disk's last use
//! ```
//!
//! The key is the digest of everything that goes onto the disk, so an entry is never wrong, only unused; one that has
//! changed since it was made is made anew. When the entries take more than [`BUDGET`] bytes of storage, the ones unused
//! for longest go; one in use never goes. Folder and disks are their owner's alone.

pub mod bases;
pub mod blobs;
pub mod durations;
mod files;
mod prune;
mod seal;

pub use prune::{Entry, Kept, Pruned, prune};

use crate::file_lock::Locked;
use crate::publish::{FileError, remove_stale_in};
use crate::whole_file;
use anyhow::{Context, Result};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Bytes of storage the cached disks may take together.
pub const BUDGET: u64 = 16 << 30;

/// The cache, a directory.
pub struct DiskCache {
    dir: PathBuf,
    budget: u64,
}

/// A disk of the cache that stays there while this value lives.
pub struct CachedDisk {
    /// Where it is. Not to be written to.
    pub path: PathBuf,
    _in_use: File,
}

/// Why the cache has no disk.
#[derive(Debug)]
pub enum GetError {
    /// It is the cache's fault: the disk can be made elsewhere.
    Cache(anyhow::Error),
    /// The disk cannot be made.
    Build(anyhow::Error),
}

impl DiskCache {
    /// The cache in `dir`, which is made when missing.
    ///
    /// # Errors
    /// When `dir` cannot be made, is somebody else's, or nothing can be made in it.
    pub fn open(dir: PathBuf) -> Result<DiskCache> {
        let shown = || format!("cannot use the cache directory {}", crate::escape::path(&dir));
        crate::own_folder::make_private(&dir)?;
        tempfile::tempfile_in(&dir).with_context(shown)?;
        Ok(DiskCache { dir, budget: BUDGET })
    }

    /// The disk with this key, made by `build` if it is not there or has changed. Whoever asks for the same key meanwhile
    /// waits; nobody waits for a machine.
    pub fn get(&self, key: &str, mut build: impl FnMut(&Path) -> Result<()>) -> Result<CachedDisk, GetError> {
        let path = self.dir.join(format!("{key}.img"));
        let lock = self.lock_file(key).map_err(GetError::Cache)?;
        let failed =
            |error: io::Error| GetError::Cache(anyhow::Error::new(error).context("cannot lock the disk cache"));
        // Those who use the disk keep it locked for as long as their machines run, and share it. Nobody prunes it meanwhile.
        lock.lock_shared().map_err(failed)?;
        if !seal::is_whole(&path) {
            // Makers have a lock of their own: machines may run from a disk that has changed, and keep what they have
            // open when another takes its name.
            let makers = self.lock_file(&format!("{key}.making")).map_err(GetError::Cache)?;
            let _alone = Locked::wait(makers).map_err(failed)?;
            if !seal::is_whole(&path) {
                self.make(&path, &mut build)?;
            }
        }
        Ok(self.used(path, lock))
    }

    /// Makes the disk, in place of whatever is there. When there is no room, everything unused gives its room first.
    fn make(&self, path: &Path, build: &mut impl FnMut(&Path) -> Result<()>) -> Result<(), GetError> {
        remove(path).map_err(|error| GetError::Cache(anyhow::Error::new(error).context(shown(path))))?;
        let mut built = build(path);
        if built.as_ref().is_err_and(is_full) {
            self.prune(0, path);
            built = build(path);
        }
        built.map_err(|error| match is_of_the_place(&error) {
            true => GetError::Cache(error),
            false => GetError::Build(error),
        })?;
        // Without a seal it is made again the next time.
        _ = seal::put_on(path);
        Ok(())
    }

    fn used(&self, path: PathBuf, lock: File) -> CachedDisk {
        // Only the order of pruning depends on the one, and only time on the other.
        _ = lock.set_modified(SystemTime::now());
        _ = seal::settle(&path);
        self.prune(self.budget, &path);
        CachedDisk { path, _in_use: lock }
    }

    fn lock_file(&self, key: &str) -> Result<File> {
        let path = self.dir.join(format!("{key}.lock"));
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true).mode(seal::MODE).custom_flags(libc::O_NONBLOCK);
        options.open(&path).with_context(|| shown(&path))
    }

    /// Removes what was unused for longest until the rest fits the budget. A cache that cannot be pruned is still a
    /// cache, so errors end it quietly.
    fn prune(&self, budget: u64, keep: &Path) {
        self.sweep();
        prune(self.list(), budget, |disk| disk.path != keep && self.remove(&disk.path));
    }

    /// Removes what killed programs left: seals and disks that never got their names.
    pub fn sweep(&self) {
        whole_file::sweep(&self.dir);
        remove_stale_in(&self.dir);
    }

    /// All disks.
    pub fn list(&self) -> Vec<Entry> {
        files::ending(&self.dir, "img").filter_map(Entry::at).collect()
    }

    /// Removes a disk, unless a machine uses it.
    pub fn remove(&self, disk: &Path) -> bool {
        let Some(key) = disk.file_stem().and_then(|stem| stem.to_str()) else { return false };
        let Ok(lock) = self.lock_file(key) else { return false };
        // The lock file itself stays: another process may be waiting on it.
        lock.try_lock().is_ok() && remove_sealed(disk).is_ok()
    }
}

impl Entry {
    fn at(path: PathBuf) -> Option<Entry> {
        let bytes = path.metadata().ok()?.blocks() * 512;
        let used = path.with_extension("lock").metadata().and_then(|facts| facts.modified());
        let key = path.file_stem()?.to_str()?.to_owned();
        Some(Entry { key, bytes, used: used.unwrap_or(SystemTime::UNIX_EPOCH), path })
    }

    /// Whether it is what it was when it was made.
    pub fn is_whole(&self) -> bool {
        seal::is_whole(&self.path)
    }
}

fn shown(path: &Path) -> String {
    format!("cannot use {}", crate::escape::path(path))
}

/// Removes a file that may not be there.
fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The same of one that has a seal, or had.
fn remove_sealed(path: &Path) -> io::Result<()> {
    remove(path)?;
    remove(&seal::place(path))
}

/// Whether a disk could not be written where it was to be, so that another place may do.
fn is_of_the_place(error: &anyhow::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, ReadOnlyFilesystem};
    let no_place = |error: &io::Error| matches!(error.kind(), ReadOnlyFilesystem | FileTooLarge);
    is_full(error)
        || error.chain().any(|cause| match (cause.downcast_ref(), cause.downcast_ref()) {
            (Some(FileError::Io { .. }), _) => true,
            (_, Some(error)) => no_place(error),
            _ => false,
        })
}

/// Whether it is for want of room, which others may give.
pub fn is_full(error: &anyhow::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    let full = |error: &io::Error| matches!(error.kind(), StorageFull | QuotaExceeded);
    error.chain().any(|cause| match (cause.downcast_ref(), cause.downcast_ref()) {
        (Some(FileError::Io { cause, .. }), _) | (_, Some(cause)) => full(cause),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_disk_is_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let cache = DiskCache::open(dir.path().join("a/b")).unwrap();
        let mut made = 0;
        for _ in 0..3 {
            let disk = cache
                .get("k", |path| {
                    made += 1;
                    Ok(std::fs::write(path, b"disk")?)
                })
                .unwrap();
            assert_eq!(std::fs::read(&disk.path).unwrap(), b"disk");
        }
        assert_eq!(made, 1);
    }

    #[test]
    fn a_disk_in_use_is_given_out_again_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let cache = DiskCache::open(dir.path().into()).unwrap();
        let first = cache.get("k", |path| Ok(std::fs::write(path, b"disk")?)).unwrap();
        let second = cache.get("k", |_| panic!("it is there")).unwrap();
        assert_eq!(first.path, second.path);
    }

    #[test]
    fn a_failed_build_leaves_no_entry() {
        let dir = tempfile::tempdir().unwrap();
        let cache = DiskCache::open(dir.path().into()).unwrap();
        assert!(cache.get("k", |_| anyhow::bail!("no")).is_err());
        assert!(cache.get("k", |path| Ok(std::fs::write(path, b"disk")?)).is_ok());
    }

    #[test]
    fn what_was_unused_for_longest_goes_when_there_is_too_much() {
        let dir = tempfile::tempdir().unwrap();
        let cache = DiskCache { budget: 150 << 10, ..DiskCache::open(dir.path().into()).unwrap() };
        let disk = |key: &str, age: u64| {
            let disk = cache.get(key, |path| Ok(std::fs::write(path, vec![1; 64 << 10])?)).unwrap();
            let time = SystemTime::now() - std::time::Duration::from_secs(age);
            disk._in_use.set_modified(time).unwrap();
            disk
        };
        let there = |key: &str| dir.path().join(key).with_extension("img").exists();
        drop(disk("old", 300));
        let used = disk("older", 400);
        // The third one is over the budget, and the oldest of them is in use.
        drop(disk("new", 0));
        assert!(!there("old") && there("older") && there("new"));
        drop(used);
        drop(disk("newer", 0));
        assert!(!there("older") && there("new") && there("newer"));
    }

    #[test]
    fn what_a_killed_build_left_goes_and_what_is_being_built_stays() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let cache = DiskCache::open(dir.path().into()).unwrap();
        let left = [".gone.img.abcdef.partial", ".writing-abcdef"];
        let stay = [".used.img.abcdef.partial", "partial", ".x.partial", ".gone.img.abc-ef.partial", "k.lock"];
        left.iter().chain(&stay).for_each(|name| std::fs::write(at(name), b"half").unwrap());
        let _being_built = Locked::alone(File::open(at(stay[0])).unwrap()).unwrap();
        drop(cache.get("k", |path| Ok(std::fs::write(path, b"disk")?)).unwrap());
        assert!(left.iter().all(|name| !at(name).exists()));
        assert!(stay.iter().all(|name| at(name).exists()));
    }

    #[test]
    fn a_place_that_is_no_directory_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, b"").unwrap();
        assert!(DiskCache::open(file.join("disks")).is_err());
        assert!(DiskCache::open(file).is_err());
    }

    #[test]
    fn two_that_want_one_disk_make_it_once() {
        let dir = tempfile::tempdir().unwrap();
        let made = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let cache = DiskCache::open(dir.path().into()).unwrap();
                    let build = |path: &Path| {
                        made.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                        std::thread::sleep(std::time::Duration::from_millis(20));
                        Ok(std::fs::write(path, b"disk")?)
                    };
                    let disk = cache.get("k", build).unwrap();
                    assert_eq!(std::fs::read(&disk.path).unwrap(), b"disk");
                });
            }
        });
        assert_eq!(made.into_inner(), 1);
    }

    #[test]
    fn a_disk_in_use_is_not_removed() {
        let dir = tempfile::tempdir().unwrap();
        let cache = DiskCache::open(dir.path().into()).unwrap();
        let disk = cache.get("k", |path| Ok(std::fs::write(path, b"disk")?)).unwrap();
        assert!(!cache.remove(&disk.path));
        let path = disk.path.clone();
        drop(disk);
        assert!(cache.remove(&path));
        assert!(!path.exists());
    }

    /// One byte in the middle becomes another.
    fn flip(path: &Path) {
        use std::os::unix::fs::FileExt;
        let file = File::options().read(true).write(true).open(path).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, 100_000).unwrap();
        file.write_all_at(&[byte[0] ^ 1], 100_000).unwrap();
    }

    #[test]
    fn a_disk_that_has_changed_is_made_anew_and_one_that_has_not_is_kept() {
        let content: Vec<u8> = (0..300_000u32).map(|i| (i / 7) as u8).collect();
        let copy = |path: &Path| {
            std::fs::copy(path, path.with_extension("copy")).unwrap();
            std::fs::rename(path.with_extension("copy"), path).unwrap();
        };
        let (fifo, mode) = (nix::unistd::mkfifo::<Path>, nix::sys::stat::Mode::S_IRWXU);
        type Damage<'a> = &'a dyn Fn(&Path);
        let damages: [(&str, bool, Damage<'_>); 15] = [
            ("nothing", false, &|_| ()),
            ("a byte", true, &flip),
            ("empty", true, &|path| std::fs::write(path, b"").unwrap()),
            ("cut", true, &|path| File::options().write(true).open(path).unwrap().set_len(200_000).unwrap()),
            ("longer", true, &|path| File::options().write(true).open(path).unwrap().set_len(400_000).unwrap()),
            ("zeros", true, &|path| std::fs::write(path, vec![0; 300_000]).unwrap()),
            ("another file", true, &|path| {
                std::fs::write(path.with_extension("new"), vec![7; 300_000]).unwrap();
                std::fs::rename(path.with_extension("new"), path).unwrap();
            }),
            ("gone", true, &|path| std::fs::remove_file(path).unwrap()),
            ("a link", true, &|path| {
                std::fs::rename(path, path.with_extension("real")).unwrap();
                std::os::unix::fs::symlink(path.with_extension("real"), path).unwrap();
            }),
            ("a FIFO", true, &|path| {
                std::fs::remove_file(path).unwrap();
                fifo(path, mode).unwrap();
            }),
            ("its mode", true, &|path| std::fs::set_permissions(path, Permissions::from_mode(0o666)).unwrap()),
            ("a copy", true, &copy),
            ("no seal", true, &|path| std::fs::remove_file(seal::place(path)).unwrap()),
            ("half a seal", true, &|path| std::fs::write(seal::place(path), b"{\"inode\": 1").unwrap()),
            ("a FIFO as seal", true, &|path| {
                std::fs::remove_file(seal::place(path)).unwrap();
                fifo(&seal::place(path), mode).unwrap();
            }),
        ];
        for (name, changed, damage) in damages {
            let dir = tempfile::tempdir().unwrap();
            let cache = DiskCache::open(dir.path().into()).unwrap();
            let build = |path: &Path| Ok(std::fs::write(path, &content)?);
            let path = cache.get("k", build).unwrap().path;
            damage(&path);
            let mut made = 0;
            for _ in 0..2 {
                let get = |path: &Path| {
                    made += 1;
                    build(path)
                };
                let disk = cache.get("k", get).unwrap_or_else(|error| panic!("{name}: {error:?}"));
                assert!(std::fs::read(&disk.path).unwrap() == content, "{name}");
                assert!(disk.path.symlink_metadata().unwrap().is_file(), "{name}");
                assert_eq!(disk.path.metadata().unwrap().mode() & 0o777, 0o600, "{name}");
            }
            assert_eq!(made, usize::from(changed), "{name}");
        }
    }

    #[test]
    fn a_disk_that_is_damaged_while_a_machine_runs_from_it_is_made_anew_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let cache = DiskCache::open(dir.path().into()).unwrap();
        let content = vec![5; 200_000];
        let build = |path: &Path| Ok(std::fs::write(path, &content)?);
        let used = cache.get("k", build).unwrap();
        flip(&used.path);
        let open = File::open(&used.path).unwrap();
        let other = cache.get("k", build).unwrap();
        assert!(std::fs::read(&other.path).unwrap() == content);
        assert_eq!(open.metadata().unwrap().nlink(), 0, "what the first has open is another file");
    }

    /// A file system without room, and a folder nothing can be made in.
    #[test]
    fn what_cannot_be_kept_is_no_fault_of_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let cache = DiskCache::open(dir.path().into()).unwrap();
        drop(cache.get("other", |path| Ok(std::fs::write(path, b"disk")?)).unwrap());
        let full = || anyhow::Error::from(io::Error::from(io::ErrorKind::StorageFull)).context("cannot write");
        assert!(matches!(cache.get("k", |_| Err(full())), Err(GetError::Cache(_))));
        assert!(!dir.path().join("other.img").exists(), "what is unused makes room");
        let mut times = 0;
        let second = |path: &Path| {
            times += 1;
            if times == 1 { Err(full()) } else { Ok(std::fs::write(path, b"disk")?) }
        };
        assert!(cache.get("k", second).is_ok());
        assert!(matches!(cache.get("l", |_| anyhow::bail!("layer 1 is damaged")), Err(GetError::Build(_))));
        std::fs::create_dir(dir.path().join("m.img")).unwrap();
        assert!(matches!(cache.get("m", |_| panic!("nothing can be there")), Err(GetError::Cache(_))));
        std::fs::create_dir(dir.path().join("n.lock")).unwrap();
        assert!(matches!(cache.get("n", |_| panic!("nothing can be locked")), Err(GetError::Cache(_))));
    }

    #[test]
    fn the_folder_is_its_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        for (old, taken) in [(0o755, true), (0o777, false), (0o700, true)] {
            let place = dir.path().join(format!("a{old}/disks"));
            let mode = |path: &Path| path.metadata().unwrap().mode() & 0o777;
            drop(DiskCache::open(place.clone()).unwrap());
            assert_eq!(mode(&place), 0o700);
            std::fs::set_permissions(&place, Permissions::from_mode(old)).unwrap();
            assert_eq!(DiskCache::open(place.clone()).is_ok(), taken, "{old:o}");
            assert_eq!(mode(&place), if taken { 0o700 } else { old });
        }
    }
}
