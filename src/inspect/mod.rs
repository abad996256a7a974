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
pub mod elf;
pub mod facts;
pub mod image;
pub mod model;
pub mod packages;
pub mod paths;
pub mod render;
pub mod rules;

use crate::image::Image;
use crate::kernel::Store;
use crate::source::{self, Reference, Select};
use std::ffi::OsStr;

/// What was named, opened.
pub enum Subject {
    /// A container image.
    Image(Box<Image>),
}

/// Finds out what `name` is and opens it: a disk or a kernel by its content, else an image, else a kernel of the
/// store.
pub fn open(name: &OsStr, select: &Select, _store: Option<&Store>) -> Result<Subject, InspectError> {
    let reference = Reference::parse(name)?;
    Ok(Subject::Image(Box::new(source::open(&reference, select)?)))
}

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// No reference to anything.
    #[error(transparent)]
    Reference(#[from] source::ReferenceError),
    /// No image.
    #[error(transparent)]
    Source(#[from] source::SourceError),
}
