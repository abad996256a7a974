//! Why the workload was not started, in the terms a container runtime uses.

use std::fmt::Display;

/// The workload (or another process) cannot be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// 127 command not found, 126 found and not executable, 125 anything else.
    pub status: u8,
    /// One sentence, lower case, the offending value last, as the image has it: who shows it escapes it.
    pub reason: String,
}

impl Failure {
    /// Anything that is not about the command itself.
    pub fn machine(reason: impl Display) -> Failure {
        Failure { status: 125, reason: reason.to_string() }
    }
    /// The command (or its interpreter) is not in the image.
    pub fn not_found(reason: impl Display) -> Failure {
        Failure { status: 127, reason: reason.to_string() }
    }
    /// The command is there and cannot be executed.
    pub fn not_executable(reason: impl Display) -> Failure {
        Failure { status: 126, reason: reason.to_string() }
    }
}

/// Adds what was being done to a system call's error.
pub trait Doing<T> {
    /// `cannot mount /proc: Invalid argument`.
    fn doing(self, what: impl Display) -> Result<T, Failure>;
}

impl<T, E: Display> Doing<T> for Result<T, E> {
    fn doing(self, what: impl Display) -> Result<T, Failure> {
        self.map_err(|error| Failure::machine(format!("cannot {what}: {error}")))
    }
}
