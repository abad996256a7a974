//! An image, read once: its layers applied to a tree, and what each of them did.

use super::Root;
use super::body::{Looker, left_out};
use crate::flatten::{self, LayerStats};
use crate::image::{BlobError, Image};
use crate::layer::Warnings;
use crate::rootfs::{Attrs, Tree};

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
    notes.extend(left_out(&looker));
    Ok(Scan { tree, stats, looker, notes })
}
