//! The kernel bundle: everything known about one kernel, whatever it came from.

use std::path::Path;

use super::image::Image;
use super::modules::ModuleTree;
use super::{Arch, BootFile, Config, KernelError, open};

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
}

impl Bundle {
    /// Opens a boot file, a Debian package or a directory that holds a kernel, told apart by content. `modules` is
    /// `lib/modules/RELEASE`, or a directory with that or with `RELEASE` in it, and replaces what `path` brings.
    ///
    /// # Errors
    /// What is no kernel is called by its name; see [`KernelError::hint`] for the remedy.
    pub fn open(path: &Path, modules: Option<&Path>) -> Result<Bundle, KernelError> {
        open::open(path, modules, None)
    }

    /// Takes the modules in `dir` (as in [`Bundle::open`]) instead of its own; `None` changes nothing.
    pub fn replace_modules(&mut self, dir: Option<&Path>) -> Result<(), KernelError> {
        if let Some(dir) = dir {
            self.modules = Some(open::open_modules(dir, &self.release)?);
        }
        Ok(())
    }

    /// Takes the configuration in a file instead of its own.
    pub fn replace_config(&mut self, path: &Path) -> Result<(), KernelError> {
        self.config = Some(open::read_config(path)?);
        Ok(())
    }
}
