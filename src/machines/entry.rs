//! One machine as others see it.

use super::error::{MachineError, io};
use super::record::{self, End, Record};
use crate::file_lock::Locked;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// One machine as others see it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What it is.
    pub record: Record,
    /// Its `run` is there.
    pub live: bool,
    /// How it ended, if that was written down.
    pub end: Option<End>,
    dir: PathBuf,
}

impl Entry {
    /// Reads a machine's folder, `None` when it is none.
    pub(super) fn read(dir: &Path) -> Option<Entry> {
        let record: Record = record::read(&dir.join("machine.json"))?;
        // Whatever the file says, the folder has the name that was checked.
        if dir.file_name()? != record.name.as_str() || super::name::check(&record.name).is_err() {
            return None;
        }
        Some(Entry { record, live: Entry::is_live(dir), end: record::read(&dir.join("end.json")), dir: dir.to_owned() })
    }

    /// Whether somebody holds a machine's lock.
    pub(super) fn is_live(dir: &Path) -> bool {
        let Ok(file) = File::open(dir.join("lock")) else { return false };
        // Shared, so that two who look do not see each other.
        Locked::shared(file).is_err()
    }

    /// Whether its `run` is still there.
    pub fn still_lives(&self) -> bool {
        Entry::is_live(&self.dir)
    }

    /// Where its log is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Connects to its control socket.
    ///
    /// # Errors
    /// When it has ended.
    pub fn dial(&self) -> Result<UnixStream, MachineError> {
        let dir = File::open(&self.dir).map_err(|_| MachineError::Ended(self.record.name.clone()))?;
        match UnixStream::connect(format!("/proc/self/fd/{}/socket", dir.as_raw_fd())) {
            Ok(socket) => Ok(socket),
            Err(error)
                if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused) =>
            {
                Err(MachineError::Ended(self.record.name.clone()))
            }
            Err(error) => Err(io(&self.dir.join("socket"))(error)),
        }
    }
}
