//! Layers that were applied before are not applied again: a build begins at a base that an earlier one left, and leaves one
//! for the next.
//!
//! ```text
//!  layers   1 ─ 2 ─ 3 ─ 4      the first build: all are read, and what 1 to 3 came to is kept
//!           ═════════   5      the next: only 5 is opened, decoded and hashed
//! ```
//!
//! The disk is the same either way, byte for byte, and so is what is said of it. What does not work costs time and is not an
//! error: the layers are read as if there were no base.

use crate::cache::Entry;
use crate::cache::bases::{Base, BaseCache, Filled, Key, Made, keys, read_entry};
use crate::ext4::{self, Refused};
use crate::image::{Image, LayersAhead};
use crate::layer::Warnings;
use crate::output::Output;
use crate::rootfs::{Attrs, Pack, Tree, Unpack};
use std::path::{Path, PathBuf};

/// Stored bytes of layers that have to be behind the last base before there is another one: with fewer, decoding them takes
/// less time than it is worth.
const WORTH: u64 = 8 << 20;

/// Where bases are.
#[derive(Clone, Debug)]
pub struct Bases {
    cache: BaseCache,
}

impl Bases {
    /// Those in a folder, which is this user's alone if it is there.
    pub fn at(dir: PathBuf) -> Bases {
        Bases { cache: BaseCache::at(dir) }
    }

    /// Removes them all for want of room where `output` lies; whether there were any that took it.
    pub(super) fn give_room(&self, output: &Path) -> bool {
        self.cache.give_room(output)
    }
}

/// The layers of an image on their way to a build.
pub struct Layers {
    /// Those behind the base.
    pub(super) ahead: LayersAhead,
    pub(super) base: Option<Base>,
    pub(super) plan: Option<Keeping>,
}

/// What is to be left for later builds.
pub(super) struct Keeping {
    pub(super) bases: Bases,
    keys: Vec<Key>,
    /// Behind how many layers, if behind any.
    at: Option<usize>,
    /// Whether its blocks are copied where they cannot be shared: once images have parted there, as that takes its time.
    may_copy: bool,
}

impl Layers {
    /// Begins to decode the layers of an image that no base has, as many at a time as there are `threads`.
    pub fn of(image: &Image, bases: Option<&Bases>, threads: usize) -> Layers {
        let Some(bases) = bases else {
            return Layers { ahead: LayersAhead::new(image, threads), base: None, plan: None };
        };
        let keys = keys(image);
        let base = bases.cache.find(&keys);
        Layers::behind(base, image, (bases, keys), threads)
    }

    /// All of them, in place of a base that turned out to be damaged; another one is kept then.
    pub(super) fn instead(plan: Keeping, image: &Image, threads: usize) -> Layers {
        Layers::behind(None, image, (&plan.bases, plan.keys), threads)
    }

    /// These with no base, used or left.
    pub(super) fn apart(self, image: &Image, threads: usize) -> Layers {
        match self.base {
            None => Layers { plan: None, ..self },
            Some(_) => Layers::of(image, None, threads),
        }
    }

    fn behind(base: Option<Base>, image: &Image, (bases, keys): (&Bases, Vec<Key>), threads: usize) -> Layers {
        let first = base.as_ref().map_or(0, |base| base.layers);
        let ahead = LayersAhead::after(image, first, threads);
        let stored: Vec<u64> = image.layers.iter().map(|layer| layer.size).collect();
        let is_worth = stored.iter().fold(0, |sum: u64, size| sum.saturating_add(*size)) >= WORTH;
        let parting = if is_worth { bases.cache.parting(&keys) } else { 0 };
        if is_worth {
            bases.cache.remember(&keys);
        }
        let at = boundary(&stored, first, parting);
        let may_copy = at.is_some_and(|at| at <= parting);
        Layers { ahead, base, plan: Some(Keeping { bases: bases.clone(), keys, at, may_copy }) }
    }
}

/// Behind how many layers of these stored sizes a base is kept by a build that began behind `first`.
///
/// Where images have parted before they part again: `parting`. Otherwise it is the topmost layer that changes, so all below
/// it are kept, unless most bytes are in that one: then all are, for images that begin with this one, and for this one with
/// another kernel.
fn boundary(stored: &[u64], first: usize, parting: usize) -> Option<usize> {
    let sum = |from: usize, to: usize| stored[from..to].iter().fold(0, |sum: u64, size| sum.saturating_add(*size));
    let all = stored.len();
    let is_worth = |&at: &usize| at > first && sum(first, at) >= WORTH && sum(first, at) >= sum(0, at) / 4;
    if all == 0 || !is_worth(&all) {
        return None;
    }
    let below = all - 1;
    let usual = if sum(0, below) < sum(below, all) { all } else { below };
    [parting, usual].into_iter().find(is_worth)
}

/// Where a build is: behind some layers.
pub(super) struct Begun<'a> {
    pub(super) writer: ext4::Writer<'a>,
    pub(super) tree: Tree<ext4::Body>,
    /// How many layers.
    pub(super) layers: usize,
    pub(super) warnings: Warnings,
    /// Remarks on how layers are stored.
    pub(super) remarks: Vec<String>,
    /// What was left on the way, to be sealed at the end.
    pub(super) left: Option<Made>,
}

impl<'a> Begun<'a> {
    /// Behind no layer.
    pub(super) fn new(output: &'a dyn Output, params: ext4::Params) -> Begun<'a> {
        let tree = Tree::new(Attrs { mode: 0o755, ..Attrs::default() });
        let writer = ext4::Writer::new(output, params);
        Begun { writer, tree, layers: 0, warnings: Warnings::default(), remarks: Vec::new(), left: None }
    }

    /// Where the base was. A damaged one is taken away, and one whose blocks were read for nothing but to see that it is
    /// not is sealed.
    ///
    /// # Errors
    /// See [`Refused`].
    pub(super) fn at(base: &Base, output: &'a dyn Output, params: ext4::Params) -> Result<Begun<'a>, Refused> {
        let mut state = Unpack(&base.state);
        let begun = read_said(&mut state).ok_or(Refused::Damaged).and_then(|(warnings, remarks)| {
            let blocks = ext4::Blocks { file: &base.file, are_known: base.is_sealed };
            let ext4::Resumed { writer, tree, are_shared } = ext4::resume(output, params, &mut state, blocks)?;
            if are_shared && !base.is_sealed {
                base.seal();
            }
            Ok(Begun { writer, tree, layers: base.layers, warnings, remarks, left: None })
        });
        if let Err(Refused::Damaged) = begun {
            base.forget();
        }
        begun
    }

    /// Leaves a base if it is wanted behind as many layers as there are now. What goes wrong makes no difference to this
    /// build.
    pub(super) fn keep(&mut self, plan: Option<&Keeping>) {
        let Some(Keeping { bases, keys, may_copy, .. }) = plan.filter(|plan| plan.at == Some(self.layers)) else {
            return;
        };
        let bytes = ext4::live_bytes(&self.tree);
        let made = bases.cache.keep(&keys[..self.layers], bytes, |file| {
            let mut state = Pack::default();
            self.warnings.pack(&mut state);
            state.count(self.remarks.len());
            self.remarks.iter().for_each(|text| state.text(text.as_bytes()));
            let kept = self.writer.keep(&self.tree, file, *may_copy, &mut state)?;
            Ok(kept.map(|is_shared| Filled { state: state.0, is_shared }))
        });
        self.left = made.ok().flatten();
    }
}

/// Whether everything of a base is what it was when it was made.
pub fn is_whole_base(entry: &Entry) -> bool {
    let check = || {
        let (state, file) = read_entry(entry)?;
        let mut state = Unpack(&state);
        read_said(&mut state)?;
        ext4::is_whole(&mut state, &file).then_some(())
    };
    check().is_some()
}

/// What was said of the layers: their warnings, and remarks on how they are stored.
fn read_said(state: &mut Unpack<'_>) -> Option<(Warnings, Vec<String>)> {
    let text = |state: &mut Unpack<'_>| String::from_utf8(state.text()?.to_vec()).ok();
    Some((Warnings::unpack(state)?, state.list(text)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bases_are_kept_where_images_part() {
        const M: u64 = 1 << 20;
        let at = boundary;
        assert_eq!(at(&[], 0, 0), None);
        assert_eq!(at(&[M], 0, 0), None, "it is decoded as fast");
        assert_eq!(at(&[60 * M], 0, 0), Some(1));
        assert_eq!(at(&[60 * M], 1, 0), None, "there is one");
        assert_eq!(at(&[60 * M, M], 0, 0), Some(1), "below the topmost");
        assert_eq!(at(&[60 * M, M], 1, 0), None);
        assert_eq!(at(&[20 * M, 60 * M], 0, 0), Some(2), "most of it is in the topmost");
        assert_eq!(at(&[20 * M, 60 * M], 0, 1), Some(1), "they have parted there");
        assert_eq!(at(&[60 * M, M, M, M], 1, 1), None, "and it is there");
        assert_eq!(at(&[60 * M, M, M, M], 0, 1), Some(1));
        assert_eq!(at(&[60 * M, 30 * M, M], 1, 0), Some(2));
        assert_eq!(at(&[60 * M, 10 * M, M], 1, 0), None, "too little more");
        assert_eq!(at(&[u64::MAX, u64::MAX], 0, 0), Some(1));
    }
}
