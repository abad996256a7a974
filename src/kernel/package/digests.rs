//! The digests that packages list of their files: `md5sums` of Debian's and `.MTREE` of pacman's.
//!
//! ```text
//! md5sums   e0a6…47e7  boot/System.map-R                                           in control.tar
//! .MTREE    gzip(./usr/lib/modules/R/vmlinuz time=… size=… sha256digest=e15b…)     mtree(5), before the files
//! ```
//!
//! They tell damage. Whoever changes a file can change its digest as well: that is for signatures.
//!
//! Not supported: mtree's other digests, paths that depend on the lines before (version 1), and lines that go on in the
//! next; what they are of is a file that the list does not have.
//! Specification: deb-md5sums(5); mtree(5); makepkg(8), `.MTREE`.

use std::collections::HashMap;
use std::io::{self, Read};
use std::path::Path;

use md5::Md5;
use sha2::digest::DynDigest;
use sha2::{Digest, Sha256};

use super::{Visit, invalid, shown, tar};
use crate::formats::unpack;
use crate::hex::hex;
use crate::kernel::KernelError;

/// Longest list accepted, in bytes; of a generic kernel's 4,000 modules one has 0.7 MiB.
const MAX_LIST: u64 = 32 << 20;

/// What a package says of its files.
pub(super) struct Digests {
    algorithm: Algorithm,
    /// By path, in hexadecimal digits.
    listed: HashMap<String, String>,
    /// A file was passed that has to be listed and is not.
    unlisted: bool,
}

#[derive(Clone, Copy)]
enum Algorithm {
    Md5,
    Sha256,
}

impl Digests {
    /// Reads Debian's list.
    pub(super) fn md5sums(body: impl Read) -> io::Result<Digests> {
        Ok(Digests::new(Algorithm::Md5, read(body)?.lines().filter_map(|line| line.split_once("  "))))
    }

    /// Reads pacman's list, packed or not.
    pub(super) fn mtree(body: impl Read) -> io::Result<Digests> {
        let text = read(unpack::reader(body)?)?;
        let entries = text.lines().filter_map(|line| {
            let (path, keywords) = line.split_once(' ')?;
            let digest = keywords.split(' ').find_map(|keyword| keyword.strip_prefix("sha256digest="))?;
            Some((digest, path))
        });
        let unescaped: Vec<(&str, String)> = entries.map(|(digest, path)| (digest, unescape(path))).collect();
        Ok(Digests::new(Algorithm::Sha256, unescaped.iter().map(|(digest, path)| (*digest, path.as_str()))))
    }

    fn new<'a>(algorithm: Algorithm, entries: impl Iterator<Item = (&'a str, &'a str)>) -> Digests {
        let clean = |(digest, path): (&str, &str)| Some((tar::clean(path.as_bytes())?, digest.to_owned()));
        Digests { algorithm, listed: entries.filter_map(clean).collect(), unlisted: false }
    }

    /// Shows `visit` a file, and compares what it is with what it should be.
    ///
    /// # Errors
    /// [`KernelError::Package`] when it is something else.
    pub(super) fn visit(
        &mut self,
        path: &Path,
        entry: &tar::Entry,
        body: &mut dyn Read,
        visit: &mut Visit<'_>,
    ) -> Result<(), KernelError> {
        let Some(expected) = self.listed.get(&entry.path) else {
            // Debian's lists leave out what administrators change, and pacman's begin when .MTREE is made.
            self.unlisted |= !entry.path.starts_with("etc/") && !entry.path.starts_with('.');
            return visit(entry, body);
        };
        let mut body = match self.algorithm {
            Algorithm::Md5 => Hashing::new(body, Md5::new()),
            Algorithm::Sha256 => Hashing::new(body, Sha256::new()),
        };
        visit(entry, &mut body)?;
        io::copy(&mut body, &mut io::sink()).map_err(|error| KernelError::package(path, error.to_string()))?;
        if !body.digest().eq_ignore_ascii_case(expected) {
            let reason = format!("{} in it does not match its {}", shown(&entry.path), self.algorithm.name());
            return Err(KernelError::package(path, reason));
        }
        Ok(())
    }

    /// For [`Facts::checked`](super::Facts::checked): every file that was shown was listed.
    pub(super) fn checked(&self) -> &'static str {
        match self.algorithm {
            _ if self.unlisted || self.listed.is_empty() => "",
            Algorithm::Md5 => "MD5 of the files",
            Algorithm::Sha256 => "SHA-256 of the files",
        }
    }
}

impl Algorithm {
    fn name(self) -> &'static str {
        match self {
            Algorithm::Md5 => "MD5",
            Algorithm::Sha256 => "SHA-256",
        }
    }
}

/// A reader that hashes what passes.
pub(super) struct Hashing<R> {
    input: R,
    hash: Box<dyn DynDigest>,
}

impl<R> Hashing<R> {
    pub(super) fn new(input: R, hash: impl DynDigest + 'static) -> Hashing<R> {
        Hashing { input, hash: Box::new(hash) }
    }

    /// The digest of what has passed, in hexadecimal digits.
    pub(super) fn digest(self) -> String {
        hex(self.hash.finalize())
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.input.read(buffer)?;
        self.hash.update(&buffer[..n]);
        Ok(n)
    }
}

fn read(body: impl Read) -> io::Result<String> {
    let bytes = unpack::read_bounded(body, MAX_LIST)?;
    let bytes = bytes.ok_or_else(|| invalid(format!("its list of digests has more than {MAX_LIST} bytes")))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A path as mtree(5) writes it: a byte that is not printable is a backslash and three octal digits.
fn unescape(path: &str) -> String {
    let (mut bytes, mut rest) = (Vec::with_capacity(path.len()), path.as_bytes());
    while let [first, after @ ..] = rest {
        let octal = || {
            let digits = std::str::from_utf8(after.get(..3)?).ok()?;
            u8::from_str_radix(digits, 8).ok()
        };
        match (first, octal()) {
            (b'\\', Some(byte)) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of showing these files to nobody.
    fn check(mut digests: Digests, files: &[(&str, &str)]) -> Result<&'static str, String> {
        for (path, body) in files {
            let entry = tar::Entry { path: (*path).to_owned(), size: body.len() as u64 };
            let ignore: &mut Visit<'_> = &mut |_, _| Ok(());
            let visited = digests.visit(Path::new("p"), &entry, &mut body.as_bytes(), ignore);
            visited.map_err(|error| error.to_string())?;
        }
        Ok(digests.checked())
    }

    #[test]
    fn debians_list_is_of_everything_but_what_administrators_change() {
        // Of "kernel" and of nothing (RFC 1321, A.5).
        let list = b"50484c19f1afdaf3841a0d821ed393d2  boot/vmlinuz\nD41D8CD98F00B204E9800998ECF8427E  boot/empty\nx\n";
        let check = |files| check(Digests::md5sums(list.as_slice()).unwrap(), files);
        assert_eq!(check(&[("boot/vmlinuz", "kernel"), ("boot/empty", ""), ("etc/x", "y")]), Ok("MD5 of the files"));
        assert_eq!(check(&[("boot/vmlinuz", "kernel"), ("boot/config", "y")]), Ok(""));
        let error = check(&[("boot/empty", "kernel")]).unwrap_err();
        assert!(error.contains("boot/empty in it does not match its MD5"), "{error}");
        assert!(check(&[("boot/vmlinuz", "kernels")]).is_err());
    }

    #[test]
    fn pacmans_list_is_of_everything_behind_it() {
        // Of nothing (FIPS 180-4).
        let nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let text = format!(
            "#mtree\n/set type=file uid=0 gid=0 mode=644\n./usr type=dir mode=755\n\
             ./usr/a\\040b\\134\\303\\274 time=1.0 size=0 md5digest=0 sha256digest={nothing}\n"
        );
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        io::Write::write_all(&mut packed, text.as_bytes()).unwrap();
        let packed = packed.finish().unwrap();
        for list in [packed.as_slice(), text.as_bytes()] {
            let check = |files| check(Digests::mtree(list).unwrap(), files);
            assert_eq!(check(&[(".PKGINFO", "x"), ("usr/a b\\ü", "")]), Ok("SHA-256 of the files"));
            assert_eq!(check(&[("usr/a b\\ü", ""), ("usr/c", "")]), Ok(""));
            let error = check(&[("usr/a b\\ü", "x")]).unwrap_err();
            assert!(error.contains("in it does not match its SHA-256"), "{error}");
        }
        assert_eq!(check(Digests::mtree(&b"#mtree\n"[..]).unwrap(), &[]), Ok(""));
        assert!(Digests::mtree(&packed[..packed.len() / 2]).is_err());
    }

    #[test]
    fn broken_escapes_stay_as_they_are() {
        for text in ["\\", "\\04", "\\400", "\\9", "a\\"] {
            assert_eq!(unescape(text), text);
        }
    }
}
