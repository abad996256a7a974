//! Packages that carry a kernel or its modules, read as streams: never unpacked, and only what is asked for is kept.
//!
//! | what | found by | digests in it that are checked | signatures in it |
//! |---|---|---|---|
//! | Debian, Ubuntu `.deb` | `!<arch>` | of the files, MD5 | those of debsigs |
//! | Fedora, RHEL `.rpm` | its lead | of the header and of the payload | of the header |
//! | Alpine `.apk` | a tar with `.PKGINFO` that says `datahash` | of the data | of the control stream |
//! | Arch `.pkg.tar.*` | a tar with `.PKGINFO` | of the files | none |
//! | any other tar, packed or not | a tar header | none | none |
//! | container images | a layout or archive of one | of every blob and layer | none |
//!
//! What a package says is compared, counted and kept in bounds, and never opened as a path. Signatures are found here
//! and judged in `signature`.

mod deb;
mod digests;
mod image;
mod rpm;
pub(in crate::kernel) mod signed;
pub mod tar;
mod tarball;

use std::io::{self, BufReader, Read};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::signed::Signature;
use super::{Input, KernelError};
use crate::formats::{ar, cpio, unpack};
pub(crate) use image::{Unpacked, is_reference};

/// Most bytes a package may unpack to; Debian's generic kernel has 0.4 GiB.
const MAX_DATA: u64 = 8 << 30;
/// Most entries of a cpio archive.
const MAX_FILES: u64 = 200_000;
/// Longest tail between the archive's end mark and the end of its stream, in bytes.
const MAX_TAIL: u64 = 1 << 20;

/// What a package says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Its name; empty for what is no package.
    pub package: String,
    /// Its version.
    pub version: String,
    /// Names of packages it depends on, the first of each group of alternatives, in order.
    pub depends: Vec<String>,
    /// Digests it carries that are right, in words; empty when it carries none.
    pub checked: &'static str,
    /// It is an archive of a container image, so what was visited is not what is in the image.
    pub is_image: bool,
}

impl Facts {
    /// The dependency that a kernel metapackage is there for.
    pub fn real_kernel(&self) -> Option<&str> {
        let kernels = ["linux-image-", "kernel-core", "linux-lts", "linux-virt"];
        self.depends.iter().map(String::as_str).find(|name| kernels.iter().any(|kernel| name.starts_with(kernel)))
    }
}

/// How a package is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Debian,
    Rpm,
    Tar,
}

/// Something that can be read through for its files.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// A package's file.
    File(Input),
    /// A container image, its layers applied; and what to call it.
    Image(Arc<Unpacked>, PathBuf),
}

/// Called for each regular file of a package, in the package's order.
pub type Visit<'a> = dyn FnMut(&tar::Entry, &mut dyn Read) -> Result<(), KernelError> + 'a;

impl Source {
    /// What a file is, by its content; `None` when it is nothing that is read through.
    pub(crate) fn of(input: &Input) -> Result<Option<Source>, KernelError> {
        Ok(format(input)?.map(|_| Source::File(input.clone())))
    }

    /// The container image that `path` is.
    pub(crate) fn image_at(path: &Path) -> Result<Source, KernelError> {
        Ok(Source::Image(Arc::new(Unpacked::open(path.as_os_str(), path)?), path.to_owned()))
    }

    /// The container image in an archive. The open file is read, whatever its name leads to by now.
    pub(crate) fn image_in(input: &Input) -> Result<Source, KernelError> {
        let open = format!("/proc/self/fd/{}", input.file().as_raw_fd());
        Ok(Source::Image(Arc::new(Unpacked::open(open.as_ref(), input.path())?), input.path().to_owned()))
    }

    /// Its path, or the name of the image.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Source::File(input) => input.path(),
            Source::Image(_, path) => path,
        }
    }

    /// Reads it once. `visit` reads as much of each file as it likes.
    pub(crate) fn scan(&self, visit: &mut Visit<'_>) -> Result<Facts, KernelError> {
        match self {
            Source::Image(image, path) => image.scan(path, visit),
            Source::File(input) => match format(input)? {
                Some(Format::Debian) => deb::scan(input, visit),
                Some(Format::Rpm) => rpm::scan(input, visit),
                Some(Format::Tar) => tarball::scan(input, visit),
                None => Err(KernelError::package(input.path(), "it has changed while it was read")),
            },
        }
    }
}

/// The signatures in a package, and which bytes of it they cover; none for what is no package.
///
/// # Errors
/// Where the package has signatures that leave out something that would be read from it.
pub(super) fn signatures(input: &Input) -> Result<Vec<Signature>, KernelError> {
    match format(input)? {
        Some(Format::Debian) => deb::signatures(input),
        Some(Format::Rpm) => rpm::signatures(input),
        Some(Format::Tar) => tarball::signatures(input),
        None => Ok(Vec::new()),
    }
}

fn format(input: &Input) -> Result<Option<Format>, KernelError> {
    let start = input.start(16)?;
    if start.starts_with(ar::MAGIC) {
        return Ok(Some(Format::Debian));
    }
    if start.starts_with(&rpm::LEAD_MAGIC) {
        return Ok(Some(Format::Rpm));
    }
    // What cannot be unpacked is not a packed tar; whoever looks at it next has the right words for it.
    let mut block = Vec::new();
    let unpacked = unpack::reader(BufReader::new(input.reader()))
        .and_then(|reader| reader.take(tar::BLOCK as u64).read_to_end(&mut block));
    Ok((unpacked.is_ok() && tar::is_header(&block)).then_some(Format::Tar))
}

/// Walks a tar, packed or not.
fn walk(path: &Path, body: impl Read, end: tar::End, visit: &mut Visit<'_>) -> Result<(), KernelError> {
    let bad = |error: io::Error| KernelError::package(path, error.to_string());
    let mut stream = unpack::reader(body).map_err(bad)?.take(MAX_DATA);
    let mut walk = tar::Walk::new(&mut stream, end);
    while let Some(entry) = walk.next_file().map_err(bad)? {
        visit(&entry, &mut walk.body())?;
    }
    // The stream's own checksum stands at its end.
    io::copy(&mut stream.by_ref().take(MAX_TAIL), &mut io::sink()).map_err(bad)?;
    Ok(())
}

/// The bytes of the file at `path` in a cpio archive, packed or not: of an initramfs; `limit` of them at most.
pub fn file_of_cpio(archive: impl Read, path: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let mut walk = cpio::Walk::new(unpack::reader(archive)?.take(MAX_DATA), MAX_FILES);
    while let Some(entry) = walk.next_entry()? {
        if entry.is_regular() && tar::clean(&entry.name).is_some_and(|name| name == path) {
            let bytes = unpack::read_bounded(walk.body(), limit)?;
            return bytes.map(Some).ok_or_else(|| invalid(format!("{} has more than {limit} bytes", shown(path))));
        }
    }
    Ok(None)
}

/// A file of a tar or image: as it is, or what linuxkit's kernel images call `/kernel` and `/kernel.tar`.
fn deliver(path: &Path, entry: &tar::Entry, body: &mut dyn Read, visit: &mut Visit<'_>) -> Result<(), KernelError> {
    match entry.path.as_str() {
        "kernel" => visit(&tar::Entry { path: "boot/vmlinuz".into(), size: entry.size }, body),
        "kernel.tar" => walk(path, body, tar::End::Open, visit),
        _ => visit(entry, body),
    }
}

fn shown(name: &str) -> String {
    crate::escape::escape(name.as_bytes())
}

fn invalid(reason: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::cpio::{REGULAR, Writer};

    #[test]
    fn a_file_of_a_cpio_archive_is_one_within_it() {
        let mut writer = Writer::default();
        for (name, mode) in [("../etc/x", REGULAR), ("link", 0o120_777), ("./etc/x", REGULAR | 0o644)] {
            writer.add(name, mode, (0, 0), name.as_bytes()).unwrap();
        }
        let archive = writer.finish();
        assert_eq!(file_of_cpio(&archive[..], "etc/x", 7).unwrap().as_deref(), Some(&b"./etc/x"[..]));
        assert_eq!(file_of_cpio(&archive[..], "link", 7).unwrap(), None);
        assert!(file_of_cpio(&archive[..], "etc/x", 6).is_err());
    }
}
