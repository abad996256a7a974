//! Everything between kernel and initramfs on one side and a disk that boots on the other.

pub mod bios;
pub mod esp;
