//! The kernel side: what a kernel is, where it comes from, what it lacks to boot a disk of ours.
//!
//! ```text
//!  boot file (+ modules directory) ───┐
//!  packages (deb, rpm, apk, pkg, tar) ┼─▶ Bundle ─▶ preflight: verdicts, disk buses
//!  container image, directory ────────┤          └▶ modules::select: the initramfs's modules in order
//!  store ─────────────────────────────┘
//! ```
//!
//! Nothing here writes to a disk image, runs a program or needs root. Of a unified kernel image only the kernel is read.

pub mod at_start;
mod bootfile;
pub mod bundle;
pub mod config;
pub mod depmod;
mod error;
pub mod ikconfig;
pub mod image;
mod input;
pub mod modinfo;
pub mod modules;
mod open;
pub mod package;
pub mod places;
pub mod preflight;
mod recipe;
mod release;
pub mod requirements;
pub mod signature;
pub mod store;
mod unified;

pub use bootfile::BootFile;
pub use bundle::Bundle;
pub use config::Config;
pub use error::KernelError;
pub(crate) use input::Input;
pub use open::Given;
pub use preflight::{Packing, preflight};
pub use signature::Keys;
pub use store::Store;

/// Whether `name` can be a kernel's release: one component of a path, of the characters that distributions use.
pub fn is_release(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._+~-".contains(c);
    (1..=128).contains(&name.len()) && name.chars().all(allowed) && !name.starts_with('.')
}

#[cfg(test)]
mod tests {
    use super::is_release;

    #[test]
    fn releases_are_one_path_component() {
        for good in ["6.1.0-56-cloud-amd64", "6.12.1+rt", "5.10.0~rc1_x"] {
            assert!(is_release(good), "{good}");
        }
        for bad in ["", "..", ".", "a/b", "a b", "a\n", "ä", &"x".repeat(129)] {
            assert!(!is_release(bad), "{bad}");
        }
    }
}
