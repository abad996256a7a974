//! Which tests of a suite are made here: by their names, and in this one of several parts.

use super::names;
use super::spec::SpecTest;
use crate::cli::machine::parse_timeout;
use crate::cli::report::WithHint;
use crate::escape::escape;
use crate::fnmatch;
use crate::smoke::{Shard, Share};
use std::collections::BTreeMap;
use std::time::Duration;

/// Most times that a test is made.
const MOST: i64 = 1000;

/// Which tests, and how often.
#[derive(clap::Args)]
#[command(next_help_heading = "Suite")]
pub(super) struct Selection {
    /// Make only the tests whose whole name matches: * is any text, ? a character, [a-z] one of a set; one of several
    /// patterns is enough
    #[arg(long, value_name = "PATTERN")]
    pub(super) filter: Vec<String>,
    /// Make the Nth of M parts of the tests, from 1/M to M/M, each on a host of its own
    #[arg(long, value_name = "N/M")]
    shard: Option<Shard>,
    /// Make every test so many times
    #[arg(long, value_name = "N", default_value = "1", hide_default_value = true, value_parser = clap::value_parser!(u16).range(1..=MOST))]
    pub(super) repeat: u16,
    /// Begin no test after the first one that does not pass
    #[arg(long)]
    pub(super) fail_fast: bool,
    /// Time for all tests together (30, 30s, 5m)
    #[arg(long, value_name = "TIME", value_parser = parse_timeout)]
    pub(super) global_timeout: Option<Duration>,
    /// Number of machines at once, at most [default: what processors and memory allow]
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) jobs: Option<u16>,
}

impl Selection {
    /// The tests that are made here, and which part they are. `seconds` are asked for only when there are parts.
    pub(super) fn of(
        &self,
        tests: Vec<SpecTest>,
        seconds: impl FnOnce() -> BTreeMap<String, f64>,
    ) -> Result<(Vec<SpecTest>, Option<Share>), WithHint> {
        let tests = self.named(tests)?;
        let Some(shard) = self.shard else { return Ok((tests, None)) };
        let seconds = seconds();
        let names: Vec<&str> = tests.iter().map(|test| &*test.name).collect();
        let timed = names.iter().filter(|name| seconds.contains_key(**name)).count();
        let (all, picks) = (tests.len(), shard.picks(&names, &seconds));
        let picked: Vec<SpecTest> =
            tests.into_iter().zip(picks).filter(|(_, picked)| *picked).map(|(test, _)| test).collect();
        let share = Share { shard, all, tests: picked.len(), timed };
        Ok((picked, Some(share)))
    }

    fn named(&self, tests: Vec<SpecTest>) -> Result<Vec<SpecTest>, WithHint> {
        if self.filter.is_empty() {
            return Ok(tests);
        }
        let matches = |test: &SpecTest| {
            self.filter.iter().any(|pattern| fnmatch::matches(pattern.as_bytes(), test.name.as_bytes()))
        };
        let (found, others): (Vec<SpecTest>, Vec<SpecTest>) = tests.into_iter().partition(matches);
        match others.first() {
            Some(other) if found.is_empty() => {
                let name = escape(names::pattern_of(&other.name).as_bytes());
                Err(WithHint {
                    message: format!("no test has a name like {}", escape(self.filter.join(" or ").as_bytes())),
                    hint: format!("there are {} tests, and a pattern is for all of a name: {name}", others.len()),
                })
            }
            _ => Ok(found),
        }
    }
}
