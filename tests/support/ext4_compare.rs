//! Compares a file system, as our reader sees it, with the tree it was written from.

use super::ext4::{ROOT, Written};
use bootdisk::ext4::read::{FileSystem, Inode, Kind as Found};
use bootdisk::rootfs::{InodeId, Kind};
use std::collections::HashMap;
use std::ops::ControlFlow;

/// Every path, attribute, link and byte must be the same. Returns the number of paths.
pub fn compare(fs: &FileSystem, written: &Written) -> usize {
    let mut found: Vec<(Vec<u8>, Inode)> = Vec::new();
    fs.walk(|path, inode| {
        found.push((path.to_vec(), inode.clone()));
        ControlFlow::Continue(())
    })
    .unwrap();
    let expected = paths(written);
    let names = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
    assert_eq!(
        found.iter().map(|(path, _)| names(path)).collect::<Vec<_>>(),
        expected.iter().map(|(path, _)| names(path)).collect::<Vec<_>>()
    );
    let mut numbers: HashMap<InodeId, u32> = HashMap::new();
    for ((path, inode), (_, id)) in found.iter().zip(&expected) {
        assert_eq!(*numbers.entry(*id).or_insert(inode.number), inode.number, "{}: one file, one inode", names(path));
        same_inode(fs, written, *id, inode, &names(path));
    }
    let mut different: Vec<u32> = numbers.values().copied().collect();
    different.sort_unstable();
    different.dedup();
    assert_eq!(different.len(), numbers.len(), "two files have one inode");
    found.len()
}

/// Paths of the tree in the order the reader walks.
fn paths(written: &Written) -> Vec<(Vec<u8>, InodeId)> {
    let tree = &written.tree;
    let mut out = Vec::new();
    let mut stack = vec![(Vec::new(), ROOT)];
    while let Some((path, id)) = stack.pop() {
        let mut names: Vec<_> = tree.children(id).collect();
        names.sort_by(|&a, &b| tree.name(b).cmp(tree.name(a)));
        for entry in names {
            let join: Vec<u8> =
                if path.is_empty() { tree.name(entry).to_vec() } else { [&path, &b"/"[..], tree.name(entry)].concat() };
            stack.push((join, tree.target(entry)));
        }
        out.push((path, id));
    }
    out
}

fn same_inode(fs: &FileSystem, written: &Written, id: InodeId, inode: &Inode, path: &str) {
    let source = written.tree.inode(id);
    let attrs = &source.attrs;
    assert_eq!((inode.mode, inode.uid, inode.gid), (attrs.mode, attrs.uid, attrs.gid), "{path}");
    assert_eq!(inode.mtime, attrs.mtime, "{path}");
    let xattrs: Vec<(Vec<u8>, Vec<u8>)> =
        attrs.xattrs.iter().flatten().map(|(n, v)| (n.to_vec(), v.to_vec())).collect();
    assert_eq!(fs.attributes(inode).unwrap(), xattrs, "{path}");
    if !source.is_directory() {
        assert_eq!(u32::from(inode.links), source.names(), "{path}");
    }
    match (&source.kind, inode.kind) {
        (Kind::Directory(_), Found::Directory) | (Kind::Fifo, Found::Fifo) => {}
        (Kind::File { size, .. }, Found::File) => {
            assert_eq!(inode.size, *size, "{path}");
            if let Some(content) = written.contents.get(&id) {
                let mut bytes = vec![0xaa; content.len()];
                fs.read_file(inode, 0, &mut bytes).unwrap();
                assert!(bytes == *content, "{path}: other bytes");
            }
        }
        (Kind::Symlink(target), Found::Symlink) => assert_eq!(fs.target(inode).unwrap(), target.to_vec(), "{path}"),
        (&Kind::CharDevice { major, minor }, Found::CharDevice { major: a, minor: b })
        | (&Kind::BlockDevice { major, minor }, Found::BlockDevice { major: a, minor: b }) => {
            assert_eq!((major, minor), (a, b), "{path}");
        }
        (_, found) => panic!("{path}: found {found:?}"),
    }
}
