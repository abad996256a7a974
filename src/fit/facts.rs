//! What a disk says about itself that decides which machines can start it.

use super::memory;
use crate::arch::Architecture;
use crate::boot::existing::{BootFiles, Existing};
use crate::disk::gpt::Role;
use crate::formats::{Scattered, bzimage};
use crate::guest::spec::BootSpec;
use crate::inspect::initramfs;

/// The facts of one disk. What cannot be read is not known, and what is not known is tried.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// A BIOS finds a boot stage.
    pub bios: bool,
    /// UEFI finds a loader.
    pub uefi: Option<bool>,
    /// There are kernel and initramfs, where the entry says.
    pub direct: bool,
    /// Bytes of memory that kernel and initramfs need before any of it is given back.
    pub needs: Option<u64>,
    /// Bytes of the unified kernel image that UEFI loads whole before any of that.
    pub unified: u64,
    /// What PID 1 will do.
    pub spec: Option<BootSpec>,
    /// First byte of the root partition.
    pub root: Option<u64>,
}

impl Facts {
    /// Reads them.
    pub fn of(disk: &Existing) -> Facts {
        let files = disk.boot_files().ok();
        let arch = disk.architecture().unwrap_or(Architecture::X86_64);
        let root = disk.partitions().iter().find(|partition| partition.role == Some(Role::Root));
        Facts {
            bios: disk.boots_under_bios(),
            uefi: disk.boots_under_uefi().ok(),
            direct: files.is_some(),
            needs: files.as_ref().and_then(|files| needs(arch, files)),
            unified: files.as_ref().and_then(|files| files.unified).unwrap_or(0),
            spec: files.as_ref().and_then(spec),
            root: root.map(|root| root.offset),
        }
    }

    /// Whether its kernel has no driver for this. What is not known is tried.
    pub fn lacks(&self, device: &str) -> bool {
        let drivers = self.spec.as_ref().and_then(|spec| spec.drivers.as_ref());
        drivers.is_some_and(|drivers| drivers.iter().all(|driver| driver != device))
    }
}

fn needs(arch: Architecture, files: &BootFiles) -> Option<u64> {
    let start = files.kernel.start(bzimage::SETUP_MAX).ok()?;
    memory::needs(arch, (&start, files.kernel.size()), files.initramfs_size())
}

/// What PID 1 will do: a later file of the name takes an earlier one's place.
fn spec(files: &BootFiles) -> Option<BootSpec> {
    let read = |initrd: &Scattered<_>| initramfs::read(initrd, initrd.size(), "").1;
    files.initrds.iter().rev().find_map(read).map(|spec| spec.boot)
}
