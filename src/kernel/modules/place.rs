//! Where modules are: the directories of a package or root, and how long a module may be.

use crate::kernel::is_release;

/// Where modules directories are, in a package or below a root directory.
pub(in crate::kernel) const MODULE_ROOTS: [&str; 2] = ["lib/modules/", "usr/lib/modules/"];

/// Longest module accepted, in bytes, packed or not; the largest of a distribution's has 20 MB.
pub const MAX_MODULE: u64 = 256 << 20;

/// Splits `lib/modules/RELEASE/FILE` into RELEASE and FILE.
pub(in crate::kernel) fn module_file(path: &str) -> Option<(&str, &str)> {
    let (release, file) = MODULE_ROOTS.iter().find_map(|root| path.strip_prefix(root))?.split_once('/')?;
    is_release(release).then_some((release, file))
}
