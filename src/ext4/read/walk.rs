//! Every path of a file system.

use super::error::{Part, ReadError};
use super::inode::{Inode, Kind};
use super::superblock::FileSystem;
use crate::ext4::format::ROOT_INO;
use std::collections::HashSet;
use std::ops::ControlFlow;

impl FileSystem<'_> {
    /// Calls `visit` with the path (without a leading `/`; empty for the root) and the inode of every name, each
    /// directory before what is in it, names in byte order. A directory that is met twice is damage.
    pub fn walk(&self, mut visit: impl FnMut(&[u8], &Inode) -> ControlFlow<()>) -> Result<(), ReadError> {
        let mut met = HashSet::new();
        let mut stack = vec![(Vec::new(), ROOT_INO)];
        while let Some((path, number)) = stack.pop() {
            let inode = self.inode(number)?;
            let is_directory = inode.kind == Kind::Directory;
            if (path.is_empty() && !is_directory) || (is_directory && !met.insert(number)) {
                return Err(ReadError::Damaged(Part::Directory(number)));
            }
            if visit(&path, &inode).is_break() {
                return Ok(());
            }
            if is_directory {
                let mut names = self.names(&inode)?;
                names.sort_unstable_by(|a, b| b.name.cmp(&a.name));
                stack.extend(names.into_iter().map(|name| (join(&path, &name.name), name.inode)));
            }
        }
        Ok(())
    }
}

fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    if path.is_empty() { name.to_vec() } else { [path, b"/", name].concat() }
}
