//! The threads of this process, as proc(5) shows them. Other tests have threads too: see `apart`.

use std::time::{Duration, Instant};

/// Fields of a thread's status that say whether it has run. Its memory is the whole process's.
const TOLD: [&str; 3] = ["State:", "Pid:", "voluntary_ctxt_switches:"];

/// Of every thread whose name begins with `prefix`: its number, its state, and how often it stopped running.
fn named(prefix: &str) -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    tasks
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("status")).ok())
        .filter(|status| status.strip_prefix("Name:\t").is_some_and(|name| name.starts_with(prefix)))
        .map(|status| status.lines().filter(|line| TOLD.iter().any(|field| line.contains(field))).collect())
        .collect()
}

/// Waits until all of them wait for something: asleep at two looks, and none has run between.
pub fn wait_until_idle(prefix: &str) {
    let mut before = Vec::new();
    wait_until("threads never come to rest", || {
        let now = named(prefix);
        let idle = now == before && now.iter().all(|status| status.starts_with("State:\tS"));
        before = now;
        idle
    });
}

/// Waits until none of them is left.
pub fn wait_until_gone(prefix: &str) {
    wait_until("threads are left", || named(prefix).is_empty());
}

fn wait_until(complaint: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "{complaint}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
