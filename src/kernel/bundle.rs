//! The kernel bundle: everything known about one kernel, whatever it came from.

use super::image::Image;
use super::modules::ModuleTree;
use super::{BootFile, Config};
use crate::arch::Arch;

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
