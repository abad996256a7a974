//! bootdisk turns a container image and a Linux kernel into a GPT disk image that boots.
//!
//! ```text
//!  source ─▶ image ─▶ layer ─▶ rootfs (tree + bodies) ─▶ ext4 ─┐
//!                                                              ├─▶ disk ─▶ qemu
//!  kernel ─▶ initramfs + loader entry + BIOS stage ─▶ ESP ─────┘
//! ```
//!
//! Nothing is mounted, nothing needs root, and nothing from the image is executed. See ARCHITECTURE.md for the
//! code map and the rules that hold between the parts.

pub mod copy;
pub mod escape;
pub mod fnmatch;
pub mod formats;
#[cfg(feature = "host")]
pub mod forms;
pub mod guest;
#[cfg(any(feature = "init", test))]
pub mod init;

#[cfg(feature = "host")]
pub mod added;
#[cfg(feature = "host")]
pub mod arch;
#[cfg(feature = "host")]
pub mod boot;
#[cfg(feature = "host")]
pub mod cache;
#[cfg(feature = "host")]
pub mod cli;
#[cfg(feature = "host")]
pub mod contents;
#[cfg(feature = "host")]
pub mod convert;
#[cfg(feature = "host")]
pub mod disk;
#[cfg(feature = "host")]
pub mod disk_lock;
#[cfg(feature = "host")]
pub mod ext4;
#[cfg(feature = "host")]
pub mod file_lock;
#[cfg(feature = "host")]
pub mod fit;
#[cfg(feature = "host")]
pub mod flatten;
#[cfg(feature = "host")]
pub mod guest_modules;
#[cfg(feature = "host")]
pub mod hex;
#[cfg(feature = "host")]
mod holes;
#[cfg(feature = "host")]
pub mod identity;
#[cfg(feature = "host")]
pub mod image;
#[cfg(feature = "host")]
pub mod inputs;
#[cfg(feature = "host")]
pub mod inspect;
#[cfg(feature = "host")]
pub mod kernel;
#[cfg(feature = "host")]
mod large;
#[cfg(feature = "host")]
pub mod layer;
#[cfg(feature = "host")]
pub mod machines;
#[cfg(feature = "host")]
pub mod mirror;
#[cfg(feature = "host")]
pub mod once;
#[cfg(feature = "host")]
pub mod output;
#[cfg(feature = "host")]
pub mod own_folder;
#[cfg(feature = "host")]
mod percent;
#[cfg(feature = "host")]
pub mod pid1;
#[cfg(feature = "host")]
pub mod provenance;
#[cfg(feature = "host")]
pub mod publish;
#[cfg(feature = "host")]
pub mod qemu;
#[cfg(feature = "host")]
pub mod random;
#[cfg(feature = "host")]
pub mod recognise;
#[cfg(feature = "host")]
pub mod registry;
#[cfg(feature = "host")]
pub mod rootfs;
#[cfg(feature = "host")]
pub mod sbom;
#[cfg(feature = "host")]
pub mod session;
#[cfg(feature = "host")]
pub mod sharing;
#[cfg(feature = "host")]
pub mod shorten;
#[cfg(feature = "host")]
pub mod signing;
#[cfg(feature = "host")]
pub mod smoke;
#[cfg(feature = "host")]
pub mod source;
#[cfg(feature = "host")]
pub mod startable;
#[cfg(feature = "host")]
pub mod swap;
#[cfg(feature = "host")]
pub mod switch;
#[cfg(feature = "host")]
pub mod verity;
#[cfg(feature = "host")]
pub mod volumes;
#[cfg(feature = "host")]
mod whole_file;
