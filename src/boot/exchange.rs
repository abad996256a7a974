//! Another kernel on a disk that exists, in steps of which each leaves a disk that boots.
//!
//! ```text
//! 1  new kernel and initramfs to the ESP, under names of their own           nobody knows them yet
//! 2  the new boot entry's text to the ESP, without a name
//! 3  the boot slot that BIOS does not use, its first sector last             BIOS boots the new kernel from here on
//! 4  the entry's name to the new text: one sector                            UEFI and direct boot do from here on
//! 5  old files removed
//! ```
//!
//! Between the steps everything is on the disk. An interruption anywhere leaves BIOS and UEFI each with the old or the
//! new kernel whole, and maybe files that belong to nobody; the next exchange removes them. The root partition is not
//! looked at. Not supported: disks without a boot entry of ours, BIOS disks of versions without slots.

use super::bios::{self, read::Slot};
use super::command_line;
use super::esp::Extent;
use super::esp::edit::{Editor, Entry};
use super::loader;
use crate::disk::gpt::{Role, SECTOR};
use crate::disk::table::Found;
use crate::output::Output;
use std::io;
use thiserror::Error;

/// Folder of kernels and initramfses on the ESP.
const FOLDER: &str = "bootdisk";
/// Folder of the entries.
const ENTRIES: &str = "loader/entries";
/// Name of the entry that keeps the kernel before.
const KEPT: &str = "bootdisk-old.conf";
/// Longest boot entry.
const MAX_ENTRY: u64 = 65_536;

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
    /// The boot entry.
    #[error(transparent)]
    Entry(#[from] loader::EntryError),
    /// The BIOS boot stage.
    #[error(transparent)]
    Bios(#[from] bios::BiosError),
    /// The disk.
    #[error("cannot change the boot files")]
    Io(#[from] io::Error),
}

impl ExchangeError {
    /// What to do about it, where there is something.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            ExchangeError::NoEntry(_) | ExchangeError::NoSlots => Some("build the disk again with bootdisk build"),
            ExchangeError::Full { .. } => Some("build the disk again with a larger --esp-size"),
            _ => None,
        }
    }
}

/// Puts the new kernel on the disk.
///
/// # Errors
/// When the disk is none of ours or has no room, before anything is written; or when a write fails.
pub fn exchange(disk: &dyn Durable, partitions: &[Found], new: &New) -> Result<(), ExchangeError> {
    let output: &dyn Output = disk;
    let of = |role| partitions.iter().find(|partition| partition.role == Some(role));
    let esp = of(Role::Esp).ok_or(ExchangeError::NoEntry("it has no EFI System Partition"))?;
    let stage = of(Role::BiosBoot);
    let slot = match stage {
        Some(stage) => boot_slot(output, stage)?,
        None => None,
    };
    let mut editor = Editor::open(output, esp.offset, esp.length, new.time)?;
    let entry = editor.find(loader::ENTRY_PATH)?.ok_or(ExchangeError::NoEntry(loader::ENTRY_PATH))?;
    let text = String::from_utf8_lossy(&editor.read(&entry, MAX_ENTRY)?).into_owned();
    let old = loader::Entry::parse(&text).ok_or(ExchangeError::NoEntry("its lines are not ours"))?;

    sweep(&mut editor, slot.as_ref())?;
    let (linux, initrd) = free_names(&editor)?;
    let fresh = loader::Entry {
        title: loader::title(&format!("Linux {}", new.release)),
        version: new.release.to_owned(),
        linux: format!("{FOLDER}/{linux}"),
        initrd: format!("{FOLDER}/{initrd}"),
        options: old.options.clone(),
    };
    let fresh_text = fresh.encode()?;
    check_room(&editor, new, &fresh, fresh_text.len())?;
    // All that can be refused is refused by now, but for the slot's, which needs to know where the files lie.
    let kernel = editor.create(FOLDER, &linux, new.kernel)?;
    let initramfs = editor.create(FOLDER, &initrd, new.initramfs)?;
    let cluster = editor.store(fresh_text.as_bytes())?;
    let (kernel_extents, initramfs_extents) = (editor.extents(&kernel)?, editor.extents(&initramfs)?);
    let slot_bytes = match (&slot, stage) {
        (Some(slot), Some(stage)) => {
            let boot = bios::Boot {
                stage2_lba: stage.offset / SECTOR,
                stage2_sectors: stage.length / SECTOR,
                kernel: new.kernel,
                kernel_extents: &kernel_extents,
                initramfs: new.initramfs,
                initramfs_extents: &initramfs_extents,
                command_line: &old.options,
            };
            match bios::encode_slot(&boot, slot.generation.saturating_add(1)) {
                Ok(bytes) => Some((1 - slot.number, bytes)),
                Err(error) => {
                    editor.remove(&kernel)?;
                    editor.remove(&initramfs)?;
                    return Err(error.into());
                }
            }
        }
        _ => None,
    };
    if new.keep {
        keep(&mut editor, &old)?;
    }
    disk.settle()?;
    if let (Some((number, bytes)), Some(places)) = (slot_bytes, bios::read::slots(output)?) {
        write_slot(disk, places[number] * SECTOR, &bytes)?;
    }
    editor.repoint(&entry, cluster, fresh_text.len() as u32)?;
    disk.settle()?;

    let slot = bios::read::active(output)?;
    sweep(&mut editor, slot.as_ref())?;
    editor.finish()?;
    disk.settle()?;
    Ok(())
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

/// Removes kernels and initramfses that neither an entry nor the active slot leads to, and what no file has.
fn sweep(editor: &mut Editor<'_>, slot: Option<&Slot>) -> Result<(), ExchangeError> {
    let kept: Vec<Extent> = slot.iter().flat_map(|slot| &slot.parts).flat_map(|(extents, _)| extents.clone()).collect();
    let mut named = Vec::new();
    for entry in editor.entries(ENTRIES)?.iter().filter(|entry| !entry.is_directory) {
        let text = String::from_utf8_lossy(&editor.read(entry, MAX_ENTRY)?).into_owned();
        let words = text.lines().filter_map(|line| line.split_once(' '));
        named.extend(words.filter(|(key, _)| ["linux", "initrd"].contains(key)).map(|(_, path)| path.to_lowercase()));
    }
    let touched = |entry: &Entry, editor: &Editor<'_>| -> io::Result<bool> {
        let meets =
            |a: &Extent, b: &Extent| a.lba < b.lba + u64::from(b.sectors) && b.lba < a.lba + u64::from(a.sectors);
        Ok(editor.extents(entry)?.iter().any(|mine| kept.iter().any(|other| meets(mine, other))))
    };
    for entry in editor.entries(FOLDER)? {
        let ours = entry.name.starts_with("linux") || entry.name.starts_with("initrd");
        let is_named = named.contains(&format!("/{FOLDER}/{}", entry.name.to_lowercase()));
        if ours && !entry.is_directory && !is_named && !touched(&entry, editor)? {
            editor.remove(&entry)?;
        }
    }
    Ok(editor.reclaim(&kept)?)
}

/// Names that no file has: `linux2` and `initrd2`, and so on.
fn free_names(editor: &Editor<'_>) -> io::Result<(String, String)> {
    let taken: Vec<String> = editor.entries(FOLDER)?.into_iter().map(|entry| entry.name.to_lowercase()).collect();
    let names = |number: u32| match number {
        1 => ("linux".to_owned(), "initrd".to_owned()),
        n => (format!("linux{n}"), format!("initrd{n}")),
    };
    let free = |(linux, initrd): &(String, String)| !taken.contains(linux) && !taken.contains(initrd);
    // There are never more than the entries' and the slot's.
    (1..=9).map(names).find(free).ok_or_else(|| io::Error::other("too many kernels on the EFI System Partition"))
}

fn check_room(editor: &Editor<'_>, new: &New, entry: &loader::Entry, text: usize) -> Result<(), ExchangeError> {
    let line = format!("initrd=\\{} {}", entry.initrd.replace('/', "\\"), entry.options).len();
    if line > command_line::MAX {
        return Err(ExchangeError::CommandLine(line));
    }
    let kept = if new.keep { editor.taken(text + 64) } else { 0 };
    let needed = editor.taken(new.kernel.len()) + editor.taken(new.initramfs.len()) + editor.taken(text) + kept;
    let free = editor.free();
    if needed > free { Err(ExchangeError::Full { free, needed }) } else { Ok(()) }
}

/// The second entry: the old kernel's. A kernel kept before loses its place.
fn keep(editor: &mut Editor<'_>, old: &loader::Entry) -> Result<(), ExchangeError> {
    let title = loader::title(&format!("Linux {} (before)", old.version));
    let text = loader::Entry { title, ..old.clone() }.encode()?;
    match editor.find(&format!("{ENTRIES}/{KEPT}"))? {
        Some(entry) => {
            let cluster = editor.store(text.as_bytes())?;
            editor.repoint(&entry, cluster, text.len() as u32)?;
        }
        None => _ = editor.create(ENTRIES, KEPT, text.as_bytes())?,
    }
    Ok(())
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
    use crate::arch::Architecture;
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
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk.img");
        let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        let layout = Layout::around_root(Architecture::X86_64, 34 << 20, 1 << 20).unwrap();
        file.set_len(layout.disk_size()).unwrap();
        let (kernel, initramfs) = boot_files(1);
        let guids = [1, 2, 3, 4].map(Uuid::from_u128);
        let guids = Guids { disk: guids[0], bios_boot: guids[1], esp: guids[2], modules: Uuid::nil(), root: guids[3] };
        let boot = Boot {
            firmware: Firmware { bios: true, uefi: true },
            kernel: &kernel,
            release: "6.1.1",
            initramfs: &initramfs,
            efi_loader: Some(b"MZ loader"),
            command_line: "console=ttyS0 quiet",
            title: "Linux 6.1.1",
            volume_id: 1,
            time: 0,
        };
        let code = boot::write(&boot, &layout, &file).unwrap();
        layout.write(&guids, &code, &file).unwrap();
        Disk { _folder: folder, path, file }
    }

    fn set(disk: &Disk, output: &dyn Durable, number: u8, keep: bool) -> Result<(), ExchangeError> {
        let (kernel, initramfs) = boot_files(number);
        let release = format!("6.1.{number}");
        let new = New { kernel: &kernel, release: &release, initramfs: &initramfs, keep, time: 0 };
        exchange(output, Existing::open(&disk.path).unwrap().partitions(), &new)
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
        (number(&files.kernel, &files.initramfs), number(&kernel, &initramfs))
    }

    fn names(disk: &Disk, folder: &str) -> Vec<String> {
        let esp = Existing::open(&disk.path).unwrap().partitions()[1].clone();
        let editor = Editor::open(&disk.file, esp.offset, esp.length, 0).unwrap();
        let mut names: Vec<String> = editor.entries(folder).unwrap().into_iter().map(|entry| entry.name).collect();
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
        for keep in [false, true] {
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

            for cut in (0..writes.len()).step_by(5) {
                let disk = disk();
                let cut = Recorder { file: &disk.file, writes: Mutex::default(), left: Mutex::new(cut) };
                assert!(set(&disk, &cut, 2, keep).is_err());
                set(&disk, &disk.file, 3, false).unwrap();
                assert_eq!(booted(&disk), (3, 3));
                assert!(names(&disk, "bootdisk").len() <= 4);
            }
        }
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
}
