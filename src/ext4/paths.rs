//! Names of inodes for messages. Slow on purpose: only errors and the first few warnings ask.

use super::body::Body;
use crate::escape::escape;
use crate::rootfs::{InodeId, Tree};

/// A path of the inode from the root, as printable text; the first one met where there are several.
pub fn path_of(tree: &Tree<Body>, id: InodeId) -> String {
    if id == Tree::<Body>::ROOT {
        return "/".into();
    }
    let mut to = id;
    let mut names: Vec<&[u8]> = Vec::new();
    while to != Tree::<Body>::ROOT {
        let found = tree
            .inodes()
            .filter(|(_, inode)| inode.is_directory())
            .find_map(|(dir, _)| tree.children(dir).find(|&entry| tree.target(entry) == to).map(|entry| (dir, entry)));
        let Some((dir, entry)) = found else { break };
        names.push(tree.name(entry));
        to = dir;
        if names.len() > 4096 {
            break;
        }
    }
    names.reverse();
    escape(&names.join(&b'/'))
}
