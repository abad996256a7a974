//! Growth: a disk that was made larger gives its new room to the root file system, while that is mounted.
//!
//! ```text
//!  backup table to the new end ─▶ last partition enlarged ─▶ kernel told (BLKPG) ─▶ ext4 enlarged (EXT4_IOC_RESIZE_FS)
//! ```
//!
//! Each step is looked at by itself, so that a boot goes on where an earlier one lost its power, or was asked to stop. A
//! disk whose table is not bootdisk's is never written to. Nothing here can fail the boot: what does not grow works as
//! before.
//!
//! Not supported: shrinking, file systems other than ext4.

pub mod ext4;
mod pace;
pub mod plan;
mod progress;
pub mod table;

use super::host::Host;
use super::{log, partition};
use ext4::Grown;
use progress::Watch;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::ControlFlow;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use table::Table;

/// Enlarges the mounted root on `device` with this partition GUID, if its disk has room behind it. `host` is told how
/// far it is. Whether it got there or gave up; else `host` wants the machine to stop.
pub fn grow(device: &Path, partuuid: &str, mounted_at: &str, host: &mut Host) -> ControlFlow<()> {
    match try_grow(device, partuuid, mounted_at, host) {
        Ok(Grown::Not) => {}
        Ok(Grown::Whole) => log::info("root file system enlarged"),
        Ok(Grown::Partly) => return ControlFlow::Break(()),
        Err(reason) => log::warning(format!("the root file system does not have all of its disk: {reason}")),
    }
    ControlFlow::Continue(())
}

/// A partition and the disk it is on.
struct Place {
    disk: PathBuf,
    number: i32,
    /// Bytes, as the kernel has them now.
    length: u64,
    sector: u64,
    /// All of the disk, in sectors.
    sectors: u64,
}

fn try_grow(device: &Path, partuuid: &str, mounted_at: &str, host: &mut Host) -> Result<Grown, String> {
    let Ok(guid) = partuuid.parse() else { return Ok(Grown::Not) };
    let place = Place::of(device).map_err(|error| format!("its disk is not found: {error}"))?;
    let disk = File::open(&place.disk).map_err(|error| format!("its disk cannot be read: {error}"))?;
    // A table that is damaged is none of ours to mend: whoever finds it so says so, and the root stays as it is.
    let Ok(Some(table)) = Table::read(&disk, place.sector, &guid) else { return Ok(Grown::Not) };
    let mut mbr = vec![0; place.sector as usize];
    disk.read_exact_at(&mut mbr, 0).map_err(|error| format!("the first sector cannot be read: {error}"))?;
    let plan = plan::plan(&table, &mbr, place.sectors);
    write(&place.disk, place.sector, &plan)
        .map_err(|error| format!("the partition table cannot be written: {error}"))?;

    let length = (plan.root.1 - plan.root.0 + 1).saturating_mul(place.sector);
    if length > place.length {
        let start = plan.root.0.saturating_mul(place.sector);
        resize_partition(&disk, place.number, start, length)
            .map_err(|error| format!("the kernel does not take the larger partition: {error}"))?;
        log::info(format!("root partition enlarged from {} to {length} bytes", place.length));
    }
    let mut watch = Watch::new(host);
    ext4::grow(device, mounted_at, length.max(place.length), |progress| watch.step(progress))
}

impl Place {
    fn of(device: &Path) -> io::Result<Place> {
        let name = device.strip_prefix("/dev").unwrap_or(device).to_string_lossy().replace('/', "!");
        // A link into the disk's folder, which the partition's own folder is in.
        let folder = fs::canonicalize(Path::new("/sys/class/block").join(name))?;
        let disk = folder.parent().ok_or(io::ErrorKind::NotFound)?;
        let number = |path: PathBuf| -> io::Result<u64> {
            fs::read_to_string(path)?.trim().parse().map_err(|_| io::ErrorKind::InvalidData.into())
        };
        let sector = number(disk.join("queue/logical_block_size"))?;
        // sysfs counts in units of 512 bytes whatever a sector is.
        let bytes = |path: PathBuf| Ok::<u64, io::Error>(number(path)?.saturating_mul(512));
        if !(512..=4096).contains(&sector) {
            return Err(io::Error::other(format!("sectors of {sector} bytes")));
        }
        Ok(Place {
            disk: partition::node(&disk.file_name().unwrap_or_default().to_string_lossy()),
            number: number(folder.join("partition"))? as i32,
            length: bytes(folder.join("size"))?,
            sector,
            sectors: bytes(disk.join("size"))? / sector,
        })
    }
}

/// Each write is on the disk, past all caches, before the next begins.
fn write(disk: &Path, sector: u64, plan: &plan::Plan) -> io::Result<()> {
    if plan.writes.is_empty() {
        return Ok(());
    }
    let disk = OpenOptions::new().write(true).open(disk)?;
    for write in &plan.writes {
        disk.write_all_at(&write.bytes, write.lba * sector)?;
        disk.sync_data()?;
    }
    Ok(())
}

/// Tells the kernel of a partition's new length; it may be in use (linux/blkpg.h).
fn resize_partition(disk: &File, number: i32, start: u64, length: u64) -> nix::Result<()> {
    const BLKPG_RESIZE_PARTITION: i32 = 3;
    #[repr(C)]
    struct Partition {
        start: i64,
        length: i64,
        number: i32,
        names: [[u8; 64]; 2],
    }
    #[repr(C)]
    struct Argument {
        op: i32,
        flags: i32,
        length: i32,
        data: *const Partition,
    }
    let partition = Partition { start: start as i64, length: length as i64, number, names: [[0; 64]; 2] };
    let length = size_of::<Partition>() as i32;
    let argument = Argument { op: BLKPG_RESIZE_PARTITION, flags: 0, length, data: &raw const partition };
    nix::ioctl_write_ptr_bad!(blkpg, 0x1269, Argument);
    // SAFETY: both structures are laid out as linux/blkpg.h has them and live during the call.
    unsafe { blkpg(disk.as_raw_fd(), &argument) }.map(drop)
}
