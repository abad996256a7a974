//! What only a booted machine shows: boot stages, the initramfs, PID 1, the kernel on our ext4, the runner's end of QEMU.
//!
//! One program for all of it, as each links the whole library. `cargo test --test machine MODULE::` runs a part.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "what a test prints is shown when it fails")]

#[path = "../support/mod.rs"]
mod support;

mod boot_stage;
mod boot_stage_uefi;
mod ext4_kernel;
mod init_boot;
mod init_process;
mod init_settings;
mod initramfs_boot;
mod qemu_disk;
mod qemu_end;
