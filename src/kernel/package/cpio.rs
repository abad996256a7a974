//! The cpio archive inside an rpm package, read front to back.
//!
//! ```text
//! header (110): "070701" ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
//! name NUL ─ pad to 4 ─ body ─ pad to 4 ─ ... ─ "TRAILER!!!"          (each number is 8 hexadecimal digits)
//! ```
//!
//! Read: the new ASCII format, with and without checksums, which are not looked at. Not supported: the stripped format
//! ("07070X") of packages with files above 4 GiB, hard links (their bodies stand with their last name), old formats.
//! Specification: Linux Documentation/driver-api/early-userspace/buffer-format.rst; cpio(5).

use std::io::{self, Read};

use super::body::{self, Body};
use super::{ends_early, invalid, tar};

/// Size of a header.
const HEADER: usize = 110;
/// Longest name accepted, in bytes.
const MAX_NAME: u64 = 64 << 10;
/// The most entries accepted.
const MAX_ENTRIES: usize = 200_000;
/// Bits of a mode that say the kind of file, and the kind that is regular (inode(7)).
const KIND: u64 = 0o170_000;
const REGULAR: u64 = 0o100_000;

/// Reads regular files front to back. After [`Walk::next_file`] gave an entry, its body is read from [`Walk::body`].
pub struct Walk<R> {
    input: R,
    body: u64,
    padding: u64,
    entries: usize,
}

impl<R: Read> Walk<R> {
    /// A walk over the decompressed archive.
    pub fn new(input: R) -> Self {
        Walk { input, body: 0, padding: 0, entries: 0 }
    }

    /// What is left of the present body.
    pub fn body(&mut self) -> Body<'_, R> {
        Body { input: &mut self.input, left: &mut self.body }
    }

    /// Skips the rest of the present body and gives the next regular file; `None` at the archive's end.
    pub fn next_file(&mut self) -> io::Result<Option<tar::Entry>> {
        loop {
            body::skip(&mut self.input, self.body.saturating_add(self.padding))?;
            (self.body, self.padding) = (0, 0);
            self.entries += 1;
            if self.entries > MAX_ENTRIES {
                return Err(invalid(format!("more than {MAX_ENTRIES} entries")));
            }
            let mut header = [0; HEADER];
            self.fill(&mut header)?;
            match &header[..6] {
                b"070701" | b"070702" => {}
                b"07070X" => return Err(invalid("a cpio archive without names, as packages above 4 GiB have it")),
                _ => return Err(invalid("no cpio archive where one should be")),
            }
            let field =
                |number: usize| number_at(&header, 6 + number * 8).ok_or_else(|| invalid("a damaged cpio header"));
            let (mode, size, name_size) = (field(1)?, field(6)?, field(11)?);
            if name_size > MAX_NAME {
                return Err(invalid(format!("a name of {name_size} bytes")));
            }
            let mut name = vec![0; name_size as usize];
            self.fill(&mut name)?;
            body::skip(&mut self.input, padding(HEADER as u64 + name_size))?;
            (self.body, self.padding) = (size, padding(size));
            if name.strip_suffix(b"\0") == Some(b"TRAILER!!!") {
                return Ok(None);
            }
            if mode & KIND == REGULAR
                && let Some(path) = tar::clean(&name)
            {
                return Ok(Some(tar::Entry { path, size }));
            }
        }
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
    length.next_multiple_of(4) - length
}

/// Eight hexadecimal digits.
fn number_at(header: &[u8; HEADER], at: usize) -> Option<u64> {
    let digits = &header[at..at + 8];
    let text = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()))?;
    u64::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, mode: u64, body: &[u8]) -> Vec<u8> {
        let mut bytes = b"070701".to_vec();
        for field in [1, mode, 0, 0, 1, 0, body.len() as u64, 0, 0, 0, 0, name.len() as u64 + 1, 0] {
            bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        bytes.extend_from_slice(name.as_bytes());
        bytes.push(0);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend_from_slice(body);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn archive() -> Vec<u8> {
        [
            entry("./lib", 0o040_755, b""),
            entry("./lib/a.ko", 0o100_644, b"12345"),
            entry("./lib/link", 0o120_777, b"a.ko"),
            entry("../up", 0o100_644, b"x"),
            entry("/lib/b", 0o100_600, b""),
            entry("TRAILER!!!", 0, b""),
        ]
        .concat()
    }

    fn walk(bytes: &[u8]) -> io::Result<Vec<(String, Vec<u8>)>> {
        let (mut walk, mut found) = (Walk::new(bytes), Vec::new());
        while let Some(entry) = walk.next_file()? {
            let mut body = Vec::new();
            walk.body().read_to_end(&mut body)?;
            found.push((entry.path, body));
        }
        Ok(found)
    }

    #[test]
    fn regular_files_within_the_package_come_out() {
        let found = walk(&archive()).unwrap();
        assert_eq!(found, [("lib/a.ko".into(), b"12345".to_vec()), ("lib/b".into(), vec![])]);
    }

    #[test]
    fn every_cut_is_an_error_and_no_mutation_panics() {
        let bytes = archive();
        for length in 0..bytes.len() - 1 {
            assert!(walk(&bytes[..length]).is_err(), "{length}");
        }
        let mut seed = 5u64;
        for _ in 0..20_000 {
            let mut copy = bytes.clone();
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let at = (seed >> 33) as usize % copy.len();
            copy[at] = (seed >> 24) as u8;
            _ = walk(&copy);
        }
    }
}
