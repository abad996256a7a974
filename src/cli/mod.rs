//! The command line: arguments, progress, rendering of results and errors.
//!
//! Data goes to standard output, everything else to standard error. [`main`] is all the binary calls.

mod build;
mod cancel;
mod completions;
mod console;
mod detach;
mod env;
mod exec;
mod inspect;
pub mod kernel;
mod kernel_set;
mod logs;
mod machine;
mod options;
mod plan;
mod progress;
mod ps;
mod report;
mod run;
mod size;
mod smoke;
mod smoke_plan;
mod stdio;
mod stop;
mod summary;
mod target;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// How the first minutes with it go.
const EXAMPLES: &str = "\
Examples:
  bootdisk kernel add linux-image-*.deb               A kernel to boot with, once
  docker save nginx | bootdisk build - -o nginx.img   Any image to a disk
  bootdisk run nginx.img -p 8080:80                   Boot it, and reach it at localhost:8080
  bootdisk run app.tar -- sh -c 'id; uname -a'        Build, keep in the cache, boot
  bootdisk test nginx.img --http /                    Boot it, ask it, and say whether it answered
  bootdisk run -d --name web nginx.img                Boot it in the background
  bootdisk exec -it web -- bash                       A shell in it; bootdisk stop web ends it

Exit status: 0 done, 1 failed, 2 wrong usage; for run and exec the process's own, see bootdisk run --help.";

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
    Build(build::Args),
    /// Boot an image or a disk in QEMU; the exit status is the workload's
    Run(run::Args),
    /// Boot images or disks, check what they do, and say whether it held
    Test(Box<smoke::Args>),
    /// Run a process in a machine that runs
    Exec(exec::Args),
    /// List the machines that run
    Ps(ps::Args),
    /// Show the output of a detached machine
    Logs(logs::Args),
    /// Stop machines as their images say
    Stop(stop::Args),
    /// Say what is inside an image, a disk or a kernel
    Inspect(inspect::Args),
    /// Manage the kernels disks are built with
    Kernel(kernel::KernelArgs),
    /// Print a shell's completions
    Completions(completions::Args),
}

/// Parses the process's arguments and does what they say.
pub fn main() -> ExitCode {
    crate::inputs::remember();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return report::told_by_clap(&error),
    };
    match cli.command {
        Command::Build(args) => report::exit(build::run(&cli.global, &args), report::FAILED),
        Command::Run(args) => report::exit(run::run(&cli.global, &args), report::MACHINE_FAILED),
        Command::Test(args) => report::exit(smoke::run(&cli.global, *args), report::MACHINE_FAILED),
        Command::Exec(args) => report::exit(exec::run(&args), report::MACHINE_FAILED),
        Command::Ps(args) => report::exit(ps::run(&args), report::FAILED),
        Command::Logs(args) => report::exit(logs::run(&args), report::FAILED),
        Command::Stop(args) => report::exit(stop::run(&args), report::FAILED),
        Command::Inspect(args) => report::exit(inspect::run(&cli.global, &args), report::FAILED),
        Command::Kernel(args) => report::exit(kernel::run(&cli.global, &args), report::FAILED),
        Command::Completions(args) => report::exit(completions::run(&args), report::FAILED),
    }
}
