//! The report on a kernel: what it is, what it was built with, what it lacks to boot a disk of ours.

use super::model::{self, Check, Kind, Report};
use crate::arch::Arch;
use crate::escape::escape;
use crate::formats::bzimage;
use crate::kernel::config::Setting;
use crate::kernel::config::line;
use crate::kernel::preflight::{Disk, Verdict, preflight};
use crate::kernel::{BootFile, Bundle, Config, KernelError, Packing, ikconfig, image};

/// What is known of a kernel.
pub fn facts(bundle: &Bundle, evidence: &str) -> model::Kernel {
    let header = bundle.image.bzimage.as_ref();
    let bios = bundle.arch == Arch::X86_64;
    let disk = Disk { arch: bundle.arch, bios, uefi: true, initramfs: Packing::None, verity: false };
    let report = preflight(bundle, &disk);
    let count = |verdict| report.with(verdict).count();
    let check = |check: &crate::kernel::preflight::Check| Check {
        option: check.option.clone(),
        verdict: check.verdict.name().to_owned(),
        detail: escape(check.detail.as_bytes()),
        why: check.why.clone(),
    };
    model::Kernel {
        evidence: evidence.to_owned(),
        release: escape(bundle.release.as_bytes()),
        architecture: bundle.arch.name().to_owned(),
        format: bundle.image.format().to_owned(),
        banner: header.and_then(|header| header.kernel_version.as_ref()).map(|text| escape(text.as_bytes())),
        protocol: header.map(|header| format!("{}.{:02}", header.version >> 8, header.version & 0xff)),
        efi_stub: bundle.image.efi_stub,
        compression: header.map(|_| bundle.image.payload.name().to_owned()),
        size: bundle.boot.size(),
        sha256: bundle.boot.sha256(),
        config: bundle.config.as_ref().map(|config| escape(config.origin.as_bytes())),
        options: bundle.config.as_ref().map(options),
        modules: bundle.modules.as_ref().map(|tree| tree.len() as u64),
        buses: report.buses.iter().map(|bus| (*bus).to_owned()).collect(),
        boots_on: crate::kernel::places::boots_on(bundle),
        boots: match (count(Verdict::Fail), count(Verdict::Unknown)) {
            (0, 0) => "yes",
            (0, _) => "perhaps",
            _ => "no",
        }
        .to_owned(),
        checks: report.checks.iter().map(check).collect(),
        unified: None,
    }
}

/// Options set to y and to m.
fn options(config: &Config) -> (u64, u64) {
    config.text().lines().filter_map(line).fold((0, 0), |(yes, module), (_, setting)| match setting {
        Setting::Yes => (yes + 1, module),
        Setting::Module => (yes, module + 1),
        Setting::Value(_) => (yes, module),
    })
}

/// A kernel that was found in some place: no modules, and only the configuration it carries itself.
///
/// # Errors
/// The bytes are no kernel.
pub fn found(bytes: Vec<u8>, evidence: &str) -> Result<Bundle, KernelError> {
    let prefix = &bytes[..bytes.len().min(bzimage::SETUP_MAX)];
    let payload = |at: u64| {
        let start = usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
        bytes[start..bytes.len().min(start.saturating_add(16))].to_vec()
    };
    let image = image::recognise(prefix, bytes.len() as u64, payload).map_err(|no| KernelError::NotAKernel {
        hint: no.hint(evidence.as_ref()),
        found: no.found,
        path: evidence.into(),
    })?;
    let release = image.release.clone().or_else(|| image::banner_release(&bytes)).unwrap_or_else(|| "unknown".into());
    let config = ikconfig::find(&bytes, &image).map(|text| Config::new("IKCONFIG in the kernel", &text));
    Ok(Bundle {
        arch: image.arch,
        image,
        release,
        config,
        modules: None,
        origin: evidence.to_owned(),
        checked: String::new(),
        signed: String::new(),
        boot: BootFile::Memory(bytes),
    })
}

/// The report on a kernel given by itself, or in a unified kernel image.
pub fn report(name: &str, bundle: &Bundle, unified: Option<model::Unified>) -> Report {
    let mut report = Report::new(Kind::Kernel, name);
    let kernel = model::Kernel { unified, ..facts(bundle, &bundle.origin) };
    let boots = match kernel.boots.as_str() {
        "yes" => "boots our disks",
        "perhaps" => "may boot our disks: not everything about it is known",
        _ => "does not boot our disks",
    };
    report.verdict = format!("Linux {} for {}, no userland; {boots}", kernel.release, kernel.architecture);
    report.kernel = Some(kernel);
    report
}
