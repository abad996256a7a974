//! What the fuzz targets do with their bytes: each hands them to one reader, and holds what it says against another
//! program's word where there is one. A reader may refuse; it must not panic, overflow, or take long or much.
//!
//! ```text
//!  image     archives, documents, layers, compression        disks     tables, file systems, boot entries
//!  kernels   packages, boot files, modules, programs         machine   what guests, clients and networks send
//!  sectors   disks of gigabytes in inputs of kilobytes       corpus    the inputs to begin with, see `seeds`
//! ```

pub mod corpus;
pub mod disks;
pub mod image;
pub mod kernels;
pub mod machine;
pub mod sectors;

use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

/// A file in memory with these bytes, and a path that opens it.
pub fn file(bytes: &[u8]) -> (std::fs::File, PathBuf) {
    let fd = nix::sys::memfd::memfd_create("input", nix::sys::memfd::MFdFlags::MFD_CLOEXEC).expect("Linux has memfd");
    let mut file = std::fs::File::from(fd);
    file.write_all(bytes).expect("memory");
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    (file, path.into())
}

/// The first byte, for a target's own choices, and the rest.
fn choice(data: &[u8]) -> (u8, &[u8]) {
    data.split_first().map_or((0, data), |(first, rest)| (*first, rest))
}
