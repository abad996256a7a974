//! A tree as text: one line a path, sorted, complete. For golden files and for comparing with other tools.
//!
//! ```text
//!  /                       directory mode=0755 uid=0 gid=0 mtime=0.000000000
//!  /bin/ping               file mode=0755 uid=0 gid=0 mtime=1.500000000 size=1 body=2d711642 xattr:security.capability=0100…
//!  /bin/ping6              hard link to /bin/ping
//!  /lib                    symbolic link mode=0777 uid=0 gid=0 mtime=0.000000000 target=usr/lib
//! ```
//!
//! Paths and targets are escaped. Of the names of one file the first in order carries the attributes.

use super::tree::EntryId;
use super::{InodeId, Kind, Tree};
use crate::escape::escape;
use crate::hex::hex;
use std::collections::HashMap;
use std::io::{self, Write};

/// Writes the tree. `digest` turns a file's body into text of the caller's choice; it is asked once for each inode.
pub fn dump<B>(
    tree: &Tree<B>,
    out: &mut dyn Write,
    digest: &mut dyn FnMut(&B, u64) -> io::Result<String>,
) -> io::Result<()> {
    let mut path: Vec<u8> = vec![b'/'];
    let mut first_names: HashMap<InodeId, String> = HashMap::new();
    line(tree, out, digest, "/", Tree::<B>::ROOT)?;
    // Each entry with the length of the path it is to be appended to.
    let mut to_do: Vec<(usize, EntryId)> = sorted_children(tree, Tree::<B>::ROOT, 1);
    while let Some((parent_length, entry)) = to_do.pop() {
        path.truncate(parent_length);
        path.extend_from_slice(tree.name(entry));
        let (text, id) = (escape(&path), tree.target(entry));
        if tree.inode(id).names() > 1 {
            if let Some(first) = first_names.get(&id) {
                writeln!(out, "{text} hard link to {first}")?;
                continue;
            }
            first_names.insert(id, text.clone());
        }
        line(tree, out, digest, &text, id)?;
        path.push(b'/');
        to_do.extend(sorted_children(tree, id, path.len()));
    }
    Ok(())
}

/// Last first, as they are taken from the end.
fn sorted_children<B>(tree: &Tree<B>, dir: InodeId, path_length: usize) -> Vec<(usize, EntryId)> {
    let mut children: Vec<_> = tree.children(dir).map(|entry| (path_length, entry)).collect();
    children.sort_by(|a, b| tree.name(b.1).cmp(tree.name(a.1)));
    children
}

fn line<B>(
    tree: &Tree<B>,
    out: &mut dyn Write,
    digest: &mut dyn FnMut(&B, u64) -> io::Result<String>,
    path: &str,
    id: InodeId,
) -> io::Result<()> {
    let inode = tree.inode(id);
    let attrs = &inode.attrs;
    let kind = match inode.kind {
        Kind::Directory(_) => "directory",
        Kind::File { .. } => "file",
        Kind::Symlink(_) => "symbolic link",
        Kind::CharDevice { .. } => "character device",
        Kind::BlockDevice { .. } => "block device",
        Kind::Fifo => "named pipe",
    };
    let (mode, time) = (attrs.mode, attrs.mtime);
    write!(out, "{path} {kind} mode={mode:04o} uid={} gid={}", attrs.uid, attrs.gid)?;
    write!(out, " mtime={}.{:09}", time.secs, time.nanos)?;
    match &inode.kind {
        Kind::File { size, body } => write!(out, " size={size} body={}", digest(body, *size)?)?,
        Kind::Symlink(target) => write!(out, " target={}", escape(target))?,
        Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => {
            write!(out, " device={major}:{minor}")?;
        }
        Kind::Directory(_) | Kind::Fifo => {}
    }
    for (name, value) in attrs.xattrs.iter().flatten() {
        write!(out, " xattr:{}={}", escape(name), hex(value))?;
    }
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use super::super::{Attrs, Time};
    use super::*;

    #[test]
    fn a_tree_is_written_in_order_with_its_hard_links() {
        let root = Attrs { mode: 0o755, ..Attrs::default() };
        let mut tree: Tree<u8> = Tree::new(root.clone());
        let dir = tree.insert(Tree::<u8>::ROOT, b"z", root.clone(), Kind::directory(), 0).unwrap();
        let xattrs = Some(vec![(b"user.a"[..].into(), b"\x01\xff"[..].into())].into());
        let attrs = Attrs { mode: 0o4755, uid: 1, gid: 2, mtime: Time { secs: -2, nanos: 5 }, xattrs };
        let file = tree.insert(dir, b"f\n", attrs, Kind::File { size: 3, body: 9 }, 0).unwrap();
        tree.link(Tree::<u8>::ROOT, b"zz", file, 0).unwrap();
        tree.insert(dir, b"a", root.clone(), Kind::CharDevice { major: 1, minor: 3 }, 0).unwrap();
        tree.insert(Tree::<u8>::ROOT, b"b", root, Kind::Symlink(b"z/a"[..].into()), 0).unwrap();
        let mut text = Vec::new();
        dump(&tree, &mut text, &mut |body, size| Ok(format!("{body}/{size}"))).unwrap();
        let plain = "mode=0755 uid=0 gid=0 mtime=0.000000000";
        let expected = format!(
            "/ directory {plain}\n\
             /b symbolic link {plain} target=z/a\n\
             /z directory {plain}\n\
             /z/a character device {plain} device=1:3\n\
             /z/f\\n file mode=4755 uid=1 gid=2 mtime=-2.000000005 size=3 body=9/3 xattr:user.a=01ff\n\
             /zz hard link to /z/f\\n\n"
        );
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }
}
