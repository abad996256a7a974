//! Programs that keep credentials: `docker-credential-NAME get`, the registry on standard input, JSON on standard
//! output.
//!
//! The program is looked for in PATH alone, gets [`PATIENCE`], and what it says is never shown: it may be a password.
//!
//! Specification: github.com/docker/docker-credential-helpers.

use crate::escape::escape;
use crate::registry::secret::Secret;
use serde::Deserialize;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread::Builder;
use std::time::Duration;

/// How long a helper may take: it may ask its user for a password.
const PATIENCE: Duration = Duration::from_secs(60);
/// Most bytes of an answer.
const MAX: u64 = 1 << 20;
/// What a helper says of a registry it does not know.
const NOTHING: &str = "credentials not found";

/// Why a helper has not helped.
#[derive(Debug, thiserror::Error)]
pub enum HelperError {
    /// Its name is no name of a program.
    #[error("not the name of a helper: \"{}\"", escape(.0.as_bytes()))]
    Name(String),
    /// It cannot be started.
    #[error("cannot start docker-credential-{name}")]
    Start {
        /// Which.
        name: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// It takes too long.
    #[error("docker-credential-{0} has not answered within {seconds} seconds", seconds = PATIENCE.as_secs())]
    Hangs(String),
    /// It fails.
    #[error("docker-credential-{0} has failed")]
    Failed(String),
    /// What it says is no answer.
    #[error("docker-credential-{0} has not answered as a helper does")]
    Answer(String),
}

impl HelperError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            HelperError::Name(_) => None,
            HelperError::Start { name, .. } => Some(format!(
                "install docker-credential-{name}, or take it out of the file and log in again: docker login REGISTRY"
            )),
            HelperError::Hangs(name) | HelperError::Failed(name) | HelperError::Answer(name) => {
                Some(format!("run it by hand: echo REGISTRY | docker-credential-{name} get"))
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// What a helper knows of a registry.
pub fn get(name: &str, server: &str) -> Result<Option<(String, Secret)>, HelperError> {
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    if name.is_empty() || !name.bytes().all(is_word) || name.starts_with(['.', '-']) {
        return Err(HelperError::Name(name.into()));
    }
    ask(Path::new(&format!("docker-credential-{name}")), name, server, PATIENCE)
}

fn ask(program: &Path, name: &str, server: &str, patience: Duration) -> Result<Option<(String, Secret)>, HelperError> {
    let failed = |source| HelperError::Start { name: name.into(), source };
    let mut child = Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    let said = answer(&mut child, server, patience);
    if said.is_none() {
        // It may have ended meanwhile.
        _ = child.kill();
    }
    let status = child.wait().map_err(failed)?;
    let said = said.ok_or_else(|| HelperError::Hangs(name.into()))?;
    if !status.success() {
        return match String::from_utf8_lossy(&said).contains(NOTHING) {
            true => Ok(None),
            false => Err(HelperError::Failed(name.into())),
        };
    }
    let parsed: Answer = serde_json::from_slice(&said).map_err(|_| HelperError::Answer(name.into()))?;
    Ok(Some((parsed.username, Secret::new(parsed.secret))))
}

/// All that a child says; `None` when it does not end.
fn answer(child: &mut Child, server: &str, patience: Duration) -> Option<Vec<u8>> {
    // One that reads nothing is told by its answer. A registry's name fits every pipe.
    _ = child.stdin.take().map(|mut stdin| stdin.write_all(server.as_bytes()));
    let stdout = child.stdout.take()?;
    let (sender, receiver) = channel();
    let reader = Builder::new().name("credential helper".into()).spawn(move || {
        let mut said = Vec::new();
        _ = stdout.take(MAX).read_to_end(&mut said);
        _ = sender.send(said);
    });
    match reader.map(|_| receiver.recv_timeout(patience)) {
        Ok(Ok(said)) => Some(said),
        Ok(Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected)) | Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_no_name_starts_nothing() {
        for name in ["", "../x", "a/b", "-x", ".x", "a b", "a\u{1b}"] {
            assert!(matches!(get(name, "ghcr.io"), Err(HelperError::Name(_))), "{name:?}");
        }
        let error = get("certainly-not-installed", "ghcr.io").unwrap_err();
        assert!(matches!(error, HelperError::Start { .. }) && error.hint().is_some());
    }

    #[test]
    fn one_that_hangs_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("helper");
        let script = format!("printf '#!/bin/sh\nexec sleep 600\n' > {0}; chmod 755 {0}", program.display());
        assert!(Command::new("sh").args(["-c", &script]).status().unwrap().success());
        let asked = ask(&program, "hangs", "ghcr.io", Duration::from_millis(50));
        assert!(matches!(asked, Err(HelperError::Hangs(name)) if name == "hangs"));
    }
}
