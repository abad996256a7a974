//! An image, read once: its layers applied to a tree, and what each of them did.

use super::Root;
use super::body::{Looker, left_out};
use crate::flatten::{self, LayerStats};
use crate::image::{BlobError, Image};
use crate::layer::Warnings;
use crate::rootfs::{Attrs, BodySink, Tree};

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
    let mut tree = empty();
    let mut warnings = Warnings::default();
    let mut notes = image.warnings.clone();
    let mut stats = Vec::new();
    for index in 0..image.layers.len().min(layers) {
        looker.layer = index as u32;
        let before = tree.entry_count();
        let layer = apply(image, index, &mut tree, &mut looker, &mut warnings)?;
        notes.extend(layer.warning);
        stats.push(Stats { applied: layer.stats, names: (before, tree.entry_count()), format: layer.format });
    }
    notes.extend(warnings.to_string().lines().map(str::to_owned));
    notes.extend(left_out(&looker));
    Ok(Scan { tree, stats, looker, notes })
}

/// Reads all layers of an image, for what `sink` keeps of bodies.
pub fn tree<S: BodySink>(image: &Image, sink: &mut S) -> Result<Tree<S::Body>, ImageError> {
    let mut tree = empty();
    let mut warnings = Warnings::default();
    for index in 0..image.layers.len() {
        apply(image, index, &mut tree, sink, &mut warnings)?;
    }
    Ok(tree)
}

fn empty<B>() -> Tree<B> {
    Tree::new(Attrs { mode: 0o755, ..Attrs::default() })
}

/// A layer that is in the tree.
struct Applied {
    stats: LayerStats,
    format: &'static str,
    warning: Option<String>,
}

fn apply<S: BodySink>(
    image: &Image,
    index: usize,
    tree: &mut Tree<S::Body>,
    sink: &mut S,
    warnings: &mut Warnings,
) -> Result<Applied, ImageError> {
    let mut stream = image.open_layer(index)?;
    let (format, warning) = (stream.format().name(), stream.warning());
    match flatten::apply(tree, index as u32, &mut stream, sink, &flatten::Limits::default(), warnings) {
        Ok(stats) => {
            stream.finish()?;
            Ok(Applied { stats, format, warning })
        }
        // A damaged blob is the cause, and the odd tar in it only the effect.
        Err(source) => {
            stream.finish_after_error()?;
            Err(ImageError::Apply { number: index + 1, source })
        }
    }
}
