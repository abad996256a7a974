//! The architectures whose machines this program makes disks for and boots.
//!
//! [`crate::kernel::Arch`] names every architecture that is recognised, so that a kernel or an image for another one is
//! refused by name; the conversion from it is here.

use crate::kernel::Arch;

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
    fn names_agree_with_the_kernels() {
        for arch in [Arch::X86_64, Arch::Aarch64] {
            assert_eq!(Architecture::try_from(arch).unwrap().name(), arch.name());
        }
        let refused = Architecture::try_from(Arch::Riscv64).unwrap_err();
        assert_eq!(refused.to_string(), "cannot make a disk for riscv64");
    }
}
