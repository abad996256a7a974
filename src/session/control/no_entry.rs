//! Why nothing can be started beside an image's own init.

use crate::guest::own_init::CARETAKER;
use serde::{Deserialize, Serialize};

/// Why nothing can be started beside an image's own init.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum NoEntry {
    /// Its disk's PID 1 leaves nothing beside it.
    #[error("the disk was made by an older bootdisk, and nothing can be started beside the image's own init")]
    OldDisk,
    /// What PID 1 left has gone.
    #[error("the machine's own init ended {CARETAKER}, the process that starts others there")]
    Ended,
}

impl NoEntry {
    /// What can be done about it, for a `hint:` line.
    pub fn hint(self) -> &'static str {
        match self {
            NoEntry::OldDisk => "build it again: bootdisk build IMAGE -o DISK",
            NoEntry::Ended => "keep bootdisk's own PID 1: bootdisk run --init container IMAGE COMMAND",
        }
    }
}
