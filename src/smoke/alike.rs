//! Which tests start from one snapshot: those whose machines are equal in everything that makes them, and in the point.
//!
//! It is compared as `Debug` shows it, so that a field that is added one day is compared without anybody's thinking of it;
//! what the machines are handed is compared by its bytes.

use super::snapshots::Group;
use super::test::Test;
use crate::qemu::{Boot, MachineOptions};
use std::path::PathBuf;
use std::sync::Arc;

/// Everything that makes the machine of a test that is to start from a snapshot, and the point.
fn key(test: &Test) -> Option<String> {
    let start = test.snapshot.as_ref()?;
    let Test { machine, overrides, mounts, healthcheck, .. } = test;
    let machine = MachineOptions { boot: without_names(&machine.boot), ..machine.clone() };
    Some(format!("{machine:?} {overrides:?} {mounts:?} {healthcheck:?} {:?}", start.point))
}

/// What a direct boot loads are the disk's own files, taken out of it for each test.
fn without_names(boot: &Boot) -> Boot {
    match boot {
        Boot::Direct { initrd, cmdline, .. } => Boot::Direct {
            kernel: PathBuf::new(),
            initrd: initrd.as_ref().map(|_| PathBuf::new()),
            cmdline: cmdline.clone(),
        },
        other => other.clone(),
    }
}

/// Brings together the tests that can start from one snapshot. One that would have it for itself boots.
pub fn share_snapshots<'a>(tests: impl Iterator<Item = &'a mut Test>) {
    let mut groups: Vec<(String, Vec<&mut Test>)> = Vec::new();
    for test in tests {
        let Some(key) = key(test) else { continue };
        let same = |(known, tests): &&mut (String, Vec<&mut Test>)| *known == key && tests[0].handed.is(&test.handed);
        match groups.iter_mut().find(same) {
            Some((_, tests)) => tests.push(test),
            None => groups.push((key, vec![test])),
        }
    }
    for (_, tests) in groups.into_iter().filter(|(_, tests)| tests.len() > 1) {
        let group = Arc::new(Group::default());
        for test in tests {
            if let Some(start) = &mut test.snapshot {
                start.join(&group);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::Architecture;
    use crate::guest::spec::Healthcheck;
    use crate::qemu::Bus;
    use crate::smoke::{Expectation, Start};
    use std::fs::File;
    use std::io::Write;
    use std::time::Duration;

    fn test() -> Test {
        let machine = MachineOptions::new(Architecture::X86_64, "disk.img".into());
        Test { snapshot: Some(Start::at(Expectation::Started)), ..Test::of(machine) }
    }

    fn same(one: &Test, other: &Test) -> bool {
        let mut tests = [one.clone(), other.clone()];
        share_snapshots(tests.iter_mut());
        let [one, other] = &tests;
        let (one, other) = (one.snapshot.as_ref().unwrap(), other.snapshot.as_ref().unwrap());
        one.is_with(other)
    }

    fn handed(bytes: &[u8]) -> Arc<File> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        Arc::new(file)
    }

    #[test]
    fn only_what_makes_the_same_machine_comes_from_one_snapshot() {
        let whole = test();
        // What is asked of a machine is not what it is.
        let asks = Test {
            name: "other".into(),
            expectations: vec![Expectation::ExitCode(3)],
            timeout: Duration::from_secs(1),
            log_name: "other".into(),
            retries: 3,
            ..test()
        };
        assert!(same(&whole, &asks));
        let machine = |change: fn(&mut MachineOptions)| {
            let mut one = test();
            change(&mut one.machine);
            one
        };
        let direct = |kernel: &str, cmdline: &str| {
            let mut one = test();
            one.machine.boot = Boot::Direct { kernel: kernel.into(), initrd: None, cmdline: cmdline.into() };
            one
        };
        assert!(same(&direct("/tmp/1/kernel", "quiet"), &direct("/tmp/2/kernel", "quiet")));
        assert!(!same(&direct("/tmp/1/kernel", "quiet"), &direct("/tmp/1/kernel", "debug")));
        let env = |one: &str| {
            let mut test = test();
            test.overrides.env = vec![one.into()];
            test
        };
        let mut mine = test();
        mine.handed.fw_cfg.push(("opt/x".into(), handed(b"one")));
        let mut equal = test();
        equal.handed.fw_cfg.push(("opt/x".into(), handed(b"one")));
        assert!(same(&mine, &equal) && same(&env("A=1"), &env("A=1")));
        let mut unlike = test();
        unlike.handed.fw_cfg.push(("opt/x".into(), handed(b"two")));
        for (what, other) in [
            ("disk", machine(|machine| machine.disk = "other.img".into())),
            ("memory", machine(|machine| machine.memory = 512)),
            ("bus", machine(|machine| machine.bus = Bus::Nvme)),
            ("firmware", machine(|machine| machine.boot = Boot::Uefi)),
            ("QEMU", machine(|machine| machine.qemu = Some("/opt/qemu".into()))),
            ("arguments", machine(|machine| machine.extra = vec!["-s".into()])),
            ("environment", env("A=1")),
            ("health", Test { healthcheck: Some(Healthcheck::default()), ..test() }),
            ("settings", unlike.clone()),
            ("point", Test { snapshot: Some(Start::at(Expectation::Healthy)), ..test() }),
        ] {
            assert!(!same(&whole, &other), "{what}");
            assert!(same(&other, &other), "{what}");
        }
        assert!(!same(&mine, &unlike));
    }
}
