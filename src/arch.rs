//! Processor architectures, under the names that kernels, container images and distributions give them.
//!
//! Two types, as there are two questions: [`Arch`] is every architecture that is recognised, so that a kernel or an
//! image for another machine is refused by name; [`Architecture`] is one whose machines this program makes disks for
//! and boots, and nobody who has one need ask again.

use std::fmt;

/// An architecture a kernel may be for. Disks are made for those of [`Architecture`]; the others are
/// recognised, so that a kernel for them is refused by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Arch {
    /// 64-bit x86.
    X86_64,
    /// 32-bit x86.
    X86,
    /// 64-bit Arm.
    Aarch64,
    /// 64-bit RISC-V.
    Riscv64,
}

impl Arch {
    /// All of them.
    pub(crate) const ALL: [Arch; 4] = [Arch::X86_64, Arch::X86, Arch::Aarch64, Arch::Riscv64];

    /// The kernel's own name (`uname -m`).
    pub fn name(self) -> &'static str {
        match self {
            Arch::X86_64 => "x86_64",
            Arch::X86 => "i686",
            Arch::Aarch64 => "aarch64",
            Arch::Riscv64 => "riscv64",
        }
    }

    /// The name in an image's configuration (Go's GOARCH).
    pub fn oci_name(self) -> &'static str {
        match self {
            Arch::X86_64 => "amd64",
            Arch::X86 => "386",
            Arch::Aarch64 => "arm64",
            Arch::Riscv64 => "riscv64",
        }
    }

    /// The architecture of the kernel that runs programs of this one: a 64-bit x86 kernel runs 32-bit programs too.
    pub fn kernel(self) -> Arch {
        match self {
            Arch::X86 => Arch::X86_64,
            other => other,
        }
    }

    /// The architecture of a name, kernel's, image's or Debian's.
    pub fn from_name(name: &str) -> Option<Arch> {
        let same = |arch: &Arch| arch.name() == name || arch.oci_name() == name;
        Arch::ALL.into_iter().find(same).or(match name {
            "i386" | "i586" => Some(Arch::X86),
            _ => None,
        })
    }

    /// The architecture of a PE file's Machine field (PE format, "Machine types").
    pub(crate) fn from_pe_machine(machine: u16) -> Option<Arch> {
        match machine {
            0x8664 => Some(Arch::X86_64),
            0x014c => Some(Arch::X86),
            0xaa64 => Some(Arch::Aarch64),
            0x5064 => Some(Arch::Riscv64),
            _ => None,
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The architecture of a machine. It decides which partitions its disk has, the root's type, and QEMU's machine type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Architecture {
    /// 64-bit x86: boots under BIOS and UEFI; machine types `q35` and `pc`.
    X86_64,
    /// 64-bit Arm: boots under UEFI; machine type `virt`.
    Aarch64,
}

impl Architecture {
    /// The architecture this program runs on, if a machine can have it.
    pub fn host() -> Option<Architecture> {
        Architecture::try_from(Arch::from_name(std::env::consts::ARCH)?).ok()
    }

    /// Its name in QEMU's program names, which is also the kernel's.
    pub fn name(self) -> &'static str {
        match self {
            Architecture::X86_64 => "x86_64",
            Architecture::Aarch64 => "aarch64",
        }
    }
}

/// An architecture that is recognised and no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot make a disk for {0}")]
pub struct NoMachine(pub Arch);

impl TryFrom<Arch> for Architecture {
    type Error = NoMachine;

    fn try_from(arch: Arch) -> Result<Architecture, NoMachine> {
        match arch {
            Arch::X86_64 => Ok(Architecture::X86_64),
            Arch::Aarch64 => Ok(Architecture::Aarch64),
            other => Err(NoMachine(other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_leads_back_to_its_architecture() {
        for arch in Arch::ALL {
            assert_eq!(Arch::from_name(arch.name()), Some(arch));
            assert_eq!(Arch::from_name(arch.oci_name()), Some(arch));
        }
        assert_eq!(Arch::from_name("vax"), None);
    }

    #[test]
    fn names_agree_with_the_kernels() {
        for arch in [Arch::X86_64, Arch::Aarch64] {
            assert_eq!(Architecture::try_from(arch).unwrap().name(), arch.name());
        }
        let refused = Architecture::try_from(Arch::Riscv64).unwrap_err();
        assert_eq!(refused.to_string(), "cannot make a disk for riscv64");
    }
}
