//! Disks that `bootdisk run IMAGE` built, kept by content: the same image, kernel and options boot at once the next
//! time.
//!
//! ```text
//! $XDG_CACHE_HOME/bootdisk/disks/KEY.img    the disk; its time of last modification is that of its last use
//!                                KEY.lock   held shared while a machine uses the disk, exclusively while it is made
//! ```
//!
//! The key is the digest of everything that goes onto the disk, so an entry is never wrong, only unused. When the
//! entries take more than [`BUDGET`] bytes of storage, the ones unused for longest go; one in use never goes.

use anyhow::{Context, Result};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::MetadataExt;
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

impl DiskCache {
    /// The cache in `dir`, which is made when missing.
    ///
    /// # Errors
    /// When `dir` cannot be made, or nothing can be made in it.
    pub fn open(dir: PathBuf) -> Result<DiskCache> {
        let shown = || format!("cannot use the cache directory {}", crate::escape::path(&dir));
        std::fs::create_dir_all(&dir).with_context(shown)?;
        tempfile::tempfile_in(&dir).with_context(shown)?;
        Ok(DiskCache { dir, budget: BUDGET })
    }

    /// The disk with this key, made by `build` if it is not there. Whoever asks for the same key meanwhile waits.
    pub fn get(&self, key: &str, build: impl FnOnce(&Path) -> Result<()>) -> Result<CachedDisk> {
        let path = self.dir.join(format!("{key}.img"));
        let lock = self.lock_file(key)?;
        let mut build = Some(build);
        loop {
            // Those who use the disk keep it locked for as long as their machines run, and share it.
            lock.lock_shared().context("cannot lock the disk cache")?;
            if path.exists() {
                // Only the order of pruning depends on it.
                _ = File::open(&path).and_then(|disk| disk.set_modified(SystemTime::now()));
                self.prune(&path);
                return Ok(CachedDisk { path, _in_use: lock });
            }
            lock.unlock().context("cannot unlock the disk cache")?;
            lock.lock().context("cannot lock the disk cache")?;
            match (path.exists(), build.take()) {
                // Somebody else was quicker.
                (true, unused) => build = unused,
                (false, Some(build)) => build(&path)?,
                (false, None) => anyhow::bail!("a disk of the cache has gone as soon as it was made"),
            }
            lock.unlock().context("cannot unlock the disk cache")?;
        }
    }

    fn lock_file(&self, key: &str) -> Result<File> {
        let path = self.dir.join(format!("{key}.lock"));
        OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .with_context(|| format!("cannot open {}", crate::escape::path(&path)))
    }

    /// Removes what was unused for longest until the rest fits the budget. A cache that cannot be pruned is still a
    /// cache, so errors end it quietly.
    fn prune(&self, keep: &Path) {
        let Ok(listing) = std::fs::read_dir(&self.dir) else { return };
        let mut disks: Vec<(SystemTime, u64, PathBuf)> = listing
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|e| e == "img"))
            .filter_map(|path| {
                let facts = path.metadata().ok()?;
                Some((facts.modified().ok()?, facts.blocks() * 512, path))
            })
            .collect();
        disks.sort();
        let mut total: u64 = disks.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, bytes, path) in disks {
            if total <= self.budget {
                return;
            }
            if path != keep && self.remove(&path) {
                total -= bytes;
            }
        }
    }

    fn remove(&self, disk: &Path) -> bool {
        let Some(key) = disk.file_stem().and_then(|stem| stem.to_str()) else { return false };
        let Ok(lock) = self.lock_file(key) else { return false };
        // The lock file itself stays: another process may be waiting on it.
        lock.try_lock().is_ok() && std::fs::remove_file(disk).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            File::options().write(true).open(&disk.path).unwrap().set_modified(time).unwrap();
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
}
