//! A health check, as an image's configuration has it (Docker image specification v1.2, `Healthcheck`). PID 1 does not
//! use it: whoever started the machine runs the checks beside the workload.

use serde::{Deserialize, Serialize};

/// Docker's health check; times in nanoseconds, 0 is the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", line]`.
    #[serde(default)]
    pub test: Vec<String>,
    /// Time between two checks.
    #[serde(default)]
    pub interval: i64,
    /// Time after which a check has failed.
    #[serde(default)]
    pub timeout: i64,
    /// Time in which failures do not count.
    #[serde(default)]
    pub start_period: i64,
    /// Time between two checks while failures do not count.
    #[serde(default)]
    pub start_interval: i64,
    /// Failures in a row that make the workload unhealthy.
    #[serde(default)]
    pub retries: i64,
    /// What a `CMD-SHELL` line is given to, from the image's `Shell`; empty is /bin/sh -c.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shell: Vec<String>,
}

impl Healthcheck {
    /// One that switches off the image's.
    pub fn none() -> Healthcheck {
        Healthcheck { test: vec!["NONE".into()], ..Healthcheck::default() }
    }

    /// What is executed; `None` when there is no check, or it is switched off.
    pub fn command(&self) -> Option<Vec<String>> {
        let (kind, rest) = self.test.split_first()?;
        match kind.as_str() {
            "CMD" if !rest.is_empty() => Some(rest.to_vec()),
            "CMD-SHELL" => Some([self.shell(), rest.to_vec()].concat()),
            _ => None,
        }
    }

    /// The image's own, else what moby's daemon/health.go has in `getShell`.
    fn shell(&self) -> Vec<String> {
        match self.shell.is_empty() {
            true => ["/bin/sh", "-c"].map(str::to_owned).to_vec(),
            false => self.shell.clone(),
        }
    }

    /// This one on top of the image's: what it leaves empty or 0 is the image's (moby, daemon/commit.go, `merge`). A
    /// command of its own is no line of the image's, and none for the image's shell.
    pub fn over(self, image: Option<&Healthcheck>) -> Healthcheck {
        let Some(image) = image else { return self };
        let time = |own: i64, images: i64| if own == 0 { images } else { own };
        let (test, shell) = match self.test.is_empty() {
            true => (image.test.clone(), image.shell.clone()),
            false => (self.test, self.shell),
        };
        Healthcheck {
            test,
            shell,
            interval: time(self.interval, image.interval),
            timeout: time(self.timeout, image.timeout),
            start_period: time(self.start_period, image.start_period),
            start_interval: time(self.start_interval, image.start_interval),
            retries: time(self.retries, image.retries),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(test: &[&str], interval: i64, retries: i64, shell: &[&str]) -> Healthcheck {
        let words = |list: &[&str]| list.iter().map(|&word| word.to_owned()).collect();
        Healthcheck { test: words(test), interval, retries, shell: words(shell), ..Healthcheck::default() }
    }

    #[test]
    fn what_is_given_replaces_and_what_is_not_is_the_images() {
        let image = check(&["CMD-SHELL", "a"], 7, 2, &["/bin/bash", "-c"]);
        for (given, both) in [
            (check(&[], 0, 0, &[]), image.clone()),
            (check(&[], 9, 0, &[]), check(&["CMD-SHELL", "a"], 9, 2, &["/bin/bash", "-c"])),
            (check(&["CMD-SHELL", "b"], 0, 5, &[]), check(&["CMD-SHELL", "b"], 7, 5, &[])),
            (Healthcheck::none(), check(&["NONE"], 7, 2, &[])),
        ] {
            assert_eq!(given.clone().over(Some(&image)), both, "{given:?}");
            assert_eq!(given.clone().over(None), given);
        }
        assert_eq!(Healthcheck::none().over(Some(&image)).command(), None);
        assert_eq!(check(&[], 9, 0, &[]).over(None).command(), None);
    }
}
