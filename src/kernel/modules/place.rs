//! Where modules are: the directories of a package or root, their names there, and how long a module may be.

use crate::kernel::is_release;
use crate::kernel::modinfo::normal_name;

/// Where modules directories are, in a package or below a root directory.
pub(in crate::kernel) const MODULE_ROOTS: [&str; 2] = ["lib/modules/", "usr/lib/modules/"];

/// Longest module accepted, in bytes, packed or not; the largest of a distribution's has 20 MB.
pub const MAX_MODULE: u64 = 256 << 20;

/// Splits `lib/modules/RELEASE/FILE` into RELEASE and FILE.
pub(in crate::kernel) fn module_file(path: &str) -> Option<(&str, &str)> {
    let (release, file) = MODULE_ROOTS.iter().find_map(|root| path.strip_prefix(root))?.split_once('/')?;
    is_release(release).then_some((release, file))
}
/// The normalised name of a module's path (`kernel/x/virtio-rng.ko.zst` → `virtio_rng`); `None` for other files.
pub fn module_name(path: &str) -> Option<String> {
    let file = path.rsplit('/').next()?;
    let stem = [".ko", ".ko.gz", ".ko.xz", ".ko.zst"].iter().find_map(|end| file.strip_suffix(end))?;
    (!stem.is_empty()).then(|| normal_name(stem))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_file_names() {
        assert_eq!(module_name("kernel/a/virtio-rng.ko"), Some("virtio_rng".into()));
        assert_eq!(module_name("x.ko.zst"), Some("x".into()));
        assert_eq!(module_name("modules.order"), None);
        assert_eq!(module_name(".ko"), None);
    }
}
