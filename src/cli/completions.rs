//! `bootdisk completions SHELL`.

use clap::CommandFactory;
use clap_complete::Shell;
use std::process::ExitCode;

/// Arguments of `bootdisk completions`.
#[derive(clap::Args)]
pub struct Args {
    /// Which shell
    shell: Shell,
}

/// Prints the completions on standard output.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut super::Cli::command(), "bootdisk", &mut text);
    super::stdio::data(&text)?;
    Ok(ExitCode::SUCCESS)
}
