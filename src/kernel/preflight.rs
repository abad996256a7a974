//! The preflight: what a kernel lacks to boot a disk, before anything of that disk is written.
//!
//! What is tested for is data ([`super::requirements`]). Evidence is, in this order: the configuration, the modules,
//! the boot file's header. A kernel whose configuration is not known is never passed for it: what no evidence speaks
//! for is [`Verdict::Unknown`], which is a warning.

use std::fmt;

use super::Bundle;
use super::config::Setting;
use super::image::Format;
use super::requirements::{Level, Requirement, When, requirements};
use crate::arch::Arch;
use crate::escape::escape;
use crate::formats::bzimage;
use crate::guest::mounts::DRIVER;

/// The buses a disk may hang on, under QEMU's names for them.
pub const BUSES: [&str; 6] = ["virtio-blk", "virtio-scsi", "nvme", "ahci", "ide", "usb-storage"];

/// The network cards a machine may have, under QEMU's names for them, each with its option.
pub const CARDS: [(&str, &str); 2] = [("virtio-net", "VIRTIO_NET"), ("e1000", "E1000")];

/// How a disk's initramfs is packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Packing {
    /// Not at all: nothing to unpack at boot, and every kernel reads it.
    #[default]
    None,
    /// gzip (`CONFIG_RD_GZIP`).
    Gzip,
    /// zstd (`CONFIG_RD_ZSTD`).
    Zstd,
}

/// The disk that is to be booted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Architecture of its userland.
    pub arch: Arch,
    /// It is to boot under BIOS.
    pub bios: bool,
    /// It is to boot under UEFI.
    pub uefi: bool,
    /// How its initramfs is packed.
    pub initramfs: Packing,
    /// Its root is verified block by block.
    pub verity: bool,
}

/// What a check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It is there.
    Pass,
    /// Nothing says whether it is there.
    Unknown,
    /// It is missing, and the disk boots without.
    Warn,
    /// It is missing, and the disk does not boot.
    Fail,
}

impl Verdict {
    /// For tables and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Unknown => "unknown",
            Verdict::Warn => "warn",
            Verdict::Fail => "fail",
        }
    }
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// `CONFIG_X`, `architecture`, `bus ahci`, `disk buses`, `configuration`.
    pub option: String,
    /// What it is for.
    pub why: String,
    /// What was found.
    pub verdict: Verdict,
    /// The evidence, or what is missing.
    pub detail: String,
}

/// All checks, in the order of the requirements.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Every check that was made.
    pub checks: Vec<Check>,
    /// The buses this kernel certainly boots the disk from; a subset of [`BUSES`], in that order.
    pub buses: Vec<&'static str>,
    /// The network cards it certainly drives; a subset of [`CARDS`]' names.
    pub cards: Vec<&'static str>,
    /// It certainly mounts folders of the host.
    pub folders: bool,
}

/// A kernel that cannot boot the disk.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Refused {
    /// The kernel's release.
    pub release: String,
    /// Every check that failed.
    pub failed: Vec<Check>,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kernel {} cannot boot this disk: ", escape(self.release.as_bytes()))?;
        for (i, check) in self.failed.iter().enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            let why = check.why.trim_end_matches('.');
            write!(f, "{separator}{} {} ({why})", check.option, check.detail)?;
        }
        Ok(())
    }
}

impl Report {
    /// What the kernel certainly drives, as a boot specification has it.
    pub fn drivers(&self) -> Vec<String> {
        let folders = self.folders.then_some(DRIVER);
        self.buses.iter().copied().chain(self.cards.iter().copied()).chain(folders).map(str::to_owned).collect()
    }

    /// The checks with `verdict`.
    pub fn with(&self, verdict: Verdict) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(move |check| check.verdict == verdict)
    }

    /// What a build tells its user, a line each: what is missing and what is not known, buses apart.
    pub fn warnings(&self) -> Vec<String> {
        let unknown = self.with(Verdict::Unknown).count();
        let warned = self.with(Verdict::Warn).filter(|check| !check.option.starts_with("bus "));
        let mut lines: Vec<String> =
            warned.map(|c| format!("kernel: {} {} ({})", c.option, c.detail, c.why.trim_end_matches('.'))).collect();
        if unknown > 0 {
            lines.push(format!("kernel: its configuration is not known, so {unknown} things it needs are not certain"));
        }
        lines
    }

    /// The failed checks as an error.
    pub fn verdict(&self, bundle: &Bundle) -> Result<(), Refused> {
        let failed: Vec<Check> = self.with(Verdict::Fail).cloned().collect();
        if failed.is_empty() { Ok(()) } else { Err(Refused { release: bundle.release.clone(), failed }) }
    }

    fn push(&mut self, option: impl Into<String>, why: impl Into<String>, verdict: Verdict, detail: impl Into<String>) {
        self.checks.push(Check { option: option.into(), why: why.into(), verdict, detail: detail.into() });
    }
}

/// Whether this kernel is known to have no overlayfs, which an ephemeral root needs. `absent` are the wanted modules
/// that it has neither as modules nor built in.
pub fn lacks_overlay(bundle: &Bundle, absent: &[&str]) -> bool {
    let Some(config) = &bundle.config else { return false };
    match config.get("OVERLAY_FS") {
        Some(Setting::Yes) => false,
        Some(Setting::Module) => bundle.modules.is_none() || absent.contains(&"overlay"),
        _ => true,
    }
}

/// Checks `bundle` against `disk`.
pub fn preflight(bundle: &Bundle, disk: &Disk) -> Report {
    let mut report = Report::default();
    check_architecture(bundle, disk, &mut report);
    if bundle.arch != disk.arch {
        // Its options would be another architecture's: one sentence says it all.
        return report;
    }
    check_form(bundle, disk, &mut report);
    let evidence = Evidence { bundle };
    if bundle.config.is_none() {
        let why = "It says what the kernel has.";
        report.push("configuration", why, Verdict::Unknown, "is not known: no config-RELEASE, no IKCONFIG");
    }
    let matters = |requirement: &Requirement| match requirement.when {
        None => true,
        Some(When::Bios) => disk.bios,
        Some(When::Uefi) => disk.uefi,
        Some(When::Gzip) => disk.initramfs == Packing::Gzip,
        Some(When::Zstd) => disk.initramfs == Packing::Zstd,
        Some(When::Verity) => disk.verity,
    };
    let requirements = requirements(disk.arch);
    for requirement in requirements.iter().filter(|requirement| matters(requirement)) {
        let missing = match requirement.level {
            Level::Required => Verdict::Fail,
            Level::Recommended => Verdict::Warn,
            Level::Bus | Level::Optional => continue,
        };
        let found = evidence.find(requirement);
        let verdict = found.verdict(missing);
        report.push(format!("CONFIG_{}", requirement.option), &requirement.why, verdict, found.detail());
    }
    check_buses(&evidence, &requirements, &mut report);
    let drives = |option| {
        let requirement = requirements.iter().find(|requirement| requirement.option == option);
        requirement.is_some_and(|requirement| evidence.find(requirement).verdict(Verdict::Warn) == Verdict::Pass)
    };
    report.folders = drives("VIRTIO_FS");
    report.cards = CARDS.into_iter().filter(|(_, option)| drives(*option)).map(|(name, _)| name).collect();
    report
}

fn check_architecture(bundle: &Bundle, disk: &Disk, report: &mut Report) {
    let why = "A kernel runs programs of its own architecture.";
    if bundle.arch == disk.arch {
        report.push("architecture", why, Verdict::Pass, format!("is {}", bundle.arch));
    } else {
        let detail = format!("of the kernel is {}, of the image {}", bundle.arch, disk.arch);
        report.push("architecture", why, Verdict::Fail, detail);
    }
}

/// Whether the firmware can start a file of this form at all, whatever is configured.
fn check_form(bundle: &Bundle, disk: &Disk, report: &mut Report) {
    let (form, image) = (bundle.image.format(), &bundle.image);
    let wanted = [
        (disk.bios, image.form == Format::BzImage, "BIOS", "a bzImage"),
        (disk.uefi, image.form != Format::Vmlinux, "UEFI", "an EFI program, as a bzImage with EFI_STUB is"),
    ];
    for (_, _, firmware, needed) in wanted.into_iter().filter(|(wanted, fits, ..)| *wanted && !fits) {
        let why = format!("{firmware} starts {needed}; direct boot does without.");
        report.push("boot file", why, Verdict::Fail, format!("is a {form}, which {firmware} cannot start"));
    }
    let floor = image.bzimage.as_ref().map_or(0, |header| header.floor());
    if disk.bios && floor > bzimage::BELOW_4G {
        let why = "BIOS boot uses memory below 4 GiB; direct boot and UEFI have no such limit.";
        report.push("load address", why, Verdict::Fail, format!("needs memory up to {floor:#x} to start"));
    }
}

fn check_buses(evidence: &Evidence<'_>, requirements: &[Requirement], report: &mut Report) {
    for bus in BUSES {
        let needs = requirements.iter().filter(|requirement| requirement.buses.contains(&bus));
        let found: Vec<(&Requirement, Found)> = needs.map(|need| (need, evidence.find(need))).collect();
        let worst = found.iter().max_by_key(|(_, found)| found.verdict(Verdict::Warn));
        let Some((need, worst)) = worst else { continue };
        let verdict = worst.verdict(Verdict::Warn);
        let detail = match verdict {
            Verdict::Pass => "can be booted from".to_owned(),
            _ => format!("needs CONFIG_{}, which {}", need.option, worst.detail()),
        };
        if verdict == Verdict::Pass {
            report.buses.push(bus);
        }
        report.push(format!("bus {bus}"), format!("Disks on {bus}."), verdict, detail);
    }
    let all_missing = report.checks.iter().filter(|check| check.option.starts_with("bus "));
    if all_missing.clone().count() > 0 && all_missing.clone().all(|check| check.verdict == Verdict::Warn) {
        let detail = format!("are all missing: {}", BUSES.join(", "));
        report.push("disk buses", "The root partition is on a disk.", Verdict::Fail, detail);
    }
}

/// What is known about a kernel.
struct Evidence<'a> {
    bundle: &'a Bundle,
}

/// What the evidence says about one option.
enum Found {
    BuiltIn,
    Module,
    EfiStub,
    NotSet,
    /// A module in the configuration; these are in no modules directory.
    NoModule(Vec<&'static str>),
    /// As above, and no modules directory was given at all.
    NoModules,
    /// A module in the configuration, of an option that must be built in.
    MustBeBuiltIn,
    Unknown,
}

impl Found {
    fn verdict(&self, missing: Verdict) -> Verdict {
        match self {
            Found::BuiltIn | Found::Module | Found::EfiStub => Verdict::Pass,
            Found::Unknown => Verdict::Unknown,
            _ => missing,
        }
    }

    fn detail(&self) -> String {
        match self {
            Found::BuiltIn => "is built in".into(),
            Found::Module => "is a module".into(),
            Found::EfiStub => "is there: the file is an EFI program".into(),
            Found::NotSet => "is not set".into(),
            Found::NoModule(names) => format!("is a module, and the modules lack {}", names.join(", ")),
            Found::NoModules => "is a module, and no modules were given".into(),
            Found::MustBeBuiltIn => "is a module, but must be built in".into(),
            Found::Unknown => "is not known".into(),
        }
    }
}

impl Evidence<'_> {
    fn is_built_in(&self, name: &str) -> bool {
        self.bundle.modules.as_ref().is_some_and(|tree| tree.builtin_names().contains(name))
    }

    fn find(&self, requirement: &Requirement) -> Found {
        match &self.bundle.config {
            Some(config) => match config.get(requirement.option) {
                Some(Setting::Yes | Setting::Value(_)) => Found::BuiltIn,
                None => Found::NotSet,
                Some(Setting::Module) => self.find_module(requirement),
            },
            None if requirement.option == "EFI_STUB" && self.bundle.image.efi_stub => Found::EfiStub,
            None if requirement.option == "64BIT" => Found::BuiltIn,
            None => self.find_without_config(requirement),
        }
    }

    fn find_module(&self, requirement: &Requirement) -> Found {
        if requirement.modules.is_empty() {
            return Found::MustBeBuiltIn;
        }
        if self.bundle.modules.is_none() {
            return Found::NoModules;
        }
        let missing: Vec<&str> = requirement.modules.iter().copied().filter(|name| !self.has(name)).collect();
        if missing.is_empty() { Found::Module } else { Found::NoModule(missing) }
    }

    fn find_without_config(&self, requirement: &Requirement) -> Found {
        let names = &requirement.modules;
        match names.is_empty() {
            false if names.iter().all(|name| self.is_built_in(name)) => Found::BuiltIn,
            false if names.iter().all(|name| self.has(name)) => Found::Module,
            _ => Found::Unknown,
        }
    }

    fn has(&self, name: &str) -> bool {
        self.is_built_in(name) || self.bundle.modules.as_ref().is_some_and(|tree| tree.path(name).is_some())
    }
}
