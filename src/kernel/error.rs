//! What can be wrong with a kernel, as types: each a sentence that ends in the offending value, some with a remedy.

use std::io;
use std::path::{Path, PathBuf};

use super::recipe;
use crate::arch::Arch;
use crate::escape::escape;
use crate::own_folder::FolderError;

/// Why a kernel cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// The host's file system said no.
    #[error("cannot {action} {}: {source}", shown(.path))]
    Io {
        /// Verb: "open", "read", "write".
        action: &'static str,
        /// What was to be read or written.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The file is something else than a kernel that boots here.
    #[error("a kernel is needed, but this is {found}: {}", shown(.path))]
    NotAKernel {
        /// What it is instead.
        found: String,
        /// What to do about it, if anything.
        hint: Option<String>,
        /// The file.
        path: PathBuf,
    },
    /// A package or archive is damaged, or not one.
    #[error("cannot read package {}: {reason}", shown(.path))]
    Package {
        /// What is wrong, ending in the offending value.
        reason: String,
        /// The package.
        path: PathBuf,
    },
    /// A package without a kernel that depends on the package that has it.
    #[error("package {} holds no kernel, it only depends on one: {}", escape(.package.as_bytes()), shown(.path))]
    Metapackage {
        /// `Package` of its control file.
        package: String,
        /// The dependency that looks like the real one.
        real: Option<String>,
        /// The package.
        path: PathBuf,
    },
    /// No kernel where one was looked for.
    #[error("no kernel (vmlinuz*, bzImage) in {}", shown(.0))]
    NoKernel(PathBuf),
    /// The running kernel's file is not there.
    #[error("no boot file of the running kernel {} in {}", escape(.release.as_bytes()), shown(.path))]
    NoHostKernel {
        /// `uname -r`.
        release: String,
        /// Where it should be.
        path: PathBuf,
    },
    /// More than one kernel where one was looked for.
    #[error("several kernels, name one of them ({names}): {}", shown(.path))]
    SeveralKernels {
        /// Their names.
        names: String,
        /// Where they are.
        path: PathBuf,
    },
    /// An image has kernels, and none of this release.
    #[error("no kernel {} in {}; there are: {releases}", escape(.wanted.as_bytes()), shown(.path))]
    NoSuchRelease {
        /// The release that was asked for.
        wanted: String,
        /// Those there are.
        releases: String,
        /// The image.
        path: PathBuf,
    },
    /// A directory that should hold modules does not.
    #[error("no modules of kernel {} in {}", escape(.release.as_bytes()), shown(.path))]
    NoModules {
        /// The kernel's release.
        release: String,
        /// The directory.
        path: PathBuf,
    },
    /// Modules built for another kernel.
    #[error("the modules are of kernel {}, but the kernel is {}", escape(.modules.as_bytes()), escape(.kernel.as_bytes()))]
    OtherRelease {
        /// Release of the modules.
        modules: String,
        /// Release of the kernel.
        kernel: String,
    },
    /// A module that cannot be read as one.
    #[error("cannot read module {}: {reason}", escape(.path.as_bytes()))]
    Module {
        /// What is wrong.
        reason: String,
        /// Path within the modules directory.
        path: String,
    },
    /// Something is larger than anything real.
    #[error("{what} is larger than {limit} bytes: {}", escape(.name.as_bytes()))]
    TooLarge {
        /// "kernel", "module", "control file".
        what: &'static str,
        /// The limit, in bytes.
        limit: u64,
        /// Its name.
        name: String,
    },
    /// A file that keys were given for has no signature.
    #[error("--kernel-key was given, but the file has no signature: {}", shown(.0))]
    Unsigned(PathBuf),
    /// No signature of a file was accepted.
    #[error("signature not accepted, {reason}: {}", shown(.path))]
    Signature {
        /// Why, of each signature.
        reason: String,
        /// The file.
        path: PathBuf,
    },
    /// A file of keys without one.
    #[error("a public key is needed, but this is {found}: {}", shown(.path))]
    NoKey {
        /// What it is instead.
        found: String,
        /// The file.
        path: PathBuf,
    },
    /// GnuPG's verifier is not there.
    #[error("OpenPGP signatures are verified by gpgv, which is not installed")]
    NoGpgv,
    /// The store's folder could be somebody else's.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The store's folder is not known.
    #[error("no place for the kernel store: neither XDG_DATA_HOME nor HOME is an absolute path")]
    NoStore,
    /// No kernel of that name in the store.
    #[error("no such kernel in the store: {}", escape(.0.as_bytes()))]
    Unknown(String),
    /// A name that fits several kernels of the store.
    #[error("several kernels fit ({fits}): {}", escape(.name.as_bytes()))]
    Ambiguous {
        /// The ones that fit.
        fits: String,
        /// What was asked for.
        name: String,
    },
    /// A stored kernel differs from what was stored.
    #[error("stored kernel is damaged, {reason}: {id}")]
    Damaged {
        /// What differs.
        reason: String,
        /// Its identifier.
        id: String,
    },
    /// No kernel in the store is the default of an architecture, or of any.
    #[error("no default kernel{}", .arch.map(|arch| format!(" for {arch}")).unwrap_or_default())]
    NoDefault {
        /// The architecture, if one was asked for.
        arch: Option<Arch>,
        /// The release of a kernel in the store that could be made the default.
        stored: Option<String>,
    },
}

impl KernelError {
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> KernelError {
        let path = path.into();
        move |source| KernelError::Io { action, path, source }
    }

    pub(crate) fn package(path: &Path, reason: impl Into<String>) -> KernelError {
        KernelError::Package { reason: reason.into(), path: path.to_owned() }
    }

    /// The remedy, for the `hint:` line below the sentence.
    pub fn hint(&self) -> Option<String> {
        match self {
            KernelError::NotAKernel { hint, .. } => hint.clone(),
            KernelError::Metapackage { real: Some(real), .. } => {
                Some(format!("download the package it depends on and give that one: {}", escape(real.as_bytes())))
            }
            KernelError::NoModules { .. } => {
                Some("give the directory that modules_install made: lib/modules/RELEASE or a parent of lib".into())
            }
            KernelError::NoHostKernel { .. } => Some("give its bzImage or package with --kernel".into()),
            KernelError::Damaged { id, .. } => {
                let short = id.get(..12).unwrap_or(id);
                Some(format!("remove it and add it again: bootdisk kernel remove {short}"))
            }
            KernelError::Unsigned(path) if path.is_dir() => {
                Some("a directory cannot be signed: give the kernel's package or its boot file".into())
            }
            KernelError::Unsigned(_) => Some(
                "put its detached signature next to it, as FILE.sig or FILE.asc, or use it unverified without the key"
                    .into(),
            ),
            KernelError::NoKey { .. } => {
                Some("give an OpenPGP key or keyring (gpg --export), or an RSA key in PEM for .apk".into())
            }
            KernelError::NoGpgv => Some("install it; packages with it are called gpgv, gnupg or gnupg2".into()),
            KernelError::NoDefault { stored: Some(release), .. } => {
                Some(format!("the store has one: bootdisk kernel default {}", escape(release.as_bytes())))
            }
            KernelError::NoDefault { arch, stored: None } => {
                let other = arch.filter(|arch| Arch::from_name(std::env::consts::ARCH) != Some(*arch));
                let option = other.map(|arch| format!(" --arch {arch}")).unwrap_or_default();
                Some(format!("bootdisk kernel fetch{option} gets Debian's; or {}", recipe::of_host(*arch)))
            }
            KernelError::Folder(error) => error.hint(),
            KernelError::Unknown(_) => Some("bootdisk kernel list shows the store".into()),
            _ => None,
        }
    }
}

/// A path as printable text.
pub(crate) fn shown(path: &Path) -> String {
    escape(path.as_os_str().as_encoded_bytes())
}
