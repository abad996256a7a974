//! `bootdisk completions SHELL`, and the answers to a shell that completes a line.
//!
//! What is printed makes the shell ask bootdisk itself, so that kernels of the store and machines are completed as well.

use clap::{CommandFactory, ValueEnum};
use clap_complete::{CompleteEnv, env::Shells};
use std::process::ExitCode;

/// The variable in which a shell says that it asks. The crate's own is `COMPLETE`, a word that others may use.
const VARIABLE: &str = "BOOTDISK_COMPLETE";

/// Arguments of `bootdisk completions`.
#[derive(clap::Args)]
pub struct Args {
    /// Which shell
    shell: clap_complete::Shell,
}

/// Answers a shell and ends the program; does nothing when none has asked.
pub fn answer() {
    if std::env::var_os(VARIABLE).is_some() {
        CompleteEnv::with_factory(super::Cli::command).var(VARIABLE).complete();
    }
}

/// Prints on standard output what the shell is to read.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let name = args.shell.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
    let shells = Shells::builtins();
    let Some(shell) = shells.completer(&name) else {
        anyhow::bail!("no completions for this shell: {name}");
    };
    let mut text = Vec::new();
    shell.write_registration(VARIABLE, "bootdisk", "bootdisk", "bootdisk", &mut text)?;
    super::stdio::data(&text)?;
    Ok(ExitCode::SUCCESS)
}
