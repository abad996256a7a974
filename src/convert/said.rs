//! Warnings of a build that is tried again are said once.

use super::Event;

/// What was said.
#[derive(Debug, Default)]
pub struct Said {
    all: Vec<String>,
    /// What earlier tries have said and this one has not yet.
    earlier: Vec<String>,
}

impl Said {
    /// A try begins.
    pub fn begin(&mut self) {
        self.earlier = self.all.clone();
    }

    /// Whether this is new: anything but a warning, or one that an earlier try has not given, or not so often.
    pub fn is_new(&mut self, event: &Event<'_>) -> bool {
        let Event::Warning(text) = event else { return true };
        match self.earlier.iter().position(|said| said == text) {
            Some(at) => {
                self.earlier.swap_remove(at);
                false
            }
            None => {
                self.all.push((*text).to_owned());
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_as_often_said_as_in_the_try_that_gives_most() {
        let mut said = Said::default();
        let mut heard: Vec<&str> = Vec::new();
        for texts in [&["a", "a"][..], &["b", "a", "a", "a"], &[], &["c", "b"]] {
            said.begin();
            heard.extend(texts.iter().filter(|text| said.is_new(&Event::Warning(text))));
            assert!(said.is_new(&Event::Done));
        }
        assert_eq!(heard, ["a", "a", "b", "a", "c"]);
    }
}
