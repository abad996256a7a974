//! What `run` and `test` boot: a disk as it is, or one made from an image and kept in the cache.

use super::cancel::Cancel;
use super::machine::BootChoice;
use super::options::{self, Global};
use super::progress::Progress;
use super::report::WithHint;
use super::{env, plan};
use crate::arch::Architecture;
use crate::boot::existing::{BootFiles, Existing};
use crate::cache::{CachedDisk, DiskCache};
use crate::convert::{Event, Firmware, Writing};
use crate::disk::table;
use crate::kernel::Bundle;
use crate::kernel::image::Format;
use crate::qemu::Boot;
use crate::qemu::paste::BootFilesAt;
use crate::source::SourceError;
use anyhow::{Context, bail};
use std::ffi::OsStr;
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
    pub fn open(global: &Global, target: &OsStr, disk: &options::Disk, ways: &[BootChoice]) -> anyhow::Result<Target> {
        let shown = crate::escape::path(Path::new(target));
        if is_disk(target) {
            if let Some(option) = disk.given() {
                return Err(WithHint {
                    message: format!("{option} is for building a disk, and this is one: {shown}"),
                    hint: format!("leave {option} away, or run the image the disk was made from"),
                }
                .into());
            }
            return Ok(Target::Disk(target.into()));
        }
        let _cancel = Cancel::on_signals().context("cannot listen for signals")?;
        let mut progress = Progress::beside_a_workload(global);
        let firmware = |arch, bundle: &Bundle| firmware_for(ways, arch, bundle.image.form);
        let plan = plan::open_image(target, disk).and_then(|image| {
            plan::open(image, target, disk, firmware, &Default::default(), &mut |event| progress.show(event))
        });
        let plan = plan.map_err(|error| neither(error, target))?;
        let cache = env::xdg("XDG_CACHE_HOME", ".cache").and_then(|dir| DiskCache::open(dir.join("bootdisk/disks")));
        if let Err(error) = &cache {
            progress.show(Event::Warning(&format!("nothing is kept for the next run: {error:#}")));
        }
        let mut build =
            |path: &Path| plan.write(path, &Writing::default(), &mut |event| progress.show(event)).map(|_| ());
        match cache {
            Ok(cache) => Ok(Target::Cached(cache.get(&plan.key(), build)?)),
            Err(_) => {
                let dir = tempfile::tempdir().context("cannot make a temporary directory")?;
                build(&dir.path().join("disk.img"))?;
                Ok(Target::Temporary { dir })
            }
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

/// What was no disk may be no image either, and then the sentence says both.
fn neither(error: anyhow::Error, target: &OsStr) -> anyhow::Error {
    use SourceError::{Empty, NoImageInArchive, NoLayout, NotAnArchive};
    let source = error.downcast_ref::<SourceError>();
    match source {
        Some(Empty | NoImageInArchive | NoLayout | NotAnArchive) if target != "-" => WithHint {
            message: format!("neither a disk nor an image: {}", crate::escape::path(Path::new(target))),
            hint: "run takes a disk of bootdisk build, or an image as docker save and skopeo copy write it".into(),
        }
        .into(),
        _ => error,
    }
}

/// Whether a path names a disk rather than an image: a file or block device with a GPT header in its second sector.
pub fn is_disk(target: &OsStr) -> bool {
    table::is_disk(Path::new(target))
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
        std::fs::write(dir.path().join("kernel"), &files.kernel).context("cannot write the kernel for direct boot")?;
        std::fs::write(dir.path().join("initramfs"), files.initramfs())
            .context("cannot write the initramfs for direct boot")?;
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
    let places = Existing::open(path)?.boot_places()?;
    let bytes = |pieces: &Vec<(u64, u64)>| pieces.iter().map(|(_, length)| length).sum::<u64>();
    // One after the other is as good as one only if nothing has to be put between them.
    let (_, before) = places.initrds.split_last().unwrap_or((&vec![], &[]));
    if before.iter().any(|pieces| bytes(pieces) % 4 != 0) {
        bail!("the disk has several initial RAM disks, which cannot be read from it as one");
    }
    Ok(BootFilesAt { kernel: places.kernel, initramfs: places.initrds.concat() })
}
