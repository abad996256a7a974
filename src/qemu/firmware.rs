//! Finding UEFI firmware: a code image and the template of its variables.
//!
//! The two must be of one build, so they are looked for in pairs, in the places of Debian, Fedora, Architecture and openSUSE.
//! The variables are always a private copy: a machine that wrote the template would change every later machine.

use super::error::RunError;
use super::machine::Keys;
use crate::arch::Architecture;
use crate::formats::unpack::read_bounded;
use crate::formats::variable_store::VariableStore;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
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

/// Code that can ask for signatures, with variables that have no keys yet.
const X86_64_SECURE: &[(&str, &str)] = &[
    ("/usr/share/OVMF/OVMF_CODE_4M.secboot.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"), // Debian, Ubuntu
    ("/usr/share/edk2/ovmf/OVMF_CODE.secboot.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"), // Fedora
    ("/usr/share/edk2/x64/OVMF_CODE.secboot.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"), // Architecture
    ("/usr/share/qemu/ovmf-x86_64-smm-code.bin", "/usr/share/qemu/ovmf-x86_64-smm-vars.bin"), // openSUSE
];

/// Debian's build for aarch64 always asks for signatures where there are keys. It has a second name, by the keys in another
/// file of variables.
const AARCH64_SECURE: &[(&str, &str)] = &[
    ("/usr/share/AAVMF/AAVMF_CODE.ms.fd", "/usr/share/AAVMF/AAVMF_VARS.fd"), // Debian, Ubuntu
];

/// Code, and variables of this machine's own.
#[derive(Debug)]
pub struct Firmware {
    /// The code, open for reading.
    pub code: File,
    /// A copy of the variables that has no name, open for reading and writing.
    pub vars: File,
}

/// Finds the firmware for an architecture, the environment first, and copies its variables. With `keys` it is one that
/// asks for signatures, and these are added, unless the variables have some already.
pub fn open(arch: Architecture, keys: Option<&Keys>) -> Result<Firmware, RunError> {
    let (code, vars) = paths(arch, keys.is_some())?;
    let firmware = |path: &Path| {
        let path = path.to_owned();
        move |source| RunError::Firmware { path, source }
    };
    let code_file = File::open(&code).map_err(firmware(&code))?;
    let vars_file = match keys {
        None => private_copy(&vars).map_err(firmware(&vars))?,
        Some(keys) => in_memory(&mut enrolled(arch, &vars, keys)?.as_slice()).map_err(firmware(&vars))?,
    };
    Ok(Firmware { code: code_file, vars: vars_file })
}

/// The variables of `template`, with keys.
fn enrolled(arch: Architecture, template: &Path, keys: &Keys) -> Result<Vec<u8>, RunError> {
    let failed = |source| RunError::Firmware { path: template.to_owned(), source };
    let bytes = File::open(template).and_then(|file| read_bounded(file, LARGEST_VARS)).map_err(failed)?;
    let bytes = bytes.ok_or_else(|| failed(too_large()))?;
    let fault = |source| RunError::Variables { path: template.to_owned(), source };
    let store = match arch {
        Architecture::X86_64 => VariableStore::parse(bytes),
        Architecture::Aarch64 => VariableStore::of_flash(bytes),
    };
    let mut store = store.map_err(fault)?;
    if !store.has_keys() {
        store.enroll(&keys.lists, &keys.time).map_err(fault)?;
    }
    Ok(store.bytes().to_vec())
}

/// A file of variables for a firmware that asks for signatures, with these keys.
///
/// # Errors
/// There is no such firmware, or its template is something else.
pub fn variables(arch: Architecture, keys: &Keys) -> Result<Vec<u8>, RunError> {
    enrolled(arch, &paths(arch, true)?.1, keys)
}

/// The code and the template of its variables, the environment first.
pub fn paths(arch: Architecture, secure: bool) -> Result<(PathBuf, PathBuf), RunError> {
    choose((arch, secure), std::env::var_os(VARIABLES.0), std::env::var_os(VARIABLES.1), Path::exists)
}

fn choose(
    (arch, secure): (Architecture, bool),
    code: Option<OsString>,
    vars: Option<OsString>,
    exists: impl Fn(&Path) -> bool,
) -> Result<(PathBuf, PathBuf), RunError> {
    match (code, vars) {
        (Some(code), Some(vars)) => return Ok((code.into(), vars.into())),
        (None, None) => {}
        _ => return Err(RunError::FirmwareHalf(VARIABLES.0, VARIABLES.1)),
    }
    let (known, package) = match (arch, secure) {
        (Architecture::X86_64, false) => (X86_64, "ovmf"),
        (Architecture::X86_64, true) => (X86_64_SECURE, "ovmf"),
        (Architecture::Aarch64, false) => (AARCH64, "qemu-efi-aarch64"),
        (Architecture::Aarch64, true) => (AARCH64_SECURE, "qemu-efi-aarch64"),
    };
    let found = known.iter().find(|(code, vars)| exists(Path::new(code)) && exists(Path::new(vars)));
    let (code, vars) = found.ok_or(RunError::FirmwareMissing { arch: arch.name(), package, variables: VARIABLES })?;
    Ok((code.into(), vars.into()))
}

/// A copy in memory: gone with its last descriptor.
fn private_copy(template: &Path) -> io::Result<File> {
    let mut from = File::open(template)?;
    if from.metadata()?.len() > LARGEST_VARS {
        return Err(too_large());
    }
    in_memory(&mut from)
}

fn too_large() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "too large for firmware variables")
}

fn in_memory(from: &mut dyn Read) -> io::Result<File> {
    use nix::sys::memfd::{MFdFlags, memfd_create};
    let mut copy = File::from(memfd_create("bootdisk-uefi-vars", MFdFlags::MFD_CLOEXEC)?);
    io::copy(from, &mut copy)?;
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
            choose((Architecture::X86_64, false), None, None, |path| arch.iter().any(|file| Path::new(file) == path))
                .unwrap();
        assert_eq!(found.0, Path::new("/usr/share/edk2/x64/OVMF_CODE.4m.fd"));
        let error =
            choose((Architecture::X86_64, false), None, None, have(&["/usr/share/OVMF/OVMF_CODE_4M.fd"])).unwrap_err();
        assert_eq!(error.to_string(), "cannot find UEFI firmware for x86_64");
        assert!(error.hint().unwrap().contains("install ovmf"));
        let error = choose((Architecture::Aarch64, false), None, None, have(&[])).unwrap_err();
        assert!(error.hint().unwrap().contains("qemu-efi-aarch64"));
    }

    #[test]
    fn the_environment_comes_first_and_whole() {
        let found = choose((Architecture::X86_64, false), Some("/a".into()), Some("/b".into()), |_| true).unwrap();
        assert_eq!(found, ("/a".into(), "/b".into()));
        let error = choose((Architecture::X86_64, false), Some("/a".into()), None, |_| true).unwrap_err();
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
