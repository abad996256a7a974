//! What is inside: the kernel and userland report on an image, a disk or a kernel.
//!
//! ```text
//!  image, disk ─▶ contents: tree, facts of bodies ─┬─ facts ─▶ userland, command, worth a look
//!                                                  └─ listing ─▶ --tree, --files, --diff
//!  disk ─┬─ table, ESP ─▶ map, loader entries, initramfs
//!        └─ bzImage ───▶ kernel ◀── kernel given by itself
//!                      all of it ─▶ model::Report ─▶ render: text, JSON, one page of HTML
//! ```
//!
//! It reads only: nothing of an image is executed, nothing is written but the report. Memory is bounded by the number
//! of names, not by bytes. Where something cannot be read the report says so and goes on.

pub mod diff;
pub mod disk;
pub mod facts;
pub mod image;
pub mod initramfs;
pub mod kernel;
pub mod listing;
pub mod model;
pub mod render;
pub mod signatures;
pub mod unified;

use crate::escape;
use crate::forms;
use crate::image::Image;
use crate::kernel::{Bundle, KernelError, Store};
use crate::recognise::{self, Kind, Names, Refusal, Wanted};
use crate::source::{self, Input, Parse, Reference, ReferenceError, Select, SourceError, Transport};
use disk::Disk;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

/// What was named, opened.
pub enum Subject {
    /// A container image.
    Image(Box<Image>),
    /// A disk.
    Disk(Disk),
    /// A kernel, and the unified kernel image that it is in, if it is.
    Kernel(Box<Bundle>, Option<Box<model::Unified>>),
    /// Another EFI program, by its path.
    Program(PathBuf),
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
    /// A disk in a form that cannot be read.
    #[error("cannot read the disk in the {form} format at {path}: {fault}")]
    Form {
        /// Its path, escaped.
        path: String,
        /// What it is called.
        form: &'static str,
        /// Why not.
        fault: forms::Fault,
    },
    /// Nothing that can be looked into.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl InspectError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            InspectError::Reference(error) => error.hint().map(str::to_owned),
            // What can be piped into a build can be piped here.
            InspectError::Source(error) => {
                error.hint().map(|hint| hint.replace("bootdisk build - -o DISK", "bootdisk inspect -"))
            }
            InspectError::Refused(refusal) => refusal.hint(),
            InspectError::Kernel(error) => error.hint(),
            InspectError::Form { .. } | InspectError::Io { .. } => None,
        }
    }
}

/// Finds out what `name` is and opens it: a kernel or a disk by its content, an image, a kernel of the store by its
/// name. A transport (`oci:…`) is always an image.
pub fn open(name: &OsStr, parse: Parse, select: &Select, store: Option<&Store>) -> Result<Subject, InspectError> {
    let reference = Reference::parse(name)?;
    if let (Transport::Detect, Input::Path(_)) = (reference.transport, &reference.input) {
        let path = Path::new(name);
        if let Some(subject) = by_content(path)? {
            return Ok(subject);
        }
        let text = name.to_str().filter(|text| !path.exists() && !text.contains('/'));
        if let Some(entry) = text.and_then(|text| store?.find(text).ok()) {
            return Ok(Subject::Kernel(Box::new(entry.bundle()?), None));
        }
    }
    match source::open(&parse(name)?, select) {
        Ok(image) => Ok(Subject::Image(Box::new(image))),
        Err(SourceError::NotAnImage(refusal)) => Err(refusal.wanting(Wanted::Anything).into()),
        Err(error) => Err(error.into()),
    }
}

/// A kernel or a disk; `None` for what may be an image, or is not there.
fn by_content(path: &Path) -> Result<Option<Subject>, InspectError> {
    let failed = |source| InspectError::Io { path: escape::path(path), source };
    let Ok(kind) = recognise::path(path) else { return Ok(None) };
    let kernel = || Bundle::open(path, None).map(|bundle| Some(Subject::Kernel(Box::new(bundle), None)));
    match &kind {
        Kind::Folder(Names::Oci | Names::Docker | Names::SkopeoDir) => Ok(None),
        Kind::Folder(_) => match kernel() {
            Err(KernelError::NoKernel(_)) => Err(Refusal::new(kind, Wanted::Anything, Some(path)).into()),
            found => Ok(found?),
        },
        Kind::UnifiedKernel => {
            let bundle = Bundle::open(path, None)?;
            let unified = unified::of_file(path).map_err(failed)?;
            Ok(Some(Subject::Kernel(Box::new(bundle), unified.map(Box::new))))
        }
        Kind::Kernel(_) | Kind::Elf(_) | Kind::Package(_) => Ok(kernel()?),
        Kind::EfiProgram(_) => Ok(Some(Subject::Program(path.to_owned()))),
        Kind::Packed(_, Some(inner)) if matches!(**inner, Kind::Kernel(_) | Kind::Elf(_)) => Ok(kernel()?),
        Kind::Disk(_) | Kind::FileSystem(_) | Kind::Iso => {
            Ok(Disk::open(crate::inputs::open(path).map_err(failed)?).map_err(failed)?.map(Subject::Disk))
        }
        kind => {
            let Some(form) = kind.form() else { return Ok(None) };
            let file = crate::inputs::open(path).map_err(failed)?;
            let disk =
                forms::open(file).map_err(|fault| InspectError::Form { path: escape::path(path), form, fault })?;
            let size = disk.size();
            Ok(Disk::of(disk, size).map(|disk| Subject::Disk(disk.in_form(form))))
        }
    }
}
