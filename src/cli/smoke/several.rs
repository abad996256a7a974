//! Several machines of one test: what each is told of the others, and the test that they are together.

use super::machines::SpecAfter;
use super::spec::SpecMachine;
use crate::guest::channel::Overrides;
use crate::guest::surroundings::HostName;
use crate::qemu::Reach;
use crate::smoke::{After, Expectation, Member, Report, Test, Verdict};
use crate::switch;
use anyhow::Result;

const NOTHING: &str = "nothing is expected of any machine, say of one what must hold: http, exec, expect, …";

/// What differs from a machine's disk: its card on the network of all, their names, and its own as its host name.
pub fn overrides(machines: &[SpecMachine], number: usize) -> Result<Overrides> {
    let machine = &machines[number].test;
    let mut overrides = machine.settings.process.overrides()?;
    overrides.hostname.get_or_insert_with(|| machine.name.clone());
    overrides.cards.push(switch::card(number));
    let name = |(number, machine): (usize, &SpecMachine)| HostName {
        name: machine.test.name.clone(),
        address: switch::card(number).address.into(),
    };
    overrides.surroundings.hosts.extend(machines.iter().enumerate().map(name));
    Ok(overrides)
}

/// One test of all machines, or the report where one of them cannot be had: `whole` is what is said of all, `parts` are
/// the machines as tests of their own.
pub fn together(
    whole: Test,
    machines: &[SpecMachine],
    parts: Vec<Result<Test, Box<Report>>>,
) -> Result<Test, Box<Report>> {
    let whole = Test { expectations: Vec::new(), ..whole };
    let mut tests = Vec::new();
    for (machine, part) in machines.iter().zip(parts) {
        tests.push(part.map_err(|report| Box::new(unmade(&whole, &machine.test.name, *report)))?);
    }
    let after = join(machines, &mut tests);
    let members = machines.iter().zip(tests).zip(after).map(|((machine, mut test), after)| {
        if !machine.outside {
            test.machine.reach = Reach::Nothing;
        }
        let test = Test { timeout: whole.timeout, again: None, ..test };
        Member { name: test.name.clone(), test, after }
    });
    let test = Test { members: members.collect(), ..whole };
    match refusal(&test) {
        None => Ok(test),
        Some(why) => Err(Box::new(test.unmade(Verdict::Error(why)))),
    }
}

/// Gives every machine what is waited for in it, and something at least; where each is found that is waited for.
fn join(machines: &[SpecMachine], tests: &mut [Test]) -> Vec<Vec<After>> {
    let mut all = Vec::new();
    for machine in machines {
        let one = |after: &SpecAfter| {
            let test = &mut tests[after.machine];
            let wanted = match &after.command {
                Some(exec) => Expectation::Exec(exec.clone()),
                None => readiness(test),
            };
            After { machine: after.machine, expectation: place(test, wanted) }
        };
        all.push(machine.after.iter().map(one).collect());
    }
    for test in tests {
        if !test.expectations.iter().any(Expectation::is_positive) {
            let readiness = readiness(test);
            test.expectations.push(readiness);
        }
    }
    all
}

/// What a machine has to have done before others can use it.
fn readiness(test: &Test) -> Expectation {
    let status = test.expectations.iter().find(|one| matches!(one, Expectation::ExitCode(_)));
    match status {
        // A job, whose image may have a health check for another command.
        Some(status) => status.clone(),
        None if test.has_health() => Expectation::Healthy,
        None => Expectation::Started,
    }
}

/// Where the expectation is among the machine's, which gets it if it has not.
fn place(test: &mut Test, wanted: Expectation) -> usize {
    let shown = wanted.to_string();
    let known = test.expectations.iter().position(|one| one.to_string() == shown);
    known.unwrap_or_else(|| {
        test.expectations.push(wanted);
        test.expectations.len() - 1
    })
}

/// Why such a test is not made.
fn refusal(test: &Test) -> Option<String> {
    let says = |one: &Expectation| one.is_positive() && !matches!(one, Expectation::Started);
    if !test.members.iter().any(|member| member.test.expectations.iter().any(says)) {
        return Some(NOTHING.into());
    }
    for (number, member) in test.members.iter().enumerate() {
        for volume in member.test.volumes() {
            let same = |other: &&Member| other.test.volumes().any(|name| name == volume);
            if let Some(other) = test.members[..number].iter().find(same) {
                let (volume, name) = (crate::escape::escape(volume.as_bytes()), &member.name);
                return Some(format!(
                    "{} and {name} have one volume, which one machine has at a time: {volume}",
                    other.name
                ));
            }
        }
    }
    None
}

fn unmade(whole: &Test, machine: &str, report: Report) -> Report {
    let verdict = match report.verdict {
        Verdict::Skipped(why) => Verdict::Skipped(format!("{machine}: {why}")),
        other => Verdict::Error(format!("{machine}: {}", other.reasons().join("; "))),
    };
    let expectations = report.expectations.into_iter().map(|held| held.of(machine)).collect();
    Report { expectations, assumed: None, ..whole.unmade(verdict) }
}

#[cfg(test)]
mod tests {
    use super::super::spec;
    use super::*;
    use crate::arch::Architecture;
    use crate::guest::spec::Healthcheck;
    use crate::qemu::MachineOptions;
    use std::time::Duration;

    /// The machines of a file's test, as tests that could be made.
    fn planned(machines: &str, healthy: &[&str]) -> (Vec<SpecMachine>, Vec<Test>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("smoke.toml");
        std::fs::write(&path, format!("[[test]]\nname = 't'\n{machines}")).unwrap();
        let machines = spec::read(&path, &[]).unwrap().remove(0).machines;
        let health: Healthcheck = serde_json::from_str(r#"{"test": ["CMD", "true"]}"#).unwrap();
        let test = |machine: &SpecMachine| Test {
            name: machine.test.name.clone(),
            expectations: machine.test.settings.expectations.all(),
            healthcheck: healthy.contains(&&*machine.test.name).then(|| health.clone()),
            timeout: Duration::from_secs(1),
            ..base()
        };
        let tests = machines.iter().map(test).collect();
        (machines, tests)
    }

    fn base() -> Test {
        Test::of(MachineOptions::new(Architecture::X86_64, Default::default()))
    }

    fn joined(machines: &str, healthy: &[&str]) -> Result<Test, Box<Report>> {
        let (machines, tests) = planned(machines, healthy);
        together(Test { timeout: Duration::from_secs(9), ..base() }, &machines, tests.into_iter().map(Ok).collect())
    }

    fn shown(member: &Member) -> Vec<String> {
        member.test.expectations.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn who_is_waited_for_is_expected_to_come_so_far() {
        let db = "[[test.machine]]\nimage = 'db'\n";
        let app = |after: &str| format!("[[test.machine]]\nimage = 'app'\nhttp = '/'\nafter = {after}\n");
        for (text, healthy, expected, after) in [
            (format!("{db}{}", app("'db'")), &["db"][..], &["healthy"][..], &[0][..]),
            (format!("{db}{}", app("'db'")), &[], &["started"], &[0]),
            (format!("{db}exit-code = 0\n{}", app("'db'")), &["db"], &["exit-code 0"], &[0]),
            (format!("{db}tcp = 5432\n{}", app("'db'")), &["db"], &["tcp 5432", "healthy"], &[1]),
            (
                format!("{db}exec = 'a b'\n{}", app("['db:a b', 'db:c', 'db']")),
                &[],
                &["exec a b", "exec c", "started"],
                &[0, 1, 2],
            ),
            (format!("{db}{}", app("[]")), &["db"], &["healthy"], &[]),
            (format!("{db}reject = 'x'\n{}", app("[]")), &[], &["reject \"x\"", "started"], &[]),
        ] {
            let test = joined(&text, healthy).unwrap();
            assert_eq!(shown(&test.members[0]), expected, "{text}");
            let found: Vec<usize> = test.members[1].after.iter().map(|after| after.expectation).collect();
            assert_eq!((&found[..], test.members[1].after.iter().all(|after| after.machine == 0)), (after, true));
            assert!(test.machines().all(|machine| machine.timeout.as_secs() == 9));
        }
    }

    #[test]
    fn nobody_gets_outside_who_did_not_ask() {
        let text = "[[test.machine]]\nimage = 'db'\ntcp = 1\n[[test.machine]]\nimage = 'app'\noutside = true\n";
        let reach: Vec<Reach> = joined(text, &[]).unwrap().machines().map(|test| test.machine.reach).collect();
        assert_eq!(reach, [Reach::Nothing, Reach::Outside]);
    }

    #[test]
    fn every_machine_knows_all_by_name() {
        let (machines, _) =
            planned("[[test.machine]]\nimage = 'db'\n[[test.machine]]\nimage = 'app'\nhostname = 'h'\n", &[]);
        let [db, app] = [0, 1].map(|number| overrides(&machines, number).unwrap());
        let hosts = |one: &Overrides| -> Vec<String> {
            one.surroundings.hosts.iter().map(|host| format!("{} {}", host.address, host.name)).collect()
        };
        assert_eq!((hosts(&db), hosts(&app)), (hosts(&app), vec!["10.113.0.1 db".into(), "10.113.0.2 app".to_owned()]));
        assert_eq!((db.hostname.as_deref(), app.hostname.as_deref()), (Some("db"), Some("h")));
        assert_eq!((db.cards, app.cards), (vec![switch::card(0)], vec![switch::card(1)]));
    }

    #[test]
    fn what_cannot_be_made_is_said_with_the_machine() {
        let two = "[[test.machine]]\nimage = 'db'\n[[test.machine]]\nimage = 'app'\n";
        let report = joined(two, &[]).unwrap_err();
        assert_eq!(report.verdict.reasons(), [NOTHING]);
        let expectations: Vec<String> = report.expectations.into_iter().map(|held| held.expectation).collect();
        assert_eq!(expectations, ["db: started", "app: started"]);
        let (machines, mut tests) = planned(two, &[]);
        let app = tests.remove(1);
        for (verdict, name) in [(Verdict::Skipped("no".into()), "skipped"), (Verdict::Error("no".into()), "error")] {
            let parts = vec![Ok(tests[0].clone()), Err(Box::new(app.unmade(verdict)))];
            let report = together(base(), &machines, parts).unwrap_err();
            assert_eq!((report.verdict.name(), report.verdict.reasons()), (name, vec!["app: no".to_owned()]));
        }
    }
}
