//! How long other work of this host has kept a machine from running.

use std::fs;
use std::time::Duration;

/// The time that QEMU, process `pid`, could have run in and this host's processors were at other work: that of the thread
/// that waited longest, because its threads wait at the same time. Zero where the kernel does not count it
/// (`CONFIG_SCHED_INFO`) or there is no such process.
pub fn kept_waiting(pid: u32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let waited = threads.filter_map(|thread| waited(&fs::read_to_string(thread.path().join("schedstat")).ok()?));
    waited.max().unwrap_or_default()
}

/// The second number of a thread's `schedstat`, nanoseconds on a run queue (the kernel's
/// Documentation/scheduler/sched-stats.rst, "/proc/<pid>/schedstat").
fn waited(schedstat: &str) -> Option<Duration> {
    schedstat.split_ascii_whitespace().nth(1)?.parse().ok().map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command};
    use std::thread;
    use std::time::Instant;

    struct Busy(Child);

    impl Drop for Busy {
        fn drop(&mut self) {
            _ = self.0.kill();
            _ = self.0.wait();
        }
    }

    fn shell(script: &str) -> Busy {
        Busy(Command::new("sh").args(["-c", script]).spawn().unwrap())
    }

    #[test]
    fn who_waits_for_a_processor_is_told_from_who_sleeps() {
        let processors = thread::available_parallelism().unwrap().get();
        let asleep = shell("exec sleep 600");
        let busy: Vec<Busy> = (0..3 * processors).map(|_| shell("while :; do :; done")).collect();
        let begun = Instant::now();
        // Three for each processor: each waits two thirds of the time, and a sleeper that has begun to sleep no more.
        let seen = || (kept_waiting(busy[0].0.id()), kept_waiting(asleep.0.id()));
        let mut before = seen();
        loop {
            assert!(begun.elapsed() < Duration::from_secs(100), "nobody waits, or who sleeps does: {before:?}");
            thread::sleep(Duration::from_millis(300));
            let now = seen();
            assert!(now.0 <= begun.elapsed());
            if now.0 - before.0 > Duration::from_millis(100) && now.1 == before.1 {
                return;
            }
            before = now;
        }
    }

    #[test]
    fn nobody_has_not_waited() {
        assert_eq!(kept_waiting(u32::MAX), Duration::ZERO);
        assert_eq!(waited(""), None);
        assert_eq!(waited("5 x 7"), None);
        assert_eq!(waited("147107 2000000 1\n"), Some(Duration::from_millis(2)));
    }
}
