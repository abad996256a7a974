//! What is written down about a machine, as JSON.

use super::error::{MachineError, io};
use crate::whole_file;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Longest file that is read: a path and a list of ports are far below.
const LIMIT: u64 = 1 << 20;

/// What a machine is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its name.
    pub name: String,
    /// The image or disk it was started from, as the user wrote it. Not escaped.
    pub image: String,
    /// Process of the `run` that owns it.
    pub pid: u32,
    /// Seconds since the epoch at its start.
    pub started: u64,
    /// Forwarded ports, each as `run -p` takes it.
    pub ports: Vec<String>,
    /// It was started with `-d`: its output is in its log.
    pub detached: bool,
}

/// How a machine ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Exit status of its `run`.
    pub status: u8,
    /// Why, where the status does not say it all.
    pub sentence: Option<String>,
    /// Seconds since the epoch.
    pub ended: u64,
}

/// Writes a document under a temporary name first: who reads it reads all of it.
pub(super) fn write<T: Serialize>(dir: &Path, name: &str, value: &T) -> Result<(), MachineError> {
    let path = dir.join(name);
    let text = serde_json::to_vec_pretty(value).map_err(|error| io(&path)(error.into()))?;
    whole_file::write(&path, &text).map_err(io(&path))
}

/// Reads a document; `None` when there is none, or something else in its place.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let mut text = Vec::new();
    File::open(path).ok()?.take(LIMIT).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}
