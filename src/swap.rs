//! Another kernel for a disk that exists: the kernel, the initramfs made for it, and the way onto the disk.
//!
//! What PID 1 is to do stays as the disk's boot specification has it; only what it says of the kernel is the new one's: its
//! modules and drivers, for the same kinds of machines, and where it boots. PID 1 itself is this program's. The root
//! partition is not opened.

use crate::added;
use crate::arch::Arch;
use crate::boot::exchange::{self, New};
use crate::boot::existing::Existing;
use crate::boot::initramfs;
use crate::convert::{Event, Observer, verified};
use crate::disk_lock::lock;
use crate::formats::Scattered;
use crate::guest::spec::{self, BootSpec};
use crate::kernel::at_start::at_start;
use crate::kernel::modules::{Drivers, select_for};
use crate::kernel::package::file_of_cpio;
use crate::kernel::preflight::{self, preflight};
use crate::kernel::{Bundle, Packing, places};
use anyhow::{Context, Result, anyhow, bail};
use std::fs::File;
use std::io::BufReader;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

/// Longest boot specification that is read, in bytes.
const MAX_SPEC: u64 = 64 << 20;

/// How the kernel is exchanged.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The kernel before stays as a second entry.
    pub keep: bool,
    /// A kernel that cannot boot the disk is refused.
    pub preflight: bool,
}

/// The disk has all modules of its kernel in a partition, which cannot be exchanged while the old kernel must stay whole
/// until the new one is.
#[derive(Debug, thiserror::Error)]
#[error("disk has all modules of kernel {} in a partition of its own, and another kernel would be without", crate::escape::escape(.release.as_bytes()))]
pub struct GuestModulesError {
    release: String,
}

impl GuestModulesError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        "build the disk again with the new kernel; disks built without --guest-modules all can have theirs set"
    }
}

/// The disk is for Secure Boot, and what is put on it here has no signature.
#[derive(Debug, thiserror::Error)]
#[error("disk is signed by {0}, and its firmware would refuse a kernel without a signature")]
pub struct SignedError(String);

impl SignedError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        "build the disk again with the new kernel: --kernel KERNEL --sign-key FILE --sign-cert FILE"
    }
}

/// Puts the kernel of `bundle` on the disk at `path`.
pub fn set_kernel(path: &Path, bundle: &Bundle, options: &Options, observe: Observer<'_>) -> Result<()> {
    let shown = crate::escape::path(path);
    // Before anything is opened for writing. A pipe is not waited for, here nor below.
    Existing::open(path)?;
    let opened = File::options().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(path);
    let file = opened.with_context(|| format!("cannot open disk {shown}"))?;
    // As a machine that runs from it holds it: neither sees the other's half.
    lock(&file, true).map_err(|errno| anyhow!("disk is in use, {}: {shown}", errno.desc().to_lowercase()))?;
    // What is locked is what is read and written, whatever has the name by now.
    let disk = Existing::of(file.try_clone().with_context(|| format!("cannot open disk {shown}"))?)?;
    if let Some(certificate) = disk.certificate()? {
        return Err(SignedError(certificate.subject).into());
    }
    let old = disk.boot_files()?;
    let arch: Arch =
        Arch::from_name(disk.architecture()?.name()).ok_or_else(|| anyhow!("disk is for no known processor"))?;
    let (mut spec, added) = boot_spec(&old.initrds)?;
    let is_verified = spec.root.verity.is_some();
    let wanted = preflight::Disk {
        arch,
        bios: disk.boots_under_bios(),
        uefi: disk.boots_under_uefi()?,
        initramfs: Packing::None,
        verity: is_verified,
    };
    let report = preflight(bundle, &wanted);
    if options.preflight {
        report.verdict(bundle)?;
    }
    let drivers = Drivers::of(spec.modules.iter().map(|module| module.name.as_str()));
    let modules = select_for(bundle, drivers, is_verified)?;
    report.warnings().iter().chain(&modules.warnings).for_each(|text| observe(Event::Warning(text)));

    if let Some(modules) = &spec.guest_modules {
        return Err(GuestModulesError { release: modules.release.clone() }.into());
    }
    if is_verified && preflight::lacks_overlay(bundle, &modules.absent) {
        observe(Event::Warning("the kernel has no overlayfs (CONFIG_OVERLAY_FS): the verified root can only be read"));
        verified::writes(&mut spec.root, false);
    }
    spec.modules = modules.specs();
    spec.drivers = bundle.config.is_some().then(|| report.drivers());
    // This program's PID 1 knows them, whatever the one before did.
    spec.mounts.get_or_insert_default();
    spec.boots_on = Some(places::boots_on(bundle));
    // As it was built, and of an older disk that now has a PID 1 which reads them: yes.
    let read = spec.settings.as_ref().is_none_or(|settings| settings.read);
    spec.settings = Some(at_start(bundle, read));
    let spec = added::encode(&spec, added.as_ref()).context("cannot encode the boot specification")?;
    let pid1 = crate::pid1::init_binary(disk.architecture()?)?;
    let bodies = modules.read(bundle)?;
    let initramfs = initramfs::write(pid1.bytes, &spec, &initramfs::module_files(&modules, &bodies), Packing::None)?;
    let kernel = bundle.boot.read()?;
    observe(Event::Step("writing kernel and boot files"));
    let new = New { kernel: &kernel, release: &bundle.release, initramfs: &initramfs, keep: options.keep, time: 0 };
    let doubts = exchange::exchange(&file, disk.partitions(), &new)?;
    doubts.iter().for_each(|text| observe(Event::Warning(text)));
    Ok(())
}

/// The boot specification in one of a disk's initial RAM disks, and what was added to the image.
fn boot_spec(initrds: &[Scattered<Arc<File>>]) -> Result<(BootSpec, Option<added::Record>)> {
    let (mut found, mut failure) = (None, None);
    for initrd in initrds {
        match file_of_cpio(BufReader::new(initrd.reading()), spec::PATH.trim_start_matches('/'), MAX_SPEC) {
            Ok(bytes) => found = found.or(bytes),
            // It may be somebody else's: packed, or no archive at all.
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    let bytes = match (found, failure) {
        (Some(bytes), _) => bytes,
        (None, Some(error)) => return Err(error).context("cannot read the disk's initramfs"),
        (None, None) => bail!("the disk's initramfs has no boot specification"),
    };
    let spec: BootSpec = serde_json::from_slice(&bytes).context("cannot understand the disk's boot specification")?;
    if spec.version > spec::VERSION {
        bail!("the disk was made by a later bootdisk: its boot specification has version {}", spec.version);
    }
    Ok((spec, added::added_to(&bytes)))
}
