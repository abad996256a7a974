//! How much room there is.

use nix::sys::statvfs::{Statvfs, statvfs};
use std::io;
use std::path::Path;

/// Bytes an unprivileged user can still write where `path` lies or will lie.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let facts = facts(path)?;
    Ok(facts.blocks_available().saturating_mul(facts.fragment_size()))
}

/// Whether what goes in one place leaves room in the other, as far as can be told: file systems of one size are one, as
/// subvolumes of btrfs have numbers of their own.
pub fn share_room(one: &Path, other: &Path) -> bool {
    let size = |path| facts(path).map(|facts| (facts.blocks(), facts.fragment_size())).ok();
    size(one).is_some_and(|one| size(other) == Some(one))
}

fn facts(path: &Path) -> io::Result<Statvfs> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok(statvfs(directory)?)
}
