//! What can be wrong with a source. Each error is one sentence; what it is about comes from the input and is escaped.

use crate::escape::escape;
use crate::image::{BlobError, BlobFault, ConfigError, DocumentError, Platform};
use crate::recognise::Refusal;
use crate::registry::{RegistryError, looks_like_a_name};
use crate::source::archive::ArchiveError;
use crate::source::outside::OutsideError;
use crate::source::rootfs::RootfsError;
use std::io;
use std::path::PathBuf;

/// Why no image could be opened.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Nothing there, or it cannot be opened.
    #[error("cannot open {}", escape(.path.as_os_str().as_encoded_bytes()))]
    Open {
        /// What was to be opened.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
    /// The input cannot be read.
    #[error("cannot read the archive")]
    Read(#[source] io::Error),
    /// Standard input is a keyboard.
    #[error("standard input is a terminal, not an archive")]
    Terminal,
    /// The temporary file cannot be written.
    #[error("cannot write a temporary copy of the archive in {}", escape(.directory.as_os_str().as_encoded_bytes()))]
    Spool {
        /// `TMPDIR`.
        directory: PathBuf,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
    /// The temporary file would fill its file system.
    #[error(
        "no space for a temporary copy of the archive{} in {}: 80 MiB of it stay free for others",
        if *.copied > 0 { format!(", which has more than {copied} bytes,") } else { String::new() },
        escape(.directory.as_os_str().as_encoded_bytes())
    )]
    SpoolFull {
        /// `TMPDIR`.
        directory: PathBuf,
        /// Bytes written before giving up.
        copied: u64,
    },
    /// Something else than an image.
    #[error(transparent)]
    NotAnImage(#[from] Refusal),
    /// The archive as a whole is damaged.
    #[error("cannot decompress the archive")]
    Decompress(#[source] crate::image::BlobFault),
    /// The archive's structure is damaged.
    #[error("cannot read the archive")]
    Archive(#[from] ArchiveError),
    /// A layout without its first file.
    #[error("no oci-layout in it, so it is not an OCI image layout")]
    NoLayout,
    /// A registry does not have it, or not for us.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A text that may mean a file or an image in a registry, and means neither.
    #[error("no such file here, and {source}")]
    Neither {
        /// Why not in a registry.
        source: RegistryError,
    },
    /// A directory that skopeo has not made.
    #[error("no manifest.json and version in it, so it is no directory of skopeo's transport dir")]
    NoSkopeoDir,
    /// A root file system is damaged, or cannot be read.
    #[error(transparent)]
    Rootfs(#[from] RootfsError),
    /// Who has the image does not give it.
    #[error(transparent)]
    Outside(#[from] OutsideError),
    /// The transport wants a file.
    #[error("the transport takes an archive, not a directory")]
    Directory,
    /// The transport wants an archive of the other form.
    #[error("the transport takes {wanted}, and this is {actual}")]
    OtherArchive {
        /// With its article.
        wanted: &'static str,
        /// With its article.
        actual: &'static str,
        /// The transport for that.
        transport: &'static str,
    },
    /// The transport wants a directory.
    #[error("the transport takes a directory, not an archive")]
    NotADirectory,
    /// A docker archive from before 2014 whose layers do not lead to a lowest one.
    #[error("the layers of {0} have no end")]
    Ancestors(
        /// The image, escaped.
        String,
    ),
    /// A layout of another version, or none.
    #[error("unsupported OCI image layout version \"{}\"", escape(.0.as_bytes()))]
    LayoutVersion(String),
    /// A blob is missing or damaged.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// A document is damaged or unsupported.
    #[error("{name}")]
    Document {
        /// The document, escaped.
        name: String,
        /// What is wrong.
        #[source]
        source: DocumentError,
    },
    /// A configuration is damaged or unsupported.
    #[error("image configuration {name}")]
    Config {
        /// The configuration, escaped.
        name: String,
        /// What is wrong.
        #[source]
        source: ConfigError,
    },
    /// Indexes within indexes, without end.
    #[error("indexes nested more than {0} deep, or too many of them")]
    Nesting(usize),
    /// No image in the index or archive.
    #[error("no container image in it")]
    NoImage,
    /// Several entries, and none of them is an image that is there and fits.
    #[error("no container image in it that can be used: {}", .0.join("; "))]
    NothingFits(
        /// Each entry with the reason, escaped.
        Vec<String>,
    ),
    /// No image of this name.
    #[error("no image {wanted} in it, only: {}", .available.join(", "))]
    NotFound {
        /// What was asked for, escaped.
        wanted: String,
        /// What there is, escaped.
        available: Vec<String>,
    },
    /// More than one image and no choice.
    #[error("{} images and no choice: {}", .0.len(), .0.join(", "))]
    Several(
        /// What there is, escaped: name and digest.
        Vec<String>,
    ),
    /// No image for this platform among several.
    #[error("no image for {wanted} in it, only for: {}", .available.join(", "))]
    NoPlatform {
        /// What was asked for.
        wanted: Box<Platform>,
        /// What there is, escaped.
        available: Vec<String>,
    },
    /// The one image is for another platform.
    #[error("the image is for {actual}, not for {wanted}")]
    Platform {
        /// What was asked for.
        wanted: Box<Platform>,
        /// What it is.
        actual: Box<Platform>,
    },
}

impl SourceError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let fixed = match self {
            SourceError::Open { path, source } if source.kind() == io::ErrorKind::NotFound => {
                let name = path.to_str().filter(|name| looks_like_a_name(name))?;
                return Some(format!("for an image in a registry: docker://{name}"));
            }
            SourceError::Terminal => "pipe an archive into it: docker save NAME | bootdisk build - -o DISK",
            SourceError::Spool { .. } | SourceError::SpoolFull { .. } => {
                "set TMPDIR to a directory with more free space, or decompress the archive to a file first"
            }
            SourceError::NotAnImage(refusal) => return refusal.hint(),
            SourceError::NoSkopeoDir => "make one with skopeo copy REFERENCE dir:DIRECTORY",
            SourceError::Rootfs(error) => return error.hint(),
            SourceError::Outside(error) => return error.hint(),
            SourceError::NoLayout => "make a layout with skopeo copy REFERENCE oci:DIRECTORY:NAME",
            SourceError::Directory => "for an OCI layout directory, use oci:PATH",
            SourceError::OtherArchive { transport, .. } => {
                return Some(format!("use {transport}:PATH, or the path alone"));
            }
            SourceError::NotADirectory => "for an archive, use oci-archive:PATH or docker-archive:PATH",
            SourceError::Several(_) => "choose one: PATH:NAME, PATH:@DIGEST, or --platform when they differ in that",
            SourceError::NoPlatform { .. } => "choose one of these with --platform",
            SourceError::Platform { actual, .. } if actual.os == "linux" => {
                return Some(format!("for a machine of that kind: --platform {actual}"));
            }
            SourceError::Platform { .. } => "only Linux images can be booted",
            SourceError::Blob(error) => return error.hint().map(Into::into),
            SourceError::Document { source, .. } => return source.hint().map(Into::into),
            SourceError::Registry(error) => return error.hint(),
            SourceError::Neither { source } => {
                return source.hint().or_else(|| Some("give a file's path, or another name: docker://NAME".into()));
            }
            SourceError::Decompress(fault) => return fault.hint().map(Into::into),
            SourceError::Archive(error) => return error.hint().map(Into::into),
            _ => return None,
        };
        Some(fixed.into())
    }

    /// Whether it is about an entry that is no image, or is not there, so that another may be meant.
    pub(super) fn passes_over(&self) -> bool {
        self.is_absence()
            || match self {
                SourceError::Document { source, .. } => source.is_no_image(),
                SourceError::Config { source, .. } => matches!(source, ConfigError::NoRootfs),
                _ => false,
            }
    }

    /// Whether a part of the entry is not there.
    pub(super) fn is_absence(&self) -> bool {
        matches!(self, SourceError::Blob(BlobError { fault: BlobFault::Missing, .. }))
    }

    /// Whether another part of the same source may have what was asked for.
    pub(super) fn is_about_choice(&self) -> bool {
        matches!(
            self,
            SourceError::NotFound { .. }
                | SourceError::NoPlatform { .. }
                | SourceError::Platform { .. }
                | SourceError::NoImage
                | SourceError::NothingFits(_)
        )
    }
}
