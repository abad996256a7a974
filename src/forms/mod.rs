//! Forms that disks are kept in: raw, compressed or not, qcow2, VMDK, VDI, VHD, VHDX, and the packages OVA, GCE and box. One
//! writer and one bounded reader each.
//!
//! ```text
//!   raw file ─┐                      ┌─ raw
//!   any form ─┴▶ Source ─▶ units ─▶ ─┼─ qcow2   VMDK   VDI   VHD   VHDX   gzip   xz   zst
//!              holes stay holes      ├─ bodies in order, metadata behind or before them
//!                                    └─ packages: one of these, and what a program wants beside it
//! ```
//!
//! A form written twice has the same bytes, with any number of threads: identifiers come from the disk's own, and there
//! is no time of day in them.
//!
//! Readers believe nothing: tables are looked up where they are and never loaded whole beyond a stated bound, and a
//! disk that refers to another file (a backing file, a parent, a data file, an extent) is refused by that name. Not
//! supported: internal snapshots (the active state is read), encryption, differencing disks, logs that must be replayed.

mod compressed;
mod counted;
mod deflate;
mod fault;
mod identifier;
mod mapped;
mod package;
mod packed;
mod pieces;
mod qcow2;
mod raw;
mod source;
mod units;
mod vdi;
mod vhd;
mod vhdx;
mod vmdk;

pub use compressed::Compression;
pub use counted::Counted;
pub use fault::Fault;
pub use package::{Archive, Hardware, container};
pub use qcow2::Growing;
pub use source::{Raw, Source};

use crate::formats::unpack;
use crate::layer::is_archive;
use crate::output::Output;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// How the bodies in a form are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// As they are.
    Plain,
    /// Deflate (RFC 1951).
    Zlib,
    /// Zstandard (RFC 8878); QEMU knows it from version 5.1 on.
    Zstd,
}

/// A form to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Byte after byte.
    Raw,
    /// QEMU's.
    Qcow2(Packing),
    /// VMware's: `monolithicSparse`, or `streamOptimized` when it is packed.
    Vmdk(Packing),
    /// VirtualBox's.
    Vdi,
    /// Virtual PC's, which grows.
    Vhd,
    /// Virtual PC's, byte after byte, as Azure wants it: whole MiB.
    VhdFixed,
    /// Hyper-V's.
    Vhdx,
    /// Byte after byte, compressed.
    Compressed(Compression),
    /// Google's cloud's: `disk.raw` in a tar.gz, whole GiB.
    Gce,
    /// A VMDK and the machine that it is for, for VMware and VirtualBox.
    Ova(Hardware),
    /// Vagrant's, with a qcow2.
    Vagrant,
    /// KubeVirt's: a qcow2 in an image.
    ContainerDisk(Archive),
}

/// What the forms that are read are called by whoever recognises a file by its first bytes.
pub const READ: [&str; 5] = ["qcow2", "VMDK", "VDI", "VHD", "VHDX"];

/// Names of forms, as they are asked for.
pub const NAMES: [&str; 15] = [
    "raw",
    "qcow2",
    "vmdk",
    "vdi",
    "vhd",
    "vhd-fixed",
    "vhdx",
    "gz",
    "xz",
    "zst",
    "gce",
    "ova",
    "box",
    "oci-archive",
    "docker-archive",
];

impl Form {
    /// The form of this name; see [`NAMES`].
    pub fn named(name: &str) -> Option<Form> {
        Some(match name {
            "raw" => Form::Raw,
            "qcow2" => Form::Qcow2(Packing::Plain),
            "vmdk" => Form::Vmdk(Packing::Plain),
            "vdi" => Form::Vdi,
            "vhd" => Form::Vhd,
            "vhd-fixed" => Form::VhdFixed,
            "vhdx" => Form::Vhdx,
            "gz" => Form::Compressed(Compression::Gzip),
            "xz" => Form::Compressed(Compression::Xz),
            "zst" => Form::Compressed(Compression::Zstd),
            "gce" => Form::Gce,
            "ova" => Form::Ova(Hardware::default()),
            "box" => Form::Vagrant,
            "oci-archive" => Form::ContainerDisk(Archive::Oci),
            "docker-archive" => Form::ContainerDisk(Archive::Docker),
            _ => return None,
        })
    }

    /// The form that a file's name promises; a name that promises none is raw.
    pub fn of_name(path: &Path) -> Form {
        let ends = |path: &Path| path.extension().unwrap_or_default().to_ascii_lowercase().into_string();
        let Ok(suffix) = ends(path) else { return Form::Raw };
        match suffix.as_str() {
            "vpc" => Form::Vhd,
            "gz" if ends(Path::new(path.file_stem().unwrap_or_default())).is_ok_and(|stem| stem == "tar") => Form::Gce,
            // Nothing ends with these names but what was asked for.
            "gce" | "vhd-fixed" | "oci-archive" | "docker-archive" => Form::Raw,
            suffix => Form::named(suffix).unwrap_or(Form::Raw),
        }
    }

    /// What it is called, however it is packed; see [`NAMES`].
    pub fn name(self) -> &'static str {
        match self {
            Form::Raw => "raw",
            Form::Qcow2(_) => "qcow2",
            Form::Vmdk(_) => "vmdk",
            Form::Vdi => "vdi",
            Form::Vhd => "vhd",
            Form::VhdFixed => "vhd-fixed",
            Form::Vhdx => "vhdx",
            Form::Compressed(Compression::Gzip) => "gz",
            Form::Compressed(Compression::Xz) => "xz",
            Form::Compressed(Compression::Zstd) => "zst",
            Form::Gce => "gce",
            Form::Ova(_) => "ova",
            Form::Vagrant => "box",
            Form::ContainerDisk(Archive::Oci) => "oci-archive",
            Form::ContainerDisk(Archive::Docker) => "docker-archive",
        }
    }

    /// The same form for a kernel with these drivers, where it says what machine the disk is for.
    pub fn for_drivers(self, drivers: &[String]) -> Form {
        match self {
            Form::Ova(_) => Form::Ova(Hardware::for_drivers(drivers)),
            form => form,
        }
    }

    /// The same form with its bodies packed; `None` when it has no such packing.
    pub fn packed(self, packing: Packing) -> Option<Form> {
        match (self, packing) {
            (form, Packing::Plain) => Some(form),
            (Form::Qcow2(_), packing) => Some(Form::Qcow2(packing)),
            (Form::Vmdk(_), Packing::Zlib) => Some(Form::Vmdk(packing)),
            _ => None,
        }
    }

    /// Whether a disk can be written in this form from the start; see [`Growing`].
    pub fn grows(self) -> bool {
        self == Form::Qcow2(Packing::Plain)
    }

    /// Bytes of the disk in this form that has `size` bytes: a form may count in larger units. What is behind `size`
    /// reads as zeros.
    pub fn rounded(self, size: u64) -> u64 {
        match self {
            Form::VhdFixed => size.next_multiple_of(1 << 20),
            Form::Gce => size.next_multiple_of(package::GIB),
            Form::Compressed(_) => size,
            _ => size.next_multiple_of(512),
        }
    }
}

/// Writes a disk into an empty output, and returns the length of what it wrote. `threads` pack bodies.
///
/// # Errors
/// When reading or writing fails, or the disk is larger than the form can hold.
pub fn write(form: Form, source: &dyn Source, output: &dyn Output, threads: usize) -> io::Result<u64> {
    match form {
        Form::Raw => raw::write(source, output),
        Form::Qcow2(packing) => qcow2::write(source, output, packing, threads),
        Form::Vmdk(Packing::Plain) => vmdk::write(source, output),
        Form::Vmdk(_) => vmdk::write_stream(source, output, threads),
        Form::Vdi => vdi::write(source, output),
        Form::Vhd => vhd::write(source, output),
        Form::VhdFixed => vhd::write_fixed(source, output),
        Form::Vhdx => vhdx::write(source, output),
        Form::Compressed(how) => compressed::write(source, output, how, threads),
        Form::Gce => package::write_gce(source, output, threads),
        Form::Ova(hardware) => package::write_ova(source, output, hardware, threads),
        Form::Vagrant => package::write_vagrant(source, output, threads),
        Form::ContainerDisk(archive) => package::write_container(source, output, archive, threads),
    }
}

/// Whether two disks have the same bytes, up to the end of the shorter one and zeros behind it.
pub fn is_same(one: &dyn Source, other: &dyn Source) -> io::Result<bool> {
    Ok(is_within(one, other)? && is_within(other, one)?)
}

/// Whether everything that `one` holds is the same in `other`.
fn is_within(one: &dyn Source, other: &dyn Source) -> io::Result<bool> {
    const UNIT: usize = 64 << 10;
    let (mut same, mut buffer) = (true, vec![0; UNIT]);
    units::each(one, UNIT, &mut |index, bytes| {
        let offset = index * UNIT as u64;
        let there = other.size().saturating_sub(offset).min(UNIT as u64) as usize;
        buffer.fill(0);
        other.read_at(offset.min(other.size()), &mut buffer[..there])?;
        same &= buffer == bytes;
        Ok(())
    })?;
    Ok(same)
}

/// The form that a file is kept in, as it would be written anew; `None` for what has no writer here, and for packages, which
/// say more than their disk.
///
/// # Errors
/// As [`open`].
pub fn form_of(file: File) -> Result<Option<Form>, Fault> {
    let raw = Raw::new(file)?;
    let start = raw.start(START)?;
    if let Some(how) = Compression::of(&start) {
        let mut inside = Vec::new();
        unpack::reader(raw.reading())?.take(START as u64).read_to_end(&mut inside)?;
        // An archive in it is one that is compressed, which only Google's is.
        return Ok(match is_archive(&inside) {
            true => (how == Compression::Gzip).then_some(Form::Gce),
            false => Sign::of(&inside).is_none().then_some(Form::Compressed(how)),
        });
    }
    if unpack::is_packed(&start) || is_archive(&start) {
        return Ok(None);
    }
    Ok(Some(match Sign::of(&start) {
        Some(Sign::Qcow2) => Form::Qcow2(qcow2::open(raw)?.packing()?),
        Some(Sign::Vmdk) => Form::Vmdk(vmdk::open(raw)?.packing()?),
        Some(Sign::VmdkText) => return Err(VMDK_TEXT),
        Some(Sign::Vdi) => Form::Vdi,
        Some(Sign::Vhdx) => Form::Vhdx,
        Some(Sign::Vhd) | None => vhd::form_of(&raw, &start)?,
    }))
}

/// What a disk in a form of its own begins with.
enum Sign {
    Qcow2,
    Vmdk,
    /// A text that names the files of a VMDK.
    VmdkText,
    Vdi,
    Vhdx,
    /// The copy of its footer. A fixed one has none.
    Vhd,
}

impl Sign {
    fn of(start: &[u8]) -> Option<Sign> {
        Some(match () {
            () if start.starts_with(qcow2::MAGIC) => Sign::Qcow2,
            () if start.starts_with(vmdk::MAGIC) => Sign::Vmdk,
            () if start.starts_with(vmdk::DESCRIPTOR) => Sign::VmdkText,
            () if vdi::is_vdi(start) => Sign::Vdi,
            () if start.starts_with(vhdx::MAGIC) => Sign::Vhdx,
            () if start.starts_with(vhd::COOKIE) => Sign::Vhd,
            () => return None,
        })
    }
}

/// Why a VMDK that is only a text cannot be used.
const VMDK_TEXT: Fault = Fault::Refers("the files that its text names");

/// Opens a disk of any form, compressed or not, or the one in a package. What has the sign of no other form is raw.
///
/// # Errors
/// [`Fault`], for a form that refers to other files, or is damaged or not supported.
pub fn open(file: File) -> Result<Box<dyn Source>, Fault> {
    let raw = Raw::new(file)?;
    match unpack::is_packed(&raw.start(START)?) {
        true => open_unpacked(compressed::unpacked(&raw)?),
        false => open_unpacked(raw),
    }
}

/// Bytes that tell what something is.
const START: usize = 4096;

/// What is not compressed, or no more: what is compressed twice is nothing that is known.
fn open_unpacked(raw: Raw) -> Result<Box<dyn Source>, Fault> {
    if !is_archive(&raw.start(START)?) {
        return open_disk(raw);
    }
    match package::disk_in(raw)? {
        package::Member::Whole(disk) => open_disk(disk),
        package::Member::Sparse(disk) => Ok(disk),
    }
}

fn open_disk(raw: Raw) -> Result<Box<dyn Source>, Fault> {
    let start = raw.start(START)?;
    Ok(match Sign::of(&start) {
        Some(Sign::Qcow2) => Box::new(qcow2::open(raw)?),
        Some(Sign::Vmdk) => Box::new(vmdk::open(raw)?),
        Some(Sign::VmdkText) => return Err(VMDK_TEXT),
        Some(Sign::Vdi) => Box::new(vdi::open(raw)?),
        Some(Sign::Vhdx) => Box::new(vhdx::open(raw)?),
        Some(Sign::Vhd) | None => vhd::open(raw, &start)?,
    })
}

#[cfg(test)]
mod tests;
