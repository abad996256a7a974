//! The UEFI side: systemd-boot's configuration, one Boot Loader Specification entry, and the loader itself.
//!
//! ```text
//! loader/loader.conf               no menu, no editor, nothing found on other disks
//! loader/entries/bootdisk.conf     type #1 entry: kernel, initramfs, command line
//! EFI/BOOT/BOOTX64.EFI             systemd-boot, where firmware looks on a disk it does not know
//! EFI/Linux/bootdisk.efi           in the place of the entry: a unified kernel image, see [`super::uki`]
//! ```
//!
//! Nothing here makes the loader write to the ESP: no loader/random-seed, no boot counter in the entry's name.
//!
//! Another kernel on the disk may leave the one before as `loader/entries/bootdisk-old.conf`.
//!
//! Specifications: UAPI.1 Boot Loader Specification, types #1 and #2; systemd's loader.conf(5); UEFI 2.10 section 3.5.1.1; Microsoft's PE format for the loader's header.

use crate::arch::Architecture;
use crate::escape::escape;
use crate::formats::fat::{self, Volume};
use crate::formats::uki::LINUX;
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
/// Its name, and that without suffix.
pub const ENTRY_NAME: &str = "bootdisk.conf";
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

/// Contents of loader.conf; `default` is the name of the file that is started.
pub fn config(default: &str) -> String {
    format!("timeout 0\neditor no\nauto-entries no\nauto-firmware no\ndefault {default}\n")
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

/// A program that comes with systemd-boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// systemd-boot.
    Loader,
    /// systemd's stub, which unified kernel images begin with.
    Stub,
}

impl Program {
    /// Where distributions install it; its packages have it there too.
    fn installed_path(self, architecture: Architecture) -> &'static str {
        match (self, architecture) {
            (Program::Loader, Architecture::X86_64) => "/usr/lib/systemd/boot/efi/systemd-bootx64.efi",
            (Program::Loader, Architecture::Aarch64) => "/usr/lib/systemd/boot/efi/systemd-bootaa64.efi",
            (Program::Stub, Architecture::X86_64) => "/usr/lib/systemd/boot/efi/linuxx64.efi.stub",
            (Program::Stub, Architecture::Aarch64) => "/usr/lib/systemd/boot/efi/linuxaa64.efi.stub",
        }
    }

    /// What it is called in a folder of loaders.
    pub fn file_name(self, architecture: Architecture) -> &'static str {
        let path = self.installed_path(architecture);
        path.rsplit('/').next().unwrap_or(path)
    }

    /// As distributions install it, or else from `kept`, a folder of ours.
    pub fn find(self, architecture: Architecture, kept: Option<&Path>) -> Option<PathBuf> {
        let kept = kept.map(|folder| folder.join(self.file_name(architecture)));
        [Some(self.installed_path(architecture).into()), kept].into_iter().flatten().find(|path| path.exists())
    }

    /// Reads it: `given`, a program or a package with it in it, or what [`Program::find`] finds.
    ///
    /// # Errors
    /// What is not there, cannot be read, or is no such program for this architecture.
    pub fn open(
        self,
        architecture: Architecture,
        given: Option<&Path>,
        kept: Option<&Path>,
    ) -> Result<Vec<u8>, LoaderError> {
        let installed = self.installed_path(architecture);
        let found = given.map(Path::to_owned).or_else(|| self.find(architecture, kept));
        let path = found.unwrap_or_else(|| installed.into());
        let path = path.as_path();
        let failed = |error: io::Error| match (error.kind(), given) {
            (io::ErrorKind::NotFound, None) => LoaderError::Missing(self, path.to_owned(), architecture),
            _ => LoaderError::Read(self, path.to_owned(), error),
        };
        let wrong = |reason| LoaderError::Wrong { program: self, reason, path: path.to_owned() };
        let bytes = match recognise::path(path).map_err(failed)? {
            Kind::Package(_) => self
                .in_package(architecture, path)?
                .ok_or_else(|| wrong(format!("is a package without {} for this architecture", self.word())))?,
            Kind::EfiProgram(_) | Kind::UnifiedKernel | Kind::Kernel(_) => {
                bounded(inputs::open(path).map_err(failed)?).map_err(failed)?
            }
            kind => return Err(wrong(format!("is not an EFI program, but {}", kind.words()))),
        };
        match fault(architecture, &bytes).map(str::to_owned).or_else(|| self.fault(&bytes)) {
            None => Ok(bytes),
            Some(reason) => Err(wrong(reason)),
        }
    }

    /// The program in a package; `None` of one that has none for this architecture.
    ///
    /// # Errors
    /// A package that is damaged, or no package after all.
    pub fn in_package(self, architecture: Architecture, package: &Path) -> Result<Option<Vec<u8>>, KernelError> {
        in_package(package, self.installed_path(architecture))
    }

    /// What keeps an EFI program from being this one.
    fn fault(self, bytes: &[u8]) -> Option<String> {
        match self {
            Program::Loader => None,
            Program::Stub if pe::place(bytes, LINUX).is_some() => Some("has a kernel inside already".into()),
            Program::Stub => {
                let checked = pe::Headers::parse(bytes).and_then(|headers| headers.check(bytes.len() as u64));
                checked.err().map(|fault| fault.to_string())
            }
        }
    }

    fn word(self) -> &'static str {
        match self {
            Program::Loader => "systemd-boot",
            Program::Stub => "systemd's stub",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Program::Loader => "EFI loader",
            Program::Stub => "EFI stub",
        }
    }
}

/// Why there is no EFI loader, or no stub.
#[derive(Debug, Error)]
pub enum LoaderError {
    /// Not installed; its stub comes with it.
    #[error("systemd-boot is not installed: {}", .1.display())]
    Missing(Program, PathBuf, Architecture),
    /// A package that is damaged, or no package after all.
    #[error(transparent)]
    Package(#[from] KernelError),
    /// Cannot be read.
    #[error("cannot read the {} {}", .0.name(), escape(.1.as_os_str().as_encoded_bytes()))]
    Read(Program, PathBuf, #[source] io::Error),
    /// Not a program for this firmware, or not this one.
    #[error("{} {reason}: {}", .program.name(), escape(.path.as_os_str().as_encoded_bytes()))]
    Wrong {
        /// What it is not.
        program: Program,
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
            LoaderError::Wrong { program: Program::Stub, .. } => {
                "--efi-stub takes systemd's EFI stub for the disk's architecture, or a package of systemd-boot"
            }
            LoaderError::Missing(Program::Stub, _, Architecture::Aarch64) => {
                "`bootdisk kernel fetch --arch aarch64` fetches it with a kernel; or give a stub with --efi-stub FILE"
            }
            LoaderError::Missing(Program::Stub, ..) | LoaderError::Read(Program::Stub, ..) => {
                "`bootdisk kernel fetch` fetches it with a kernel; or install the package systemd-boot-efi, or give a stub \
                 with --efi-stub FILE"
            }
            LoaderError::Wrong { program: Program::Loader, .. } => {
                "--efi-loader takes an EFI program for the disk's architecture, or a package of systemd-boot"
            }
            LoaderError::Missing(_, _, Architecture::Aarch64) => {
                "`bootdisk kernel fetch --arch aarch64` fetches it with a kernel; or give a loader with --efi-loader FILE"
            }
            _ => {
                "`bootdisk kernel fetch` fetches it with a kernel; or install the package systemd-boot-efi, or give a loader \
                 with --efi-loader FILE"
            }
        }
    }
}

/// Reads systemd-boot; see [`Program::open`].
///
/// # Errors
/// As there.
pub fn open(architecture: Architecture, given: Option<&Path>, kept: Option<&Path>) -> Result<Vec<u8>, LoaderError> {
    Program::Loader.open(architecture, given, kept)
}

/// Reads systemd's stub: `given`, or what is in the package that `loader` is, or what [`Program::find`] finds.
///
/// # Errors
/// As [`Program::open`] has.
pub fn open_stub(
    architecture: Architecture,
    given: Option<&Path>,
    loader: Option<&Path>,
    kept: Option<&Path>,
) -> Result<Vec<u8>, LoaderError> {
    let is_package = |path: &&Path| matches!(recognise::path(path), Ok(Kind::Package(_)));
    Program::Stub.open(architecture, given.or_else(|| loader.filter(is_package)), kept)
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
        assert!(parse(&config(ENTRY_NAME)).iter().any(|pair| pair == (&"timeout", &"0")));
        assert!(ENTRY_PATH.ends_with(parse(&config(ENTRY_NAME))["default"]), "the default is our entry");
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
