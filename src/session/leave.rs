//! Leaving a terminal that belongs to the workload, where Ctrl-C does too: Ctrl-] three times within a second, as
//! systemd-nspawn(1) has it. The keys go to the workload all the same; no program is known to want three of them.

use std::time::{Duration, Instant};

/// What a terminal sends for Ctrl-].
const KEY: u8 = 0x1d;
/// So many of them.
const TIMES: usize = 3;
/// Within this.
const WITHIN: Duration = Duration::from_secs(1);

/// Keys as they are pressed.
#[derive(Debug, Default)]
pub(super) struct Leave {
    /// When the last ones came, nothing else between them.
    pressed: Vec<Instant>,
}

impl Leave {
    /// Takes what was typed now; whether somebody wants to leave.
    pub(super) fn typed(&mut self, bytes: &[u8], now: Instant) -> bool {
        let mut wanted = false;
        for &byte in bytes {
            if byte != KEY {
                self.pressed.clear();
                continue;
            }
            self.pressed.retain(|at| now.saturating_duration_since(*at) < WITHIN);
            self.pressed.push(now);
            if self.pressed.len() == TIMES {
                self.pressed.clear();
                wanted = true;
            }
        }
        wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_within_a_second_and_nothing_between_them() {
        type Typed<'a> = (u64, &'a [u8]);
        let rows: [(&[Typed], bool); 8] = [
            (&[(0, b"\x1d\x1d\x1d")], true),
            (&[(0, b"\x1d"), (400, b"\x1d"), (900, b"\x1d")], true),
            (&[(0, b"\x1d"), (500, b"\x1d"), (1000, b"\x1d")], false),
            (&[(0, b"\x1d"), (900, b"\x1d"), (1200, b"\x1d"), (1300, b"\x1d")], true),
            (&[(0, b"\x1d\x1dx\x1d")], false),
            (&[(0, b"\x1d\x1d"), (1, b"x"), (2, b"\x1d\x1d")], false),
            (&[(0, b"]]]")], false),
            (&[(0, b"a\x1d\x1d\x1db")], true),
        ];
        for (number, (keys, leaves)) in rows.into_iter().enumerate() {
            let (begin, mut leave) = (Instant::now(), Leave::default());
            let mut wanted = false;
            for (at, bytes) in keys {
                wanted |= leave.typed(bytes, begin + Duration::from_millis(*at));
            }
            assert_eq!(wanted, leaves, "row {number}");
        }
    }
}
