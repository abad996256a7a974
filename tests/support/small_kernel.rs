//! A small kernel that is real where it is looked at: the setup part of Debian's, and some of its modules.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{kernels, tools};

/// Debian's package of `flavour`, unpacked by dpkg-deb, kept for later runs.
pub fn unpacked(flavour: &'static str) -> PathBuf {
    let package = kernels::package(flavour);
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(package.file_stem().unwrap());
    if !place.is_dir() {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        tools::stdout(Command::new("dpkg-deb").arg("-x").arg(&package).arg(dir.path()));
        // Whoever is first keeps it; another thread's copy is the same.
        let renamed = std::fs::rename(dir.path(), &place);
        assert!(place.is_dir(), "{renamed:?}");
    }
    place
}

/// The one file in `dir` whose name begins with `stem`.
pub fn only(dir: &Path, stem: &str) -> PathBuf {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let fits = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(stem);
    let found: Vec<PathBuf> = entries.filter(fits).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].clone()
}

/// The kernel cut to its setup part and 4 KiB of code: every header is Debian's, but nothing would boot.
pub fn cut_kernel(vmlinuz: &[u8]) -> Vec<u8> {
    let setup = (usize::from(vmlinuz[0x1f1]) + 1) * 512;
    let mut image = vmlinuz[..setup + 4096].to_vec();
    image[0x1f4..0x1f8].copy_from_slice(&256u32.to_le_bytes());
    image[0x248..0x24c].copy_from_slice(&0u32.to_le_bytes());
    image[0x24c..0x250].copy_from_slice(&4096u32.to_le_bytes());
    image
}

/// Makes a root directory with the cut kernel, its configuration, its lists and the modules called `modules`.
pub fn make_root(root: &Path, modules: &[&str]) -> String {
    let cloud = unpacked("cloud");
    let vmlinuz = only(&cloud.join("boot"), "vmlinuz-");
    let release = vmlinuz.file_name().unwrap().to_str().unwrap().strip_prefix("vmlinuz-").unwrap().to_owned();
    let (from, to) = (cloud.join("lib/modules").join(&release), root.join("lib/modules").join(&release));
    std::fs::create_dir_all(root.join("boot")).unwrap();
    std::fs::create_dir_all(to.join("kernel")).unwrap();
    let boot = root.join("boot").join(format!("vmlinuz-{release}"));
    std::fs::write(boot, cut_kernel(&std::fs::read(vmlinuz).unwrap())).unwrap();
    let config = format!("boot/config-{release}");
    std::fs::copy(cloud.join(&config), root.join(&config)).unwrap();
    for list in ["modules.builtin", "modules.builtin.modinfo", "modules.order"] {
        std::fs::copy(from.join(list), to.join(list)).unwrap();
    }
    for module in modules {
        let find = Command::new("find").arg(&from).args(["-name", &format!("{module}.ko")]).output().unwrap();
        let path = String::from_utf8(find.stdout).unwrap();
        std::fs::copy(path.trim(), to.join(format!("kernel/{module}.ko"))).unwrap();
    }
    release
}

/// A package of the root directory `root`, made by dpkg-deb.
pub fn make_package(root: &Path, to: &Path, control: &str, options: &[&str]) {
    std::fs::create_dir_all(root.join("DEBIAN")).unwrap();
    let text = format!(
        "Version: 1\nArchitecture: amd64\nMaintainer: Nobody <nobody@example.org>\nDescription: test\n{control}"
    );
    std::fs::write(root.join("DEBIAN/control"), text).unwrap();
    // As dh_md5sums does.
    let list =
        "find . -type f ! -path './DEBIAN/*' -printf '%P\\0' | LC_ALL=C sort -z | xargs -r0 md5sum > DEBIAN/md5sums";
    tools::stdout(Command::new("sh").args(["-c", list]).current_dir(root));
    tools::stdout(Command::new("dpkg-deb").args(options).arg("-b").arg(root).arg(to));
    std::fs::remove_dir_all(root.join("DEBIAN")).unwrap();
}
