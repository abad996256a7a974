//! What a file is, for every command: by its content, with few reads, and without ever waiting.
//!
//! ```text
//!  path ─┬─ folder ─▶ the names in it ──────────┐
//!        ├─ FIFO, socket, device: not opened     │
//!        └─ file ─┬─ first bytes ─▶ signatures ──┼─▶ Kind ─▶ Refusal: what it is, and the command that goes on
//!  stream ────────┘   packed: those inside        │
//!                 ├─ tar ─▶ the names in it ──────┤
//!                 └─ last sector ─▶ disks ────────┘
//! ```
//!
//! This says what something looks like and reads none of it: a file that is called a disk here may be a damaged one.
//! Where signatures come from is said beside them. Not looked for: what a name ends with.

pub mod disk;
pub mod ends;
mod folder;
mod hint;
mod magic;
pub mod names;
mod refusal;
mod text;
mod wanted;

pub use disk::Disk;
pub use magic::file_system;
pub use names::Names;
pub use refusal::Refusal;
pub use wanted::Wanted;

use crate::formats::unpack;
use crate::forms;
use crate::image::Format;
use crate::layer::is_archive;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::Path;

/// Bytes looked at from the start: Btrfs has its superblock at 64 KiB.
pub const START: usize = (64 << 10) + 4096;
/// Bytes that the start of packed data is unpacked to, at most.
const UNPACKED: u64 = 1 << 20;

/// What something is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// No bytes at all.
    Empty,
    /// Nothing but zeros, as far as it was looked at.
    Zeros,
    /// A tar, and what the names in it make of it.
    Tar(Names),
    /// A folder, and what the names in it make of it.
    Folder(Names),
    /// A disk without a form of its own: sector after sector.
    Disk(Disk),
    /// A disk in a form of its own: `qcow2`.
    DiskForm(&'static str),
    /// A file system without a disk around it, with its article: `an ext4`.
    FileSystem(&'static str),
    /// An ISO 9660 image, which may have partition tables too.
    Iso,
    /// A Linux kernel: `bzImage`.
    Kernel(&'static str),
    /// A kernel with initramfs and command line in one EFI program.
    UnifiedKernel,
    /// An EFI program, with the machine it is for.
    EfiProgram(Option<&'static str>),
    /// A kernel's module.
    Module,
    /// An ELF file, with the machine it is for. A vmlinux is one.
    Elf(Option<&'static str>),
    /// A package, with its article: `a Debian`.
    Package(&'static str),
    /// Packed data, and what is inside; `None` where it cannot be looked into.
    Packed(Format, Option<Box<Kind>>),
    /// An archive of another kind than tar, with its article: `a zip`.
    Archive(&'static str),
    /// A cpio archive, as an initramfs is.
    Cpio,
    /// Text that some program reads, with its article: `a Dockerfile`.
    Text(text::Text),
    /// A pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A terminal, /dev/zero and the like.
    Device,
    /// Nothing that is known.
    Unknown,
}

impl Kind {
    /// The form that a disk is kept in and read through; `None` for what is no disk, or raw.
    pub fn form(&self) -> Option<&'static str> {
        match self {
            Kind::DiskForm(form) => forms::READ.contains(form).then_some(form),
            Kind::Tar(Names::Disk(package)) => Some(package),
            Kind::Packed(format, Some(inner)) => {
                (matches!(**inner, Kind::Disk(_)) || inner.form().is_some()).then(|| format.name())
            }
            _ => None,
        }
    }
}

/// What is at `path`. A FIFO, a socket and a character device are named and not opened.
pub fn path(path: &Path) -> io::Result<Kind> {
    let facts = path.metadata()?;
    let kind = facts.file_type();
    Ok(match () {
        () if kind.is_dir() => Kind::Folder(folder::look(path)),
        () if kind.is_fifo() => Kind::Fifo,
        () if kind.is_socket() => Kind::Socket,
        () if kind.is_char_device() => Kind::Device,
        () => file(&OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?)?,
    })
}

/// What an open file or block device is, wherever it stands.
pub fn file(file: &File) -> io::Result<Kind> {
    let mut end = file;
    let size = end.seek(SeekFrom::End(0))?;
    let mut bytes = vec![0; START.min(usize::try_from(size).unwrap_or(START))];
    let length = read_at(file, 0, &mut bytes)?;
    bytes.truncate(length);
    Ok(match ends::at_the_end(file, &bytes, size) {
        Some(found) => found,
        None => named_by(&bytes, &mut |at, block| read_at(file, at, block).is_ok_and(|length| length == block.len())),
    })
}

/// What begins with these bytes: [`START`] of them, or all there are.
pub fn start(bytes: &[u8]) -> Kind {
    named_by(bytes, &mut |at, block| {
        let from = usize::try_from(at).ok().and_then(|at| bytes.get(at..)?.get(..block.len()));
        from.is_some_and(|from| {
            block.copy_from_slice(from);
            true
        })
    })
}

/// Fills a block from a place; whether there was enough.
type ReadBlock<'a> = dyn FnMut(u64, &mut [u8]) -> bool + 'a;

fn named_by(bytes: &[u8], read: &mut ReadBlock<'_>) -> Kind {
    if bytes.is_empty() {
        return Kind::Empty;
    }
    // Its checksum is over a whole block: no other format has it by chance.
    if is_archive(bytes) {
        return match names::of_tar(read) {
            Names::Package(package) => Kind::Package(package),
            names => Kind::Tar(names),
        };
    }
    match (Format::of(bytes), magic::look(bytes)) {
        (Format::Tar, Some(kind)) => kind,
        (Format::Tar, None) if bytes.iter().all(|&byte| byte == 0) => Kind::Zeros,
        (Format::Tar, None) => text::look(bytes).map_or(Kind::Unknown, Kind::Text),
        (format, _) => packed(format, bytes),
    }
}

/// What is inside of packed data, as far as its first bytes tell. Packages that are packed tars are packages.
fn packed(format: Format, bytes: &[u8]) -> Kind {
    let mut inside = Vec::new();
    // A beginning ends in the middle, which is an error at its end.
    _ = unpack::reader(bytes).map(|reader| reader.take(UNPACKED).read_to_end(&mut inside));
    // What nothing here unpacks comes as it was.
    if inside.is_empty() || inside.starts_with(bytes) {
        return Kind::Packed(format, None);
    }
    let inner = match Format::of(&inside) {
        Format::Tar => start(&inside),
        again => Kind::Packed(again, None),
    };
    match inner {
        package @ Kind::Package(_) => package,
        inner => Kind::Packed(format, Some(Box::new(inner))),
    }
}

/// As many bytes as there are at `at`.
fn read_at(file: &File, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], at + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests;
