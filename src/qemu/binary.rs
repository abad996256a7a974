//! Finding QEMU.

use super::error::RunError;
use crate::arch::Architecture;
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The oldest QEMU that knows every option of [`super::args`] (`-action` came with 6.0).
pub const OLDEST: (u32, u32) = (6, 0);

/// The oldest QEMU with a network of datagrams (`-netdev dgram`).
pub(super) const DATAGRAMS: (u32, u32) = (7, 2);

/// QEMU for guests of this architecture: `option` if given, else the first in PATH.
pub fn find(arch: Architecture, option: Option<&Path>) -> Result<PathBuf, RunError> {
    find_in(arch, option, std::env::var_os("PATH").as_deref())
}

fn find_in(arch: Architecture, option: Option<&Path>, path: Option<&OsStr>) -> Result<PathBuf, RunError> {
    if let Some(program) = option {
        return match executable(program) {
            true => Ok(program.to_owned()),
            false => Err(missing(arch, super::error::shown(program))),
        };
    }
    let name = format!("qemu-system-{}", arch.name());
    // Distributions with one build for the host's own architecture name it differently.
    let other = (Architecture::host() == Some(arch)).then_some(Path::new("/usr/libexec/qemu-kvm"));
    let in_path = path.into_iter().flat_map(std::env::split_paths).map(|dir| dir.join(&name));
    let mut candidates = in_path.chain(other.map(Path::to_owned));
    candidates.find(|file| executable(file)).ok_or_else(|| missing(arch, name))
}

fn executable(file: &Path) -> bool {
    file.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

fn missing(arch: Architecture, program: String) -> RunError {
    let package = match arch {
        Architecture::X86_64 => "qemu-system-x86",
        Architecture::Aarch64 => "qemu-system-arm",
    };
    RunError::QemuMissing { program, package }
}

/// Bytes of its version that are read.
const LONGEST: u64 = 4096;

/// Major and minor version of a QEMU program, `None` when it does not say.
pub fn version(program: &Path) -> Option<(u32, u32)> {
    let mut command = Command::new(program);
    let mut child =
        command.arg("--version").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
    // Not `Command::output`, which panics where the pipe cannot be read.
    let mut text = Vec::new();
    let read = child.stdout.take().map(|stdout| stdout.take(LONGEST).read_to_end(&mut text));
    _ = child.wait();
    read?.ok()?;
    parse_version(&String::from_utf8_lossy(&text))
}

/// `QEMU emulator version 7.2.22 (Debian …)`.
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let number = text.split_once("version ")?.1;
    let mut parts = number.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_as_distributions_print_them() {
        assert_eq!(parse_version("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)\nCopyright"), Some((7, 2)));
        assert_eq!(parse_version("QEMU emulator version 10.0.50 (v10.0.0-1-gabc)"), Some((10, 0)));
        assert_eq!(parse_version("busybox"), None);
    }

    #[test]
    fn a_missing_qemu_names_program_and_package() {
        let dir = tempfile::tempdir().unwrap();
        // Neither a directory nor a file without execute permission of that name is QEMU.
        std::fs::create_dir(dir.path().join("qemu-system-x86_64")).unwrap();
        std::fs::write(dir.path().join("qemu-system-aarch64"), "").unwrap();
        let paths = std::env::join_paths([dir.path()]).unwrap();
        for (arch, package) in [(Architecture::X86_64, "qemu-system-x86"), (Architecture::Aarch64, "qemu-system-arm")] {
            if Path::new("/usr/libexec/qemu-kvm").exists() && Architecture::host() == Some(arch) {
                continue;
            }
            let error = find_in(arch, None, Some(&paths)).unwrap_err();
            assert_eq!(error.to_string(), format!("cannot find QEMU: qemu-system-{}", arch.name()));
            assert!(error.hint().unwrap().contains(package));
        }
        let error = find_in(Architecture::X86_64, Some(Path::new("/nonexistent\n")), None).unwrap_err();
        assert_eq!(error.to_string(), "cannot find QEMU: /nonexistent\\n");
    }
}
