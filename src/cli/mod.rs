//! The command line: arguments, progress, rendering of results and errors.
//!
//! Data goes to standard output, everything else to standard error. [`main`] is all the binary calls.

mod against;
mod bases;
mod build;
mod cache;
mod cancel;
mod candidates;
mod completions;
mod console;
mod container;
mod convert;
mod cp;
mod debug;
mod detach;
mod disk_form;
mod docker;
mod document;
mod env;
mod exec;
mod export;
mod given;
mod handed;
mod health;
mod inspect;
pub mod kernel;
mod kernel_added;
mod kernel_fetch;
mod kernel_set;
mod logs;
mod machine;
mod man;
mod mounts;
mod options;
mod plan;
mod progress;
mod ps;
mod records;
mod registry;
mod report;
mod run;
mod signing;
mod size;
pub mod smoke;
mod stdio;
mod stop;
mod summary;
mod surroundings;
mod target;
mod verified;
mod volume;
mod words;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use std::ffi::OsString;
use std::process::ExitCode;

/// How the first minutes with it go.
const EXAMPLES: &str = "\
Examples:
  bootdisk kernel add linux-image-*.deb               A kernel to boot with, once
  docker save nginx | bootdisk build - -o nginx.img   Any image to a disk
  bootdisk run nginx.img -p 8080:80                   Boot it, and reach it at localhost:8080
  bootdisk run app.tar sh -c 'id; uname -a'           Build, keep in the cache, boot
  bootdisk test nginx.img --http /                    Boot it and check that it answers
  bootdisk run -d --name web nginx.img                Boot it in the background
  bootdisk exec -it web bash                          A shell in it; bootdisk stop web ends it

Exit status: 0 done, 1 failed, 2 wrong usage. For run and exec it is the process's own and for test the verdict's;
for these three 125 means that bootdisk failed or was used wrongly. See bootdisk run --help and bootdisk test --help.";

/// Turns a container image and a Linux kernel into a disk that boots.
#[derive(Parser)]
#[command(name = "bootdisk", bin_name = "bootdisk", version, about, max_term_width = 100, after_help = EXAMPLES)]
struct Cli {
    #[command(flatten)]
    global: options::Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write a bootable disk from an image
    Build(Box<build::Args>),
    /// Boot an image or a disk in QEMU; the exit status is the workload's
    Run(Box<run::Args>),
    /// Boot images or disks and check that they behave as expected
    Test(Box<smoke::Args>),
    /// Run a process in a running machine
    Exec(exec::Args),
    /// Copy files into and out of a running machine, and out of a disk
    Cp(cp::Args),
    /// List running machines
    Ps(ps::Args),
    /// Show the output of a detached machine
    Logs(logs::Args),
    /// Stop machines with their images' stop signals
    Stop(stop::Args),
    /// Show what is inside an image, a disk or a kernel
    Inspect(inspect::Args),
    /// Manage the cache: layers from registries, disks of images
    Cache(cache::CacheArgs),
    /// Write a disk in another form: raw, compressed, qcow2, VMDK, VDI, VHD, VHDX, OVA
    Convert(convert::Args),
    /// Print or write what libvirt, KubeVirt and others need to start a disk
    Export(export::Args),
    /// Manage the kernels disks are built with
    Kernel(kernel::KernelArgs),
    /// Manage volumes, which outlive machines
    Volume(volume::VolumeArgs),
    /// Print completions for a shell
    Completions(completions::Args),
    /// Write the man pages of all commands into a folder
    #[command(hide = true)]
    Man(man::Args),
}

/// Parses the process's arguments and does what they say.
pub fn main() -> ExitCode {
    completions::answer();
    crate::inputs::remember();
    let words = arranged(std::env::args_os().collect());
    let parsed = Cli::command().try_get_matches_from(&words);
    let parsed = parsed.and_then(|matches| Cli::from_arg_matches(&matches).map(|cli| (cli, matches)));
    match parsed {
        Ok((cli, matches)) => run(cli, &matches),
        Err(error) => wrong(&error, &words),
    }
}

fn arranged(words: Vec<OsString>) -> Vec<OsString> {
    let mut root = Cli::command();
    root.build();
    words::arrange(&root, words)
}

fn run(cli: Cli, matches: &clap::ArgMatches) -> ExitCode {
    let given = matches.subcommand().map_or(matches, |(_, given)| given);
    match cli.command {
        Command::Build(args) => report::exit(build::run(&cli.global, &args, given), report::FAILED),
        Command::Run(args) => report::exit(run::run(&cli.global, &args), report::MACHINE_FAILED),
        Command::Test(args) => report::exit(smoke::run(&cli.global, *args, given), report::MACHINE_FAILED),
        Command::Exec(args) => report::exit(exec::run(&args), report::MACHINE_FAILED),
        Command::Cp(args) => report::exit(cp::run(&cli.global, &args), report::FAILED),
        Command::Ps(args) => report::exit(ps::run(&args), report::FAILED),
        Command::Logs(args) => report::exit(logs::run(&args), report::FAILED),
        Command::Stop(args) => report::exit(stop::run(&cli.global, &args), report::FAILED),
        Command::Inspect(args) => report::exit(inspect::run(&cli.global, &args), args.failed()),
        Command::Cache(args) => report::exit(cache::run(&args), report::FAILED),
        Command::Convert(args) => report::exit(convert::run(&cli.global, &args), report::FAILED),
        Command::Export(args) => report::exit(export::run(&args), report::FAILED),
        Command::Kernel(args) => report::exit(kernel::run(&cli.global, &args), report::FAILED),
        Command::Volume(args) => report::exit(volume::run(&args), report::FAILED),
        Command::Completions(args) => report::exit(completions::run(&args), report::FAILED),
        Command::Man(args) => report::exit(man::run(&args), report::FAILED),
    }
}

/// Says what is wrong with words that are no command line, or what was asked for instead of one.
fn wrong(error: &clap::Error, words: &[OsString]) -> ExitCode {
    let status = status_of(error, words);
    match docker::explain(error, subcommand_of(words).as_deref()) {
        Some(explained) => report::exit(Err(explained.into()), status),
        None => report::told_by_clap(error, status),
    }
}

fn subcommand_of(words: &[OsString]) -> Option<String> {
    let asked = Cli::command().ignore_errors(true).try_get_matches_from(words).ok()?;
    asked.subcommand_name().map(str::to_owned)
}

/// The exit status for words that are no command line. A workload may end with 2 as well: where its status is ours, wrong
/// usage has the status of everything else that is not the workload's, as with `docker run`.
fn status_of(error: &clap::Error, words: &[OsString]) -> u8 {
    match (error.use_stderr(), subcommand_of(words).as_deref()) {
        (false, _) => 0,
        (true, Some("run" | "exec" | "test")) => report::MACHINE_FAILED,
        (true, _) => WRONG_USAGE,
    }
}

/// Exit status for words that are no command line.
const WRONG_USAGE: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_usage_of_what_ends_with_a_workloads_status_is_told_from_it() {
        for (line, status) in [
            ("run", 125),
            ("run x --nope", 125),
            ("run x -p 80:", 125),
            ("-q run x --cpus 0", 125),
            ("--progress plain run x --cpus 0", 125),
            ("run x --progress loud", 125),
            ("exec web --nope x", 125),
            ("exec --nope -- x", 125),
            ("test x --http nowhere", 125),
            ("test --display", 125),
            ("run --help", 0),
            ("exec -h", 0),
            ("test --help", 0),
            ("help test", 0),
            ("--version", 0),
            ("build", 2),
            ("build x -o y --size big", 2),
            ("kernel remove", 2),
            ("ps --nope", 2),
            ("--nope", 2),
            ("nope", 2),
            ("", 2),
        ] {
            let words: Vec<OsString> =
                ["bootdisk"].into_iter().chain(line.split_whitespace()).map(Into::into).collect();
            let error = Cli::command().try_get_matches_from(&words).expect_err(line);
            assert_eq!(status_of(&error, &words), status, "{line}");
        }
    }
}
