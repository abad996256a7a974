//! What is inside: the kernel and userland report on an image, a disk or a kernel.
//!
//! ```text
//!  image ─ layers ─▶ apply ─┐                              ┌─ facts ─▶ userland, command, worth a look
//!                           ├─▶ tree, facts of bodies ─────┤
//!  disk ─ ext4 ─▶ read ─────┘    (paths, body, elf, …)     └─ listing ─▶ --tree, --files, --diff
//!   ├─ table, ESP ─▶ map, loader entries, initramfs
//!   └─ bzImage ───▶ kernel ◀── kernel given by itself
//!                      all of it ─▶ model::Report ─▶ render: text, JSON, one page of HTML
//! ```
//!
//! It reads only: nothing of an image is executed, nothing is written but the report. Memory is bounded by the number
//! of names, not by bytes. Where something cannot be read the report says so and goes on.

pub mod body;
pub mod diff;
pub mod disk;
pub mod elf;
pub mod facts;
pub mod image;
pub mod initramfs;
pub mod kernel;
pub mod listing;
pub mod model;
pub mod packages;
pub mod paths;
pub mod render;
pub mod rules;

use crate::disk::gpt::SECTOR;
use crate::escape;
use crate::formats::bzimage;
use crate::image::Image;
use crate::kernel::{Bundle, KernelError, Store, image as boot_file, package};
use crate::source::{self, Input, Reference, ReferenceError, Select, SourceError, Transport};
use disk::Disk;
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

/// What was named, opened.
pub enum Subject {
    /// A container image.
    Image(Box<Image>),
    /// A disk.
    Disk(Disk),
    /// A kernel.
    Kernel(Box<Bundle>),
}

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// No reference to anything.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// No image.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// No kernel.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// A file that cannot be looked at.
    #[error("cannot read {path}")]
    Io {
        /// Its path, escaped.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// Nothing that is known.
    #[error("neither a container image, a disk nor a kernel")]
    Nothing {
        /// It is a directory.
        directory: bool,
    },
    /// A disk in a format of its own.
    #[error("a disk in the {0} format is not read")]
    DiskFormat(&'static str),
}

impl InspectError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            InspectError::DiskFormat(_) => Some("make it raw first: qemu-img convert -O raw DISK RAW".into()),
            InspectError::Reference(error) => error.hint().map(str::to_owned),
            // What can be piped into a build can be piped here.
            InspectError::Source(error) => {
                error.hint().map(|hint| hint.replace("bootdisk build - -o DISK", "bootdisk inspect -"))
            }
            InspectError::Nothing { directory: true } => {
                Some("an OCI layout has an index.json, the folder of a kernel a vmlinuz or bzImage".into())
            }
            InspectError::Nothing { directory: false } => Some(
                "a disk has a partition table or a known file system; what is packed and no image must be unpacked first"
                    .into(),
            ),
            InspectError::Kernel(error) => error.hint(),
            InspectError::Io { .. } => None,
        }
    }
}

/// Disk formats by their first bytes.
const DISK_FORMATS: [(&[u8], &str); 4] =
    [(b"QFI\xfb", "qcow2"), (b"KDMV", "VMDK"), (b"vhdxfile", "VHDX"), (b"conectix", "VHD")];

/// Finds out what `name` is and opens it: a kernel or a disk by its content, an image, a kernel of the store by its
/// name. A transport (`oci:…`) is always an image.
pub fn open(name: &OsStr, select: &Select, store: Option<&Store>) -> Result<Subject, InspectError> {
    let reference = Reference::parse(name)?;
    if let (Transport::Detect, Input::Path(_)) = (reference.transport, &reference.input) {
        let path = Path::new(name);
        if path.is_dir() && !path.join("index.json").exists() && !path.join("manifest.json").exists() {
            return match Bundle::open(path, None) {
                Ok(bundle) => Ok(Subject::Kernel(Box::new(bundle))),
                Err(KernelError::NoKernel(_)) => Err(InspectError::Nothing { directory: true }),
                Err(error) => Err(error.into()),
            };
        }
        if let Some(subject) = by_content(path)? {
            return Ok(subject);
        }
        let text = name.to_str().filter(|text| !path.exists() && !text.contains('/'));
        if let Some(entry) = text.and_then(|text| store?.find(text).ok()) {
            return Ok(Subject::Kernel(Box::new(entry.bundle()?)));
        }
    }
    match source::open(&reference, select) {
        Ok(image) => Ok(Subject::Image(Box::new(image))),
        // A transport that was named says what it was to be.
        Err(SourceError::NotAnArchive) if reference.transport == Transport::Detect => {
            Err(InspectError::Nothing { directory: false })
        }
        Err(error) => Err(error.into()),
    }
}

/// A kernel or a disk; `None` for what may be an image, or is not there. Never waits: a FIFO is neither.
fn by_content(path: &Path) -> Result<Option<Subject>, InspectError> {
    let failed = |source| InspectError::Io { path: escape::path(path), source };
    let Ok(facts) = path.metadata() else { return Ok(None) };
    if !(facts.is_file() || facts.file_type().is_block_device()) {
        return Ok(None);
    }
    let open = || OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let mut start = Vec::new();
    let file: File = open().map_err(failed)?;
    crate::inputs::note(&file, path);
    file.take(bzimage::SETUP_MAX as u64).read_to_end(&mut start).map_err(failed)?;
    let is_kernel = boot_file::recognise(&start, u64::MAX, |_| Vec::new()).is_ok();
    if is_kernel || package::is_package(path, &start) {
        return Ok(Some(Subject::Kernel(Box::new(Bundle::open(path, None)?))));
    }
    if let Some((_, name)) = DISK_FORMATS.iter().find(|(magic, _)| start.starts_with(magic)) {
        return Err(InspectError::DiskFormat(name));
    }
    // Archives have their magic where an MBR has code; what is compressed is no disk either.
    let is_archive = start.get(257..262) == Some(b"ustar");
    if is_archive || start.starts_with(&[0x1f, 0x8b]) || (start.len() as u64) < SECTOR {
        return Ok(None);
    }
    Ok(Disk::open(open().map_err(failed)?).map_err(failed)?.map(Subject::Disk))
}
