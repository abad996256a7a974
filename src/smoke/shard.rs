//! `--shard 2/3`: the second of three parts of the tests, for as many hosts that know nothing of each other.
//!
//! Every host computes the whole split and takes its part. The split depends on the tests' names, their order and the
//! recorded seconds alone; with the same of these every test is in exactly one part.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// Most parts.
const MOST: u16 = 1000;

/// One of several parts; both numbers count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    number: u16,
    of: u16,
}

/// Why text is not a part.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShardError {
    /// Not N/M.
    #[error("not N/M with N from 1 to M, and M at most {MOST}")]
    Shape,
    /// Counted from 0.
    #[error("shards count from 1: the first of {0} is 1/{0}")]
    Zero(u16),
}

impl FromStr for Shard {
    type Err = ShardError;

    fn from_str(text: &str) -> Result<Shard, ShardError> {
        let number = |text: &str| text.parse::<u16>().ok().filter(|_| !text.starts_with('+'));
        let parts = text.split_once('/').and_then(|(number_, of)| Some((number(number_)?, number(of)?)));
        match parts {
            Some((0, of @ 1..=MOST)) => Err(ShardError::Zero(of)),
            Some((number, of @ 1..=MOST)) if number <= of => Ok(Shard { number, of }),
            _ => Err(ShardError::Shape),
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

/// What a part is, for reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// Which part.
    pub shard: Shard,
    /// How many tests there are in all parts.
    pub all: usize,
    /// How many of them are in this one.
    pub tests: usize,
    /// How many of all have recorded seconds.
    pub timed: usize,
}

impl fmt::Display for Share {
    /// `shard 2/3: 20 of 60 tests, by recorded times of 60`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = match self.timed {
            0 => "by their number".to_owned(),
            timed => format!("by recorded times of {timed}"),
        };
        write!(f, "shard {}: {} of {} tests, {by}", self.shard, self.tests, self.all)
    }
}

impl Shard {
    /// Which of these tests are in this part. The longest comes first, and each goes to the part that has least to do; one
    /// without recorded seconds is taken for an average one.
    pub fn picks(self, names: &[&str], seconds: &BTreeMap<String, f64>) -> Vec<bool> {
        let known: Vec<f64> = names.iter().filter_map(|name| seconds.get(*name).copied()).collect();
        let average = if known.is_empty() { 1.0 } else { known.iter().sum::<f64>() / known.len() as f64 };
        let mut tests: Vec<(usize, f64)> =
            names.iter().map(|name| seconds.get(*name).copied().unwrap_or(average)).enumerate().collect();
        // Stable: where times are the same, the order of the file decides.
        tests.sort_by(|a, b| b.1.total_cmp(&a.1));
        let mut loads = vec![(0.0_f64, 0_usize); usize::from(self.of)];
        let mut picks = vec![false; names.len()];
        for (test, time) in tests {
            let lightest =
                (0..loads.len()).min_by(|&a, &b| loads[a].0.total_cmp(&loads[b].0).then(loads[a].1.cmp(&loads[b].1)));
            let Some(part) = lightest else { break };
            loads[part] = (loads[part].0 + time, loads[part].1 + 1);
            picks[test] = part + 1 == usize::from(self.number);
        }
        picks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(of: &[(&str, f64)]) -> BTreeMap<String, f64> {
        of.iter().map(|(name, time)| ((*name).to_owned(), *time)).collect()
    }

    #[test]
    fn every_test_is_in_exactly_one_part_whatever_is_known_of_it() {
        let names: Vec<String> = (0..60).map(|n| format!("t{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let odd: BTreeMap<String, f64> = names.iter().step_by(7).map(|name| ((*name).to_owned(), 0.0)).collect();
        let some: BTreeMap<String, f64> =
            names.iter().enumerate().skip(9).map(|(n, name)| ((*name).to_owned(), (n * n % 17) as f64)).collect();
        for known in [BTreeMap::new(), odd, some, seconds(&[("t5", 1e9), ("gone", 3.0)])] {
            for of in [1, 2, 3, 7, 59, 60, 61, 1000] {
                let mut times = vec![0; names.len()];
                for number in 1..=of {
                    let picks = Shard { number, of }.picks(&names, &known);
                    times.iter_mut().zip(picks).for_each(|(times, picked)| *times += usize::from(picked));
                }
                assert!(times.iter().all(|times| *times == 1), "{of}: {times:?}");
            }
        }
    }

    #[test]
    fn parts_take_about_as_long_as_each_other() {
        let names = ["long", "a", "b", "c", "d"];
        let known = seconds(&[("long", 40.0), ("a", 10.0), ("b", 10.0), ("c", 10.0)]);
        let part = |number| {
            let picks = Shard { number, of: 2 }.picks(&names, &known);
            names.iter().zip(picks).filter(|(_, picked)| *picked).map(|(name, _)| *name).collect::<Vec<_>>()
        };
        // `d` is taken for 17.5 seconds.
        assert_eq!((part(1), part(2)), (vec!["long"], vec!["a", "b", "c", "d"]));
        let counts = [1, 2, 3].map(|number| {
            let picks = Shard { number, of: 3 }.picks(&["x"; 60], &BTreeMap::new());
            picks.iter().filter(|picked| **picked).count()
        });
        assert_eq!(counts, [20, 20, 20]);
    }

    #[test]
    fn a_part_is_written_from_1() {
        assert_eq!("2/3".parse::<Shard>().unwrap().to_string(), "2/3");
        assert_eq!("0/3".parse::<Shard>().unwrap_err().to_string(), "shards count from 1: the first of 3 is 1/3");
        for bad in ["", "1", "4/3", "1/0", "0/0", "1/1001", "+1/3", "-1/3", "1/3/3", " 1/3", "a/b"] {
            assert_eq!(bad.parse::<Shard>(), Err(ShardError::Shape), "{bad}");
        }
    }
}
