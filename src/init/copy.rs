//! Files in and out beside the workload: what `bootdisk cp` asks for, in a child that has joined its root.

use crate::copy::Copy;
use crate::copy::put::{Options, Put};
use crate::copy::record::{Writer, read};
use crate::copy::take::take;
use nix::sys::signal::{SigHandler, Signal};
use std::io::{self, BufReader, BufWriter, Write};

/// Bytes moved at once: the records' heads are small.
const BUFFER: usize = 64 << 10;

/// Copies between the standard streams and the root. The exit status; what is to be said is on standard error.
pub fn run(copy: &Copy) -> i32 {
    // Who has gone is noticed at the streams' ends, and nothing unfinished is left behind.
    for signal in [Signal::SIGHUP, Signal::SIGPIPE] {
        // SAFETY: ignoring a signal runs no code of ours.
        _ = unsafe { nix::sys::signal::signal(signal, SigHandler::SigIgn) };
    }
    let note = &mut |text: &str| say(&format!("note: {text}"));
    let done = match copy {
        Copy::Out { path, follow } => {
            let out = BufWriter::with_capacity(BUFFER, io::stdout().lock());
            take(path.as_bytes(), *follow, &mut Writer::new(out), note)
        }
        Copy::In { path } => {
            let options = Options { owners: true, trusted: true };
            let mut from = BufReader::with_capacity(BUFFER, io::stdin().lock());
            read(&mut from, &mut Put::new(path.as_bytes(), options, note))
        }
    };
    match done {
        Ok(()) => 0,
        Err(error) => {
            say(&error.to_string());
            1
        }
    }
}

/// A line for the host. Whether anybody reads it is no matter here.
fn say(line: &str) {
    _ = writeln!(io::stderr(), "{line}");
}
