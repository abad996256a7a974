//! Ways through a userland's tree: every path in byte order, and where one path leads through symbolic links.

use crate::rootfs::{InodeId, Kind, Tree};

/// Symbolic links the kernel follows on one way (path_resolution(7)).
const MAX_SYMLINKS: usize = 40;
/// Components taken on one way: links of links could name millions, and a path has 4096 bytes at most.
const MAX_STEPS: usize = 1 << 12;

/// Where a path led.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The inode at its end.
    pub inode: InodeId,
    /// The path without links, beginning with `/`.
    pub path: Vec<u8>,
    /// Every symbolic link on the way: its path and its target.
    pub links: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Follows `path` from the root, through symbolic links and never above the root. `None` when it leads nowhere.
pub fn resolve<B>(tree: &Tree<B>, path: &[u8]) -> Option<Found> {
    let mut way: Vec<(InodeId, &[u8])> = vec![(Tree::<B>::ROOT, b"")];
    // Components still to come, the next one last.
    let mut rest: Vec<&[u8]> = components(path).collect();
    let mut links = Vec::new();
    let mut steps = 0;
    while let Some(name) = rest.pop() {
        steps += 1;
        if steps > MAX_STEPS {
            return None;
        }
        if name == b".." {
            way.truncate(way.len().saturating_sub(1).max(1));
            continue;
        }
        let (here, _) = *way.last()?;
        if !tree.inode(here).is_directory() {
            return None;
        }
        let entry = tree.entry(here, name)?;
        let next = tree.target(entry);
        let Kind::Symlink(target) = &tree.inode(next).kind else {
            way.push((next, tree.name(entry)));
            continue;
        };
        if links.len() == MAX_SYMLINKS {
            return None;
        }
        links.push((join(&way, name), target.to_vec()));
        if target.starts_with(b"/") {
            way.truncate(1);
        }
        rest.extend(components(target));
    }
    let (inode, name) = way.pop()?;
    let path = if way.is_empty() { b"/".to_vec() } else { join(&way, name) };
    Some(Found { inode, path, links })
}

/// The names of a path from the last to the first; `.` and empty ones are none.
fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.rsplit(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".")
}

fn join(way: &[(InodeId, &[u8])], name: &[u8]) -> Vec<u8> {
    let mut path = Vec::new();
    for name in way.iter().skip(1).map(|(_, name)| *name).chain([name]) {
        path.push(b'/');
        path.extend_from_slice(name);
    }
    path
}

/// The entry at a path whose components are taken as they are: no link is followed. The root has no entry.
pub fn exact<B>(tree: &Tree<B>, path: &[u8]) -> Option<InodeId> {
    let mut here = Tree::<B>::ROOT;
    for name in path.split(|&byte| byte == b'/').filter(|name| !name.is_empty()) {
        here = tree.lookup(here, name)?;
    }
    Some(here)
}

/// Calls `visit` with every name's path (with `/` at its start; the root is `/`), its layer and its inode: each
/// directory before what is in it, names in byte order. Where `visit` says no, a directory is not entered.
pub fn walk<B>(tree: &Tree<B>, mut visit: impl FnMut(&[u8], u32, InodeId) -> bool) {
    struct Level {
        length: usize,
        /// Entries still to come, the next one last.
        rest: Vec<crate::rootfs::tree::EntryId>,
    }
    let sorted = |dir| {
        let mut children: Vec<_> = tree.children(dir).collect();
        children.sort_unstable_by(|a, b| tree.name(*b).cmp(tree.name(*a)));
        children
    };
    if !visit(b"/", 0, Tree::<B>::ROOT) {
        return;
    }
    let mut path = Vec::new();
    let mut levels = vec![Level { length: 0, rest: sorted(Tree::<B>::ROOT) }];
    while let Some(level) = levels.last_mut() {
        path.truncate(level.length);
        let Some(entry) = level.rest.pop() else {
            levels.pop();
            continue;
        };
        path.push(b'/');
        path.extend_from_slice(tree.name(entry));
        let inode = tree.target(entry);
        if visit(&path, tree.layer(entry), inode) && tree.inode(inode).is_directory() {
            levels.push(Level { length: path.len(), rest: sorted(inode) });
        }
    }
}

/// Levels of paths that come in the order of a walk. Each goes on where one before it stands, so that nothing is counted
/// from the start again.
#[derive(Default)]
pub struct Levels {
    /// Lengths of the directories' paths that the last path is in, and of itself.
    ends: Vec<usize>,
}

impl Levels {
    /// How many directories the path is in; 0 for the root.
    pub fn of(&mut self, path: &[u8]) -> usize {
        if path == b"/" {
            return 0;
        }
        let parent = path.len() - file_name(path).len() - 1;
        while self.ends.last().is_some_and(|&end| end > parent) {
            self.ends.pop();
        }
        self.ends.push(path.len());
        self.ends.len()
    }
}

/// How many directories the deepest name is in.
pub fn deepest<B>(tree: &Tree<B>) -> usize {
    let (mut levels, mut most) = (Levels::default(), 0);
    walk(tree, |path, _, _| {
        most = most.max(levels.of(path));
        true
    });
    most
}

/// The last name of a path.
pub fn file_name(path: &[u8]) -> &[u8] {
    path.rsplit(|&byte| byte == b'/').next().unwrap_or_default()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::rootfs::Attrs;

    /// `NAME/` is a directory, `NAME -> TARGET` a link, `NAME` an executable; directories come first.
    pub fn tree<B: Default>(entries: &[&str]) -> Tree<B> {
        let attrs = |mode| Attrs { mode, ..Attrs::default() };
        let mut tree = Tree::new(attrs(0o755));
        for entry in entries {
            let (path, kind) = match entry.split_once(" -> ") {
                Some((path, target)) => (path, Kind::Symlink(target.as_bytes().into())),
                None if entry.ends_with('/') => (entry.trim_end_matches('/'), Kind::directory()),
                None => (*entry, Kind::File { size: 0, body: B::default() }),
            };
            let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
            let names = parent.split('/').filter(|name| !name.is_empty());
            let dir = names.fold(Tree::<B>::ROOT, |dir, name| tree.lookup(dir, name.as_bytes()).unwrap());
            tree.insert(dir, name.as_bytes(), attrs(0o755), kind, 0).unwrap();
        }
        tree
    }

    #[test]
    fn links_are_followed_and_told() {
        let tree =
            tree::<()>(&["usr/", "usr/bin/", "bin -> usr/bin", "usr/bin/dash", "usr/bin/sh -> dash", "up -> ../.."]);
        let found = resolve(&tree, b"/bin/sh").unwrap();
        assert_eq!(found.path, b"/usr/bin/dash");
        assert_eq!(found.links, [(b"/bin".to_vec(), b"usr/bin".to_vec()), (b"/usr/bin/sh".to_vec(), b"dash".to_vec())]);
        assert_eq!(resolve(&tree, b"/up/usr").unwrap().path, b"/usr");
        assert_eq!(resolve(&tree, b"/").unwrap().path, b"/");
        assert!(resolve(&tree, b"/usr/bin/dash/x").is_none());
    }

    #[test]
    fn rings_of_links_lead_nowhere() {
        let tree = tree::<()>(&["a -> b", "b -> a"]);
        assert!(resolve(&tree, b"/a").is_none());
    }

    #[test]
    fn paths_come_in_byte_order() {
        let tree = tree::<()>(&["b/", "a/", "b/y", "b/x", "a/z"]);
        let mut paths = Vec::new();
        walk(&tree, |path, _, _| {
            paths.push(String::from_utf8(path.to_vec()).unwrap());
            path != b"/a"
        });
        assert_eq!(paths, ["/", "/a", "/b", "/b/x", "/b/y"]);
    }
}
