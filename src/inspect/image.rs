//! An image, read once: its layers applied to a tree, what each of them did, and the report from both.

use super::body::{Hidden, Looker};
use super::facts::{self, Root};
use super::model::{self, Boot, HiddenFile, Kind, Layer, Layers, Report, StoredKernel};
use crate::arch::Arch;
use crate::escape::escape;
use crate::flatten::{self, LayerStats};
use crate::image::{BlobError, Image};
use crate::kernel::preflight::{Disk, Verdict, preflight};
use crate::kernel::{Packing, Store};
use crate::layer::Warnings;
use crate::rootfs::{Attrs, Tree};

/// Longest command of a history that is kept, in bytes.
const MAX_COMMAND: usize = 4096;
/// Most hidden files that are named.
const MAX_HIDDEN: usize = 20;

/// Why an image cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// A layer is damaged.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// A layer breaks a rule.
    #[error("layer {number}")]
    Apply {
        /// From 1.
        number: usize,
        /// What is wrong.
        source: flatten::ApplyError,
    },
}

/// An image that was read.
pub struct Scan {
    /// The merged tree.
    pub tree: Root,
    /// What each layer was.
    pub stats: Vec<Stats>,
    /// What was noted while bodies passed.
    pub looker: Looker,
    /// What is odd, one sentence each, printable.
    pub notes: Vec<String>,
}

/// What one layer was.
pub struct Stats {
    /// As the applier counted.
    pub applied: LayerStats,
    /// Names in the tree before and after.
    pub names: (u32, u32),
    /// How it is stored.
    pub format: &'static str,
}

/// Reads the lowest `layers` layers of an image, with digests of every file if `hash` says so.
pub fn scan(image: &Image, layers: usize, hash: bool) -> Result<Scan, ImageError> {
    let mut looker = Looker::new(hash);
    let mut tree = Tree::new(Attrs { mode: 0o755, ..Attrs::default() });
    let mut warnings = Warnings::default();
    let mut notes = image.warnings.clone();
    let mut stats = Vec::new();
    for index in 0..image.layers.len().min(layers) {
        looker.layer = index as u32;
        let before = tree.entry_count();
        let mut stream = image.open_layer(index)?;
        let format = stream.format().name();
        notes.extend(stream.warning());
        let limits = flatten::Limits::default();
        match flatten::apply(&mut tree, index as u32, &mut stream, &mut looker, &limits, &mut warnings) {
            Ok(applied) => {
                stream.finish()?;
                stats.push(Stats { applied, names: (before, tree.entry_count()), format });
            }
            // A damaged blob is the cause, and the odd tar in it only the effect.
            Err(source) => {
                stream.finish_after_error()?;
                return Err(ImageError::Apply { number: index + 1, source });
            }
        }
    }
    notes.extend(warnings.to_string().lines().map(str::to_owned));
    notes.extend(looker_notes(&looker));
    Ok(Scan { tree, stats, looker, notes })
}

/// What a sink had to leave out.
pub fn looker_notes(looker: &Looker) -> Vec<String> {
    let full = looker
        .full
        .then(|| "not everything was kept that this report is made from: there is too much of it".to_owned());
    let unhashed = looker.unhashed.then(|| "some files are mostly holes and have no digest here".to_owned());
    full.into_iter().chain(unhashed).collect()
}

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
        platform: shown(&image.platform.to_string()),
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
        notes.push(format!("no kernel is known for {}", escape(image.platform.to_string().as_bytes())));
        return boot;
    };
    let entries = store.and_then(|store| store.list().ok()).unwrap_or_default();
    for entry in entries.into_iter().filter_map(Result::ok).filter(|entry| entry.arch == arch) {
        let default = store.and_then(|store| store.default_id(arch).ok().flatten()).as_ref() == Some(&entry.id);
        let disk = Disk { arch, bios: arch == Arch::X86_64, uefi: true, initramfs: Packing::None };
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
            Err(error) => ("no", Some(escape(error.to_string().as_bytes()))),
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
