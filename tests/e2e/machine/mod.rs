//! The machine around the workload: its disk grows, forgets and loses its power; its network comes up; a server from
//! a distribution keeps its data through the power button.

mod ephemeral;
mod growth;
mod intruder;
mod journaled;
mod network;
mod power;
mod reach;
mod resources;
pub mod server;

use crate::{busybox, e2e, tools};
use e2e::Bench;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{SystemTime, UNIX_EPOCH};

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

/// SIGKILL for the QEMU of a running bootdisk. Whether there was one.
fn lose_power(run: &Child) -> bool {
    use nix::sys::signal::{Signal, kill};
    let id = run.id();
    let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
    let qemu = children.split_whitespace().next().and_then(|pid| pid.parse().ok());
    qemu.is_some_and(|pid| kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL).is_ok())
}

/// Numbers that a seed reproduces (xorshift64*).
struct Random(u64);

impl Random {
    /// Another one every time, or that of `BOOTDISK_TEST_SEED`; it is printed.
    fn seeded() -> Random {
        let given = std::env::var("BOOTDISK_TEST_SEED").ok().and_then(|text| text.parse().ok());
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos().into();
        let seed: u64 = given.unwrap_or_else(now);
        println!("BOOTDISK_TEST_SEED={seed}");
        Random(seed.max(1))
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % limit
    }
}
