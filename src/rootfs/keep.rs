//! A tree as bytes, and the same tree out of them: every inode and every name has its number again, and the numbers that
//! are free are taken in the same order.
//!
//! ```text
//!  inodes   count, each: 0 when free, or kind + 1, attributes, names, what the kind needs
//!  entries  count, each: 0 when free, or length, name, parent, inode, neighbours, layer
//!  free     entries, inodes: in the order they were given back
//! ```
//!
//! Numbers are LEB128. What reads them is bounded by the bytes there are, and takes no tree whose parts do not belong
//! together. Whether the bytes are those that were written is for whoever keeps them to find out.

use super::chunked::Chunked;
use super::tree::{Children, Entry, Inode, NONE, check_name};
use super::{Attrs, InodeId, Kind, Time, Tree};
use hashbrown::HashTable;

/// Bytes that numbers and texts are appended to.
#[derive(Debug, Default)]
pub struct Pack(pub Vec<u8>);

impl Pack {
    /// A number: 1 to 10 bytes.
    pub fn number(&mut self, number: impl Into<u64>) {
        let mut rest = number.into();
        while rest >= 0x80 {
            self.0.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        self.0.push(rest as u8);
    }

    /// A number of things in memory.
    pub fn count(&mut self, count: usize) {
        self.number(count as u64);
    }

    /// A text, its length before it.
    pub fn text(&mut self, text: &[u8]) {
        self.count(text.len());
        self.0.extend_from_slice(text);
    }
}

/// Reads what [`Pack`] wrote. Everything is `None` where the bytes are not that.
#[derive(Clone, Debug)]
pub struct Unpack<'a>(pub &'a [u8]);

impl<'a> Unpack<'a> {
    /// The next number.
    pub fn number(&mut self) -> Option<u64> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            let bits = u64::from(byte & 0x7f);
            number |= bits << shift;
            if bits << shift >> shift != bits {
                return None;
            }
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    /// The next number, of a type that holds it.
    pub fn small<T: TryFrom<u64>>(&mut self) -> Option<T> {
        self.number()?.try_into().ok()
    }

    /// How many things follow. Each takes a byte at least: there are never more of them than bytes.
    pub fn count(&mut self) -> Option<usize> {
        self.small::<usize>().filter(|&count| count <= self.0.len())
    }

    /// The next text.
    pub fn text(&mut self) -> Option<&'a [u8]> {
        let length = self.count()?;
        let (text, rest) = self.0.split_at(length);
        self.0 = rest;
        Some(text)
    }

    /// So many things.
    pub fn list<T>(&mut self, mut one: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = self.count()?;
        (0..count).map(|_| one(self)).collect()
    }
}

impl<B> Tree<B> {
    /// Appends the tree, each body as `body` has it.
    pub fn pack(&self, out: &mut Pack, body: &mut dyn FnMut(&B, &mut Pack)) {
        out.count(self.inodes.len());
        for inode in self.inodes.iter() {
            match inode {
                None => out.number(0u8),
                Some(inode) => pack_inode(inode, out, body),
            }
        }
        out.count(self.entries.len());
        for (number, entry) in (0..).zip(self.entries.iter()) {
            if entry.length == 0 {
                out.number(0u8);
                continue;
            }
            out.text(self.name_of(number));
            out.number(entry.parent);
            out.number(entry.inode);
            // One more than the number, so that none is 0.
            out.number(entry.prev.wrapping_add(1));
            out.number(entry.next.wrapping_add(1));
            out.number(entry.layer);
        }
        for free in [&self.free_entries, &self.free_inodes] {
            out.count(free.len());
            free.iter().for_each(|&number| out.number(number));
        }
    }

    /// The tree that was packed; `None` when the bytes are no tree.
    pub fn unpack(input: &mut Unpack<'_>, body: &mut dyn FnMut(&mut Unpack<'_>) -> Option<B>) -> Option<Tree<B>> {
        let mut inodes = Chunked::new();
        for _ in 0..input.count()? {
            inodes.push(unpack_inode(input, body)?);
        }
        let mut tree = Tree::new(Attrs::default());
        tree.inodes = inodes;
        for _ in 0..input.count()? {
            let entry = tree.unpack_entry(input)?;
            tree.entries.push(entry);
        }
        let number = |input: &mut Unpack<'_>| input.small::<u32>();
        (tree.free_entries, tree.free_inodes) = (input.list(number)?, input.list(number)?);
        tree.is_sound().then_some(())?;
        tree.index()?;
        let files = tree.inodes().try_fold(0u64, |sum, (_, inode)| sum.checked_add(inode.file_bytes()))?;
        let names: u64 = tree.entries.iter().map(|entry| u64::from(entry.length)).sum();
        let texts: u64 = tree.inodes().map(|(_, inode)| inode.text_bytes()).sum();
        (tree.file_bytes, tree.text_bytes) = (files, names + texts);
        Some(tree)
    }

    fn unpack_entry(&mut self, input: &mut Unpack<'_>) -> Option<Entry> {
        let name = input.text()?;
        if name.is_empty() {
            return Some(Entry { parent: 0, inode: 0, name: 0, length: 0, prev: NONE, next: NONE, layer: 0 });
        }
        check_name(name).ok()?;
        let (name, length) = (self.names.add(name)?, name.len() as u8);
        let (parent, inode) = (input.small()?, input.small()?);
        let mut neighbour = || Some(input.small::<u32>()?.wrapping_sub(1));
        let (prev, next) = (neighbour()?, neighbour()?);
        Some(Entry { parent, inode, name, length, prev, next, layer: input.small()? })
    }

    /// Whether every number leads to what it should: each entry is in the list of its directory, and each inode has as
    /// many names as it says.
    fn is_sound(&self) -> bool {
        let live = |id: u32| (id as usize) < self.inodes.len() && self.inodes[id].is_some();
        if !live(0) || !self.inode(Self::ROOT).is_directory() {
            return false;
        }
        let mut used = 0;
        let mut names = vec![0u32; self.inodes.len()];
        for entry in self.entries.iter().filter(|entry| entry.length > 0) {
            if !live(entry.inode) || entry.inode == 0 || !live(entry.parent) {
                return false;
            }
            names[entry.inode as usize] += 1;
            used += 1;
        }
        names[0] = 1;
        let is_named = |(id, inode): (InodeId, &Inode<B>)| {
            inode.links == names[id.0 as usize] && inode.links > 0 && (!inode.is_directory() || inode.links == 1)
        };
        let mut listed = 0;
        let directories = self.inodes().all(|(id, inode)| match &inode.kind {
            Kind::Directory(children) => {
                listed += children.count as usize;
                self.is_list_of(id.0, children)
            }
            _ => true,
        });
        let is_free = |&entry: &u32| (entry as usize) < self.entries.len() && self.entries[entry].length == 0;
        let is_gone = |&id: &u32| (id as usize) < self.inodes.len() && self.inodes[id].is_none();
        let unused = self.entries.len() - used;
        let gone = self.inodes.iter().filter(|inode| inode.is_none()).count();
        directories
            && listed == used
            && self.inodes().all(is_named)
            && self.free_entries.len() == unused
            && all_different(&self.free_entries)
            && self.free_entries.iter().all(is_free)
            && self.free_inodes.len() == gone
            && all_different(&self.free_inodes)
            && self.free_inodes.iter().all(is_gone)
    }

    /// Whether the entries of a directory follow each other as it says.
    fn is_list_of(&self, dir: u32, children: &Children) -> bool {
        let (mut before, mut at) = (NONE, children.first);
        for _ in 0..children.count {
            if at as usize >= self.entries.len() {
                return false;
            }
            let entry = &self.entries[at];
            if entry.length == 0 || entry.parent != dir || entry.prev != before {
                return false;
            }
            (before, at) = (at, entry.next);
        }
        at == NONE && children.last == before
    }

    /// Makes the index; `None` when a directory has a name twice.
    fn index(&mut self) -> Option<()> {
        self.index = HashTable::with_capacity(self.entries.len());
        for number in 0..self.entries.len() as u32 {
            let Entry { parent, length, .. } = self.entries[number];
            if length > 0 {
                let (dir, name) = (InodeId(parent), self.name_of(number).to_vec());
                if self.entry(dir, &name).is_some() {
                    return None;
                }
                self.index_entry(number, dir, &name);
            }
        }
        Some(())
    }
}

fn all_different(numbers: &[u32]) -> bool {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable();
    sorted.windows(2).all(|pair| pair[0] != pair[1])
}

/// Signed as unsigned, the small ones small.
fn zigzag(number: i64) -> u64 {
    (number << 1 ^ number >> 63) as u64
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

fn pack_inode<B>(inode: &Inode<B>, out: &mut Pack, body: &mut dyn FnMut(&B, &mut Pack)) {
    out.number(match inode.kind {
        Kind::Directory(_) => 1u8,
        Kind::File { .. } => 2,
        Kind::Symlink(_) => 3,
        Kind::CharDevice { .. } => 4,
        Kind::BlockDevice { .. } => 5,
        Kind::Fifo => 6,
    });
    let Attrs { mode, uid, gid, mtime, xattrs } = &inode.attrs;
    out.number(*mode);
    out.number(*uid);
    out.number(*gid);
    out.number(zigzag(mtime.secs));
    out.number(mtime.nanos);
    // No list and a list of none are two things.
    out.count(xattrs.as_ref().map_or(0, |xattrs| xattrs.len() + 1));
    for (name, value) in xattrs.iter().flatten() {
        out.text(name);
        out.text(value);
    }
    out.number(inode.links);
    match &inode.kind {
        Kind::Directory(Children { first, last, count }) => {
            out.number(first.wrapping_add(1));
            out.number(last.wrapping_add(1));
            out.number(*count);
        }
        Kind::File { size, body: at } => {
            out.number(*size);
            body(at, out);
        }
        Kind::Symlink(target) => out.text(target),
        Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => {
            out.number(*major);
            out.number(*minor);
        }
        Kind::Fifo => {}
    }
}

#[allow(clippy::option_option, reason = "damaged bytes, or a number that is free")]
fn unpack_inode<B>(
    input: &mut Unpack<'_>,
    body: &mut dyn FnMut(&mut Unpack<'_>) -> Option<B>,
) -> Option<Option<Inode<B>>> {
    let kind = input.number()?;
    if kind == 0 {
        return Some(None);
    }
    let (mode, uid, gid) = (input.small()?, input.small()?, input.small()?);
    let mtime = Time { secs: unzigzag(input.number()?), nanos: input.small()? };
    let xattrs = match input.number()? {
        0 => None,
        more => {
            let count = usize::try_from(more - 1).ok().filter(|&count| count <= input.0.len())?;
            let mut one = || Some((input.text()?.into(), input.text()?.into()));
            Some((0..count).map(|_| one()).collect::<Option<Box<[_]>>>()?)
        }
    };
    let attrs = Attrs { mode, uid, gid, mtime, xattrs };
    let links = input.small()?;
    let kind = match kind {
        1 => {
            let mut end = || Some(input.small::<u32>()?.wrapping_sub(1));
            let (first, last) = (end()?, end()?);
            Kind::Directory(Children { first, last, count: input.small()? })
        }
        2 => Kind::File { size: input.number()?, body: body(input)? },
        3 => Kind::Symlink(input.text()?.into()),
        4 => Kind::CharDevice { major: input.small()?, minor: input.small()? },
        5 => Kind::BlockDevice { major: input.small()?, minor: input.small()? },
        6 => Kind::Fifo,
        _ => return None,
    };
    Some(Some(Inode { attrs, kind, links }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packed(tree: &Tree<u8>) -> Vec<u8> {
        let mut out = Pack::default();
        tree.pack(&mut out, &mut |body, out| out.number(*body));
        out.0
    }

    fn unpacked(bytes: &[u8]) -> Option<Tree<u8>> {
        let mut input = Unpack(bytes);
        let tree = Tree::unpack(&mut input, &mut |input| input.small());
        tree.filter(|_| input.0.is_empty())
    }

    /// A directory, a link of two names, and numbers that are free, in an order of their own.
    fn tree() -> Tree<u8> {
        let mut tree = Tree::new(Attrs { mode: 0o755, ..Attrs::default() });
        let root = Tree::<u8>::ROOT;
        let xattrs = Some(vec![(b"user.a"[..].into(), b"\x01"[..].into())].into());
        let attrs = Attrs { mode: 0o4755, uid: 1, gid: 70_000, mtime: Time { secs: -2, nanos: 5 }, xattrs };
        let dir = tree.insert(root, b"dir", attrs.clone(), Kind::directory(), 0).unwrap();
        for number in 0..6u8 {
            tree.insert(dir, &[b'a' + number], attrs.clone(), Kind::File { size: 9, body: number }, 1).unwrap();
        }
        let file = tree.lookup(dir, b"c").unwrap();
        tree.link(root, b"link", file, 2).unwrap();
        for name in [b"e", b"b"] {
            let entry = tree.entry(dir, name).unwrap();
            tree.unlink(entry);
        }
        tree.insert(root, b"s", Attrs { xattrs: Some([].into()), ..attrs }, Kind::Symlink(b"t"[..].into()), 2).unwrap();
        tree
    }

    #[test]
    fn a_tree_is_the_same_again_with_all_its_numbers() {
        let first = tree();
        let mut second = unpacked(&packed(&first)).unwrap();
        assert_eq!(packed(&second), packed(&first));
        assert_eq!((second.file_bytes(), second.text_bytes()), (first.file_bytes(), first.text_bytes()));
        let mut first = first;
        for name in [b"x", b"y", b"z"] {
            for tree in [&mut first, &mut second] {
                tree.insert(Tree::<u8>::ROOT, name, Attrs::default(), Kind::Fifo, 3).unwrap();
            }
            assert_eq!(packed(&second), packed(&first), "the next number is the same");
        }
    }

    proptest! {
        #[test]
        fn bytes_that_are_no_tree_are_refused_or_are_another_tree(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut bytes = packed(&tree());
            for (place, byte) in changes {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            bytes.truncate(bytes.len() - cut.index(3));
            if let Some(mut tree) = unpacked(&bytes) {
                // Nothing of it leads anywhere else, so that it can be taken apart.
                let mut way: Vec<_> = tree.children(Tree::<u8>::ROOT).collect();
                while let Some(&entry) = way.last() {
                    match tree.first_child(tree.target(entry)) {
                        Some(child) => way.push(child),
                        None => {
                            way.pop();
                            tree.unlink(entry);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn numbers_and_their_limits() {
        let numbers = [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX];
        let mut out = Pack::default();
        numbers.iter().for_each(|&number| out.number(number));
        let mut input = Unpack(&out.0);
        assert!(numbers.iter().all(|&number| input.number() == Some(number)) && input.number().is_none());
        assert_eq!(Unpack(&[0xff; 12]).number(), None);
        assert_eq!(Unpack(&[0x80; 9]).number(), None);
        assert_eq!(Unpack(&[200, 1, 7]).text(), None, "longer than what there is");
        for number in [0, 1, -1, i64::MAX, i64::MIN] {
            assert_eq!(unzigzag(zigzag(number)), number);
        }
    }
}
