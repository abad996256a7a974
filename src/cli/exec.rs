//! `bootdisk exec`: a process beside the workload of a machine that runs.

use super::env;
use super::report::WithHint;
use super::stdio::say;
use super::words::LEFT_OUT;
use crate::guest::channel::Outcome;
use crate::machines::{Entry, Registry};
use crate::qemu::RunError;
use crate::session::control::attach::{Attached, attach};
use crate::session::control::{Connection, ControlError, Exec, Phase};
use crate::session::{Streams, terminal};
use anyhow::Context;
use clap_complete::engine::ArgValueCompleter;
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The end of the help.
const EXAMPLES: &str = "\
Examples:
  bootdisk exec web cat /etc/nginx/nginx.conf
  bootdisk exec -it web bash
  bootdisk exec -i -- sh -c 'cat >/srv/data' <data     In the only running machine
  bootdisk exec --user 0 --workdir / web id

The process gets the workload's environment, user and working directory unless options change them. Without
-i its standard input is /dev/null. When this command ends first, the process gets SIGHUP.

Exit status: the process's own, 128+N when signal N ended it, 127 when the userland has no such file, 126 when it
is not executable, 125 when bootdisk or the machine failed or the command line is wrong.";

/// The machine's hello comes at once; only one that is about to start takes a moment.
pub(super) const HELLO: Duration = Duration::from_secs(60);

/// Arguments of `bootdisk exec`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The machine's name; it can be omitted before `--` if only one machine is running
    #[arg(add = ArgValueCompleter::new(super::candidates::machines))]
    machine: Option<String>,
    /// Pass standard input to the process
    #[arg(long, short)]
    interactive: bool,
    /// Give the process a terminal
    #[arg(long, short)]
    tty: bool,
    /// Set an environment variable; NAME alone takes the value it has here, or unsets it
    #[arg(long, short, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Set environment variables from a file, one per line
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// User, and group, by name or number
    #[arg(long, short, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// Working directory
    #[arg(long, short, value_name = "DIR")]
    workdir: Option<String>,
    /// Command and arguments; everything after the first word belongs to the command
    #[arg(trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<String>,
}

impl Args {
    /// The machine that is named.
    fn machine(&self) -> Option<&str> {
        self.machine.as_deref().filter(|name| *name != LEFT_OUT)
    }

    /// What is to be executed.
    fn command(&self) -> anyhow::Result<Vec<String>> {
        if !self.command.is_empty() {
            return Ok(self.command.clone());
        }
        let machine = self.machine().map_or("NAME".into(), |name| crate::escape::escape(name.as_bytes()));
        Err(WithHint {
            message: format!("no command to run in {machine}"),
            hint: format!(
                "bootdisk exec {machine} COMMAND, or bootdisk exec -- COMMAND if only one machine is running"
            ),
        }
        .into())
    }
}

/// Runs the process and returns its exit status.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let command = args.command()?;
    let streams = Streams::inherited().context("cannot use the standard streams")?;
    if args.tty && args.interactive && !terminal::is_terminal(streams.stdin.as_fd()) {
        return Err(RunError::NotATerminal.into());
    }
    let described = if args.interactive { &streams.stdin } else { &streams.stdout };
    let exec = Exec {
        command,
        env: env::collect(&args.env_file, &args.env)?,
        user: args.user.clone(),
        working_dir: args.workdir.clone(),
        terminal: args.tty.then(|| terminal::describe(described)),
        stdin: args.interactive,
        copy: None,
    };
    let entry = Registry::of_user()?.find_running(args.machine())?;
    let connection = connect(&entry, HELLO)?;
    if connection.state().phase == Phase::Booting && std::io::stderr().is_terminal() {
        let state = connection.state().name();
        say(&format!("note: {} is {state}; the process starts after its workload\n", entry.record.name));
    }
    let attached = attach(connection, exec, streams).with_context(|| format!("in {}", entry.record.name))?;
    Ok(ExitCode::from(match attached {
        Attached::Ended(outcome) => {
            explain(&outcome, &entry.record.name);
            outcome.status()
        }
        Attached::Lost(reason) => {
            anyhow::bail!("the output of a process in {} is incomplete: {reason}", entry.record.name)
        }
        Attached::Left(signal) => 128u8.saturating_add(signal as u8),
    }))
}

/// Connects to a machine's control socket.
pub fn connect(entry: &Entry, patience: Duration) -> anyhow::Result<Connection> {
    let socket = entry.dial()?;
    Connection::over(socket, Some(Instant::now() + patience)).map_err(|error| match error {
        ControlError::Ended => crate::machines::MachineError::Ended(entry.record.name.clone()).into(),
        other => anyhow::Error::from(other).context(format!("cannot speak to {}", entry.record.name)),
    })
}

/// Why the process never was.
fn explain(outcome: &Outcome, machine: &str) {
    let Outcome::NotStarted { status, reason } = outcome else { return };
    let reason = crate::escape::escape(reason.as_bytes());
    match status {
        127 => say(&format!(
            "error: no such file in this userland: {reason}\nhint: {machine} has the files of its image and nothing else\n"
        )),
        _ => say(&format!("error: {reason}\n")),
    }
}
