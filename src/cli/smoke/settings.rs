//! What can be said of a test, once: the options of `bootdisk test` and the keys of `smoke.toml` are both these fields.
//!
//! A key is the option's long name, its values are read by the option's own parser. What belongs to this host alone (which
//! QEMU, where results go) is an option and no key: see `Host` and `Output`.

use crate::cli::handed;
use crate::cli::machine::{AccelOption, BootChoice, BusOption, NicOption, parse_timeout};
use crate::cli::mounts;
use crate::cli::options;
use crate::cli::signing;
use crate::qemu;
use crate::smoke::expect::{Exec, Expectation, Http};
use crate::smoke::{Matrix, Pattern};
use std::time::Duration;

/// A test but for its name and what is tested.
#[derive(clap::Args, Clone, Debug)]
pub struct Settings {
    #[command(flatten)]
    pub expectations: Expectations,
    #[command(flatten)]
    pub machine: Machine,
    #[command(flatten)]
    pub disk: options::Disk,
    #[command(flatten)]
    pub mounts: mounts::Mounts,
    #[command(flatten)]
    pub handed: handed::Given,
    #[command(flatten)]
    pub process: options::Process,
    #[command(flatten)]
    pub signed: signing::Asked,
}

/// What must hold.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Expectations")]
pub struct Expectations {
    /// Text that must appear, on the console or in the workload's output
    #[arg(long, value_name = "TEXT", value_parser = Pattern::text)]
    expect: Vec<Pattern>,
    /// Regular expression that must match a line
    #[arg(long, value_name = "RE", value_parser = Pattern::regex)]
    expect_regex: Vec<Pattern>,
    /// Text that must not appear before everything else holds
    #[arg(long, value_name = "TEXT", value_parser = Pattern::text)]
    reject: Vec<Pattern>,
    /// Regular expression that must not match before everything else holds
    #[arg(long, value_name = "RE", value_parser = Pattern::regex)]
    reject_regex: Vec<Pattern>,
    /// Exit status the workload must end with
    #[arg(long, value_name = "N")]
    exit_code: Option<u8>,
    /// TCP port of the guest that must accept a connection
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    tcp: Vec<u16>,
    /// HTTP path that must be answered with status 200 [default port: the one the image exposes, or 80]
    #[arg(long, value_name = "[:PORT]/PATH", value_parser = Http::parse)]
    http: Vec<Http>,
    /// HTTP path that must be answered with another status, as 404:/missing or 301:8080/
    #[arg(long, value_name = "N:[PORT]/PATH", value_parser = Http::parse_status)]
    http_status: Vec<Http>,
    /// Command that must end with status 0 in the machine, beside the workload
    #[arg(long, value_name = "CMD", value_parser = Exec::parse)]
    exec: Vec<Exec>,
    /// Command that must end with another status, as '3:sh -c "exit 3"'
    #[arg(long, value_name = "N:CMD", value_parser = Exec::parse_status)]
    exec_status: Vec<Exec>,
    /// The image's HEALTHCHECK must succeed
    #[arg(long)]
    pub healthy: bool,
    /// Start from a snapshot that several tests of one machine have in common, made once the machine is healthy (with a
    /// HEALTHCHECK) or has started, or once CMD succeeds in it
    #[arg(long, value_name = "CMD", num_args = 0..=1, require_equals = true, default_missing_value = "true",
        value_parser = SnapshotAt::parse)]
    pub snapshot: Option<SnapshotAt>,
    /// Time for all of it (30, 30s, 5m)
    #[arg(long, value_name = "TIME", default_value = "120s", value_parser = parse_timeout)]
    pub timeout: Duration,
    /// Try it again so many times when it fails; one that passes then is reported as flaky, and is a success
    #[arg(long, value_name = "N", default_value = "0", hide_default_value = true, value_parser = clap::value_parser!(u8).range(..=100))]
    pub retries: u8,
    /// Time until the machine says anything; while it waits for a processor of this host, none passes
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_timeout)]
    pub boot_timeout: Duration,
}

/// What it is booted in.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Machine")]
pub struct Machine {
    /// Boot every combination: firmware=bios,uefi,direct accel=tcg,kvm kernel=A,B bus=virtio,nvme,ahci,scsi,ide,usb
    /// nic=virtio,e1000,none. A combination that the kernel has no driver for is skipped, as long as another can be run
    #[arg(long, value_name = "AXIS=VALUE,VALUE ...")]
    pub matrix: Vec<String>,
    /// What starts the kernel [default: bios when the disk has a boot stage for it, else uefi]
    #[arg(long, value_name = "FIRMWARE")]
    pub firmware: Option<BootChoice>,
    /// What executes the guest [default: $BOOTDISK_ACCEL, or auto]
    #[arg(long, value_name = "HOW")]
    pub accel: Option<AccelOption>,
    /// Memory, with k, m or g
    #[arg(long, short, value_name = "SIZE", default_value = "1g", value_parser = qemu::machine::parse_memory)]
    pub memory: u32,
    /// Processors
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=255))]
    pub cpus: u32,
    /// What the disk is attached to
    #[arg(long, value_name = "BUS", default_value = "virtio")]
    pub bus: BusOption,
    /// The network card
    #[arg(long, value_name = "CARD", default_value = "virtio")]
    pub nic: NicOption,
}

/// When a snapshot is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotAt {
    /// The machine is healthy, or has started.
    Ready,
    /// The command succeeds.
    Succeeds(Exec),
}

impl SnapshotAt {
    /// Reads `true` or a command.
    fn parse(text: &str) -> Result<SnapshotAt, String> {
        match text {
            "true" => Ok(SnapshotAt::Ready),
            command => Exec::parse(command).map(SnapshotAt::Succeeds).map_err(|error| error.to_string()),
        }
    }
}

impl Settings {
    /// Why a machine of these cannot start from a snapshot that is asked for, if so.
    pub fn no_snapshot(&self) -> Option<&'static str> {
        let joined = self.expectations.snapshot.is_some() && self.mounts.are_of_this_host();
        joined.then_some("snapshot: folders of this host and volumes do not go back to a snapshot, omit one of them")
    }

    /// The axes of the matrix.
    pub fn matrix(&self) -> anyhow::Result<Matrix> {
        Ok(Matrix::parse(self.machine.matrix.iter().map(String::as_str))?)
    }
}

impl Expectations {
    /// All of them.
    pub fn all(&self) -> Vec<Expectation> {
        let output = self.expect.iter().chain(&self.expect_regex).cloned().map(Expectation::Output);
        let reject = self.reject.iter().chain(&self.reject_regex).cloned().map(Expectation::Reject);
        let tcp = self.tcp.iter().copied().map(Expectation::Tcp);
        let http = self.http.iter().chain(&self.http_status).cloned().map(Expectation::Http);
        let exec = self.exec.iter().chain(&self.exec_status).cloned().map(Expectation::Exec);
        let healthy = self.healthy.then_some(Expectation::Healthy);
        let exit = self.exit_code.map(Expectation::ExitCode);
        output.chain(reject).chain(tcp).chain(http).chain(exec).chain(healthy).chain(exit).collect()
    }
}
