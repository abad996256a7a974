//! Resets: which of them a machine boots again after, and when they are a loop.
//!
//! A workload that restarts its machine has come to an end before, and PID 1 has said so: that is its good right, and
//! nothing has failed. A boot that never got to PID 1 and resets does so again. SeaBIOS adds one or two of its own to a
//! reset, to get out of a half-done one: they are no boots.

use std::time::Duration;

/// A boot shorter than this may be a turn of a loop.
const SHORT: Duration = Duration::from_secs(30);
/// A boot shorter than this that nothing was heard of is none.
const SILENT: Duration = Duration::from_secs(1);
/// So many short boots in a row are a loop, by what came of them.
const FAILED: u32 = 3;
const OWN_INIT: u32 = 10;
const ORDERLY: u32 = 5;
/// And so many resets without a boot between them.
const SILENT_ONES: u32 = 100;

/// What is known of the boot that a reset has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// Nothing was heard of it.
    Unheard,
    /// It never came to a result.
    Failed,
    /// It was in the hands of the image's own init.
    OwnInit,
    /// PID 1 had told the workload's result.
    Orderly,
}

/// What follows a reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The machine boots again.
    Boot,
    /// It would not end: so many times.
    Loop(u32),
    /// The same, of a workload that restarts its machine: so many times, and it has a result.
    Enough(u32),
}

/// The resets of a machine so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Resets {
    /// Short boots of one kind in a row.
    row: Option<(Ended, u32)>,
    silent: u32,
}

impl Resets {
    /// One more, after a boot that lived so long.
    pub(super) fn next(&mut self, ended: Ended, lived: Duration) -> Next {
        if ended == Ended::Unheard && lived < SILENT {
            self.silent += 1;
            return if self.silent >= SILENT_ONES { Next::Loop(self.silent) } else { Next::Boot };
        }
        self.silent = 0;
        let ended = if ended == Ended::Unheard { Ended::Failed } else { ended };
        let before = self.row.filter(|(kind, _)| *kind == ended && lived < SHORT).map_or(0, |(_, count)| count);
        let count = before + 1;
        self.row = Some((ended, count));
        match ended {
            Ended::Orderly if count >= ORDERLY => Next::Enough(count),
            Ended::OwnInit if count >= OWN_INIT => Next::Loop(count),
            Ended::Failed if count >= FAILED => Next::Loop(count),
            _ => Next::Boot,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Ended::*;
    use super::*;

    /// What follows the last of these resets; all before are followed by a boot.
    #[track_caller]
    fn after(turns: &[(Ended, u64)]) -> Next {
        let mut resets = Resets::default();
        let mut all: Vec<Next> =
            turns.iter().map(|(ended, lived)| resets.next(*ended, Duration::from_millis(*lived))).collect();
        let last = all.pop().unwrap();
        assert!(all.iter().all(|next| *next == Next::Boot), "{all:?}");
        last
    }

    #[test]
    fn a_loop_is_told_from_a_workload_that_restarts_its_machine() {
        assert_eq!(after(&[(Failed, 500); 3]), Next::Loop(3));
        assert_eq!(after(&[(Orderly, 2000); 5]), Next::Enough(5));
        assert_eq!(after(&[(OwnInit, 9000); 10]), Next::Loop(10));
        assert_eq!(after(&[(Unheard, 10); 100]), Next::Loop(100));
        // Silent for long it has failed.
        assert_eq!(after(&[(Unheard, 5000); 3]), Next::Loop(3));
        // What lives is no loop, however often it restarts.
        for ended in [Failed, OwnInit, Orderly] {
            assert_eq!(after(&vec![(ended, 40_000); 500]), Next::Boot, "{ended:?}");
        }
        // The firmware's own resets add to no row, and end none.
        let with_seabios = [(Orderly, 2000), (Unheard, 5), (Unheard, 5)].repeat(4);
        assert_eq!(after(&with_seabios), Next::Boot);
        assert_eq!(after(&[with_seabios, vec![(Orderly, 2000)]].concat()), Next::Enough(5));
        assert_eq!(after(&[(Failed, 500), (Unheard, 5), (Failed, 500), (Unheard, 5), (Failed, 500)]), Next::Loop(3));
        // One that comes up in between begins anew.
        assert_eq!(after(&[(Failed, 500), (Failed, 500), (Orderly, 2000), (Failed, 500), (Failed, 500)]), Next::Boot);
        assert_eq!(after(&[(Failed, 500), (Failed, 500), (Failed, 40_000), (Failed, 500)]), Next::Boot);
    }
}
