//! The workload's environment, as a container runtime composes it.

use crate::guest::spec::DEFAULT_PATH;
use std::collections::BTreeMap;

/// The environment in order: the runtime's own names first, then the image's. A later value of a name replaces an
/// earlier one in its place; entries without `=` are passed as they are.
///
/// `term` is there with a terminal only. `HOME` is the home folder where the image has none or an empty one.
pub fn compose(entries: &[String], hostname: &str, home: &str, term: Option<&str>) -> Vec<String> {
    let mut list = Variables::default();
    list.set(format!("PATH={DEFAULT_PATH}"));
    list.set(format!("HOSTNAME={hostname}"));
    if let Some(term) = term {
        list.set(format!("TERM={term}"));
    }
    for entry in entries {
        list.set(entry.clone());
    }
    if value(&list.entries, "HOME").is_none_or(str::is_empty) {
        list.set(format!("HOME={home}"));
    }
    list.entries
}

/// The value of a name.
pub fn value<'a>(entries: &'a [String], name: &str) -> Option<&'a str> {
    entries.iter().find_map(|entry| entry.strip_prefix(name)?.strip_prefix('='))
}

#[derive(Default)]
struct Variables {
    entries: Vec<String>,
    places: BTreeMap<String, usize>,
}

impl Variables {
    fn set(&mut self, entry: String) {
        let Some((name, _)) = entry.split_once('=') else {
            return self.entries.push(entry);
        };
        match self.places.get(name) {
            Some(place) => self.entries[*place] = entry,
            None => {
                self.places.insert(name.to_owned(), self.entries.len());
                self.entries.push(entry);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compose_of(entries: &[&str]) -> Vec<String> {
        let entries: Vec<String> = entries.iter().map(|entry| (*entry).to_owned()).collect();
        compose(&entries, "box", "/root", None)
    }

    #[test]
    fn the_runtimes_names_come_first_and_the_image_wins() {
        assert_eq!(compose_of(&[]), [&format!("PATH={DEFAULT_PATH}"), "HOSTNAME=box", "HOME=/root"]);
        assert_eq!(compose_of(&["HOME=/x", "PATH=/bin"]), ["PATH=/bin", "HOSTNAME=box", "HOME=/x"]);
        // An empty home is none, in its place; an empty PATH is kept.
        assert_eq!(compose_of(&["HOME=", "PATH=", "A=1"]), ["PATH=", "HOSTNAME=box", "HOME=/root", "A=1"]);
    }

    #[test]
    fn the_last_of_equal_names_wins_in_the_first_ones_place() {
        assert_eq!(compose_of(&["A=1", "B=2", "A=3"])[2..], ["A=3", "B=2", "HOME=/root"]);
    }

    #[test]
    fn odd_entries_are_passed_as_they_are() {
        assert_eq!(compose_of(&["NOVALUE", "=x", "", "E="])[2..], ["NOVALUE", "=x", "", "E=", "HOME=/root"]);
    }

    #[test]
    fn ten_thousand_entries_are_quick() {
        let entries: Vec<String> = (0..20_000).map(|n| format!("V{}={n}", n % 10_000)).collect();
        let list = compose(&entries, "box", "/", Some("xterm"));
        assert_eq!(list.len(), 10_004);
        assert_eq!(value(&list, "V7"), Some("10007"));
        assert_eq!(value(&list, "TERM"), Some("xterm"));
    }
}
