//! cpio archives in the "new ASCII" format, as an rpm package and an initial RAM disk are: a reader from front to back,
//! and a writer.
//!
//! ```text
//! header (110): "070701" ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
//! name NUL ─ pad to 4 ─ body ─ pad to 4 ─ ... ─ "TRAILER!!!"          (each number is 8 hexadecimal digits)
//! ```
//!
//! Read: archives with and without checksums, which are not looked at. Written: the same input gives the same bytes,
//! as times are 0, owners root, and inode numbers count up from 1. Not supported: the stripped format ("07070X") of
//! packages with files above 4 GiB, links (read, the bodies of one file stand with its last name), old formats.
//! Specification: Linux Documentation/driver-api/early-userspace/buffer-format.rst; cpio(5), "New ASCII Format".

use super::body::{self, Body, ends_early};
use std::io::{self, Read, Seek};

/// Magic of an entry without a checksum.
const MAGIC: &[u8; 6] = b"070701";
/// Name of the last entry.
const TRAILER: &str = "TRAILER!!!";
/// Size of a header.
const HEADER: usize = 110;
/// Names and bodies begin at multiples of this.
const ALIGN: usize = 4;
/// A written archive is a multiple of this.
const BLOCK: usize = 512;
/// Longest name that is read, its NUL included: no path is longer (PATH_MAX).
const MAX_NAME: u64 = 4096;

/// `S_IFMT`, `S_IFDIR`, `S_IFCHR` and `S_IFREG` of inode(7).
const KIND: u32 = 0o170_000;
/// See [`KIND`].
pub const DIRECTORY: u32 = 0o040_000;
/// See [`KIND`].
pub const CHARACTER: u32 = 0o020_000;
/// See [`KIND`].
pub const REGULAR: u32 = 0o100_000;

/// An entry, as its header has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name as it was written.
    pub name: Vec<u8>,
    /// Kind and permissions.
    pub mode: u32,
    /// Bytes of its body.
    pub size: u64,
}

impl Entry {
    /// Whether it is a file.
    pub fn is_regular(&self) -> bool {
        self.mode & KIND == REGULAR
    }
}

/// Reads an archive front to back. After [`Walk::next_entry`] gave an entry, its body is read from [`Walk::body`].
pub struct Walk<R> {
    input: R,
    past: fn(&mut R, u64) -> io::Result<()>,
    body: u64,
    padding: u64,
    entries: u64,
    most: u64,
}

impl<R: Read> Walk<R> {
    /// A walk over the unpacked archive, of `most` entries.
    pub fn new(input: R, most: u64) -> Self {
        Walk { input, past: body::skip, body: 0, padding: 0, entries: 0, most }
    }

    /// The same of one in which bodies that nobody wants need not be read. That one ends early is noticed with the next
    /// entry.
    pub fn seeking(input: R, most: u64) -> Self
    where
        R: Seek,
    {
        Walk { past: |input, length| input.seek_relative(length.cast_signed()), ..Walk::new(input, most) }
    }

    /// What is left of the present body.
    pub fn body(&mut self) -> Body<'_, R> {
        Body { input: &mut self.input, left: &mut self.body }
    }

    /// Skips the rest of the present body and gives the next entry; `None` at the archive's end, behind which the
    /// input is then.
    pub fn next_entry(&mut self) -> io::Result<Option<Entry>> {
        (self.past)(&mut self.input, self.body.saturating_add(self.padding))?;
        (self.body, self.padding) = (0, 0);
        self.entries += 1;
        if self.entries > self.most {
            return Err(invalid(format!("more than {} entries", self.most)));
        }
        let entry = self.header()?;
        (self.body, self.padding) = (entry.size, padding(entry.size));
        Ok((entry.name != TRAILER.as_bytes()).then_some(entry))
    }

    fn header(&mut self) -> io::Result<Entry> {
        let mut header = [0; HEADER];
        self.fill(&mut header)?;
        match &header[..6] {
            b"070701" | b"070702" => {}
            b"07070X" => return Err(invalid("a cpio archive without names, as packages above 4 GiB have it")),
            _ => return Err(invalid("no cpio archive where one should be")),
        }
        let field = |number: usize| number_at(&header, 6 + number * 8).ok_or_else(|| invalid("a damaged cpio header"));
        let (mode, size, name_size) = (field(1)?, u64::from(field(6)?), u64::from(field(11)?));
        if !(1..=MAX_NAME).contains(&name_size) {
            return Err(invalid(format!("a name of {name_size} bytes")));
        }
        let mut name = vec![0; name_size as usize];
        self.fill(&mut name)?;
        (self.past)(&mut self.input, padding(HEADER as u64 + name_size))?;
        if name.last() == Some(&0) {
            name.pop();
        }
        Ok(Entry { name, mode, size })
    }

    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        self.input.read_exact(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => ends_early(),
            _ => error,
        })
    }
}

/// Bytes up to the next multiple of 4.
fn padding(length: u64) -> u64 {
    length.next_multiple_of(ALIGN as u64) - length
}

/// Eight hexadecimal digits.
fn number_at(header: &[u8; HEADER], at: usize) -> Option<u32> {
    let digits = &header[at..at + 8];
    let text = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()))?;
    u32::from_str_radix(text, 16).ok()
}

fn invalid(reason: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.into())
}

/// An archive that is being written.
#[derive(Default)]
pub struct Writer {
    bytes: Vec<u8>,
    inodes: u32,
}

/// A body of 4 GiB or more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge;

impl Writer {
    /// An empty one, which grows in this empty buffer.
    pub fn new(buffer: Vec<u8>) -> Writer {
        Writer { bytes: buffer, inodes: 0 }
    }

    /// Adds an entry with its mode, and its device number if it is one.
    ///
    /// # Errors
    /// [`TooLarge`], and then nothing of it was added.
    pub fn add(&mut self, name: &str, mode: u32, device: (u32, u32), body: &[u8]) -> Result<(), TooLarge> {
        let size = u32::try_from(body.len()).map_err(|_| TooLarge)?;
        self.inodes += 1;
        self.header(name, self.inodes, mode, device, size);
        self.bytes.extend_from_slice(body);
        self.pad(ALIGN);
        Ok(())
    }

    /// The archive with its end.
    pub fn finish(mut self) -> Vec<u8> {
        self.header(TRAILER, 0, 0, (0, 0), 0);
        self.pad(BLOCK);
        self.bytes
    }

    fn header(&mut self, name: &str, inode: u32, mode: u32, device: (u32, u32), size: u32) {
        let links = if mode & KIND == DIRECTORY { 2 } else { 1 };
        // In order: c_ino, c_mode, c_uid, c_gid, c_nlink, c_mtime, c_filesize, c_maj, c_min, c_rmaj, c_rmin,
        // c_namesize (with its NUL), c_chksum (0 in this format).
        let name_size = name.len() as u32 + 1;
        let fields = [inode, mode, 0, 0, links, 0, size, 0, 0, device.0, device.1, name_size, 0];
        self.bytes.extend_from_slice(MAGIC);
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08X}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad(ALIGN);
    }

    fn pad(&mut self, to: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(to), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive() -> Vec<u8> {
        let mut writer = Writer::default();
        for (name, mode, body) in [
            ("./lib", DIRECTORY | 0o755, &b""[..]),
            ("./lib/a.ko", REGULAR | 0o644, b"12345"),
            ("./lib/link", 0o120_777, b"a.ko"),
            ("/lib/b", REGULAR | 0o600, b""),
        ] {
            writer.add(name, mode, (0, 0), body).unwrap();
        }
        writer.finish()
    }

    /// Names of files with their bodies.
    fn walk(bytes: &[u8]) -> io::Result<Vec<(String, Vec<u8>)>> {
        let (mut walk, mut found) = (Walk::new(bytes, 100), Vec::new());
        while let Some(entry) = walk.next_entry()? {
            let mut body = Vec::new();
            walk.body().read_to_end(&mut body)?;
            if entry.is_regular() {
                found.push((String::from_utf8_lossy(&entry.name).into_owned(), body));
            }
        }
        Ok(found)
    }

    #[test]
    fn what_was_written_is_read() {
        let found = walk(&archive()).unwrap();
        assert_eq!(found, [("./lib/a.ko".into(), b"12345".to_vec()), ("/lib/b".into(), vec![])]);
        assert_eq!(archive().len() % BLOCK, 0);
    }

    #[test]
    fn there_is_a_most_of_entries() {
        let bytes = archive();
        let mut walk = Walk::new(&bytes[..], 4);
        (0..4).for_each(|_| assert!(walk.next_entry().unwrap().is_some()));
        assert!(walk.next_entry().is_err());
    }

    #[test]
    fn every_cut_is_an_error_and_no_mutation_panics() {
        let whole = archive();
        let trailer = whole.windows(TRAILER.len()).position(|part| part == TRAILER.as_bytes()).unwrap();
        let bytes = &whole[..trailer + TRAILER.len() + 4];
        for length in 0..trailer + TRAILER.len() {
            assert!(walk(&bytes[..length]).is_err(), "{length}");
        }
        let mut seed = 5u64;
        for _ in 0..20_000 {
            let mut copy = bytes.to_vec();
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let at = (seed >> 33) as usize % copy.len();
            copy[at] = (seed >> 24) as u8;
            _ = walk(&copy);
        }
    }
}
