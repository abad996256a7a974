//! A userland read back from an ext4 partition: the same tree, and the same facts of bodies, as from an image.

use crate::contents::Root;
use crate::contents::body::{Body, Looker};
use crate::escape::escape;
use crate::ext4::read::{FileSystem, Inode, Kind as Found, Name, ReadError};
use crate::flatten::Limits;
use crate::rootfs::{Attrs, BodySink, InodeId, Kind, Tree};
use std::collections::{HashMap, HashSet};

/// Inode number of the root directory.
const ROOT: u32 = 2;
/// Bytes read at once.
const CHUNK: usize = 1 << 20;
/// Largest directory read, in bytes, and most of all directories together: four million names have less.
const MAX_DIRECTORY: u64 = 256 << 20;
const MAX_DIRECTORIES: u64 = 1 << 30;
/// Most extents of all files together. Without checksums a file system may name the same ones again and again.
const MAX_EXTENTS: usize = 1 << 24;
/// Most things that cannot be read and are named.
const MAX_NOTES: usize = 16;

/// What was read.
pub struct Read {
    /// The tree.
    pub tree: Root,
    /// Bytes of the partition that are file bodies, unsorted.
    pub data: Vec<(u64, u64)>,
    /// What could not be read.
    pub notes: Vec<String>,
}

struct Reader<'a, 'b> {
    fs: &'a FileSystem<'b>,
    looker: &'a mut Looker,
    tree: Root,
    /// Inodes with several names, by their number on the disk.
    linked: HashMap<u32, InodeId>,
    data: Vec<(u64, u64)>,
    notes: Vec<String>,
    left_out: u64,
    chunk: Vec<u8>,
    directories: u64,
    extents: usize,
}

/// Reads every name of a file system. Only what cannot be its root is an error; the rest is noted and left out.
pub fn read(fs: &FileSystem<'_>, looker: &mut Looker) -> Result<Read, ReadError> {
    let root = fs.inode(ROOT)?;
    let tree = Tree::new(attrs(fs, &root)?);
    let mut reader = Reader {
        fs,
        looker,
        tree,
        linked: HashMap::new(),
        data: Vec::new(),
        notes: Vec::new(),
        left_out: 0,
        chunk: vec![0; CHUNK],
        directories: 0,
        extents: 0,
    };
    reader.directories(root)?;
    let Reader { tree, data, mut notes, left_out, .. } = reader;
    if left_out > 0 {
        notes.push(format!("{left_out} names of the file system could not be read"));
    }
    Ok(Read { tree, data, notes })
}

fn attrs(fs: &FileSystem<'_>, inode: &Inode) -> Result<Attrs, ReadError> {
    let found = fs.attributes(inode)?;
    let xattrs = found.into_iter().map(|(name, value)| (name.into_boxed_slice(), value.into_boxed_slice()));
    let xattrs: Vec<_> = xattrs.collect();
    Ok(Attrs {
        mode: inode.mode,
        uid: inode.uid,
        gid: inode.gid,
        mtime: inode.mtime,
        xattrs: (!xattrs.is_empty()).then(|| xattrs.into()),
    })
}

impl Reader<'_, '_> {
    fn directories(&mut self, root: Inode) -> Result<(), ReadError> {
        let limits = Limits::default();
        let mut met = HashSet::from([root.number]);
        let mut todo = vec![(root, Root::ROOT, Vec::new())];
        while let Some((inode, id, path)) = todo.pop() {
            let mut names = match self.names(&inode) {
                Ok(names) => names,
                Err(error) => {
                    self.note(&path, &error);
                    continue;
                }
            };
            names.sort_unstable_by(|a, b| a.name.cmp(&b.name));
            for name in names {
                if self.tree.entry_count() >= limits.names || self.tree.text_bytes() > limits.text_bytes {
                    self.notes.push("the file system has more names than are read".into());
                    return Ok(());
                }
                let path = [&path[..], b"/", &name.name].concat();
                match self.entry(id, &name.name, name.inode, &path) {
                    Ok(Some((inode, _))) if !met.insert(inode.number) => {
                        self.note(&path, &ReadError::Damaged(crate::ext4::read::Part::Directory(inode.number)));
                    }
                    Ok(Some((inode, id))) => todo.push((inode, id, path)),
                    Ok(None) => {}
                    Err(error) => self.note(&path, &error),
                }
            }
        }
        Ok(())
    }

    /// The names of a directory, unless they are more than anybody has.
    fn names(&mut self, inode: &Inode) -> Result<Vec<Name>, ReadError> {
        let blocks: u64 = self.fs.mappings(inode)?.iter().map(|mapping| u64::from(mapping.length)).sum();
        let bytes = blocks.saturating_mul(self.fs.block_bytes());
        self.directories = self.directories.saturating_add(bytes);
        if bytes > MAX_DIRECTORY || self.directories > MAX_DIRECTORIES {
            return Err(ReadError::Unsupported(format!("directories of {bytes} bytes")));
        }
        self.fs.names(inode)
    }

    fn note(&mut self, path: &[u8], error: &ReadError) {
        self.left_out += 1;
        if self.notes.len() < MAX_NOTES {
            self.notes.push(format!("{}: {error}", escape(path)));
        }
    }

    /// Puts one name into the tree; a directory is returned to be read.
    fn entry(
        &mut self,
        dir: InodeId,
        name: &[u8],
        number: u32,
        path: &[u8],
    ) -> Result<Option<(Inode, InodeId)>, ReadError> {
        let damaged = || ReadError::Damaged(crate::ext4::read::Part::Inode(number));
        if self.tree.entry(dir, name).is_some() {
            return Err(damaged());
        }
        if let Some(id) = self.linked.get(&number) {
            self.tree.link(dir, name, *id, 0).map_err(|_| damaged())?;
            return Ok(None);
        }
        let inode = self.fs.inode(number)?;
        let kind = match inode.kind {
            Found::Directory => Kind::directory(),
            Found::File => Kind::File { size: inode.size, body: self.body(&inode, path)? },
            Found::Symlink => Kind::Symlink(self.fs.target(&inode)?.into()),
            Found::CharDevice { major, minor } => Kind::CharDevice { major, minor },
            Found::BlockDevice { major, minor } => Kind::BlockDevice { major, minor },
            Found::Fifo => Kind::Fifo,
            // A socket is nothing without who made it; an image cannot hold one.
            Found::Socket => return Ok(None),
        };
        let is_directory = matches!(kind, Kind::Directory(_));
        let attrs = attrs(self.fs, &inode)?;
        let id = self.tree.insert(dir, name, attrs, kind, 0).map_err(|_| damaged())?;
        if !is_directory && inode.links > 1 {
            self.linked.insert(number, id);
        }
        Ok(is_directory.then_some((inode, id)))
    }

    fn body(&mut self, inode: &Inode, path: &[u8]) -> Result<Body, ReadError> {
        let mappings = self.fs.mappings(inode)?;
        let block = self.fs.block_bytes();
        self.extents = self.extents.saturating_add(mappings.len());
        if self.extents > MAX_EXTENTS {
            return Err(ReadError::Unsupported("so many extents".into()));
        }
        self.data.extend(mappings.iter().map(|m| (m.start * block, u64::from(m.length) * block)));
        if inode.size == 0 {
            return Ok(Body::default());
        }
        let failed = ReadError::Input;
        self.looker.announce(path, &Attrs::default());
        self.looker.begin(inode.size).map_err(failed)?;
        let mut at = 0;
        // What lies between mappings is a hole: nothing to read, and no end of it to wait for.
        let written = mappings.iter().filter(|m| m.written).map(|m| {
            let start = u64::from(m.logical) * block;
            (start, start + u64::from(m.length) * block)
        });
        for (start, end) in written {
            if self.looker.is_satisfied() {
                break;
            }
            let (start, end) = (start.min(inode.size), end.min(inode.size));
            self.looker.hole(start.saturating_sub(at)).map_err(failed)?;
            at = start.max(at);
            while at < end && !self.looker.is_satisfied() {
                let length = (end - at).min(CHUNK as u64) as usize;
                let part = &mut self.chunk[..length];
                self.fs.read_mapped(inode, &mappings, at, part)?;
                self.looker.write(part).map_err(failed)?;
                at += length as u64;
            }
        }
        if !self.looker.is_satisfied() {
            self.looker.hole(inode.size.saturating_sub(at)).map_err(failed)?;
        }
        self.looker.finish().map_err(failed)
    }
}
