//! Kernels as distributions package them, their store, and PID 1 as a program.
//!
//! One program for all of it, as each links the whole library. `cargo test --test kernel MODULE::` runs a part.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "what a test prints is shown when it fails")]

#[path = "../support/mod.rs"]
mod support;

mod init_binary;
mod kernel_fetch;
mod kernel_formats;
mod kernel_package;
mod kernel_preflight;
mod kernel_several;
mod kernel_signature;
mod kernel_store;
