//! What needs no kernel and no machine: layers and images in, file systems, tables and reports out.
//!
//! One program for all of it, as each links the whole library. `cargo test --test fast MODULE::` runs a part.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "what a test prints is shown when it fails")]

#[path = "../support/mod.rs"]
mod support;

mod bases;
mod boxes;
mod counting;
mod disk_file;
mod disk_table;
mod esp_volume;
mod ext4_random;
mod ext4_reader;
mod ext4_writer;
mod house;
mod image_fixtures;
mod image_streams;
mod inspect;
mod layers_breakouts;
mod layers_rules;
mod layers_scale;
mod layers_umoci;
mod registry;
mod settings;
mod shown;
mod source_docker;
mod source_forms;
mod source_memory;
mod source_refusals;
mod source_rootfs;
mod source_stdin;
mod specification;
mod tar_cases;
mod tar_fields;
mod tar_mutations;
mod tar_programs;
mod verity;
