//! Packages of other distributions than Debian, made by the real tools of a small kernel's files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::small_kernel::only;
use super::tools;

/// What a script of bash says.
pub fn shell(directory: &Path, script: &str) -> String {
    tools::stdout(Command::new("bash").args(["-euc", script]).current_dir(directory))
}

/// An rpm of the files below `root`, by rpmbuild; Fedora's layout when `fedora`: the kernel lies beside its modules.
pub fn make_rpm(dir: &Path, root: &Path, name: &str, files: &str, payload: &str) -> PathBuf {
    let spec = format!(
        "Name: {name}\nVersion: 6.1\nRelease: 1\nSummary: test\nLicense: GPL\nBuildArch: x86_64\nAutoReqProv: no\n\
         %global __os_install_post %{{nil}}\n%global _build_id_links none\n%description\ntest\n\
         %install\nmkdir -p %{{buildroot}}\ncp -a {}/. %{{buildroot}}/\n%files\n{files}",
        root.display()
    );
    fs::write(dir.join("x.spec"), spec).unwrap();
    let top = dir.join("rpmbuild");
    let mut build = Command::new("rpmbuild");
    build.args(["-bb", "--quiet", "--target", "x86_64"]).arg("--define").arg(format!("_topdir {}", top.display()));
    build
        .arg("--define")
        .arg(format!("_binary_payload {payload}"))
        .arg("--define")
        .arg("_unpackaged_files_terminate_build 0");
    tools::stdout(build.arg(dir.join("x.spec")));
    let made = only(&top.join("RPMS/x86_64"), name);
    let package = dir.join(format!("{name}-{}.rpm", payload.replace('.', "-")));
    fs::rename(made, &package).unwrap();
    package
}

/// An apk as abuild makes it: three gzip streams, the first two without the end of an archive.
pub fn make_apk(dir: &Path, root: &Path) -> PathBuf {
    fs::write(dir.join(".SIGN.RSA.test.rsa.pub"), [7; 256]).unwrap();
    shell(dir, &format!("tar --sort=name --format=posix -C {} -cf - boot lib | gzip -n > data.tar.gz", root.display()));
    let hash = shell(dir, "sha256sum < data.tar.gz | cut -d' ' -f1");
    fs::write(
        dir.join(".PKGINFO"),
        format!("# made\npkgname = linux-virt\npkgver = 6.1-r0\narch = x86_64\ndatahash = {hash}"),
    )
    .unwrap();
    // abuild-tar --cut leaves the two blocks of zeros out.
    shell(
        dir,
        "cut() { tar --format=ustar -b1 -cf - \"$1\" | head -c -1024; }\n\
         (cut .SIGN.RSA.test.rsa.pub | gzip -n; cut .PKGINFO | gzip -n; cat data.tar.gz) > linux-virt-6.1-r0.apk",
    );
    dir.join("linux-virt-6.1-r0.apk")
}
