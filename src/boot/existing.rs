//! A disk that exists, as far as booting it needs: its partitions, and the boot files on its ESP.

use super::uki::{self, Inside};
use super::{loader, signed};
use crate::arch::Architecture;
use crate::disk::gpt::Role;
use crate::disk::table::{self, Found, ReadTableError};
use crate::escape::escape;
use crate::formats::boot_entry;
use crate::formats::fat::{self, Volume};
use crate::formats::signature_list::{self, Variable};
use crate::formats::x509::Certificate;
use crate::formats::{ReadAt, Scattered};
use crate::inputs::{self, FileId};
use crate::recognise::{self, Kind, Refusal, Wanted};
use std::fs::File;
use std::io::{self, BufReader, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use thiserror::Error;

/// Longest kernel or initramfs that is taken from an ESP, in bytes.
const MAX_FILE: u64 = 1 << 30;
/// Where an initial RAM disk may begin behind another, in bytes.
const INITRD: u64 = 4;
/// Bytes that are copied at a time.
const CHUNK: usize = 128 << 10;
/// Longest file of keys.
const MAX_KEYS: u64 = 1 << 20;

/// Why a disk cannot be booted.
#[derive(Debug, Error)]
pub enum ExistingError {
    /// It cannot be opened.
    #[error("cannot open disk {path}")]
    Open {
        /// The path, escaped.
        path: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// No disk, or one that is not whole.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Its partition table.
    #[error(transparent)]
    Table(#[from] ReadTableError),
    /// It has no root partition of a known type.
    #[error("disk has no root partition that names its architecture")]
    NoRoot,
    /// A boot file is missing.
    #[error("disk has no boot file {} on an EFI System Partition", escape(.0.as_bytes()))]
    NoBootFile(String),
    /// The boot entry does not start a kernel of ours.
    #[error("disk's boot entry {} {what}", escape(.file.as_bytes()))]
    Entry {
        /// The entry's file.
        file: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A file of keys that has none.
    #[error("no certificate can be read in {} on the EFI System Partition", escape(.0.as_bytes()))]
    Keys(String),
    /// The ESP cannot be read.
    #[error("cannot read {} on the EFI System Partition", escape(.file.as_bytes()))]
    Esp {
        /// The file.
        file: String,
        /// What was wrong.
        source: fat::Error,
    },
}

impl ExistingError {
    /// What to do about it, where there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            ExistingError::Open { .. } => None,
            ExistingError::Refused(refusal) => refusal.hint(),
            _ => Some("the disk is damaged, or bootdisk build did not make it: build it again".into()),
        }
    }
}

/// An open disk.
#[derive(Debug)]
pub struct Existing {
    file: Arc<File>,
    partitions: Vec<Found>,
    /// Read when it is first asked for.
    esp: OnceLock<Esp>,
}

/// The EFI System Partition.
type Esp = Volume<Arc<File>>;

/// What a direct boot hands to QEMU, where it lies on the disk.
#[derive(Debug)]
pub struct BootFiles {
    /// The kernel's file.
    pub kernel: Scattered<Arc<File>>,
    /// The initial RAM disks, in the order they are loaded in.
    pub initrds: Vec<Scattered<Arc<File>>>,
    /// The kernel's command line.
    pub command_line: String,
    /// Bytes of the unified kernel image that all this is in.
    pub unified: Option<u64>,
}

impl ReadAt for Existing {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }
}

impl BootFiles {
    /// The whole kernel.
    pub fn read_kernel(&self) -> io::Result<Vec<u8>> {
        self.kernel.bytes(0..self.kernel.size())
    }

    /// The same, to somewhere else.
    pub fn copy_kernel(&self, to: &mut impl Write) -> io::Result<()> {
        copy(&self.kernel, to)
    }

    /// All initial RAM disks as one, which is how the kernel gets them: each begins at a multiple of four bytes.
    pub fn read_initramfs(&self) -> io::Result<Vec<u8>> {
        let mut all = Vec::with_capacity(self.initramfs_size() as usize);
        self.copy_initramfs(&mut all)?;
        Ok(all)
    }

    /// The same, to somewhere else.
    pub fn copy_initramfs(&self, to: &mut impl Write) -> io::Result<()> {
        let mut written = 0u64;
        for initrd in &self.initrds {
            let before = written.next_multiple_of(INITRD) - written;
            to.write_all(&[0; INITRD as usize][..before as usize])?;
            copy(initrd, to)?;
            written += before + initrd.size();
        }
        Ok(())
    }

    /// Bytes of the same.
    pub fn initramfs_size(&self) -> u64 {
        self.initrds.iter().fold(0u64, |all, initrd| all.next_multiple_of(INITRD) + initrd.size())
    }
}

/// What a disk starts.
enum Started {
    /// What an entry names.
    Entry(boot_entry::Entry),
    /// A unified kernel image.
    Unified { file: Scattered<Arc<File>>, inside: Inside },
}

impl Existing {
    /// Opens the disk and reads its partition table.
    pub fn open(path: &Path) -> Result<Existing, ExistingError> {
        let failed = |source| ExistingError::Open { path: crate::escape::path(path), source };
        // What is no file is not opened: a pipe would be waited for.
        let kind = recognise::path(path).map_err(failed)?;
        if kind != Kind::Disk(recognise::Disk::Gpt) {
            return Err(Refusal::new(kind, Wanted::Disk, Some(path)).into());
        }
        Existing::of(inputs::open(path).map_err(failed)?)
    }

    /// The same of a file that is open.
    pub fn of(file: File) -> Result<Existing, ExistingError> {
        let partitions = table::partitions(&table::open(&file)?);
        Ok(Existing { file: Arc::new(file), partitions, esp: OnceLock::new() })
    }

    /// The processor the root partition's type names.
    pub fn architecture(&self) -> Result<Architecture, ExistingError> {
        self.partitions.iter().find_map(|partition| partition.architecture).ok_or(ExistingError::NoRoot)
    }

    /// Whether a BIOS finds a boot stage.
    pub fn boots_under_bios(&self) -> bool {
        self.partition(Role::BiosBoot).is_some_and(|partition| {
            let mut start = [0; 16];
            self.file.read_exact_at(&mut start, partition.offset).is_ok() && start != [0; 16]
        })
    }

    /// Kernel, initial RAM disks and command line.
    pub fn boot_files(&self) -> Result<BootFiles, ExistingError> {
        let esp = self.esp(loader::ENTRY_PATH)?;
        match self.started(esp)? {
            Started::Entry(entry) => {
                let initrds = entry.initrd.iter().map(|path| open(esp, path, MAX_FILE));
                Ok(BootFiles {
                    kernel: open(esp, entry.linux().unwrap_or_default(), MAX_FILE)?,
                    initrds: initrds.collect::<Result<_, _>>()?,
                    command_line: entry.options.unwrap_or_default(),
                    unified: None,
                })
            }
            Started::Unified { file, inside } => {
                let part = |part: Range<usize>| file.part(part.start as u64..part.end as u64);
                Ok(BootFiles {
                    kernel: part(inside.kernel),
                    initrds: inside.initramfs.map(part).into_iter().collect(),
                    command_line: inside.command_line,
                    unified: Some(file.size()),
                })
            }
        }
    }

    /// What is started: by an entry of ours, or a unified kernel image of ours, or whichever firmware finds.
    fn started(&self, esp: &Esp) -> Result<Started, ExistingError> {
        if let Some(file) = loader::find_entry(esp).map_err(in_file(loader::ENTRY_PATH))? {
            return entry(esp, &file).map(Started::Entry);
        }
        let missing = || ExistingError::NoBootFile(loader::ENTRY_PATH.to_owned());
        let path = loader::fallback_path(self.architecture()?);
        let found = uki::find(esp, path).map_err(in_file(path))?.ok_or_else(missing)?;
        let file = esp.file(&found, MAX_FILE).map_err(in_file(&found.name))?;
        let inside = Inside::at(&file, file.size()).map_err(fat::Error::from).map_err(in_file(&found.name))?;
        Ok(Started::Unified { file, inside: inside.ok_or_else(missing)? })
    }

    /// Whether UEFI finds a loader.
    pub fn boots_under_uefi(&self) -> Result<bool, ExistingError> {
        let path = loader::fallback_path(self.architecture()?);
        match self.esp(path).and_then(|esp| open(esp, path, MAX_FILE).map(drop)) {
            Ok(()) => Ok(true),
            Err(ExistingError::NoBootFile(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The certificate that the disk brings along for the firmware, where it is signed.
    pub fn certificate(&self) -> Result<Option<Certificate>, ExistingError> {
        let path = signed::key_path(Variable::Db);
        let read = |esp: &Esp| esp.read(&find(esp, &path)?, MAX_KEYS).map_err(in_file(&path));
        let file = match self.esp(&path).and_then(read) {
            Err(ExistingError::NoBootFile(_)) => return Ok(None),
            file => file?,
        };
        let found = signature_list::lists_of(&file).and_then(signature_list::certificates);
        found.and_then(|found| found.into_iter().next()).map(Some).ok_or(ExistingError::Keys(path))
    }

    /// Which file it is.
    pub fn id(&self) -> io::Result<FileId> {
        Ok(FileId::of(&self.file.metadata()?))
    }

    /// Its partitions.
    pub fn partitions(&self) -> &[Found] {
        &self.partitions
    }

    fn partition(&self, role: Role) -> Option<&Found> {
        self.partitions.iter().find(|partition| partition.role == Some(role))
    }

    /// The ESP, for a file on it.
    fn esp(&self, path: &str) -> Result<&Esp, ExistingError> {
        if let Some(esp) = self.esp.get() {
            return Ok(esp);
        }
        let place = self.partition(Role::Esp).ok_or_else(|| ExistingError::NoBootFile(path.to_owned()))?;
        let esp = Volume::open(Arc::clone(&self.file), place.offset, place.length).map_err(in_file(path))?;
        Ok(self.esp.get_or_init(|| esp))
    }
}

fn in_file(file: &str) -> impl FnOnce(fat::Error) -> ExistingError {
    move |source| ExistingError::Esp { file: file.to_owned(), source }
}

/// An entry that starts a kernel, and has an initial RAM disk.
fn entry(esp: &Esp, file: &fat::Entry) -> Result<boot_entry::Entry, ExistingError> {
    let text = esp.read(file, boot_entry::LONGEST).map_err(in_file(&file.name))?;
    let entry = boot_entry::Entry::parse(&text);
    let wrong = |what| Err(ExistingError::Entry { file: file.name.clone(), what });
    match (entry.linux(), entry.initrd.is_empty()) {
        (None, _) => wrong("starts no kernel: it has no line linux, or one of efi or uki behind it"),
        (_, true) => wrong("has no line initrd"),
        _ => Ok(entry),
    }
}

fn find(esp: &Esp, path: &str) -> Result<fat::Entry, ExistingError> {
    let found = esp.find_file(path).map_err(in_file(path))?;
    found.ok_or_else(|| ExistingError::NoBootFile(path.to_owned()))
}

fn copy(file: &Scattered<Arc<File>>, to: &mut impl Write) -> io::Result<()> {
    io::copy(&mut BufReader::with_capacity(CHUNK, file.reading()), to).map(drop)
}

/// A file that is read where it is asked.
fn open(esp: &Esp, path: &str, limit: u64) -> Result<Scattered<Arc<File>>, ExistingError> {
    esp.file(&find(esp, path)?, limit).map_err(in_file(path))
}
