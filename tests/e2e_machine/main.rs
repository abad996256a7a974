//! The machine around the workload: its disk grows, forgets and loses its power; its network comes up; a server from
//! a distribution keeps its data through the power button.

#[path = "../support/busybox.rs"]
mod busybox;
#[path = "../support/e2e.rs"]
mod e2e;
#[path = "../support/e2e_disk.rs"]
mod e2e_disk;
#[path = "../support/images.rs"]
mod images;
#[path = "../support/tools.rs"]
mod tools;

mod ephemeral;
mod growth;
mod network;
mod power;
mod resources;
mod server;

use e2e::Bench;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A disk of the busybox image.
fn busybox_disk(bench: &Bench, options: &[&str]) -> PathBuf {
    let image = busybox::archive(bench.path("image").parent().unwrap());
    bench.build(&image, "disk.img", options)
}

fn set_size(disk: &Path, size: u64) {
    File::options().write(true).open(disk).unwrap().set_len(size).unwrap();
}

/// A copy beside a disk, holes as holes.
fn copy(disk: &Path, name: &str) -> PathBuf {
    let to = disk.with_file_name(name);
    tools::stdout(Command::new("cp").arg("--sparse=always").arg(disk).arg(&to));
    to
}

/// Whether two disks have the same bytes, as cmp says.
fn are_equal(one: &Path, other: &Path) -> bool {
    tools::run(Command::new("cmp").arg("--silent").arg(one).arg(other)).status.success()
}
