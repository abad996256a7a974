//! What a kernel says when it is broken and goes on, or is about to stop: lines of its console that end a test at once.
//!
//! A panic is found by the session itself. These are the lines before one, or instead of one. They count only where the
//! kernel speaks: at the beginning of a line, after the time stamp of printk.
//!
//! A stall is none of them: a kernel says it, too, when the host gave it no processor for long, and it goes on.

use regex::Regex;
use std::sync::LazyLock;

const BROKEN: &str = "Oops[: ]|BUG: |Internal error: |general protection fault|kernel BUG at |Unable to handle kernel ";
/// Lockups of processors and of work queues, tasks that wait, and RCU's grace periods (Linux, Documentation:
/// admin-guide/lockup-watchdogs.rst, RCU/stallwarn.rst).
const STALLED: &str = "(NMI )?watchdog: |BUG: (soft|workqueue) lockup|INFO: task .* blocked for more than|\
    (rcu: )?INFO: rcu_\\w+ (self-)?detected (expedited )?stall|rcu: rcu_\\w+ kthread ";

/// The kernel's own lines that begin with one of these words.
static LINES: LazyLock<[Regex; 2]> = LazyLock::new(|| {
    [STALLED, BROKEN]
        .map(|words| Regex::new(&format!(r"^\[ *[0-9]+\.[0-9]{{6}}\](\[[^\]]*\])? ({words})")).expect("a constant"))
});

/// A line that says so, printable.
#[derive(Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The kernel is broken.
    Broken(String),
    /// It has waited for long.
    Stalled(String),
}

/// Collects the console's lines and looks at each.
#[derive(Default)]
pub struct Listener {
    line: Vec<u8>,
}

/// A line is looked at up to this length.
const LINE: usize = 1024;

impl Listener {
    /// Takes a chunk; what is found in it, the first of each kind at most.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Trouble> {
        let mut found: Vec<Trouble> = Vec::new();
        for &byte in bytes {
            if byte == b'\n' {
                let new = trouble(&std::mem::take(&mut self.line));
                let known =
                    |new: &Trouble| found.iter().any(|old| std::mem::discriminant(old) == std::mem::discriminant(new));
                found.extend(new.filter(|new| !known(new)));
            } else if self.line.len() < LINE {
                self.line.push(byte);
            }
        }
        found
    }
}

fn trouble(line: &[u8]) -> Option<Trouble> {
    let text = crate::escape::escape(line.trim_ascii());
    let [stalled, broken] = &*LINES;
    match () {
        () if stalled.is_match(&text) => Some(Trouble::Stalled(text)),
        () if broken.is_match(&text) => Some(Trouble::Broken(text)),
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_and_nobody_elses() {
        for line in [
            "[    1.234567] BUG: kernel NULL pointer dereference, address: 0000000000000010",
            "[    1.234567] Oops: 0002 [#1] PREEMPT SMP NOPTI",
            "[   12.345678][    T1] general protection fault, probably for non-canonical address",
            "[    2.000000] Internal error: Oops: 96000004 [#1] SMP",
        ] {
            let mut listener = Listener::default();
            assert_eq!(listener.feed(&line.as_bytes()[..10]), []);
            assert_eq!(listener.feed(&line.as_bytes()[10..]), []);
            assert_eq!(listener.feed(b"\r\n"), [Trouble::Broken(line.into())]);
        }
        for line in ["Oops: my mistake", "BUG: in my program", "[  OK  ] Started BUG: tracker.", "[ 1.000000] ok Oops:"]
        {
            assert_eq!(Listener::default().feed(format!("{line}\n").as_bytes()), [], "{line}");
        }
    }

    #[test]
    fn a_kernel_that_was_kept_waiting_is_not_broken() {
        let stalls = [
            "[   58.616644] rcu: INFO: rcu_preempt self-detected stall on CPU",
            "[   58.616644] rcu: INFO: rcu_sched detected stalls on CPUs/tasks:",
            "[   58.616644] rcu: INFO: rcu_preempt detected expedited stalls on CPUs/tasks: { 0-... }",
            "[   58.616644] rcu: rcu_preempt kthread starved for 2500 jiffies! g-1199 f0x0",
            "[  120.000001] watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [sh:1]",
            "[  120.000001] NMI watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [sh:1]",
            "[  120.000001] watchdog: Watchdog detected hard LOCKUP on cpu 0",
            "[  120.000001] BUG: workqueue lockup - pool cpus=0 node=0 flags=0x0 nice=0 stuck for 31s!",
            "[  242.000001][   T30] INFO: task sh:1 blocked for more than 120 seconds.",
        ];
        for line in stalls {
            assert_eq!(Listener::default().feed(format!("{line}\n").as_bytes()), [Trouble::Stalled(line.into())]);
        }
        let oops = "[    1.234567] Oops: 0002 [#1] PREEMPT SMP NOPTI";
        let both = format!("{}\n{}\n{oops}\n{oops}\n", stalls[0], stalls[1]);
        let found = Listener::default().feed(both.as_bytes());
        assert_eq!(found, [Trouble::Stalled(stalls[0].into()), Trouble::Broken(oops.into())]);
    }
}
