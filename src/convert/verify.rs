//! `--verify`: a disk that was written, read back before it has its name, by readers that share nothing with the
//! writers but the formats.
//!
//! ```text
//!  tables ─▶ both whole, partitions where the layout has them
//!  ESP    ─▶ kernel, initramfs and command line: every byte
//!  root   ─▶ every checksum of the metadata, every name, every body as far as it can be read
//! ```
//!
//! ext4 has no checksums of bodies: that they are the image's is known of the layers' digests, not from here.

use crate::boot::existing::Existing;
use crate::disk::gpt::{Layout, Role};
use crate::disk::table;
use crate::ext4::read::{FileSystem, Kind, ReadError};
use anyhow::{Context, Result, anyhow, ensure};
use std::collections::HashSet;
use std::fs::File;
use std::ops::ControlFlow;

/// Bytes of a body read at once.
const PIECE: usize = 1 << 20;

/// What the disk must have.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// Where its partitions are.
    pub layout: &'a Layout,
    /// The whole kernel file.
    pub kernel: &'a [u8],
    /// The whole initramfs.
    pub initramfs: &'a [u8],
    /// The kernel's command line.
    pub command_line: &'a str,
    /// Whether it has an EFI loader.
    pub uefi: bool,
    /// Of the userland, its root left out.
    pub names: u64,
    /// Bytes of bodies; a file of several names counts once.
    pub bytes: u64,
}

/// Reads the disk.
///
/// # Errors
/// What differs, or cannot be read.
pub fn verify(file: &File, expected: &Expected<'_>) -> Result<()> {
    let differs = || "the disk is not what was written";
    let disk = Existing::of(file.try_clone().with_context(differs)?).with_context(differs)?;
    ensure!(
        table::both_are_whole(file).with_context(differs)?,
        "the disk is not what was written: a partition table is damaged"
    );
    partitions(&disk, expected.layout).with_context(differs)?;
    boot_files(&disk, expected).with_context(differs)?;
    let root = expected.layout.partition(Role::Root).ok_or_else(|| anyhow!("it has no root"))?;
    let counted = userland(file, root.offset()).with_context(differs)?;
    compare(counted, (expected.names, expected.bytes)).with_context(differs)
}

fn partitions(disk: &Existing, layout: &Layout) -> Result<()> {
    for found in disk.partitions() {
        let role = found.role.ok_or_else(|| anyhow!("a partition of an unknown type at byte {}", found.offset))?;
        let place = layout.partition(role).map(|partition| (partition.offset(), partition.bytes()));
        ensure!(place == Some((found.offset, found.length)), "a partition is elsewhere, at byte {}", found.offset);
    }
    ensure!(disk.partitions().len() == layout.partitions().len(), "a partition is missing");
    Ok(())
}

fn boot_files(disk: &Existing, expected: &Expected<'_>) -> Result<()> {
    let found = disk.boot_files()?;
    ensure!(found.kernel == expected.kernel, "the kernel is another");
    ensure!(found.initramfs == expected.initramfs, "the initramfs is another");
    ensure!(found.command_line == expected.command_line, "the command line is another");
    ensure!(disk.boots_under_uefi()? == expected.uefi, "the EFI loader is not as it should be");
    Ok(())
}

/// Names, and bytes of bodies, of the file system at `offset`, all of it read.
fn userland(file: &File, offset: u64) -> Result<(u64, u64)> {
    let fs = FileSystem::open(file, offset)?;
    fs.verify_groups()?;
    let (mut names, mut bytes, mut met) = (0, 0, HashSet::new());
    let mut piece = vec![0; PIECE];
    let mut failed: Option<ReadError> = None;
    fs.walk(|path, inode| {
        names += u64::from(!path.is_empty());
        let mut read = || -> Result<(), ReadError> {
            fs.attributes(inode)?;
            match inode.kind {
                Kind::File if met.insert(inode.number) => {
                    bytes += inode.size;
                    for at in (0..inode.size).step_by(PIECE) {
                        let length = (inode.size - at).min(PIECE as u64) as usize;
                        fs.read_file(inode, at, &mut piece[..length])?;
                    }
                }
                Kind::Symlink => _ = fs.target(inode)?,
                _ => {}
            }
            Ok(())
        };
        failed = read().err();
        if failed.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    failed.map_or(Ok(()), Err)?;
    Ok((names, bytes))
}

fn compare(found: (u64, u64), expected: (u64, u64)) -> Result<()> {
    ensure!(found.0 == expected.0, "it has {} names instead of {}", found.0, expected.0);
    ensure!(found.1 == expected.1, "its files have {} bytes instead of {}", found.1, expected.1);
    Ok(())
}
