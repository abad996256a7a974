//! Shells of the image's on the machine's consoles, for people at a machine that no host drives.
//!
//! Whoever sees a console of such a machine is root there: it was asked for when the disk was built. The shells run beside
//! the workload, as `exec` would start them, and end with it. A shell that has ended comes back.

use super::consoles;
use crate::guest::spec::{Process, SHELL};
use std::time::{Duration, Instant};

/// Between two starts on one console: a shell that cannot run does not keep the machine busy.
const PAUSE: Duration = Duration::from_secs(1);
/// Numbers from here on are no host's.
const FIRST: u32 = 0x2000_0000;

/// All of them.
#[derive(Debug, Default)]
pub struct Logins(Vec<Login>);

/// A console.
#[derive(Clone, Debug)]
pub struct Login {
    /// Its name in /dev.
    pub console: String,
    /// The number of its process.
    pub number: u32,
    /// When the next shell may start.
    again: Instant,
}

impl Logins {
    /// One for each console of this machine.
    pub fn here() -> Logins {
        let again = Instant::now();
        let login = |(number, console)| Login { console, number, again };
        Logins((FIRST..).zip(consoles::for_people()).map(login).collect())
    }

    /// Those without a shell, by `runs`, that may have one now. Their next turn is after the pause.
    pub fn due(&mut self, runs: &dyn Fn(u32) -> bool) -> Vec<Login> {
        let now = Instant::now();
        let due = |login: &&mut Login| login.again <= now && !runs(login.number);
        let started = |login: &mut Login| {
            login.again = now + PAUSE;
            login.clone()
        };
        self.0.iter_mut().filter(due).map(started).collect()
    }

    /// When the next one is due.
    pub fn deadline(&self, runs: &dyn Fn(u32) -> bool) -> Option<Instant> {
        self.0.iter().filter(|login| !runs(login.number)).map(|login| login.again).min()
    }
}

/// The shell, as root, with what else a process beside the workload has.
pub fn shell() -> Process {
    Process { cmd: vec![SHELL.to_owned()], user: "0:0".to_owned(), working_dir: "/".to_owned(), ..Process::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_comes_back_after_a_pause_and_never_twice_at_once() {
        let login = |console: &str, number| Login { console: console.into(), number, again: Instant::now() };
        let mut logins = Logins(vec![login("tty1", FIRST), login("ttyS0", FIRST + 1)]);
        let first_runs = |number| number == FIRST;
        let names = |due: Vec<Login>| due.into_iter().map(|login| login.console).collect::<Vec<_>>();
        assert_eq!(names(logins.due(&first_runs)), ["ttyS0"]);
        // It has ended at once.
        assert_eq!(names(logins.due(&first_runs)), [""; 0]);
        let next = logins.deadline(&first_runs).unwrap();
        assert!(next > Instant::now() && next <= Instant::now() + PAUSE);
        assert_eq!(logins.deadline(&|_| true), None);
        logins.0[1].again = Instant::now();
        assert_eq!(names(logins.due(&|_| false)), ["tty1", "ttyS0"]);
    }
}
