//! What makes a disk boot: initramfs, loader entries, the BIOS boot stage, the EFI System Partition.

pub mod initramfs;
