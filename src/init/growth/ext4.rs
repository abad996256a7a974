//! Enlarging a mounted ext4, in steps.
//!
//! A step is one call of the kernel's, which nothing can interrupt and which ends with an empty journal. So a step is
//! what can take a moment, and what a machine that loses its power has to replay. Source: the kernel's
//! fs/ext4/resize.c and fs/ext4/ioctl.c.

use super::pace::Pace;
use crate::init::superblock::Superblock;
use std::fs::File;
use std::ops::ControlFlow;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::Instant;

// EXT4_IOC_RESIZE_FS
nix::ioctl_write_ptr!(resize_to, b'f', 16, u64);

/// How far it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grown {
    /// There was nothing to do.
    Not,
    /// All the way.
    Whole,
    /// Until `between` broke off.
    Partly,
}

/// How large the file system is between two steps, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    pub begin: u64,
    pub now: u64,
    pub end: u64,
}

/// Enlarges the file system on `device`, mounted at `mounted_at`, to what `length` bytes hold. Before every step but
/// the first, `between` is asked whether to go on.
pub fn grow(
    device: &Path,
    mounted_at: &str,
    length: u64,
    mut between: impl FnMut(Progress) -> ControlFlow<()>,
) -> Result<Grown, String> {
    let begin = read(device)?;
    let Some((superblock, end)) = begin.and_then(|found| Some((found, found.blocks_for(length)?))) else {
        return Ok(Grown::Not);
    };
    let root = File::open(mounted_at).map_err(|error| format!("it cannot be opened: {error}"))?;
    let mut pace = Pace::new(superblock.block, superblock.unit);
    let mut now = superblock.blocks;
    loop {
        let (next, started) = (pace.next(now, end), Instant::now());
        resize(&root, next)?;
        pace.took(started.elapsed());
        let before = now;
        now = read(device)?.map_or(now, |superblock| superblock.blocks);
        if next == end && now > before {
            return Ok(Grown::Whole);
        }
        if now < next {
            return Err(format!("the kernel left it at {now} blocks instead of {next}"));
        }
        let bytes = |blocks: u64| blocks.saturating_mul(superblock.block);
        if between(Progress { begin: bytes(superblock.blocks), now: bytes(now), end: bytes(end) }).is_break() {
            return Ok(Grown::Partly);
        }
    }
}

fn read(device: &Path) -> Result<Option<Superblock>, String> {
    Superblock::read(device).map_err(|error| format!("its superblock cannot be read: {error}"))
}

fn resize(root: &File, blocks: u64) -> Result<(), String> {
    // SAFETY: the kernel reads one number of 8 bytes, which lives during the call.
    unsafe { resize_to(root.as_raw_fd(), &blocks) }
        .map(drop)
        .map_err(|errno| format!("the kernel does not enlarge it to {blocks} blocks: {}", errno.desc()))
}
