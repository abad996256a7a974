//! The os-release of a userland: a unified kernel image has it beside the kernel.

use crate::contents::paths;
use crate::rootfs::{Kind, Tree};

/// Where it is, the first that exists counts (os-release(5)).
const PLACES: [&[u8]; 2] = [b"/etc/os-release", b"/usr/lib/os-release"];
/// Bytes of the longest one that is read.
const LONGEST: u64 = 64 << 10;

/// The text; `None` where there is none, or an odd one. `read` is given a body and its length.
pub fn of<B>(tree: &Tree<B>, read: &dyn Fn(&B, u64) -> Option<Vec<u8>>) -> Option<Vec<u8>> {
    let found = PLACES.iter().find_map(|path| paths::resolve(tree, path))?;
    match &tree.inode(found.inode).kind {
        Kind::File { body, size } if *size <= LONGEST => read(body, *size),
        _ => None,
    }
}
