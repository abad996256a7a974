//! Why a kernel could not be fetched from an archive.

use crate::arch::Arch;
use crate::escape::{escape, os_error};
use crate::kernel::KernelError;
use crate::registry::RegistryError;
use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// Why a kernel could not be fetched from an archive.
#[derive(Debug, Error)]
pub enum MirrorError {
    /// This cannot name a flavour.
    #[error("not a kernel flavour: {}", escape(.0.as_bytes()))]
    Flavour(String),
    /// This cannot be an address.
    #[error("not the address of an archive: {}", escape(.0.as_bytes()))]
    Address(String),
    /// There are no keys to verify with.
    #[error("this system has no keyring of Debian's archive (looked for {0})")]
    NoKeyring(String),
    /// The given file has no keys in it.
    #[error(transparent)]
    Keyring(KernelError),
    /// `gpgv` could not check the signature.
    #[error(transparent)]
    Verifier(KernelError),
    /// It is not signed by the right key.
    #[error("{archive} cannot be trusted: {reason}")]
    Signature {
        /// Address and suite, printable.
        archive: String,
        /// Why, printable.
        reason: String,
    },
    /// Its lists are too old.
    #[error("the lists of {archive} expired on {when}: the mirror is stale, or newer lists are being withheld")]
    Expired {
        /// Its `Valid-Until`, printable.
        when: String,
        /// Address and suite, printable.
        archive: String,
    },
    /// It is signed, but for another suite.
    #[error("asked for suite {}, but the archive answered with {}", escape(.wanted.as_bytes()), escape(.found.as_bytes()))]
    OtherSuite {
        /// As it calls itself.
        found: String,
        /// As it was asked for.
        wanted: String,
    },
    /// It has no such suite.
    #[error("the archive has no suite {}: {}", escape(.suite.as_bytes()), escape(.url.as_bytes()))]
    NoSuite {
        /// What was asked for.
        url: String,
        /// The suite.
        suite: String,
    },
    /// It has no packages for this architecture.
    #[error("{archive} has no packages for {arch}")]
    NoArchitecture {
        /// Which.
        arch: Arch,
        /// Address and suite, printable.
        archive: String,
    },
    /// It has no such package.
    #[error("{archive} has no package {}", escape(.name.as_bytes()))]
    NoPackage {
        /// Which.
        name: String,
        /// Address and suite, printable.
        archive: String,
        /// Flavours that are there.
        flavours: Vec<String>,
    },
    /// Its files contradict each other.
    #[error("{archive} cannot be used: {reason}")]
    Odd {
        /// Why.
        reason: &'static str,
        /// Address and suite, printable.
        archive: String,
    },
    /// The server could not be reached.
    #[error(transparent)]
    Http(#[from] RegistryError),
    /// The server answered with an error.
    #[error("the server answered with status {status}: {}", escape(.url.as_bytes()))]
    Status {
        /// The status.
        status: u16,
        /// What was asked for.
        url: String,
    },
    /// The connection ended.
    #[error("only part of {what} arrived: {}", os_error(.error))]
    Cut {
        /// What was fetched, printable.
        what: String,
        /// What happened.
        error: io::Error,
    },
    /// The bytes are not those of the signed list.
    #[error("{what} does not match the archive's signed list: {}", escape(.url.as_bytes()))]
    Digest {
        /// What was fetched, printable.
        what: String,
        /// From where.
        url: String,
    },
    /// One of our own files failed.
    #[error("cannot {action} {}: {}", crate::escape::path(.path), os_error(.source))]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said. It is part of the sentence.
        source: io::Error,
    },
}

impl MirrorError {
    pub(super) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> MirrorError {
        let path = path.into();
        move |source| MirrorError::Io { action, path, source }
    }

    /// What `gpgv` said about the archive, without the path of our temporary copy.
    pub(super) fn unsigned(error: KernelError, archive: String) -> MirrorError {
        match error {
            KernelError::Signature { reason, .. } => MirrorError::Signature { archive, reason },
            error => MirrorError::Verifier(error),
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            MirrorError::Flavour(_) => "give debian-cloud, debian, or what stands between linux-image- and the architecture in the package's name".into(),
            MirrorError::Address(_) => "write it as in apt's sources: --mirror http://deb.debian.org/debian".into(),
            MirrorError::NoKeyring(_) => {
                "install the package debian-archive-keyring, or give Debian's keys: --keyring FILE".into()
            }
            MirrorError::Signature { .. } => "use another mirror, or give the keys it is signed with: --keyring FILE".into(),
            MirrorError::Expired { .. } => "check this machine's clock, or use another mirror: --mirror URL".into(),
            MirrorError::NoSuite { .. } | MirrorError::OtherSuite { .. } => "name the release, for example: --suite bookworm".into(),
            MirrorError::NoPackage { flavours, .. } if !flavours.is_empty() => {
                format!("the archive has: {}", flavours.join(", "))
            }
            MirrorError::Cut { .. } | MirrorError::Digest { .. } => "try again, or use another mirror: --mirror URL".into(),
            MirrorError::Keyring(error) | MirrorError::Verifier(error) => return error.hint(),
            MirrorError::Http(error) => return error.hint(),
            _ => return None,
        })
    }
}
