//! `bootdisk test`: boots images or disks, watches them, and answers with a verdict.

mod actions;
mod again;
mod error;
mod files;
mod keys;
mod machines;
mod names;
mod new;
mod plan;
#[cfg(test)]
mod schema;
mod select;
mod settings;
mod several;
pub mod spec;
mod tell;

pub use error::SpecError;

use self::files::Files;
use self::keys::{Definition, Given};
use self::plan::{Planned, Wishes};
use self::select::Selection;
use self::settings::Settings;
use self::spec::SpecTest;
use self::tell::Tell;
use super::env;
use super::options::Global;
use super::plan as building;
use super::registry;
use super::report::WithHint;
use super::stdio;
use super::words::LEFT_OUT;
use crate::cache::durations;
use crate::qemu;
use crate::recognise::Wanted;
use crate::smoke::schedule::Rules;
use crate::smoke::{Member, Report, Stop, Suite, Test, Verdict, schedule};
use crate::source::Reference;
use anyhow::{Context, Result, bail};
use clap::ArgMatches;
use clap_complete::engine::ArgValueCompleter;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Instant, SystemTime};

/// The end of the help.
const EXAMPLES: &str = "\
Examples:
  bootdisk test app.tar                                   Is it healthy, or does it end with 0?
  bootdisk test nginx.img --http / --reject 'emerg'       Does it serve?
  bootdisk test nginx.img --http-status 404:/missing      Does it refuse?
  bootdisk test nginx.oci --http / --matrix firmware=bios,uefi bus=virtio,nvme
  bootdisk test db.tar --tcp 5432 --env POSTGRES_PASSWORD=x --exec 'pg_isready -q -U postgres'
  bootdisk test --junit report.xml                        Everything in ./smoke.toml

Without any expectation the image's HEALTHCHECK is used; without one, that the workload ends with status 0. The
first machine of an image builds its disk, which is kept in the cache. A disk is never written to.

Every option under Expectations, Machine, Disk and Workload is a key of smoke.toml by its long name, in a [[test]]
and in [defaults]. What is given here goes before what the file says; what may be repeated adds to it.

A test that fails and passes when it is tried again (--retries) is flaky: every report says so, and it is a success.
--shard 2/3 makes the second of three parts: each test is in one of them. Recorded times balance the parts where
BOOTDISK_CACHE names a folder that all of them see; a run without --shard records them.

Exit status: 0 all held, 1 something did not, 124 time was up, 125 a test could not be run, none could, or the
command line is wrong, 128+N when signal N interrupted it.";

/// What the spec file is called when nothing is named.
const SPEC: &str = "smoke.toml";

/// Arguments of `bootdisk test`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Image, as for build, or a disk that build made [default: the tests in ./smoke.toml]
    #[arg(add = ArgValueCompleter::new(crate::cli::candidates::images))]
    target: Option<OsString>,
    /// Run the tests of this file
    #[arg(long, value_name = "FILE")]
    spec: Option<PathBuf>,
    /// Print a smoke.toml for an image, from what its configuration says, and boot nothing
    #[arg(long, requires = "target", conflicts_with_all = ["spec", "json", "junit", "tap", "html", "timeline", "log_dir", "dry_run"])]
    new: bool,
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    host: Host,
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    registry: registry::Pulling,
    #[command(flatten)]
    output: Output,
}

/// What this host contributes. No key of a spec file: which programs run here is not for a file to say.
#[derive(clap::Args)]
#[command(next_help_heading = "Machine")]
pub(super) struct Host {
    /// Let the guest reach services on this host's loopback addresses, as 10.0.2.2 and fec0::2
    #[arg(long)]
    pub(super) host_loopback: bool,
    /// QEMU's program [default: qemu-system-ARCH in PATH]
    #[arg(long, value_name = "PROGRAM")]
    pub(super) qemu: Option<PathBuf>,
    /// One more argument for QEMU, after ours
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    pub(super) qemu_arg: Vec<OsString>,
    /// Add a graphics card, so that a picture of a failed boot's screen is kept in --log-dir
    #[arg(long, requires = "log_dir")]
    pub(super) display: bool,
}

impl Host {
    /// As words of a command line.
    fn words(&self) -> Vec<OsString> {
        let with = |key: &str, value: &OsString| [OsString::from(key), value.clone()].into_iter().collect::<OsString>();
        let mut words = Vec::new();
        words.extend(self.host_loopback.then(|| "--host-loopback".into()));
        words.extend(self.qemu.iter().map(|qemu| with("--qemu=", &qemu.clone().into())));
        words.extend(self.qemu_arg.iter().map(|arg| with("--qemu-arg=", arg)));
        words
    }
}

/// How it is told.
#[derive(clap::Args)]
#[command(next_help_heading = "Results")]
struct Output {
    /// Print one JSON document instead of the table
    #[arg(long)]
    json: bool,
    /// Write a JUnit report too; - is standard output
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Draw who ran when in each boot, firmware to workload, as SVG; - is standard output
    #[arg(long, value_name = "FILE")]
    timeline: Option<PathBuf>,
    /// Write a TAP report (version 14) too; - is standard output
    #[arg(long, value_name = "FILE")]
    tap: Option<PathBuf>,
    /// Write a page with a timeline of each boot too; - is standard output
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Keep console and output of every machine in this folder
    #[arg(long, value_name = "DIR")]
    log_dir: Option<PathBuf>,
    /// Print QEMU's command lines and boot nothing
    #[arg(long, conflicts_with_all = ["json", "junit", "timeline", "tap", "html"])]
    dry_run: bool,
}

impl Args {
    /// What is named to be tested.
    fn target(&self) -> Result<Option<&OsString>> {
        let target = self.target.as_ref().filter(|target| *target != LEFT_OUT);
        match (target, &self.spec) {
            (Some(target), Some(_)) => Err(WithHint {
                message: format!("--spec names the tests of a file, and an image is named too: {}", shown(target)),
                hint: "omit one of them; a command for all tests of the file goes after --".into(),
            }
            .into()),
            (target, _) => Ok(target),
        }
    }
}

fn shown(target: &OsString) -> String {
    crate::escape::path(Path::new(target))
}

/// Makes the tests and prints their verdicts. `matches` is where `args` come from.
pub fn run(global: &Global, args: Args, matches: &ArgMatches) -> Result<ExitCode> {
    let (begun, clock) = (SystemTime::now(), Instant::now());
    args.registry.settle(global);
    if args.new {
        return begin(global, &args);
    }
    let absolute = |path: &Path| std::path::absolute(path);
    let log_dir = args.output.log_dir.as_deref().map(absolute).transpose()?;
    let files = Files::of(&args.output)?;
    if let Some(dir) = &log_dir {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot create {}", crate::escape::path(dir)))?;
    }
    let said = Definition::new().of_command_line(matches);
    let recorded = || env::shared_cache().map(|dir| durations::read(&dir)).unwrap_or_default();
    let (tests, share) = args.selection.of(tests(&args, &said)?, recorded)?;
    let wishes = Wishes { host: &args.host, said: &said, log_dir: log_dir.as_deref(), repeat: args.selection.repeat };
    let planned = plan::plan(global, &tests, &wishes)?;
    if args.output.dry_run {
        return dry_run(&planned);
    }
    // By now everything that is read has been opened.
    files.check()?;
    let stop = Stop::new(clock, args.selection.global_timeout);
    let reports = make(global, &planned, &args.selection, &stop);
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").ok().map(|name| name.trim().to_owned());
    let spec = tests.first().and_then(|test| Some(test.place.as_ref()?.file.clone()));
    let suite = Suite { reports, begun, took: clock.elapsed(), host, spec, share };
    remember(&suite);
    actions::tell(&suite);
    let written = files.write(&suite);
    // A verdict is told even where its report could not be written.
    files.print(&suite)?;
    written?;
    Ok(ExitCode::from(suite.status()))
}

/// Prints the first smoke.toml of an image.
fn begin(global: &Global, args: &Args) -> Result<ExitCode> {
    let Some(target) = args.target()?.filter(|target| *target != "-") else {
        return Err(WithHint {
            message: "a spec file cannot name standard input".into(),
            hint: "name the image: bootdisk test --new app.tar".into(),
        }
        .into());
    };
    let image = building::open_image(global, target, Reference::parse, &args.settings.disk, Wanted::Image)?;
    stdio::data(new::render(target, &image.config).as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// Records how long the tests of a file took. A part of them is not recorded: until every part has been split, what they
/// are split by must not change.
fn remember(suite: &Suite) {
    if suite.share.is_none()
        && suite.spec.is_some()
        && let Ok(dir) = env::cache()
    {
        durations::record(&dir, suite.seconds());
    }
}

/// The tests as they are asked for: of the command line, or of a spec file.
fn tests(args: &Args, said: &[Given]) -> Result<Vec<SpecTest>> {
    if let Some(target) = args.target()?.cloned() {
        let name = names::name_of(&target);
        if let Some(why) = args.settings.no_snapshot() {
            bail!("{why}");
        }
        return Ok(vec![SpecTest { name, target, settings: args.settings.clone(), place: None, machines: Vec::new() }]);
    }
    let path = args.spec.clone().unwrap_or_else(|| SPEC.into());
    if args.spec.is_none() && !path.exists() {
        return Err(WithHint {
            message: format!("no image, no disk, and no {SPEC} here"),
            hint: "name an image or a disk, or write smoke.toml; see bootdisk test --help".into(),
        }
        .into());
    }
    Ok(spec::read(&path, said)?)
}

/// Boots what can be booted. What cannot has its report already.
fn make(global: &Global, planned: &Planned, selection: &Selection, stop: &Stop) -> Vec<Report> {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // Without it a signal still ends each machine, and us.
        _ = signal_hook::flag::register_usize(signal, stop.signal.clone(), signal as usize);
    }
    let (tests, unmade) = planned.split();
    let tell = Tell::new(global, tests.len());
    unmade.iter().for_each(|(_, report)| tell.ended(report));
    let host = schedule::Host::this();
    let rules = Rules { jobs: selection.jobs.map(usize::from), fail_fast: selection.fail_fast };
    let made = schedule::run(&tests, host, rules, stop, &|told| tell.hear(told));
    tell.over();
    planned.in_order(made, unmade)
}

/// The command lines, each as a script that can be pasted.
fn dry_run(planned: &Planned) -> Result<ExitCode> {
    let (tests, unmade) = planned.split();
    let mut text = String::new();
    for (_, report) in &unmade {
        text.push_str(&format!("# {} {}: {}\n", report.name, report.combination, report.verdict.reasons().join("; ")));
    }
    for test in &tests {
        text.push_str(&pasted(test)?);
    }
    stdio::data(text.as_bytes())?;
    let made = unmade.iter().all(|(_, report)| !matches!(report.verdict, Verdict::Error(_)));
    Ok(ExitCode::from(if made { 0 } else { super::report::MACHINE_FAILED }))
}

/// Of several machines each by itself: what is outside QEMU, as their network, no script has.
fn pasted(test: &Test) -> Result<String> {
    if !test.members.is_empty() {
        let name = |member: &Member| format!("{}: {}", test.name, member.name);
        let one = |member: &Member| pasted(&Test { name: name(member), ..member.test.clone() });
        return test.members.iter().map(one).collect();
    }
    let name = crate::escape::escape(test.name.as_bytes());
    let boot_files = match test.machine.boot {
        qemu::Boot::Direct { .. } => Some(super::target::boot_files_at(&test.machine.disk)?),
        _ => None,
    };
    let script = qemu::paste::script(&test.machine, boot_files.as_ref())?;
    Ok(format!("# {}\n{script}", format!("{name} {}", test.combination).trim_end()))
}
