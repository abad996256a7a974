//! The program from end to end: what a user types, real images, real kernels, real boots.
//!
//! One test program for all of it: what takes time here are machines, and one program keeps every processor busy to the
//! end. `cargo test --test e2e nginx::` runs a part.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "what a test prints is shown when it fails")]

#[path = "../support/mod.rs"]
mod support;

mod aarch64;
mod bad_input;
mod bases;
mod buses;
mod cache;
mod command_line;
mod copies;
mod databases;
mod debian;
mod documents;
mod faults;
mod files;
mod forms;
mod group;
mod guest_modules;
mod hello;
mod layouts;
mod libraries;
mod lives;
mod machine;
mod machines;
mod nginx;
mod other_kernels;
mod outputs;
mod own_init;
mod provenance;
mod recordings;
mod registries;
mod reproducible;
mod screens;
mod secure_boot;
mod settings;
mod sharing;
mod smoke;
mod snapshots;
mod starting;
mod stores;
mod strange_disks;
mod suites;
mod uki;
mod verify;
mod verity;
mod waiting;
mod workflow;

use support::{
    busybox, daemons, e2e, e2e_archive as archive, e2e_disk, images, layers, pty, schema, screen, small_kernel,
    small_packages, tools,
};
