//! How long the tests of spec files took, by their names: what the parts of a suite are balanced by.
//!
//! ```text
//! test-seconds.json    {"serves": 12.5, "migrates": 3.1}
//! ```
//!
//! Nothing depends on it but the balance. What cannot be read is taken for nothing, and what cannot be written is left.

use crate::{own_folder, whole_file};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The file in the cache's folder.
const NAME: &str = "test-seconds.json";
/// Most names that are kept.
const MOST: usize = 4000;
/// Longest file that is read or written, in bytes.
const LONGEST: u64 = 4 << 20;
/// Longest time that is believed, in seconds: a week.
const WEEK: f64 = 604_800.0;

/// What is recorded in the cache at `dir`.
pub fn read(dir: &Path) -> BTreeMap<String, f64> {
    let mut text = String::new();
    let file = File::open(dir.join(NAME)).ok().filter(|file| file.metadata().is_ok_and(|facts| facts.is_file()));
    let whole = file.and_then(|file| file.take(LONGEST + 1).read_to_string(&mut text).ok());
    if whole.is_none_or(|bytes| bytes as u64 > LONGEST) {
        return BTreeMap::new();
    }
    let all: BTreeMap<String, f64> = serde_json::from_str(&text).unwrap_or_default();
    all.into_iter().filter(|(_, seconds)| (0.0..WEEK).contains(seconds)).take(MOST).collect()
}

/// Adds to what is recorded, in place of what was known of the same names. When there are too many, of the others the last
/// in the order of names go.
pub fn record(dir: &Path, seconds: BTreeMap<String, f64>) {
    let mut all: BTreeMap<String, f64> = seconds.into_iter().take(MOST).collect();
    for (name, time) in read(dir) {
        if all.len() < MOST {
            all.entry(name).or_insert(time);
        }
    }
    if let Ok(text) = serde_json::to_vec(&all)
        && text.len() as u64 <= LONGEST
        && own_folder::make_private(dir).is_ok()
    {
        _ = whole_file::write(&dir.join(NAME), &text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(of: &[(&str, f64)]) -> BTreeMap<String, f64> {
        of.iter().map(|(name, time)| ((*name).to_owned(), *time)).collect()
    }

    #[test]
    fn what_is_recorded_is_read_and_replaced_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let cache = dir.path().join("cache");
        assert_eq!(read(&cache), BTreeMap::new());
        record(&cache, seconds(&[("a", 1.5), ("b", 2.0)]));
        record(&cache, seconds(&[("b", 3.0), ("ü \"", 0.0)]));
        assert_eq!(read(&cache), seconds(&[("a", 1.5), ("b", 3.0), ("ü \"", 0.0)]));
    }

    #[test]
    fn a_file_that_is_none_is_nothing_and_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        for text in ["", "[1]", "{\"a\": \"x\"}", "{\"a\": 1", "\u{0}", &" ".repeat(LONGEST as usize + 1)] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(read(dir.path()), BTreeMap::new());
            record(dir.path(), seconds(&[("a", 1.0)]));
            assert_eq!(read(dir.path()), seconds(&[("a", 1.0)]));
        }
        std::fs::write(&path, "{\"a\": 1, \"b\": -1, \"c\": 1e300}").unwrap();
        assert_eq!(read(dir.path()), seconds(&[("a", 1.0)]));
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        record(dir.path(), seconds(&[("a", 1.0)]));
        assert_eq!(read(dir.path()), BTreeMap::new());
    }

    #[test]
    fn it_does_not_grow_without_end() {
        let dir = tempfile::tempdir().unwrap();
        for round in 0..3 {
            record(dir.path(), (0..MOST).map(|n| (format!("{round} {n}"), 1.0)).collect());
        }
        let all = read(dir.path());
        assert_eq!(all.len(), MOST);
        assert!(all.keys().all(|name| name.starts_with("2 ")), "the last ones stay");
    }
}
