//! `bootdisk stop`: ends machines as their images say, and waits for it.

use super::exec::connect;
use super::options::Global;
use super::progress::Progress;
use crate::machines::{Entry, Registry};
use crate::session::control::ControlError;
use anyhow::{Context, bail};
use clap_complete::engine::ArgValueCompleter;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The end of the help.
const EXAMPLES: &str = "\
Examples:
  bootdisk stop web
  bootdisk stop --timeout 60 db

The workload gets its image's stop signal, and SIGKILL after the timeout; then the file systems are unmounted and
the machine is switched off. An image's own init is asked to switch off, and its power button is pressed.

Exit status: 0 when all have ended, 1 otherwise.";

/// What a machine may take beyond its timeout: the session gives it 20 seconds to unmount, and kills QEMU after 3.
const MARGIN: Duration = Duration::from_secs(60);
/// The session's own patience with an image whose timeout nobody named.
const UNNAMED: u32 = 60;

/// Arguments of `bootdisk stop`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The machines' names [default: the only one that runs]
    #[arg(value_name = "MACHINE", add = ArgValueCompleter::new(super::candidates::machines))]
    machines: Vec<String>,
    /// Seconds between the stop signal and SIGKILL [default: the image's]
    #[arg(long, short, value_name = "SECONDS")]
    timeout: Option<u32>,
}

/// Asks all of them, then waits for each.
pub fn run(global: &Global, args: &Args) -> anyhow::Result<ExitCode> {
    let registry = Registry::of_user()?;
    let entries: Vec<Entry> = match args.machines.as_slice() {
        [] => vec![registry.find_running(None)?],
        names => names.iter().map(|name| registry.find_running(Some(name))).collect::<Result<_, _>>()?,
    };
    let deadline = Instant::now() + MARGIN + Duration::from_secs(args.timeout.unwrap_or(UNNAMED).into());
    let mut asked = Vec::new();
    for entry in &entries {
        let mut connection = match connect(entry, MARGIN) {
            Ok(connection) => connection,
            Err(_) if !entry.still_lives() => continue,
            Err(error) => return Err(error),
        };
        match connection.stop(args.timeout) {
            Ok(()) | Err(ControlError::Ended) => asked.push((entry, connection)),
            Err(error) => return Err(error).with_context(|| format!("cannot stop {}", entry.record.name)),
        }
    }
    let progress = Progress::new(global);
    for (entry, mut connection) in asked {
        let name = &entry.record.name;
        progress.passing(&format!("waiting for {name} to stop"));
        connection.wait_for_end(Some(deadline)).with_context(|| format!("cannot stop {name}"))?;
        // It has said good-bye; now its run ends.
        while entry.still_lives() {
            if Instant::now() >= deadline {
                bail!("the machine has ended and its output is still not read: {name}");
            }
            sleep(Duration::from_millis(20));
        }
    }
    Ok(ExitCode::SUCCESS)
}
