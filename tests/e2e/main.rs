//! The program from end to end: what a user types, real images, real kernels, real boots.
//!
//! One test program for all of it: what takes time here are machines, and one program keeps every processor busy to the
//! end. `cargo test --test e2e nginx::` runs a part.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "what a test prints is shown when it fails")]

#[path = "../support/e2e_archive.rs"]
mod archive;
#[path = "../support/busybox.rs"]
mod busybox;
#[path = "../support/e2e.rs"]
mod e2e;
#[path = "../support/e2e_disk.rs"]
mod e2e_disk;
#[path = "../support/images.rs"]
mod images;
#[path = "../support/kernels.rs"]
mod kernels;
#[path = "../support/layers.rs"]
mod layers;
#[path = "../support/pty.rs"]
mod pty;
#[path = "../support/schema.rs"]
mod schema;
#[path = "../support/small_kernel.rs"]
mod small_kernel;
#[path = "../support/small_packages.rs"]
mod small_packages;
#[path = "../support/tools.rs"]
mod tools;

mod aarch64;
mod bad_input;
mod buses;
mod cache;
mod command_line;
mod copies;
mod debian;
mod faults;
mod files;
mod guest_modules;
mod hello;
mod layouts;
mod libraries;
mod machine;
mod machines;
mod nginx;
mod other_kernels;
mod outputs;
mod own_init;
mod reproducible;
mod smoke;
mod starting;
mod strange_disks;
mod verify;
mod workflow;
