//! A test: a machine, what must hold of it, and what follows where little was said.

use super::board::Board;
use super::expect::{Expectation, Http};
use super::matrix::Combination;
use super::snapshots::Start;
use super::verdict::{Place, Report, Verdict};
use crate::guest::channel::Overrides;
use crate::guest::spec::Healthcheck;
use crate::qemu::MachineOptions;
use crate::session::Schedule;
use crate::sharing::{Handed, Source, Wanted};
use std::path::PathBuf;
use std::time::Duration;

/// Ports that are asked for a page.
const WEB: [u16; 6] = [80, 3000, 5000, 8000, 8080, 8888];

/// A test of one machine.
#[derive(Clone, Debug)]
pub struct Test {
    /// For reports.
    pub name: String,
    /// For reports.
    pub combination: Combination,
    /// The machine; ports for the checks are added to its forwards.
    pub machine: MachineOptions,
    /// What differs from the disk's boot specification.
    pub overrides: Overrides,
    /// Folders of this host and volumes.
    pub mounts: Vec<Wanted>,
    /// What the machine is handed at its start.
    pub handed: Handed,
    /// What must hold. Without any, health or status 0 is taken for it.
    pub expectations: Vec<Expectation>,
    /// The health check, with what was asked of it.
    pub healthcheck: Option<Healthcheck>,
    /// TCP ports the image exposes.
    pub exposed: Vec<u16>,
    /// Where it starts, if that is not a boot.
    pub snapshot: Option<Start>,
    /// For everything.
    pub timeout: Duration,
    /// For the first byte of the console, or PID 1.
    pub boot_timeout: Duration,
    /// The command that makes this test again, for a shell.
    pub again: Option<String>,
    /// Where the spec file has it.
    pub place: Option<Place>,
    /// How often it is tried again when it fails.
    pub retries: u8,
    /// Where the logs go, if anywhere: a folder that exists.
    pub log_dir: Option<PathBuf>,
    /// What their names begin with; no other test's do.
    pub log_name: String,
    /// Its machines, where there are several. What is said of `machine` above then means nothing.
    pub members: Vec<Member>,
}

/// A machine among others of one test.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its name: on the network of the others, and in reports.
    pub name: String,
    /// The machine and what must hold of it, something at least.
    pub test: Test,
    /// What must have held before it starts.
    pub after: Vec<After>,
}

/// An expectation of another machine, by the numbers of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct After {
    /// Which machine.
    pub machine: usize,
    /// Which of its expectations.
    pub expectation: usize,
}

impl Test {
    /// A test of this machine that expects nothing in particular.
    #[cfg(test)]
    pub fn of(machine: MachineOptions) -> Test {
        Test {
            name: "test".into(),
            combination: Combination::default(),
            machine,
            overrides: Overrides::default(),
            mounts: Vec::new(),
            handed: Handed::default(),
            expectations: Vec::new(),
            healthcheck: None,
            exposed: Vec::new(),
            snapshot: None,
            timeout: Duration::from_secs(120),
            boot_timeout: Duration::from_secs(60),
            again: None,
            place: None,
            retries: 0,
            log_dir: None,
            log_name: "test".into(),
            members: Vec::new(),
        }
    }

    /// The test of each machine: itself, where there is one.
    pub fn machines(&self) -> impl Iterator<Item = &Test> {
        let own = self.members.is_empty().then_some(self);
        own.into_iter().chain(self.members.iter().map(|member| &member.test))
    }

    /// Whether the image has a health check that asks something.
    pub fn has_health(&self) -> bool {
        self.health().is_some()
    }

    /// What must hold, and why if nothing was said.
    pub(super) fn expected(&self) -> (Vec<Expectation>, Option<&'static str>) {
        if self.expectations.iter().any(Expectation::is_positive) {
            return (self.expectations.clone(), None);
        }
        let (expectation, why) = match self.health() {
            Some(_) => (Expectation::Healthy, "the default: no expectation given, and the image has a HEALTHCHECK"),
            None => (Expectation::ExitCode(0), "the default: no expectation given, no HEALTHCHECK in the image"),
        };
        (self.expectations.iter().cloned().chain([expectation]).collect(), Some(why))
    }

    /// What a service is asked, where nothing was said and so its end is waited for.
    pub fn question(&self) -> Option<String> {
        let waits_for_the_end =
            matches!(self.expected(), (list, Some(_)) if matches!(list.last(), Some(Expectation::ExitCode(_))));
        let port = self.exposed.iter().copied().min_by_key(|port| (!WEB.contains(port), *port))?;
        let ask = match port {
            80 => "--http /".to_owned(),
            port if WEB.contains(&port) => format!("--http :{port}/"),
            port => format!("--tcp {port}"),
        };
        waits_for_the_end.then(|| format!("the image exposes port {port}, a service does not end by itself: {ask}"))
    }

    /// What may help where a test ended like this.
    pub(super) fn hint(&self, verdict: &Verdict) -> Option<String> {
        match verdict {
            Verdict::Timeout { .. } | Verdict::Failed(_) => self.question(),
            // An emulated boot on a busy host takes many times as long as one that has a processor to itself.
            Verdict::Silent(after) => Some(format!(
                "if this host is busy or slow, give it more time: --boot-timeout {}s",
                (*after * 3).as_secs().max(1)
            )),
            _ => None,
        }
    }

    /// What the names of its logs begin with, the folder included.
    pub(super) fn logs(&self) -> Option<PathBuf> {
        Some(self.log_dir.as_ref()?.join(&self.log_name))
    }

    /// The volumes that it has for itself while it runs.
    pub fn volumes(&self) -> impl Iterator<Item = &str> {
        self.machines().flat_map(|test| &test.mounts).filter_map(|wanted| match &wanted.source {
            Source::Volume(_, name, _) => Some(name.as_str()),
            _ => None,
        })
    }

    pub(super) fn health(&self) -> Option<Schedule> {
        self.healthcheck.as_ref().and_then(Schedule::of)
    }

    pub(super) fn http_port(&self, http: &Http) -> u16 {
        match (http.port, &self.exposed[..]) {
            (Some(port), _) => port,
            (None, &[port]) => port,
            (None, _) => 80,
        }
    }

    /// Which port was taken where none was said and the image exposes several, or none.
    pub(super) fn assumed_port(&self, http: &Http) -> Option<String> {
        let exposed = match &self.exposed[..] {
            _ if http.port.is_some() => return None,
            [] => "no port".to_owned(),
            [_] => return None,
            several => several.iter().map(u16::to_string).collect::<Vec<_>>().join(", "),
        };
        let port = self.http_port(http);
        Some(format!("port {port} was asked, as none was given and the image exposes {exposed}"))
    }

    /// A report of a test that was not made.
    pub fn unmade(&self, verdict: Verdict) -> Report {
        let (expectations, assumed) = self.expected();
        let of_machine = |member: &Member| {
            let report = member.test.unmade(Verdict::Passed);
            report.expectations.into_iter().map(|one| one.of(&member.name)).collect::<Vec<_>>()
        };
        let (expectations, assumed) = match self.members.is_empty() {
            true => (Board::new(expectations).into_state().held(), assumed),
            false => (self.members.iter().flat_map(of_machine).collect(), None),
        };
        Report {
            name: self.name.clone(),
            combination: self.combination.clone(),
            expectations,
            assumed,
            verdict,
            phases: Default::default(),
            last_lines: Vec::new(),
            hint: None,
            elapsed: Duration::ZERO,
            screen: None,
            lost: None,
            accel: None,
            snapshot: None,
            again: self.again.clone(),
            place: self.place.clone(),
            logs: None,
            before: Vec::new(),
            since: Duration::ZERO,
            machines: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::Architecture;

    #[test]
    fn a_service_that_nothing_is_asked_of_is_better_asked_something() {
        let of = |exposed: &[u16], expectations: Vec<Expectation>| {
            let machine = MachineOptions::new(Architecture::X86_64, PathBuf::new());
            Test { exposed: exposed.to_vec(), expectations, ..Test::of(machine) }.question()
        };
        for (exposed, asks) in [
            (&[80][..], Some(": --http /")),
            (&[443, 80], Some(": --http /")),
            (&[22, 8080], Some(": --http :8080/")),
            (&[5432], Some(": --tcp 5432")),
            (&[], None),
        ] {
            let said = of(exposed, vec![]);
            assert_eq!(said.is_some(), asks.is_some(), "{exposed:?}");
            assert!(asks.is_none_or(|asks| said.unwrap().ends_with(asks)), "{exposed:?}");
        }
        assert_eq!(of(&[80], vec![Expectation::ExitCode(0)]), None);
    }

    #[test]
    fn a_machine_that_said_nothing_may_need_more_time() {
        let machine = MachineOptions::new(Architecture::X86_64, PathBuf::new());
        let test = Test { exposed: vec![80], ..Test::of(machine) };
        let hint = |verdict| test.hint(&verdict);
        assert!(hint(Verdict::Silent(Duration::from_secs(60))).unwrap().ends_with(": --boot-timeout 180s"));
        assert!(hint(Verdict::Timeout { after: Duration::ZERO, unmet: vec![] }).unwrap().ends_with("--http /"));
        assert_eq!(hint(Verdict::Panic(String::new())), None);
    }
}
