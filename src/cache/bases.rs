//! What builds leave for later ones: a root file system as it is after some layers of an image, for every image that begins
//! with these.
//!
//! ```text
//! $XDG_CACHE_HOME/bootdisk/bases/KEY.base
//!    0   magic, place and length of the state, number of keys, SHA-256 of all of these, the keys and the state
//!   72   the keys: one for the lowest layer, one for the lowest two, and so on; the last one is the file's name
//!  64K   blocks of the file system, each where it is there; holes between them
//!  end   the state
//! ```
//!
//! Beside them lie the keys of images that were built, `KEY.image`: 32 bytes for each layer. They say where images part.
//!
//! A key is the digest of the layers' digests up to there, in their order, and of the code that applies them. So a base is
//! never wrong, only unused, and one that is damaged is none. Whoever has one open keeps it, whatever is removed meanwhile,
//! and nobody ever writes to one that has its name. One whose blocks are known to be what their checksums say has a seal,
//! `KEY.seal`, which tells that nothing has changed since, so that blocks that are shared need not be read each time. The later
//! time of last modification of both is that of its last use: when all take more than [`BUDGET`] bytes, the ones unused for
//! longest go. Folder and files are their owner's alone.

use super::prune::{Entry, Pruned, prune};
use super::{files, remove_sealed, seal};
use crate::hex::hex;
use crate::image::Image;
use crate::own_folder;
use crate::publish::{free_bytes, share_room};
use crate::whole_file;
use sha2::{Digest, Sha256};
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Bytes of storage that all bases may take together.
pub const BUDGET: u64 = 4 << 30;
/// Bytes at the beginning that are no blocks.
pub const HEAD: u64 = 64 << 10;

const MAGIC: &[u8; 16] = b"bootdisk base 1\n";
/// Bytes before the keys.
const FIXED: usize = 72;
/// Where the digest of the rest is.
const SUM: usize = 40;
/// Most keys, which is more than an image has layers.
const MAX_KEYS: usize = 1024;
/// Longest state that is read, in bytes: four million names are 250 MiB.
const MAX_STATE: u64 = 1 << 30;
/// Images that are remembered.
const IMAGES: usize = 64;
/// What stays free when one is written: as much as it takes, and so many bytes.
const LEFT_FREE: u64 = 1 << 30;

/// See the module.
pub type Key = [u8; 32];

/// The keys of an image's layers, lowest first.
pub fn keys(image: &Image) -> Vec<Key> {
    let mut last: Key = Sha256::new_with_prefix(concat!("base ", env!("BOOTDISK_BASES_CODE"))).finalize().into();
    let next = |layer: &crate::image::LayerBlob| {
        // The stored bytes and what they are said to be count too: what is said of them is said again.
        let stored = layer.digest.as_ref().map(ToString::to_string).unwrap_or_default();
        let parts = [&layer.diff_id.to_string(), &stored, layer.media_type.as_deref().unwrap_or_default()];
        let mut hash = Sha256::new_with_prefix(last);
        for part in parts {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        last = hash.finalize().into();
        last
    };
    image.layers.iter().map(next).collect()
}

/// See the module.
#[derive(Clone, Debug)]
pub struct BaseCache {
    dir: PathBuf,
}

/// A base that was found, and is as it was when it was made but for its blocks, which have checksums of their own.
#[derive(Debug)]
pub struct Base {
    /// How many layers are in it.
    pub layers: usize,
    /// What it is besides its blocks.
    pub state: Vec<u8>,
    /// Where its blocks are.
    pub file: File,
    /// Whether they are known to be what their checksums say.
    pub is_sealed: bool,
    facts: Metadata,
    path: PathBuf,
}

impl Base {
    /// Takes it away, as it turned out to be damaged.
    pub fn forget(&self) {
        _ = remove_sealed(&self.path);
    }

    /// Notes that all its blocks are what their checksums say. If that fails they are compared again the next time.
    pub fn seal(&self) {
        _ = seal::put_on_known(&self.path, &self.file, &self.facts);
    }
}

/// A base that this process has just made.
#[derive(Debug)]
pub struct Made {
    file: File,
    path: PathBuf,
}

impl Made {
    /// Notes that its blocks are what their checksums say. Better later than at once, as it waits for the clock of the file
    /// system to go on.
    pub fn seal(&self) {
        _ = self.file.metadata().and_then(|facts| seal::put_on_known(&self.path, &self.file, &facts));
    }
}

/// What a base is besides what its keys say.
#[derive(Debug)]
pub struct Filled {
    /// See [`Base::state`].
    pub state: Vec<u8>,
    /// Whether its blocks are those of another file: they are on stable storage then.
    pub is_shared: bool,
}

impl BaseCache {
    /// The cache in `dir`, which is this user's alone if it is there, and is made with the first base.
    pub fn at(dir: PathBuf) -> BaseCache {
        BaseCache { dir }
    }

    /// The base with the most layers of those with these keys. It counts as used now.
    pub fn find(&self, keys: &[Key]) -> Option<Base> {
        (1..=keys.len()).rev().find_map(|layers| self.get(&keys[..layers]))
    }

    fn get(&self, keys: &[Key]) -> Option<Base> {
        let path = self.path(keys.last()?);
        let file = open(&path).ok()?;
        let Some((_, state)) = read(&file).filter(|(found, _)| found == keys) else {
            // Of a name there is one content, and this is none.
            _ = remove_sealed(&path);
            return None;
        };
        let is_sealed = file.metadata().is_ok_and(|facts| seal::is_sealed(&path, &facts));
        // Only the order of pruning depends on it. One that is sealed would be another by it.
        _ = match is_sealed {
            true => files::read(&seal::place(&path)).and_then(|seal| seal.set_modified(SystemTime::now())),
            false => file.set_modified(SystemTime::now()),
        };
        let facts = file.metadata().ok()?;
        Some(Base { layers: keys.len(), state, file, is_sealed, facts, path })
    }

    /// The most layers with these keys that an image built before has too, and goes on otherwise behind: images have parted
    /// there before.
    pub fn parting(&self, keys: &[Key]) -> usize {
        let common = |other: Vec<Key>| keys.iter().zip(&other).take_while(|(a, b)| a == b).count();
        let bases = self.list().into_iter().filter_map(|entry| chain(&open(&entry.path).ok()?));
        let images = self.images().into_iter().filter_map(|(_, path)| image(&open(&path).ok()?));
        bases.chain(images).map(common).filter(|&count| count < keys.len()).max().unwrap_or(0)
    }

    /// Remembers that an image with these keys is built, instead of the one that was built longest ago when they are many.
    /// What goes wrong is not remembered.
    pub fn remember(&self, keys: &[Key]) {
        let Some(key) = keys.last().filter(|_| keys.len() <= MAX_KEYS) else { return };
        let path = self.dir.join(format!("{}.image", hex(key)));
        let is_there = open(&path)
            .is_ok_and(|file| image(&file).as_deref() == Some(keys) && file.set_modified(SystemTime::now()).is_ok());
        if is_there {
            // Otherwise whoever writes does it.
            return self.sweep();
        }
        if own_folder::make_private(&self.dir).is_err() {
            return;
        }
        _ = whole_file::make_unsynced(&path, |file| file.write_all_at(keys.as_flattened(), 0));
        let mut images = self.images();
        images.sort();
        let most = images.len().saturating_sub(IMAGES);
        images[..most].iter().for_each(|(_, path)| _ = std::fs::remove_file(path));
    }

    /// Remembers no image any more.
    pub fn forget_images(&self) {
        self.images().iter().for_each(|(_, path)| _ = std::fs::remove_file(path));
    }

    /// The files of images that are remembered, with when each was last built.
    fn images(&self) -> Vec<(SystemTime, PathBuf)> {
        files::ending(&self.dir, "image")
            .filter_map(|path| Some((path.symlink_metadata().ok()?.modified().ok()?, path)))
            .collect()
    }

    /// Keeps a base of layers with these keys, whose blocks take so many bytes. `fill` writes the blocks behind the first
    /// [`HEAD`] bytes. It has its name only once all of it is there. When there is not much room, or `fill` returns nothing,
    /// nothing is kept. One that shares its blocks is returned to be sealed.
    ///
    /// # Errors
    /// What `fill` or the system says. Nothing is left then.
    pub fn keep(
        &self,
        keys: &[Key],
        bytes: u64,
        fill: impl FnOnce(&File) -> io::Result<Option<Filled>>,
    ) -> io::Result<Option<Made>> {
        let Some(key) = keys.last().filter(|_| keys.len() <= MAX_KEYS) else { return Ok(None) };
        let path = self.path(key);
        own_folder::make_private(&self.dir).map_err(io::Error::other)?;
        if bytes > BUDGET / 2 || free_bytes(&path)? < bytes.saturating_mul(2).saturating_add(LEFT_FREE) {
            return Ok(None);
        }
        let mut shared = None;
        let made = whole_file::make_unsynced(&path, |file| {
            let Filled { state, is_shared } = fill(file)?.ok_or(Stop::Nothing)?;
            shared = is_shared.then(|| file.try_clone()).transpose()?;
            write(file, keys, &state).map_err(Stop::Failed)
        });
        match made {
            Ok(()) => {}
            Err(Stop::Nothing) => return Ok(None),
            Err(Stop::Failed(error)) => return Err(error),
        }
        self.prune(BUDGET, &path);
        Ok(shared.map(|file| Made { file, path }))
    }

    /// Removes what was unused for longest until the rest fits `budget` bytes.
    fn prune(&self, budget: u64, keep: &Path) -> Pruned<Entry> {
        self.sweep();
        prune(self.list(), budget, |base| base.path != keep && remove(base))
    }

    /// Removes everything, for want of room where `output` lies: whether there was anything that took it.
    pub fn give_room(&self, output: &Path) -> bool {
        share_room(&self.dir.join("base"), output) && !self.prune(0, Path::new("")).gone.is_empty()
    }

    /// Removes what killed programs left.
    pub fn sweep(&self) {
        whole_file::sweep(&self.dir);
    }

    /// All bases.
    pub fn list(&self) -> Vec<Entry> {
        files::ending(&self.dir, "base").filter_map(entry).collect()
    }

    fn path(&self, key: &Key) -> PathBuf {
        self.dir.join(format!("{}.base", hex(key)))
    }
}

/// Why nothing was kept.
enum Stop {
    /// There is nothing to keep.
    Nothing,
    /// It failed.
    Failed(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Stop::Failed(error)
    }
}

/// A file that may be a base, as it is listed.
fn entry(path: PathBuf) -> Option<Entry> {
    let facts = path.symlink_metadata().ok().filter(|facts| facts.is_file())?;
    let key = path.file_stem()?.to_str()?.to_owned();
    let sealed = seal::place(&path).symlink_metadata().and_then(|facts| facts.modified());
    let used = facts.modified().ok()?.max(sealed.unwrap_or(SystemTime::UNIX_EPOCH));
    Some(Entry { key, bytes: facts.blocks() * 512, used, path })
}

/// State and file of a base that was listed, if the state is what it was.
pub fn read_entry(entry: &Entry) -> Option<(Vec<u8>, File)> {
    let file = open(&entry.path).ok()?;
    let (keys, state) = read(&file)?;
    (hex(keys.last()?) == entry.key).then_some((state, file))
}

/// Removes a base that was listed and may have gone since. Who has it open keeps it.
pub fn remove(entry: &Entry) -> bool {
    remove_sealed(&entry.path).is_ok()
}

/// Opens a file for reading, and nothing else that may have been put in its place.
fn open(path: &Path) -> io::Result<File> {
    let file = files::read(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::ErrorKind::InvalidInput.into()),
    }
}

fn write(file: &File, keys: &[Key], state: &[u8]) -> io::Result<()> {
    let place = file.metadata()?.len().max(HEAD).next_multiple_of(4096);
    file.write_all_at(state, place)?;
    let mut head = MAGIC.to_vec();
    head.extend_from_slice(&place.to_le_bytes());
    head.extend_from_slice(&(state.len() as u64).to_le_bytes());
    head.extend_from_slice(&(keys.len() as u64).to_le_bytes());
    let sum = Sha256::new_with_prefix(&head).chain_update(keys.as_flattened()).chain_update(state).finalize();
    head.extend_from_slice(&sum);
    head.extend_from_slice(keys.as_flattened());
    file.write_all_at(&head, 0)
}

/// The first bytes: the fixed ones, and the keys, if they may be that.
fn head(file: &File) -> Option<([u8; FIXED], Vec<Key>)> {
    let mut fixed = [0; FIXED];
    file.read_exact_at(&mut fixed, 0).ok()?;
    let count = usize::try_from(number(&fixed, 32)).ok().filter(|count| (1..=MAX_KEYS).contains(count))?;
    let mut keys = vec![[0; 32]; count];
    file.read_exact_at(keys.as_flattened_mut(), FIXED as u64).ok()?;
    fixed.starts_with(MAGIC).then_some((fixed, keys))
}

/// The keys of a file, not compared with anything: only time depends on them.
fn chain(file: &File) -> Option<Vec<Key>> {
    head(file).map(|(_, keys)| keys)
}

/// The keys of an image that is remembered: only time depends on them.
fn image(file: &File) -> Option<Vec<Key>> {
    let count = usize::try_from(file.metadata().ok()?.len()).ok()? / size_of::<Key>();
    let mut keys: Vec<Key> = vec![[0; 32]; count.min(MAX_KEYS)];
    file.read_exact_at(keys.as_flattened_mut(), 0).ok()?;
    Some(keys)
}

/// Keys and state of a file, if they are what they were.
fn read(file: &File) -> Option<(Vec<Key>, Vec<u8>)> {
    let (fixed, keys) = head(file)?;
    let (place, length) = (number(&fixed, 16), number(&fixed, 24));
    let size = file.metadata().ok()?.len();
    let is_there = length <= MAX_STATE && place >= HEAD && place.checked_add(length) == Some(size);
    is_there.then_some(())?;
    let mut state = vec![0; length as usize];
    file.read_exact_at(&mut state, place).ok()?;
    let sum = Sha256::new_with_prefix(&fixed[..SUM]).chain_update(keys.as_flattened()).chain_update(&state).finalize();
    (sum[..] == fixed[SUM..]).then_some((keys, state))
}

fn number(head: &[u8; FIXED], at: usize) -> u64 {
    u64::from_le_bytes(head[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn cache() -> (tempfile::TempDir, BaseCache) {
        let dir = tempfile::tempdir().unwrap();
        let cache = BaseCache::at(dir.path().join("bases"));
        (dir, cache)
    }

    fn keep(cache: &BaseCache, keys: &[Key], text: &[u8]) {
        make(cache, keys, text, false);
    }

    fn make(cache: &BaseCache, keys: &[Key], text: &[u8], is_shared: bool) -> Option<Made> {
        let filled = Filled { state: text.to_vec(), is_shared };
        cache.keep(keys, 4096, |file| file.write_all_at(&[9; 4096], 3 * HEAD).map(|()| Some(filled))).unwrap()
    }

    const CHAIN: [Key; 4] = [[1; 32], [2; 32], [3; 32], [4; 32]];

    #[test]
    fn the_base_with_the_most_layers_is_found() {
        let (_dir, cache) = cache();
        assert!(cache.find(&CHAIN).is_none() && !cache.dir.exists());
        keep(&cache, &CHAIN[..1], b"one");
        keep(&cache, &CHAIN[..3], b"three");
        let base = cache.find(&CHAIN).unwrap();
        assert_eq!((base.layers, &base.state[..]), (3, &b"three"[..]));
        assert_eq!(cache.find(&CHAIN[..2]).unwrap().layers, 1);
        assert_eq!(cache.parting(&[[1; 32], [2; 32], [7; 32]]), 2);
        assert_eq!(cache.parting(&[[7; 32]]), 0);
        assert!(cache.find(&[[2; 32], [9; 32]]).is_none());
        let mode = cache.list()[0].path.metadata().unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn one_that_has_changed_since_it_was_sealed_is_read_again() {
        let (_dir, cache) = cache();
        assert!(make(&cache, &CHAIN, b"copied", false).is_none());
        let find = || cache.find(&CHAIN).unwrap();
        assert!(!find().is_sealed);
        let made = make(&cache, &CHAIN, b"shared", true).unwrap();
        assert!(!find().is_sealed, "not yet");
        made.seal();
        let path = find().path;
        let before = cache.list()[0].used;
        std::thread::sleep(Duration::from_millis(20));
        assert!(find().is_sealed && find().is_sealed, "being used makes no difference");
        assert!(cache.list()[0].used > before);
        // Blocks have checksums of their own, which are looked at once more now.
        File::options().write(true).open(&path).unwrap().write_all_at(&[8], 3 * HEAD).unwrap();
        assert!(!find().is_sealed);
        find().seal();
        assert!(find().is_sealed);
        let (found, seal) = (find(), seal::place(&path));
        // Of two that were made at once the seal of one says nothing of the other.
        keep(&cache, &CHAIN, b"another");
        found.seal();
        assert!(seal.exists() && !find().is_sealed);
        find().forget();
        assert!(!path.exists() && !seal.exists());
    }

    #[test]
    fn images_part_where_others_did() {
        let (_dir, cache) = cache();
        cache.remember(&[]);
        assert!(!cache.dir.exists());
        for _ in 0..2 {
            cache.remember(&CHAIN);
        }
        assert_eq!(cache.images().len(), 1);
        // What a killed build left goes, with the image remembered, and of no bytes as a power failure leaves it.
        let killed = cache.dir.join(".writing-killed");
        for is_empty in [false, true] {
            std::fs::write(&killed, b"").unwrap();
            if is_empty {
                std::fs::write(&cache.images()[0].1, b"").unwrap();
            }
            cache.remember(&CHAIN);
            assert!(!killed.exists());
        }
        assert_eq!(cache.parting(&CHAIN), 0, "it is the same image");
        assert_eq!(cache.parting(&[CHAIN[0], CHAIN[1], [7; 32]]), 2);
        assert_eq!(cache.parting(&CHAIN[..2]), 0, "all of it begins another");
        assert!(cache.find(&CHAIN).is_none() && cache.list().is_empty());
        std::fs::write(cache.dir.join("x.image"), b"no keys").unwrap();
        assert_eq!(cache.parting(&[[9; 32]]), 0);
        for number in 0..=IMAGES as u8 {
            cache.remember(&[[number; 32]]);
        }
        assert_eq!(cache.images().len(), IMAGES);
        cache.forget_images();
        assert_eq!(cache.parting(&[CHAIN[0], [7; 32]]), 0);
    }

    #[test]
    fn a_damaged_one_is_none_and_goes() {
        let whole = {
            let (_dir, cache) = cache();
            keep(&cache, &CHAIN, b"the state");
            std::fs::read(&cache.list()[0].path).unwrap()
        };
        let (_dir, cache) = cache();
        std::fs::create_dir(&cache.dir).unwrap();
        let path = cache.path(&CHAIN[3]);
        let state = whole.len() - 9;
        for at in (0..FIXED + 4 * 32).chain(state..whole.len()) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            std::fs::write(&path, &bytes).unwrap();
            assert!(cache.find(&CHAIN).is_none(), "{at}");
            assert!(!path.exists(), "{at}");
        }
        for length in [0, 10, FIXED, FIXED + 40, state, whole.len() - 1] {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert!(cache.find(&CHAIN).is_none(), "{length}");
        }
        std::fs::write(cache.path(&CHAIN[2]), &whole).unwrap();
        assert!(cache.find(&CHAIN).is_none(), "under another's name");
        std::fs::write(&path, &whole).unwrap();
        assert_eq!(cache.find(&CHAIN).unwrap().state, b"the state");
    }

    #[test]
    fn nothing_is_kept_of_what_failed_and_the_oldest_go() {
        let (_dir, cache) = cache();
        let failed = cache.keep(&CHAIN, 1, |_| Err(io::ErrorKind::StorageFull.into()));
        assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert!(cache.keep(&CHAIN, 1, |_| Ok(None)).unwrap().is_none());
        assert!(cache.keep(&CHAIN, 1 << 62, |_| panic!("there is no room for it")).unwrap().is_none());
        assert_eq!(std::fs::read_dir(&cache.dir).unwrap().count(), 0);
        keep(&cache, &CHAIN[..1], b"old");
        let old = open(&cache.path(&CHAIN[0])).unwrap();
        old.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
        keep(&cache, &CHAIN, b"new");
        let held = cache.find(&CHAIN).unwrap();
        let new = cache.list().into_iter().find(|entry| entry.path == held.path).unwrap().bytes;
        assert_eq!(cache.prune(new, Path::new("")).gone.len(), 1);
        assert_eq!(cache.list()[0].path, held.path);
        let (here, elsewhere) = (cache.dir.with_file_name("disk"), Path::new("/proc/disk"));
        assert!(!cache.give_room(elsewhere) && cache.list().len() == 1);
        assert!(cache.give_room(&here) && !cache.give_room(&here));
        let mut block = [0; 4096];
        held.file.read_exact_at(&mut block, 3 * HEAD).unwrap();
        assert_eq!(block, [9; 4096], "who has it open keeps it");
    }

    #[test]
    fn one_that_many_make_at_once_is_whole() {
        let (_dir, cache) = cache();
        std::thread::scope(|scope| {
            for text in [&b"a"[..], b"a", b"a", b"a"] {
                let cache = &cache;
                scope.spawn(move || (0..20).for_each(|_| keep(cache, &CHAIN, text)));
            }
        });
        assert_eq!(cache.find(&CHAIN).unwrap().state, b"a");
        assert_eq!(std::fs::read_dir(&cache.dir).unwrap().count(), 1);
    }
}
