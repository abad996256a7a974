//! What is told while machines boot: on a terminal a line of how many there are, and each test's end as it comes.

use crate::cli::options::{Global, ProgressMode};
use crate::cli::progress::Progress;
use crate::smoke::schedule::Told;
use crate::smoke::{Report, Test, verdict};
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// How far the tests are.
pub(super) struct Tell {
    line: Progress,
    /// Ends of tests are told.
    shown: bool,
    all: usize,
    so_far: Mutex<SoFar>,
}

/// Tests by what they are at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct SoFar {
    begun: usize,
    running: usize,
    /// Names of tests that something better is known for.
    hinted: BTreeSet<String>,
}

impl SoFar {
    /// `2 of 9 booting`, and more than one where several do so at once.
    fn words(&self, all: usize) -> String {
        match self.running {
            0 | 1 => format!("{} of {all} booting", self.begun),
            several => format!("{} of {all} booting, {several} at once", self.begun),
        }
    }
}

impl Tell {
    /// Of so many machines.
    pub(super) fn new(global: &Global, all: usize) -> Tell {
        let shown = !global.quiet && global.progress != ProgressMode::None;
        Tell { line: Progress::new(global), shown, all, so_far: Mutex::default() }
    }

    /// One has begun, or ended.
    pub(super) fn hear(&self, told: Told<'_>) {
        let mut so_far = self.so_far.lock().unwrap_or_else(PoisonError::into_inner);
        match told {
            Told::Begun(test) => {
                so_far.begun += 1;
                so_far.running += 1;
                self.hint(test, &mut so_far);
                self.line.waiting_as(&so_far.words(self.all), &format!("{}: {}", so_far.words(self.all), title(test)));
            }
            Told::Ended(report) => {
                so_far.running = so_far.running.saturating_sub(1);
                self.ended(report);
            }
            Told::Failed(report) => self.say(report, ", tried again"),
            Told::Left(report) => self.ended(report),
            Told::Warned(text) => self.line.say(&format!("warning: {text}\n")),
        }
    }

    /// Said in time: the end of a service is waited for in vain.
    fn hint(&self, test: &Test, so_far: &mut SoFar) {
        if let Some(question) = test.question().filter(|_| self.shown)
            && so_far.hinted.insert(test.name.clone())
        {
            let name = crate::escape::escape(test.name.as_bytes());
            self.line.say(&format!("note: {name} is waited for until it ends; {question}\n"));
        }
    }

    /// A test that has its report.
    pub(super) fn ended(&self, report: &Report) {
        self.say(report, "");
    }

    fn say(&self, report: &Report, next: &str) {
        if self.shown {
            let time = verdict::seconds(report.elapsed);
            self.line.say(&format!("{} {} ({time}){next}\n", report.word(), report.title()));
        }
    }

    /// Nothing is waited for any more.
    pub(super) fn over(&self) {
        self.line.clear();
    }
}

fn title(test: &Test) -> String {
    let name = crate::escape::escape(test.name.as_bytes());
    format!("{name} {}", test.combination).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::SoFar;

    #[test]
    fn the_line_says_how_many_are_at_it() {
        assert_eq!(SoFar { begun: 2, running: 1, ..SoFar::default() }.words(9), "2 of 9 booting");
        assert_eq!(SoFar { begun: 4, running: 3, ..SoFar::default() }.words(9), "4 of 9 booting, 3 at once");
    }
}
