//! Layers for tests: a writer that can write any tar header, right or wrong, and trees as short text.
//!
//! A layer in shorthand is members separated by blanks:
//!
//! ```text
//!  a/          directory           a=text     file          a     empty file (a whiteout, mostly)
//!  a->t        symbolic link       a:=b       hard link to b         a|     named pipe
//! ```
//!
//! A tree is shown in the same shorthand, sorted, the later names of a hard linked file as `name:=first`.

use bootdisk::flatten::{ApplyError, LayerStats, Limits, apply};
use bootdisk::layer::{Entry, Error, Limits as LayerLimits, Reader, Warnings};
use bootdisk::rootfs::memory::{MemoryBody, MemorySink};
use bootdisk::rootfs::{Attrs, Kind, Tree, dump};
use std::collections::HashMap;

/// Which magic a header gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Magic {
    V7,
    Ustar,
    Gnu,
}

/// One member (or extension header), every field free to be wrong.
#[derive(Clone, Debug)]
pub struct Member {
    pub name: Vec<u8>,
    pub prefix: Vec<u8>,
    pub link: Vec<u8>,
    pub typeflag: u8,
    pub magic: Magic,
    pub mode: Vec<u8>,
    pub uid: Vec<u8>,
    pub gid: Vec<u8>,
    pub mtime: Vec<u8>,
    pub devmajor: Vec<u8>,
    pub devminor: Vec<u8>,
    /// The size field; the body's length if empty.
    pub size: Vec<u8>,
    pub body: Vec<u8>,
    /// PAX records that go before it.
    pub records: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Member {
    pub fn new(typeflag: u8, name: impl AsRef<[u8]>) -> Self {
        Member {
            name: name.as_ref().to_vec(),
            prefix: Vec::new(),
            link: Vec::new(),
            typeflag,
            magic: Magic::Ustar,
            mode: if typeflag == b'5' { octal(0o755, 8) } else { octal(0o644, 8) },
            uid: octal(0, 8),
            gid: octal(0, 8),
            mtime: octal(0, 12),
            devmajor: octal(0, 8),
            devminor: octal(0, 8),
            size: Vec::new(),
            body: Vec::new(),
            records: Vec::new(),
        }
    }

    pub fn file(name: impl AsRef<[u8]>, body: impl AsRef<[u8]>) -> Self {
        Member { body: body.as_ref().to_vec(), ..Member::new(b'0', name) }
    }

    pub fn dir(name: impl AsRef<[u8]>) -> Self {
        Member::new(b'5', name)
    }

    pub fn symlink(name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        Member { link: target.as_ref().to_vec(), ..Member::new(b'2', name) }
    }

    pub fn hard_link(name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        Member { link: target.as_ref().to_vec(), ..Member::new(b'1', name) }
    }

    pub fn device(typeflag: u8, name: impl AsRef<[u8]>, major: u64, minor: u64) -> Self {
        Member { devmajor: octal(major, 8), devminor: octal(minor, 8), ..Member::new(typeflag, name) }
    }

    pub fn mode(self, mode: u64) -> Self {
        Member { mode: octal(mode, 8), ..self }
    }

    pub fn owner(self, uid: u64, gid: u64) -> Self {
        Member { uid: octal(uid, 8), gid: octal(gid, 8), ..self }
    }

    pub fn mtime(self, secs: u64) -> Self {
        Member { mtime: octal(secs, 12), ..self }
    }

    pub fn record(mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.records.push((key.as_ref().to_vec(), value.as_ref().to_vec()));
        self
    }

    /// Its bytes: PAX header if there are records, GNU-free, body padded.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut member = self.clone();
        if member.name.len() > 100 && !member.records.iter().any(|(key, _)| key == b"path") {
            member.records.push((b"path".to_vec(), member.name.clone()));
        }
        if member.link.len() > 100 && !member.records.iter().any(|(key, _)| key == b"linkpath") {
            member.records.push((b"linkpath".to_vec(), member.link.clone()));
        }
        if !member.records.is_empty() {
            let body = member.records.iter().flat_map(|(key, value)| pax_record(key, value)).collect();
            Member { body, ..Member::new(b'x', "PaxHeaders/x") }.write(out);
        }
        out.extend_from_slice(&member.header());
        out.extend_from_slice(&member.body);
        out.resize(out.len().next_multiple_of(512), 0);
    }

    fn header(&self) -> [u8; 512] {
        let mut block = [0u8; 512];
        let mut put = |at: usize, width: usize, bytes: &[u8]| {
            let n = bytes.len().min(width);
            block[at..at + n].copy_from_slice(&bytes[..n]);
        };
        put(0, 100, &self.name);
        put(100, 8, &self.mode);
        put(108, 8, &self.uid);
        put(116, 8, &self.gid);
        let size = if self.size.is_empty() { octal(self.body.len() as u64, 12) } else { self.size.clone() };
        put(124, 12, &size);
        put(136, 12, &self.mtime);
        put(156, 1, &[self.typeflag]);
        put(157, 100, &self.link);
        match self.magic {
            Magic::V7 => {}
            Magic::Ustar => put(257, 8, b"ustar\x0000"),
            Magic::Gnu => put(257, 8, b"ustar  \0"),
        }
        if self.magic != Magic::V7 {
            put(329, 8, &self.devmajor);
            put(337, 8, &self.devminor);
            put(345, 155, &self.prefix);
        }
        set_checksum(&mut block);
        block
    }
}

/// Writes the right checksum into a header block.
pub fn set_checksum(block: &mut [u8]) {
    block[148..156].fill(b' ');
    let sum: u32 = block[..512].iter().map(|&b| u32::from(b)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// A number as octal text with a NUL behind it.
pub fn octal(value: u64, width: usize) -> Vec<u8> {
    let digits = width - 1;
    format!("{value:0digits$o}\0").into_bytes()
}

/// A number as GNU base-256.
pub fn base256(value: i128, width: usize) -> Vec<u8> {
    let mut bytes = value.to_be_bytes()[16 - width..].to_vec();
    bytes[0] = if value < 0 { 0xff } else { bytes[0] | 0x80 };
    bytes
}

/// One PAX record with its length in front.
pub fn pax_record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    [length.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat()
}

/// A whole archive with its end marker.
pub fn archive(members: &[Member]) -> Vec<u8> {
    let mut out = members_only(members);
    out.resize(out.len() + 1024, 0);
    out
}

/// An archive without end marker.
pub fn members_only(members: &[Member]) -> Vec<u8> {
    let mut out = Vec::new();
    members.iter().for_each(|member| member.write(&mut out));
    out
}

/// A member from its shorthand.
pub fn short(text: &str) -> Member {
    if let Some((name, target)) = text.split_once(":=") {
        Member::hard_link(name, target)
    } else if let Some((name, target)) = text.split_once("->") {
        Member::symlink(name, target)
    } else if let Some((name, body)) = text.split_once('=') {
        Member::file(name, body)
    } else if text.ends_with('/') {
        Member::dir(text)
    } else if let Some(name) = text.strip_suffix('|') {
        Member::new(b'6', name)
    } else {
        Member::file(text, "")
    }
}

/// A layer from its shorthand.
pub fn layer(text: &str) -> Vec<u8> {
    archive(&text.split_whitespace().map(short).collect::<Vec<_>>())
}

/// The result of some layers.
pub struct Merged {
    pub tree: Tree<MemoryBody>,
    pub sink: MemorySink,
    pub warnings: Warnings,
    pub stats: Vec<LayerStats>,
}

impl Merged {
    pub fn new() -> Self {
        let root = Attrs { mode: 0o755, ..Attrs::default() };
        Merged { tree: Tree::new(root), sink: MemorySink::default(), warnings: Warnings::default(), stats: Vec::new() }
    }

    /// Applies one more layer.
    pub fn add(&mut self, mut layer: &[u8], limits: &Limits) -> Result<(), ApplyError> {
        let number = self.stats.len() as u32;
        let stats = apply(&mut self.tree, number, &mut layer, &mut self.sink, limits, &mut self.warnings)?;
        assert!(layer.is_empty(), "the stream is read to its end");
        self.stats.push(stats);
        Ok(())
    }

    /// The tree in shorthand. Also checks that each stored body is in the tree exactly once.
    pub fn short(&self) -> String {
        let mut lines = Vec::new();
        let mut first = HashMap::new();
        let mut to_do = vec![(Vec::new(), Tree::<MemoryBody>::ROOT)];
        let mut bodies = 0;
        let mut inodes = vec![];
        while let Some((path, dir)) = to_do.pop() {
            for entry in self.tree.children(dir) {
                let path = [&path[..], self.tree.name(entry)].concat();
                inodes.push((path, self.tree.target(entry)));
            }
            while let Some((path, id)) = inodes.pop() {
                if self.tree.inode(id).is_directory() {
                    to_do.push(([&path[..], b"/"].concat(), id));
                }
                lines.push((path, id));
            }
        }
        lines.sort();
        let mut out = Vec::new();
        for (path, id) in lines {
            let name = String::from_utf8_lossy(&path).into_owned();
            let text = if let Some(first) = first.get(&id) {
                format!("{name}:={first}")
            } else {
                match &self.tree.inode(id).kind {
                    Kind::Directory(_) => format!("{name}/"),
                    Kind::File { size, body } => {
                        bodies += 1;
                        let bytes = self.sink.read(body);
                        assert_eq!(bytes.len() as u64, *size);
                        match bytes.is_empty() {
                            true => name.clone(),
                            false => format!("{name}={}", String::from_utf8_lossy(&bytes)),
                        }
                    }
                    Kind::Symlink(target) => format!("{name}->{}", String::from_utf8_lossy(target)),
                    Kind::CharDevice { major, minor } => format!("{name}c{major}:{minor}"),
                    Kind::BlockDevice { major, minor } => format!("{name}b{major}:{minor}"),
                    Kind::Fifo => format!("{name}|"),
                }
            };
            first.insert(id, name);
            out.push(text);
        }
        assert_eq!(bodies, self.sink.live(), "a body is in the tree or was given back");
        assert_eq!(self.tree.file_bytes(), self.tree.inodes().map(|(_, i)| file_size(&i.kind)).sum::<u64>());
        out.join(" ")
    }

    /// The attributes of a path that exists.
    pub fn attrs(&self, path: &str) -> &Attrs {
        &self.tree.inode(self.lookup(path)).attrs
    }

    /// The inode of a path that exists; links are not followed.
    pub fn lookup(&self, path: &str) -> bootdisk::rootfs::InodeId {
        path.split('/').filter(|name| !name.is_empty()).fold(Tree::<MemoryBody>::ROOT, |dir, name| {
            self.tree.lookup(dir, name.as_bytes()).unwrap_or_else(|| panic!("{path} is in the tree"))
        })
    }

    /// The complete text of the tree, bodies by content.
    pub fn dump(&self) -> String {
        let mut out = Vec::new();
        let sink = &self.sink;
        dump::dump(&self.tree, &mut out, &mut |body, _| Ok(fnv(&sink.read(body)))).expect("a Vec takes all");
        String::from_utf8(out).expect("a dump is text")
    }
}

fn file_size<B>(kind: &Kind<B>) -> u64 {
    match kind {
        Kind::File { size, .. } => *size,
        _ => 0,
    }
}

/// FNV-1a: short and the same everywhere.
pub fn fnv(bytes: &[u8]) -> String {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325u64, |h, &b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    format!("{hash:016x}")
}

/// Applies layers, lowest first.
pub fn merge(layers: &[Vec<u8>]) -> Result<Merged, ApplyError> {
    let mut merged = Merged::new();
    for layer in layers {
        merged.add(layer, &Limits::default())?;
    }
    Ok(merged)
}

/// Applies layers given in shorthand and shows the tree, or the message it was refused with.
pub fn merge_short(layers: &[&str]) -> Result<Merged, String> {
    let layers: Vec<_> = layers.iter().map(|text| layer(text)).collect();
    merge(&layers).map_err(|error| error.to_string())
}

/// All entries of an archive with their bodies.
pub fn entries(mut bytes: &[u8]) -> Result<Vec<(Entry, Vec<u8>)>, Error> {
    let mut warnings = Warnings::default();
    let mut sink = MemorySink::default();
    let mut reader = Reader::new(&mut bytes, LayerLimits::default());
    let mut all = Vec::new();
    while let Some(entry) = reader.next_entry(&mut warnings)? {
        let body = reader.body(&mut sink)?;
        all.push((entry, sink.read(&body)));
    }
    Ok(all)
}

/// Whether long counts are to run.
pub fn full() -> bool {
    std::env::var_os("BOOTDISK_TEST_FULL").is_some_and(|value| value == "1")
}
