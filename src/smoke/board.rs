//! What everybody who watches one machine writes on, and what they wait at.

use super::expect::Expectation;
use super::pattern::Pattern;
use super::phases::Phases;
use super::trouble::{Listener, Trouble};
use super::verdict::{Held, Unmet, Verdict};
use super::watch::{Hit, Stream, Watch};
use crate::guest::channel::Outcome as Workload;
use crate::session::console;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Bytes of the firmware's log that are kept.
const FIRMWARE: usize = 4096;

/// The board of one machine.
pub(super) struct Board {
    state: Mutex<State>,
    changed: Condvar,
}

/// What is written on it.
pub(super) struct State {
    /// QEMU's first instruction.
    pub(super) started: Option<Instant>,
    /// QEMU's process, from then on.
    pub(super) pid: Option<u32>,
    pub(super) phases: Phases,
    pub(super) standings: Vec<Standing>,
    /// What ends the test before the machine's own end.
    pub(super) fatal: Option<Verdict>,
    /// Something came: a byte of the console, or PID 1's hello.
    pub(super) heard: bool,
    /// What was said before it began: why this accelerator.
    pub(super) note: Option<String>,
    /// The accelerator and why, once the machine has begun.
    pub(super) accel: Option<String>,
    /// The machine has ended, or never began.
    pub(super) over: bool,
    /// Others are waited for when everything here holds.
    among_others: bool,
    /// How the workload ended.
    outcome: Option<Workload>,
    /// Its streams that have not been read to their ends.
    open_streams: u8,
    /// The firmware's last words, for when nobody else said anything.
    firmware: Vec<u8>,
    watch: Watch,
    trouble: Listener,
    /// The first line that says its kernel was kept waiting.
    stalled: Option<String>,
}

/// An expectation and what became of it.
pub(super) struct Standing {
    pub(super) expectation: Expectation,
    pub(super) at: Option<Duration>,
    pub(super) seen: Option<String>,
}

impl Board {
    pub(super) fn new(expectations: Vec<Expectation>) -> Board {
        let patterns = expectations.iter().enumerate().filter_map(|(number, expectation)| match expectation {
            Expectation::Output(pattern) | Expectation::Reject(pattern) => Some((number, Pattern::clone(pattern))),
            _ => None,
        });
        let mut patterns: Vec<_> = patterns.collect();
        // What completes a test comes before what is rejected at the same place: it is rejected before the rest holds.
        patterns.sort_by_key(|(number, _)| !expectations[*number].is_positive());
        let watch = Watch::new(&patterns);
        let standings =
            expectations.into_iter().map(|expectation| Standing { expectation, at: None, seen: None }).collect();
        let state = State {
            started: None,
            pid: None,
            phases: Phases::default(),
            standings,
            fatal: None,
            heard: false,
            note: None,
            accel: None,
            over: false,
            among_others: false,
            outcome: None,
            open_streams: 2,
            firmware: Vec::new(),
            watch,
            trouble: Listener::default(),
            stalled: None,
        };
        Board { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// The board of one machine of several.
    pub(super) fn among_others(expectations: Vec<Expectation>) -> Board {
        let board = Board::new(expectations);
        board.write(|state| state.among_others = true);
        board
    }

    /// Whether this expectation has held.
    pub(super) fn has_held(&self, number: usize) -> bool {
        self.lock().standings.get(number).is_some_and(|standing| standing.at.is_some())
    }

    /// When the machine began, from `begun` on; nothing for one that did not.
    pub(super) fn since(&self, begun: Instant) -> Duration {
        self.lock().started.map_or(Duration::ZERO, |started| started.saturating_duration_since(begun))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes on the board, and wakes everybody.
    pub(super) fn write<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.lock());
        self.changed.notify_all();
        result
    }

    /// Waits until `ready` gives something, at most for `patience`.
    pub(super) fn wait<T>(&self, patience: Duration, mut ready: impl FnMut(&mut State) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + patience;
        let mut state = self.lock();
        loop {
            if let Some(result) = ready(&mut state) {
                return Some(result);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Sleeps; whether the machine still runs afterwards.
    pub(super) fn sleep(&self, time: Duration) -> bool {
        self.wait(time, |state| state.over.then_some(())).is_none()
    }

    /// Waits for the workload's start; whether the machine still runs then.
    pub(super) fn wait_for_workload(&self) -> bool {
        loop {
            let started = |state: &mut State| (state.over || state.workload_runs()).then_some(!state.over);
            if let Some(running) = self.wait(Duration::from_secs(3600), started) {
                return running;
            }
        }
    }

    /// What a check saw: it holds, or not yet.
    pub(super) fn check(&self, number: usize, holds: bool, seen: String) {
        self.write(|state| {
            // What fails because the machine is being ended says nothing of the workload.
            if !holds && (state.over || state.fatal.is_some()) {
                return;
            }
            let at = state.now();
            let standing = &mut state.standings[number];
            standing.at = standing.at.or(holds.then_some(at));
            standing.seen = Some(seen);
            state.settle();
        });
    }

    /// A check has begun: what is true of it until its first answer.
    pub(super) fn begin(&self, number: usize, seen: &str) {
        self.write(|state| _ = state.standings[number].seen.get_or_insert_with(|| seen.to_owned()));
    }

    /// Takes text of a stream.
    pub(super) fn text(&self, stream: Stream, bytes: &[u8]) {
        self.write(|state| state.text(stream, bytes));
    }

    /// A stream has been read to its end.
    pub(super) fn end_of(&self, stream: Stream) {
        self.write(|state| {
            let hits = state.watch.end(stream);
            // Where we cut the stream off its end is no end of a line.
            if state.fatal.is_none() {
                state.take_hits(hits);
            }
            if stream != Stream::Console {
                state.open_streams = state.open_streams.saturating_sub(1);
            }
            state.judge_status();
        });
    }

    /// Everything, when nobody else has the board any more.
    pub(super) fn into_state(self) -> State {
        self.state.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What may have kept it from what was expected.
    pub(super) fn hint(&self) -> Option<String> {
        let said = self.stalled.as_ref()?;
        Some(format!("its kernel was kept waiting, as it is on a busy host: {said}"))
    }

    /// Time since QEMU's first instruction.
    pub(super) fn now(&self) -> Duration {
        self.started.map_or(Duration::ZERO, |started| started.elapsed())
    }

    fn text(&mut self, stream: Stream, bytes: &[u8]) {
        let now = self.now();
        self.heard = true;
        let boots = self.boots();
        let first = if stream == Stream::Console { &mut self.phases.console } else { &mut self.phases.output };
        // What was written before a snapshot was made has no time here.
        if boots {
            first.get_or_insert(now);
        }
        let troubles = if stream == Stream::Console { self.trouble.feed(bytes) } else { Vec::new() };
        for trouble in troubles {
            match trouble {
                Trouble::Broken(line) => _ = self.fatal.get_or_insert(Verdict::Oops(line)),
                Trouble::Stalled(line) => _ = self.stalled.get_or_insert(line),
            }
        }
        let hits = self.watch.feed(stream, bytes);
        self.take_hits(hits);
    }

    /// In the order of the text, so that it does not matter what came in one piece.
    fn take_hits(&mut self, hits: Vec<Hit>) {
        let now = self.now();
        for hit in hits {
            let complete = self.all_held() && !self.among_others;
            let standing = &mut self.standings[hit.pattern];
            if standing.expectation.is_positive() {
                standing.at = Some(now);
            } else if complete {
                continue;
            } else {
                let expectation = standing.expectation.to_string();
                self.fatal.get_or_insert(Verdict::Rejected { expectation, line: hit.line.clone() });
            }
            standing.seen = Some(hit.line);
        }
        self.settle();
    }

    /// A check has seen that its expectation will not hold any more.
    pub(super) fn never(&mut self, number: usize, seen: String) {
        self.standings[number].seen = Some(seen);
        let unmet = self.unmet();
        self.fatal.get_or_insert(Verdict::Failed(unmet));
    }

    /// PID 1 has said hello.
    pub(super) fn greet(&mut self) {
        self.heard = true;
        self.watch.greet();
    }

    /// What PID 1 says about the machine. It has escaped what it quotes; what else it says is its own affair.
    pub(super) fn pid1_says(&mut self, text: &str) {
        let line = crate::escape::escape(text.as_bytes());
        self.watch.remember(&format!("bootdisk: {line}"));
    }

    /// The machine goes on from a snapshot; what was told before comes again.
    pub(super) fn goes_on(&mut self, at: Duration) {
        self.heard = true;
        self.phases.restored.get_or_insert(at);
    }

    /// The machine boots, so that what is told has its time in it.
    pub(super) fn boots(&self) -> bool {
        self.phases.restored.is_none()
    }

    fn workload_runs(&self) -> bool {
        self.phases.workload.or(self.phases.restored).is_some()
    }

    /// The workload was started.
    pub(super) fn workload_began(&mut self, at: Duration) {
        let at = self.phases.restored.unwrap_or(at);
        if self.boots() {
            self.phases.workload.get_or_insert(at);
        }
        let started = self.standings.iter_mut().filter(|one| matches!(one.expectation, Expectation::Started));
        started.for_each(|standing| _ = standing.at.get_or_insert(at));
        self.settle();
    }

    /// How the workload ended, in words, if it has.
    pub(super) fn how_it_ended(&self) -> Option<String> {
        self.outcome.as_ref().map(describe)
    }

    /// The workload has ended.
    pub(super) fn workload_ended(&mut self, outcome: &Workload) {
        let exit_codes = self.standings.iter_mut().filter(|one| matches!(one.expectation, Expectation::ExitCode(_)));
        exit_codes.for_each(|standing| standing.seen = Some(describe(outcome)));
        self.outcome = Some(outcome.clone());
        self.judge_status();
    }

    /// The status counts when all that the workload wrote has been looked at: a rejected text may be its last.
    fn judge_status(&mut self) {
        let Some(status) = self.outcome.as_ref().filter(|_| self.open_streams == 0).map(Workload::status) else {
            return;
        };
        let now = self.now();
        for standing in &mut self.standings {
            if let Expectation::ExitCode(wanted) = standing.expectation {
                standing.at = standing.at.or((status == wanted).then_some(now));
            }
        }
        self.settle();
    }

    /// Everything positive holds.
    pub(super) fn all_held(&self) -> bool {
        self.standings.iter().all(|standing| !standing.expectation.is_positive() || standing.at.is_some())
    }

    fn settle(&mut self) {
        if self.all_held() {
            let now = self.now();
            self.phases.ready.get_or_insert(now);
        }
    }

    /// The positive expectations that do not hold.
    pub(super) fn unmet(&self) -> Vec<Unmet> {
        let unmet = |standing: &&Standing| standing.expectation.is_positive() && standing.at.is_none();
        let standings = self.standings.iter().filter(unmet);
        standings.map(|standing| Unmet::new(&standing.expectation, standing.seen.as_deref())).collect()
    }

    /// What became of each expectation. A rejected text that did not come held all the time.
    pub(super) fn held(&self) -> Vec<Held> {
        let held = |standing: &Standing| Held {
            expectation: standing.expectation.to_string(),
            at: standing.at.or_else(|| {
                let kept = !standing.expectation.is_positive() && standing.seen.is_none();
                kept.then(|| self.now())
            }),
            seen: standing.seen.clone(),
        };
        self.standings.iter().map(held).collect()
    }

    /// The firmware's log: no sign of life of what it boots.
    pub(super) fn firmware_says(&mut self, bytes: &[u8]) {
        self.firmware.extend_from_slice(bytes);
        let surplus = self.firmware.len().saturating_sub(FIRMWARE);
        self.firmware.drain(..surplus);
    }

    /// The last lines of workload, PID 1 and console, or of the firmware when it alone spoke.
    pub(super) fn last_lines(&self, count: usize) -> Vec<String> {
        if !self.heard {
            return console::lines(&self.firmware, count);
        }
        let mut lines = self.watch.last_lines(count);
        if lines.is_empty() && self.workload_runs() {
            lines.push("(the workload has said nothing)".into());
        }
        lines
    }
}

/// How a process ended, in words.
pub(super) fn describe(outcome: &Workload) -> String {
    match outcome {
        Workload::Exited(status) => format!("it ended with status {status}"),
        Workload::Signaled(signal) => format!("signal {signal} ended it (status {})", outcome.status()),
        Workload::NotStarted { status, reason } => {
            format!("it could not be started (status {status}): {}", crate::escape::escape(reason.as_bytes()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board(expectations: &[Expectation]) -> Board {
        Board::new(expectations.to_vec())
    }

    fn output(text: &str) -> Expectation {
        Expectation::Output(Pattern::text(text).unwrap())
    }

    fn reject(expression: &str) -> Expectation {
        Expectation::Reject(Pattern::regex(expression).unwrap())
    }

    /// Whether everything held, and whether something was rejected first.
    fn standing(board: Board) -> (bool, bool) {
        let state = board.into_state();
        (state.all_held() && state.fatal.is_none(), state.fatal.is_some())
    }

    #[test]
    fn text_is_rejected_until_everything_else_holds_however_it_arrives() {
        for (text, expectations, passed) in [
            ("ready\nFAIL\n", vec![output("ready"), reject("FAIL$")], true),
            ("FAIL\nready\n", vec![output("ready"), reject("FAIL$")], false),
            ("FAIL\nready\n", vec![reject("FAIL$"), output("ready")], false),
            ("ready", vec![reject("ready"), output("ready")], true),
            ("one\nFAIL\ntwo\n", vec![output("one"), output("two"), reject("FAIL")], false),
            ("one\ntwo\nFAIL\n", vec![output("two"), output("one"), reject("FAIL")], true),
            ("FAILED\nready\n", vec![output("ready"), reject("FAIL$")], true),
        ] {
            for chunk in 1..=text.len() {
                let board = board(&expectations);
                text.as_bytes().chunks(chunk).for_each(|part| board.text(Stream::Stdout, part));
                assert_eq!(standing(board), (passed, !passed), "{text:?} in chunks of {chunk}");
            }
        }
    }

    /// Alone it would be over with the first line.
    #[test]
    fn among_others_text_is_rejected_until_the_end() {
        let board = Board::among_others(vec![output("ready"), reject("FAIL"), Expectation::Started]);
        assert!(!board.has_held(2));
        board.write(|state| state.workload_began(Duration::from_secs(3)));
        board.text(Stream::Stdout, b"ready\nFAIL\n");
        assert!(board.has_held(0) && board.has_held(2) && !board.has_held(3));
        assert_eq!(standing(board), (false, true));
    }

    /// The result may overtake output that nobody has read yet.
    #[test]
    fn a_status_holds_when_all_that_the_workload_wrote_has_been_read() {
        for (last, passed) in [("FAIL", false), ("fine", true)] {
            let board = board(&[Expectation::ExitCode(0), reject("FAIL$")]);
            board.write(|state| state.workload_ended(&Workload::Exited(0)));
            board.end_of(Stream::Stderr);
            assert!(!board.write(|state| state.all_held()), "standard output is still to come");
            board.text(Stream::Stdout, last.as_bytes());
            board.end_of(Stream::Stdout);
            assert_eq!(standing(board), (passed, !passed), "{last}");
        }
    }

    #[test]
    fn the_firmware_is_quoted_when_nobody_else_spoke() {
        let board = board(&[]);
        board.write(|state| state.firmware_says(b"Booting from Hard Disk...\n"));
        assert_eq!(board.write(|state| state.last_lines(15)), ["Booting from Hard Disk..."]);
        board.write(State::greet);
        assert_eq!(board.write(|state| state.last_lines(15)), [""; 0]);
        board.write(|state| state.pid1_says("no such user: a\x1bb\\c"));
        assert_eq!(board.write(|state| state.last_lines(15)), ["bootdisk: no such user: a\\x1bb\\\\c"]);
    }
}
