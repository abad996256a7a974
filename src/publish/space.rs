//! How much room there is.

use std::io;
use std::path::Path;

/// Bytes an unprivileged user can still write where `path` lies or will lie.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let facts = nix::sys::statvfs::statvfs(directory)?;
    Ok(facts.blocks_available().saturating_mul(facts.fragment_size()))
}
