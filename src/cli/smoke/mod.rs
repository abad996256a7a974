//! `bootdisk test`: boots images or disks, watches them, and answers with a verdict.

mod error;
mod keys;
mod names;
mod plan;
#[cfg(test)]
mod schema;
mod settings;
pub mod spec;
mod tell;

pub use error::SpecError;

use self::keys::Definition;
use self::plan::Planned;
use self::settings::Settings;
use self::spec::SpecTest;
use self::tell::Tell;
use super::options::Global;
use super::registry;
use super::report::WithHint;
use super::stdio;
use super::words::LEFT_OUT;
use crate::publish::Document;
use crate::qemu;
use crate::smoke::{Report, Test, Verdict, report, schedule, verdict};
use anyhow::{Context, Result};
use clap::ArgMatches;
use clap_complete::engine::ArgValueCompleter;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

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
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    host: Host,
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
    /// Keep console and output of every machine in this folder
    #[arg(long, value_name = "DIR")]
    log_dir: Option<PathBuf>,
    /// Number of machines at once, at most [default: what processors and memory allow]
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// Print QEMU's command lines and boot nothing
    #[arg(long, conflicts_with_all = ["json", "junit", "timeline"])]
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
    args.registry.settle(global);
    let absolute = |path: &Path| std::path::absolute(path);
    let log_dir = args.output.log_dir.as_deref().map(absolute).transpose()?;
    let files = Files::of(&args.output)?;
    if let Some(dir) = &log_dir {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot create {}", crate::escape::path(dir)))?;
    }
    let tests = tests(&args, matches)?;
    let planned = plan::plan(global, &args.host, &tests, log_dir.as_deref())?;
    if args.output.dry_run {
        return dry_run(&planned);
    }
    // By now everything that is read has been opened.
    files.check()?;
    let reports = make(global, &planned, args.output.jobs);
    let written = files.write(&reports);
    let text = match args.output.json {
        true => report::json::render(&reports),
        false => report::table::render(&reports, super::report::may_colour(&std::io::stdout())),
    };
    // A verdict is told even where its report could not be written.
    stdio::data(text.as_bytes())?;
    written?;
    Ok(ExitCode::from(verdict::status(&reports)))
}

/// Documents that are asked for beside what is printed.
struct Files {
    junit: Option<Document>,
    timeline: Option<Document>,
}

impl Files {
    fn of(output: &Output) -> Result<Files> {
        let place = |path: &Option<PathBuf>| path.as_deref().map(report_place).transpose();
        Ok(Files { junit: place(&output.junit)?, timeline: place(&output.timeline)? })
    }

    fn check(&self) -> Result<()> {
        self.junit.iter().chain(&self.timeline).try_for_each(|document| Ok(document.check()?))
    }

    fn write(&self, reports: &[Report]) -> Result<()> {
        if let Some(junit) = &self.junit {
            junit.write(&report::junit::render(reports).context("cannot render the JUnit report")?)?;
        }
        if let Some(timeline) = &self.timeline {
            timeline.write(report::timeline::render(reports).as_bytes())?;
        }
        Ok(())
    }
}

/// Where the report goes, whatever folder this program works in by then.
fn report_place(path: &Path) -> Result<Document> {
    let path = if path == Path::new("-") { path.to_owned() } else { std::path::absolute(path)? };
    Ok(Document::at(&path)?)
}

/// The tests as they are asked for: of the command line, or of a spec file.
fn tests(args: &Args, matches: &ArgMatches) -> Result<Vec<SpecTest>> {
    if let Some(target) = args.target()?.cloned() {
        let name = names::name_of(&target);
        return Ok(vec![SpecTest { name, target, settings: args.settings.clone() }]);
    }
    let path = args.spec.clone().unwrap_or_else(|| SPEC.into());
    if args.spec.is_none() && !path.exists() {
        return Err(WithHint {
            message: format!("no image, no disk, and no {SPEC} here"),
            hint: "name an image or a disk, or write smoke.toml; see bootdisk test --help".into(),
        }
        .into());
    }
    Ok(spec::read(&path, &Definition::new().of_command_line(matches))?)
}

/// Boots what can be booted. What cannot has its report already.
fn make(global: &Global, planned: &Planned, jobs: Option<u16>) -> Vec<Report> {
    let cancelled = Arc::new(AtomicUsize::new(0));
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // Without it a signal still ends each machine, and us.
        _ = signal_hook::flag::register_usize(signal, cancelled.clone(), signal as usize);
    }
    let (tests, unmade) = planned.split();
    let tell = Tell::new(global, tests.len());
    unmade.iter().for_each(|(_, report)| tell.ended(report));
    let host = schedule::Host::this();
    let made = schedule::run(&tests, host, jobs.map(usize::from), &cancelled, &|told| tell.hear(told));
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

fn pasted(test: &Test) -> Result<String> {
    let name = crate::escape::escape(test.name.as_bytes());
    let boot_files = match test.machine.boot {
        qemu::Boot::Direct { .. } => Some(super::target::boot_files_at(&test.machine.disk)?),
        _ => None,
    };
    let script = qemu::paste::script(&test.machine, boot_files.as_ref())?;
    Ok(format!("# {}\n{script}", format!("{name} {}", test.combination).trim_end()))
}
