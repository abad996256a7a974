//! `bootdisk run`: boots an image or a disk in QEMU and ends with the workload's exit status.
//!
//! Standard output and standard error are the workload's. What bootdisk itself has to say goes to standard error: errors
//! always, notes only on a terminal or with `--console`.

use super::cancel::Cancel;
use super::options::{self, FirmwareChoice, Global};
use super::progress::Progress;
use super::{console, env, plan};
use crate::boot::existing::{BootFiles, Existing};
use crate::cache::{CachedDisk, DiskCache};
use crate::disk::gpt::Architecture;
use crate::disk::table;
use crate::qemu::{self, AccelChoice, Access, Boot, Bus, Forward, MachineOptions, Nic, SessionOptions, Streams};
use anyhow::{Context, bail};
use std::ffi::{OsStr, OsString};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Arguments of `bootdisk run`.
#[derive(clap::Args)]
pub struct Args {
    /// Image, as for build, or a disk that build made
    target: OsString,
    /// What starts the kernel [default: bios when the disk has a boot stage for it, else uefi]
    #[arg(long, value_name = "FIRMWARE")]
    firmware: Option<BootChoice>,
    /// What executes the guest: KVM, QEMU's emulation (tcg), or KVM if it proves to work
    #[arg(long, value_name = "HOW", default_value = "auto")]
    accel: AccelOption,
    /// Memory, with k, m or g
    #[arg(long, short, value_name = "SIZE", default_value = "1g", value_parser = qemu::machine::parse_memory)]
    memory: u32,
    /// Processors [default: the host's, at most 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=255))]
    cpus: Option<u32>,
    /// What the disk is attached to
    #[arg(long, value_name = "BUS", default_value = "virtio")]
    bus: BusOption,
    /// The network card
    #[arg(long, value_name = "CARD", default_value = "virtio")]
    nic: NicOption,
    /// Forward a host port, on the loopback address unless one is given
    #[arg(long, short, value_name = "[ADDRESS:]HOST:GUEST[/udp]", value_parser = parse_forward)]
    publish: Vec<Forward>,
    /// Pass standard input to the workload
    #[arg(long, short)]
    interactive: bool,
    /// Give the workload a terminal
    #[arg(long, short)]
    tty: bool,
    /// Let the guest's writes reach the disk
    #[arg(long)]
    write: bool,
    /// Show the console of firmware and kernel on standard error
    #[arg(long)]
    console: bool,
    /// End the machine after this time; the exit status is then 124
    #[arg(long, value_name = "SECONDS", value_parser = parse_timeout)]
    timeout: Option<Duration>,
    /// QEMU's program [default: qemu-system-ARCH in PATH]
    #[arg(long, value_name = "PROGRAM")]
    qemu: Option<PathBuf>,
    /// One more argument for QEMU, after ours
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    qemu_arg: Vec<OsString>,
    #[command(flatten)]
    disk: options::Disk,
    #[command(flatten)]
    process: options::Process,
}

/// What starts the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum BootChoice {
    /// SeaBIOS and our boot stage
    Bios,
    /// OVMF and systemd-boot
    Uefi,
    /// QEMU itself, with kernel and initramfs taken from the disk
    Direct,
}

/// What executes the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum AccelOption {
    /// KVM if a tiny guest proves that it works, else emulation
    Auto,
    /// KVM
    Kvm,
    /// Emulation
    Tcg,
}

/// What the disk is attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum BusOption {
    /// virtio-blk
    Virtio,
    /// NVMe
    Nvme,
    /// AHCI (SATA)
    Ahci,
    /// virtio-scsi
    Scsi,
    /// PIIX IDE, machine type pc
    Ide,
}

/// The network card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum NicOption {
    /// virtio-net
    Virtio,
    /// Intel 82540EM
    E1000,
    /// No network
    None,
}

fn parse_forward(text: &str) -> Result<Forward, String> {
    text.parse::<Forward>().map_err(|error| error.to_string())
}

/// Seconds, with a fraction if need be, or with `s`, `m` or `h`.
fn parse_timeout(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.char_indices().last() {
        Some((at, 's')) => (&text[..at], 1.0),
        Some((at, 'm')) => (&text[..at], 60.0),
        Some((at, 'h')) => (&text[..at], 3600.0),
        _ => (text, 1.0),
    };
    let seconds = number.parse::<f64>().map_err(|_| "not a time; write seconds, or a number with s, m or h")? * unit;
    Duration::try_from_secs_f64(seconds).ok().filter(|t| !t.is_zero()).ok_or_else(|| "not a time that can pass".into())
}

/// Boots the target and returns its workload's exit status.
pub fn run(global: &Global, args: &Args) -> anyhow::Result<ExitCode> {
    let target = Target::open(global, args)?;
    let path = target.path();
    let disk = Existing::open(&path)?;
    let boot_files;
    let arch = match disk.architecture()? {
        Architecture::X86_64 => qemu::Arch::X86_64,
        Architecture::Aarch64 => qemu::Arch::Aarch64,
    };
    let mut machine = MachineOptions::new(arch, path.clone());
    machine.boot =
        match args.firmware.unwrap_or(if disk.boots_under_bios() { BootChoice::Bios } else { BootChoice::Uefi }) {
            BootChoice::Bios => Boot::Bios,
            BootChoice::Uefi => Boot::Uefi,
            BootChoice::Direct => {
                boot_files = DirectBoot::take(disk.boot_files()?)?;
                boot_files.boot()
            }
        };
    fill(&mut machine, args);
    let options = SessionOptions {
        overrides: args.process.overrides()?,
        terminal: args.tty,
        stdin: args.interactive,
        timeout: args.timeout,
    };
    let streams = Streams::inherited().context("cannot use the standard streams")?;
    let mut show = console::Console::new(global, args.console);
    let finished = qemu::run(&machine, options, streams, &mut |event| {
        show.event(&event);
        ControlFlow::Continue(())
    })?;
    show.finished(&finished);
    Ok(ExitCode::from(finished.outcome.status()))
}

fn fill(machine: &mut MachineOptions, args: &Args) {
    machine.accel = match args.accel {
        AccelOption::Auto => AccelChoice::Auto,
        AccelOption::Kvm => AccelChoice::Kvm,
        AccelOption::Tcg => AccelChoice::Tcg,
    };
    machine.bus = match args.bus {
        BusOption::Virtio => Bus::Virtio,
        BusOption::Nvme => Bus::Nvme,
        BusOption::Ahci => Bus::Ahci,
        BusOption::Scsi => Bus::Scsi,
        BusOption::Ide => Bus::Ide,
    };
    machine.network = match args.nic {
        NicOption::Virtio => Some(Nic::Virtio),
        NicOption::E1000 => Some(Nic::E1000),
        NicOption::None => None,
    };
    machine.memory = args.memory;
    machine.cpus = args.cpus.unwrap_or(machine.cpus);
    machine.access = if args.write { Access::Write } else { Access::Overlay };
    machine.forwards = args.publish.clone();
    machine.qemu = args.qemu.clone();
    machine.extra = args.qemu_arg.clone();
}

/// What is booted: a disk as it is, or one made from an image.
enum Target {
    Disk(PathBuf),
    Cached(CachedDisk),
    /// There is no place for a cache, or the disk is to be written to: a disk for this machine alone.
    Temporary {
        dir: tempfile::TempDir,
    },
}

impl Target {
    fn open(global: &Global, args: &Args) -> anyhow::Result<Target> {
        if is_disk(&args.target) {
            if args.disk.is_given() {
                bail!(
                    "options that build a disk do not go with a disk: {}",
                    crate::escape::path(Path::new(&args.target))
                );
            }
            return Ok(Target::Disk(args.target.clone().into()));
        }
        if args.write {
            bail!("--write needs a disk, not an image: {}", crate::escape::path(Path::new(&args.target)));
        }
        let _cancel = Cancel::on_signals().context("cannot listen for signals")?;
        let mut progress = Progress::beside_a_workload(global);
        let firmware = options::firmware_set(&firmware_for(args));
        let plan = plan::open(&args.target, &args.disk, firmware, &Default::default(), &mut |e| progress.show(e))?;
        let mut build = |path: &Path| plan.write(path, &mut |event| progress.show(event)).map(|_| ());
        match env::xdg("XDG_CACHE_HOME", ".cache") {
            Ok(cache) => {
                let cache = DiskCache::open(cache.join("bootdisk/disks"))?;
                Ok(Target::Cached(cache.get(&plan.key(), build)?))
            }
            Err(_) => {
                let dir = tempfile::tempdir().context("cannot make a temporary directory")?;
                build(&dir.path().join("disk.img"))?;
                Ok(Target::Temporary { dir })
            }
        }
    }

    fn path(&self) -> PathBuf {
        match self {
            Target::Disk(path) => path.clone(),
            Target::Cached(disk) => disk.path.clone(),
            Target::Temporary { dir } => dir.path().join("disk.img"),
        }
    }
}

/// The firmware a cached disk is made for: all there is, unless only UEFI's loader may be missing on this host.
fn firmware_for(args: &Args) -> Vec<FirmwareChoice> {
    match args.firmware {
        Some(BootChoice::Uefi) => vec![FirmwareChoice::Bios, FirmwareChoice::Uefi],
        _ => vec![FirmwareChoice::Bios],
    }
}

/// Whether a path names a disk rather than an image: a file or block device with a GPT header in its second sector.
fn is_disk(target: &OsStr) -> bool {
    table::is_disk(Path::new(target))
}

/// Kernel and initramfs of a disk as files, for as long as the machine starts.
struct DirectBoot {
    dir: tempfile::TempDir,
    cmdline: String,
}

impl DirectBoot {
    fn take(files: BootFiles) -> anyhow::Result<DirectBoot> {
        let dir = tempfile::tempdir().context("cannot make a temporary directory")?;
        std::fs::write(dir.path().join("kernel"), &files.kernel).context("cannot write the kernel for direct boot")?;
        std::fs::write(dir.path().join("initramfs"), &files.initramfs)
            .context("cannot write the initramfs for direct boot")?;
        Ok(DirectBoot { dir, cmdline: files.command_line })
    }

    fn boot(&self) -> Boot {
        Boot::Direct {
            kernel: self.dir.path().join("kernel"),
            initrd: Some(self.dir.path().join("initramfs")),
            cmdline: self.cmdline.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_read_as_people_write_them() {
        for (text, seconds) in [("30", 30.0), ("1.5", 1.5), ("90s", 90.0), ("2m", 120.0), ("1h", 3600.0)] {
            assert_eq!(parse_timeout(text), Ok(Duration::from_secs_f64(seconds)), "{text}");
        }
        for bad in ["", "0", "-1", "x", "1d", "inf", "nan"] {
            assert!(parse_timeout(bad).is_err(), "{bad}");
        }
    }
}
