//! Many tests, as many side by side as memory and processors allow.

use super::caught::caught;
use super::drive::drive;
use super::test::Test;
use super::verdict::{Report, Verdict};
use crate::escape::os_error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;

/// What a machine needs beside its own memory, in MiB: QEMU, and its translations.
const BESIDE: u64 = 192;

/// What the host gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host {
    /// Processors.
    pub cpus: u64,
    /// Memory that is free for machines, in MiB.
    pub memory: u64,
}

impl Host {
    /// This host: its processors, and three quarters of the memory that is available.
    pub fn this() -> Host {
        let cpus = thread::available_parallelism().map_or(1, |n| n.get() as u64);
        let available = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
            let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        });
        Host { cpus, memory: available.map_or(2048, |kib| kib / 1024 * 3 / 4) }
    }
}

/// What happens to a test.
pub enum Told<'a> {
    /// Its machine is started.
    Begun(&'a Test),
    /// It has its report.
    Ended(&'a Report),
}

/// What is taken of a host.
#[derive(Clone, Copy, Debug, Default)]
struct Taken {
    machines: u64,
    memory: u64,
}

impl Taken {
    /// Whether one more machine fits. The first always does: it may be larger than what is free, and then it is the
    /// kernel that says so.
    fn fits(&self, host: Host, memory: u64) -> bool {
        self.machines == 0 || self.machines < host.cpus && self.memory + memory + BESIDE <= host.memory
    }
}

/// Makes every test and returns the reports in the tests' order. `tell` hears of each as it begins and ends, from any thread;
/// a signal's number in
/// `cancelled` ends what runs, and what has not begun is not begun. At most `jobs` run at once, if that is given.
pub fn run(
    tests: &[Test],
    host: Host,
    jobs: Option<usize>,
    cancelled: &AtomicUsize,
    tell: &(dyn Fn(Told<'_>) + Sync),
) -> Vec<Report> {
    run_with(tests, host, jobs, cancelled, tell, &drive)
}

fn run_with(
    tests: &[Test],
    host: Host,
    jobs: Option<usize>,
    cancelled: &AtomicUsize,
    tell: &(dyn Fn(Told<'_>) + Sync),
    drive: &(dyn Fn(&Test, &AtomicUsize) -> Report + Sync),
) -> Vec<Report> {
    let host = Host { cpus: jobs.map_or(host.cpus, |jobs| jobs as u64), ..host };
    let taken = (Mutex::new(Taken::default()), Condvar::new());
    let reports: Vec<Mutex<Option<Report>>> = tests.iter().map(|_| Mutex::new(None)).collect();
    thread::scope(|scope| {
        for (test, slot) in tests.iter().zip(&reports) {
            let memory = u64::from(test.machine.memory);
            take(&taken, host, memory);
            let taken = &taken;
            let work = move || {
                tell(Told::Begun(test));
                let report = match cancelled.load(Ordering::Relaxed) {
                    0 => caught(|| drive(test, cancelled)).unwrap_or_else(|why| test.unmade(Verdict::Error(why))),
                    signal => test.unmade(Verdict::Interrupted(signal as i32)),
                };
                tell(Told::Ended(&report));
                *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(report);
                give_back(taken, memory);
            };
            if let Err(error) = thread::Builder::new().spawn_scoped(scope, work) {
                let report = test.unmade(Verdict::Error(format!("cannot start a thread: {}", os_error(&error))));
                tell(Told::Ended(&report));
                *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(report);
                give_back(taken, memory);
            }
        }
    });
    let report = |(slot, test): (Mutex<Option<Report>>, &Test)| {
        let report = slot.into_inner().unwrap_or_else(PoisonError::into_inner);
        report.unwrap_or_else(|| test.unmade(Verdict::Error("its thread ended early".into())))
    };
    reports.into_iter().zip(tests).map(report).collect()
}

fn take(taken: &(Mutex<Taken>, Condvar), host: Host, memory: u64) {
    let mut state = taken.0.lock().unwrap_or_else(PoisonError::into_inner);
    while !state.fits(host, memory) {
        state = taken.1.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
    state.machines += 1;
    state.memory += memory + BESIDE;
}

fn give_back(taken: &(Mutex<Taken>, Condvar), memory: u64) {
    let mut state = taken.0.lock().unwrap_or_else(PoisonError::into_inner);
    state.machines -= 1;
    state.memory -= memory + BESIDE;
    taken.1.notify_all();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::Architecture;
    use crate::qemu::MachineOptions;
    use crate::smoke::verdict::status;

    #[test]
    fn a_panic_in_one_test_is_its_verdict_and_the_others_go_on() {
        let test = |name: &str| {
            let machine = MachineOptions::new(Architecture::X86_64, Default::default());
            Test { name: name.into(), ..Test::of(machine) }
        };
        let drive = |test: &Test, _: &AtomicUsize| match &*test.name {
            "text" => panic!("at {}\n", 7),
            "word" => panic!("alas"),
            "thing" => std::panic::panic_any(7),
            _ => test.unmade(Verdict::Passed),
        };
        let tests = ["text", "fine", "word", "thing", "fine too"].map(test);
        let host = Host { cpus: 1, memory: 0 };
        let told = AtomicUsize::new(0);
        let tell = |what: Told<'_>| _ = told.fetch_add(usize::from(matches!(what, Told::Ended(_))), Ordering::Relaxed);
        let reports = run_with(&tests, host, Some(1), &AtomicUsize::new(0), &tell, &drive);
        let verdicts: Vec<Verdict> = reports.iter().map(|report| report.verdict.clone()).collect();
        let failed = |why: &str| Verdict::Error(format!("bootdisk failed: {why}"));
        assert_eq!(
            verdicts,
            [failed("at 7\\n"), Verdict::Passed, failed("alas"), failed("no reason was given"), Verdict::Passed]
        );
        assert_eq!((told.into_inner(), status(&reports)), (5, 125));
    }

    #[test]
    fn machines_share_processors_and_memory() {
        let host = Host { cpus: 4, memory: 4096 };
        assert!(Taken::default().fits(host, 100_000), "the first always fits");
        assert!(Taken { machines: 1, memory: 1216 }.fits(host, 1024));
        assert!(!Taken { machines: 3, memory: 3648 }.fits(host, 1024), "memory");
        assert!(!Taken { machines: 4, memory: 1000 }.fits(host, 64), "processors");
    }
}
