//! What was wanted and what was found, in one sentence for every command.

use super::names::Names;
use super::text::Text;
use super::{Disk, Kind, Wanted, hint};
use crate::escape::escape;
use crate::image::Format;
use std::path::{Path, PathBuf};

/// Why something cannot be used. Who shows it says what it is about.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.sentence())]
pub struct Refusal {
    kind: Box<Kind>,
    wanted: Wanted,
    path: Option<PathBuf>,
}

impl Refusal {
    /// Of what was found at a path, or came as a stream.
    pub fn new(kind: Kind, wanted: Wanted, path: Option<&Path>) -> Refusal {
        Refusal { kind: Box::new(kind), wanted, path: path.map(Path::to_owned) }
    }

    /// The same by a command that takes something else.
    pub fn wanting(self, wanted: Wanted) -> Refusal {
        Refusal { wanted, ..self }
    }

    /// What was found.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// The command that goes on from here.
    pub fn hint(&self) -> Option<String> {
        hint::of(&self.kind, self.wanted, self.path.as_deref())
    }

    fn sentence(&self) -> String {
        match *self.kind {
            Kind::Disk(disk) if self.wanted.takes_disks() => format!("this is {}", disk.words()),
            _ => format!("{} is needed, but this is {}", self.wanted.words(), self.kind.words()),
        }
    }
}

impl Kind {
    /// What it is, with its article.
    pub fn words(&self) -> String {
        match self {
            Kind::Empty => "an empty file".into(),
            Kind::Zeros => "nothing but zeros".into(),
            Kind::Tar(names) => of_tar(names),
            Kind::Folder(names) => of_folder(names),
            Kind::Disk(disk) => Disk::words(*disk),
            Kind::DiskForm(form) => format!("a disk in the {form} format"),
            Kind::FileSystem(name) => format!("{} {name} file system", article(name)),
            Kind::Iso => "an ISO 9660 image".into(),
            Kind::Kernel(form) => format!("a Linux kernel ({form})"),
            Kind::UnifiedKernel => "a unified kernel image".into(),
            Kind::EfiProgram(machine) => format!("an EFI program{}", for_machine(*machine)),
            Kind::Module => "a module of a kernel, or another object file".into(),
            Kind::Elf(machine) => format!("an ELF file{}", for_machine(*machine)),
            Kind::Package(package) => format!("{package} package"),
            Kind::Packed(format, inner) => of_packed(*format, inner.as_deref()),
            Kind::Archive(archive) => format!("{archive} archive"),
            Kind::Cpio => "a cpio archive (an initramfs?)".into(),
            Kind::Text(text) => Text::words(*text).into(),
            Kind::Fifo => "a pipe".into(),
            Kind::Socket => "a socket".into(),
            Kind::Device => "a character device".into(),
            Kind::Unknown => "a file of no known format".into(),
        }
    }
}

fn article(name: &str) -> &'static str {
    // As it is spoken: an XFS, an F2FS, an LVM, a FAT.
    if name.starts_with(['e', 'E', 'X', 'x', 'N', 'l']) || matches!(name, "F2FS" | "LVM") { "an" } else { "a" }
}

fn for_machine(machine: Option<&str>) -> String {
    machine.map(|machine| format!(" for {machine}")).unwrap_or_default()
}

fn of_tar(names: &Names) -> String {
    match names {
        Names::Docker => "an image (docker archive)".into(),
        Names::Oci => "an image (OCI archive)".into(),
        Names::SkopeoDir => "a tar archive of a directory of skopeo's transport dir".into(),
        Names::Below(folder) => {
            format!("a tar archive with an image in its folder {}", escape(folder.as_bytes()))
        }
        Names::Root => "a root file system in a tar archive".into(),
        Names::BuildContext => "a tar archive with a Dockerfile".into(),
        Names::Kernel => "a tar archive with a kernel".into(),
        Names::Package(package) => format!("{package} package"),
        Names::Disk(package) => format!("a disk in a package ({package})"),
        Names::Nothing => "an empty tar archive".into(),
        Names::Other => "a tar archive with neither manifest.json nor index.json in it".into(),
    }
}

fn of_folder(names: &Names) -> String {
    match names {
        Names::Docker => "an unpacked docker archive".into(),
        Names::Oci => "an image (OCI layout)".into(),
        Names::SkopeoDir => "a directory of skopeo's transport dir".into(),
        Names::Below(folder) => format!("a folder with an image in its folder {}", escape(folder.as_bytes())),
        Names::Root => "a folder with a root file system".into(),
        Names::BuildContext => "a folder with a Dockerfile".into(),
        Names::Kernel => "a folder with a kernel".into(),
        Names::Package(package) => format!("an unpacked package, {package} one"),
        Names::Disk(package) => format!("an unpacked package of a disk ({package})"),
        Names::Nothing => "an empty folder".into(),
        Names::Other => "a folder with neither index.json nor a kernel in it".into(),
    }
}

/// `a gzip-compressed disk`, `xz-compressed data`.
fn of_packed(format: Format, inner: Option<&Kind>) -> String {
    let name = format.name();
    let inner = match inner {
        None | Some(Kind::Unknown | Kind::Empty | Kind::Zeros) => return format!("{name}-compressed data"),
        Some(Kind::Packed(..)) => return format!("{name}-compressed data, compressed twice"),
        Some(Kind::Text(_)) => "text".to_owned(),
        Some(inner) => inner.words(),
    };
    let inner = inner.strip_prefix("an ").or_else(|| inner.strip_prefix("a ")).unwrap_or(&inner);
    format!("{} {name}-compressed {inner}", article(name))
}
