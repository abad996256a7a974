//! Two userlands compared, name by name, with attributes and digests.
//!
//! Neither the layers of an image nor the place of a disk's blocks makes a difference.

use super::body::{Body, digest};
use super::{Root, paths};
use crate::escape::escape;
use crate::rootfs::tree::Inode;
use crate::rootfs::{InodeId, Kind};
use serde::Serialize;
use std::collections::HashMap;

/// Most paths listed.
const LISTED: usize = 200;
/// What differs when two names are one file here and two there.
const LINKS: &str = "hard links";
/// What is said of a name that a build has added.
const ADDED: &str = "added by bootdisk";

/// Names that differ.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PathDifferences {
    /// Only in the first.
    pub only_a: u64,
    /// Only in the second.
    pub only_b: u64,
    /// In both, and not the same.
    pub changed: u64,
    /// Names compared, the root included.
    pub compared: u64,
    /// Those of the names that differ which a layer explains that a build has added.
    #[serde(skip_serializing_if = "is_zero")]
    pub added: u64,
    /// The first of them: `-` only in the first, `+` only in the second, `~` changed, with what.
    pub items: Vec<PathDifference>,
}

impl PathDifferences {
    /// Names that differ.
    pub fn count(&self) -> u64 {
        self.only_a + self.only_b + self.changed
    }

    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A name that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PathDifference {
    /// `-`, `+`, `~`.
    pub mark: char,
    /// The path.
    pub path: String,
    /// What differs.
    pub what: Vec<String>,
}

/// Every name of two userlands, with attributes and what their digests say of bodies.
pub fn paths(a: &Root, b: &Root) -> PathDifferences {
    paths_beside(a, b, &|_, _| false)
}

/// The same, where `added` knows of a difference, by its mark and its path, whether a build has added it.
pub fn paths_beside(a: &Root, b: &Root, added: &dyn Fn(char, &[u8]) -> bool) -> PathDifferences {
    let mut found = PathDifferences::default();
    let mut items: Vec<PathDifference> = Vec::new();
    let mut explained = 0;
    let mut add = |mark, path: &[u8], mut what: Vec<String>, listed: u64| {
        if added(mark, path) {
            explained += 1;
            what.push(ADDED.to_owned());
        }
        if listed < LISTED as u64 {
            items.push(PathDifference { mark, path: escape(path), what });
        }
    };
    // Names of one file in `a` must be names of one file in `b`.
    let mut linked: HashMap<InodeId, InodeId> = HashMap::new();
    paths::walk(a, |path, _, id| {
        found.compared += 1;
        match paths::exact(b, path) {
            None => {
                add('-', path, Vec::new(), found.only_a);
                found.only_a += 1;
            }
            Some(other) => {
                let mut what = differs(a.inode(id), b.inode(other));
                let is_linked = !a.inode(id).is_directory() && a.inode(id).names() > 1;
                if is_linked && *linked.entry(id).or_insert(other) != other && !what.iter().any(|what| what == LINKS) {
                    what.push(LINKS.to_owned());
                }
                if !what.is_empty() {
                    add('~', path, what, found.changed);
                    found.changed += 1;
                }
            }
        }
        true
    });
    paths::walk(b, |path, _, _| {
        if paths::exact(a, path).is_none() {
            found.compared += 1;
            add('+', path, Vec::new(), found.only_b);
            found.only_b += 1;
        }
        true
    });
    items.sort_by(|a, b| a.path.cmp(&b.path));
    found.items = items;
    found.added = explained;
    found
}

/// What of two inodes of one path is not the same.
fn differs(a: &Inode<Body>, b: &Inode<Body>) -> Vec<String> {
    if kind_name(&a.kind) != kind_name(&b.kind) {
        return vec![format!("{} / {}", kind_name(&a.kind), kind_name(&b.kind))];
    }
    let mut what = Vec::new();
    let mut check = |name: &str, same: bool| {
        if !same {
            what.push(name.to_owned());
        }
    };
    match (&a.kind, &b.kind) {
        (Kind::File { size: size_a, body: body_a }, Kind::File { size: size_b, body: body_b }) => {
            check("size", size_a == size_b);
            check("content", digest(*size_a, body_a) == digest(*size_b, body_b));
            check(LINKS, a.names() == b.names());
        }
        (Kind::Symlink(a), Kind::Symlink(b)) => check("target", a == b),
        (Kind::CharDevice { .. } | Kind::BlockDevice { .. }, _) => {
            let device = |inode: &Inode<Body>| match inode.kind {
                Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => Some((major, minor)),
                _ => None,
            };
            check("device", device(a) == device(b));
        }
        _ => {}
    }
    let (a, b) = (&a.attrs, &b.attrs);
    check("mode", a.mode == b.mode);
    check("owner", (a.uid, a.gid) == (b.uid, b.gid));
    check("time", a.mtime == b.mtime);
    check("extended attributes", a.xattrs == b.xattrs);
    what
}

/// A kind's name.
pub fn kind_name<B>(kind: &Kind<B>) -> &'static str {
    match kind {
        Kind::Directory(_) => "directory",
        Kind::File { .. } => "file",
        Kind::Symlink(_) => "symlink",
        Kind::CharDevice { .. } => "char",
        Kind::BlockDevice { .. } => "block",
        Kind::Fifo => "fifo",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contents::paths::tests::tree;

    #[test]
    fn names_of_one_file_are_names_of_one_file() {
        let linked = |pairs: [[&str; 2]; 2]| {
            let mut tree: Root = tree(&[pairs[0][0], pairs[1][0]]);
            for [first, second] in pairs {
                let file = tree.lookup(Root::ROOT, first.as_bytes()).unwrap();
                tree.link(Root::ROOT, second.as_bytes(), file, 0).unwrap();
            }
            tree
        };
        let (a, b) = (linked([["w", "x"], ["y", "z"]]), linked([["w", "y"], ["x", "z"]]));
        assert!(paths(&a, &a).is_empty());
        let found = paths(&a, &b);
        assert_eq!((found.changed, found.only_a + found.only_b), (2, 0), "{found:?}");
        assert!(found.items.iter().all(|item| item.what == [LINKS]), "{found:?}");
    }
}
