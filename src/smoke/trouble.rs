//! What a kernel says when it is broken and goes on, or is about to stop: lines of its console that end a test at once.
//!
//! A panic is found by the session itself. These are the lines before one, or instead of one. They count only where the
//! kernel speaks: at the beginning of a line, after the time stamp of printk.

use regex::Regex;
use std::sync::LazyLock;

static TROUBLE: LazyLock<Regex> = LazyLock::new(|| {
    let words = "Oops[: ]|BUG: |Internal error: |general protection fault|kernel BUG at |Unable to handle kernel |\
        watchdog: BUG: soft lockup|INFO: task .* blocked for more than|rcu: INFO: rcu_\\w+ (self-)?detected stall|\
        INFO: rcu_\\w+ (self-)?detected stall";
    Regex::new(&format!(r"^\[ *[0-9]+\.[0-9]{{6}}\](\[[^\]]*\])? ({words})")).expect("a constant")
});

/// Collects the console's lines and looks at each.
#[derive(Default)]
pub struct Trouble {
    line: Vec<u8>,
}

/// A line is looked at up to this length.
const LINE: usize = 1024;

impl Trouble {
    /// Takes a chunk; the first line of it that is trouble, printable.
    pub fn feed(&mut self, bytes: &[u8]) -> Option<String> {
        let mut found = None;
        for &byte in bytes {
            if byte == b'\n' {
                let line = std::mem::take(&mut self.line);
                found = found.or_else(|| trouble(&line));
            } else if self.line.len() < LINE {
                self.line.push(byte);
            }
        }
        found
    }
}

fn trouble(line: &[u8]) -> Option<String> {
    let text = crate::escape::escape(line.trim_ascii());
    TROUBLE.is_match(&text).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::Trouble;

    #[test]
    fn the_kernels_words_and_nobody_elses() {
        for line in [
            "[    1.234567] BUG: kernel NULL pointer dereference, address: 0000000000000010",
            "[    1.234567] Oops: 0002 [#1] PREEMPT SMP NOPTI",
            "[   12.345678][    T1] general protection fault, probably for non-canonical address",
            "[  120.000001] watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [sh:1]",
            "[    2.000000] Internal error: Oops: 96000004 [#1] SMP",
        ] {
            let mut trouble = Trouble::default();
            assert_eq!(trouble.feed(&line.as_bytes()[..10]), None);
            assert_eq!(trouble.feed(&line.as_bytes()[10..]), None);
            assert_eq!(trouble.feed(b"\r\n").as_deref(), Some(line));
        }
        for line in ["Oops: my mistake", "BUG: in my program", "[  OK  ] Started BUG: tracker.", "[ 1.000000] ok Oops:"]
        {
            assert_eq!(Trouble::default().feed(format!("{line}\n").as_bytes()), None, "{line}");
        }
    }
}
