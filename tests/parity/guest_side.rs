//! Our side: one machine, many processes beside its workload.

use super::guest::{Boot, Disk, Session, spec};
use super::runtime::HOSTNAME;
use super::scenario::{Row, Seen, row};
use bootdisk::guest::channel::{Exec, Frame, Kind, Outcome, Terminal, stdout_of};
use bootdisk::guest::spec::BootSpec;

/// A specification as every machine here has it.
pub fn machine(workload: &[&str]) -> BootSpec {
    let mut spec = spec(workload);
    spec.hostname = Some(HOSTNAME.to_owned());
    spec
}

/// The terminal of a scenario that has one.
pub fn terminal() -> Terminal {
    Terminal { term: "xterm".into(), rows: 24, cols: 80 }
}

/// Boots until the workload, `/probe signal`, is up.
pub fn up(spec: BootSpec, disk: &Disk) -> Session {
    let mut session = Boot::new(spec, disk).start();
    session.until("the workload", |session| session.stdout() == "ready\n");
    if !nix::unistd::geteuid().is_root() {
        // mke2fs gave the files to whoever runs the tests.
        let everything = "chown -hR 0:0 $(ls -A / | grep -v -x -e proc -e sys -e dev) 2>/dev/null; true";
        let number = u32::MAX / 8;
        assert_eq!(run(&mut session, number, &row("owners").sh(everything)), Seen::Ended(0, String::new()));
    }
    session
}

/// Runs a scenario's process beside the workload.
pub fn run(session: &mut Session, number: u32, row: &Row) -> Seen {
    let exec = Exec {
        process: number,
        what: row.process(),
        terminal: row.terminal.then(terminal),
        stdin: row.stdin.is_some(),
        copy: None,
    };
    session.send(Frame::control(Kind::Exec, &exec));
    if let Some(text) = row.stdin {
        session.input(number, text.as_bytes());
        session.end_input(number);
    }
    session.until(row.name, |session| session.ended.contains_key(&number));
    seen(&session.ended[&number].outcome, session.text(stdout_of(number)))
}

/// An outcome in the scenarios' terms.
pub fn seen(outcome: &Outcome, output: String) -> Seen {
    match outcome {
        Outcome::NotStarted { status, reason } => Seen::Refused(*status, reason.clone()),
        other => Seen::Ended(other.status(), output),
    }
}
