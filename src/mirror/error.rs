//! Why no kernel came from an archive.

use super::Archive;
use crate::arch::Arch;
use crate::escape::{escape, os_error};
use crate::kernel::KernelError;
use crate::registry::RegistryError;
use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// Why no kernel came from an archive.
#[derive(Debug, Error)]
pub enum MirrorError {
    /// No name of a flavour.
    #[error("not a kernel's flavour: {}", escape(.0.as_bytes()))]
    Flavour(String),
    /// No address.
    #[error("not an archive's address: {}", escape(.0.as_bytes()))]
    Address(String),
    /// No keys to verify with.
    #[error("no keyring of Debian's archive on this system (looked at {0})")]
    NoKeyring(String),
    /// A file with no keys in it.
    #[error(transparent)]
    Keyring(KernelError),
    /// `gpgv` cannot be asked.
    #[error(transparent)]
    Verifier(KernelError),
    /// Not signed by whom it should be.
    #[error("{archive} cannot be trusted: {reason}")]
    Signature {
        /// Address and suite, printable.
        archive: String,
        /// Why, printable.
        reason: String,
    },
    /// Its list is of another day.
    #[error("the lists of {archive} have expired, at {when}: somebody may be keeping newer ones back")]
    Expired {
        /// Its `Valid-Until`, printable.
        when: String,
        /// Address and suite, printable.
        archive: String,
    },
    /// It is signed, and another one.
    #[error("asked for the suite {}, and got {}", escape(.wanted.as_bytes()), escape(.found.as_bytes()))]
    OtherSuite {
        /// As it calls itself.
        found: String,
        /// As it was asked for.
        wanted: String,
    },
    /// There is none.
    #[error("there is no suite {} there: {}", escape(.suite.as_bytes()), escape(.url.as_bytes()))]
    NoSuite {
        /// What was asked for.
        url: String,
        /// The suite.
        suite: String,
    },
    /// It has no packages for it.
    #[error("{archive} has no packages for {arch}")]
    NoArchitecture {
        /// For what.
        arch: Arch,
        /// Address and suite, printable.
        archive: String,
    },
    /// It has other packages.
    #[error("{archive} has no package {}", escape(.name.as_bytes()))]
    NoPackage {
        /// Which.
        name: String,
        /// Address and suite, printable.
        archive: String,
        /// Flavours that are there.
        flavours: Vec<String>,
    },
    /// It contradicts itself.
    #[error("{archive} cannot be used: {reason}")]
    Odd {
        /// Why.
        reason: &'static str,
        /// Address and suite, printable.
        archive: String,
    },
    /// Nobody answered, or nobody that can be talked to.
    #[error(transparent)]
    Http(#[from] RegistryError),
    /// An answer that is none.
    #[error("the answer has status {status}: {}", escape(.url.as_bytes()))]
    Status {
        /// The status.
        status: u16,
        /// What was asked for.
        url: String,
    },
    /// The connection ended.
    #[error("{what} came in part alone: {}", os_error(.error))]
    Cut {
        /// What was fetched, printable.
        what: String,
        /// What happened.
        error: io::Error,
    },
    /// Other bytes.
    #[error("{what} is not what the archive's signed list says: {}", escape(.url.as_bytes()))]
    Digest {
        /// What was fetched, printable.
        what: String,
        /// From where.
        url: String,
    },
    /// A file of ours.
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

    /// What `gpgv` said of the archive. The path of our copy says nothing to anybody.
    pub(super) fn unsigned(error: KernelError, archive: &Archive) -> MirrorError {
        match error {
            KernelError::Signature { reason, .. } => MirrorError::Signature { archive: archive.to_string(), reason },
            error => MirrorError::Verifier(error),
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            MirrorError::Flavour(_) => "debian-cloud, debian, or what stands between linux-image- and the architecture".into(),
            MirrorError::Address(_) => "give it as apt has it: --mirror http://deb.debian.org/debian".into(),
            MirrorError::NoKeyring(_) => {
                "install the package debian-archive-keyring, or give Debian's keys: --keyring FILE".into()
            }
            MirrorError::Signature { .. } => "give another mirror, or the keys it is signed with: --keyring FILE".into(),
            MirrorError::Expired { .. } => "look at this machine's clock, or give another mirror: --mirror URL".into(),
            MirrorError::NoSuite { .. } | MirrorError::OtherSuite { .. } => "name the release: --suite bookworm".into(),
            MirrorError::NoPackage { flavours, .. } if !flavours.is_empty() => {
                format!("there are: {}", flavours.join(", "))
            }
            MirrorError::Cut { .. } | MirrorError::Digest { .. } => "try again, or give another mirror: --mirror URL".into(),
            MirrorError::Keyring(error) | MirrorError::Verifier(error) => return error.hint(),
            MirrorError::Http(error) => return error.hint(),
            _ => return None,
        })
    }
}
