//! The page that a text report is written on: sections of a label and what it says, 80 columns wide.
//!
//! ```text
//!  VERDICT
//!
//!  section
//!    label            value
//!                     evidence, dimmed on a terminal
//! ```
//!
//! A word that is longer than a line (a digest, a path) stays whole: cut it would be useless. Colour only says again
//! what words say already.

use super::units::wrap;
use crate::inspect::model::Fact;
use std::fmt::Write as _;

/// Columns of a line.
pub const WIDTH: usize = 80;
/// Columns before a value.
const INDENT: usize = 18;

/// Text that grows, with or without colour.
pub struct Page {
    text: String,
    colour: bool,
}

impl Page {
    /// An empty one.
    pub fn new(colour: bool) -> Page {
        Page { text: String::new(), colour }
    }

    /// What was written.
    pub fn finish(self) -> String {
        self.text
    }

    /// A heading, with an empty line before it.
    pub fn section(&mut self, title: &str) {
        let (on, off) = self.style("1");
        _ = writeln!(self.text, "\n{on}{title}{off}");
    }

    /// A line as it is.
    pub fn line(&mut self, text: &str) {
        _ = writeln!(self.text, "{text}");
    }

    /// A label and its value, wrapped.
    pub fn row(&mut self, label: &str, value: &str) {
        let room = INDENT - 3;
        for (i, line) in wrap(value, WIDTH - INDENT).into_iter().enumerate() {
            let label = if i == 0 { label } else { "" };
            _ = writeln!(self.text, "{}", format!("  {label:<room$} {line}").trim_end());
        }
    }

    /// What a value was read from.
    pub fn evidence(&mut self, text: &str) {
        let (on, off) = self.style("2");
        for line in wrap(text, WIDTH - INDENT - 2) {
            _ = writeln!(self.text, "{:INDENT$}  {on}{line}{off}", "");
        }
    }

    /// A fact: value and evidence on one line where they fit.
    pub fn fact(&mut self, label: &str, fact: &Fact) {
        let whole = INDENT + fact.value.chars().count() + 2 + fact.evidence.chars().count();
        if whole > WIDTH {
            self.row(label, &fact.value);
            return self.evidence(&fact.evidence);
        }
        let (on, off) = self.style("2");
        let room = INDENT - 3;
        _ = writeln!(self.text, "  {label:<room$} {}  {on}{}{off}", fact.value, fact.evidence);
    }

    /// Facts under one label.
    pub fn facts(&mut self, label: &str, facts: &[Fact]) {
        for (i, fact) in facts.iter().enumerate() {
            self.fact(if i == 0 { label } else { "" }, fact);
        }
    }

    fn style(&self, code: &str) -> (String, &'static str) {
        if self.colour { (format!("\x1b[{code}m"), "\x1b[0m") } else { (String::new(), "") }
    }

    /// The first line.
    pub fn verdict(&mut self, text: &str) {
        let (on, off) = self.style("1;32");
        for line in wrap(text, WIDTH) {
            _ = writeln!(self.text, "{on}{line}{off}");
        }
    }
}
