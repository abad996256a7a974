//! The command that goes on from what was found, to be pasted. Names in capitals are the reader's to fill in.

use super::names::Names;
use super::text::Text;
use super::{Disk, Kind, Wanted};
use crate::image::Format;
use std::path::Path;

/// What goes on from `kind`, where `wanted` is needed.
pub(super) fn of(kind: &Kind, wanted: Wanted, path: Option<&Path>) -> Option<String> {
    let place = Place::of(path);
    let file = place.file.as_str();
    if kind.form().is_some() {
        return Some(form(wanted, file));
    }
    Some(match kind {
        Kind::Tar(names) => tar(names, wanted, file),
        Kind::Folder(names) => folder(names, wanted, file),
        Kind::Disk(disk) => return disk_hint(*disk, wanted, file),
        Kind::DiskForm(form) => converted(form, wanted, file),
        Kind::FileSystem(name) => return file_system(name, wanted, file),
        Kind::Iso => format!("QEMU boots it as it is: qemu-system-x86_64 -m 2G -cdrom {file}"),
        Kind::Kernel(_) | Kind::UnifiedKernel => kernel(wanted, file),
        Kind::EfiProgram(_) if wanted != Wanted::Kernel => format!("an EFI loader is given with --efi-loader {file}"),
        Kind::Elf(_) if wanted == Wanted::Kernel => {
            "give the bzImage of the build: arch/x86/boot/bzImage, or /boot/vmlinuz-RELEASE".into()
        }
        Kind::Elf(_) => program(wanted, &place),
        Kind::Module if wanted == Wanted::Kernel => {
            format!("give the kernel, and its modules beside it: --modules {}", place.folder)
        }
        Kind::Package("an apk version 3") => {
            format!("apk extract --destination unpacked {file} && {}", kernel(Wanted::Kernel, "unpacked"))
        }
        Kind::Package(_) => format!("the package of a kernel is added to the store: bootdisk kernel add {file}"),
        Kind::Packed(format, inner) => packed(*format, inner.as_deref(), wanted, file),
        Kind::Archive("a zip") => format!("unpack it, and give its contents: unzip -d unpacked {file}"),
        Kind::Archive(_) => format!("unpack it, and give its contents: bsdtar -xf {file}"),
        Kind::Text(text) => return text_hint(*text, wanted, &place),
        Kind::Fifo | Kind::Socket | Kind::Device => {
            format!("save it to a file first, and give that: cat {file} > FILE")
        }
        Kind::Empty | Kind::Zeros | Kind::Unknown | Kind::Cpio | Kind::EfiProgram(_) | Kind::Module => anything(wanted),
    })
}

/// A file and its folder as a shell takes them.
struct Place {
    file: String,
    folder: String,
    name: String,
}

impl Place {
    fn of(path: Option<&Path>) -> Place {
        let Some(path) = path else {
            return Place { file: "FILE".into(), folder: "FOLDER".into(), name: "FILE".into() };
        };
        let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
        let name = path.file_name().map_or(path, Path::new);
        Place { file: word(path, "FILE"), folder: word(folder, "FOLDER"), name: word(name, "FILE") }
    }
}

/// A path as one word of a shell; what cannot be shown as it is becomes `instead`.
fn word(path: &Path, instead: &str) -> String {
    let text = path.to_str().filter(|text| crate::escape::escape(text.as_bytes()) == *text);
    let quoted = text.and_then(|text| shlex::try_quote(text).ok());
    let quoted = quoted.map_or_else(|| instead.to_owned(), |quoted| quoted.into_owned());
    // A name that begins as an option is a path all the same.
    if quoted.starts_with('-') { format!("./{quoted}") } else { quoted }
}

/// The command that takes an image by this name.
fn with_image(wanted: Wanted, name: &str) -> String {
    match wanted {
        Wanted::Image | Wanted::Disk => format!("bootdisk build {name} -o DISK"),
        Wanted::Bootable => format!("bootdisk run {name}"),
        Wanted::Kernel => format!("bootdisk kernel add {name}"),
        Wanted::Anything => format!("bootdisk inspect {name}"),
    }
}

/// The command that takes a raw disk by this name.
fn with_disk(wanted: Wanted, name: &str) -> String {
    match wanted {
        Wanted::Image | Wanted::Bootable => format!("bootdisk run {name}"),
        Wanted::Disk => format!("bootdisk kernel set {name} KERNEL"),
        Wanted::Kernel | Wanted::Anything => format!("bootdisk inspect {name}"),
    }
}

/// What a command writes is an image.
fn piped(wanted: Wanted, command: &str) -> String {
    match wanted {
        Wanted::Kernel => format!("{command} > app.tar && {}", with_image(wanted, "app.tar")),
        _ => format!("{command} | {}", with_image(wanted, "-")),
    }
}

/// A root file system, in a tar or a folder.
fn tree(wanted: Wanted, path: &str) -> String {
    with_image(wanted, &format!("rootfs:{path}"))
}

/// A folder with a Dockerfile; `file` where it has another name. Only some commands build.
fn built(wanted: Wanted, file: Option<&str>, folder: &str) -> String {
    let reference = match file {
        Some(file) => format!("--file {file} {folder}"),
        None => format!("dockerfile:{folder}"),
    };
    match wanted {
        Wanted::Image | Wanted::Bootable | Wanted::Disk => with_image(wanted, &reference),
        Wanted::Kernel | Wanted::Anything => {
            format!("{} && bootdisk inspect DISK", with_image(Wanted::Image, &reference))
        }
    }
}

fn anything(wanted: Wanted) -> String {
    match wanted {
        Wanted::Disk => "bootdisk build IMAGE -o DISK makes one".into(),
        Wanted::Kernel => "give a boot file (/boot/vmlinuz-RELEASE) or the package of a kernel".into(),
        _ => format!("images come from docker save, podman save or skopeo copy: {}", piped(wanted, "docker save NAME")),
    }
}

fn tar(names: &Names, wanted: Wanted, file: &str) -> String {
    match names {
        Names::Docker | Names::Oci => with_image(wanted, file),
        Names::SkopeoDir => {
            format!("mkdir image && tar -C image -xf {file} && {}", with_image(wanted, "dir:image"))
        }
        Names::Below(folder) => {
            let folder = word(Path::new(folder), "FOLDER");
            format!("tar -xf {file} && {}", piped(wanted, &format!("tar -C {folder} -c .")))
        }
        Names::Root => tree(wanted, file),
        Names::BuildContext => {
            format!("mkdir context && tar -C context -xf {file} && {}", built(wanted, None, "context"))
        }
        Names::Kernel | Names::Package(_) => kernel(wanted, file),
        Names::Disk(_) | Names::Nothing | Names::Other => anything(wanted),
    }
}

fn folder(names: &Names, wanted: Wanted, folder: &str) -> String {
    match names {
        Names::Oci => with_image(wanted, folder),
        Names::Docker => piped(wanted, &format!("tar -C {folder} -c .")),
        Names::SkopeoDir => with_image(wanted, &format!("dir:{folder}")),
        Names::Below(below) => piped(wanted, &format!("tar -C {folder}/{} -c .", word(Path::new(below), "FOLDER"))),
        Names::Root => tree(wanted, folder),
        Names::BuildContext => built(wanted, None, folder),
        Names::Kernel | Names::Package(_) => kernel(wanted, folder),
        Names::Disk(_) | Names::Nothing | Names::Other => match wanted {
            Wanted::Image | Wanted::Bootable => {
                format!("skopeo copy docker://NAME oci:image.oci:app && {}", with_image(wanted, "image.oci"))
            }
            Wanted::Anything => "an OCI layout has an index.json, the folder of a kernel a vmlinuz or bzImage".into(),
            _ => anything(wanted),
        },
    }
}

fn disk_hint(disk: Disk, wanted: Wanted, file: &str) -> Option<String> {
    Some(match disk {
        Disk::Gpt => with_disk(wanted, file),
        Disk::LargeSectors => {
            format!("machines here have sectors of 512 bytes; it can be looked at: bootdisk inspect {file}")
        }
        // Each of the two programs wants to be asked where the other will not answer.
        Disk::CopyAlone { mbr: true } => {
            format!("write the table again from its copy: sfdisk --dump {file} | sfdisk {file}")
        }
        Disk::CopyAlone { mbr: false } => {
            format!("write the table again from its copy: printf 'r\\nb\\nc\\nw\\ny\\n' | gdisk {file}")
        }
        Disk::CutShort { .. } => format!("copy it again, or build it again: bootdisk build IMAGE -o {file}"),
        Disk::Mbr if wanted == Wanted::Disk => return Some(anything(wanted)),
        Disk::Mbr => format!("QEMU boots it as it is: qemu-system-x86_64 -m 1G -drive file={file},format=raw"),
    })
}

/// A disk in a form that is read.
fn form(wanted: Wanted, file: &str) -> String {
    format!("make it raw first: bootdisk convert {file} -o disk.img && {}", with_disk(wanted, "disk.img"))
}

fn converted(form: &str, wanted: Wanted, file: &str) -> String {
    // Nothing at the start of a DMG says what it is.
    let from = match form {
        "DMG" => "-f dmg ",
        "EWF" => return format!("ewfexport -f raw -t disk {file} && {}", with_disk(wanted, "disk.raw")),
        _ => "",
    };
    format!("make it raw first: qemu-img convert {from}-O raw {file} disk.raw && {}", with_disk(wanted, "disk.raw"))
}

fn file_system(name: &str, wanted: Wanted, file: &str) -> Option<String> {
    if wanted == Wanted::Disk {
        return Some(anything(wanted));
    }
    let unpack = match name {
        "ext4" => format!("mkdir unpacked && debugfs -R 'rdump / unpacked' {file}"),
        "squashfs" => format!("unsquashfs -d unpacked {file}"),
        "EROFS" => format!("fsck.erofs --extract=unpacked {file}"),
        "XFS" | "Btrfs" | "F2FS" | "FAT" | "NTFS" | "exFAT" => {
            format!("mkdir unpacked && mount -o ro,loop {file} unpacked")
        }
        _ => return None,
    };
    Some(match wanted {
        Wanted::Kernel => format!("{unpack} && {}", with_image(wanted, "unpacked")),
        _ => format!("{unpack} && {}", tree(wanted, "unpacked")),
    })
}

fn kernel(wanted: Wanted, file: &str) -> String {
    match wanted {
        Wanted::Image | Wanted::Anything => format!("bootdisk build IMAGE -o DISK --kernel {file}"),
        Wanted::Bootable => format!("bootdisk run IMAGE --kernel {file}"),
        Wanted::Disk => format!("bootdisk kernel set DISK {file}"),
        Wanted::Kernel => format!("bootdisk kernel add {file}"),
    }
}

/// A program that needs nothing else is an image as soon as it is in one.
fn program(wanted: Wanted, place: &Place) -> String {
    let Place { folder, name, .. } = place;
    let command = match wanted {
        Wanted::Image | Wanted::Bootable | Wanted::Disk => format!(" /{name}"),
        Wanted::Kernel | Wanted::Anything => String::new(),
    };
    let packed = format!("tar -C {folder} -c {name} | {}", tree(wanted, "-"));
    format!("a program without libraries is a root file system: {packed}{command}")
}

fn packed(format: Format, inner: Option<&Kind>, wanted: Wanted, file: &str) -> String {
    let unpack = format!("{} -dc {file}", format.name());
    match inner {
        Some(Kind::Tar(Names::Root)) => tree(wanted, file),
        Some(Kind::FileSystem(_) | Kind::Iso) => {
            format!("{unpack} > disk.raw && {}", with_disk(wanted, "disk.raw"))
        }
        Some(Kind::Kernel(_)) => kernel(wanted, file),
        None | Some(Kind::Tar(_)) => piped(wanted, &unpack),
        Some(_) => format!("unpack it, and give its contents: {unpack} > FILE"),
    }
}

fn text_hint(text: Text, wanted: Wanted, place: &Place) -> Option<String> {
    let Place { file, folder, .. } = place;
    Some(match text {
        Text::Dockerfile => built(wanted, Some(file), folder),
        Text::Compose => format!("docker compose -f {file} build && {}", piped(wanted, "docker save NAME")),
        Text::Layout => with_image(wanted, folder),
        Text::Manifest => piped(wanted, &format!("tar -C {folder} -c .")),
        Text::KernelConfig if wanted == Wanted::Kernel => format!("bootdisk kernel add VMLINUZ --config {file}"),
        Text::Tests => format!("bootdisk test --spec {file}"),
        Text::Script | Text::Json | Text::KernelConfig | Text::Plain => anything(wanted),
    })
}
