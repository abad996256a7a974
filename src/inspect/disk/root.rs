//! Which partition has the userland.

use super::content::Content;
use super::table::{self, Entry};
use crate::ext4::read::FileSystem;
use crate::formats::ReadAt;

/// Inode number of the root directory.
const ROOT: u32 = 2;

/// The index of the root file system: the one whose type says so, else the first that has what a userland has, else
/// the largest.
pub fn choose(disk: &dyn ReadAt, entries: &[Entry], contents: &[Content]) -> Option<usize> {
    let ext4 = || (0..entries.len()).filter(|&i| contents[i] == Content::Ext4);
    let typed = || ext4().find(|&i| table::is_root(&entries[i].type_id));
    let looks_like = || ext4().find(|&i| has_userland(disk, &entries[i]));
    typed().or_else(looks_like).or_else(|| ext4().max_by_key(|&i| entries[i].length))
}

fn has_userland(disk: &dyn ReadAt, entry: &Entry) -> bool {
    let names = FileSystem::open(disk, entry.offset).and_then(|fs| fs.names(&fs.inode(ROOT)?));
    names.is_ok_and(|names| names.iter().any(|name| matches!(&name.name[..], b"etc" | b"usr" | b"bin" | b"init")))
}
