//! The report on an image that was read.

use super::facts;
use super::model::{self, Boot, HiddenFile, Kind, Layer, Layers, Report, StoredKernel};
use crate::arch::Arch;
use crate::contents::body::Hidden;
use crate::contents::of_image::Scan;
use crate::escape::{escape, printable};
use crate::image::Image;
use crate::kernel::preflight::{Disk, Verdict, preflight};
use crate::kernel::{Packing, Store};

/// Longest command of a history that is kept, in bytes.
const MAX_COMMAND: usize = 4096;
/// Most hidden files that are named.
const MAX_HIDDEN: usize = 20;

/// The report on an image that was read. `store` is asked which kernels would boot it.
pub fn report(name: &str, image: &Image, scan: &Scan, store: Option<&Store>) -> Report {
    let mut report = Report::new(Kind::Image, name);
    let (userland, attention) = facts::of(&scan.tree);
    let command = facts::command::find(&scan.tree, &image.config.process());
    report.verdict = facts::of_image(&userland, &command);
    report.attention = attention;
    report.attention.extend(facts::attention::of_environment(&image.config.env));
    report.layers = Some(layers(image, scan));
    report.image = Some(configuration(image));
    report.boot = Some(boot(image, store, &mut report.notes));
    report.notes.extend(scan.notes.iter().cloned());
    report.userland = Some(userland);
    report.command = Some(command);
    report
}

fn configuration(image: &Image) -> model::Image {
    let shown = |text: &String| escape(text.as_bytes());
    let all = |list: &[String]| list.iter().map(shown).collect();
    let config = &image.config;
    model::Image {
        name: image.name.as_ref().map(shown),
        platform: image.platform.to_string(),
        created: image.created.as_ref().map(shown),
        config_digest: image.config_digest.to_string(),
        chain_id: image.chain_id().to_string(),
        ports: all(&config.exposed_ports),
        volumes: all(&config.volumes),
        stop_signal: config.stop_signal.as_ref().map(shown),
        env: all(&config.env),
        labels: config.labels.iter().map(|(name, value)| format!("{}={}", shown(name), shown(value))).collect(),
    }
}

fn layers(image: &Image, scan: &Scan) -> Layers {
    let made: Vec<_> = image.history.iter().filter(|step| !step.empty_layer).collect();
    // A history that does not tell of the layers there are tells nothing about any of them.
    let step = |index: usize| made.get(index).filter(|_| made.len() == image.layers.len());
    let mut all = Layers::default();
    for (index, (layer, stats)) in image.layers.iter().zip(&scan.stats).enumerate() {
        let applied = &stats.applied;
        let hidden = scan.looker.hidden_bytes.get(&(index as u32)).copied().unwrap_or(0);
        let (before, after) = (u64::from(stats.names.0), u64::from(stats.names.1));
        let made_here = (after + applied.removed).saturating_sub(before);
        let command = step(index).map(|step| if step.created_by.is_empty() { &step.comment } else { &step.created_by });
        all.bytes += applied.file_bytes;
        all.hidden += hidden;
        all.layers.push(Layer {
            number: index + 1,
            digest: layer.digest.as_ref().unwrap_or(&layer.diff_id).to_string(),
            diff_id: layer.diff_id.to_string(),
            format: stats.format.to_owned(),
            stored: layer.size,
            tar: applied.layer_bytes,
            bytes: applied.file_bytes,
            entries: applied.entries,
            added: made_here.saturating_sub(applied.replaced + applied.repeated),
            changed: applied.replaced + applied.changed_directories,
            removed: applied.removed.saturating_sub(applied.replaced + applied.repeated),
            hidden,
            command: command.filter(|text| !text.is_empty()).map(|text| cut(text)),
        });
    }
    let seen = all.bytes.saturating_sub(all.hidden);
    all.efficiency = if all.bytes == 0 { 100.0 } else { (seen as f64 / all.bytes as f64 * 1000.0).round() / 10.0 };
    all.largest_hidden = scan.looker.hidden.iter().filter_map(hidden_file).take(MAX_HIDDEN).collect();
    all
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_COMMAND) {
        Some((at, _)) => format!("{}…", escape(&text.as_bytes()[..at])),
        None => escape(text.as_bytes()),
    }
}

fn hidden_file(hidden: &Hidden) -> Option<HiddenFile> {
    let path = hidden.path.as_deref()?;
    let path = path.strip_prefix(b".").unwrap_or(path);
    let path = path.strip_prefix(b"/").unwrap_or(path);
    Some(HiddenFile {
        path: format!("/{}", escape(path)),
        bytes: hidden.size,
        layer: hidden.layer + 1,
        hidden_by: hidden.by + 1,
    })
}

/// Which kernels of the store would do, and what a disk gets beside the userland.
fn boot(image: &Image, store: Option<&Store>, notes: &mut Vec<String>) -> Boot {
    let injected = [
        "a kernel",
        "an initramfs with PID 1, its boot specification and the kernel's modules",
        "boot loaders for BIOS and UEFI",
    ];
    let mut boot = Boot { kernels: Vec::new(), injected: injected.map(str::to_owned).to_vec() };
    let Some(arch) = Arch::from_name(&image.platform.architecture).map(Arch::kernel) else {
        notes.push(format!("no kernel is known for {}", image.platform));
        return boot;
    };
    let entries = store.and_then(|store| store.list().ok()).unwrap_or_default();
    for entry in entries.into_iter().filter_map(Result::ok).filter(|entry| entry.arch == arch) {
        let default = store.and_then(|store| store.default_id(arch).ok().flatten()).as_ref() == Some(&entry.id);
        let disk = Disk { arch, bios: arch == Arch::X86_64, uefi: true, initramfs: Packing::None, verity: false };
        let (boots, why) = match entry.bundle() {
            Ok(bundle) => {
                let report = preflight(&bundle, &disk);
                let lacks: Vec<&str> = report.with(Verdict::Fail).map(|check| check.option.as_str()).collect();
                match (lacks.is_empty(), report.with(Verdict::Unknown).count()) {
                    (false, _) => ("no", Some(format!("lacks {}", lacks.join(", ")))),
                    (true, 0) => ("yes", None),
                    (true, unknown) => ("perhaps", Some(format!("{unknown} things it needs are not certain"))),
                }
            }
            Err(error) => ("no", Some(printable(&error.to_string()))),
        };
        boot.kernels.push(StoredKernel {
            id: entry.id.clone(),
            release: escape(entry.release.as_bytes()),
            default,
            boots: boots.to_owned(),
            why,
        });
    }
    boot
}
