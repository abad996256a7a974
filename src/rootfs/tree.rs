//! The merged tree: directories, names and inodes, without any on-disk format and without file bodies.
//!
//! ```text
//!  names    one byte arena            "etc" "passwd" "hello" …
//!  entries  directory, name, inode    one per name; siblings form a list in the order they were made
//!  inodes   attributes and kind       one per file; a hard link is two entries with one inode
//!  index    (directory, name) → entry hash table of entry numbers
//! ```
//!
//! Everything is addressed by number, nothing is recursive, and a file costs about 150 bytes, names and index
//! included: images with millions of files and paths thousands of levels deep are ordinary input. Nothing is moved
//! when the tree grows; names that are gone are swept out when they are more than those that are left.
//!
//! Names are bytes without `/` and NUL, 1 to 255 long, never `.` or `..`; [`Tree::insert`] checks it.

use super::chunked::{Chunked, Texts};
use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Slot;
use std::hash::{BuildHasher, Hasher, RandomState};

/// Longest name of a directory entry, in bytes (NAME_MAX).
pub const NAME_MAX: usize = 255;
/// Longest target of a symbolic link, in bytes (PATH_MAX less the terminating NUL).
pub const SYMLINK_MAX: usize = 4095;

/// Number of an inode in its tree. The root is [`Tree::ROOT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InodeId(pub u32);

/// Number of an entry in its tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryId(u32);

pub(super) const NONE: u32 = u32::MAX;

/// A point in time: seconds since the epoch, negative before it, and nanoseconds 0 to 999,999,999 after that second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    /// Whole seconds, rounded towards the past.
    pub secs: i64,
    /// Nanoseconds above `secs`.
    pub nanos: u32,
}

/// What every inode has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attrs {
    /// Permission, setuid, setgid and sticky bits: `mode & 0o7777`.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Time of last modification.
    pub mtime: Time,
    /// Extended attributes by full name (`security.capability`), sorted by name, values raw as the layer has them.
    pub xattrs: Xattrs,
}

/// Extended attributes: absent for almost every file, so one pointer.
pub type Xattrs = Option<Box<[(Box<[u8]>, Box<[u8]>)]>>;

/// What an inode is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind<B> {
    /// A directory; its entries are in the tree.
    Directory(Children),
    /// A regular file of `size` bytes.
    File {
        /// Length in bytes, holes included.
        size: u64,
        /// Where the body is.
        body: B,
    },
    /// A symbolic link and its target, 1 to [`SYMLINK_MAX`] bytes.
    Symlink(Box<[u8]>),
    /// A character device.
    CharDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
}

/// The list of a directory's entries. Only the tree looks inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Children {
    pub(super) first: u32,
    pub(super) last: u32,
    pub(super) count: u32,
}

impl Default for Children {
    fn default() -> Self {
        Children { first: NONE, last: NONE, count: 0 }
    }
}

impl<B> Kind<B> {
    /// An empty directory.
    pub fn directory() -> Self {
        Kind::Directory(Children::default())
    }
}

/// An inode.
#[derive(Clone, Debug)]
pub struct Inode<B> {
    /// Owner, mode, time and extended attributes.
    pub attrs: Attrs,
    /// What it is.
    pub kind: Kind<B>,
    /// Names that lead to it; the root and every directory have one. Not the `st_nlink` of a directory.
    pub(super) links: u32,
}

impl<B> Inode<B> {
    /// Number of names that lead to it.
    pub fn names(&self) -> u32 {
        self.links
    }
    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        matches!(self.kind, Kind::Directory(_))
    }
    pub(super) fn file_bytes(&self) -> u64 {
        match self.kind {
            Kind::File { size, .. } => size,
            _ => 0,
        }
    }
    pub(super) fn text_bytes(&self) -> u64 {
        let target = match &self.kind {
            Kind::Symlink(target) => target.len() as u64,
            _ => 0,
        };
        target + xattr_bytes(&self.attrs)
    }
}

fn xattr_bytes(attrs: &Attrs) -> u64 {
    attrs.xattrs.iter().flatten().map(|(name, value)| (name.len() + value.len()) as u64).sum()
}

pub(super) struct Entry {
    pub(super) parent: u32,
    pub(super) inode: u32,
    pub(super) name: u32,
    /// 0 when the entry is free.
    pub(super) length: u8,
    pub(super) prev: u32,
    pub(super) next: u32,
    pub(super) layer: u32,
}

/// The tree. `B` says where a file's body is.
pub struct Tree<B> {
    pub(super) names: Texts,
    /// Bytes in `names` of entries that are gone.
    pub(super) dead_names: u64,
    pub(super) entries: Chunked<Entry>,
    pub(super) inodes: Chunked<Option<Inode<B>>>,
    pub(super) index: HashTable<u32>,
    pub(super) hasher: RandomState,
    pub(super) free_entries: Vec<u32>,
    pub(super) free_inodes: Vec<u32>,
    pub(super) file_bytes: u64,
    pub(super) text_bytes: u64,
}

/// Why a name or an inode cannot go into the tree.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// Empty, `.`, `..`, or with `/` or NUL in it.
    #[error("invalid file name")]
    InvalidName,
    /// Longer than [`NAME_MAX`].
    #[error("file name of {0} bytes, more than 255")]
    NameTooLong(usize),
    /// More than 2^32 bytes of names, 2^32 inodes or 2^64 bytes of files.
    #[error("more files than one file system can hold")]
    Full,
}

impl<B> Tree<B> {
    /// The root directory.
    pub const ROOT: InodeId = InodeId(0);

    /// A tree with nothing but a root directory of these attributes.
    pub fn new(root: Attrs) -> Self {
        let text_bytes = xattr_bytes(&root);
        let mut inodes = Chunked::new();
        inodes.push(Some(Inode { attrs: root, kind: Kind::directory(), links: 1 }));
        Tree {
            names: Texts::default(),
            dead_names: 0,
            entries: Chunked::new(),
            inodes,
            index: HashTable::new(),
            hasher: RandomState::new(),
            free_entries: Vec::new(),
            free_inodes: Vec::new(),
            file_bytes: 0,
            text_bytes,
        }
    }

    /// The inode with this number.
    ///
    /// # Panics
    /// If `id` was removed: ids of a tree are only ever taken from it.
    pub fn inode(&self, id: InodeId) -> &Inode<B> {
        self.inodes[id.0].as_ref().expect("an inode in use")
    }

    /// The inode with this number, to change its body. Its size and its extended attributes must stay: see
    /// [`Tree::set_attrs`].
    ///
    /// # Panics
    /// As [`Tree::inode`].
    pub fn inode_mut(&mut self, id: InodeId) -> &mut Inode<B> {
        self.inodes[id.0].as_mut().expect("an inode in use")
    }

    /// Replaces an inode's attributes.
    ///
    /// # Panics
    /// As [`Tree::inode`].
    pub fn set_attrs(&mut self, id: InodeId, attrs: Attrs) {
        let inode = self.inode_mut(id);
        let old = std::mem::replace(&mut inode.attrs, attrs);
        let gained = xattr_bytes(&inode.attrs);
        self.text_bytes = self.text_bytes + gained - xattr_bytes(&old);
    }

    /// Bytes of all regular files, holes included; a hard link counts once.
    pub fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// Bytes of all names, link targets and extended attributes.
    pub fn text_bytes(&self) -> u64 {
        self.text_bytes
    }

    /// Number of entries: names, without the root.
    pub fn entry_count(&self) -> u32 {
        (self.entries.len() - self.free_entries.len()) as u32
    }

    /// One more than the highest inode number in use or once used: the length of a table indexed by inode.
    pub fn inode_bound(&self) -> u32 {
        self.inodes.len() as u32
    }

    /// Number of inodes, the root included.
    pub fn inode_count(&self) -> u32 {
        (self.inodes.len() - self.free_inodes.len()) as u32
    }

    /// All inodes in order of their numbers.
    pub fn inodes(&self) -> impl Iterator<Item = (InodeId, &Inode<B>)> {
        self.inodes.iter().enumerate().filter_map(|(i, inode)| Some((InodeId(i as u32), inode.as_ref()?)))
    }

    /// The entry `name` of a directory.
    pub fn entry(&self, dir: InodeId, name: &[u8]) -> Option<EntryId> {
        let hash = self.hash(dir, name);
        self.index.find(hash, |&e| self.is(e, dir, name)).map(|&e| EntryId(e))
    }

    /// The inode behind the entry `name` of a directory.
    pub fn lookup(&self, dir: InodeId, name: &[u8]) -> Option<InodeId> {
        self.entry(dir, name).map(|e| self.target(e))
    }

    /// The inode an entry leads to.
    pub fn target(&self, entry: EntryId) -> InodeId {
        InodeId(self.entries[entry.0].inode)
    }

    /// The name of an entry.
    pub fn name(&self, entry: EntryId) -> &[u8] {
        self.name_of(entry.0)
    }

    /// The directory an entry is in.
    pub fn parent(&self, entry: EntryId) -> InodeId {
        InodeId(self.entries[entry.0].parent)
    }

    /// The layer that made an entry, as given to [`Tree::insert`] or [`Tree::set_layer`].
    pub fn layer(&self, entry: EntryId) -> u32 {
        self.entries[entry.0].layer
    }

    /// Notes that `layer` has named an entry again.
    pub fn set_layer(&mut self, entry: EntryId, layer: u32) {
        self.entries[entry.0].layer = layer;
    }

    /// Entries of a directory in the order they were made; empty for anything else.
    pub fn children(&self, dir: InodeId) -> impl Iterator<Item = EntryId> + '_ {
        let first = match &self.inode(dir).kind {
            Kind::Directory(children) => children.first,
            _ => NONE,
        };
        let next = |e: u32| (e != NONE).then_some(e);
        std::iter::successors(next(first), move |&e| next(self.entries[e].next)).map(EntryId)
    }

    /// The first entry of a directory, to walk it while the tree changes.
    pub fn first_child(&self, dir: InodeId) -> Option<EntryId> {
        self.children(dir).next()
    }

    /// The entry made after this one in the same directory.
    pub fn next_sibling(&self, entry: EntryId) -> Option<EntryId> {
        let next = self.entries[entry.0].next;
        (next != NONE).then_some(EntryId(next))
    }

    /// Number of entries of a directory; 0 for anything else.
    pub fn child_count(&self, dir: InodeId) -> u32 {
        match &self.inode(dir).kind {
            Kind::Directory(children) => children.count,
            _ => 0,
        }
    }

    /// Makes a new inode with one name. The name must be free.
    ///
    /// # Panics
    /// If `dir` is no directory or has the name already: the caller looked.
    pub fn insert(
        &mut self,
        dir: InodeId,
        name: &[u8],
        attrs: Attrs,
        kind: Kind<B>,
        layer: u32,
    ) -> Result<InodeId, TreeError> {
        check_name(name)?;
        let inode = Inode { attrs, kind, links: 0 };
        let (bytes, text) = (inode.file_bytes(), inode.text_bytes());
        let file_bytes = self.file_bytes.checked_add(bytes).ok_or(TreeError::Full)?;
        let id = match self.free_inodes.pop() {
            Some(id) => {
                self.inodes[id] = Some(inode);
                id
            }
            None => {
                let id = u32::try_from(self.inodes.len()).ok().filter(|&id| id != NONE).ok_or(TreeError::Full)?;
                self.inodes.push(Some(inode));
                id
            }
        };
        self.link(dir, name, InodeId(id), layer)?;
        self.file_bytes = file_bytes;
        self.text_bytes += text;
        Ok(InodeId(id))
    }

    /// Gives an inode one more name. The name must be free.
    ///
    /// # Panics
    /// If `dir` is no directory or has the name already.
    pub fn link(&mut self, dir: InodeId, name: &[u8], inode: InodeId, layer: u32) -> Result<EntryId, TreeError> {
        check_name(name)?;
        let name_at = self.names.add(name).ok_or(TreeError::Full)?;
        let Kind::Directory(children) = &self.inode(dir).kind else { panic!("entries go into directories") };
        let last = children.last;
        let entry = Entry {
            parent: dir.0,
            inode: inode.0,
            name: name_at,
            length: name.len() as u8,
            prev: last,
            next: NONE,
            layer,
        };
        self.text_bytes += name.len() as u64;
        let id = match self.free_entries.pop() {
            Some(id) => {
                self.entries[id] = entry;
                id
            }
            None => {
                self.entries.push(entry);
                u32::try_from(self.entries.len() - 1).ok().filter(|&id| id != NONE).ok_or(TreeError::Full)?
            }
        };
        self.index_entry(id, dir, name);
        if last != NONE {
            self.entries[last].next = id;
        }
        let Kind::Directory(children) = &mut self.inode_mut(dir).kind else { unreachable!("checked above") };
        if last == NONE {
            children.first = id;
        }
        children.last = id;
        children.count += 1;
        self.inode_mut(inode).links += 1;
        Ok(EntryId(id))
    }

    /// Removes one name. When it was the inode's last, the inode goes too and is returned, so that its body can be
    /// given back. A directory must be empty.
    ///
    /// # Panics
    /// If the entry leads to a directory with entries.
    pub fn unlink(&mut self, entry: EntryId) -> Option<Inode<B>> {
        let Entry { parent, inode, prev, next, length, .. } = self.entries[entry.0];
        assert_eq!(self.child_count(InodeId(inode)), 0, "only an empty directory is removed");
        let hash = self.hash_of(entry.0);
        if let Ok(slot) = self.index.find_entry(hash, |&e| e == entry.0) {
            slot.remove();
        }
        if prev != NONE {
            self.entries[prev].next = next;
        }
        if next != NONE {
            self.entries[next].prev = prev;
        }
        let Kind::Directory(children) = &mut self.inode_mut(InodeId(parent)).kind else {
            unreachable!("a parent is a directory")
        };
        if children.first == entry.0 {
            children.first = next;
        }
        if children.last == entry.0 {
            children.last = prev;
        }
        children.count -= 1;
        self.free_entries.push(entry.0);
        self.entries[entry.0].length = 0;
        self.text_bytes -= u64::from(length);
        self.dead_names += u64::from(length);
        self.sweep_names();
        let target = self.inode_mut(InodeId(inode));
        target.links -= 1;
        if target.links > 0 {
            return None;
        }
        self.free_inodes.push(inode);
        let gone = self.inodes[inode].take();
        if let Some(gone) = &gone {
            self.file_bytes -= gone.file_bytes();
            self.text_bytes -= gone.text_bytes();
        }
        gone
    }

    /// Copies the names in use together once they are less than half of all, and the dead ones at least a byte for
    /// each entry to look at: so that sweeping costs no more than making the names did.
    fn sweep_names(&mut self) {
        if self.dead_names <= self.text_bytes + (1 << 16) + self.entries.len() as u64 {
            return;
        }
        let old = std::mem::take(&mut self.names);
        // An entry without a name is free.
        for entry in self.entries.iter_mut().filter(|entry| entry.length > 0) {
            let name = old.get(entry.name, entry.length.into());
            entry.name = self.names.add(name).expect("fewer names than there were");
        }
        self.dead_names = 0;
    }

    pub(super) fn name_of(&self, entry: u32) -> &[u8] {
        let entry = &self.entries[entry];
        self.names.get(entry.name, entry.length.into())
    }

    fn is(&self, entry: u32, dir: InodeId, name: &[u8]) -> bool {
        self.entries[entry].parent == dir.0 && self.name_of(entry) == name
    }

    fn hash(&self, dir: InodeId, name: &[u8]) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write_u32(dir.0);
        hasher.write(name);
        hasher.finish()
    }

    fn hash_of(&self, entry: u32) -> u64 {
        self.hash(InodeId(self.entries[entry].parent), self.name_of(entry))
    }

    pub(super) fn index_entry(&mut self, id: u32, dir: InodeId, name: &[u8]) {
        let hash = self.hash(dir, name);
        let Tree { index, entries, names, hasher, .. } = self;
        let key = |e: u32| {
            let entry = &entries[e];
            (entry.parent, names.get(entry.name, entry.length.into()))
        };
        let rehash = |&e: &u32| {
            let (parent, name) = key(e);
            let mut hasher = hasher.build_hasher();
            hasher.write_u32(parent);
            hasher.write(name);
            hasher.finish()
        };
        match index.entry(hash, |&e| key(e) == (dir.0, name), rehash) {
            Slot::Occupied(_) => panic!("the name is free"),
            Slot::Vacant(slot) => _ = slot.insert(id),
        }
    }
}

/// Whether a name may go into a tree: see the top of this file.
pub fn check_name(name: &[u8]) -> Result<(), TreeError> {
    match name {
        b"" | b"." | b".." => Err(TreeError::InvalidName),
        _ if name.contains(&b'/') || name.contains(&0) => Err(TreeError::InvalidName),
        _ if name.len() > NAME_MAX => Err(TreeError::NameTooLong(name.len())),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Kind<u32> {
        Kind::File { size: 0, body: 0 }
    }

    #[test]
    fn a_hard_link_is_two_names_of_one_inode() {
        let mut tree = Tree::new(Attrs::default());
        let a = tree.insert(Tree::<u32>::ROOT, b"a", Attrs::default(), file(), 0).unwrap();
        tree.link(Tree::<u32>::ROOT, b"b", a, 0).unwrap();
        assert_eq!(tree.inode(a).names(), 2);
        let first = tree.entry(Tree::<u32>::ROOT, b"a").unwrap();
        assert!(tree.unlink(first).is_none(), "the other name keeps the inode");
        let second = tree.entry(Tree::<u32>::ROOT, b"b").unwrap();
        assert!(tree.unlink(second).is_some());
        assert_eq!(tree.inode_count(), 1);
    }

    #[test]
    fn children_keep_their_order_when_some_go() {
        let mut tree = Tree::new(Attrs::default());
        let root = Tree::<u32>::ROOT;
        for name in [b"c", b"a", b"b", b"d"] {
            tree.insert(root, name, Attrs::default(), file(), 0).unwrap();
        }
        for gone in [b"c", b"b", b"d"] {
            let entry = tree.entry(root, gone).unwrap();
            tree.unlink(entry);
        }
        tree.insert(root, b"e", Attrs::default(), file(), 1).unwrap();
        let names: Vec<_> = tree.children(root).map(|e| tree.name(e).to_vec()).collect();
        assert_eq!(names, [b"a", b"e"]);
        assert_eq!(tree.child_count(root), 2);
    }

    #[test]
    fn names_are_checked() {
        let mut tree = Tree::new(Attrs::default());
        let mut try_name = |name: &[u8]| tree.insert(Tree::<u32>::ROOT, name, Attrs::default(), file(), 0).err();
        for bad in [&b""[..], b".", b"..", b"a/b", b"a\0"] {
            assert_eq!(try_name(bad), Some(TreeError::InvalidName));
        }
        assert_eq!(try_name(&[b'x'; 256]), Some(TreeError::NameTooLong(256)));
        assert_eq!(try_name(&[b'x'; 255]), None);
        assert_eq!(try_name(b"..a"), None);
    }
}
