//! What was changed on the way and did not stop the build: counted, and the first few told.

/// Warnings of one seal: a kind that occurs a million times takes no memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Warnings {
    count: u64,
    first: Vec<String>,
}

/// Texts that are kept.
const KEPT: usize = 10;

impl Warnings {
    /// Counts one; `text` is only asked for while texts are kept.
    pub(super) fn add(&mut self, text: impl FnOnce() -> String) {
        self.count += 1;
        if self.first.len() < KEPT {
            self.first.push(text());
        }
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The first few, as printable text.
    pub fn first(&self) -> &[String] {
        &self.first
    }
}
