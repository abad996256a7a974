//! Writes a layer, each member in one form: ustar, with PAX records for what that cannot say.
//!
//! ```text
//!  'x' header ─ records ─ header ─ body ─ zeros to the next block ─ … ─ two blocks of zeros
//!
//!  sparse (GNU 1.0): the body begins with the map, in decimal lines, filled up to a block
//!     "2\n" "4096\n" "512\n" "8192\n" "100\n" … data of the ranges, one behind the other
//! ```
//!
//! One list of members gives one archive, byte for byte: no time, name or owner of this host comes in. The reader in this
//! folder reads back what was put in.
//!
//! Specification: POSIX.1-2017 pax, "ustar Interchange Format" and "pax Header Block"; GNU tar manual, "Storing Sparse
//! Files" (version 1.0).

use super::entry::EntryKind;
use super::header::{BLOCK, seal};
use super::xattr;
use crate::rootfs::{Attrs, Time};
use std::io::{self, Write};

/// Largest value of a field of 8 bytes: seven octal digits.
const MAX_SHORT: u64 = 0o7_777_777;
/// Largest value of a field of 12 bytes.
const MAX_LONG: u64 = 0o77_777_777_777;
/// Longest name or link target in a header.
const MAX_NAME: usize = 100;

/// Where there is data in a file: offset and length of each range, in order.
pub type Ranges = [(u64, u64)];

/// An archive being written.
pub struct Writer<W> {
    out: W,
    /// Bytes of the body that are to come.
    left: u64,
    /// Zeros behind it.
    padding: usize,
}

impl<W: Write> Writer<W> {
    /// At the beginning of an archive.
    pub fn new(out: W) -> Writer<W> {
        Writer { out, left: 0, padding: 0 }
    }

    /// A member. That of a file with a size is followed by its bytes, by [`data`](Self::data).
    pub fn member(&mut self, path: &[u8], attrs: &Attrs, kind: &EntryKind) -> io::Result<()> {
        match *kind {
            EntryKind::File { size } => self.begin(path, attrs, kind, size, Vec::new()),
            _ => self.begin(path, attrs, kind, 0, Vec::new()),
        }
    }

    /// A file of `size` bytes with data in these ranges alone. Only their bytes follow.
    pub fn sparse(&mut self, path: &[u8], attrs: &Attrs, size: u64, ranges: &Ranges) -> io::Result<()> {
        let mut map = format!("{}\n", ranges.len());
        ranges.iter().for_each(|(offset, length)| map += &format!("{offset}\n{length}\n"));
        let mut map = map.into_bytes();
        map.resize(map.len().next_multiple_of(BLOCK), 0);
        let stored = map.len() as u64 + ranges.iter().map(|(_, length)| length).sum::<u64>();
        let mut records = Vec::new();
        record(&mut records, b"GNU.sparse.major", b"1");
        record(&mut records, b"GNU.sparse.minor", b"0");
        record(&mut records, b"GNU.sparse.name", path);
        record(&mut records, b"GNU.sparse.realsize", size.to_string().as_bytes());
        self.begin(path, attrs, &EntryKind::File { size }, stored, records)?;
        self.data(&map)
    }

    /// The next bytes of the body.
    pub fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.len() as u64 > self.left {
            return Err(io::Error::other("a body longer than announced"));
        }
        self.left -= bytes.len() as u64;
        self.out.write_all(bytes)?;
        match self.left {
            0 => self.out.write_all(&[0; BLOCK][..std::mem::take(&mut self.padding)]),
            _ => Ok(()),
        }
    }

    /// Ends the archive.
    pub fn finish(mut self) -> io::Result<W> {
        self.whole()?;
        self.out.write_all(&[0; 2 * BLOCK])?;
        Ok(self.out)
    }

    fn whole(&self) -> io::Result<()> {
        match self.left {
            0 => Ok(()),
            _ => Err(io::Error::other("a body shorter than announced")),
        }
    }

    fn begin(
        &mut self,
        path: &[u8],
        attrs: &Attrs,
        kind: &EntryKind,
        stored: u64,
        mut records: Vec<u8>,
    ) -> io::Result<()> {
        self.whole()?;
        if records.is_empty() && path.len() > MAX_NAME {
            record(&mut records, b"path", path);
        }
        let (typeflag, link, device) = parts(kind);
        if link.len() > MAX_NAME {
            record(&mut records, b"linkpath", link);
        }
        attributes(&mut records, attrs, stored);
        if !records.is_empty() {
            let header = header(b"pax", &Attrs::default(), b'x', b"", (0, 0), records.len() as u64);
            self.out.write_all(&header)?;
            records.resize(records.len().next_multiple_of(BLOCK), 0);
            self.out.write_all(&records)?;
        }
        self.out.write_all(&header(path, attrs, typeflag, link, device, stored))?;
        self.left = stored;
        self.padding = (stored.next_multiple_of(BLOCK as u64) - stored) as usize;
        Ok(())
    }
}

/// Type, target and device numbers as a header has them.
fn parts(kind: &EntryKind) -> (u8, &[u8], (u32, u32)) {
    match kind {
        EntryKind::File { .. } => (b'0', b"", (0, 0)),
        EntryKind::Directory => (b'5', b"", (0, 0)),
        EntryKind::Symlink(target) => (b'2', target, (0, 0)),
        EntryKind::HardLink(target) => (b'1', target, (0, 0)),
        EntryKind::CharDevice { major, minor } => (b'3', b"", (*major, *minor)),
        EntryKind::BlockDevice { major, minor } => (b'4', b"", (*major, *minor)),
        EntryKind::Fifo => (b'6', b"", (0, 0)),
    }
}

/// Records for what fields of a header cannot hold.
fn attributes(records: &mut Vec<u8>, attrs: &Attrs, stored: u64) {
    let mut number = |key: &[u8], value: u64, most: u64| {
        if value > most {
            record(records, key, value.to_string().as_bytes());
        }
    };
    number(b"uid", attrs.uid.into(), MAX_SHORT);
    number(b"gid", attrs.gid.into(), MAX_SHORT);
    number(b"size", stored, MAX_LONG);
    if let Some(time) = time(&attrs.mtime) {
        record(records, b"mtime", time.as_bytes());
    }
    for (name, value) in attrs.xattrs.iter().flatten() {
        let (key, value) = xattr::record_of(name, value);
        record(records, &key, &value);
    }
}

/// A time that is no number of whole seconds which a field can hold.
fn time(time: &Time) -> Option<String> {
    let fits = u64::try_from(time.secs).is_ok_and(|secs| secs <= MAX_LONG);
    match (time.nanos, time.secs) {
        (0, _) if fits => None,
        (0, secs) => Some(secs.to_string()),
        // 1.25 s before 1970 are -2 whole seconds and 0.75 s.
        (nanos, secs) if secs < 0 => {
            let (secs, nanos) = (-(secs + 1), 1_000_000_000 - nanos);
            Some(format!("-{secs}.{nanos:09}"))
        }
        (nanos, secs) => Some(format!("{secs}.{nanos:09}")),
    }
}

/// Appends `LENGTH KEY=VALUE\n`, where LENGTH counts itself.
fn record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let digits = |length: usize| length.to_string().len();
    let mut length = rest + digits(rest);
    length = rest + digits(length);
    records.extend_from_slice(format!("{length} ").as_bytes());
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

fn header(path: &[u8], attrs: &Attrs, typeflag: u8, link: &[u8], device: (u32, u32), size: u64) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    let short = |value: u64| format!("{:07o}", if value > MAX_SHORT { 0 } else { value });
    let long = |value: u64| format!("{:011o}", if value > MAX_LONG { 0 } else { value });
    put(0, &path[..path.len().min(MAX_NAME)]);
    put(100, short(attrs.mode.into()).as_bytes());
    put(108, short(attrs.uid.into()).as_bytes());
    put(116, short(attrs.gid.into()).as_bytes());
    put(124, long(size).as_bytes());
    put(136, long(u64::try_from(attrs.mtime.secs).unwrap_or(0)).as_bytes());
    put(156, &[typeflag]);
    put(157, &link[..link.len().min(MAX_NAME)]);
    put(257, b"ustar\x0000");
    put(329, short(device.0.into()).as_bytes());
    put(337, short(device.1.into()).as_bytes());
    seal(&mut block);
    block
}

#[cfg(test)]
mod tests {
    use super::super::{Entry, Limits, Reader, Warnings};
    use super::*;
    use crate::rootfs::memory::{MemorySink, Part};

    fn attrs(uid: u32, secs: i64, nanos: u32) -> Attrs {
        Attrs { mode: 0o4755, uid, gid: uid / 2, mtime: Time { secs, nanos }, xattrs: None }
    }

    /// What the reader of this folder finds: entries, and the parts of their bodies.
    fn read(archive: &[u8]) -> Vec<(Entry, Vec<Part>)> {
        let (mut stream, mut sink, mut warnings) = (archive, MemorySink::default(), Warnings::default());
        let mut reader = Reader::new(&mut stream, Limits::default());
        let mut found = Vec::new();
        while let Some(entry) = reader.next_entry(&mut warnings).unwrap() {
            let body = reader.body(&mut sink).unwrap();
            found.push((entry, sink.parts(&body).to_vec()));
        }
        assert!(warnings.is_empty(), "{warnings}");
        found
    }

    #[test]
    fn the_reader_finds_what_was_written() {
        let xattr = |name: &str, value: &[u8]| (name.as_bytes().into(), value.into());
        let named = Attrs {
            xattrs: Some(
                [xattr("security.capability", b"\x01\0\n="), xattr("user.a=b", b"\xff=x"), xattr("user.empty", b"")]
                    .into(),
            ),
            ..attrs(0, 0, 0)
        };
        let long = [b'a'; 300];
        let members: Vec<(&[u8], Attrs, EntryKind)> = vec![
            (b"d", attrs(0, 1, 0), EntryKind::Directory),
            (b"d/\xff\xfe", attrs(70_000, -2, 750_000_000), EntryKind::Symlink(b"\xfd".to_vec())),
            (&long, attrs(3_000_000, 1 << 40, 0), EntryKind::Symlink(long.to_vec())),
            (b"named", named, EntryKind::Fifo),
            (b"c", attrs(4_294_967_294, -1, 0), EntryKind::CharDevice { major: 4095, minor: 1_048_575 }),
            (b"b", attrs(2_097_152, 1, 1), EntryKind::BlockDevice { major: 8, minor: 1 }),
            (b"h", attrs(0, 0, 0), EntryKind::HardLink(long.to_vec())),
        ];
        let mut writer = Writer::new(Vec::new());
        for (path, attrs, kind) in &members {
            writer.member(path, attrs, kind).unwrap();
        }
        let archive = writer.finish().unwrap();
        let found = read(&archive);
        assert_eq!(found.len(), members.len());
        for ((entry, _), (path, attrs, kind)) in found.iter().zip(&members) {
            assert_eq!((entry.path.as_slice(), &entry.attrs, &entry.kind), (*path, attrs, kind));
        }
    }

    #[test]
    fn bodies_are_as_long_as_was_said_and_holes_stay_holes() {
        let mut writer = Writer::new(Vec::new());
        for size in [0usize, 1, 511, 512, 513, 5000] {
            writer
                .member(format!("f{size}").as_bytes(), &attrs(0, 0, 0), &EntryKind::File { size: size as u64 })
                .unwrap();
            writer.data(&vec![7; size]).unwrap();
        }
        let long = [b's'; 200];
        writer.sparse(&long, &attrs(0, 0, 5), 1 << 40, &[(0, 3), (1 << 30, 600)]).unwrap();
        writer.data(&[8; 603]).unwrap();
        writer.sparse(b"holes", &attrs(0, 0, 0), 4096, &[]).unwrap();
        let found = read(&writer.finish().unwrap());
        for (entry, parts) in &found[1..6] {
            let size: usize = std::str::from_utf8(&entry.path[1..]).unwrap().parse().unwrap();
            assert_eq!(parts, &[Part::Data(vec![7; size])]);
        }
        assert_eq!((found[6].0.path.as_slice(), &found[6].0.kind), (&long[..], &EntryKind::File { size: 1 << 40 }));
        let (hole, rest) = (Part::Hole((1 << 30) - 3), Part::Hole((1 << 40) - (1 << 30) - 600));
        assert_eq!(found[6].1, [Part::Data(vec![8; 3]), hole, Part::Data(vec![8; 600]), rest]);
        assert_eq!(found[7].1, [Part::Hole(4096)]);
    }

    #[test]
    fn a_body_of_another_length_is_an_error() {
        let file = EntryKind::File { size: 3 };
        let mut writer = Writer::new(Vec::new());
        writer.member(b"f", &attrs(0, 0, 0), &file).unwrap();
        assert!(writer.data(b"1234").is_err());
        writer.data(b"12").unwrap();
        assert!(writer.member(b"g", &attrs(0, 0, 0), &file).is_err());
        assert!(writer.finish().is_err());
    }
}
