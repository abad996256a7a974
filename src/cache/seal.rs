//! What a cached disk was when it was made, so that one that has changed since is noticed.
//!
//! ```text
//! KEY.seal    {"inode": 12, "size": 702545920, "changed": [1795721901, 120034981], "sha256": "…"}
//! ```
//!
//! Inode, size and time of last change (st_ctime, which no program sets) cost one stat(2). Only where one of them differs
//! does the content decide: a disk that was copied back, or whose mode was changed, is still the same disk. A change
//! within one tick of the file system's clock after the disk was made leaves its time as it is, so a seal is believed
//! without a look at the content only when it is younger than the disk by more than that.

use super::files;
use crate::hex::hex;
use crate::holes;
use crate::whole_file;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::{File, Metadata, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The owner's alone: an image may hold what nobody else should read.
pub const MODE: u32 = 0o600;
/// Bytes that are hashed together. A piece of zeros counts for nothing, so that holes need not be read.
const PIECE: usize = 256 << 10;
/// Longest tick of a file system's clock, in nanoseconds: 10 ms at 100 Hz, twice.
const TICK: i128 = 20_000_000;
/// Longest seal that is read, in bytes.
const MAX: u64 = 4096;

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Seal {
    inode: u64,
    size: u64,
    /// Seconds and nanoseconds.
    changed: (i64, i64),
    sha256: String,
}

impl Seal {
    fn of(facts: &Metadata, sha256: String) -> Seal {
        Seal { inode: facts.ino(), size: facts.len(), changed: (facts.ctime(), facts.ctime_nsec()), sha256 }
    }

    /// The seal beside a disk, and when it was written in nanoseconds. What cannot be read is none.
    fn read(disk: &Path) -> Option<(Seal, i128)> {
        let file = files::read(&place(disk)).ok()?;
        let written = file.metadata().ok().filter(Metadata::is_file)?;
        let mut text = Vec::new();
        file.take(MAX).read_to_end(&mut text).ok()?;
        Some((serde_json::from_slice(&text).ok()?, nanoseconds((written.mtime(), written.mtime_nsec()))))
    }

    fn write(&self, disk: &Path) -> io::Result<()> {
        whole_file::write(&place(disk), &serde_json::to_vec(self)?)
    }
}

fn nanoseconds((seconds, rest): (i64, i64)) -> i128 {
    i128::from(seconds) * 1_000_000_000 + i128::from(rest)
}

/// Where the seal of a disk is.
pub fn place(disk: &Path) -> PathBuf {
    disk.with_extension("seal")
}

/// Makes the disk its owner's alone and notes what it is.
pub fn put_on(disk: &Path) -> io::Result<()> {
    std::fs::set_permissions(disk, Permissions::from_mode(MODE))?;
    let file = files::read(disk)?;
    Seal::of(&file.metadata()?, content(&file)?).write(disk)
}

/// Whether the disk is what it was when it was sealed. What cannot be found out is no.
pub fn is_whole(disk: &Path) -> bool {
    let Some((seal, written)) = Seal::read(disk) else { return false };
    let Ok(facts) = disk.symlink_metadata() else { return false };
    let same = Seal::of(&facts, seal.sha256.clone()) == seal && written - nanoseconds(seal.changed) > TICK;
    facts.is_file() && (same || has_content(disk, &seal).unwrap_or(false))
}

/// Compares the content, and seals anew what is right.
fn has_content(disk: &Path, seal: &Seal) -> io::Result<bool> {
    let file = files::read(disk)?;
    if file.metadata()?.len() != seal.size || content(&file)? != seal.sha256 {
        return Ok(false);
    }
    file.set_permissions(Permissions::from_mode(MODE))?;
    // Without a new seal the next look takes as long as this one.
    _ = Seal::of(&file.metadata()?, seal.sha256.clone()).write(disk);
    Ok(true)
}

/// SHA-256 of the size and of each piece that is not all zeros, its place before it. Copies have the same whatever
/// holes they have.
fn content(file: &File) -> io::Result<String> {
    let size = file.metadata()?.len();
    let mut hash = Sha256::new_with_prefix(size.to_le_bytes());
    let (mut piece, mut at) = (vec![0; PIECE], 0);
    // On a file system that knows no holes all of it is data.
    while let Some(data) = holes::data(file, at, size).unwrap_or((at < size).then_some(at..size)) {
        at = data.start / PIECE as u64 * PIECE as u64;
        let length = (size - at).min(PIECE as u64) as usize;
        file.read_exact_at(&mut piece[..length], at)?;
        if !holes::is_zero(&piece[..length]) {
            hash.update(at.to_le_bytes());
            hash.update(&piece[..length]);
        }
        at += length as u64;
    }
    Ok(hex(hash.finalize()))
}
