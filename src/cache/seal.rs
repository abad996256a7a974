//! What a file of the cache was when it was last known to be right, so that one that has changed since is noticed.
//!
//! ```text
//! KEY.seal    {"inode": 12, "size": 702545920, "changed": [1795721901, 120034981], "boot": "9e5f…"}
//! ```
//!
//! Inode, size and time of last change (st_ctime, which no program sets) cost one stat(2), whatever the file's size. What
//! was copied back, or whose mode was changed, has none of them and is made anew: that takes less time than reading each
//! file once for its content's digest would. A change within one tick of the file system's clock after another leaves the
//! time as it is, so a seal is put on, and believed, only when it is younger than the file by more than that.
//!
//! `boot` is there while the file may be in memory alone: nobody waits for the storage before a machine starts. The seal is
//! believed until the host starts anew, as what a power failure left may have size and time without content. Who uses the
//! file later, when the system has written it, sees to it that it is on stable storage, and the seal holds for good.

use super::files;
use crate::whole_file;
use serde::{Deserialize, Serialize};
use std::fs::{File, Metadata, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The owner's alone: an image may hold what nobody else should read.
pub const MODE: u32 = 0o600;
/// Longest tick of a file system's clock: 10 ms at 100 Hz, twice.
const TICK: Duration = Duration::from_millis(20);
/// Longest seal that is read, in bytes.
const MAX: u64 = 4096;
/// When the system has written what a file had: twice what Linux waits (`vm.dirty_expire_centisecs`).
const WRITTEN: Duration = Duration::from_secs(60);
/// Another one each time that the host starts: random(4).
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Seal {
    inode: u64,
    size: u64,
    /// Seconds and nanoseconds.
    changed: (i64, i64),
    #[serde(default, skip_serializing_if = "Option::is_none")]
    boot: Option<String>,
}

impl Seal {
    fn of(facts: &Metadata, boot: Option<String>) -> Seal {
        Seal { inode: facts.ino(), size: facts.len(), changed: (facts.ctime(), facts.ctime_nsec()), boot }
    }

    /// The seal beside a file, and when it was written in nanoseconds. What cannot be read is none.
    fn read(path: &Path) -> Option<(Seal, i128)> {
        let file = files::read(&place(path)).ok()?;
        let written = file.metadata().ok().filter(Metadata::is_file)?;
        let mut text = Vec::new();
        file.take(MAX).read_to_end(&mut text).ok()?;
        Some((serde_json::from_slice(&text).ok()?, nanoseconds((written.mtime(), written.mtime_nsec()))))
    }

    /// The seal that a file with these facts has, if it is that of this file.
    fn on(path: &Path, facts: &Metadata) -> Option<Seal> {
        let (seal, written) = Seal::read(path).filter(|_| facts.is_file())?;
        let is_same = Seal::of(facts, seal.boot.clone()) == seal;
        let is_young = written - nanoseconds(seal.changed) > TICK.as_nanos() as i128;
        let is_there = seal.boot.is_none() || seal.boot == boot();
        (is_same && is_young && is_there).then_some(seal)
    }

    /// How long the file has not changed, by this host's clock.
    fn age(&self) -> Duration {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let age = now.as_nanos() as i128 - nanoseconds(self.changed);
        Duration::from_nanos(age.clamp(0, i64::MAX.into()) as u64)
    }

    fn write(&self, path: &Path) -> io::Result<()> {
        std::thread::sleep((TICK + TICK / 10).saturating_sub(self.age()));
        whole_file::write(&place(path), &serde_json::to_vec(self)?)
    }
}

fn nanoseconds((seconds, rest): (i64, i64)) -> i128 {
    i128::from(seconds) * 1_000_000_000 + i128::from(rest)
}

fn boot() -> Option<String> {
    std::fs::read_to_string(BOOT_ID).ok().map(|id| id.trim_end().to_owned())
}

/// Where the seal of a file is.
pub fn place(path: &Path) -> PathBuf {
    path.with_extension("seal")
}

/// Makes a file that was just written its owner's alone, and notes what it is.
pub fn put_on(path: &Path) -> io::Result<()> {
    let file = files::read(path)?;
    file.set_permissions(Permissions::from_mode(MODE))?;
    let boot = boot();
    if boot.is_none() {
        file.sync_all()?;
    }
    Seal::of(&file.metadata()?, boot).write(path)
}

/// Notes that a file is right, which had these facts before it was looked at.
pub fn put_on_known(path: &Path, file: &File, facts: &Metadata) -> io::Result<()> {
    // What was looked at may be in memory alone.
    file.sync_data()?;
    Seal::of(facts, None).write(path)
}

/// Whether the file is what it was when it was sealed. What cannot be found out is no.
pub fn is_whole(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|facts| is_sealed(path, &facts))
}

/// Whether the file with these facts is what was sealed at that path.
pub fn is_sealed(path: &Path, facts: &Metadata) -> bool {
    Seal::on(path, facts).is_some()
}

/// Has the seal of a file hold for good, once that takes no time.
pub fn settle(path: &Path) -> io::Result<()> {
    let file = files::read(path)?;
    match Seal::on(path, &file.metadata()?) {
        Some(seal) if seal.boot.is_some() && seal.age() > WRITTEN => {
            file.sync_all()?;
            Seal { boot: None, ..seal }.write(path)
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("k.img");
        std::fs::write(&path, b"disk").unwrap();
        put_on(&path).unwrap();
        assert!(is_whole(&path));
        (dir, path)
    }

    fn change(path: &Path, edit: impl FnOnce(&mut Seal)) {
        let (mut seal, _) = Seal::read(path).unwrap();
        edit(&mut seal);
        std::fs::write(place(path), serde_json::to_vec(&seal).unwrap()).unwrap();
    }

    #[test]
    fn what_is_not_on_the_storage_yet_is_believed_until_the_host_starts_anew() {
        let (_dir, path) = sealed();
        settle(&path).unwrap();
        assert_eq!(Seal::read(&path).unwrap().0.boot, boot(), "the system has not written it yet");
        change(&path, |seal| seal.boot = Some("another".into()));
        assert!(!is_whole(&path));
        settle(&path).unwrap();
        assert!(!is_whole(&path), "what was not believed is not settled");
        change(&path, |seal| seal.boot = None);
        assert!(is_whole(&path));
    }

    #[test]
    fn a_seal_is_that_of_one_file() {
        let edits: [fn(&mut Seal); 4] =
            [|seal| seal.inode += 1, |seal| seal.size += 1, |seal| seal.changed.0 -= 1, |seal| seal.changed.1 ^= 1];
        for edit in edits {
            let (_dir, path) = sealed();
            change(&path, edit);
            assert!(!is_whole(&path));
        }
        // One of a program of before, which had the content's digest too and waited for the storage.
        let (_dir, path) = sealed();
        let facts = path.metadata().unwrap();
        let (inode, size, seconds, rest) = (facts.ino(), facts.len(), facts.ctime(), facts.ctime_nsec());
        let text = format!(r#"{{"inode":{inode},"size":{size},"changed":[{seconds},{rest}],"sha256":"00"}}"#);
        std::fs::write(place(&path), text).unwrap();
        assert!(is_whole(&path));
    }

    #[test]
    fn a_seal_as_old_as_the_file_is_not_believed() {
        let (_dir, path) = sealed();
        let changed = path.metadata().unwrap().modified().unwrap();
        let seal = File::open(place(&path)).unwrap();
        seal.set_modified(changed).unwrap();
        assert!(!is_whole(&path));
    }

    #[test]
    fn what_changes_while_it_is_looked_at_has_no_seal() {
        let (_dir, path) = sealed();
        let file = File::open(&path).unwrap();
        let facts = file.metadata().unwrap();
        put_on_known(&path, &file, &facts).unwrap();
        assert!(is_whole(&path));
        std::fs::write(&path, b"disc").unwrap();
        put_on_known(&path, &file, &facts).unwrap();
        assert!(!is_whole(&path));
    }
}
