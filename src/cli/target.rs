//! What `run` and `test` boot: a disk as it is, or one made from an image and kept in the cache.

use super::cancel::Cancel;
use super::machine::BootChoice;
use super::options::{self, Global};
use super::progress::{Progress, shown_input};
use super::report::WithHint;
use super::{bases, convert, env, plan};
use crate::arch::Architecture;
use crate::boot::existing::{BootFiles, Existing};
use crate::cache::{CachedDisk, DiskCache, GetError};
use crate::convert::{Event, Firmware, Said, Writing};
use crate::formats::scattered::{self, Places};
use crate::guest::channel::Overrides;
use crate::kernel::Bundle;
use crate::kernel::image::Format;
use crate::own_folder::within;
use crate::qemu::Boot;
use crate::qemu::paste::BootFilesAt;
use crate::recognise::{self, Kind, Refusal, Wanted};
use crate::registry::Access;
use crate::source::Parse;
use anyhow::{Context, bail};
use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};

/// What is booted: a disk as it is, or one made from an image.
pub enum Target {
    /// As it is.
    Disk(PathBuf),
    /// Kept for the next run.
    Cached(CachedDisk),
    /// There is no place for a cache, or the disk is to be written to: a disk for this machine alone.
    Temporary {
        /// Holds it, and takes it away.
        dir: tempfile::TempDir,
    },
}

impl Target {
    /// Opens a disk, or makes one from an image that boots in these ways; none is as the architecture's machines do.
    pub fn open(
        global: &Global,
        (target, parse): (&OsStr, Parse),
        disk: &options::Disk,
        ways: &[BootChoice],
    ) -> anyhow::Result<Target> {
        let shown = crate::escape::path(Path::new(target));
        match disk_at(target) {
            Some(Found::Disk(recognise::Disk::Gpt)) => {
                refuse_build_options(disk, &shown)?;
                return Ok(Target::Disk(target.into()));
            }
            Some(Found::Disk(found)) => {
                let refusal = Refusal::new(Kind::Disk(found), Wanted::Bootable, Some(Path::new(target)));
                return Err(anyhow::Error::new(refusal).context(format!("cannot boot {shown}")));
            }
            Some(Found::Form(form)) => {
                refuse_build_options(disk, &shown)?;
                let unpacked = Target::unpacked(Path::new(target));
                return unpacked.with_context(|| format!("cannot boot the {form} disk {shown}"));
            }
            None => {}
        }
        let disk = &with_kernel(disk);
        let _cancel = Cancel::on_signals().context("cannot listen for signals")?;
        let mut progress = Progress::beside_a_workload(global);
        let firmware = |arch, bundle: &Bundle| firmware_for(ways, arch, bundle.image.form);
        let open = || plan::open_image(global, target, parse, disk, Wanted::Bootable);
        let image = progress.reading(&shown_input(target), open)?;
        let overrides = Overrides::default();
        let observe = &mut |event: Event<'_>| progress.show(event);
        let image = plan::add(image, target, disk, &overrides, observe)?;
        let disk = (disk, &options::BootFiles::default());
        let plan = plan::open(image, target, disk, (firmware, plan::Signed::default()), &overrides, None, observe)?;
        let cache = env::cache().and_then(|dir| DiskCache::open(within(&dir, "disks")?));
        let bases = bases::of_user();
        let mut said = Said::default();
        // Neither this machine nor the next one needs it on stable storage.
        let writing = Writing { sync: false, ..Writing::default() };
        let mut write = |path: &Path, progress: &mut Progress| {
            let show = &mut |event: Event<'_>| progress.show(event);
            plan.write(bases.as_ref(), path, &writing, &mut said.a_try(show)).map(|_| ())
        };
        let kept = cache.map_err(GetError::Cache);
        let kept = (!Access::settled().forgets)
            .then(|| kept.and_then(|cache| cache.get(&plan.key(), |path| write(path, &mut progress))));
        match kept {
            None => {}
            Some(Ok(disk)) => return Ok(Target::Cached(disk)),
            Some(Err(GetError::Build(error))) => return Err(error),
            Some(Err(GetError::Cache(error))) => {
                let text = super::report::sentence(&error);
                progress.show(Event::Warning(&format!("nothing is kept for the next run: {text}")));
            }
        }
        let dir = tempfile::tempdir().context("cannot make a temporary directory")?;
        write(&dir.path().join("disk.img"), &mut progress)?;
        Ok(Target::Temporary { dir })
    }

    /// A disk in another form is made raw for this machine: QEMU reads no format that somebody else wrote.
    pub fn unpacked(path: &Path) -> anyhow::Result<Target> {
        let dir = convert::raw_copy(&*convert::open(path)?)?;
        Ok(Target::Temporary { dir })
    }

    /// A disk to be read, as raw bytes: another form is made raw first.
    pub fn raw(path: &Path) -> anyhow::Result<Target> {
        match disk_at(path.as_os_str()) {
            Some(Found::Form(_)) => Target::unpacked(path),
            _ => Ok(Target::Disk(path.to_owned())),
        }
    }

    /// Where the disk is, as long as this lives.
    pub fn path(&self) -> PathBuf {
        match self {
            Target::Disk(path) => path.clone(),
            Target::Cached(disk) => disk.path.clone(),
            Target::Temporary { dir } => dir.path().join("disk.img"),
        }
    }
}

/// What a disk that boots in these ways needs, and no more than makes a difference: UEFI's loader may be missing on this
/// host, and BIOS has nothing for a vmlinux.
fn firmware_for(ways: &[BootChoice], arch: Architecture, form: Format) -> Firmware {
    let all = Firmware::all(arch);
    let uefi = ways.contains(&BootChoice::Uefi);
    let only_direct = !ways.is_empty() && ways.iter().all(|&way| way == BootChoice::Direct);
    match all.bios {
        // One disk serves BIOS and direct boot, so that trying the other does not build another.
        true => Firmware { bios: !(only_direct && form == Format::Vmlinux), uefi },
        false => Firmware { bios: false, uefi: !only_direct },
    }
}

/// What is for building is not for a disk that exists.
fn refuse_build_options(disk: &options::Disk, shown: &str) -> Result<(), WithHint> {
    match disk.given() {
        None => Ok(()),
        Some(option) => Err(WithHint {
            message: format!("{option} is for building a disk, and this is one: {shown}"),
            hint: format!("omit {option}, or run the image the disk was made from"),
        }),
    }
}

/// The variable that names the kernel of disks that `run` and `test` make.
const KERNEL: &str = "BOOTDISK_KERNEL";

/// With the kernel of the environment, where none was asked for. What `build` writes depends on no environment.
fn with_kernel(disk: &options::Disk) -> options::Disk {
    let named = || std::env::var_os(KERNEL).filter(|name| !name.is_empty());
    options::Disk { kernel: disk.kernel.clone().or_else(named), ..disk.clone() }
}

/// A disk that a path names.
pub enum Found {
    /// As it is.
    Disk(recognise::Disk),
    /// In a form that is read.
    Form(&'static str),
}

/// The disk that a path names rather than an image.
pub fn disk_at(target: &OsStr) -> Option<Found> {
    match recognise::path(Path::new(target)).ok().filter(|_| target != "-")? {
        Kind::Disk(disk) => Some(Found::Disk(disk)),
        kind => kind.form().map(Found::Form),
    }
}

/// Kernel and initramfs of a disk as files, for as long as the machine starts.
pub struct DirectBoot {
    dir: tempfile::TempDir,
    cmdline: String,
}

impl DirectBoot {
    /// Writes them to a temporary folder.
    pub fn take(files: BootFiles) -> anyhow::Result<DirectBoot> {
        let dir = tempfile::tempdir().context("cannot make a temporary directory")?;
        let kernel = File::create(dir.path().join("kernel")).and_then(|mut file| files.copy_kernel(&mut file));
        kernel.context("cannot write the kernel for direct boot")?;
        let initramfs = File::create(dir.path().join("initramfs"));
        let initramfs = initramfs.and_then(|mut file| files.copy_initramfs(&mut file));
        initramfs.context("cannot write the initramfs for direct boot")?;
        Ok(DirectBoot { dir, cmdline: files.command_line })
    }

    /// As a machine wants them.
    pub fn boot(&self) -> Boot {
        Boot::Direct {
            kernel: self.dir.path().join("kernel"),
            initrd: Some(self.dir.path().join("initramfs")),
            cmdline: self.cmdline.clone(),
        }
    }
}

/// Where kernel and initramfs lie on a disk.
pub fn boot_files_at(path: &Path) -> anyhow::Result<BootFilesAt> {
    let files = Existing::open(path)?.boot_files()?;
    let initramfs: Places = files.initrds.iter().flat_map(|initrd| initrd.places()).copied().collect();
    // One after the other is as good as one only if nothing has to be put between them.
    if scattered::size(&initramfs) != files.initramfs_size() {
        bail!("the disk has several initial RAM disks, which cannot be used as one");
    }
    Ok(BootFilesAt { kernel: files.kernel.places().to_vec(), initramfs })
}
