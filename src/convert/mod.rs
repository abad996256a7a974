//! The whole conversion on one screen: an image and a kernel in, a disk out. No format is known here.
//!
//! ```text
//!  Plan::open    image and kernel opened and checked, everything decided that decides the disk's identity
//!  Plan::write   layers ─▶ tree + bodies ─▶ root file system, and boot files ─▶ partition table ─▶ published
//! ```

mod bases;
mod facts;
mod form;
mod login;
mod records;
mod said;
mod size;
pub(crate) mod verified;
mod verify;
mod watched;
mod write;

pub use crate::boot::Firmware;
pub use crate::boot::signed::Enroll;
pub use crate::ext4::Free;
pub use bases::{Bases, Layers, is_whole_base};
pub use facts::made_at;
pub use form::{data_of, measured, write_form};
pub use login::LoginError;
pub use records::{Digested, Made};
pub use said::Said;
pub use size::SizeError;
pub use verified::VerityError;
pub use verify::{Expected, expected_userland, verify};

use self::facts::{Facts, all_modules, boot_spec, ingredients};
use crate::added;
use crate::arch::{Arch, Architecture};
use crate::boot::{BootError, command_line, loader};
use crate::contents::installed::Installed;
use crate::disk::gpt::{Guids, Layout};
use crate::ext4;
use crate::formats::verity::Superblock;
use crate::forms::Form;
use crate::guest::channel::Overrides;
use crate::guest::spec::{BootSpec, GuestModules, Init, OnCorruption};
use crate::guest_modules;
use crate::hex::hex;
use crate::identity::DiskIdentity;
use crate::image::{Digest, Image, Platform};
use crate::kernel::at_start::at_start;
pub use crate::kernel::modules::Drivers;
use crate::kernel::modules::{Selection, select_for};
use crate::kernel::preflight::{self, preflight};
use crate::kernel::{Bundle, Packing, places};
use crate::pid1::{Pid1, init_binary};
use crate::signing::Signing;
use crate::verity::RootHash;
use anyhow::{Result, anyhow, bail};
use std::path::PathBuf;
use std::sync::Arc;

/// Most bytes a root file system may need when nobody has named a size: an image that needs more is either meant to,
/// and says so with a size, or a decompression bomb.
pub const AUTOMATIC_LIMIT: u64 = 64 << 30;
/// How far beyond a size that is too small the layers are still read, to name the size that would do: this many times
/// the compressed layers' bytes. Ordinary layers unpack to three times their size, a bomb to a thousand times.
const COUNTED_RATIO: u64 = 32;

/// Something to show while a disk is made.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// The layers will be read: how many, and their compressed bytes together.
    Layers {
        /// Number of layers.
        count: usize,
        /// Compressed bytes of all of them.
        bytes: u64,
    },
    /// One layer begins.
    Layer {
        /// Its number, from 0.
        index: usize,
        /// Number of layers.
        count: usize,
        /// Its compressed bytes.
        bytes: u64,
    },
    /// A finished disk will be read.
    Disk {
        /// What for, in words.
        what: &'a str,
        /// Its bytes, holes not counted.
        bytes: u64,
    },
    /// So many compressed bytes of all layers, or bytes of the disk, have been read.
    Read {
        /// Bytes, the layers before included.
        bytes: u64,
    },
    /// What is done now, in words.
    Step(&'a str),
    /// Something the user should know, in printable text.
    Warning(&'a str),
    /// There will be no more.
    Done,
}

/// Gets the events.
pub type Observer<'a> = &'a mut dyn FnMut(Event<'_>);

/// Size of an EFI System Partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EspSize {
    /// So many bytes.
    Bytes(u64),
    /// What the boot files take, and those of another kernel.
    Auto,
    /// What the boot files take.
    Least,
}

/// A unified kernel image is wanted.
#[derive(Clone, Debug)]
pub struct Uki {
    /// systemd's stub, instead of the distribution's.
    pub stub: Option<PathBuf>,
    /// Firmware starts it, and no loader.
    pub alone: bool,
}

/// What a unified kernel image is begun with.
pub(crate) struct Unified {
    stub: Vec<u8>,
}

/// What decides a disk besides image and kernel.
#[derive(Clone, Debug)]
pub struct Options {
    /// The image as the user named it, in printable text, for errors alone.
    pub source: String,
    /// Under which firmware it boots.
    pub firmware: Firmware,
    /// Bytes of the whole disk; what the image needs and some room when absent.
    pub size: Option<u64>,
    /// That room.
    pub free: Free,
    /// Size of the EFI System Partition.
    pub esp_size: EspSize,
    /// Added to the kernel's command line.
    pub command_line: String,
    /// Who runs the userland.
    pub init: Init,
    /// Changes to what the image's configuration says.
    pub overrides: Overrides,
    /// systemd-boot's file, instead of the distribution's.
    pub efi_loader: Option<PathBuf>,
    /// Folder with systemd-boot's files, for where the distribution has none.
    pub loaders: Option<PathBuf>,
    /// Kernel, initramfs and command line are one program.
    pub uki: Option<Uki>,
    /// Upper limit for the times this program makes, in seconds since 1970 (`SOURCE_DATE_EPOCH`).
    pub source_date_epoch: Option<i64>,
    /// The running userland has all modules of the kernel, in a partition of their own.
    pub guest_modules: bool,
    /// For which machines it has drivers.
    pub drivers: Drivers,
    /// A kernel that cannot boot the disk is refused; otherwise what it lacks is a warning.
    pub preflight: bool,
    /// People get a shell of the image's on the machine's consoles.
    pub console_login: bool,
    /// Whether the machine looks for settings at its start.
    pub settings: bool,
    /// What tells this disk from others of the same content, which otherwise are the same disk.
    pub identity: Option<String>,
    /// What the topmost layer of the image is, if it is not the image's own.
    pub added: Option<added::Record>,
    /// The root is verified block by block, and what a wrong block does.
    pub verity: Option<OnCorruption>,
    /// Who signs what UEFI starts, for Secure Boot.
    pub signing: Option<Arc<Signing>>,
    /// When the firmware gets the certificate; `None` as the loader does best.
    pub enroll: Option<Enroll>,
}

/// How a disk is written. None of it reaches the disk's bytes, but for the form that they are kept in.
#[derive(Clone, Copy, Debug)]
pub struct Writing {
    /// Everything is on stable storage before the disk has its name.
    pub sync: bool,
    /// The disk is read back and compared before it has its name.
    pub verify: bool,
    /// Threads that decode layers, at least 1; each layer is hashed on one more.
    pub threads: usize,
    /// What it is kept in.
    pub form: Form,
    /// The disk is read once more for its digests: [`Built::digests`].
    pub digests: bool,
    /// What is installed is listed: [`Built::installed`].
    pub installed: bool,
}

impl Default for Writing {
    /// Raw, with fsync, without reading back, and with as many threads as this process may use processors.
    fn default() -> Writing {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Writing { sync: true, verify: false, threads, form: Form::Raw, digests: false, installed: false }
    }
}

/// A disk that can be written.
pub struct Plan {
    image: Image,
    bundle: Bundle,
    modules: Selection,
    options: Options,
    pid1: Pid1,
    efi_loader: Option<Vec<u8>>,
    unified: Option<Unified>,
    command_line: String,
    spec: BootSpec,
    identity: DiskIdentity,
    digest: [u8; 32],
}

/// A disk that was written.
#[derive(Clone, Debug)]
pub struct Built {
    /// Where everything is.
    pub layout: Layout,
    /// The root file system's numbers.
    pub root: ext4::Sealed,
    /// Files, directories and other names of the userland.
    pub names: u64,
    /// Bytes of the userland's file bodies.
    pub userland: u64,
    /// Bytes of the kernel's boot file.
    pub kernel: u64,
    /// The kernel's release.
    pub release: String,
    /// Bytes of the initramfs.
    pub initramfs: u64,
    /// The image's configuration, which stands for all of it.
    pub image: Digest,
    /// What was added to the image.
    pub added: Option<added::Record>,
    /// The image's platform.
    pub platform: Platform,
    /// Identifiers of the disk and its partitions.
    pub guids: Guids,
    /// UUID of the root file system.
    pub root_uuid: String,
    /// Digests of the disk and its parts, where they were asked for.
    pub digests: Option<Digested>,
    /// What is installed in the userland, where that was asked for.
    pub installed: Option<Installed>,
    /// The root's hashes, where it is verified.
    pub verity: Option<Verity>,
}

/// The hashes of a verified root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verity {
    /// The hash that stands for all of it.
    pub root_hash: RootHash,
    /// The superblock: salt, UUID, data blocks.
    pub superblock: Superblock,
}

impl Plan {
    /// Checks image and kernel against each other and decides everything but the root file system.
    pub fn open(image: Image, bundle: Bundle, mut options: Options, observe: Observer<'_>) -> Result<Plan> {
        if options.verity.is_some() {
            verified::settle(&mut options)?;
            verified::warning(options.firmware).iter().for_each(|text| observe(Event::Warning(text)));
        }
        let architecture = Architecture::try_from(bundle.arch)?;
        let wanted = preflight::Disk {
            arch: Arch::from_name(&image.platform.architecture)
                .map(Arch::kernel)
                .ok_or_else(|| anyhow!("cannot make a disk for the image's platform {}", image.platform))?,
            bios: options.firmware.bios,
            uefi: options.firmware.uefi,
            initramfs: Packing::None,
            verity: options.verity.is_some(),
        };
        let report = preflight(&bundle, &wanted);
        if let Err(refused) = report.verdict(&bundle) {
            if options.preflight {
                return Err(refused.into());
            }
            observe(Event::Warning(&refused.to_string()));
        }
        let modules = select_for(&bundle, options.drivers, options.verity.is_some())?;
        let has_overlay = !preflight::lacks_overlay(&bundle, &modules.absent);
        if options.overrides.ephemeral == Some(true) && !has_overlay {
            bail!("kernel {} has no overlayfs (CONFIG_OVERLAY_FS), which an ephemeral root needs", bundle.release);
        }
        let warnings = image.warnings.iter().cloned().chain(report.warnings()).chain(modules.warnings.iter().cloned());
        warnings.for_each(|text| observe(Event::Warning(&text)));

        let pid1 = init_binary(architecture)?;
        let (given, kept) = (options.efi_loader.as_deref(), options.loaders.as_deref());
        let alone = options.uki.as_ref().is_some_and(|uki| uki.alone);
        let efi_loader = match options.firmware.uefi && !alone {
            true => Some(loader::open(architecture, given, kept)?),
            false => None,
        };
        let unified = match &options.uki {
            Some(_) if !options.firmware.uefi => return Err(BootError::NoUefi.into()),
            Some(uki) => Some(Unified { stub: loader::open_stub(architecture, uki.stub.as_deref(), given, kept)? }),
            None => None,
        };
        let word = options.verity.map(|_| verified::placeholder()).unwrap_or_default();
        let command_line = command_line::command_line(architecture, &word, &options.command_line)?;
        let mut spec = boot_spec(&image, &modules, &options)?;
        if options.verity.is_some() {
            spec.root.verity = options.verity;
            verified::writes(&mut spec.root, has_overlay);
        }
        login::has_no_own(&spec)?;
        if !spec.restart.is_no() && spec.init.settle(&spec.process) == Init::Image {
            let policy = spec.restart;
            let text =
                format!("the image's own init runs the machine, and restart policies are for a command: {policy}");
            observe(Event::Warning(&text));
        }
        spec.drivers = bundle.config.is_some().then(|| report.drivers());
        spec.boots_on = Some(places::boots_on(&bundle));
        spec.settings = Some(at_start(&bundle, options.settings));
        let guest_modules = all_modules(&bundle, &options, observe);
        let guest_digest = guest_modules.map(guest_modules::digest).transpose()?;
        let facts = Facts {
            modules: &modules,
            guest_modules: guest_digest,
            pid1,
            efi_loader: efi_loader.as_deref(),
            unified: unified.as_ref(),
            command_line: &command_line,
            spec: &spec,
        };
        let digest = ingredients(&image, &bundle, &options, &facts)?;
        let identity = DiskIdentity::of(&digest);
        spec.root.partuuid = identity.root.to_string();
        spec.machine_id = options.identity.as_ref().map(|_| identity.machine_id.simple().to_string());
        spec.guest_modules = guest_modules.map(|_| GuestModules {
            partuuid: identity.modules.to_string(),
            fstype: "ext4".into(),
            release: bundle.release.clone(),
        });
        Ok(Plan { image, bundle, modules, options, pid1, efi_loader, unified, command_line, spec, identity, digest })
    }

    /// A name for this disk's content: equal for equal disks, different for different ones.
    pub fn key(&self) -> String {
        hex(self.digest)
    }
}
