//! Which inode number each inode of the tree gets, and what follows from the names: link counts.
//!
//! Breadth first, the names of each directory in byte order: siblings are neighbours in the inode table, and the
//! numbers depend only on the tree's names, not on the order the layers made them in.

use super::body::Body;
use super::error::SealError;
use super::format::{FIRST_INO, LINK_MAX, ROOT_INO};
use super::paths::path_of;
use crate::rootfs::{InodeId, Tree};

/// Numbers for a whole tree.
pub struct Numbering {
    /// Inodes in the order of their numbers: the root, then [`FIRST_INO`] and on.
    pub order: Vec<InodeId>,
    /// Number by [`InodeId`]; 0 where the tree has no such inode.
    number: Vec<u32>,
    /// Directories in the order of their numbers.
    pub directories: Vec<Directory>,
}

/// What a directory needs besides its own names.
pub struct Directory {
    /// The directory.
    pub id: InodeId,
    /// Inode number of the directory it is in; its own for the root.
    pub parent: u32,
    /// Directories directly in it.
    pub subdirectories: u32,
}

impl Numbering {
    /// Numbers every inode that a name leads to.
    pub fn new(tree: &Tree<Body>) -> Result<Self, SealError> {
        let mut this = Numbering {
            order: Vec::with_capacity(tree.inode_count() as usize),
            number: vec![0; tree.inode_bound() as usize],
            directories: Vec::new(),
        };
        this.assign(Tree::<Body>::ROOT);
        this.directories.push(Directory { id: Tree::<Body>::ROOT, parent: ROOT_INO, subdirectories: 0 });
        let mut names = Vec::new();
        let mut next = 0;
        while next < this.directories.len() {
            let dir = this.directories[next].id;
            names.clear();
            names.extend(tree.children(dir));
            names.sort_unstable_by(|&a, &b| tree.name(a).cmp(tree.name(b)));
            for &entry in &names {
                let id = tree.target(entry);
                if this.number[id.0 as usize] == 0 {
                    this.check_links(tree, id)?;
                    this.assign(id);
                    if tree.inode(id).is_directory() {
                        let parent = this.of(dir);
                        this.directories.push(Directory { id, parent, subdirectories: 0 });
                        this.directories[next].subdirectories += 1;
                    }
                }
            }
            next += 1;
        }
        Ok(this)
    }

    /// The number of an inode of the tree.
    pub fn of(&self, id: InodeId) -> u32 {
        self.number[id.0 as usize]
    }

    /// Number of the directory that a directory is in.
    pub fn parent(&self, directory: u32) -> u32 {
        let place = self.directories.binary_search_by_key(&directory, |d| self.of(d.id));
        place.map_or(ROOT_INO, |place| self.directories[place].parent)
    }

    /// The number of the inode at a place of [`Numbering::order`].
    pub fn at(index: usize) -> u32 {
        if index == 0 { ROOT_INO } else { FIRST_INO - 1 + index as u32 }
    }

    /// The highest number in use.
    pub fn last(&self) -> u32 {
        Self::at(self.order.len() - 1).max(FIRST_INO - 1)
    }

    fn assign(&mut self, id: InodeId) {
        self.number[id.0 as usize] = Self::at(self.order.len());
        self.order.push(id);
    }

    fn check_links(&self, tree: &Tree<Body>, id: InodeId) -> Result<(), SealError> {
        match tree.inode(id).names() {
            links if links > LINK_MAX => Err(SealError::TooManyLinks { path: path_of(tree, id), links }),
            _ => Ok(()),
        }
    }
}

impl Directory {
    /// `i_links_count`: the name, `.`, and `..` of each subdirectory; 1 when that is too many (`dir_nlink`).
    pub fn links(&self) -> u16 {
        match self.subdirectories.saturating_add(2) {
            links if links > LINK_MAX => 1,
            links => links as u16,
        }
    }
}
