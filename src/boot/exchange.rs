//! Another kernel on a disk that exists, in steps of which each leaves a disk that boots.
//!
//! ```text
//! 0  a mark on the ESP                                                       says that all this is under way
//! 1  new kernel and initramfs to the ESP, under names of their own           nobody knows them yet
//! 2  the new boot entry's text to the ESP, without a name
//! 3  the boot slot that BIOS does not use, its first sector last             BIOS boots the new kernel from here on
//! 4  the entry's name to the new text: one sector                            UEFI and direct boot do from here on
//! 5  old files removed, then the mark
//! ```
//!
//! Between the steps everything is on the disk. An interruption anywhere leaves BIOS and UEFI each with the old or the
//! new kernel whole, and maybe files that belong to nobody; the next exchange removes them. Lines of the entry that are
//! not about the kernel stay as they are. The root partition is not looked at.
//!
//! On a disk with a unified kernel image that is the one new file: it comes to the ESP without a name, BIOS boots from inside
//! of it, and then the name of the old one leads to it.
//!
//! Not supported: disks without a boot entry of ours, BIOS disks of versions without slots, ESPs that are damaged.

use super::bios::{self, read::Slot};
use super::collect::{self, FOLDER, Stale};
use super::command_line;
use super::uki::{self, Inside};
use super::{loader, places};
use crate::arch::Architecture;
use crate::disk::gpt::{Role, SECTOR};
use crate::disk::table::Found;
use crate::formats::boot_entry::{self, Change};
use crate::formats::fat::edit::Editor;
use crate::formats::fat::{self, Entry};
use crate::formats::pe;
use crate::formats::scattered::within;
use crate::output::Output;
use std::io;
use std::ops::Range;
use thiserror::Error;

/// Name of the entry that keeps the kernel before.
const KEPT: &str = "bootdisk-old.conf";
/// Name of the unified kernel image that keeps it.
const KEPT_UNIFIED: &str = "bootdisk-old.efi";
/// Disks that can be told to have everything so far.
pub trait Durable: Output {
    /// Returns when what was written is on the disk.
    fn settle(&self) -> io::Result<()>;
}

impl Durable for std::fs::File {
    fn settle(&self) -> io::Result<()> {
        self.sync_data()
    }
}

/// The kernel that comes.
#[derive(Clone, Copy, Debug)]
pub struct New<'a> {
    /// The whole boot file.
    pub kernel: &'a [u8],
    /// Its release.
    pub release: &'a str,
    /// The whole initramfs.
    pub initramfs: &'a [u8],
    /// The kernel before stays as a second entry for UEFI.
    pub keep: bool,
    /// Time of the new files, in seconds since 1970.
    pub time: i64,
}

/// Why a kernel cannot be exchanged. Nothing of the old one has been touched then.
#[derive(Debug, Error)]
pub enum ExchangeError {
    /// No ESP, or no entry of ours on it.
    #[error("disk has no boot entry of bootdisk's: {0}")]
    NoEntry(&'static str),
    /// A BIOS boot stage without slots.
    #[error("disk has a BIOS boot stage without slots, or one that is damaged")]
    NoSlots,
    /// The loader's `initrd=` and the disk's command line are too long together.
    #[error("command line is too long beside the new initramfs's name: {0} bytes")]
    CommandLine(usize),
    /// Not enough room.
    #[error("EFI System Partition has {free} bytes free, and the new boot files need {needed}")]
    Full {
        /// Bytes free, without what this exchange removes at its end.
        free: u64,
        /// Bytes needed.
        needed: u64,
    },
    /// The unified kernel image takes no other kernel.
    #[error("disk's unified kernel image {0}")]
    Unified(#[from] pe::Fault),
    /// Nothing shows a second one.
    #[error(
        "disk has no boot menu that could show the previous kernel: firmware starts its unified kernel image by itself"
    )]
    NoMenu,
    /// The boot entry.
    #[error(transparent)]
    Entry(#[from] loader::EntryError),
    /// The BIOS boot stage.
    #[error(transparent)]
    Bios(#[from] bios::BiosError),
    /// The ESP.
    #[error("cannot change the EFI System Partition")]
    Fat(#[from] fat::Error),
    /// The disk.
    #[error("cannot change the boot files")]
    Io(#[from] io::Error),
}

impl ExchangeError {
    /// What to do about it, where there is something.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            ExchangeError::NoMenu => Some("omit --keep"),
            ExchangeError::NoEntry(_) | ExchangeError::NoSlots | ExchangeError::Unified(_) => {
                Some("build the disk again with bootdisk build")
            }
            ExchangeError::Full { .. } => Some("build the disk again with a larger --esp-size"),
            ExchangeError::Fat(fat::Error::Damaged(_)) => Some(
                "nothing was changed: mend the partition with fsck.fat, or build the disk again with bootdisk build",
            ),
            _ => None,
        }
    }
}

/// Puts the new kernel on the disk. Returns why old ones were not removed, a sentence each.
///
/// # Errors
/// When the disk is none of ours, has no room or is damaged, before anything is written; or when a write fails.
pub fn exchange(disk: &dyn Durable, partitions: &[Found], new: &New) -> Result<Vec<String>, ExchangeError> {
    let of = |role| partitions.iter().find(|partition| partition.role == Some(role));
    let esp = of(Role::Esp).ok_or(ExchangeError::NoEntry("it has no EFI System Partition"))?;
    let stage = of(Role::BiosBoot);
    let slot = match stage {
        Some(stage) => boot_slot(disk, stage)?,
        None => None,
    };
    let editor = Editor::open(disk, esp.offset, esp.length, new.time)?;
    let architecture = partitions.iter().find_map(|partition| partition.architecture);
    let old = Old::read(&editor, architecture.unwrap_or(Architecture::X86_64))?;
    let mut change = Exchange { disk, editor, old, new, stage, slot };
    match change.make() {
        // Refused, with everything as it was: nothing is under way any more.
        Err(error) if !matches!(error, ExchangeError::Io(_) | ExchangeError::Fat(_)) => {
            change.finish()?;
            Err(error)
        }
        made => made,
    }
}

/// The entry that is on the disk.
struct OldEntry {
    file: Entry,
    text: String,
    entry: boot_entry::Entry,
    /// Which of its initial RAM disks is ours.
    initrd: String,
}

impl OldEntry {
    fn read(editor: &Editor<'_>, file: Entry) -> Result<OldEntry, ExchangeError> {
        let text = editor.volume().read(&file, boot_entry::LONGEST)?;
        let text = String::from_utf8(text).map_err(|_| ExchangeError::NoEntry("it is no text"))?;
        let entry = boot_entry::Entry::parse(text.as_bytes());
        let in_folder = |path: &&String| {
            let parts: Vec<&str> = path.split(['/', '\\']).filter(|part| !part.is_empty()).collect();
            parts.len() == 2 && parts[0].eq_ignore_ascii_case(FOLDER)
        };
        let initrd = entry.initrd.iter().find(in_folder).cloned();
        let initrd = initrd.ok_or(ExchangeError::NoEntry("it names no initramfs of ours"))?;
        match entry.linux() {
            Some(_) => Ok(OldEntry { file, text, entry, initrd }),
            None => Err(ExchangeError::NoEntry("it starts no kernel")),
        }
    }

    fn options(&self) -> &str {
        self.entry.options.as_deref().unwrap_or_default()
    }

    /// The text of an entry for the new kernel: this one's, with the lines that are about the kernel changed.
    fn with(&self, release: &str, linux: &str, initrd: &str) -> Result<String, loader::EntryError> {
        let title = loader::title(&format!("Linux {release}"));
        let path = |name: &str| format!("{FOLDER}/{name}");
        let entry = loader::Entry {
            title: title.clone(),
            version: release.to_owned(),
            linux: path(linux),
            initrd: path(initrd),
            options: String::new(),
        };
        entry.check()?;
        let (linux, initrd) = (format!("/{}", entry.linux), format!("/{}", entry.initrd));
        let set = |key, to| Change { key, from: None, to };
        let changes = [
            set("title", &title),
            set("version", release),
            set("linux", &linux),
            Change { key: "initrd", from: Some(&self.initrd), to: &initrd },
        ];
        Ok(boot_entry::rewrite(&self.text, &changes))
    }

    /// Whether the loader's part of the command line leaves room for the disk's.
    fn check_length(&self, text: &str) -> Result<(), ExchangeError> {
        let entry = boot_entry::Entry::parse(text.as_bytes());
        let line: usize = entry.initrd.iter().map(|path| "initrd= ".len() + path.len()).sum();
        let line = line + self.options().len();
        if line > command_line::MAX { Err(ExchangeError::CommandLine(line)) } else { Ok(()) }
    }

    /// The text of a second entry, which keeps this one's kernel.
    fn kept(&self) -> String {
        let version = self.entry.version.as_deref().unwrap_or_default();
        let title = loader::title(&format!("Linux {version} (previous)"));
        boot_entry::rewrite(&self.text, &[Change { key: "title", from: None, to: &title }])
    }
}

/// What the disk starts now.
enum Old {
    /// What an entry names.
    Entry(OldEntry),
    /// A unified kernel image.
    Unified(OldUnified),
}

impl Old {
    fn read(editor: &Editor<'_>, architecture: Architecture) -> Result<Old, ExchangeError> {
        if let Some(file) = loader::find_entry(editor.volume())? {
            return OldEntry::read(editor, file).map(Old::Entry);
        }
        OldUnified::read(editor, architecture).map(Old::Unified)
    }

    /// The file whose name leads to something else in the end.
    fn file(&self) -> &Entry {
        match self {
            Old::Entry(old) => &old.file,
            Old::Unified(old) => &old.file,
        }
    }

    fn command_line(&self) -> &str {
        match self {
            Old::Entry(old) => old.options(),
            Old::Unified(old) => &old.inside.command_line,
        }
    }
}

/// A unified kernel image that is on the disk.
struct OldUnified {
    file: Entry,
    bytes: Vec<u8>,
    inside: Inside,
    /// systemd-boot starts it.
    in_menu: bool,
    signed: bool,
}

impl OldUnified {
    fn read(editor: &Editor<'_>, architecture: Architecture) -> Result<OldUnified, ExchangeError> {
        const NONE: ExchangeError = ExchangeError::NoEntry(loader::ENTRY_PATH);
        let volume = editor.volume();
        let fallback = loader::fallback_path(architecture);
        let file = uki::find(volume, fallback)?.ok_or(NONE)?;
        let bytes = volume.read(&file, u32::MAX.into())?;
        let inside = Inside::of(&bytes).ok_or(NONE)?;
        let in_menu = volume.find_file(fallback)?.as_ref() != Some(&file);
        let signed = pe::Headers::parse(&bytes).is_ok_and(|headers| headers.is_signed());
        Ok(OldUnified { file, bytes, inside, in_menu, signed })
    }
}

/// Boot files that nothing leads to yet.
struct Placed {
    /// Files with names of their own.
    files: Vec<Entry>,
    /// What the old file's name is going to lead to: first cluster, bytes.
    stored: (u32, usize),
    /// Where the kernel lies on the disk.
    kernel: Vec<(u64, u64)>,
    /// And the initramfs.
    initramfs: Vec<(u64, u64)>,
}

/// An exchange that is being made.
struct Exchange<'a> {
    disk: &'a dyn Durable,
    editor: Editor<'a>,
    old: Old,
    new: &'a New<'a>,
    stage: Option<&'a Found>,
    slot: Option<Slot>,
}

impl Exchange<'_> {
    fn make(&mut self) -> Result<Vec<String>, ExchangeError> {
        self.sweep()?;
        let placed = self.place()?;
        // All that can be refused is refused by now, but for the slot's, which needs to know where the files lie.
        let slot = match self.slot_bytes(&placed) {
            Err(error @ ExchangeError::Bios(_)) => {
                placed.files.iter().try_for_each(|file| self.editor.remove(file))?;
                self.editor.forget(placed.stored.0);
                self.editor.reclaim(&collect::places(self.slot.as_ref()))?;
                return Err(error);
            }
            slot => slot?,
        };
        if self.new.keep {
            self.keep()?;
        }
        self.disk.settle()?;
        if let (Some((number, bytes)), Some(places)) = (slot, bios::read::slots(self.disk)?) {
            write_slot(self.disk, places[number] * SECTOR, &bytes)?;
        }
        let (cluster, length) = placed.stored;
        self.editor.repoint(self.old.file(), cluster, length as u32)?;
        self.disk.settle()?;

        self.slot = bios::read::active(self.disk)?;
        let mut doubts = self.sweep()?;
        self.finish()?;
        if matches!(&self.old, Old::Unified(old) if old.signed) {
            doubts.push("the unified kernel image was signed, and the one with this kernel is not".to_owned());
        }
        Ok(doubts)
    }

    /// Takes the mark away, after everything else is on the disk.
    fn finish(&mut self) -> Result<(), ExchangeError> {
        if self.editor.is_under_way() {
            self.editor.count()?;
            self.disk.settle()?;
            self.editor.end()?;
            self.disk.settle()?;
        }
        Ok(())
    }

    /// Nothing is changed before it is on the disk that something is.
    fn begin(&mut self) -> Result<(), ExchangeError> {
        self.editor.begin()?;
        Ok(self.disk.settle()?)
    }

    /// Removes kernels and initramfses that nobody needs, and what no file has. Returns why some of them stay.
    fn sweep(&mut self) -> Result<Vec<String>, ExchangeError> {
        let kept = collect::places(self.slot.as_ref());
        let Stale { files, doubts } = match self.old {
            Old::Entry(_) => collect::stale(&self.editor, &kept)?,
            // It is one file, and has the name that it had.
            Old::Unified(_) => Stale::default(),
        };
        if !files.is_empty() || self.editor.was_interrupted() {
            self.begin()?;
        }
        for file in &files {
            self.editor.remove(file)?;
        }
        self.editor.reclaim(&kept)?;
        Ok(doubts)
    }

    /// Puts the new boot files onto the ESP. What there is no room for is refused before.
    fn place(&mut self) -> Result<Placed, ExchangeError> {
        match &self.old {
            Old::Entry(old) => {
                let (linux, initrd) = free_names(&self.editor)?;
                let text = old.with(self.new.release, &linux, &initrd)?;
                old.check_length(&text)?;
                let kept = if self.new.keep { old.kept().len() } else { 0 };
                self.check_room(&[self.new.kernel.len(), self.new.initramfs.len(), text.len(), kept])?;
                self.begin()?;
                let kernel = self.editor.create(FOLDER, &linux, self.new.kernel)?;
                let initramfs = self.editor.create(FOLDER, &initrd, self.new.initramfs)?;
                let cluster = self.editor.store(text.as_bytes())?;
                let places = |file: &Entry| self.editor.volume().places(file);
                Ok(Placed {
                    stored: (cluster, text.len()),
                    kernel: places(&kernel)?,
                    initramfs: places(&initramfs)?,
                    files: vec![kernel, initramfs],
                })
            }
            Old::Unified(old) => {
                if self.new.keep && !old.in_menu {
                    return Err(ExchangeError::NoMenu);
                }
                let New { kernel, release, initramfs, .. } = *self.new;
                let file = uki::with(&old.bytes, &uki::Parts { kernel, release, initramfs })?;
                let Inside { kernel, initramfs, .. } = Inside::of(&file).ok_or(pe::Fault::NoProgram)?;
                let kept = if self.new.keep { old.bytes.len() } else { 0 };
                self.check_room(&[file.len(), kept])?;
                let mut stored = old.file.clone();
                self.begin()?;
                (stored.cluster, stored.size) = (self.editor.store(&file)?, file.len() as u32);
                let places = self.editor.volume().places(&stored)?;
                let part = |part: Range<usize>| within(&places, part.start as u64..part.end as u64);
                Ok(Placed {
                    files: Vec::new(),
                    stored: (stored.cluster, file.len()),
                    kernel: part(kernel),
                    initramfs: initramfs.map(part).unwrap_or_default(),
                })
            }
        }
    }

    /// Whether files of these lengths fit.
    fn check_room(&self, lengths: &[usize]) -> Result<(), ExchangeError> {
        let needed = lengths.iter().map(|length| self.editor.taken(*length)).sum();
        let free = self.editor.free();
        if needed > free { Err(ExchangeError::Full { free, needed }) } else { Ok(()) }
    }

    /// What goes into the slot that BIOS does not use, and its number; `None` on a disk without BIOS boot.
    fn slot_bytes(&self, placed: &Placed) -> Result<Option<(usize, Vec<u8>)>, ExchangeError> {
        let (Some(slot), Some(stage)) = (&self.slot, self.stage) else { return Ok(None) };
        let boot = bios::Boot {
            stage2_lba: stage.offset / SECTOR,
            stage2_sectors: stage.length / SECTOR,
            kernel: self.new.kernel,
            kernel_extents: &places::extents(&placed.kernel),
            initramfs: self.new.initramfs,
            initramfs_extents: &places::extents(&placed.initramfs),
            command_line: self.old.command_line(),
        };
        Ok(Some((1 - slot.number, bios::encode_slot(&boot, slot.generation.saturating_add(1))?)))
    }

    /// The second entry, or the second unified kernel image: the old kernel's. A kernel kept before loses its place.
    fn keep(&mut self) -> Result<(), ExchangeError> {
        let text;
        let (folder, name, body) = match &self.old {
            Old::Entry(old) => {
                text = old.kept();
                (loader::ENTRIES, KEPT, text.as_bytes())
            }
            Old::Unified(old) => (uki::FOLDER, KEPT_UNIFIED, &old.bytes[..]),
        };
        match self.editor.volume().find_file(&format!("{folder}/{name}"))? {
            Some(entry) => {
                let cluster = self.editor.store(body)?;
                self.editor.repoint(&entry, cluster, body.len() as u32)?;
            }
            None => _ = self.editor.create(folder, name, body)?,
        }
        Ok(())
    }
}

/// The slot a BIOS starts; `None` on a disk without BIOS boot.
fn boot_slot(disk: &dyn Output, stage: &Found) -> Result<Option<Slot>, ExchangeError> {
    let mut start = [0; 16];
    disk.read_at(stage.offset, &mut start)?;
    if start == [0; 16] {
        return Ok(None);
    }
    bios::read::active(disk)?.map(Some).ok_or(ExchangeError::NoSlots)
}

/// Names that no file has: `linux2` and `initrd2`, and so on.
fn free_names(editor: &Editor<'_>) -> Result<(String, String), ExchangeError> {
    let files = editor.volume().entries(FOLDER)?;
    let taken: Vec<u32> = files.iter().filter_map(|entry| collect::number(&entry.name)).collect();
    Ok(match (1..).find(|number| !taken.contains(number)).unwrap_or(1) {
        1 => ("linux".to_owned(), "initrd".to_owned()),
        n => (format!("linux{n}"), format!("initrd{n}")),
    })
}

/// Writes a slot so that its head, without which nobody looks at the rest, is right only when all is there.
fn write_slot(disk: &dyn Durable, at: u64, bytes: &[u8]) -> io::Result<()> {
    let (head, rest) = bytes.split_at(SECTOR as usize);
    disk.write_at(at, &[0; SECTOR as usize])?;
    disk.settle()?;
    disk.write_at(at + SECTOR, rest)?;
    disk.settle()?;
    disk.write_at(at, head)?;
    disk.settle()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::existing::Existing;
    use crate::boot::{self, Boot, Firmware};
    use crate::disk::gpt::{Guids, Layout};
    use std::fs::File;
    use std::os::unix::fs::FileExt;
    use std::path::PathBuf;
    use std::sync::Mutex;
    use uuid::Uuid;

    /// A kernel and an initramfs that can be told from the others.
    fn boot_files(number: u8) -> (Vec<u8>, Vec<u8>) {
        let mut kernel = bios::bzimage(8 + usize::from(number));
        let end = kernel.len();
        kernel[end - 1000..].fill(number);
        (kernel, vec![number; 3000 + usize::from(number) * 700])
    }

    struct Disk {
        _folder: tempfile::TempDir,
        path: PathBuf,
        file: File,
    }

    /// A disk with kernel 1.
    fn disk() -> Disk {
        disk_with(None)
    }

    /// The same with a unified kernel image that systemd-boot starts, or firmware itself.
    fn unified(by_loader: bool) -> Disk {
        disk_with(Some(by_loader))
    }

    fn disk_with(unified: Option<bool>) -> Disk {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk.img");
        let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        let layout = Layout::around_root(Architecture::X86_64, 34 << 20, 1 << 20).unwrap();
        file.set_len(layout.disk_size()).unwrap();
        let (kernel, initramfs) = boot_files(1);
        let stub = pe::tests::stub();
        let guids = [1, 2, 3, 4].map(Uuid::from_u128);
        let guids = Guids {
            disk: guids[0],
            bios_boot: guids[1],
            esp: guids[2],
            modules: Uuid::nil(),
            root: guids[3],
            verity: Uuid::nil(),
        };
        let boot = Boot {
            firmware: Firmware { bios: true, uefi: true },
            kernel: &kernel,
            release: "6.1.1",
            initramfs: &initramfs,
            efi_loader: Some(&b"MZ loader"[..]).filter(|_| unified != Some(false)),
            unified: unified.map(|_| uki::Unified { stub: &stub, os_release: "ID=linux\n" }),
            command_line: "console=ttyS0 quiet",
            title: "Linux 6.1.1",
            volume_id: 1,
            time: 0,
            signed: None,
        };
        let code = boot::write(&boot, &layout, &file).unwrap();
        layout.write(&guids, &code, &file).unwrap();
        Disk { _folder: folder, path, file }
    }

    impl Disk {
        /// Names of kernels and initramfses, or of unified kernel images.
        fn names(&self) -> Vec<String> {
            let esp = Existing::open(&self.path).unwrap().partitions()[1].clone();
            let editor = Editor::open(&self.file, esp.offset, esp.length, 0).unwrap();
            let folders = [FOLDER, uki::FOLDER].iter().filter_map(|folder| editor.volume().entries(folder).ok());
            folders.flatten().map(|entry| entry.name).collect()
        }
    }

    fn set(disk: &Disk, output: &dyn Durable, number: u8, keep: bool) -> Result<(), ExchangeError> {
        let (kernel, initramfs) = boot_files(number);
        let release = format!("6.1.{number}");
        let new = New { kernel: &kernel, release: &release, initramfs: &initramfs, keep, time: 0 };
        let doubts = exchange(output, Existing::open(&disk.path).unwrap().partitions(), &new)?;
        assert_eq!(doubts, [] as [&str; 0]);
        Ok(())
    }

    /// Which kernel UEFI and direct boot start, and which BIOS does: read by code that had no part in the writing, but
    /// for the slots, which have one reader.
    fn booted(disk: &Disk) -> (u8, u8) {
        let files = Existing::open(&disk.path).unwrap().boot_files().unwrap();
        assert_eq!(files.command_line, "console=ttyS0 quiet");
        let number = |kernel: &[u8], initramfs: &[u8]| {
            let number = *kernel.last().unwrap();
            let expected = boot_files(number);
            assert!(expected.0 == kernel && expected.1 == initramfs, "kernel {number} is not whole");
            number
        };
        let slot = bios::read::active(&disk.file).unwrap().expect("a slot that is whole");
        assert_eq!(slot.command_line, "console=ttyS0 quiet");
        let (mut kernel, initramfs) = slot.load(&disk.file).unwrap().expect("boot files that the slot is for");
        let length = boot_files(*kernel.iter().rev().find(|byte| **byte != 0).unwrap()).0.len();
        kernel.truncate(length);
        (number(&files.read_kernel().unwrap(), &files.read_initramfs().unwrap()), number(&kernel, &initramfs))
    }

    fn names(disk: &Disk, folder: &str) -> Vec<String> {
        let esp = Existing::open(&disk.path).unwrap().partitions()[1].clone();
        let editor = Editor::open(&disk.file, esp.offset, esp.length, 0).unwrap();
        let mut names: Vec<String> =
            editor.volume().entries(folder).unwrap().into_iter().map(|entry| entry.name).collect();
        names.sort();
        names
    }

    /// Remembers what is written, in order.
    struct Recorder<'a> {
        file: &'a File,
        writes: Mutex<Vec<(u64, Vec<u8>)>>,
        left: Mutex<usize>,
    }

    impl Output for Recorder<'_> {
        fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            // Sector by sector: that much a disk writes whole.
            for (index, sector) in data.chunks(SECTOR as usize).enumerate() {
                let mut left = self.left.lock().unwrap();
                if *left == 0 {
                    return Err(io::ErrorKind::BrokenPipe.into());
                }
                *left -= 1;
                let at = offset + index as u64 * SECTOR;
                self.file.write_all_at(sector, at)?;
                self.writes.lock().unwrap().push((at, sector.to_vec()));
            }
            Ok(())
        }
        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
            Output::read_at(self.file, offset, buffer)
        }
        fn discard(&self, _: u64, _: u64) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    impl Durable for Recorder<'_> {
        fn settle(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn kernels_follow_each_other_and_leave_nothing_behind() {
        let disk = disk();
        assert_eq!(booted(&disk), (1, 1));
        for number in 2..=9 {
            set(&disk, &disk.file, number, false).unwrap();
            assert_eq!(booted(&disk), (number, number));
            assert_eq!(names(&disk, "bootdisk").len(), 2);
        }
        set(&disk, &disk.file, 10, true).unwrap();
        set(&disk, &disk.file, 11, true).unwrap();
        assert_eq!(booted(&disk), (11, 11));
        assert_eq!(names(&disk, "loader/entries"), ["bootdisk-old.conf", "bootdisk.conf"]);
        assert_eq!(names(&disk, "bootdisk").len(), 4, "the present and the one before");
    }

    /// After every sector that is written, each firmware boots the old or the new kernel whole, BIOS never before its
    /// files are there, and the next exchange works.
    #[test]
    fn an_interruption_anywhere_leaves_a_disk_that_boots() {
        let disks: [(fn() -> Disk, bool); 4] =
            [(disk, false), (disk, true), (|| unified(true), true), (|| unified(false), false)];
        for (disk, keep) in disks {
            let before = disk();
            let whole = Recorder { file: &before.file, writes: Mutex::default(), left: Mutex::new(usize::MAX) };
            set(&before, &whole, 2, keep).unwrap();
            let writes = whole.writes.into_inner().unwrap();
            assert!(writes.len() > 40, "only {} sectors", writes.len());

            let replayed = disk();
            let (mut seen, mut last) = (Vec::new(), (1, 1));
            for (at, sector) in &writes {
                replayed.file.write_all_at(sector, *at).unwrap();
                last = booted(&replayed);
                if seen.last() != Some(&last) {
                    seen.push(last);
                }
            }
            assert_eq!(seen, [(1, 1), (1, 2), (2, 2)], "BIOS first, then the entry, neither twice");
            assert_eq!(last, (2, 2));

            for done in (0..writes.len()).step_by(5) {
                let disk = disk();
                let cut = Recorder { file: &disk.file, writes: Mutex::default(), left: Mutex::new(done) };
                assert!(set(&disk, &cut, 2, keep).is_err());
                set(&disk, &disk.file, 3, false).unwrap();
                assert_eq!(booted(&disk), (3, 3));
                let names = disk.names();
                assert!(names.len() <= 4, "{names:?}");
                assert_eq!(fsck(&disk), "", "after {done} sectors");
            }
        }
    }

    #[test]
    fn unified_kernel_images_follow_each_other_under_one_name() {
        let disk = unified(true);
        assert_eq!(booted(&disk), (1, 1));
        for number in 2..=5 {
            set(&disk, &disk.file, number, false).unwrap();
            assert_eq!((booted(&disk), disk.names()), ((number, number), vec!["bootdisk.efi".to_owned()]));
        }
        for number in 6..=8 {
            set(&disk, &disk.file, number, true).unwrap();
            assert_eq!(booted(&disk), (number, number));
            assert_eq!(disk.names(), ["bootdisk.efi", "bootdisk-old.efi"]);
        }
        assert_eq!(fsck(&disk), "");
        let alone = unified(false);
        let error = set(&alone, &alone.file, 2, true).unwrap_err();
        assert!(matches!(error, ExchangeError::NoMenu), "{error}");
        assert_eq!(booted(&alone), (1, 1));
        set(&alone, &alone.file, 2, false).unwrap();
        assert_eq!((booted(&alone), fsck(&alone).as_str()), ((2, 2), ""));
    }

    #[test]
    fn what_does_not_fit_is_refused_before_anything_is_written() {
        let disk = disk();
        let bytes = |disk: &Disk| std::fs::read(&disk.path).unwrap();
        let before = bytes(&disk);
        let (kernel, _) = boot_files(2);
        let large = vec![1; 40 << 20];
        let new = New { kernel: &kernel, release: "6.1.2", initramfs: &large, keep: false, time: 0 };
        let error = exchange(&disk.file, Existing::open(&disk.path).unwrap().partitions(), &new).unwrap_err();
        assert!(matches!(error, ExchangeError::Full { .. }) && error.hint().is_some(), "{error}");
        let new = New { kernel: &kernel, release: "6 1", initramfs: b"x", keep: false, time: 0 };
        let error = exchange(&disk.file, Existing::open(&disk.path).unwrap().partitions(), &new).unwrap_err();
        assert!(matches!(error, ExchangeError::Entry(_)), "{error}");
        assert!(bytes(&disk) == before);
        // No bzImage: the slot cannot be made, and what was written is taken back.
        let new = New { kernel: b"no bzImage", release: "6.1.2", initramfs: b"x", keep: false, time: 0 };
        let error = exchange(&disk.file, Existing::open(&disk.path).unwrap().partitions(), &new).unwrap_err();
        assert!(matches!(error, ExchangeError::Bios(_)), "{error}");
        assert_eq!((booted(&disk), names(&disk, "bootdisk").len()), ((1, 1), 2));
    }

    fn mtools(disk: &Disk, program: &str, arguments: &[&str]) -> String {
        let esp = format!("{}@@{}", disk.path.display(), 4096 * 512);
        let output = std::process::Command::new(program).arg("-i").arg(esp).args(arguments).output().expect(program);
        assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn put(disk: &Disk, path: &str, body: &[u8]) {
        let source = disk.path.with_extension("body");
        std::fs::write(&source, body).unwrap();
        mtools(disk, "mcopy", &["-o", source.to_str().unwrap(), &format!("::{path}")]);
    }

    /// What fsck.fat minds about the ESP, without numbers.
    fn fsck(disk: &Disk) -> String {
        let esp = disk.path.with_extension("esp");
        let mut bytes = vec![0; 34 << 20];
        disk.file.read_exact_at(&mut bytes, 4096 * 512).unwrap();
        std::fs::write(&esp, bytes).unwrap();
        let output = std::process::Command::new("fsck.fat").arg("-n").arg(&esp).output().expect("fsck.fat");
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        let lines = said.lines().skip(1).filter(|line| !line.contains(" files, "));
        lines.map(|line| line.replace(|c: char| c.is_ascii_digit(), "")).collect::<Vec<_>>().join("\n")
    }

    fn set_with_doubts(disk: &Disk, number: u8) -> Vec<String> {
        let (kernel, initramfs) = boot_files(number);
        let release = format!("6.1.{number}");
        let new = New { kernel: &kernel, release: &release, initramfs: &initramfs, keep: false, time: 0 };
        exchange(&disk.file, Existing::open(&disk.path).unwrap().partitions(), &new).unwrap()
    }

    /// Whether the old files stay when another entry has this text, and whether something was doubted.
    #[test]
    fn files_that_any_entry_names_stay_and_one_that_is_not_understood_keeps_all() {
        let long = format!("linux /x\n{}", "# long\n".repeat(10_000));
        let cases: [(&str, &[u8], bool, bool); 14] = [
            ("nothing of ours", b"title x\nefi /EFI/shell.efi\n", false, false),
            ("columns", b"title      Mine\nlinux      /bootdisk/linux\ninitrd     /bootdisk/initrd\n", true, false),
            ("tabs", b"linux\t/bootdisk/linux\ninitrd\t/bootdisk/initrd\n", true, false),
            ("backslashes, capitals", b"linux \\BOOTDISK\\LINUX\r\ninitrd \\bootdisk\\\\Initrd\r\n", true, false),
            ("no slash", b"linux bootdisk/linux\ninitrd bootdisk/initrd\n", true, false),
            ("several in a line", b"linux /bootdisk/linux\ninitrd /extra /bootdisk/initrd\n", true, false),
            ("lines that do not count", b"linux /bootdisk/linux\nlinux /x\ninitrd /bootdisk/initrd\n", true, false),
            ("efi and devicetree", b"efi /bootdisk/linux\ndevicetree /bootdisk/initrd\n", true, false),
            ("short names", b"linux /BOOTDISK/LINUX~1\ninitrd /BOOTDISK/INITRD~1\n", false, false),
            ("an unknown key", b"linux /x\nkernel /bootdisk/linux\n", true, true),
            ("a variable", b"linux /x\ninitrd $initrd\n", true, true),
            ("no text", b"\xff\xfe", true, true),
            ("nothing at all", b"", true, true),
            ("too long", long.as_bytes(), true, true),
        ];
        for (what, text, stays, doubted) in cases {
            let disk = disk();
            put(&disk, "loader/entries/mine.conf", text);
            let doubts = set_with_doubts(&disk, 2);
            let names = names(&disk, "bootdisk");
            assert_eq!(names.len(), if stays { 4 } else { 2 }, "{what}: {names:?}");
            assert_eq!(doubts.len(), usize::from(doubted), "{what}: {doubts:?}");
            assert!(doubts.iter().all(|text| text.contains("mine.conf")), "{what}: {doubts:?}");
            assert_eq!((booted(&disk), fsck(&disk).as_str()), ((2, 2), ""), "{what}");
        }
    }

    #[test]
    fn a_file_under_another_loaders_menu_and_one_of_somebody_elses_name_stay() {
        let disk = disk();
        put(&disk, "bootdisk/linux-mine", b"mine");
        mtools(&disk, "mmd", &["::grub"]);
        put(&disk, "grub/grub.cfg", b"menuentry x {\n linux /bootdisk/linux\n}\n");
        let doubts = set_with_doubts(&disk, 2);
        assert!(doubts.len() == 1 && doubts[0].contains("grub/grub.cfg"), "{doubts:?}");
        assert_eq!(names(&disk, "bootdisk").len(), 5);
        mtools(&disk, "mdel", &["::grub/grub.cfg"]);
        assert_eq!(set_with_doubts(&disk, 3), [] as [&str; 0]);
        assert_eq!(names(&disk, "bootdisk"), ["initrd", "linux", "linux-mine"]);
    }

    #[test]
    fn every_line_of_the_entry_that_is_not_about_the_kernel_stays() {
        let disk = disk();
        let text = "# mine\ntitle     Old\nsort-key  z\nversion 6.1.1\nlinux     /bootdisk/linux\ninitrd /extra\n\
                    initrd    /bootdisk/initrd\noptions   console=ttyS0\noptions quiet\n";
        put(&disk, "extra", b"07070");
        put(&disk, "loader/entries/bootdisk.conf", text.as_bytes());
        let files = Existing::open(&disk.path).unwrap().boot_files().unwrap();
        assert_eq!(files.command_line, "console=ttyS0 quiet");
        assert_eq!(files.read_initramfs().unwrap(), [&b"07070\0\0\0"[..], &boot_files(1).1].concat());
        set_with_doubts(&disk, 2);
        let now = mtools(&disk, "mtype", &["::loader/entries/bootdisk.conf"]);
        let expected = "# mine\ntitle Linux 6.1.2\nsort-key  z\nversion 6.1.2\nlinux /bootdisk/linux2\ninitrd /extra\n\
                        initrd /bootdisk/initrd2\noptions   console=ttyS0\noptions quiet\n";
        assert_eq!(now, expected);
        let slot = bios::read::active(&disk.file).unwrap().unwrap();
        assert_eq!((slot.command_line.as_str(), slot.generation), ("console=ttyS0 quiet", 2));
    }

    #[test]
    fn an_entry_that_counts_its_boots_is_found_and_keeps_its_name() {
        let disk = disk();
        mtools(&disk, "mren", &["::loader/entries/bootdisk.conf", "bootdisk+2-1.conf"]);
        assert_eq!(booted(&disk), (1, 1));
        set_with_doubts(&disk, 2);
        assert_eq!(booted(&disk), (2, 2));
        assert_eq!(names(&disk, "loader/entries"), ["bootdisk+2-1.conf"]);
    }

    #[test]
    fn files_in_deep_folders_and_clusters_marked_bad_stay_what_they_are() {
        let disk = disk();
        let deep = (1..=18).fold(String::new(), |above, n| {
            let path = format!("{above}/d{n}");
            mtools(&disk, "mmd", &[&format!("::{path}")]);
            path
        });
        let body: Vec<u8> = (0..300_000).map(|i| (i % 251) as u8 + 1).collect();
        put(&disk, &format!("{deep}/deep.bin"), &body);
        let mut boot = [0; 512];
        disk.file.read_exact_at(&mut boot, 4096 * 512).unwrap();
        let per_fat = u64::from(u32::from_le_bytes(boot[36..40].try_into().unwrap()));
        let bad = [0xf7, 0xff, 0xff, 0x0f].repeat(20);
        let places = [0, per_fat].map(|fat| (4096 + 8 + fat) * 512 + 4 * 5000);
        places.iter().for_each(|at| disk.file.write_all_at(&bad, *at).unwrap());
        let before = fsck(&disk);
        for number in 2..=4 {
            set_with_doubts(&disk, number);
            assert_eq!(fsck(&disk), before);
        }
        for at in places {
            let mut marks = vec![0; bad.len()];
            disk.file.read_exact_at(&mut marks, at).unwrap();
            assert!(marks == bad);
        }
        let esp = Existing::open(&disk.path).unwrap().partitions()[1].clone();
        let volume = fat::Volume::open(&disk.file, esp.offset, esp.length).unwrap();
        let found = volume.find(&format!("{deep}/deep.bin")).unwrap().unwrap();
        assert!(volume.read(&found, 1 << 20).unwrap() == body);
    }
}
