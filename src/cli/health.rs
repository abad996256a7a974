//! The options of `docker run` about health, with docker's value syntax.
//!
//! Source: docker/cli, cli/command/container/opts.go; moby, daemon/container.go, `validateHealthCheck`; Go, time.ParseDuration.

use crate::guest::spec::Healthcheck;
use clap::Args;
use std::time::Duration;

/// The shortest time that the engine takes.
const SHORTEST: Duration = Duration::from_millis(1);

/// Units of Go's durations, in nanoseconds. Both letters for micro are there.
const UNITS: [(&str, f64); 8] =
    [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("μs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9)];

/// What is asked of the workload while it runs.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Health")]
pub struct HealthOptions {
    /// Command line that asks whether the workload is healthy, for a shell [default: the image's HEALTHCHECK]
    #[arg(long, value_name = "COMMAND", allow_hyphen_values = true)]
    health_cmd: Option<String>,
    /// Time between two checks (30s, 1m30s) [default: the image's, or 30s]
    #[arg(long, value_name = "TIME", value_parser = time)]
    health_interval: Option<i64>,
    /// Time after which a check has failed [default: the image's, or 30s]
    #[arg(long, value_name = "TIME", value_parser = time)]
    health_timeout: Option<i64>,
    /// Failures in a row that make the workload unhealthy [default: the image's, or 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32))]
    health_retries: Option<u32>,
    /// Time after the start in which failures do not count [default: the image's, or 0s]
    #[arg(long, value_name = "TIME", value_parser = time)]
    health_start_period: Option<i64>,
    /// Time between two checks while they do not [default: the image's, or 5s]
    #[arg(long, value_name = "TIME", value_parser = time)]
    health_start_interval: Option<i64>,
    /// Ask nothing, whatever HEALTHCHECK the image has
    #[arg(long, conflicts_with_all = ["health_cmd", "health_interval", "health_timeout", "health_retries",
        "health_start_period", "health_start_interval"])]
    no_healthcheck: bool,
}

impl HealthOptions {
    /// What goes on top of the image's health check.
    pub fn healthcheck(&self) -> Option<Healthcheck> {
        if self.no_healthcheck {
            return Some(Healthcheck::none());
        }
        // An empty command is the image's.
        let line = self.health_cmd.clone().filter(|line| !line.is_empty());
        let given = Healthcheck {
            test: line.map_or(vec![], |line| vec!["CMD-SHELL".into(), line]),
            interval: self.health_interval.unwrap_or(0),
            timeout: self.health_timeout.unwrap_or(0),
            start_period: self.health_start_period.unwrap_or(0),
            start_interval: self.health_start_interval.unwrap_or(0),
            retries: self.health_retries.unwrap_or(0).into(),
            shell: Vec::new(),
        };
        (given != Healthcheck::default()).then_some(given)
    }
}

/// `1m30s`, `500ms`, `1.5h`, `0`; a number alone has seconds, as for other times here. Nanoseconds.
fn time(text: &str) -> Result<i64, String> {
    let nanos = match text.parse::<f64>() {
        Ok(seconds) => seconds * 1e9,
        Err(_) => parts(text).ok_or("not a time; write seconds, or numbers with ms, s, m and h: 1m30s")?,
    };
    if nanos < 0.0 {
        return Err("a time cannot be negative".into());
    }
    if !(nanos == 0.0 || (SHORTEST.as_nanos() as f64..=i64::MAX as f64 / 2.0).contains(&nanos)) {
        return Err("not between 1ms and 146 years".into());
    }
    Ok(nanos as i64)
}

/// The sum of its parts, each a number and a unit.
fn parts(text: &str) -> Option<f64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    let mut sum = (!rest.is_empty()).then_some(0.0)?;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(rest.len());
        let (number, behind) = rest.split_at(digits);
        let letters = behind.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(letters);
        let (_, nanos) = UNITS.iter().find(|(name, _)| *name == unit)?;
        sum += number.parse::<f64>().ok()? * nanos;
        rest = behind;
    }
    Some(sign * sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: HealthOptions,
    }

    #[test]
    fn times_are_gos_and_seconds() {
        for (text, nanos) in [
            ("30s", Some(30_000_000_000)),
            ("1m30s", Some(90_000_000_000)),
            ("1.5h", Some(5_400_000_000_000)),
            ("500ms", Some(500_000_000)),
            ("+2m", Some(120_000_000_000)),
            ("1000000ns", Some(1_000_000)),
            ("1500us", Some(1_500_000)),
            ("1500µs", Some(1_500_000)),
            ("30", Some(30_000_000_000)),
            ("0", Some(0)),
            ("0s", Some(0)),
            (".5s", Some(500_000_000)),
            ("999us", None),
            ("-1s", None),
            ("-1", None),
            ("", None),
            ("s", None),
            ("+", None),
            ("1d", None),
            ("1s2", None),
            ("1..5s", None),
            ("inf", None),
            ("nan", None),
            ("9999999h", None),
        ] {
            assert_eq!(time(text).ok(), nanos, "{text}");
        }
    }

    #[test]
    fn options_become_what_is_put_on_top_of_the_images() {
        let check = |test: &[&str]| Healthcheck {
            test: test.iter().map(|&word| word.into()).collect(),
            ..Healthcheck::default()
        };
        for (line, given) in [
            ("", None),
            ("--no-healthcheck", Some(Healthcheck::none())),
            ("--health-cmd=curl", Some(check(&["CMD-SHELL", "curl"]))),
            ("--health-cmd=", None),
            ("--health-retries 0 --health-interval 0s", None),
            (
                "--health-retries 2 --health-interval 1s --health-timeout 2s --health-start-period 3s --health-start-interval 4s",
                Some(Healthcheck {
                    retries: 2,
                    interval: 1_000_000_000,
                    timeout: 2_000_000_000,
                    start_period: 3_000_000_000,
                    start_interval: 4_000_000_000,
                    ..check(&[])
                }),
            ),
        ] {
            let words = ["x"].into_iter().chain(line.split_whitespace());
            assert_eq!(Line::try_parse_from(words).ok().unwrap().options.healthcheck(), given, "{line}");
        }
        for line in ["--no-healthcheck --health-cmd=x", "--health-retries -1", "--health-interval x"] {
            assert!(Line::try_parse_from(["x"].into_iter().chain(line.split(' '))).is_err(), "{line}");
        }
    }
}
