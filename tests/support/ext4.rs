//! File systems for the tests: trees built by path, written to sparse files, checked with e2fsprogs.

use super::tools;
use bootdisk::ext4::hash::half_md4;
use bootdisk::ext4::{Body, Descriptors, Params, SealError, Sealed, Writer};
use bootdisk::output::Output;
use bootdisk::rootfs::tree::Xattrs;
use bootdisk::rootfs::{Attrs, BodySink, InodeId, Kind, Time, Tree};
use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

pub const MIB: u64 = 1 << 20;
pub const GIB: u64 = 1 << 30;
pub const TIB: u64 = 1 << 40;
pub const ROOT: InodeId = Tree::<Body>::ROOT;

/// Parameters with fixed identifiers, an automatic size and 16 MiB of free space.
pub fn params() -> Params {
    Params {
        uuid: *b"bootdisk-ext4-id",
        hash_seed: *b"seed-of-the-hash",
        label: b"test".to_vec(),
        size: None,
        free: bootdisk::ext4::Free::Bytes(16 * MIB),
        limit: 1 << 50,
        made_at: Time { secs: 1_700_000_000, nanos: 0 },
        descriptors: Descriptors::Wide,
    }
}

/// The same with a size.
pub fn sized(size: u64) -> Params {
    Params { size: Some(size), ..params() }
}

/// Attributes with a mode.
pub fn mode(mode: u16) -> Attrs {
    Attrs { mode, mtime: Time { secs: 1_600_000_000, nanos: 123_456_789 }, ..Attrs::default() }
}

/// Attributes with extended attributes.
pub fn with_xattrs(list: &[(&[u8], &[u8])]) -> Attrs {
    let mut list: Vec<_> = list.iter().map(|&(n, v)| (Box::from(n), Box::from(v))).collect();
    list.sort();
    Attrs { xattrs: Some(list.into()), ..mode(0o644) }
}

pub fn xattrs(attrs: &Attrs) -> &Xattrs {
    &attrs.xattrs
}

/// A tree and the writer its bodies go to.
pub struct Build<'a> {
    pub tree: Tree<Body>,
    pub writer: Writer<'a>,
    /// What files hold, to compare with what is read back.
    pub contents: HashMap<InodeId, Vec<u8>>,
}

impl<'a> Build<'a> {
    pub fn new(output: &'a dyn Output, params: Params) -> Self {
        Build { tree: Tree::new(mode(0o755)), writer: Writer::new(output, params), contents: HashMap::new() }
    }

    /// The directory a path is in, made where it is missing, and the last name.
    fn place<'p>(&mut self, path: &'p str) -> (InodeId, &'p str) {
        let (parents, name) = path.rsplit_once('/').unwrap_or(("", path));
        let mut at = ROOT;
        for name in parents.split('/').filter(|name| !name.is_empty()) {
            at = match self.tree.lookup(at, name.as_bytes()) {
                Some(id) => id,
                None => self.tree.insert(at, name.as_bytes(), mode(0o755), Kind::directory(), 0).unwrap(),
            };
        }
        (at, name)
    }

    pub fn add(&mut self, path: &str, attrs: Attrs, kind: Kind<Body>) -> InodeId {
        let (dir, name) = self.place(path);
        self.tree.insert(dir, name.as_bytes(), attrs, kind, 0).unwrap()
    }

    pub fn dir(&mut self, path: &str) -> InodeId {
        self.add(path, mode(0o755), Kind::directory())
    }

    pub fn file(&mut self, path: &str, data: &[u8]) -> InodeId {
        let body = self.body(data);
        let id = self.add(path, mode(0o644), Kind::File { size: data.len() as u64, body });
        self.contents.insert(id, data.to_vec());
        id
    }

    pub fn body(&mut self, data: &[u8]) -> Body {
        self.writer.begin(data.len() as u64).unwrap();
        self.writer.write(data).unwrap();
        self.writer.finish().unwrap()
    }

    /// A file of pieces: data, or a hole of so many bytes.
    pub fn sparse(&mut self, path: &str, pieces: &[Piece]) -> InodeId {
        let size = pieces.iter().map(Piece::length).sum();
        self.writer.begin(size).unwrap();
        for piece in pieces {
            match piece {
                Piece::Data(data) => self.writer.write(data).unwrap(),
                Piece::Hole(length) => self.writer.hole(*length).unwrap(),
            }
        }
        let body = self.writer.finish().unwrap();
        let id = self.add(path, mode(0o644), Kind::File { size, body });
        if size < 64 * MIB {
            let bytes = |piece: &Piece| match piece {
                Piece::Data(data) => data.clone(),
                Piece::Hole(length) => vec![0; *length as usize],
            };
            self.contents.insert(id, pieces.iter().flat_map(bytes).collect());
        }
        id
    }

    pub fn link(&mut self, path: &str, to: InodeId) {
        let (dir, name) = self.place(path);
        self.tree.link(dir, name.as_bytes(), to, 0).unwrap();
    }

    /// Removes a name, and gives the body back with the last one.
    pub fn remove(&mut self, path: &str) {
        let (dir, name) = self.place(path);
        let entry = self.tree.entry(dir, name.as_bytes()).unwrap();
        if let Some(inode) = self.tree.unlink(entry)
            && let Kind::File { body, .. } = inode.kind
        {
            self.writer.discard(body);
        }
    }

    /// Begins a body and gives it up.
    pub fn writer_abandons(&mut self, data: &[u8]) {
        self.writer.begin(data.len() as u64 + 1).unwrap();
        self.writer.write(data).unwrap();
        self.writer.abandon();
    }

    pub fn seal(self) -> Result<Written, SealError> {
        let Build { tree, writer, contents } = self;
        writer.seal(&tree).map(|sealed| Written { sealed, tree, contents })
    }
}

/// A file system and what it was made from.
pub struct Written {
    pub sealed: Sealed,
    pub tree: Tree<Body>,
    pub contents: HashMap<InodeId, Vec<u8>>,
}

pub enum Piece {
    Data(Vec<u8>),
    Hole(u64),
}

impl Piece {
    pub fn length(&self) -> u64 {
        match self {
            Piece::Data(data) => data.len() as u64,
            Piece::Hole(length) => *length,
        }
    }
}

/// A sparse file in a folder of its own that goes away with it.
pub struct Disk {
    pub folder: tempfile::TempDir,
    pub path: PathBuf,
    pub file: File,
}

impl Disk {
    pub fn new() -> Self {
        Self::within(env!("CARGO_TARGET_TMPDIR"))
    }

    /// On a file system in memory, whose files may be larger than any disk.
    pub fn in_memory() -> Self {
        Self::within("/dev/shm")
    }

    fn within(folder: &str) -> Self {
        let folder = tempfile::tempdir_in(folder).unwrap();
        let path = folder.path().join("disk");
        let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        Disk { folder, path, file }
    }

    /// Writes a file system, gives the file its size and lets e2fsck look at it.
    pub fn write(&self, params: Params, fill: impl FnOnce(&mut Build)) -> Written {
        let sealed = self.write_unchecked(params, fill).unwrap();
        check(&self.path);
        sealed
    }

    pub fn write_unchecked(&self, params: Params, fill: impl FnOnce(&mut Build)) -> Result<Written, SealError> {
        let mut build = Build::new(&self.file, params);
        fill(&mut build);
        let sealed = build.seal()?;
        self.file.set_len(sealed.sealed.size).unwrap();
        Ok(sealed)
    }
}

/// Bytes that are not zeros and differ from place to place.
pub fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut out = Vec::with_capacity(length + 8);
    while out.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(length);
    out
}

/// Long names with non-ASCII bytes of which every one has the same hash as another: with so few names in a leaf, many
/// leaves begin with the hash the one before ends with.
pub fn colliding_names() -> Vec<Vec<u8>> {
    let seed = params().hash_seed;
    let word = |i: usize| u32::from_le_bytes([0, 1, 2, 3].map(|b| seed[4 * i + b]));
    let seed = [word(0), word(1), word(2), word(3)];
    let name = |i: u32| {
        let mut name = vec![0xff; 32];
        name.extend(format!("{i:x}").into_bytes());
        name
    };
    let mut by_hash: Vec<(u32, u32)> = (0..1_500_000).map(|i| (half_md4(&name(i), seed).major, i)).collect();
    by_hash.sort_unstable();
    let mut found = Vec::new();
    for pair in by_hash.windows(2) {
        if pair[0].0 == pair[1].0 {
            found.extend([pair[0].1, pair[1].1]);
        }
    }
    found.dedup();
    found.into_iter().map(name).collect()
}

/// What e2fsck finds: everything it prints but its pass headers and its summary, and whether it exits 0.
pub fn complaints(path: &Path) -> (bool, Vec<String>) {
    let output = tools::e2fsck(path);
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let expected = |line: &str| {
        let summary = line.contains(" files (") && line.ends_with(" blocks");
        line.is_empty() || line.starts_with("Pass ") || line.starts_with("e2fsck ") || summary
    };
    let lines = text.lines().filter(|line| !expected(line)).map(str::to_owned).collect();
    (output.status.code() == Some(0), lines)
}

/// e2fsck must exit 0 and print nothing but its pass headers and its summary.
pub fn check(path: &Path) {
    let (clean, lines) = complaints(path);
    assert!(clean && lines.is_empty(), "e2fsck complains about {}:\n{}", path.display(), lines.join("\n"));
}

/// Standard output of a debugfs command.
pub fn debugfs(path: &Path, request: &str) -> String {
    tools::stdout(Command::new("debugfs").arg("-R").arg(request).arg(path))
}
