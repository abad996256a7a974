//! What several test programs have in common: things to test with, and other people's tools to judge by.

#![allow(dead_code, reason = "each test program uses a part")]

pub mod apart;
pub mod boot_disk;
pub mod busybox;
pub mod daemons;
pub mod debian_archive;
pub mod e2e;
pub mod e2e_archive;
pub mod e2e_disk;
pub mod ext4;
pub mod ext4_compare;
pub mod guest;
pub mod http;
pub mod images;
pub mod kernels;
pub mod layers;
pub mod machine;
pub mod pty;
pub mod qemu_raw;
pub mod registry;
pub mod schema;
pub mod screen;
pub mod small_kernel;
pub mod small_packages;
pub mod threads;
pub mod tools;
