//! Writes the blocks of a journal where they belong, for a kernel that refuses to.
//!
//! The kernel looks at the descriptors of all groups before it replays. When the power went while a growth came home,
//! the superblock may tell of groups whose descriptors are in the journal alone. The kernel takes that for damage. What
//! is done here leaves the journal as it is: the kernel replays it once more, verifies it, and empties it.
//!
//! ```text
//! extent header  0 magic  2 entries  6 depth      extent  0 first  4 blocks  6 high half  8 place
//!                                                 index   0 first  4 place of a node  8 high half
//! ```

use super::transactions::{Blocks, to_write};
use crate::init::superblock::Superblock;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The journal's inode, unless the superblock names another, which it does not.
const INODE: u64 = 8;
/// Where an inode has its extents.
const EXTENTS: std::ops::Range<usize> = 40..100;
const EXTENTS_MAGIC: u16 = 0xf30a;
/// Bytes of a header, an extent and an index.
const ENTRY: usize = 12;
/// No extent tree of ext4 is deeper.
const MAX_DEPTH: u16 = 5;

/// Brings home what the journal of the file system on `device` holds. How many blocks.
pub fn bring(device: &Path) -> io::Result<usize> {
    let device = OpenOptions::new().read(true).write(true).open(device)?;
    let superblock = Superblock::of(&device)?.ok_or(io::ErrorKind::InvalidData)?;
    let journal = Journal::open(&device, &superblock)?;
    let tags = to_write(&journal)?;
    for tag in &tags {
        device.write_all_at(&tag.bytes(&journal)?, tag.block.saturating_mul(superblock.block))?;
    }
    device.sync_all()?;
    Ok(tags.len())
}

/// A journal's blocks on the device.
struct Journal<'a> {
    device: &'a File,
    block: u64,
    /// First number in the journal, first on the device, how many.
    extents: Vec<(u32, u64, u32)>,
}

impl<'a> Journal<'a> {
    fn open(device: &'a File, superblock: &Superblock) -> io::Result<Journal<'a>> {
        let at = superblock.inode_table_of_first_group(device)?.saturating_mul(superblock.block);
        let mut inode = [0; 128];
        device.read_exact_at(&mut inode, at.saturating_add((INODE - 1) * superblock.inode))?;
        let read = |number| read_block(device, superblock.block, number);
        let extents = extents(&inode[EXTENTS], MAX_DEPTH, &read)?;
        Ok(Journal { device, block: superblock.block, extents })
    }
}

impl Blocks for Journal<'_> {
    fn block(&self, index: u32) -> io::Result<Vec<u8>> {
        let holds = |(first, _, length): &&(u32, u64, u32)| index >= *first && index - first < *length;
        let (first, start, _) = self.extents.iter().find(holds).ok_or(io::ErrorKind::InvalidData)?;
        read_block(self.device, self.block, start + u64::from(index - first))
    }
}

fn read_block(device: &File, size: u64, number: u64) -> io::Result<Vec<u8>> {
    let mut block = vec![0; size as usize];
    device.read_exact_at(&mut block, number.saturating_mul(size))?;
    Ok(block)
}

/// The extents of a node and of all below it.
fn extents(node: &[u8], most: u16, read: &impl Fn(u64) -> io::Result<Vec<u8>>) -> io::Result<Vec<(u32, u64, u32)>> {
    let half = |at: usize| u16::from_le_bytes([node[at], node[at + 1]]);
    let word = |at: usize| u32::from(half(at)) | u32::from(half(at + 2)) << 16;
    let (count, depth) = (usize::from(half(2)), half(6));
    if half(0) != EXTENTS_MAGIC || depth > most || (count + 1) * ENTRY > node.len() {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let entries = (1..=count).map(|number| number * ENTRY);
    if depth == 0 {
        let extent = |at| (word(at), u64::from(word(at + 8)) | u64::from(half(at + 6)) << 32, half(at + 4).into());
        return Ok(entries.map(extent).collect());
    }
    let mut all = Vec::new();
    for at in entries {
        let below = read(u64::from(word(at + 4)) | u64::from(half(at + 8)) << 32)?;
        all.extend(extents(&below, depth - 1, read)?);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    const BLOCK: usize = 4096;

    fn run(program: &str, arguments: &[&str], at: &Path) -> String {
        let output = Command::new(program).args(arguments).arg(at).env("LC_ALL", "C").output();
        let output = output.unwrap_or_else(|error| panic!("cannot start {program}: {error}"));
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    /// Bytes of a file system but for the superblock, which says whether it was replayed, and the journal.
    fn contents(image: &Path) -> Vec<u8> {
        let mut bytes = std::fs::read(image).unwrap();
        let text = run("debugfs", &["-R", "bmap <8> 0"], image);
        let first: usize = text.lines().find_map(|line| line.trim().parse().ok()).unwrap_or_else(|| panic!("{text}"));
        bytes[first * BLOCK..][..1024 * BLOCK].fill(0);
        bytes[..BLOCK].fill(0);
        bytes
    }

    #[test]
    fn a_journal_comes_home_as_e2fsck_brings_it_home() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for (features, version) in
            [("metadata_csum,64bit", "3"), ("^metadata_csum,64bit", ""), ("^metadata_csum,^64bit", "")]
        {
            let image = path("image");
            std::fs::File::create(&image).unwrap().set_len(32 << 20).unwrap();
            let made = run("mke2fs", &["-q", "-t", "ext4", "-b", "4096", "-J", "size=4", "-O", features], &image);
            assert_eq!(made, "", "mke2fs");
            let data = |byte: u8| {
                // The second block begins as a block of the journal's own, and is escaped in it.
                let mut bytes = vec![byte; 3 * BLOCK];
                bytes[BLOCK..BLOCK + 4].copy_from_slice(&[0xc0, 0x3b, 0x39, 0x98]);
                bytes
            };
            for byte in [1, 2, 3] {
                std::fs::write(path(&format!("data{byte}")), data(byte)).unwrap();
            }
            let [one, two, three] = [1, 2, 3].map(|byte| path(&format!("data{byte}")).display().to_string());
            let open = if version.is_empty() { "jo".to_owned() } else { format!("jo -c -v {version}") };
            let script = format!(
                "{open}\njw -b 7000,7001,7002 {one}\njw -r 7000\njw -b 7002,7003,7004 {two}\njw -b 7005,7006,7007 {three}\njc\n"
            );
            std::fs::write(path("script"), script).unwrap();
            let said = run("debugfs", &["-w", "-f", &path("script").display().to_string()], &image);
            assert!(!said.contains("journal_write:") && !said.contains("journal_open:"), "{said}");
            let (expected, ours) = (path("expected"), path("ours"));
            std::fs::copy(&image, &expected).unwrap();
            std::fs::copy(&image, &ours).unwrap();
            let said = run("e2fsck", &["-y", "-E", "journal_only"], &expected);
            assert!(said.contains("recovering journal"), "e2fsck: {said}");

            assert!(contents(&expected) != contents(&image), "{features}: nothing to replay");
            assert_eq!(bring(&ours).unwrap(), 7, "{features}");
            assert!(contents(&expected) == contents(&ours), "{features}");
            // Once more changes nothing, and the kernel's own replay does not either.
            assert_eq!(bring(&ours).unwrap(), 7, "{features}");
            run("e2fsck", &["-y", "-E", "journal_only"], &ours);
            assert!(contents(&expected) == contents(&ours), "{features}");
        }
    }

    #[test]
    fn a_large_journal_has_extents_in_nodes_of_their_own() {
        let node = |depth: u16, entries: &[[u16; 6]]| -> Vec<u8> {
            let header = [EXTENTS_MAGIC, entries.len() as u16, 4, depth, 0, 0];
            std::iter::once(&header).chain(entries).flatten().flat_map(|half| half.to_le_bytes()).collect()
        };
        let read = |number: u64| match number {
            7 => Ok(node(0, &[[0, 0, 0x8000, 0, 100, 0], [0x8000, 0, 5, 1, 200, 0]])),
            0x1_0000_0009 => Ok(node(0, &[[0x8005, 0, 6, 0, 300, 0]])),
            _ => Ok(node(1, &[[0, 0, 8, 0, 0, 0]])),
        };
        let root = node(1, &[[0, 0, 7, 0, 0, 0], [0x8005, 0, 9, 0, 1, 0]]);
        let expected = [(0, 100, 0x8000), (0x8000, 1 << 32 | 200, 5), (0x8005, 300, 6)];
        assert_eq!(extents(&root, MAX_DEPTH, &read).unwrap(), expected);
        // A node below itself, more entries than there is room for, and none of it.
        for bad in [node(1, &[[0, 0, 8, 0, 0, 0]]), node(0, &[[0; 6]])[..20].to_vec(), vec![0; 60]] {
            assert!(extents(&bad, MAX_DEPTH, &read).is_err());
        }
    }

    #[test]
    fn what_is_no_journal_is_an_error() {
        let image = tempfile::NamedTempFile::new().unwrap();
        assert!(bring(image.path()).is_err());
        image.as_file().set_len(8 << 20).unwrap();
        assert!(bring(image.path()).is_err());
    }
}
