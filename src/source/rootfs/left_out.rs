//! What of a root file system is not on the disk: counted by its reason, with the first few names.

use crate::escape::escape;
use std::collections::BTreeMap;

/// Names of each reason that are told.
const TOLD: usize = 8;

/// Names by their reasons.
#[derive(Default)]
pub struct LeftOut(BTreeMap<&'static str, (u64, Vec<String>)>);

impl LeftOut {
    /// A name, and what it is or why it is left out.
    pub fn add(&mut self, why: &'static str, path: &[u8]) {
        let (count, names) = self.0.entry(why).or_default();
        *count += 1;
        if names.len() < TOLD {
            names.push(escape(path));
        }
    }

    /// One sentence for each reason.
    pub fn sentences(&self) -> Vec<String> {
        let sentence = |(why, (count, names)): (&&str, &(u64, Vec<String>))| {
            let more = count - names.len() as u64;
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!("left out ({why}): {}{more}", names.join(", "))
        };
        self.0.iter().map(sentence).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_escaped_and_a_million_of_them_are_counted() {
        let mut left_out = LeftOut::default();
        (0..1_000_000).for_each(|_| left_out.add("sockets", b"run/a\x1b"));
        left_out.add("cannot be read", b"root");
        let told = left_out.sentences();
        assert_eq!(told[0], "left out (cannot be read): root");
        assert!(told[1].starts_with("left out (sockets): run/a\\x1b, ") && told[1].ends_with(" and 999992 more"));
    }
}
