//! `bootdisk logs`: the output of a detached machine, each stream to its own.

use super::stdio;
use crate::machines::Registry;
use crate::machines::log::{Reader, Stream};
use clap_complete::engine::ArgValueCompleter;
use std::io::Write;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

/// The end of the help.
const EXAMPLES: &str = "\
Examples:
  bootdisk logs web
  bootdisk logs -f web 2>errors

The workload's standard output goes to standard output; its standard error, and what bootdisk says of the machine,
to standard error. The last 4 to 8 MiB are kept, also after the machine's end, until its name is used again, eight
others have ended, or the host is restarted.";

/// How often a log that grows is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Arguments of `bootdisk logs`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The machine's name [default: the only detached one]
    #[arg(add = ArgValueCompleter::new(super::candidates::machines))]
    machine: Option<String>,
    /// Follow the output until the machine ends
    #[arg(long, short)]
    follow: bool,
}

/// Shows it.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let entry = Registry::of_user()?.find_detached(args.machine.as_deref())?;
    let mut reader = Reader::open(entry.dir());
    let (mut out, mut err) = (stdio::stdout(), stdio::stderr());
    loop {
        // What was written before its end is there afterwards.
        let lives = args.follow && entry.still_lives();
        while let Some((stream, bytes)) = reader.next_record()? {
            match stream {
                Stream::Stdout => out.write_all(&bytes)?,
                Stream::Stderr => err.write_all(&bytes)?,
            }
        }
        out.flush()?;
        if !lives {
            return Ok(ExitCode::SUCCESS);
        }
        sleep(LOOK);
    }
}
