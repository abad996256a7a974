//! Many tests, as many side by side as memory and processors allow.

use super::caught::caught;
use super::drive::save;
use super::group::drive;
use super::snapshots::Start;
use super::stop::Stop;
use super::test::Test;
use super::tries;
use super::verdict::{Class, Report, Verdict};
use crate::escape::os_error;
use std::collections::{HashSet, VecDeque};
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};
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
    /// Something is other than it was asked for, in a sentence.
    Warned(&'a str),
    /// It failed, and is tried again.
    Failed(&'a Report),
    /// It has its report.
    Ended(&'a Report),
    /// It has a report without having begun.
    Left(&'a Report),
}

/// How the tests are made.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules {
    /// So many at once, at most.
    pub jobs: Option<usize>,
    /// After the first that does not pass none begins any more; those that run are judged.
    pub fail_fast: bool,
}

/// What is taken of a host.
#[derive(Clone, Debug, Default)]
struct Taken {
    machines: u64,
    memory: u64,
    /// Each belongs to one machine at a time.
    volumes: HashSet<String>,
}

impl Taken {
    /// Whether one more machine fits. The first always does: it may be larger than what is free, and then it is the
    /// kernel that says so.
    fn fits(&self, host: Host, test: &Test) -> bool {
        let (machines, memory) = (self.machines + machines(test), self.memory + memory(test));
        let fits = machines <= host.cpus && memory <= host.memory;
        self.machines == 0 || fits && !test.volumes().any(|name| self.volumes.contains(name))
    }
}

fn machines(test: &Test) -> u64 {
    test.machines().count() as u64
}

/// What all machines of a test need, in MiB.
fn memory(test: &Test) -> u64 {
    test.machines().map(|test| u64::from(test.machine.memory) + BESIDE).sum()
}

/// Makes every test and returns the reports in the tests' order. `tell` hears of each as it begins and ends, from any
/// thread. What `stop` knows of ends what runs, and what has not begun is not begun.
pub fn run(tests: &[Test], host: Host, rules: Rules, stop: &Stop, tell: &(dyn Fn(Told<'_>) + Sync)) -> Vec<Report> {
    let save = |test: &Test, stop: &Stop| {
        if let Some(start) = &test.snapshot {
            save(test, start, stop);
        }
    };
    run_with(tests, host, rules, stop, tell, Work { save: &save, drive: &drive })
}

/// What is done for a test.
#[derive(Clone, Copy)]
struct Work<'a> {
    /// Makes the snapshot that it and others start from.
    save: &'a (dyn Fn(&Test, &Stop) + Sync),
    /// Makes the test.
    drive: &'a (dyn Fn(&Test, &Stop) -> Report + Sync),
}

/// Tests that wait for a snapshot which another one makes take nothing of the host meanwhile, and keep nobody waiting.
fn run_with(
    tests: &[Test],
    host: Host,
    rules: Rules,
    stop: &Stop,
    tell: &(dyn Fn(Told<'_>) + Sync),
    work: Work<'_>,
) -> Vec<Report> {
    let host = Host { cpus: rules.jobs.map_or(host.cpus, |jobs| jobs as u64), ..host };
    let taken = (Mutex::new(Taken::default()), Condvar::new());
    // The first that did not pass.
    let failed: OnceLock<String> = OnceLock::new();
    let reports: Vec<Mutex<Option<Report>>> = tests.iter().map(|_| Mutex::new(None)).collect();
    thread::scope(|scope| {
        let mut waiting: VecDeque<(&Test, &Mutex<Option<Report>>)> = tests.iter().zip(&reports).collect();
        while let Some((test, slot)) = next(&mut waiting, &taken, host) {
            let (taken, failed) = (&taken, &failed);
            let saves = test.snapshot.as_ref().filter(|start| start.claim());
            let work = move || {
                let left = stop.before().or_else(|| failed.get().map(|name| left_by(name)));
                let report = match left {
                    Some(verdict) => {
                        let report = test.unmade(verdict);
                        tell(Told::Left(&report));
                        report
                    }
                    None => {
                        tell(Told::Begun(test));
                        if let Some(start) = saves {
                            if let Err(why) = caught(|| (work.save)(test, stop)) {
                                start.without(&why);
                            }
                            // Nobody is left waiting, whatever came of it.
                            start.leave();
                            wake(taken);
                        }
                        let report = tries::make(test, stop, &|report| tell(Told::Failed(report)), work.drive);
                        if let Some(warning) = test.snapshot.as_ref().and_then(Start::warning) {
                            tell(Told::Warned(&format!("{}: {warning}", report.title())));
                        }
                        tell(Told::Ended(&report));
                        report
                    }
                };
                saves.into_iter().for_each(Start::leave);
                if rules.fail_fast && matches!(report.verdict.class(), Class::Failed | Class::Error) {
                    _ = failed.set(report.title());
                }
                *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(report);
                give_back(taken, test);
            };
            if let Err(error) = thread::Builder::new().spawn_scoped(scope, work) {
                saves.into_iter().for_each(Start::leave);
                let report = test.unmade(Verdict::Error(format!("cannot start a thread: {}", os_error(&error))));
                tell(Told::Left(&report));
                *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(report);
                give_back(taken, test);
            }
        }
    });
    let report = |(slot, test): (Mutex<Option<Report>>, &Test)| {
        let report = slot.into_inner().unwrap_or_else(PoisonError::into_inner);
        report.unwrap_or_else(|| test.unmade(Verdict::Error("its thread ended early".into())))
    };
    reports.into_iter().zip(tests).map(report).collect()
}

/// The verdict on a test that does not begin because another failed.
fn left_by(name: &str) -> Verdict {
    Verdict::Skipped(format!("not begun, as {name} did not pass (--fail-fast)"))
}

/// The next test, when there is room for it: the first that does not wait for a snapshot.
fn next<'a, T>(
    waiting: &mut VecDeque<(&'a Test, T)>,
    taken: &(Mutex<Taken>, Condvar),
    host: Host,
) -> Option<(&'a Test, T)> {
    let ready = |(test, _): &(&Test, T)| test.snapshot.as_ref().is_none_or(|start| !start.is_being_made());
    let mut state = taken.0.lock().unwrap_or_else(PoisonError::into_inner);
    while !waiting.is_empty() {
        let first = waiting.iter().position(ready);
        if let Some(first) = first.filter(|&first| state.fits(host, waiting[first].0)) {
            let next = waiting.remove(first)?;
            take(&mut state, next.0);
            return Some(next);
        }
        state = taken.1.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
    None
}

/// Has it looked at once more who can begin.
fn wake(taken: &(Mutex<Taken>, Condvar)) {
    let _state = taken.0.lock().unwrap_or_else(PoisonError::into_inner);
    taken.1.notify_all();
}

fn take(state: &mut Taken, test: &Test) {
    state.machines += machines(test);
    state.memory += memory(test);
    state.volumes.extend(test.volumes().map(str::to_owned));
}

fn give_back(taken: &(Mutex<Taken>, Condvar), test: &Test) {
    let mut state = taken.0.lock().unwrap_or_else(PoisonError::into_inner);
    state.machines -= machines(test);
    state.memory -= memory(test);
    state.volumes.retain(|taken| test.volumes().all(|name| name != taken));
    taken.1.notify_all();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::Architecture;
    use crate::guest::mounts::{By, Mount, Volume};
    use crate::qemu::MachineOptions;
    use crate::sharing::{Source, Wanted};
    use crate::smoke::expect::Expectation;
    use crate::smoke::share_snapshots;
    use crate::smoke::verdict::status;
    use crate::volumes::Store;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn test(name: &str) -> Test {
        let machine = MachineOptions::new(Architecture::X86_64, Default::default());
        Test { name: name.into(), ..Test::of(machine) }
    }

    fn plain<'a>(drive: &'a (dyn Fn(&Test, &Stop) -> Report + Sync)) -> Work<'a> {
        Work { save: &|_, _| panic!("no test is to start from a snapshot"), drive }
    }

    const ONE_AT_A_TIME: Rules = Rules { jobs: Some(1), fail_fast: false };
    const HOST: Host = Host { cpus: 1, memory: 0 };

    #[test]
    fn a_panic_in_one_test_is_its_verdict_and_the_others_go_on() {
        let drive = |test: &Test, _: &Stop| match &*test.name {
            "text" => panic!("at {}\n", 7),
            "word" => panic!("alas"),
            "thing" => std::panic::panic_any(7),
            _ => test.unmade(Verdict::Passed),
        };
        let tests = ["text", "fine", "word", "thing", "fine too"].map(test);
        let told = AtomicUsize::new(0);
        let tell = |what: Told<'_>| _ = told.fetch_add(usize::from(matches!(what, Told::Ended(_))), Ordering::Relaxed);
        let reports = run_with(&tests, HOST, ONE_AT_A_TIME, &Stop::default(), &tell, plain(&drive));
        let verdicts: Vec<Verdict> = reports.iter().map(|report| report.verdict.clone()).collect();
        let failed = |why: &str| Verdict::Error(format!("bootdisk failed: {why}"));
        assert_eq!(
            verdicts,
            [failed("at 7\\n"), Verdict::Passed, failed("alas"), failed("no reason was given"), Verdict::Passed]
        );
        assert_eq!((told.into_inner(), status(&reports)), (5, 125));
    }

    /// The reports of tests with this many retries, each of which passes at its try of this number.
    fn tried(retries: u8, passes_at: &[u32], rules: Rules, stop: &Stop) -> (Vec<Report>, Vec<String>) {
        let tests: Vec<Test> = passes_at
            .iter()
            .map(|at| Test { retries, log_name: format!("log{at}"), ..test(&format!("at {at}")) })
            .collect();
        let logs = Mutex::new(Vec::new());
        let drive = |test: &Test, _: &Stop| {
            logs.lock().unwrap().push(test.log_name.clone());
            let number = test.log_name.split_once(".try-").map_or(1, |(_, number)| number.parse().unwrap());
            let passes = test.name == format!("at {number}");
            test.unmade(if passes { Verdict::Passed } else { Verdict::Failed(vec![]) })
        };
        let reports = run_with(&tests, HOST, rules, stop, &|_| (), plain(&drive));
        (reports, logs.into_inner().unwrap())
    }

    #[test]
    fn a_failure_is_tried_again_and_every_try_is_kept() {
        let (reports, logs) = tried(2, &[1, 2, 3, 4], ONE_AT_A_TIME, &Stop::default());
        let shown: Vec<_> = reports.iter().map(|one| (one.verdict.class(), one.before.len(), one.is_flaky())).collect();
        use Class::{Failed, Passed};
        assert_eq!(shown, [(Passed, 0, false), (Passed, 1, true), (Passed, 2, true), (Failed, 2, false)]);
        assert_eq!(logs[..3], ["log1", "log2", "log2.try-2"]);
        assert_eq!(status(&reports[..3]), 0, "a pass after a failure is a pass");
        assert_eq!(status(&reports), 1);
        assert!(reports.iter().all(|one| one.before.iter().all(|before| before.verdict.class() == Failed)));
    }

    #[test]
    fn the_first_failure_is_the_last_test_to_begin() {
        let fail_fast = Rules { fail_fast: true, ..ONE_AT_A_TIME };
        let (reports, logs) = tried(1, &[1, 2, 9, 1, 1], fail_fast, &Stop::default());
        let classes: Vec<Class> = reports.iter().map(|report| report.verdict.class()).collect();
        assert_eq!(classes, [Class::Passed, Class::Passed, Class::Failed, Class::Skipped, Class::Skipped]);
        assert_eq!(reports[4].verdict.reasons(), ["not begun, as at 9 did not pass (--fail-fast)"]);
        assert_eq!((logs.len(), status(&reports)), (5, 1));
    }

    #[test]
    fn a_signal_and_the_end_of_all_time_leave_what_has_not_begun() {
        let late = Stop::new(std::time::Instant::now(), Some(std::time::Duration::ZERO));
        let (reports, logs) = tried(3, &[1, 2], ONE_AT_A_TIME, &late);
        assert_eq!((logs.len(), status(&reports)), (0, 124));
        assert_eq!(reports[1].verdict.reasons(), ["not begun: the time for all tests was up after 0.0 s"]);

        let interrupted = Stop::default();
        interrupted.signal.store(2, Ordering::Relaxed);
        let (reports, logs) = tried(3, &[1, 2], ONE_AT_A_TIME, &interrupted);
        assert_eq!((logs.len(), status(&reports)), (0, 130));

        // One that comes while a test runs ends its tries.
        let stop = Stop::default();
        let drive = |test: &Test, stop: &Stop| {
            stop.signal.store(15, Ordering::Relaxed);
            test.unmade(Verdict::Interrupted(15))
        };
        let tests = [Test { retries: 9, ..test("one") }, test("two")];
        let reports = run_with(&tests, HOST, ONE_AT_A_TIME, &stop, &|_| (), plain(&drive));
        assert_eq!((reports[0].before.len(), status(&reports)), (0, 143));
    }

    /// As many as there are at once, some of which hang until the others are done.
    #[test]
    fn one_that_hangs_harms_no_other() {
        let tests: Vec<Test> = (0..32).map(|number| test(&format!("{number}"))).collect();
        let over = (Mutex::new(0), Condvar::new());
        let drive = |test: &Test, _: &Stop| {
            let hangs = test.name.ends_with('7');
            let mut done = over.0.lock().unwrap();
            while hangs && *done < 29 {
                done = over.1.wait(done).unwrap();
            }
            *done += 1;
            over.1.notify_all();
            test.unmade(if hangs { Verdict::Silent(std::time::Duration::ZERO) } else { Verdict::Passed })
        };
        let rules = Rules { jobs: Some(32), fail_fast: false };
        let host = Host { cpus: 1, memory: 1 << 20 };
        let reports = run_with(&tests, host, rules, &Stop::default(), &|_| (), plain(&drive));
        for (number, report) in reports.iter().enumerate() {
            assert_eq!(report.verdict == Verdict::Passed, number % 10 != 7, "{number}");
        }
    }

    /// The first of two groups makes what its group starts from; another test passes those that wait.
    #[test]
    fn who_waits_for_a_snapshot_keeps_nobody_waiting() {
        let start = |name: &str, point| Test { snapshot: Some(Start::at(point)), ..test(name) };
        let mut tests = [
            start("a1", Expectation::Started),
            start("a2", Expectation::Started),
            test("between"),
            start("a3", Expectation::Started),
            start("b1", Expectation::Healthy),
            start("b2", Expectation::Healthy),
        ];
        share_snapshots(tests.iter_mut());
        let (order, passed) = (Mutex::new(Vec::new()), Condvar::new());
        let save = |test: &Test, _: &Stop| {
            let mut order = order.lock().unwrap();
            order.push(format!("save {}", test.name));
            // There is room for one more, and nobody of the group takes it.
            while test.name == "a1" && !order.iter().any(|one| one == "between") {
                order = passed.wait(order).unwrap();
            }
            drop(order);
            match &*test.name {
                "a1" => test.snapshot.as_ref().unwrap().without("no"),
                _ => panic!("alas"),
            }
        };
        let drive = |test: &Test, _: &Stop| {
            order.lock().unwrap().push(test.name.clone());
            passed.notify_all();
            test.unmade(Verdict::Passed)
        };
        let warned = Mutex::new(Vec::new());
        let tell = |told: Told<'_>| {
            if let Told::Warned(text) = told {
                warned.lock().unwrap().push(text.to_owned());
            }
        };
        let (rules, host) = (Rules { jobs: Some(2), fail_fast: false }, Host { cpus: 2, memory: 1 << 20 });
        let reports = run_with(&tests, host, rules, &Stop::default(), &tell, Work { save: &save, drive: &drive });
        assert!(reports.iter().all(|report| report.verdict == Verdict::Passed));
        let order = order.into_inner().unwrap();
        assert_eq!(order[..2], ["save a1", "between"]);
        assert_eq!(order.iter().filter(|one| one.starts_with("save")).count(), 2, "{order:?}");
        assert_eq!(order.len(), 8, "{order:?}");
        let mut warned = warned.into_inner().unwrap();
        warned.sort();
        assert_eq!(warned.len(), 2, "{warned:?}");
        assert!(warned[0].starts_with('a') && warned[0].ends_with(": no snapshot (started): no; its tests boot"));
        assert!(warned[1].starts_with('b') && warned[1].contains("alas"), "{warned:?}");
    }

    #[test]
    fn machines_share_processors_and_memory() {
        let host = Host { cpus: 4, memory: 4096 };
        let sized = |memory, volume: &str| {
            let mut one = test("one");
            one.machine.memory = memory;
            let mount = Mount {
                name: "m0".into(),
                by: By::Disk,
                at: "/data".into(),
                file: None,
                read_only: false,
                volume: Some(Volume { seed: true }),
            };
            let source = match volume {
                "" => Source::Nameless(None),
                name => Source::Volume(Store::at("/nowhere".into()), name.into(), None),
            };
            one.mounts.push(Wanted { mount, source });
            one
        };
        let taken = |machines, memory| Taken { machines, memory, volumes: HashSet::from(["data".to_owned()]) };
        assert!(Taken::default().fits(host, &sized(100_000, "data")), "the first always fits");
        assert!(taken(1, 1216).fits(host, &sized(1024, "other")));
        assert!(taken(1, 1216).fits(host, &sized(1024, "")));
        assert!(!taken(1, 1216).fits(host, &sized(1024, "data")), "its volume is another's");
        assert!(!taken(3, 3648).fits(host, &sized(1024, "")), "memory");
        assert!(!taken(4, 1000).fits(host, &sized(64, "")), "processors");
    }
}
