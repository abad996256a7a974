//! The tar dialects of packages: what `dpkg-deb`, `abuild-tar`, bsdtar and GNU tar write.
//!
//! ```text
//! header (512): name 100 | mode 8 | uid 8 | gid 8 | size 12 | mtime 12 | chksum 8 | typeflag 1 | linkname 100 | "ustar" ... prefix 155
//! body, padded to 512 ─ header ─ body ─ ... ─ two zero blocks
//! ```
//!
//! Read: ustar names with prefix, GNU long names (type `L`), PAX `path` (type `x`). Not supported: sparse files and
//! base-256 sizes, which are refused; links and devices, which are skipped. Nothing is ever unpacked, so a name is
//! only compared, never opened. Layers of images have a reader of their own with the whole dialect.
//! Specification: POSIX pax, "ustar Interchange Format"; GNU tar manual, "Basic Tar Format".

use std::io::{self, Read};

use super::invalid;
use crate::formats::body::{self, Body, ends_early};

/// Block size in bytes.
pub const BLOCK: usize = 512;
/// The longest name record or PAX header accepted, in bytes.
const MAX_NAME: u64 = 64 << 10;
/// The most entries accepted; a generic kernel has 5,000.
const MAX_ENTRIES: usize = 200_000;

/// A regular file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Path without `./` or `/` in front. Has no `..` in it.
    pub path: String,
    /// Length of the body in bytes.
    pub size: u64,
}

/// Where an archive ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// At a block of zeros; without one it is cut short.
    Marked,
    /// Also where its stream ends between two entries: `abuild-tar --cut` and `umoci` write no mark.
    Open,
}

/// Whether a block is the header of an entry.
pub fn is_header(block: &[u8]) -> bool {
    block.len() == BLOCK && number(&block[148..156]) == Some(u64::from(sum_of(block)))
}

/// Reads regular files front to back. After [`Walk::next_file`] gave an entry, its body is read from [`Walk::body`].
pub struct Walk<R> {
    input: R,
    /// Bytes of the present body, then of its padding, that are still in `input`.
    body: u64,
    padding: u64,
    entries: usize,
    end: End,
}

impl<R: Read> Walk<R> {
    /// A walk over the decompressed archive.
    pub fn new(input: R, end: End) -> Self {
        Walk { input, body: 0, padding: 0, entries: 0, end }
    }

    /// Headers read so far, those that were passed over included.
    pub fn headers(&self) -> usize {
        self.entries
    }

    /// What is left of the present body.
    pub fn body(&mut self) -> Body<'_, R> {
        Body { input: &mut self.input, left: &mut self.body }
    }

    /// Skips the rest of the present body and gives the next regular file; `None` at the archive's end.
    pub fn next_file(&mut self) -> io::Result<Option<Entry>> {
        let mut long_name = None;
        loop {
            self.skip_body()?;
            let Some(header) = self.header()? else { return Ok(None) };
            self.entries += 1;
            if self.entries > MAX_ENTRIES {
                return Err(invalid(format!("more than {MAX_ENTRIES} entries")));
            }
            self.body = number(&header[124..136]).ok_or_else(|| invalid("an entry with an impossible size"))?;
            self.padding = self.body.next_multiple_of(BLOCK as u64) - self.body;
            match header[156] {
                b'L' => long_name = Some(self.name_record()?),
                b'x' => long_name = pax_path(&self.name_record()?).or(long_name),
                b'0' | 0 | b'7' => {
                    let name = long_name.take().unwrap_or_else(|| short_name(&header));
                    if let Some(path) = clean(&name) {
                        return Ok(Some(Entry { path, size: self.body }));
                    }
                }
                b'S' => return Err(invalid("a sparse file, which packages do not have")),
                // Only file types without a body may be skipped without looking: their size field is theirs.
                b'1'..=b'6' => {
                    long_name = None;
                    (self.body, self.padding) = (0, 0);
                }
                _ => {}
            }
        }
    }

    fn name_record(&mut self) -> io::Result<Vec<u8>> {
        if self.body > MAX_NAME {
            return Err(invalid(format!("a name record of {} bytes", self.body)));
        }
        let mut bytes = vec![0; self.body as usize];
        self.body().read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn header(&mut self) -> io::Result<Option<[u8; BLOCK]>> {
        let mut block = [0; BLOCK];
        let mut have = 0;
        while have < BLOCK {
            match self.input.read(&mut block[have..])? {
                0 if have == 0 && self.end == End::Open => return Ok(None),
                0 => return Err(ends_early()),
                n => have += n,
            }
        }
        if block.iter().all(|&b| b == 0) {
            return Ok(None);
        }
        if !is_header(&block) {
            return Err(invalid("an entry header with a wrong checksum"));
        }
        Ok(Some(block))
    }

    fn skip_body(&mut self) -> io::Result<()> {
        let left = self.body.saturating_add(self.padding);
        (self.body, self.padding) = (0, 0);
        body::skip(&mut self.input, left)
    }
}

/// An octal number, blanks and NULs around it.
fn number(field: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(field).ok()?.trim_matches(['\0', ' ']);
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    u64::from_str_radix(text, 8).ok()
}

fn short_name(header: &[u8; BLOCK]) -> Vec<u8> {
    let field = |from: usize, to: usize| header[from..to].split(|&b| b == 0).next().unwrap_or_default();
    // GNU's own magic is "ustar  " and has other fields where the prefix would be.
    let prefix = if &header[257..263] == b"ustar\0" { field(345, 500) } else { &[] };
    let mut name = prefix.to_vec();
    if !name.is_empty() {
        name.push(b'/');
    }
    name.extend_from_slice(field(0, 100));
    name
}

/// The `path` of a PAX extended header: records are `LENGTH KEY=VALUE\n`.
fn pax_path(mut records: &[u8]) -> Option<Vec<u8>> {
    let mut path = None;
    while let Some(blank) = records.iter().position(|&b| b == b' ') {
        let length: usize = std::str::from_utf8(&records[..blank]).ok()?.parse().ok()?;
        let record = records.get(blank + 1..length)?;
        path = record.strip_prefix(b"path=").and_then(|v| v.strip_suffix(b"\n")).map(<[u8]>::to_vec).or(path);
        records = &records[length..];
    }
    path
}

/// The name without `.` components; `None` when it is not text, is empty, or has a `..`.
pub(super) fn clean(name: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(name).ok()?.split('\0').next()?;
    let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    (!parts.is_empty() && !parts.contains(&"..")).then(|| parts.join("/"))
}

/// The sum of a header's bytes, those of the sum itself counted as blanks.
fn sum_of(block: &[u8]) -> u32 {
    block.iter().enumerate().map(|(i, &b)| if (148..156).contains(&i) { 32 } else { u32::from(b) }).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, body) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_size(body.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, path, *body).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn walk(bytes: &[u8]) -> io::Result<Vec<(String, Vec<u8>)>> {
        let (mut walk, mut found) = (Walk::new(bytes, End::Marked), Vec::new());
        while let Some(entry) = walk.next_file()? {
            let mut body = Vec::new();
            walk.body().read_to_end(&mut body)?;
            found.push((entry.path, body));
        }
        Ok(found)
    }

    #[test]
    fn files_come_out_with_long_names_and_bodies() {
        let long = "lib/".repeat(60) + "x.ko";
        let bytes = archive(&[("./boot/vmlinuz", b"k"), (&long, &[7; 1000]), ("empty", b"")]);
        let found = walk(&bytes).unwrap();
        assert_eq!(found[0], ("boot/vmlinuz".into(), b"k".to_vec()));
        assert_eq!(found[1], (long, vec![7; 1000]));
        assert_eq!(found[2], ("empty".into(), vec![]));
    }

    #[test]
    fn every_cut_is_an_error() {
        let bytes = archive(&[("a", b"12345"), ("b", &[1; 600])]);
        for length in 0..bytes.len() - 1024 {
            assert!(walk(&bytes[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn names_that_leave_the_package_are_not_seen() {
        assert_eq!(clean(b"./a//b/./c"), Some("a/b/c".into()));
        assert_eq!(clean(b"/etc/x"), Some("etc/x".into()));
        for name in [&b"../x"[..], b"a/../b", b"", b"./", b"\xff"] {
            assert_eq!(clean(name), None);
        }
    }

    #[test]
    fn pax_paths_are_read_and_broken_records_are_not_believed() {
        assert_eq!(pax_path(b"12 path=ab/c\n"), None);
        assert_eq!(pax_path(b"13 path=ab/c\n"), Some(b"ab/c".to_vec()));
        assert_eq!(pax_path(b"6 a=b\n13 path=ab/c\n"), Some(b"ab/c".to_vec()));
        assert_eq!(pax_path(b"0 a=b\n"), None);
        assert_eq!(pax_path(b"99999999999999999999 a"), None);
        assert_eq!(pax_path(b"99 a"), None);
    }

    #[test]
    fn mutations_never_panic() {
        let bytes = archive(&[("a", b"12345"), (&"long/".repeat(30), &[1; 600])]);
        let mut seed = 3u64;
        for _ in 0..5_000 {
            let mut copy = bytes.clone();
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let at = (seed >> 33) as usize % copy.len();
            copy[at] = (seed >> 24) as u8;
            _ = walk(&copy);
        }
    }
}
