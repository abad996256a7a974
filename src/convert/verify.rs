//! `--verify`: a disk that was written, read back before it has its name, by readers that share nothing with the
//! writers but the formats.
//!
//! ```text
//!  tables ─▶ both whole, partitions where the layout has them
//!  ESP    ─▶ kernel, initramfs and command line: every byte
//!  root   ─▶ every checksum of the metadata; every name, attribute, link and body as in the image, which is read
//!            once more
//!  hashes ─▶ superblock, every block of the tree, every block of the root
//! ```

use super::Verity;
use crate::boot::existing::Existing;
use crate::contents::body::Looker;
use crate::contents::of_disk::read;
use crate::contents::of_image::{ImageError, scan};
use crate::contents::{Root, compare};
use crate::disk::gpt::{Layout, Role};
use crate::disk::table;
use crate::ext4;
use crate::ext4::read::FileSystem;
use crate::formats::ReadAt;
use crate::formats::verity::Superblock;
use crate::image::Image;
use crate::verity::check;
use anyhow::{Context, Result, anyhow, bail, ensure};
use std::fs::File;

/// What the disk must have.
#[derive(Clone, Copy)]
pub struct Expected<'a> {
    /// Where its partitions are.
    pub layout: &'a Layout,
    /// The whole kernel file.
    pub kernel: &'a [u8],
    /// The whole initramfs.
    pub initramfs: &'a [u8],
    /// The kernel's command line.
    pub command_line: &'a str,
    /// The root's hashes, where it is verified.
    pub verity: Option<&'a Verity>,
    /// Whether it has an EFI loader.
    pub uefi: bool,
    /// The userland, with digests: what [`expected_userland`] makes of an image.
    pub userland: &'a Root,
}

/// Reads the disk.
///
/// # Errors
/// What differs, or cannot be read.
pub fn verify(file: &File, expected: &Expected<'_>) -> Result<()> {
    let differs = || "the disk differs from what was written";
    let disk = Existing::of(file.try_clone().with_context(differs)?).with_context(differs)?;
    ensure!(
        table::both_are_whole(file).with_context(differs)?,
        "the disk differs from what was written: a partition table is damaged"
    );
    partitions(&disk, expected.layout).with_context(differs)?;
    boot_files(&disk, expected).with_context(differs)?;
    let root = expected.layout.partition(Role::Root).ok_or_else(|| anyhow!("it has no root"))?;
    userland(file, root.offset(), expected.userland).with_context(differs)?;
    if let Some(verity) = expected.verity {
        let hashes = expected.layout.partition(Role::Verity).ok_or_else(|| anyhow!("it has no hashes of its root"))?;
        let found = Superblock::read(file, hashes.offset()).with_context(differs)??;
        ensure!(found == verity.superblock, "the disk differs from what was written: the hashes are of another root");
        let root = (file as &dyn ReadAt, root.offset());
        check(root, (file, hashes.offset()), &found, &verity.root_hash).with_context(differs)?;
    }
    if let Some(modules) = expected.layout.partition(Role::Modules) {
        read_whole(file, modules.offset()).with_context(differs)?;
    }
    Ok(())
}

/// Reads an image once more, for the tree that its disk must have.
///
/// # Errors
/// As of every reading of its layers.
pub fn expected_userland(image: &Image) -> Result<Root, ImageError> {
    let mut tree = scan(image, image.layers.len(), true)?.tree;
    let inodes: Vec<_> = tree.inodes().map(|(id, _)| id).collect();
    for id in inodes {
        let inode = tree.inode(id);
        let attrs = ext4::stored(&inode.attrs, inode.is_directory());
        tree.set_attrs(id, attrs);
    }
    Ok(tree)
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
    ensure!(found.read_kernel()? == expected.kernel, "the kernel is another");
    ensure!(found.initrds.len() == 1 && found.read_initramfs()? == expected.initramfs, "the initramfs is another");
    ensure!(found.command_line == expected.command_line, "the command line is another");
    ensure!(disk.boots_under_uefi()? == expected.uefi, "the EFI loader is not as it should be");
    Ok(())
}

/// Compares every name, attribute, link and body of the file system at `offset` with the image's.
fn userland(file: &File, offset: u64, expected: &Root) -> Result<()> {
    let found = read_whole(file, offset)?;
    let differences = compare::paths(expected, &found);
    if let Some(first) = differences.items.first() {
        let count = differences.count();
        let what = if first.what.is_empty() { "name".to_owned() } else { first.what.join(", ") };
        let more = if count > 1 { format!(", and {} more", count - 1) } else { String::new() };
        bail!("its userland is another: {} ({what}){more}", first.path);
    }
    Ok(())
}

/// All of the file system at `offset`: every checksum is verified, every body hashed.
fn read_whole(file: &File, offset: u64) -> Result<Root> {
    let fs = FileSystem::open(file, offset)?;
    fs.verify_groups()?;
    let read = read(&fs, &mut Looker::new(true))?;
    match read.notes.first() {
        Some(note) => bail!("{note}"),
        None => Ok(read.tree),
    }
}
