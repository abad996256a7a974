//! Parts of images that came from registries, by their digests, and what tags meant when they were last asked for.
//!
//! ```text
//! $XDG_CACHE_HOME/bootdisk/blobs/sha256/HEX        a layer, a configuration, a manifest: all of it, compared
//!                                sha256/HEX.part   as far as it has arrived; locked by whoever fetches it
//!                                tags/HEX.json     what a name meant: HEX is the digest of the name
//! ```
//!
//! A file gets the name of a digest only once its content has that digest. Its time of last modification is that of its last
//! use: when all take more than [`BUDGET`] bytes, the ones unused for longest go. Who has a blob open keeps it even so.
//! Folder and files are their owner's alone.

use super::files;
use super::prune::{Kept, Pruned, prune};
use crate::file_lock::Locked;
use crate::image::Digest;
use crate::whole_file;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Bytes that all blobs may take together.
pub const BUDGET: u64 = 8 << 30;
/// A part that nobody has gone on with for so long is not gone on with.
const ABANDONED: Duration = Duration::from_secs(7 * 24 * 3600);
/// The owner's alone: an image may hold what nobody else should read.
const MODE: u32 = 0o600;
/// Longest file of a tag that is read, in bytes.
const MAX_TAG: u64 = 64 << 10;

/// See the module.
#[derive(Clone, Debug)]
pub struct BlobCache {
    dir: PathBuf,
}

/// A blob that is asked for.
pub enum Begun {
    /// It is there.
    There(File),
    /// It is to be fetched, by the one who asked.
    Part(Part),
}

/// A blob that arrives. Nobody else fetches it meanwhile.
pub struct Part {
    /// To be written to.
    pub file: Arc<File>,
    part: PathBuf,
    whole: PathBuf,
    _lock: Locked,
}

/// What a name meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tag {
    /// The full name.
    pub name: String,
    /// The digest of its manifest or index.
    pub digest: String,
    /// What that is.
    pub media_type: Option<String>,
    /// Its bytes.
    pub size: u64,
}

impl BlobCache {
    /// The cache in `dir`, which is made when missing.
    ///
    /// # Errors
    /// When `dir` cannot be made, or is somebody else's.
    pub fn open(dir: PathBuf) -> anyhow::Result<BlobCache> {
        for folder in [dir.clone(), dir.join("sha256"), dir.join("sha512"), dir.join("tags")] {
            crate::own_folder::make_private(&folder)?;
        }
        Ok(BlobCache { dir })
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where a blob is, if it is.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.dir.join(digest.algorithm().name()).join(digest.hex())
    }

    /// A blob that is there and as long as it should be. It counts as used now.
    pub fn get(&self, digest: &Digest, size: u64) -> Option<File> {
        let path = self.path(digest);
        let file = files::read(&path).ok()?;
        let facts = file.metadata().ok().filter(|facts| facts.is_file())?;
        if facts.len() != size {
            // Of a digest there is one content, and this is none.
            _ = std::fs::remove_file(&path);
            return None;
        }
        // Only the order of pruning depends on it.
        _ = file.set_modified(SystemTime::now());
        Some(file)
    }

    /// A small blob, whole, if it is there and what it should be.
    pub fn read(&self, digest: &Digest, size: u64) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        self.get(digest, size)?.take(size).read_to_end(&mut bytes).ok()?;
        let is_right = crate::image::Hasher::digest(digest.algorithm(), &bytes) == *digest;
        if !is_right {
            self.remove(digest);
        }
        is_right.then_some(bytes)
    }

    /// Keeps a small blob whose content was compared.
    pub fn write(&self, digest: &Digest, bytes: &[u8]) -> io::Result<()> {
        self.publish(&self.path(digest), bytes)
    }

    /// A blob, or the right to fetch it: waits for whoever fetches it now.
    pub fn begin(&self, digest: &Digest, size: u64) -> io::Result<Begun> {
        let whole = self.path(digest);
        let part = whole.with_extension("part");
        loop {
            if let Some(file) = self.get(digest, size) {
                return Ok(Begun::There(file));
            }
            let file =
                files::open(OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(MODE), &part)?;
            if !file.metadata()?.is_file() {
                return Err(io::Error::other("something else than a file is in its place"));
            }
            let lock = Locked::wait(file.try_clone()?)?;
            // Whoever had it may have finished, and then this is no part any more.
            if is_at(&file, &part) {
                return Ok(Begun::Part(Part { file: Arc::new(file), part, whole, _lock: lock }));
            }
        }
    }

    /// Removes a blob.
    pub fn remove(&self, digest: &Digest) -> bool {
        std::fs::remove_file(self.path(digest)).is_ok()
    }

    /// What a name meant when somebody last asked.
    pub fn tag(&self, name: &str) -> Option<Tag> {
        read_tag(&self.tag_path(name)).filter(|tag| tag.name == name)
    }

    /// Notes what a name means now.
    pub fn set_tag(&self, tag: &Tag) -> io::Result<()> {
        self.publish(&self.tag_path(&tag.name), &serde_json::to_vec(tag)?)
    }

    /// What all names meant.
    pub fn tags(&self) -> Vec<Tag> {
        let entries = std::fs::read_dir(self.dir.join("tags")).into_iter().flatten().flatten();
        entries.filter_map(|entry| read_tag(&entry.path())).collect()
    }

    /// Forgets the names whose manifests are gone.
    pub fn forget_tags(&self) {
        for tag in self.tags() {
            if tag.digest.parse().is_ok_and(|digest| !self.path(&digest).exists()) {
                _ = std::fs::remove_file(self.tag_path(&tag.name));
            }
        }
    }

    fn tag_path(&self, name: &str) -> PathBuf {
        self.dir.join("tags").join(format!("{}.json", Digest::sha256(name.as_bytes()).hex()))
    }

    /// Puts a file in its place at once and whole.
    fn publish(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        whole_file::write_from(&self.dir, path, bytes)
    }

    /// Removes what was unused for longest until the rest fits `budget` bytes, and parts that nobody goes on with.
    pub fn prune(&self, budget: u64) -> Pruned<Blob> {
        self.sweep();
        prune(self.list(), budget, Blob::remove)
    }

    /// Removes what killed programs left.
    pub fn sweep(&self) {
        whole_file::sweep(&self.dir);
    }

    /// All blobs and parts.
    pub fn list(&self) -> Vec<Blob> {
        let folders = ["sha256", "sha512"].map(|name| std::fs::read_dir(self.dir.join(name)));
        let entries = folders.into_iter().flatten().flatten().flatten();
        entries.filter_map(|entry| Blob::at(entry.path())).collect()
    }
}

/// A blob or a part of one that is kept.
#[derive(Clone, Debug)]
pub struct Blob {
    /// Where.
    pub path: PathBuf,
    /// Bytes of storage.
    pub bytes: u64,
    /// When it was last used.
    pub used: SystemTime,
    /// Whether it has not arrived as a whole.
    pub is_part: bool,
    /// What it has to be.
    pub digest: Option<Digest>,
}

impl Kept for Blob {
    fn used(&self) -> SystemTime {
        self.used
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn is_abandoned(&self) -> bool {
        self.is_part && SystemTime::now().duration_since(self.used).unwrap_or_default() > ABANDONED
    }
}

impl Blob {
    fn at(path: PathBuf) -> Option<Blob> {
        let facts = path.symlink_metadata().ok().filter(|facts| facts.is_file())?;
        let is_part = path.extension().is_some_and(|end| end == "part");
        let algorithm = path.parent()?.file_name()?.to_str()?;
        let digest = format!("{algorithm}:{}", path.file_stem()?.to_str()?).parse().ok();
        Some(Blob { bytes: facts.blocks() * 512, used: facts.modified().ok()?, is_part, digest, path })
    }

    /// Whether its content is what its name says.
    pub fn is_whole(&self) -> bool {
        let read = || -> Option<bool> {
            let digest = self.digest.as_ref()?;
            let mut file = files::read(&self.path).ok()?;
            let (mut hasher, mut buffer) = (crate::image::Hasher::new(digest.algorithm()), vec![0; 256 << 10]);
            loop {
                match file.read(&mut buffer).ok()? {
                    0 => return Some(hasher.finish() == *digest),
                    count => hasher.update(&buffer[..count]),
                }
            }
        };
        read().unwrap_or(false)
    }

    /// Removes it, unless it is a part that somebody fetches.
    pub fn remove(&self) -> bool {
        if !self.is_part {
            return std::fs::remove_file(&self.path).is_ok();
        }
        let Ok(file) = files::read(&self.path) else { return false };
        Locked::alone(file).is_ok_and(|_lock| std::fs::remove_file(&self.path).is_ok())
    }
}

impl Part {
    /// Its content is right: gives it its name.
    pub fn keep(self) -> io::Result<Arc<File>> {
        std::fs::rename(&self.part, &self.whole)?;
        Ok(self.file)
    }

    /// Its content is wrong: takes it away.
    pub fn forget(self) {
        _ = std::fs::remove_file(&self.part);
    }
}

fn read_tag(path: &Path) -> Option<Tag> {
    let mut text = Vec::new();
    files::read(path).ok()?.take(MAX_TAG).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

/// Whether a path still leads to an open file.
fn is_at(file: &File, path: &Path) -> bool {
    let same = |facts: std::fs::Metadata| Some((facts.dev(), facts.ino()));
    let there = path.symlink_metadata().ok().and_then(same);
    there.is_some() && there == file.metadata().ok().and_then(same)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    fn cache() -> (tempfile::TempDir, BlobCache) {
        let dir = tempfile::tempdir().unwrap();
        let cache = BlobCache::open(dir.path().join("blobs")).unwrap();
        (dir, cache)
    }

    fn part(cache: &BlobCache, digest: &Digest, size: u64) -> Part {
        match cache.begin(digest, size).unwrap() {
            Begun::Part(part) => part,
            Begun::There(_) => panic!("it is there"),
        }
    }

    #[test]
    fn a_blob_has_its_name_only_once_it_is_kept() {
        let (_dir, cache) = cache();
        let digest = Digest::sha256(b"blob");
        let first = part(&cache, &digest, 4);
        first.file.write_all_at(b"bl", 0).unwrap();
        assert!(cache.get(&digest, 4).is_none());
        drop(first);
        let second = part(&cache, &digest, 4);
        assert_eq!(second.file.metadata().unwrap().len(), 2, "it goes on where it was");
        second.file.write_all_at(b"ob", 2).unwrap();
        second.keep().unwrap();
        assert_eq!(cache.read(&digest, 4).unwrap(), b"blob");
        assert!(matches!(cache.begin(&digest, 4).unwrap(), Begun::There(_)));
        let mode = cache.path(&digest).metadata().unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn whoever_comes_second_waits_and_finds_it() {
        let (_dir, cache) = cache();
        let digest = Digest::sha256(b"blob");
        let first = part(&cache, &digest, 4);
        std::thread::scope(|scope| {
            let second = scope.spawn(|| matches!(cache.begin(&digest, 4).unwrap(), Begun::There(_)));
            first.file.write_all_at(b"blob", 0).unwrap();
            first.keep().unwrap();
            assert!(second.join().unwrap());
        });
    }

    #[test]
    fn what_is_damaged_is_not_there() {
        let (_dir, cache) = cache();
        let digest = Digest::sha256(b"blob");
        for content in [&b"blub"[..], b"blo", b"blobb", b""] {
            std::fs::write(cache.path(&digest), content).unwrap();
            assert!(cache.read(&digest, 4).is_none());
            assert!(!cache.path(&digest).exists(), "it is taken away");
        }
        std::os::unix::fs::symlink("/etc/passwd", cache.path(&digest)).unwrap();
        assert!(cache.read(&digest, 4).is_none());
    }

    #[test]
    fn what_was_unused_for_longest_goes_and_what_is_being_fetched_stays() {
        let (_dir, cache) = cache();
        let keep = |content: &[u8], age: u64| {
            let digest = Digest::sha256(content);
            cache.write(&digest, content).unwrap();
            let file = File::options().write(true).open(cache.path(&digest)).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
            digest
        };
        let (old, new) = (keep(&[1; 5000], 500), keep(&[2; 5000], 5));
        let fetched = part(&cache, &Digest::sha256(b"x"), 1);
        fetched.file.set_modified(SystemTime::now() - 2 * ABANDONED).unwrap();
        let open = cache.get(&new, 5000).unwrap();
        assert_eq!(cache.prune(10_000).gone.len(), 1);
        assert!(cache.get(&old, 5000).is_none() && cache.get(&new, 5000).is_some());
        cache.prune(0);
        assert!(cache.get(&new, 5000).is_none());
        let mut byte = [0];
        open.read_exact_at(&mut byte, 4999).unwrap();
        assert_eq!(byte, [2], "who has it open keeps it");
        assert!(fetched.keep().is_ok());
        drop(part(&cache, &Digest::sha256(b"y"), 1));
        let left = cache.list();
        assert_eq!(left.iter().filter(|blob| blob.is_part).count(), 1);
    }

    #[test]
    fn a_tag_is_what_was_noted_of_this_name() {
        let (_dir, cache) = cache();
        let tag = Tag { name: "a/b:1".into(), digest: "sha256:x".into(), media_type: None, size: 7 };
        assert_eq!(cache.tag("a/b:1"), None);
        cache.set_tag(&tag).unwrap();
        assert_eq!(cache.tag("a/b:1"), Some(tag));
        std::fs::write(cache.tag_path("a/b:2"), std::fs::read(cache.tag_path("a/b:1")).unwrap()).unwrap();
        assert_eq!(cache.tag("a/b:2"), None);
    }
}
