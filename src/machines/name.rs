//! Names of machines: checked as container names are, or made of two words.

use super::error::MachineError;
use std::fs::File;
use std::io::Read;

/// Longest name, in bytes.
const LONGEST: usize = 64;

const QUALITIES: [&str; 32] = [
    "able", "brave", "bright", "brisk", "calm", "clever", "cosy", "eager", "early", "fair", "fleet", "fond", "gentle",
    "glad", "grand", "happy", "jolly", "keen", "kind", "lively", "lucky", "mellow", "merry", "neat", "noble", "proud",
    "quick", "quiet", "sharp", "steady", "sunny", "warm",
];

const THINGS: [&str; 32] = [
    "acorn", "alder", "anchor", "badger", "beacon", "birch", "brook", "canyon", "cedar", "cloud", "comet", "delta",
    "falcon", "fern", "glade", "harbour", "heron", "island", "kettle", "lantern", "maple", "meadow", "otter", "pebble",
    "raven", "reef", "river", "rowan", "summit", "thicket", "tulip", "willow",
];

/// Checks a name: a letter or digit, then letters, digits, `_`, `.` and `-`, at most 64 in all.
///
/// # Errors
/// [`MachineError::Name`].
pub fn check(name: &str) -> Result<(), MachineError> {
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    match first && name.len() <= LONGEST && name.bytes().all(legal) {
        true => Ok(()),
        false => Err(MachineError::Name(name.to_owned())),
    }
}

/// A name that `taken` does not have: two words, and a number when the words are.
pub fn make(taken: impl Fn(&str) -> bool) -> String {
    let mut seed = [0; 2];
    // Without randomness the names are only less varied.
    _ = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut seed));
    let words = format!("{}-{}", QUALITIES[usize::from(seed[0]) % 32], THINGS[usize::from(seed[1]) % 32]);
    let mut names = (2..).map(|number| format!("{words}-{number}"));
    let mut name = words.clone();
    while taken(&name) {
        name = names.next().unwrap_or_default();
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_containers() {
        for good in ["a", "web-1", "A_b.c", "7", &"x".repeat(64)] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", ".", "..", "a/b", "a b", "ä", "a\n", &"x".repeat(65)] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn made_names_are_names_and_differ_from_those_there_are() {
        let mut all = std::collections::BTreeSet::new();
        for _ in 0..2000 {
            let name = make(|name| all.contains(name));
            assert!(check(&name).is_ok() && name.len() <= 20, "{name}");
            assert!(all.insert(name));
        }
    }
}
