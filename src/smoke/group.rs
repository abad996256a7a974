//! Several machines in one test: started in their order, on a network of their own, ended together.
//!
//! ```text
//!  thread of db  ── starts ─────────────▶ drive ─▶ board of db ◀──┐ holds what `app` waits for?
//!  thread of app ── waits ── starts ────▶ drive ─▶ board of app   │
//!        └──────────────────────────────────────────────────────-─┘
//!  company: everybody holds, or one has failed, or time is up: over for all
//! ```

use super::board::Board;
use super::caught::caught;
use super::company::{Company, End};
use super::drive::{self, Drive, Membership, Watched};
use super::gather::gather;
use super::log::{Lost, machine_name};
use super::stop::Stop;
use super::test::{After, Member, Test};
use super::together::Together;
use super::verdict::{Report, Verdict};
use crate::escape::os_error;
use crate::qemu::Wire;
use crate::switch::{Switch, card};
use std::io;
use std::sync::Arc;
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

/// Between two looks at whether a machine may start.
const PAUSE: Duration = Duration::from_millis(50);

/// Makes a test, of one machine or of several, and returns when nothing is left of them.
pub fn drive(test: &Test, stop: &Stop) -> Report {
    if test.members.is_empty() {
        return drive::drive(test, stop);
    }
    drive::again_without_port(|| match Group::new(test) {
        Ok(group) => group.run(stop),
        Err(error) => test.unmade(Verdict::Error(error)),
    })
}

struct Group<'a> {
    test: &'a Test,
    /// Each with the logs' names that this try has.
    members: Vec<Member>,
    company: Company,
    together: Option<Together>,
    lost: Lost,
    wires: Vec<Wire>,
    /// Frames are passed on as long as it lives.
    _switch: Switch,
}

impl Group<'_> {
    fn new(test: &Test) -> Result<Group<'_>, String> {
        let count = test.members.len();
        let (switch, plugs) =
            Switch::start(count).map_err(|error| format!("cannot make a network: {}", os_error(&error)))?;
        let wire = |(number, socket)| Wire { socket: Arc::new(socket), mac: card(number).mac };
        let (company, lost) = (Company::new(count), Lost::default());
        let width = test.members.iter().map(|member| member.name.chars().count()).max().unwrap_or_default();
        let log = |path| Together::create(path, &lost, company.begun, width).map_err(|error| error.to_string());
        let path = test.logs().map(|mut path| {
            path.as_mut_os_string().push(".machines.log");
            path
        });
        let together = path.as_deref().map(log).transpose()?;
        let members = test.members.iter().map(|member| {
            let log_name = machine_name(&test.log_name, &member.name);
            Member { test: Test { log_name, ..member.test.clone() }, ..member.clone() }
        });
        let wires = plugs.into_iter().enumerate().map(wire).collect();
        Ok(Group { test, members: members.collect(), company, together, lost, wires, _switch: switch })
    }

    fn run(&self, stop: &Stop) -> Report {
        let boards: Vec<Board> =
            self.members.iter().map(|member| Board::among_others(member.test.expected().0)).collect();
        let watched: Vec<Result<Watched, String>> = thread::scope(|scope| {
            let start = |number: usize| {
                let boards = &boards;
                let work = move || self.member(number, boards, stop);
                thread::Builder::new().spawn_scoped(scope, work).map_err(|error| self.no_thread(number, &error))
            };
            let threads: Vec<_> = (0..boards.len()).map(start).collect();
            let ended = |thread: Result<ScopedJoinHandle<'_, Result<Watched, String>>, String>| {
                thread.and_then(|thread| thread.join().unwrap_or_else(|_| Err("its thread ended early".into())))
            };
            threads.into_iter().map(ended).collect()
        });
        let reports = self.members.iter().zip(boards).zip(watched).map(|((member, board), watched)| {
            let begun = board.since(self.company.begun);
            let report = match watched {
                Ok(watched) => watched.report(&member.test, board.into_state()),
                Err(error) => member.test.unmade(Verdict::Error(error)),
            };
            Report { since: begun, ..report }
        });
        let blamed = match self.company.end() {
            Some(End::Failed(number)) => Some(number),
            _ => None,
        };
        let report = gather(self.test, blamed, reports.collect());
        Report { elapsed: self.company.begun.elapsed(), lost: report.lost.or(self.lost.sentence()), ..report }
    }

    fn no_thread(&self, number: usize, error: &io::Error) -> String {
        self.company.ends(End::Failed(number));
        format!("cannot start a thread: {}", os_error(error))
    }

    /// The whole life of one machine, from waiting for its turn to its end. A panic in it is the end for all.
    fn member(&self, number: usize, boards: &[Board], stop: &Stop) -> Result<Watched, String> {
        let member = &self.members[number];
        let membership = Membership {
            company: &self.company,
            number,
            wire: self.wires[number].clone(),
            together: self.together.as_ref(),
        };
        let life = || match self.wait_for_turn(member, boards, stop) {
            None => Drive::new(&member.test, Some(membership)).watch_on(&boards[number], stop),
            Some(verdict) => Watched::new(verdict),
        };
        caught(life).inspect_err(|_| self.company.ends(End::Failed(number)))
    }

    /// Waits for what this machine comes after; a verdict when that is in vain.
    fn wait_for_turn(&self, member: &Member, boards: &[Board], stop: &Stop) -> Option<Verdict> {
        loop {
            let missing = member.after.iter().find(|after| !boards[after.machine].has_held(after.expectation));
            let over = self.company.end().is_some();
            match missing {
                None if !over => return None,
                _ if over => return Some(Verdict::Skipped(self.not_started(missing))),
                _ => {}
            }
            if let Some(verdict @ Verdict::Interrupted(_)) = stop.during(Vec::new) {
                self.company.ends(End::Stopped);
                return Some(verdict);
            }
            if stop.during(Vec::new).is_some() || self.company.begun.elapsed() >= self.test.timeout {
                self.company.ends(End::Stopped);
            }
            self.company.wait(PAUSE);
        }
    }

    fn not_started(&self, missing: Option<&After>) -> String {
        match missing {
            None => "not started: the test was over".into(),
            Some(after) => {
                let member = &self.members[after.machine];
                let expectation = member.test.expected().0.get(after.expectation).map(ToString::to_string);
                format!("not started: it waits for {}: {}", member.name, expectation.unwrap_or_default())
            }
        }
    }
}
