//! The reports of several machines as the one of their test.

use super::test::Test;
use super::verdict::{Report, Unmet, Verdict};

/// One report of all. Each machine's own report stays in it.
///
/// What a machine expects, and what it said last, has the machine's name before it. The verdict is that of the machine
/// that did not do what was expected of it: `blamed`, where that is known, as what happened to others afterwards may be
/// because of it. Where time was up it names everything that did not hold.
pub(super) fn gather(test: &Test, blamed: Option<usize>, machines: Vec<Report>) -> Report {
    let all = || test.members.iter().zip(&machines);
    let verdict = verdict(blamed.and_then(|number| machines.get(number)), &machines);
    let told = |report: &Report| tells(&report.verdict);
    let last_lines = all().filter(|(_, report)| told(report)).flat_map(|(member, report)| {
        report.last_lines.iter().map(|line| format!("{}: {line}", member.name)).collect::<Vec<_>>()
    });
    let expectations = all().flat_map(|(member, report)| {
        report.expectations.iter().map(|held| held.clone().of(&member.name)).collect::<Vec<_>>()
    });
    Report {
        expectations: expectations.collect(),
        last_lines: last_lines.collect(),
        hint: machines.iter().filter(|report| told(report)).find_map(|report| report.hint.clone()),
        screen: machines.iter().find_map(|report| report.screen.clone()),
        lost: machines.iter().find_map(|report| report.lost.clone()),
        accel: machines.iter().find_map(|report| report.accel.clone()),
        logs: test.logs(),
        machines: machines.clone(),
        ..test.unmade(verdict)
    }
}

/// Whether a machine's verdict is a part of the test's.
fn tells(verdict: &Verdict) -> bool {
    !matches!(verdict, Verdict::Passed | Verdict::Skipped(_))
}

fn verdict(blamed: Option<&Report>, machines: &[Report]) -> Verdict {
    let told = || machines.iter().filter(|report| tells(&report.verdict));
    if let Some(interrupted) = told().find(|report| matches!(report.verdict, Verdict::Interrupted(_))) {
        return interrupted.verdict.clone();
    }
    match blamed.into_iter().chain(told()).find(|report| tells(&report.verdict) && !late(&report.verdict)) {
        Some(report) => Verdict::Machine { name: report.name.clone(), verdict: Box::new(report.verdict.clone()) },
        None => match told().next().map(|report| report.verdict.clone()) {
            None => Verdict::Passed,
            Some(Verdict::Late { after, begun, .. }) => Verdict::Late { after, begun, unmet: unmet(machines) },
            Some(Verdict::Timeout { after, .. }) => Verdict::Timeout { after, unmet: unmet(machines) },
            Some(other) => other,
        },
    }
}

fn late(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Timeout { .. } | Verdict::Late { .. })
}

/// Everything that did not hold in time, and who was not started.
fn unmet(machines: &[Report]) -> Vec<Unmet> {
    let named = |name: &str, one: &Unmet| Unmet { expectation: format!("{name}: {}", one.expectation), ..one.clone() };
    let of = |report: &Report| match &report.verdict {
        Verdict::Timeout { unmet, .. } | Verdict::Late { unmet, .. } => {
            unmet.iter().map(|one| named(&report.name, one)).collect()
        }
        Verdict::Skipped(why) => vec![Unmet { expectation: report.name.clone(), seen: why.clone() }],
        _ => Vec::new(),
    };
    machines.iter().flat_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::Architecture;
    use crate::qemu::MachineOptions;
    use crate::smoke::expect::Expectation;
    use crate::smoke::test::Member;
    use std::time::Duration;

    fn machine(name: &str) -> Test {
        let machine = MachineOptions::new(Architecture::X86_64, Default::default());
        Test { name: name.into(), expectations: vec![Expectation::Tcp(5432)], ..Test::of(machine) }
    }

    fn gathered(blamed: Option<usize>, verdicts: [Verdict; 2]) -> Report {
        let members = ["db", "app"].map(|name| Member { name: name.into(), test: machine(name), after: vec![] });
        let test = Test { members: members.to_vec(), name: "shop".into(), expectations: vec![], ..machine("") };
        let reports = members.iter().zip(verdicts).map(|(member, verdict)| Report {
            last_lines: vec![format!("{} spoke", member.name)],
            ..member.test.unmade(verdict)
        });
        gather(&test, blamed, reports.collect())
    }

    #[test]
    fn the_verdict_names_the_machine_that_is_to_blame() {
        let unmet = |text: &str| Unmet { expectation: text.into(), seen: "not found".into() };
        let timeout = |list: &[&str]| {
            let unmet = list.iter().map(|text| unmet(text)).collect();
            Verdict::Timeout { after: Duration::from_secs(9), unmet }
        };
        let skipped = || Verdict::Skipped("it was not needed".into());
        let gone = || Verdict::QemuGone("gone".into());
        let both = ["db: db spoke", "app: app spoke"];
        for (blamed, reasons) in [(Some(0), "db: gone"), (Some(1), "app: gone"), (None, "db: gone")] {
            let report = gathered(blamed, [gone(), gone()]);
            assert_eq!(
                (report.verdict.reasons(), &report.last_lines[..]),
                (vec![reasons.to_owned()], &both.map(str::to_owned)[..])
            );
        }
        for (verdicts, name, reasons, last) in [
            ([Verdict::Passed, Verdict::Passed], "passed", &[][..], &[][..]),
            (
                [skipped(), Verdict::Oops("bad".into())],
                "oops",
                &["app: the kernel is broken: bad"],
                &["app: app spoke"],
            ),
            ([Verdict::QemuGone("gone".into()), skipped()], "qemu-gone", &["db: gone"], &["db: db spoke"]),
            (
                [timeout(&["tcp 5432"]), skipped()],
                "timeout",
                &["time was up after 9.0 s", "db: tcp 5432: not found", "app: it was not needed"],
                &["db: db spoke"],
            ),
            (
                [timeout(&["healthy"]), timeout(&["http /"])],
                "timeout",
                &["time was up after 9.0 s", "db: healthy: not found", "app: http /: not found"],
                &["db: db spoke", "app: app spoke"],
            ),
            (
                [Verdict::Interrupted(2), timeout(&[])],
                "interrupted",
                &["it was interrupted by signal 2"],
                &["db: db spoke", "app: app spoke"],
            ),
        ] {
            let report = gathered(None, verdicts);
            assert_eq!((report.verdict.name(), &report.verdict.reasons()[..]), (name, &reasons.map_to_strings()[..]));
            assert_eq!(report.last_lines, last);
            assert_eq!(report.machines.len(), 2);
            let expected: Vec<&str> = report.expectations.iter().map(|held| &*held.expectation).collect();
            assert_eq!(expected, ["db: tcp 5432", "app: tcp 5432"]);
        }
    }

    trait Strings {
        fn map_to_strings(&self) -> Vec<String>;
    }

    impl Strings for &[&str] {
        fn map_to_strings(&self) -> Vec<String> {
            self.iter().map(|&text| text.to_owned()).collect()
        }
    }
}
