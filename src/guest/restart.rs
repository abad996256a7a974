//! Whether a workload that has ended is started again: docker's restart policies.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A policy, written as docker writes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Restart {
    /// Its end is the machine's.
    #[default]
    No,
    /// It is, unless it failed.
    OnFailure {
        /// So many times at most; 0 is no limit.
        most: u32,
    },
    /// However it ended.
    Always,
    /// The same: a machine that was asked to stop does not start anything.
    UnlessStopped,
}

impl Restart {
    /// Whether the machine ends with its workload.
    pub fn is_no(&self) -> bool {
        *self == Restart::No
    }
}

impl FromStr for Restart {
    type Err = String;

    /// As docker reads it (docker/cli, opts, `ParseRestartPolicy`; moby, `ValidateRestartPolicy`).
    fn from_str(text: &str) -> Result<Restart, String> {
        let (name, count) = match text.split_once(':') {
            Some((name, count)) => (name, Some(count)),
            None => (text, None),
        };
        let most = count.map_or(Ok(0), str::parse).map_err(|_| "not a number of restarts behind the colon")?;
        match name {
            "on-failure" => Ok(Restart::OnFailure { most }),
            "no" | "always" | "unless-stopped" if most > 0 => {
                Err("only on-failure has a number of restarts: on-failure:5".into())
            }
            "no" => Ok(Restart::No),
            "" if count.is_none() => Ok(Restart::No),
            "always" => Ok(Restart::Always),
            "unless-stopped" => Ok(Restart::UnlessStopped),
            _ => Err("not a restart policy; there are no, on-failure[:N], always, unless-stopped".into()),
        }
    }
}

impl fmt::Display for Restart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Restart::No => f.write_str("no"),
            Restart::OnFailure { most: 0 } => f.write_str("on-failure"),
            Restart::OnFailure { most } => write!(f, "on-failure:{most}"),
            Restart::Always => f.write_str("always"),
            Restart::UnlessStopped => f.write_str("unless-stopped"),
        }
    }
}

impl TryFrom<String> for Restart {
    type Error = String;

    fn try_from(text: String) -> Result<Restart, String> {
        text.parse()
    }
}

impl From<Restart> for String {
    fn from(policy: Restart) -> String {
        policy.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_read_as_docker_reads_them() {
        let on_failure = |most| Some(Restart::OnFailure { most });
        for (text, policy) in [
            ("no", Some(Restart::No)),
            ("", Some(Restart::No)),
            ("no:0", Some(Restart::No)),
            ("always", Some(Restart::Always)),
            ("always:0", Some(Restart::Always)),
            ("unless-stopped", Some(Restart::UnlessStopped)),
            ("on-failure", on_failure(0)),
            ("on-failure:0", on_failure(0)),
            ("on-failure:5", on_failure(5)),
            ("on-failure:+5", on_failure(5)),
            ("on-failure:", None),
            ("on-failure:-1", None),
            ("on-failure:x", None),
            ("on-failure:1:2", None),
            ("on-failure:99999999999", None),
            ("always:3", None),
            ("no:1", None),
            ("unless-stopped:1", None),
            (":0", None),
            (":3", None),
            ("onfailure", None),
            ("Always", None),
        ] {
            assert_eq!(text.parse::<Restart>().ok(), policy, "{text}");
            if let Some(policy) = policy {
                assert_eq!(policy.to_string().parse(), Ok(policy));
            }
        }
    }
}
