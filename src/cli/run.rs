//! `bootdisk run`: boots an image or a disk in QEMU and ends with the workload's exit status.
//!
//! Standard output and standard error are the workload's. What bootdisk itself has to say goes to standard error: errors
//! always, notes only on a terminal or with `--console`.

use super::console;
use super::debug::Debug;
use super::detach::{self, Side};
use super::handed;
use super::machine::{AccelOption, BootChoice, BusOption, NicOption, parse_timeout, reach};
use super::mounts;
use super::options::{self, Global};
use super::registry;
use super::report::{self, WithHint};
use super::signing;
use super::size::Fit;
use super::stdio::say;
use super::target::{self, DirectBoot, Found, Target};
use crate::boot::existing::Existing;
use crate::fit::{self, Facts, Unfit};
use crate::guest::channel::{MAX_DOCUMENT, Overrides};
use crate::machines::log::Logger;
use crate::machines::{MachineError, Record, Registered, Registry};
use crate::once;
use crate::qemu::publish::{self, Publish};
use crate::qemu::{self, Access, Boot, Forward, MachineOptions};
use crate::session::control::Endpoint;
use crate::session::{self, Finished, SessionOptions, Streams, What};
use crate::sharing::Wanted;
use crate::source::Reference;
use anyhow::Context;
use clap_complete::engine::ArgValueCompleter;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The end of the help.
const EXAMPLES: &str = "\
Examples:
  bootdisk run nginx.img -p 8080:80
  bootdisk run -it debian.oci bash
  echo 1+1 | bootdisk run -i bc.tar
  bootdisk run app.img --timeout 30s --env MODE=test /app/selftest
  bootdisk run app.img --firmware uefi --bus nvme --console
  bootdisk run app.img --write --size 20G        the file, its root partition and its file system grow
  bootdisk run -d --name web nginx.img -p 8080:80
  bootdisk run -d nginx.img -P                   any free port for each that the image exposes; see ps
  bootdisk run app.img -v ./src:/src:ro          a folder of this host, live
  bootdisk run db.img -v data:/var/lib/data      a volume that stays; see volume

The command begins with the first word after the image that is not an option. Everything after it belongs to the command;
-- is needed only before a command that begins with a hyphen.

Exit status: the workload's own, 128+N when signal N ended it, 127 when the command is not in the image, 126
when it is not executable, 124 on timeout, 125 when bootdisk or the machine failed or the command line is wrong.
A first Ctrl-C asks the machine to stop, a second one ends it.

A disk built with --init image shows its console on standard output, and -i is its keyboard. It ends when it powers
off (status 0); stop presses its power button.";

/// Room in the document that carries the overrides for what else it says.
const WELCOME_REST: usize = 1024;

/// Arguments of `bootdisk run`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES, next_help_heading = "Machine")]
pub struct Args {
    /// Image, as for build, or a disk that build made
    #[arg(help_heading = "Arguments", add = ArgValueCompleter::new(super::candidates::images))]
    target: OsString,
    /// What starts the kernel [default: bios when the disk has a boot stage for it, else uefi]
    #[arg(long, value_name = "FIRMWARE")]
    firmware: Option<BootChoice>,
    /// What executes the guest: KVM, QEMU's emulation (tcg), or KVM if it proves to work [default: $BOOTDISK_ACCEL, or auto]
    #[arg(long, value_name = "HOW")]
    accel: Option<AccelOption>,
    /// Memory, with k, m or g
    #[arg(long, short, value_name = "SIZE", default_value = "1g", value_parser = qemu::machine::parse_memory)]
    memory: u32,
    /// Processors [default: the host's, at most 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=255))]
    cpus: Option<u32>,
    /// What the disk is attached to
    #[arg(long, value_name = "BUS", default_value = "virtio")]
    bus: BusOption,
    /// The network card [default: virtio]
    #[arg(long, value_name = "CARD")]
    nic: Option<NicOption>,
    /// Let the guest reach services on this host's loopback addresses, as 10.0.2.2 and fec0::2
    #[arg(long)]
    host_loopback: bool,
    /// Forward a host port, or a range of them, on the loopback address unless one is given; GUEST alone takes any free
    /// port
    #[arg(long, short, value_name = "[[ADDRESS:][HOST]:]GUEST[/udp]", value_parser = parse_publish)]
    publish: Vec<Publish>,
    /// Forward any free port to each port that the image exposes
    #[arg(long, short = 'P')]
    publish_all: bool,
    /// Pass standard input to the workload
    #[arg(long, short)]
    interactive: bool,
    /// Give the workload a terminal
    #[arg(long, short)]
    tty: bool,
    /// Go to the background once the workload runs, and print the machine's name; see logs, ps and stop
    #[arg(long, short, conflicts_with_all = ["interactive", "tty"])]
    detach: bool,
    /// Name for exec, logs and stop [default: two words]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Has no effect, as nothing of the machine is kept; accepted for habits from docker
    #[arg(long = "rm")]
    _rm: bool,
    /// Let the guest's writes reach the disk
    #[arg(long)]
    write: bool,
    /// Show the console of firmware and kernel on standard error
    #[arg(long)]
    console: bool,
    /// Write what a bug report needs to this file: versions, options, QEMU's command line, the logs of firmware and
    /// guest; without the values of variables
    #[arg(long, value_name = "FILE", conflicts_with = "detach")]
    debug: Option<PathBuf>,
    /// End the machine after this time (30, 30s, 5m, 1h); the exit status is then 124
    #[arg(long, value_name = "TIME", value_parser = parse_timeout)]
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
    registry: registry::Pulling,
    #[command(flatten)]
    mounts: mounts::Mounts,
    #[command(flatten)]
    handed: handed::Given,
    #[command(flatten)]
    process: options::Process,
    #[command(flatten)]
    signed: signing::Asked,
}

fn parse_publish(text: &str) -> Result<Publish, String> {
    text.parse::<Publish>().map_err(|error| error.to_string())
}

/// Boots the target and returns its workload's exit status.
pub fn run(global: &Global, args: &Args) -> anyhow::Result<ExitCode> {
    let mut debug = args.debug.as_deref().map(Debug::begin).transpose()?;
    let result = boot(global, args, &mut debug);
    debug.map_or(Ok(()), |debug| debug.end(&result))?;
    result.map(ExitCode::from)
}

/// As [`run`], with its steps told to whoever reports a fault.
fn boot(global: &Global, args: &Args, debug: &mut Option<Debug>) -> anyhow::Result<u8> {
    if let Some(name) = &args.name {
        // Before anything takes time.
        crate::machines::name::check(name)?;
        if let Ok(registry) = Registry::of_user() {
            registry.check_free(name)?;
        }
    }
    let detached = match args.detach.then(detach::split).transpose()? {
        Some(Side::Parent(status)) => return Ok(status),
        Some(Side::Child(child)) => Some(child),
        None => None,
    };
    let target = open(global, args)?;
    let path = target.path();
    let disk = Existing::open(&path)?;
    let boot_files;
    let arch = disk.architecture()?;
    let mut machine = MachineOptions::new(arch, path.clone());
    machine.disk_id = Some(disk.id().context("cannot look at the disk")?);
    let usual = if disk.boots_under_bios() { BootChoice::Bios } else { BootChoice::Uefi };
    machine.boot = match args.signed.firmware(args.firmware)?.unwrap_or(usual) {
        BootChoice::Bios => Boot::Bios,
        BootChoice::Uefi => Boot::Uefi,
        BootChoice::Direct => {
            boot_files = DirectBoot::take(disk.boot_files()?)?;
            boot_files.boot()
        }
    };
    machine.secure_boot = args.signed.keys(&disk)?;
    let mut facts = Facts::of(&disk);
    fill(&mut machine, args)?;
    machine.forwards = forwards(global, args, &facts)?;
    // A disk made here has that size already.
    machine.size = args.disk.size.and_then(Fit::bytes).filter(|_| matches!(target, Target::Disk(_)));
    let (overrides, mounts) = overrides(args, &facts)?;
    let mut show = console::Console::new(global, args.console);
    show.welcome(&machine.forwards, args.tty && args.interactive);
    let told = args.handed.read()?;
    let checked = args.handed.check(&facts).and_then(|()| {
        told.tell(&mut facts);
        check(&disk, &facts, &mut machine, &overrides, args, &mut show)
    });
    if let Err(unfit) = checked {
        let status = unfit.status();
        debug.iter_mut().for_each(|debug| debug.machine(&machine, &overrides.env));
        report::tell(&unfit.into());
        return Ok(status);
    }
    debug.iter_mut().for_each(|debug| debug.machine(&machine, &overrides.env));
    let healthcheck = overrides.health(facts.spec.as_ref().and_then(|spec| spec.healthcheck.as_ref()));
    if overrides.healthcheck.is_some() && healthcheck.as_ref().is_some_and(|check| check.test.is_empty()) {
        show.note("the image has no HEALTHCHECK to change, and --health-cmd gives none");
    }
    let options = SessionOptions {
        overrides,
        healthcheck,
        mounts,
        handed: told.handed,
        wire: None,
        terminal: args.tty,
        stdin: args.interactive,
        detached: args.detach,
        timeout: args.timeout,
    };
    if args.interactive {
        let claimed = once::stdin().and_then(|facts| once::claim(&facts, "the workload's input"));
        claimed.context("cannot pass standard input to the workload")?;
    }
    let (registered, endpoint) = register(args, &machine.forwards, &mut show)?;
    match (detached, registered) {
        (Some(child), Some(registered)) => run_detached(&machine, options, child, registered, endpoint, show),
        (_, registered) => {
            let streams = Streams::inherited().context("cannot use the standard streams")?;
            let finished = session::run_controlled(&machine, options, streams, endpoint, &mut |event| {
                debug.iter_mut().for_each(|debug| debug.event(&event));
                show.event(&event);
                ControlFlow::Continue(())
            })?;
            // Whoever waits for its end need not wait for our last words.
            drop(registered);
            show.finished(&finished);
            Ok(finished.status())
        }
    }
}

/// What is known of disk and machine before there is one.
fn check(
    disk: &Existing,
    facts: &Facts,
    machine: &mut MachineOptions,
    overrides: &Overrides,
    args: &Args,
    show: &mut console::Console,
) -> Result<(), Unfit> {
    machine.reach =
        reach(args.host_loopback, overrides.network.as_ref(), facts.spec.as_ref().map(|spec| &spec.network));
    match fit::machine(facts, machine, overrides) {
        // Nobody asked for this card, and without it the machine does what it can.
        Err(unfit @ Unfit::NoDriver { card: true, .. }) if args.nic.is_none() => show.note(&unfit.to_string()),
        result => result?,
    }
    fit::workload(facts, disk, overrides)
}

/// What is forwarded. Ports that nobody named are told of: without that they would be no use.
fn forwards(global: &Global, args: &Args, facts: &Facts) -> anyhow::Result<Vec<Forward>> {
    let exposed = facts.spec.iter().filter(|_| args.publish_all).flat_map(|spec| spec.exposed_ports.clone());
    let asked = publish::with_exposed(args.publish.clone(), &exposed.collect::<Vec<_>>());
    let settled = publish::settle(&asked)?;
    // On a terminal all of them are told of as soon as the machine is there.
    let told = global.quiet || std::io::stderr().is_terminal();
    for (forward, _) in settled.iter().filter(|(_, chosen)| *chosen && !told) {
        say(&format!("note: port {} of the guest is {}\n", forward.guest_port(), forward.host_port()));
    }
    Ok(settled.into_iter().map(|(forward, _)| forward).collect())
}

/// Whether what the guest writes can stay.
fn can_be_written_to(target: &OsStr) -> Result<(), WithHint> {
    let shown = crate::escape::path(Path::new(target));
    let (message, maker) = match target::disk_at(target) {
        Some(Found::Disk(_)) => return Ok(()),
        Some(Found::Form(form)) => (
            format!("--write needs a raw disk, and a disk in the {form} format is converted for each run: {shown}"),
            "convert",
        ),
        None => (format!("--write needs a disk, not an image: {shown}"), "build"),
    };
    Err(WithHint { message, hint: format!("make a disk with bootdisk {maker}, and run that") })
}

fn open(global: &Global, args: &Args) -> anyhow::Result<Target> {
    if args.write {
        can_be_written_to(&args.target)?;
    }
    if args.interactive && args.target == "-" {
        return Err(WithHint {
            message: "standard input cannot be the image and the workload's input at once: -".into(),
            hint: "save the image to a file first, or omit -i".into(),
        }
        .into());
    }
    args.registry.settle(global);
    Target::open(global, (&args.target, Reference::parse_or_name), &args.disk, args.firmware.as_slice())
}

/// Makes the machine known to exec, ps and stop. A foreground run goes on without.
fn register(
    args: &Args,
    forwards: &[Forward],
    show: &mut console::Console,
) -> anyhow::Result<(Option<Registered>, Endpoint)> {
    let record = Record {
        name: args.name.clone().unwrap_or_default(),
        image: args.target.to_string_lossy().into_owned(),
        pid: std::process::id(),
        started: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs()),
        ports: forwards.iter().map(shown_port).collect(),
        detached: args.detach,
    };
    let mut endpoint = Endpoint::default();
    match Registry::of_user().and_then(|registry| registry.register(record)) {
        Ok((registered, listener)) => {
            endpoint.listen(listener).context("cannot listen on the machine's socket")?;
            Ok((Some(registered), endpoint))
        }
        Err(error) if args.detach || matches!(error, MachineError::InUse(_)) => Err(error.into()),
        Err(error) => {
            show.note(&format!("exec, ps and stop do not know this machine: {error}"));
            Ok((None, endpoint))
        }
    }
}

/// Runs the machine with its output in its log, and lets the parent go as soon as the workload has started.
fn run_detached(
    machine: &MachineOptions,
    options: SessionOptions,
    child: detach::Child,
    registered: Registered,
    endpoint: Endpoint,
    mut show: console::Console,
) -> anyhow::Result<u8> {
    let logger = registered.log().context("cannot begin the machine's log")?;
    let streams = log_streams(&logger).context("cannot use the machine's log")?;
    let (mut child, mut released) = (Some(child), Ok(()));
    let finished = session::run_controlled(machine, options, streams, endpoint, &mut |event| {
        show.event(&event);
        if let What::WorkloadStarted | What::HandedOver(_) = event.what
            && let Some(child) = child.take()
        {
            released = child.release(&registered.record().name, &logger.stderr);
            if released.is_err() {
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    })?;
    released.context("cannot go to the background")?;
    show.finished(&finished);
    if child.is_none() {
        finish_log(logger, registered, &finished);
    }
    Ok(finished.status())
}

/// As `-p` takes it; the loopback address goes without saying there.
fn shown_port(forward: &Forward) -> String {
    let text = forward.to_string();
    text.strip_prefix("127.0.0.1:").map(str::to_owned).unwrap_or(text)
}

fn log_streams(logger: &Logger) -> std::io::Result<Streams> {
    let stdin = File::open("/dev/null")?.into();
    Ok(Streams { stdin, stdout: logger.stdout.try_clone()?, stderr: logger.stderr.try_clone()? })
}

fn finish_log(logger: Logger, registered: Registered, finished: &Finished) {
    // Standard error is one of the log's ends.
    detach::fall_silent();
    let lost = logger.finish();
    // There is nobody to tell.
    _ = registered.ended(finished.outcome.status(), finished.outcome.sentence().or(lost));
}

/// The changes for this boot. They travel in one document, and finding out that it is too long would take a boot.
fn overrides(args: &Args, facts: &Facts) -> anyhow::Result<(Overrides, Vec<Wanted>)> {
    let mut overrides = args.process.overrides()?;
    let machine = mounts::Machine { name: args.name.as_deref(), target: &args.target, facts };
    let wanted = args.mounts.settle(&machine, &mut overrides)?;
    let length = serde_json::to_vec(&overrides).context("cannot encode the command")?.len();
    let most = MAX_DOCUMENT - WELCOME_REST;
    if length > most {
        return Err(WithHint {
            message: format!(
                "command and environment of {length} bytes, at most {most} can be passed to a booting machine"
            ),
            hint: "give them to `bootdisk build`, which writes them to the disk".into(),
        }
        .into());
    }
    Ok((overrides, wanted))
}

fn fill(machine: &mut MachineOptions, args: &Args) -> anyhow::Result<()> {
    machine.accel = AccelOption::settled(args.accel)?;
    machine.bus = args.bus.into();
    machine.network = args.nic.unwrap_or(NicOption::Virtio).card();
    machine.memory = args.memory;
    machine.cpus = args.cpus.unwrap_or(machine.cpus);
    machine.access = if args.write { Access::Write } else { Access::Overlay };
    // SeaBIOS says nowhere else that nothing boots.
    machine.firmware_log = true;
    machine.qemu = args.qemu.clone();
    machine.extra = args.qemu_arg.clone();
    Ok(())
}
