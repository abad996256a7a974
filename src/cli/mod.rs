//! The command line: arguments, progress, rendering of results and errors.
//!
//! Data goes to standard output, everything else to standard error. [`main`] is all the binary calls.

mod build;
mod cancel;
mod completions;
mod console;
mod env;
pub mod kernel;
mod options;
mod plan;
mod progress;
mod report;
mod run;
mod size;
mod summary;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Turns a container image and a Linux kernel into a disk that boots.
#[derive(Parser)]
#[command(name = "bootdisk", version, about, max_term_width = 100)]
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
    /// Manage the kernels disks are built with
    Kernel(kernel::KernelArgs),
    /// Print a shell's completions
    Completions(completions::Args),
}

/// Parses the process's arguments and does what they say.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        Command::Build(args) => report::exit(build::run(&cli.global, &args), report::FAILED),
        Command::Run(args) => report::exit(run::run(&cli.global, &args), report::MACHINE_FAILED),
        Command::Kernel(args) => report::exit(kernel::run(&args), report::FAILED),
        Command::Completions(args) => report::exit(completions::run(&args), report::FAILED),
    }
}
