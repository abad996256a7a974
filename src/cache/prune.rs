//! What goes when more is kept than there is room for.

use std::path::PathBuf;
use std::time::SystemTime;

/// Something that is kept.
pub trait Kept {
    /// When it was last used.
    fn used(&self) -> SystemTime;
    /// Bytes of storage.
    fn bytes(&self) -> u64;
    /// Whether it goes even where there is room.
    fn is_abandoned(&self) -> bool {
        false
    }
}

/// A disk or a base that is kept.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What it is known by.
    pub key: String,
    /// Where it is.
    pub path: PathBuf,
    /// Bytes of storage.
    pub bytes: u64,
    /// When it was last used.
    pub used: SystemTime,
}

impl Kept for Entry {
    fn used(&self) -> SystemTime {
        self.used
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// What went, and what is left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pruned<T> {
    /// What went, in this order.
    pub gone: Vec<T>,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of those that stay.
    pub left: u64,
}

/// Has `remove` remove what was unused for longest until the rest fits `budget` bytes. What it does not remove stays.
pub fn prune<T: Kept>(mut all: Vec<T>, budget: u64, remove: impl Fn(&T) -> bool) -> Pruned<T> {
    all.sort_by_key(T::used);
    let mut pruned = Pruned { left: all.iter().map(T::bytes).sum(), bytes: 0, gone: Vec::new() };
    for kept in all {
        if (pruned.left > budget || kept.is_abandoned()) && remove(&kept) {
            pruned.bytes += kept.bytes();
            pruned.left -= kept.bytes();
            pruned.gone.push(kept);
        }
    }
    pruned
}
