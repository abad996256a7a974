//! The writer while layers are read: bodies go to their final blocks, everything else waits for the seal.

use super::allocator::{Allocator, CLAIM_MAX};
use super::body::{Body, Run, push_run};
use super::format::BLOCK;
use super::geometry::{Descriptors, descriptor_room};
use super::stage::Stage;
use crate::output::Output;
use crate::rootfs::{BodySink, Time};
use std::io;

const BLOCK_BYTES: usize = BLOCK as usize;
/// Largest file ext4 holds with blocks of 4096 bytes: 2^32 - 1 blocks.
const FILE_MAX: u64 = u32::MAX as u64 * BLOCK;

/// What a file system is made with. Nothing else reaches its bytes but the tree and the bodies.
#[derive(Clone, Debug)]
pub struct Params {
    /// `s_uuid`, in the order the bytes have on the disk.
    pub uuid: [u8; 16],
    /// `s_hash_seed`: sorts large directories.
    pub hash_seed: [u8; 16],
    /// `s_volume_name`, at most 16 bytes.
    pub label: Vec<u8>,
    /// Bytes of the partition, or `None` for as many as are needed, the free space included.
    pub size: Option<u64>,
    /// What is left free when `size` is `None`.
    pub free: Free,
    /// Most bytes of blocks counted before giving up, whatever the size.
    pub limit: u64,
    /// When the file system was made.
    pub made_at: Time,
    /// Size of the group descriptors.
    pub descriptors: Descriptors,
}

/// What is left free in a file system whose size nobody has named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Free {
    /// The larger of 512 MiB and a quarter of what is used.
    #[default]
    Usual,
    /// So many bytes.
    Bytes(u64),
    /// As little as a boot needs, and the smallest journal.
    Least,
}

/// What [`BodySink`] calls of the writer return inside an [`io::Error`] when the output is not to blame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// More blocks than [`Params::limit`] allows: a decompression bomb, or a limit set too low.
    #[error("the files need more than {limit} bytes")]
    LimitExceeded {
        /// [`Params::limit`].
        limit: u64,
    },
    /// More than 2^32 - 1 blocks.
    #[error("a file of {size} bytes, more than ext4 can hold")]
    FileTooLarge {
        /// Bytes.
        size: u64,
    },
    /// More or fewer bytes arrived than announced.
    #[error("a file body of {got} bytes where {size} were announced")]
    WrongLength {
        /// Announced bytes.
        size: u64,
        /// Bytes that came.
        got: u64,
    },
}

impl From<BodyError> for io::Error {
    fn from(error: BodyError) -> Self {
        io::Error::new(io::ErrorKind::InvalidData, error)
    }
}

/// Writes one ext4 file system: bodies through [`BodySink`], then [`Writer::seal`].
pub struct Writer<'a> {
    pub(super) output: &'a dyn Output,
    pub(super) params: Params,
    pub(super) room: u64,
    pub(super) blocks: Allocator,
    pub(super) stage: Stage<'a>,
    /// The highest frontier there was, in blocks: what [`Params::limit`] is compared with.
    pub(super) peak: u64,
    open: Open,
}

/// The body that is being written.
#[derive(Default)]
struct Open {
    size: u64,
    position: u64,
    runs: Vec<Run>,
    /// Blocks taken for this body and not used yet.
    claim: u64,
    claimed: u64,
    /// The begun block, and whether anything but a hole is in it.
    partial: Vec<u8>,
    partial_has_data: bool,
}

impl<'a> Writer<'a> {
    /// A file system that begins at byte 0 of `output`.
    pub fn new(output: &'a dyn Output, params: Params) -> Self {
        let room = descriptor_room(params.size, params.descriptors);
        let end = params.size.map_or(u64::MAX / BLOCK, |size| size / BLOCK);
        Writer {
            output,
            room,
            blocks: Allocator::new(room),
            stage: Stage::new(output, end),
            peak: 0,
            params,
            open: Open::default(),
        }
    }

    /// Puts whole blocks of the open body at its next place.
    fn put_blocks(&mut self, mut data: &[u8]) -> io::Result<()> {
        while !data.is_empty() {
            self.claim_more()?;
            let open = &mut self.open;
            let count = open.claimed.min((data.len() / BLOCK_BYTES) as u64);
            let (now, later) = data.split_at(count as usize * BLOCK_BYTES);
            self.stage.put(open.claim, now)?;
            let logical = (open.position / BLOCK) as u32;
            push_run(&mut open.runs, Run { logical, length: count as u32, start: open.claim });
            open.claim += count;
            open.claimed -= count;
            open.position += count * BLOCK;
            data = later;
        }
        Ok(())
    }

    fn claim_more(&mut self) -> io::Result<()> {
        let open = &mut self.open;
        if open.claimed > 0 {
            return Ok(());
        }
        let wanted = (open.size - open.position).div_ceil(BLOCK).clamp(1, CLAIM_MAX);
        open.claim = self.blocks.take(wanted);
        open.claimed = wanted;
        self.peak = self.peak.max(self.blocks.frontier());
        if self.peak.saturating_mul(BLOCK) > self.params.limit {
            return Err(BodyError::LimitExceeded { limit: self.params.limit }.into());
        }
        Ok(())
    }

    fn release_claim(&mut self) {
        self.blocks.give(self.open.claim, self.open.claimed);
        self.open.claimed = 0;
    }

    /// Where the next byte goes, counting those of the begun block.
    fn position(&self) -> u64 {
        self.open.position + self.open.partial.len() as u64
    }

    fn check_room(&self, more: u64) -> io::Result<()> {
        let got = self.position().saturating_add(more);
        if got > self.open.size {
            return Err(BodyError::WrongLength { size: self.open.size, got }.into());
        }
        Ok(())
    }

    /// Ends the begun block: writes it, or leaves it out when it is all hole.
    fn end_partial(&mut self) -> io::Result<()> {
        let mut partial = std::mem::take(&mut self.open.partial);
        let result = if self.open.partial_has_data {
            partial.resize(BLOCK_BYTES, 0);
            self.put_blocks(&partial)
        } else {
            self.open.position += BLOCK;
            Ok(())
        };
        partial.clear();
        self.open.partial = partial;
        self.open.partial_has_data = false;
        result
    }

    fn free_runs(&mut self, runs: impl Iterator<Item = Run>) {
        for run in runs {
            self.blocks.give(run.start, run.length.into());
            self.stage.abandon(run.start, run.length.into());
        }
    }
}

impl BodySink for Writer<'_> {
    type Body = Body;

    fn begin(&mut self, size: u64) -> io::Result<()> {
        self.abandon();
        if size > FILE_MAX {
            return Err(BodyError::FileTooLarge { size }.into());
        }
        self.open.size = size;
        Ok(())
    }

    fn write(&mut self, mut data: &[u8]) -> io::Result<()> {
        self.check_room(data.len() as u64)?;
        if !self.open.partial.is_empty() {
            let (now, later) = data.split_at(data.len().min(BLOCK_BYTES - self.open.partial.len()));
            self.open.partial.extend_from_slice(now);
            self.open.partial_has_data |= !now.is_empty();
            data = later;
            if self.open.partial.len() == BLOCK_BYTES {
                self.end_partial()?;
            }
        }
        let (whole, rest) = data.split_at(data.len() - data.len() % BLOCK_BYTES);
        self.put_blocks(whole)?;
        if !rest.is_empty() {
            self.open.partial.extend_from_slice(rest);
            self.open.partial_has_data = true;
        }
        Ok(())
    }

    fn hole(&mut self, mut length: u64) -> io::Result<()> {
        self.check_room(length)?;
        if !self.open.partial.is_empty() {
            let now = length.min((BLOCK_BYTES - self.open.partial.len()) as u64);
            self.open.partial.resize(self.open.partial.len() + now as usize, 0);
            length -= now;
            if self.open.partial.len() == BLOCK_BYTES {
                self.end_partial()?;
            }
        }
        if length >= BLOCK {
            self.release_claim();
            self.open.position += length - length % BLOCK;
        }
        self.open.partial.resize(self.open.partial.len() + (length % BLOCK) as usize, 0);
        Ok(())
    }

    fn finish(&mut self) -> io::Result<Body> {
        let got = self.position();
        if got != self.open.size {
            let size = self.open.size;
            self.abandon();
            return Err(BodyError::WrongLength { size, got }.into());
        }
        if !self.open.partial.is_empty()
            && let Err(error) = self.end_partial()
        {
            self.abandon();
            return Err(error);
        }
        self.release_claim();
        let body = Body::new(&self.open.runs);
        self.open.runs.clear();
        self.open.position = 0;
        Ok(body)
    }

    fn abandon(&mut self) {
        self.release_claim();
        let mut runs = std::mem::take(&mut self.open.runs);
        self.free_runs(runs.iter().copied());
        runs.clear();
        let mut partial = std::mem::take(&mut self.open.partial);
        partial.clear();
        self.open = Open { runs, partial, ..Open::default() };
    }

    fn discard(&mut self, body: Body) {
        self.free_runs(body.runs());
    }
}
