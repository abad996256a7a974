//! Warnings of a build that is tried again are said once.

use super::{Event, Observer};

/// What was said.
#[derive(Debug, Default)]
pub struct Said {
    all: Vec<String>,
    /// What earlier tries have said and this one has not yet.
    earlier: Vec<String>,
}

impl Said {
    /// A try begins: what happens in it is passed on, but for the warnings that an earlier one has given, as often as it has.
    pub fn a_try<'a>(&'a mut self, observe: Observer<'a>) -> impl FnMut(Event<'_>) + 'a {
        self.earlier = self.all.clone();
        move |event| {
            if self.is_new(&event) {
                observe(event);
            }
        }
    }

    fn is_new(&mut self, event: &Event<'_>) -> bool {
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
        let (mut heard, mut others) = (Vec::new(), 0);
        for texts in [&["a", "a"][..], &["b", "a", "a", "a"], &[], &["c", "b"]] {
            let mut hear = |event: Event<'_>| match event {
                Event::Warning(text) => heard.push(text.to_owned()),
                _ => others += 1,
            };
            let mut observe = said.a_try(&mut hear);
            texts.iter().for_each(|text| observe(Event::Warning(text)));
            observe(Event::Done);
        }
        assert_eq!((heard, others), (["a", "a", "b", "a", "c"].map(str::to_owned).to_vec(), 4));
    }
}
