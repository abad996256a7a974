//! The real kernel packages that tests open, and a folder of each test's own.

use std::path::PathBuf;

/// Where kernel packages are: `BOOTDISK_TEST_KERNELS`, else `target/test-data/kernels`; scripts/test fetches them.
pub fn dir() -> PathBuf {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/target/test-data/kernels");
    std::env::var_os("BOOTDISK_TEST_KERNELS").map_or_else(|| default.into(), PathBuf::from)
}

/// The one package of Debian's `cloud` or `generic` flavour.
pub fn package(flavour: &str) -> PathBuf {
    let fits = |name: &str| {
        let cloud = name.contains("-cloud-amd64_");
        name.starts_with("linux-image-") && name.ends_with("_amd64.deb") && cloud == (flavour == "cloud")
    };
    let entries = std::fs::read_dir(dir()).unwrap_or_else(|error| panic!("{}: {error}", dir().display()));
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| fits(path.file_name().unwrap().to_str().unwrap()));
    assert_eq!(found.len(), 1, "one {flavour} kernel package in {}; scripts/test fetches it", dir().display());
    found.remove(0)
}
