//! A root whose journal has all that a growth has written: a machine lost its power after the kernel had committed it
//! and before the blocks were at home.
//!
//! ```text
//!  small root ────────────────────────────────────┐
//!  grown root ─▶ what differs ─▶ transactions ─▶ journal of the small one, and "needs recovery" in its superblock
//! ```
//!
//! The journal is one without checksums, which the kernel replays as any other. Source: the kernel's
//! Documentation/filesystems/ext4/journal.rst.

use crate::e2e_disk::{self, ROOT, Slice};
use crate::tools;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

const BLOCK: usize = 4096;
/// Blocks of a transaction: their tags are in one block.
const TAGS: usize = 500;
const MAGIC: [u8; 4] = [0xc0, 0x3b, 0x39, 0x98];
const DESCRIPTOR: u32 = 1;
const COMMIT: u32 = 2;
const SAME_UUID: u16 = 2;
const LAST: u16 = 8;
/// Where the superblock is, and its incompatible features and its checksum in it.
const SUPERBLOCK: usize = 1024;
const FEATURES: usize = 96;
const NEEDS_RECOVERY: u8 = 4;
const CHECKSUM: usize = 1020;

/// What of the growth is at home already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    Nothing,
    /// The superblock alone: it tells of groups whose descriptors are not there yet.
    Superblock,
    /// The superblock, and instead of some descriptors what was in their place: numbers of blocks.
    SuperblockAndNumbers,
}

/// Puts what distinguishes `grown` into the journal of `disk`, whose root is what `grown`'s was and has its place.
pub fn put(grown: &Path, disk: &Path, home: Home) {
    let (grown, small) = (Root::open(grown), Root::open(disk));
    let journal = first_block(&small);
    let length = u64::from(u32::from_be_bytes(small.block(journal)[16..20].try_into().unwrap()));
    let is_journal = |block| (journal..journal + length).contains(&block);
    let mut changed: Vec<(u64, Vec<u8>)> = Vec::new();
    for number in grown.written().filter(|&number| !is_journal(number)) {
        let block = grown.block(number);
        if block != small.block(number) {
            changed.push((number, block));
        }
    }
    assert!(changed.len() > 100 && changed[0].0 == 0, "the growth changes {} blocks", changed.len());
    needs_recovery(&mut changed[0].1[SUPERBLOCK..][..1024]);

    let mut at = journal + 1;
    for (sequence, blocks) in (1..).zip(changed.chunks(TAGS)) {
        for block in transaction(sequence, blocks) {
            small.put(at, &block);
            at += 1;
        }
    }
    assert!(at < journal + length, "the journal is too small");
    // s_sequence and s_start: there is something, from the first transaction on.
    small.put_bytes(journal * BLOCK as u64 + 24, &[0, 0, 0, 1, 0, 0, 0, 1]);

    let source = if home == Home::Nothing { small.block(0) } else { changed[0].1.clone() };
    let mut superblock = source[SUPERBLOCK..][..1024].to_vec();
    needs_recovery(&mut superblock);
    small.put_bytes(SUPERBLOCK as u64, &superblock);
    if home == Home::SuperblockAndNumbers {
        // As the resize inode's blocks have them: copies of the superblock's, far and wide.
        let numbers: Vec<u8> = (1..=1024u32).flat_map(|number| (number * 32_768 + 3).to_le_bytes()).collect();
        small.put(3, &numbers);
    }
}

fn transaction(sequence: u32, blocks: &[(u64, Vec<u8>)]) -> Vec<Vec<u8>> {
    let header = |kind: u32| [MAGIC, kind.to_be_bytes(), sequence.to_be_bytes()].concat();
    let mut tags = header(DESCRIPTOR);
    for (index, (number, block)) in blocks.iter().enumerate() {
        assert_ne!(block[..4], MAGIC, "block {number} would have to be escaped");
        let flags = if index > 0 { SAME_UUID } else { 0 } | if index + 1 == blocks.len() { LAST } else { 0 };
        tags.extend((*number as u32).to_be_bytes());
        tags.extend([0, 0]);
        tags.extend(flags.to_be_bytes());
        tags.extend(if index == 0 { &[0; 16][..] } else { &[] });
    }
    let mut all = vec![tags];
    all.extend(blocks.iter().map(|(_, block)| block.clone()));
    all.push(header(COMMIT));
    all.iter_mut().for_each(|block| block.resize(BLOCK, 0));
    all
}

fn needs_recovery(superblock: &mut [u8]) {
    superblock[FEATURES] |= NEEDS_RECOVERY;
    // ext4's seed is all ones and its result is not inverted.
    let sum = !crc32c::crc32c(&superblock[..CHECKSUM]);
    superblock[CHECKSUM..].copy_from_slice(&sum.to_le_bytes());
}

/// The journal is one extent: where it begins.
fn first_block(root: &Root) -> u64 {
    let copy = tempfile::NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    e2e_disk::extract(&root.path, root.slice, copy.path());
    let text = tools::stdout(Command::new("debugfs").args(["-R", "bmap <8> 0"]).arg(copy.path()));
    text.trim().parse().unwrap_or_else(|_| panic!("debugfs: {text}"))
}

/// The root partition of a disk.
struct Root {
    path: std::path::PathBuf,
    file: File,
    slice: Slice,
}

impl Root {
    fn open(disk: &Path) -> Root {
        let file = File::options().read(true).write(true).open(disk).unwrap();
        Root { path: disk.to_owned(), file, slice: e2e_disk::partition(disk, ROOT) }
    }

    fn block(&self, number: u64) -> Vec<u8> {
        let mut block = vec![0; BLOCK];
        self.file.read_exact_at(&mut block, self.slice.start + number * BLOCK as u64).unwrap();
        block
    }

    fn put(&self, number: u64, block: &[u8]) {
        self.put_bytes(number * BLOCK as u64, block);
    }

    fn put_bytes(&self, at: u64, bytes: &[u8]) {
        self.file.write_all_at(bytes, self.slice.start + at).unwrap();
    }

    /// The numbers of all blocks that are in no hole of the disk's file.
    fn written(&self) -> impl Iterator<Item = u64> {
        let blocks = self.slice.length / BLOCK as u64;
        let place = |number: u64| self.slice.start + number * BLOCK as u64;
        let next = move |number: u64| {
            let data = e2e_disk::next_data(&self.file, place(number))?.max(place(number));
            Some((data - self.slice.start) / BLOCK as u64).filter(|&number| number < blocks)
        };
        std::iter::successors(next(0), move |&number| next(number + 1))
    }
}
