//! Finding UEFI firmware: a code image and the template of its variables.
//!
//! The two must be of one build, so they are looked for in pairs, in the places of Debian, Fedora, Architecture and openSUSE.
//! The variables are always a private copy: a machine that wrote the template would change every later machine.

use super::error::RunError;
use crate::arch::Architecture;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// The environment variables that name code and variables instead.
pub const VARIABLES: (&str, &str) = ("BOOTDISK_UEFI_CODE", "BOOTDISK_UEFI_VARS");

/// Firmware images are a few MiB; whatever is larger than this is something else.
const LARGEST_VARS: u64 = 64 << 20;

const X86_64: &[(&str, &str)] = &[
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"), // Debian, Ubuntu
    ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
    ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"), // Fedora
    ("/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"), // Architecture
    ("/usr/share/edk2-ovmf/x64/OVMF_CODE.fd", "/usr/share/edk2-ovmf/x64/OVMF_VARS.fd"),
    ("/usr/share/qemu/ovmf-x86_64-code.bin", "/usr/share/qemu/ovmf-x86_64-vars.bin"), // openSUSE
];

const AARCH64: &[(&str, &str)] = &[
    ("/usr/share/AAVMF/AAVMF_CODE.fd", "/usr/share/AAVMF/AAVMF_VARS.fd"), // Debian, Ubuntu
    ("/usr/share/edk2/aarch64/QEMU_EFI-pflash.raw", "/usr/share/edk2/aarch64/vars-template-pflash.raw"), // Fedora
    ("/usr/share/edk2/aarch64/QEMU_CODE.fd", "/usr/share/edk2/aarch64/QEMU_VARS.fd"), // Architecture
    ("/usr/share/qemu/aavmf-aarch64-code.bin", "/usr/share/qemu/aavmf-aarch64-vars.bin"), // openSUSE
];

/// Code, and variables of this machine's own.
#[derive(Debug)]
pub struct Firmware {
    /// The code, open for reading.
    pub code: File,
    /// A copy of the variables that has no name, open for reading and writing.
    pub vars: File,
}

/// Finds the firmware for an architecture, the environment first, and copies its variables.
pub fn open(arch: Architecture) -> Result<Firmware, RunError> {
    let (code, vars) = paths(arch)?;
    let firmware = |path: &Path| {
        let path = path.to_owned();
        move |source| RunError::Firmware { path, source }
    };
    let code_file = File::open(&code).map_err(firmware(&code))?;
    let vars_file = private_copy(&vars).map_err(firmware(&vars))?;
    Ok(Firmware { code: code_file, vars: vars_file })
}

/// The code and the template of its variables, the environment first.
pub fn paths(arch: Architecture) -> Result<(PathBuf, PathBuf), RunError> {
    choose(arch, std::env::var_os(VARIABLES.0), std::env::var_os(VARIABLES.1), Path::exists)
}

fn choose(
    arch: Architecture,
    code: Option<OsString>,
    vars: Option<OsString>,
    exists: impl Fn(&Path) -> bool,
) -> Result<(PathBuf, PathBuf), RunError> {
    match (code, vars) {
        (Some(code), Some(vars)) => return Ok((code.into(), vars.into())),
        (None, None) => {}
        _ => return Err(RunError::FirmwareHalf(VARIABLES.0, VARIABLES.1)),
    }
    let (known, package) = match arch {
        Architecture::X86_64 => (X86_64, "ovmf"),
        Architecture::Aarch64 => (AARCH64, "qemu-efi-aarch64"),
    };
    let found = known.iter().find(|(code, vars)| exists(Path::new(code)) && exists(Path::new(vars)));
    let (code, vars) = found.ok_or(RunError::FirmwareMissing { arch: arch.name(), package, variables: VARIABLES })?;
    Ok((code.into(), vars.into()))
}

/// A copy in memory: gone with its last descriptor.
fn private_copy(template: &Path) -> io::Result<File> {
    use nix::sys::memfd::{MFdFlags, memfd_create};
    let mut from = File::open(template)?;
    if from.metadata()?.len() > LARGEST_VARS {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "too large for firmware variables"));
    }
    let mut copy = File::from(memfd_create("bootdisk-uefi-vars", MFdFlags::MFD_CLOEXEC)?);
    io::copy(&mut from, &mut copy)?;
    copy.seek(SeekFrom::Start(0))?;
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_never_mixed() {
        let have = |files: &'static [&str]| move |path: &Path| files.iter().any(|file| Path::new(file) == path);
        let arch = [
            "/usr/share/OVMF/OVMF_CODE_4M.fd",
            "/usr/share/OVMF/OVMF_VARS.fd",
            "/usr/share/edk2/x64/OVMF_CODE.4m.fd",
            "/usr/share/edk2/x64/OVMF_VARS.4m.fd",
        ];
        let found =
            choose(Architecture::X86_64, None, None, |path| arch.iter().any(|file| Path::new(file) == path)).unwrap();
        assert_eq!(found.0, Path::new("/usr/share/edk2/x64/OVMF_CODE.4m.fd"));
        let error = choose(Architecture::X86_64, None, None, have(&["/usr/share/OVMF/OVMF_CODE_4M.fd"])).unwrap_err();
        assert_eq!(error.to_string(), "cannot find UEFI firmware for x86_64");
        assert!(error.hint().unwrap().contains("install ovmf"));
        let error = choose(Architecture::Aarch64, None, None, have(&[])).unwrap_err();
        assert!(error.hint().unwrap().contains("qemu-efi-aarch64"));
    }

    #[test]
    fn the_environment_comes_first_and_whole() {
        let found = choose(Architecture::X86_64, Some("/a".into()), Some("/b".into()), |_| true).unwrap();
        assert_eq!(found, ("/a".into(), "/b".into()));
        let error = choose(Architecture::X86_64, Some("/a".into()), None, |_| true).unwrap_err();
        assert_eq!(error.to_string(), "UEFI firmware needs both BOOTDISK_UEFI_CODE and BOOTDISK_UEFI_VARS");
    }

    #[test]
    fn variables_are_a_copy() {
        use std::os::unix::fs::FileExt;
        let template = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(template.path(), b"variables").unwrap();
        let copy = private_copy(template.path()).unwrap();
        copy.write_all_at(b"VARI", 0).unwrap();
        assert_eq!(std::fs::read(template.path()).unwrap(), b"variables");
    }
}
