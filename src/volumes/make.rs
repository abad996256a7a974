//! A new volume: an empty file system, by the writer that makes every root.

use crate::ext4::{Body, Descriptors, Free, Params, Writer};
use crate::random;
use crate::rootfs::{Attrs, Time, Tree};
use std::fs::File;
use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

/// Longest label that ext4 has.
const LABEL: usize = 16;

/// Writes an empty file system of this size, and leaves what is not written as holes.
pub fn write(file: &File, size: u64, name: &str) -> io::Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs() as i64);
    let made_at = Time { secs: now, nanos: 0 };
    let params = Params {
        uuid: random::bits()?,
        hash_seed: random::bits()?,
        label: name.bytes().take(LABEL).collect(),
        size: Some(size),
        free: Free::Least,
        limit: size,
        made_at,
        descriptors: Descriptors::default(),
    };
    let tree: Tree<Body> = Tree::new(Attrs { mode: 0o755, mtime: made_at, ..Attrs::default() });
    Writer::new(file, params).seal(&tree).map_err(io::Error::other)?;
    file.set_len(size)
}
