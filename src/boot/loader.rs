//! The UEFI side: systemd-boot's configuration, one Boot Loader Specification entry, and the loader itself.
//!
//! ```text
//! loader/loader.conf               no menu, no editor, nothing found on other disks
//! loader/entries/bootdisk.conf     type #1 entry: kernel, initramfs, command line
//! EFI/BOOT/BOOTX64.EFI             systemd-boot, where firmware looks on a disk it does not know
//! ```
//!
//! Nothing here makes the loader write to the ESP: no loader/random-seed, no boot counter in the entry's name.
//!
//! Another kernel on the disk may leave the one before as `loader/entries/bootdisk-old.conf`.
//!
//! Not supported: unified kernel images. Specifications: UAPI.1 Boot Loader Specification, type #1;
//! systemd's loader.conf(5); UEFI 2.10 section 3.5.1.1; Microsoft's PE format for the loader's header.

use crate::arch::Architecture;
use crate::escape::escape;
use crate::formats::fat::{self, Volume};
use crate::formats::{ReadAt, boot_entry, pe};
use crate::inputs;
use crate::kernel::package::Source;
use crate::kernel::{Input, KernelError};
use crate::recognise::{self, Kind};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Path of systemd-boot's configuration on the ESP.
pub const CONFIG_PATH: &str = "loader/loader.conf";
/// Path of the one entry on the ESP.
pub const ENTRY_PATH: &str = "loader/entries/bootdisk.conf";
/// Its name without suffix.
const ENTRY_ID: &str = "bootdisk";
/// Folder of all entries.
pub const ENTRIES: &str = "loader/entries";
/// Path of the kernel on the ESP.
pub const KERNEL_PATH: &str = "bootdisk/linux";
/// Path of the initramfs on the ESP.
pub const INITRAMFS_PATH: &str = "bootdisk/initrd";
/// Most bytes of a title.
const TITLE_MAX: usize = 64;
/// Most bytes of a path or version in the entry; more would only make lines nobody can read.
const VERSION_MAX: usize = 128;

/// Contents of loader.conf.
pub fn config() -> String {
    "timeout 0\neditor no\nauto-entries no\nauto-firmware no\ndefault bootdisk.conf\n".to_owned()
}

/// The boot menu entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What a menu shows: see [`title`].
    pub title: String,
    /// The kernel's release.
    pub version: String,
    /// Path of the kernel on the ESP, without a `/` at its start.
    pub linux: String,
    /// Path of the initramfs.
    pub initrd: String,
    /// The command line, without the `initrd=` that the loader adds.
    pub options: String,
}

/// Why there is no entry.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum EntryError {
    /// A line of the entry would end early, or not be what it says.
    #[error("kernel release cannot stand in a boot entry: {}", escape(.0.as_bytes()))]
    Version(String),
    /// A path that would end the line or is none of ours.
    #[error("path cannot stand in a boot entry: {}", escape(.0.as_bytes()))]
    Path(String),
    /// The title was not made by [`title`].
    #[error("title cannot stand in a boot entry: {}", escape(.0.as_bytes()))]
    Title(String),
}

impl Entry {
    /// Whether every value can stand in an entry: a line break in one would become a line of its own.
    pub fn check(&self) -> Result<(), EntryError> {
        let word = |c: char| c.is_ascii_alphanumeric() || "._+~-".contains(c);
        if !(1..=VERSION_MAX).contains(&self.version.len()) || !self.version.chars().all(word) {
            return Err(EntryError::Version(self.version.clone()));
        }
        if title(&self.title) != self.title {
            return Err(EntryError::Title(self.title.clone()));
        }
        if let Some(path) = [&self.linux, &self.initrd].into_iter().find(|path| !path.split('/').all(word_of_path)) {
            return Err(EntryError::Path(path.clone()));
        }
        Ok(())
    }

    /// The entry's file.
    pub fn encode(&self) -> Result<String, EntryError> {
        self.check()?;
        let Entry { title, version, linux, initrd, options } = self;
        let lines = format!("title {title}\nversion {version}\nlinux /{linux}\ninitrd /{initrd}\n");
        Ok(format!("{lines}options {options}\n"))
    }
}

/// Our entry on an ESP, whose name may have got a counter of boots: `bootdisk+2-1.conf`.
pub fn find_entry(volume: &Volume<impl ReadAt>) -> Result<Option<fat::Entry>, fat::Error> {
    let entries = match volume.entries(ENTRIES) {
        Err(fat::Error::NoDirectory(_)) => return Ok(None),
        entries => entries?,
    };
    let ours = |entry: &fat::Entry| boot_entry::id(&entry.name).is_some_and(|id| id.eq_ignore_ascii_case(ENTRY_ID));
    let plain = |entry: &fat::Entry| !ENTRY_PATH.ends_with(&entry.name.to_lowercase());
    Ok(entries.into_iter().filter(|entry| !entry.is_directory && ours(entry)).min_by_key(plain))
}

/// A part of a path that both FAT and an entry can hold.
fn word_of_path(part: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    (1..=VERSION_MAX).contains(&part.len()) && part.chars().all(allowed) && !part.starts_with('.')
}

/// A title out of text that somebody else chose (an image's name): only letters, digits and ` ._+()-`, at most 64
/// characters, none of them a space at an end. What is left empty becomes "bootdisk".
pub fn title(text: &str) -> String {
    let allowed = |c: &char| c.is_ascii_alphanumeric() || " ._+()-".contains(*c);
    let kept: String = text.trim().chars().filter(allowed).take(TITLE_MAX).collect();
    match kept.trim() {
        "" => "bootdisk".to_owned(),
        trimmed => trimmed.to_owned(),
    }
}

/// Where firmware looks for a loader on a removable disk.
pub fn fallback_path(architecture: Architecture) -> &'static str {
    match architecture {
        Architecture::X86_64 => "EFI/BOOT/BOOTX64.EFI",
        Architecture::Aarch64 => "EFI/BOOT/BOOTAA64.EFI",
    }
}

/// Why there is no EFI loader.
#[derive(Debug, Error)]
pub enum LoaderError {
    /// Not installed.
    #[error("systemd-boot is not installed: {}", .0.display())]
    Missing(PathBuf),
    /// A package that is damaged, or no package after all.
    #[error(transparent)]
    Package(#[from] KernelError),
    /// Cannot be read.
    #[error("cannot read the EFI loader {}", escape(.0.as_os_str().as_encoded_bytes()))]
    Read(PathBuf, #[source] io::Error),
    /// Not a program for this firmware.
    #[error("EFI loader {reason}: {}", escape(.path.as_os_str().as_encoded_bytes()))]
    NotALoader {
        /// What is wrong with it.
        reason: String,
        /// The file.
        path: PathBuf,
    },
}

impl LoaderError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            LoaderError::NotALoader { .. } => {
                "--efi-loader takes an EFI program for the disk's architecture, or a package of systemd-boot"
            }
            LoaderError::Missing(path) if path == Path::new(installed_path(Architecture::Aarch64)) => {
                "`bootdisk kernel fetch --arch aarch64` fetches it with a kernel; or give a loader with --efi-loader FILE"
            }
            _ => {
                "`bootdisk kernel fetch` fetches it with a kernel; or install the package systemd-boot-efi, or give a loader \
                 with --efi-loader FILE"
            }
        }
    }
}

/// Where distributions install systemd-boot; its packages have it there too.
fn installed_path(architecture: Architecture) -> &'static str {
    match architecture {
        Architecture::X86_64 => "/usr/lib/systemd/boot/efi/systemd-bootx64.efi",
        Architecture::Aarch64 => "/usr/lib/systemd/boot/efi/systemd-bootaa64.efi",
    }
}

/// systemd-boot as distributions install it, or else from `kept`, a folder of ours.
pub fn find(architecture: Architecture, kept: Option<&Path>) -> Option<PathBuf> {
    let kept = kept.map(|folder| folder.join(file_name(architecture)));
    [Some(installed_path(architecture).into()), kept].into_iter().flatten().find(|path| path.exists())
}

/// What systemd-boot is called in a folder of loaders.
pub fn file_name(architecture: Architecture) -> &'static str {
    let path = installed_path(architecture);
    path.rsplit('/').next().unwrap_or(path)
}

/// Reads the EFI loader: `given`, a program or a package with systemd-boot in it, or what [`find`] finds.
pub fn open(architecture: Architecture, given: Option<&Path>, kept: Option<&Path>) -> Result<Vec<u8>, LoaderError> {
    let found = given.map(Path::to_owned).or_else(|| find(architecture, kept));
    let path = found.unwrap_or_else(|| installed_path(architecture).into());
    let path = path.as_path();
    let failed = |error: io::Error| match (error.kind(), given) {
        (io::ErrorKind::NotFound, None) => LoaderError::Missing(path.to_owned()),
        _ => LoaderError::Read(path.to_owned(), error),
    };
    let not_a_loader = |reason| LoaderError::NotALoader { reason, path: path.to_owned() };
    let bytes = match recognise::path(path).map_err(failed)? {
        Kind::Package(_) => in_package(path, installed_path(architecture))?
            .ok_or_else(|| not_a_loader("is a package without systemd-boot for this architecture".into()))?,
        Kind::EfiProgram(_) | Kind::UnifiedKernel | Kind::Kernel(_) => {
            bounded(inputs::open(path).map_err(failed)?).map_err(failed)?
        }
        kind => return Err(not_a_loader(format!("is not an EFI program, but {}", kind.words()))),
    };
    match fault(architecture, &bytes) {
        None => Ok(bytes),
        Some(reason) => Err(not_a_loader(reason.into())),
    }
}

/// The file of a package that would be installed at `wanted`.
fn in_package(path: &Path, wanted: &str) -> Result<Option<Vec<u8>>, KernelError> {
    let Some(source) = Source::of(&Input::open(path)?)? else { return Ok(None) };
    let mut found = None;
    source.scan(&mut |entry, body| {
        if Path::new("/").join(&entry.path) == Path::new(wanted) {
            found = Some(bounded(body).map_err(KernelError::io("read", path))?);
        }
        Ok(())
    })?;
    Ok(found)
}

/// A whole loader; systemd-boot has 100 KB.
fn bounded(from: impl Read) -> io::Result<Vec<u8>> {
    const LARGEST: u64 = 64 << 20;
    let mut bytes = Vec::new();
    from.take(LARGEST + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > LARGEST {
        true => Err(io::Error::new(io::ErrorKind::InvalidData, "it is larger than 64 MiB")),
        false => Ok(bytes),
    }
}

/// What keeps a file from being an EFI application for this architecture.
fn fault(architecture: Architecture, bytes: &[u8]) -> Option<&'static str> {
    let wanted: u16 = match architecture {
        Architecture::X86_64 => 0x8664,
        Architecture::Aarch64 => 0xaa64,
    };
    match pe::machine(bytes) {
        None => Some("is not an EFI program"),
        Some(machine) if machine != wanted => Some("is for another architecture"),
        Some(_) if pe::subsystem(bytes) != Some(pe::EFI_APPLICATION) => Some("is not an EFI application"),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Reads an entry as the specification says: a key, white space, the rest of the line; `#` begins a comment.
    fn parse(text: &str) -> BTreeMap<&str, &str> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| line.split_once([' ', '\t']).map(|(key, value)| (key, value.trim())).unwrap()).collect()
    }

    #[test]
    fn an_entry_reads_back_as_it_was() {
        let entry = Entry {
            title: title("nginx:latest (Debian 12)\n"),
            version: "6.1.0-56-cloud-amd64".into(),
            linux: KERNEL_PATH.into(),
            initrd: INITRAMFS_PATH.into(),
            options: "console=tty0 console=ttyS0,115200 quiet a=\"b c\"".into(),
        };
        let text = entry.encode().unwrap();
        let expected = BTreeMap::from([
            ("title", "nginxlatest (Debian 12)"),
            ("version", "6.1.0-56-cloud-amd64"),
            ("linux", "/bootdisk/linux"),
            ("initrd", "/bootdisk/initrd"),
            ("options", entry.options.as_str()),
        ]);
        assert_eq!(parse(&text), expected);
        assert_eq!(text.lines().count(), 5);
        assert_eq!(boot_entry::Entry::parse(text.as_bytes()).oddity, None);
        assert!(parse(&config()).iter().any(|pair| pair == (&"timeout", &"0")));
        assert!(ENTRY_PATH.ends_with(parse(&config())["default"]), "the default is our entry");
    }

    #[test]
    fn titles_keep_only_what_is_harmless() {
        assert_eq!(title("a\noptions init=/bin/sh"), "aoptions initbinsh");
        assert_eq!(title("  \u{202e}Größe $(x) `y`  "), "Gre (x) y");
        assert_eq!(title("\n\"'"), "bootdisk");
        assert_eq!(title(&"x".repeat(500)).len(), 64);
        let cut = title(&format!("{} y", "x".repeat(63)));
        assert_eq!(cut, "x".repeat(63), "no space is left at the cut");
    }

    #[test]
    fn values_that_would_add_lines_are_refused() {
        let entry = |title: &str, version: &str| {
            let (linux, initrd) = ("a/b".into(), "c".into());
            Entry { title: title.into(), version: version.into(), linux, initrd, options: String::new() }.encode()
        };
        for version in ["", "6.1\ninitrd /x", "6.1 x", "6/1", &"6".repeat(129)] {
            assert_eq!(entry("t", version), Err(EntryError::Version(version.into())));
        }
        for title in ["", "a\nb", " a", "ä"] {
            assert_eq!(entry(title, "6.1"), Err(EntryError::Title(title.into())));
        }
    }

    /// The least of a PE file that is an EFI application.
    fn pe(machine: u16, subsystem: u16) -> Vec<u8> {
        let mut bytes = vec![0; 0x80 + 4 + 20 + 70];
        bytes[..2].copy_from_slice(b"MZ");
        bytes[0x3c] = 0x80;
        bytes[0x80..0x84].copy_from_slice(b"PE\0\0");
        bytes[0x84..0x86].copy_from_slice(&machine.to_le_bytes());
        bytes[0x80 + 92..0x80 + 94].copy_from_slice(&subsystem.to_le_bytes());
        bytes
    }

    #[test]
    fn a_loader_must_be_an_efi_application_of_the_architecture() {
        use Architecture::{Aarch64, X86_64};
        assert_eq!(fault(X86_64, &pe(0x8664, 10)), None);
        assert_eq!(fault(Aarch64, &pe(0xaa64, 10)), None);
        assert_eq!(fault(Aarch64, &pe(0x8664, 10)), Some("is for another architecture"));
        assert_eq!(fault(X86_64, &pe(0x8664, 3)), Some("is not an EFI application"));
        let whole = pe(0x8664, 10);
        for length in 0..whole.len() {
            assert!(fault(X86_64, &whole[..length]).is_some(), "{length}");
        }
        let mut wild = whole.clone();
        wild[0x3c..0x40].fill(0xff);
        assert_eq!(fault(X86_64, &wild), Some("is not an EFI program"));
    }

    #[test]
    fn a_missing_loader_names_the_package() {
        let missing = open(Architecture::X86_64, Some(Path::new("/nonexistent/x.efi")), None).unwrap_err();
        assert!(missing.hint().contains("systemd-boot-efi") && missing.hint().contains("--efi-loader"));
    }
}
