//! The kernel bundle: everything known about one kernel, whatever it came from.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::image::Image;
use super::modules::ModuleTree;
use super::package::{Source, Unpacked};
use super::{Arch, BootFile, Config, KernelError, Keys, open};

/// What is given for one kernel.
#[derive(Clone, Copy, Debug, Default)]
pub struct Given<'a> {
    /// A boot file, a package, a container image or a directory that holds a kernel, told apart by content; or several
    /// that belong together: packages of which one has the kernel and others its modules, or a boot file with the
    /// directory of its modules and its configuration.
    pub files: &'a [PathBuf],
    /// `lib/modules/RELEASE`, or a directory with that or with `RELEASE` in it, instead of what the files bring.
    pub modules: Option<&'a Path>,
    /// The configuration, instead of what the files bring.
    pub config: Option<&'a Path>,
    /// Keys of which one must have signed each of the files, modules and configuration included.
    pub keys: Option<&'a Keys>,
}

/// A kernel, its configuration if known, its modules if any.
#[derive(Debug)]
pub struct Bundle {
    /// The bytes to boot.
    pub boot: BootFile,
    /// What those bytes say about themselves.
    pub image: Image,
    /// `uname -r`; `unknown` for an arm64 or RISC-V image that does not say.
    pub release: String,
    /// What it runs on.
    pub arch: Arch,
    /// What it was built with; `None` when nothing says it.
    pub config: Option<Config>,
    /// Its modules; `None` when none were given or found.
    pub modules: Option<ModuleTree>,
    /// Where it came from, for people.
    pub origin: String,
    /// Which digests that its packages carry are right, in words; empty when nothing was verified.
    pub checked: String,
    /// Who signed it, by the keys that were given, in words; empty when no keys were.
    pub signed: String,
}

impl Bundle {
    /// Opens a boot file, a package, a container image or a directory that holds a kernel, told apart by content. `modules` is
    /// `lib/modules/RELEASE`, or a directory with that or with `RELEASE` in it, and replaces what `path` brings.
    ///
    /// # Errors
    /// What is no kernel is called by its name; see [`KernelError::hint`] for the remedy.
    pub fn open(path: &Path, modules: Option<&Path>) -> Result<Bundle, KernelError> {
        Bundle::of(&Given { files: &[path.to_owned()], modules, ..Given::default() })
    }

    /// Puts together what was given.
    ///
    /// # Errors
    /// As [`Bundle::open`]; modules of another release than the kernel's are refused, and with keys what is not signed.
    pub fn of(given: &Given<'_>) -> Result<Bundle, KernelError> {
        open::open(given, None)
    }

    /// The kernel that the layers of an image bring, called `name` in errors.
    ///
    /// # Errors
    /// When there is none, or several.
    pub fn of_image(image: &crate::image::Image, name: &str) -> Result<Bundle, KernelError> {
        let path = PathBuf::from(name);
        let unpacked = Unpacked::of(image, &path)?;
        open::open_sources(vec![Source::Image(Arc::new(unpacked), path)], open::Parts::default(), None)
    }

    /// The files of the kernel that this machine runs.
    ///
    /// # Errors
    /// When the boot file is not where distributions put it.
    pub fn host_files() -> Result<Vec<PathBuf>, KernelError> {
        let names =
            nix::sys::utsname::uname().map_err(|errno| KernelError::io("read", "/proc/version")(errno.into()))?;
        open::host_files(Path::new("/"), &names.release().to_string_lossy())
    }

    /// Takes the modules in `dir` (as in [`Bundle::open`]) instead of its own; `None` changes nothing.
    pub fn replace_modules(&mut self, dir: Option<&Path>) -> Result<(), KernelError> {
        if let Some(dir) = dir {
            self.modules = Some(open::open_modules(dir, &self.release)?);
        }
        Ok(())
    }
}
