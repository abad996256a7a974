//! Options of a disk that is verified when it boots.

use super::options::{FirmwareChoice, firmware_set};
use crate::arch::Architecture;
use crate::convert::Firmware;
use crate::guest::spec::OnCorruption;
use clap::{Args, ValueEnum};

/// What is verified, and what follows when it is not as it was built.
#[derive(Args, Clone, Debug)]
pub struct Verified {
    /// Have the kernel verify every block of the root when it is read (dm-verity). The root is read-only then: what is
    /// written goes to memory, and what must stay to a volume. UEFI alone starts the disk unless --firmware says so
    #[arg(long)]
    verity: bool,
    /// What a block of the root does that is not as it was built [default: error]
    #[arg(long, value_name = "WHAT", requires = "verity")]
    on_corruption: Option<OnCorruptionChoice>,
}

/// What a wrong block does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OnCorruptionChoice {
    /// Who reads it gets an I/O error, and the console a line
    Error,
    /// The machine starts again
    Restart,
    /// The kernel panics (Linux 5.9 and later)
    Panic,
}

impl Verified {
    /// What a wrong block does, where the root is verified.
    pub fn policy(&self) -> Option<OnCorruption> {
        let policy = match self.on_corruption {
            None | Some(OnCorruptionChoice::Error) => OnCorruption::Error,
            Some(OnCorruptionChoice::Restart) => OnCorruption::Restart,
            Some(OnCorruptionChoice::Panic) => OnCorruption::Panic,
        };
        self.verity.then_some(policy)
    }

    /// The firmware that was chosen. Where nobody has chosen, a disk that is verified boots under UEFI alone, as BIOS
    /// starts whatever is there.
    pub fn firmware(&self, choices: &[FirmwareChoice], arch: Architecture) -> Firmware {
        match choices {
            [] if self.verity => Firmware { bios: false, uefi: true },
            choices => firmware_set(choices, arch),
        }
    }
}
