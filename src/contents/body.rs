//! What is kept of file bodies while they pass: facts, a few short texts, and digests when they are asked for.
//!
//! ```text
//!  announce(path) ─▶ begin ─▶ write… ─▶ finish ─▶ Body
//!                     │        first bytes, or all of what is wanted, in one buffer that every body uses
//!                     └─ digest beside it
//! ```
//!
//! The buffer holds [`BUFFER`] bytes at most: of a longer program or database only what lies in its first part is
//! known, and the report says so. All that is kept together has a limit of its own, [`KEPT`].
//!
//! Layers and file systems that exist both end here, so that one report is made from either.

use super::packages::{self, Count};
use super::rules::{Want, want};
use crate::escape::escape;
use crate::formats::{bzimage, elf, ndb, sqlite};
use crate::guest::script;
use crate::hex::hex;
use crate::kernel::image;
use crate::rootfs::{Attrs, BodySink};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io;

/// Most bytes of one body that are looked at.
pub const BUFFER: usize = 64 << 20;
/// Bytes of a script's first line.
const SCRIPT: usize = 256;
/// Most bytes of texts and names kept of all bodies.
const KEPT: usize = 128 << 20;
/// Most bytes of holes that are hashed: a hole costs its maker nothing.
const HASHED_HOLES: u64 = 8 << 30;
/// Bodies whose paths are kept whatever their size, to name what later layers hide.
const SMALL_PATHS: u64 = 200_000;
/// Size from which a body's path is always kept.
const LARGE: u64 = 16 << 10;
/// Most layers-and-files that are remembered as hidden, the largest ones.
const HIDDEN: usize = 64;

/// What is known of one body.
#[derive(Clone, Debug, Default)]
pub struct Body {
    /// What its content says; nothing for most.
    pub content: Option<Box<Content>>,
    /// SHA-256, when digests were asked for. An empty file that was never stored has none.
    pub sha256: Option<Box<[u8; 32]>>,
    layer: u32,
    /// Bytes; holes count.
    pub size: u64,
    path: Option<Box<[u8]>>,
}

/// What a content says.
#[derive(Clone, Debug, Default)]
pub struct Content {
    /// It is an ELF file.
    pub elf: Option<elf::Facts>,
    /// It is a script: the first line without `#!`.
    pub script: Option<Vec<u8>>,
    /// What is wrong with that line, or with what is before it.
    pub script_fault: Option<String>,
    /// Text that was wanted.
    pub text: Option<Vec<u8>>,
    /// A package database.
    pub packages: Option<Count>,
    /// Number of certificates.
    pub certificates: Option<u64>,
    /// Version of a C library.
    pub version: Option<String>,
    /// A kernel.
    pub kernel: Option<image::Image>,
}

/// A body that a later layer took away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hidden {
    /// Its bytes.
    pub size: u64,
    /// Its path as its layer had it; `None` for a small one of very many.
    pub path: Option<Box<[u8]>>,
    /// The layer that brought it, from 0.
    pub layer: u32,
    /// The layer that hid it.
    pub by: u32,
}

/// The sink.
#[derive(Default)]
pub struct Looker {
    /// Digests are wanted.
    pub hash: bool,
    /// The texts of package databases are wanted.
    databases: bool,
    /// The layer that is being applied, from 0.
    pub layer: u32,
    /// Bytes hidden so far, by the layer that had brought them.
    pub hidden_bytes: BTreeMap<u32, u64>,
    /// The largest bodies hidden, the largest first.
    pub hidden: Vec<Hidden>,
    /// Whether something was not kept for the sake of [`KEPT`].
    pub full: bool,
    /// Whether a digest was left out for the sake of [`HASHED_HOLES`].
    pub unhashed: bool,
    path: Vec<u8>,
    want: Option<Want>,
    buffer: Vec<u8>,
    cap: usize,
    size: u64,
    hasher: Option<Sha256>,
    holes: u64,
    kept: usize,
    bodies: u64,
}

impl Looker {
    /// A sink that hashes or not.
    pub fn new(hash: bool) -> Looker {
        Looker { hash, ..Looker::default() }
    }

    /// A sink that keeps package databases, for [`super::installed`].
    pub fn for_packages() -> Looker {
        Looker { databases: true, ..Looker::default() }
    }

    /// Whether no more bytes of this body are of interest; it may be finished without them.
    pub fn is_satisfied(&self) -> bool {
        self.hasher.is_none() && self.buffer.len() >= elf::MAGIC.len().min(self.cap) && self.buffer.len() >= self.cap
    }

    fn keep(&mut self, data: &[u8]) {
        if self.buffer.len() < elf::MAGIC.len() {
            let first = data.len().min(elf::MAGIC.len() - self.buffer.len());
            self.buffer.extend_from_slice(&data[..first]);
            if self.buffer.len() < elf::MAGIC.len() {
                return;
            }
            if self.buffer == elf::MAGIC {
                self.cap = BUFFER;
            } else if !(self.buffer.starts_with(b"#!") || self.buffer == b"\xef\xbb\xbf#"[..])
                && self.want == Some(Want::Nothing)
            {
                self.cap = 0;
            }
            if first < data.len() {
                self.keep(&data[first..]);
            }
            return;
        }
        let room = self.cap.saturating_sub(self.buffer.len());
        self.buffer.extend_from_slice(&data[..data.len().min(room)]);
    }

    /// What the buffer says.
    fn content(&mut self) -> Option<Box<Content>> {
        let bytes = &self.buffer[..];
        let cut = (bytes.len() as u64) < self.size;
        let mut content = Content { elf: elf::parse(bytes), ..Content::default() };
        let fault = script::fault(&bytes[..bytes.len().min(SCRIPT)]);
        content.script_fault = fault.map(|fault| escape(fault.as_bytes()));
        if let Some(line) = bytes.strip_prefix(b"#!") {
            let line = line.split(|&byte| byte == b'\n').next().unwrap_or_default();
            content.script = Some(line[..line.len().min(SCRIPT)].to_vec());
        }
        let doubtful = |count: Count| {
            let doubt = cut.then_some("only its first 64 MiB were read");
            Some(Count { doubt, ..count })
        };
        match self.want.unwrap_or(Want::Nothing) {
            Want::Nothing => {}
            Want::Text(limit) => content.text = Some(bytes[..bytes.len().min(limit)].to_vec()),
            Want::Dpkg => content.packages = doubtful(packages::dpkg(bytes)),
            Want::Apk => content.packages = doubtful(packages::apk(bytes)),
            Want::RpmSqlite => {
                let rows = sqlite::Database::open(bytes).and_then(|database| database.rows(b"Packages"));
                content.packages = Some(rows_or_doubt(rows, cut));
            }
            Want::RpmNdb => content.packages = Some(rows_or_doubt(ndb::count(bytes), cut)),
            Want::Pacman => {}
            Want::Certificates => content.certificates = Some(count(bytes, b"-----BEGIN CERTIFICATE-----")),
            Want::Glibc => content.version = glibc_version(bytes),
            Want::Musl => content.version = musl_version(bytes),
            Want::Kernel => {
                let prefix = &bytes[..bytes.len().min(bzimage::SETUP_MAX)];
                let payload = |at: u64| {
                    let start = usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
                    bytes[start..bytes.len().min(start.saturating_add(16))].to_vec()
                };
                content.kernel = image::recognise(prefix, self.size, payload).ok();
            }
        }
        if self.databases && self.want.is_some_and(Want::is_database) {
            content.text = Some(bytes.to_vec());
        }
        let cost = content.cost();
        if cost == 0 {
            return None;
        }
        if self.kept.saturating_add(cost) > KEPT {
            self.full = true;
            return None;
        }
        self.kept += cost;
        Some(Box::new(content))
    }
}

impl Content {
    /// Bytes of memory, roughly; 0 when there is nothing worth keeping.
    fn cost(&self) -> usize {
        let elf = self.elf.as_ref().map_or(0, |elf| {
            let names: usize = elf.needed.iter().map(|name| name.len() + 24).sum();
            256 + names + elf.interpreter.as_ref().map_or(0, Vec::len) + elf.run_path.as_ref().map_or(0, Vec::len)
        });
        let text = self.text.as_ref().map_or(0, |text| text.len() + 64);
        let fault = self.script_fault.as_ref().map_or(0, |fault| fault.len() + 64);
        let script = fault + self.script.as_ref().map_or(0, |line| line.len() + 64);
        let rest =
            [self.packages.is_some(), self.certificates.is_some(), self.version.is_some(), self.kernel.is_some()];
        elf + text + script + 64 * rest.iter().filter(|there| **there).count()
    }
}

fn rows_or_doubt(rows: Option<u64>, cut: bool) -> Count {
    let doubt = match (rows, cut) {
        (Some(_), _) => None,
        (None, true) => Some("the database is longer than 64 MiB and was not counted"),
        (None, false) => Some("the database is damaged or of another version"),
    };
    Count { installed: rows.unwrap_or(0), doubt, ..Count::default() }
}

fn count(bytes: &[u8], needle: &[u8]) -> u64 {
    let (mut rest, mut count) = (bytes, 0);
    while let Some(at) = image::find(rest, needle) {
        count += 1;
        rest = &rest[at + needle.len()..];
    }
    count
}

/// "GNU C Library (...) stable release version 2.36."
fn glibc_version(bytes: &[u8]) -> Option<String> {
    let at = image::find(bytes, b"GNU C Library ")?;
    let line = bytes[at..].split(|&byte| byte == b'\n' || byte == 0).next()?;
    let at = image::find(&line[..line.len().min(512)], b"release version ")? + b"release version ".len();
    version_number(&line[at..])
}

/// musl keeps its name and, near it, its version as a string of its own.
fn musl_version(bytes: &[u8]) -> Option<String> {
    let at = image::find(bytes, b"musl libc (")?;
    let near = &bytes[at..bytes.len().min(at + (64 << 10))];
    near.split(|&byte| byte == 0).skip(1).find_map(|text| {
        let dots = text.iter().filter(|&&byte| byte == b'.').count();
        version_number(text).filter(|version| dots == 2 && version.len() == text.len())
    })
}

/// The digits and dots that `text` begins with, if they look like a version.
fn version_number(text: &[u8]) -> Option<String> {
    let end = text.iter().position(|byte| !byte.is_ascii_digit() && *byte != b'.').unwrap_or(text.len());
    let text = std::str::from_utf8(&text[..end]).ok()?.trim_end_matches('.');
    (text.len() <= 32 && text.starts_with(|c: char| c.is_ascii_digit()) && text.contains('.')).then(|| text.to_owned())
}

impl BodySink for Looker {
    type Body = Body;

    fn announce(&mut self, path: &[u8], _attrs: &Attrs) {
        self.path.clear();
        self.path.extend_from_slice(path);
        self.want = Some(want(path));
    }

    fn begin(&mut self, size: u64) -> io::Result<()> {
        self.buffer.clear();
        self.size = size;
        self.cap = match self.want.unwrap_or(Want::Nothing) {
            Want::Nothing => SCRIPT,
            Want::Text(limit) => limit,
            _ => BUFFER,
        };
        self.hasher = self.hash.then(Sha256::new);
        self.bodies += 1;
        Ok(())
    }

    fn write(&mut self, data: &[u8]) -> io::Result<()> {
        if let Some(hasher) = &mut self.hasher {
            hasher.update(data);
        }
        if self.cap > 0 {
            self.keep(data);
        }
        Ok(())
    }

    fn hole(&mut self, length: u64) -> io::Result<()> {
        static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
        self.holes = self.holes.saturating_add(length);
        if self.hasher.is_some() && self.holes > HASHED_HOLES {
            self.hasher = None;
            self.unhashed = true;
        }
        let mut left = if self.hasher.is_some() { length } else { length.min(BUFFER as u64) };
        while left > 0 && (self.hasher.is_some() || self.buffer.len() < self.cap) {
            let part = &ZEROS[..left.min(ZEROS.len() as u64) as usize];
            self.write(part)?;
            left -= part.len() as u64;
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<Body> {
        let content = self.content();
        let sha256 = self.hasher.take().map(|hasher| Box::new(hasher.finalize().into()));
        let named = self.size >= LARGE || self.bodies < SMALL_PATHS;
        let path = named.then(|| self.path.as_slice().into());
        self.want = None;
        Ok(Body { content, sha256, layer: self.layer, size: self.size, path })
    }

    fn abandon(&mut self) {
        self.want = None;
    }

    fn discard(&mut self, body: Body) {
        if body.layer == self.layer || body.size == 0 {
            return;
        }
        *self.hidden_bytes.entry(body.layer).or_default() += body.size;
        let hidden = Hidden { size: body.size, path: body.path, layer: body.layer, by: self.layer };
        let at = self.hidden.partition_point(|other| other.size >= hidden.size);
        if at < HIDDEN {
            self.hidden.insert(at, hidden);
            self.hidden.truncate(HIDDEN);
        }
    }
}

/// SHA-256 of a file in hexadecimal. An empty file may never have gone through the sink.
pub fn digest(size: u64, body: &Body) -> Option<String> {
    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    match &body.sha256 {
        Some(digest) => Some(hex(**digest)),
        None => (size == 0).then(|| EMPTY.to_owned()),
    }
}

/// What a sink had to leave out.
pub fn left_out(looker: &Looker) -> Vec<String> {
    let full = looker
        .full
        .then(|| "not everything was kept that this report is made from: there is too much of it".to_owned());
    let unhashed = looker.unhashed.then(|| "some files are mostly holes and have no digest here".to_owned());
    full.into_iter().chain(unhashed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(path: &str, parts: &[&[u8]]) -> Body {
        let mut looker = Looker::new(true);
        looker.announce(path.as_bytes(), &Attrs::default());
        looker.begin(parts.iter().map(|part| part.len() as u64).sum()).unwrap();
        parts.iter().for_each(|part| looker.write(part).unwrap());
        looker.finish().unwrap()
    }

    #[test]
    fn what_is_found_does_not_depend_on_how_bytes_come() {
        let whole = look("x", &[b"#!/bin/sh -e\nexit\n"]);
        let parts = look("x", &[b"#", b"!/bi", b"n/sh -e\nexit\n"]);
        for body in [&whole, &parts] {
            assert_eq!(body.content.as_ref().unwrap().script.as_deref(), Some(&b"/bin/sh -e"[..]));
        }
        assert_eq!(whole.sha256, parts.sha256);
        assert!(look("x", &[b"plain text, not looked at"]).content.is_none());
        assert_eq!(look("etc/os-release", &[b"ID", b"=x\n"]).content.unwrap().text.unwrap(), b"ID=x\n");
    }

    #[test]
    fn texts_have_a_limit() {
        let body = look("etc/os-release", &[&[b'a'; 70_000], &[b'b'; 70_000]]);
        assert_eq!(body.content.unwrap().text.unwrap().len(), 64 << 10);
    }

    #[test]
    fn holes_count_as_zeros() {
        let mut looker = Looker::new(true);
        looker.announce(b"x", &Attrs::default());
        looker.begin(100_000).unwrap();
        looker.hole(100_000).unwrap();
        let body = looker.finish().unwrap();
        assert_eq!(body.sha256, look("x", &[&[0; 100_000]]).sha256);
        let mut looker = Looker::new(true);
        looker.begin(1 << 50).unwrap();
        looker.hole(1 << 50).unwrap();
        assert!(looker.finish().unwrap().sha256.is_none() && looker.unhashed);
    }

    #[test]
    fn what_later_layers_hide_is_counted_for_the_layer_that_brought_it() {
        let mut looker = Looker::new(false);
        looker.announce(b"big", &Attrs::default());
        looker.begin(5).unwrap();
        looker.write(b"12345").unwrap();
        let body = looker.finish().unwrap();
        looker.discard(body.clone());
        assert!(looker.hidden.is_empty(), "a layer does not hide what is its own");
        looker.layer = 2;
        looker.discard(body);
        assert_eq!(looker.hidden_bytes[&0], 5);
        assert_eq!((looker.hidden[0].by, looker.hidden[0].path.as_deref()), (2, Some(&b"big"[..])));
    }

    #[test]
    fn libraries_tell_their_versions() {
        assert_eq!(
            glibc_version(b"\0GNU C Library (Debian GLIBC 2.36-9) stable release version 2.36.\nCopyright"),
            Some("2.36".into())
        );
        assert_eq!(musl_version(b"musl libc (x86_64)\0Version %s\x001.2.3\0"), Some("1.2.3".into()));
        assert_eq!(musl_version(b"musl libc (x86_64)\0"), None);
    }
}
