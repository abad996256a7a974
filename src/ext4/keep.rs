//! What a writer has so far, kept in a file, and a writer that goes on from there.
//!
//! ```text
//!  state   room, frontier, peak; free ranges; the tree with its bodies; pieces: start, blocks, checksum
//!  file    the pieces' blocks, each where it is in the file system; holes between them
//! ```
//!
//! The disk that is made from there is the one that the first writer would have made, byte for byte: places depend on the
//! order of requests and returns alone ([`Allocator`]), and nothing but the seal asks for sizes, identifiers and times.
//! What was given back and not yet erased is left out: it reads as zeros in the one as in the other.
//!
//! Blocks are shared with the file where the file system can do that (reflink), and copied otherwise. Either way each is
//! read and compared with its checksum, unless they are shared and whoever keeps the file knows that it has not changed since
//! it was written or compared. A piece that is not what it was, or a state that makes no sense, is no state.

use super::allocator::Allocator;
use super::body::{Body, Run};
use super::checksum::crc;
use super::format::BLOCK;
use super::geometry::descriptor_room;
use super::stage::Stage;
use super::writer::{Params, Writer};
use crate::output::{Output, share};
use crate::rootfs::{Kind, Pack, Tree, Unpack};
use std::fs::File;
use std::io;

/// Blocks of a piece, at most: 1 MiB.
const PIECE: u64 = 256;

/// Blocks that belong together.
struct Piece {
    start: u64,
    blocks: u64,
    sum: u32,
}

/// Bytes of the blocks that the tree's bodies are in.
pub fn live_bytes(tree: &Tree<Body>) -> u64 {
    live(tree).iter().map(|(_, blocks)| blocks * BLOCK).sum()
}

/// Whether as much lies in front of the first body as in nearly all file systems: only a writer with as much goes on from a
/// state, so others are not worth keeping.
pub fn has_usual_room(params: &Params) -> bool {
    descriptor_room(params.size, params.descriptors) == descriptor_room(None, params.descriptors)
}

/// The blocks of the tree's bodies as (start, length), ascending and joined.
fn live(tree: &Tree<Body>) -> Vec<(u64, u64)> {
    let bodies = tree.inodes().filter_map(|(_, inode)| match &inode.kind {
        Kind::File { body, .. } => Some(body),
        _ => None,
    });
    let mut runs: Vec<_> = bodies.flat_map(Body::runs).map(|run| (run.start, u64::from(run.length))).collect();
    runs.sort_unstable();
    let mut joined: Vec<(u64, u64)> = Vec::new();
    for (start, length) in runs {
        match joined.last_mut() {
            Some(last) if last.0 + last.1 == start => last.1 += length,
            _ => joined.push((start, length)),
        }
    }
    joined
}

fn pieces(ranges: &[(u64, u64)]) -> impl Iterator<Item = (u64, u64)> {
    let cut = |&(start, length): &(u64, u64)| {
        (0..length).step_by(PIECE as usize).map(move |skip| (start + skip, PIECE.min(length - skip)))
    };
    ranges.iter().flat_map(cut)
}

/// Has ranges of blocks of one file shared with another, where each has the block 0 of its file system. What of the first
/// is not on the storage yet is written at every call, and waited for.
fn share_all(from: (&File, u64), to: (&File, u64), ranges: &[(u64, u64)]) -> io::Result<()> {
    ranges.iter().try_for_each(|&(start, blocks)| {
        share((from.0, from.1 + start * BLOCK), (to.0, to.1 + start * BLOCK), blocks * BLOCK)
    })
}

/// The same where all of the first file was just written.
fn share_new(from: (&File, u64), to: (&File, u64), ranges: &[(u64, u64)]) -> io::Result<()> {
    // Whether it can be shared at all is found out before anything is waited for.
    let (first, rest) = ranges.split_at(ranges.len().min(1));
    share_all(from, to, first)?;
    if !rest.is_empty() {
        // Once is faster.
        from.0.sync_data()?;
    }
    share_all(from, to, rest)
}

impl Writer<'_> {
    /// Writes the blocks of all bodies of `tree`, which this writer has stored, to `file`, each where it is in the file
    /// system, and appends everything else that [`resume`] needs to `state`: whether the file shares the blocks. Nothing where
    /// bodies went beyond the end of the output: they are not there to be kept; nor where blocks cannot be shared and are
    /// not to be copied. Block 0 and [`descriptor_room`] blocks behind it are never written.
    ///
    /// # Errors
    /// What reading the output or writing the file says.
    pub fn keep(
        &mut self,
        tree: &Tree<Body>,
        file: &File,
        may_copy: bool,
        state: &mut Pack,
    ) -> io::Result<Option<bool>> {
        if self.peak > self.stage.end() {
            return Ok(None);
        }
        // A block of zeros may lie where something else was given back, and is not written before that is erased.
        self.stage.erase()?;
        let ranges = live(tree);
        let is_shared = self.output.backing().is_some_and(|from| share_new(from, (file, 0), &ranges).is_ok());
        if !is_shared && !may_copy {
            return Ok(None);
        }
        state.number(self.blocks.base());
        state.number(self.blocks.frontier());
        state.number(self.peak);
        let holes = self.blocks.holes();
        state.count(holes.len());
        for (start, length) in holes {
            state.number(start);
            state.number(length);
        }
        tree.pack(state, &mut pack_body);

        let mut copy = Stage::new(file, u64::MAX / BLOCK);
        let mut buffer = vec![0; (PIECE * BLOCK) as usize];
        let all: Vec<_> = pieces(&ranges).collect();
        state.count(all.len());
        for (start, blocks) in all {
            let bytes = &mut buffer[..(blocks * BLOCK) as usize];
            self.output.read_at(start * BLOCK, bytes)?;
            if !is_shared {
                copy.put(start, bytes)?;
            }
            state.number(start);
            state.number(blocks);
            state.number(crc(!0, bytes));
        }
        copy.flush()?;
        // Zeros at the end are there too: what else goes into the file goes behind them.
        let end = ranges.last().map_or(0, |(start, blocks)| (start + blocks) * BLOCK);
        if file.metadata()?.len() < end {
            file.set_len(end)?;
        }
        Ok(Some(is_shared))
    }
}

/// Why a writer does not go on from a state.
#[derive(Debug)]
pub enum Refused {
    /// It was made for other parameters, or with these there is no getting so far.
    Unfit,
    /// State or file are not what they were.
    Damaged,
    /// The output cannot be made what it was before.
    Output(io::Error),
}

/// Blocks of a file, as [`Writer::keep`] left them.
#[derive(Clone, Copy, Debug)]
pub struct Blocks<'a> {
    /// Where they are.
    pub file: &'a File,
    /// Whether all are known to be what their checksums say, as the file has not changed since that was so.
    pub are_known: bool,
}

/// What goes on from a state.
pub struct Resumed<'a> {
    /// Is where [`Writer::keep`] was.
    pub writer: Writer<'a>,
    /// What was stored by then.
    pub tree: Tree<Body>,
    /// Whether the output shares the blocks with the file.
    pub are_shared: bool,
}

/// A writer to `output` that is where [`Writer::keep`] was, and its tree.
///
/// # Errors
/// See [`Refused`]. The output is as it was then.
pub fn resume<'a>(
    output: &'a dyn Output,
    params: Params,
    state: &mut Unpack<'_>,
    Blocks { file, are_known }: Blocks<'_>,
) -> Result<Resumed<'a>, Refused> {
    let mut writer = Writer::new(output, params);
    let kept = Kept::read(state).ok_or(Refused::Damaged)?;
    let is_far_enough = kept.peak <= writer.stage.end() && kept.peak.saturating_mul(BLOCK) <= writer.params.limit;
    if !is_far_enough || kept.base != 1 + writer.room {
        return Err(Refused::Unfit);
    }
    writer.blocks = Allocator::resumed(writer.room, kept.frontier, &kept.holes).ok_or(Refused::Damaged)?;
    writer.peak = kept.peak;

    let are_shared = output.backing().is_some_and(|to| share_all((file, 0), to, &live(&kept.tree)).is_ok());
    let mut stage = Stage::new(output, writer.stage.end());
    let put = |start, bytes: &[u8]| if are_shared { Ok(()) } else { stage.put(start, bytes) };
    let read = match are_shared && are_known {
        true => Ok(()),
        false => kept.each_piece(file, put).and_then(|()| stage.flush().map_err(Refused::Output)),
    };
    match read {
        Ok(()) => Ok(Resumed { writer, tree: kept.tree, are_shared }),
        Err(refused) => {
            output.discard(0, kept.frontier * BLOCK).map_err(Refused::Output)?;
            Err(refused)
        }
    }
}

/// Whether a state is one, and all of the file is what it was.
pub fn is_whole(state: &mut Unpack<'_>, file: &File) -> bool {
    Kept::read(state).is_some_and(|kept| kept.each_piece(file, |_, _| Ok(())).is_ok())
}

/// A state, read.
struct Kept {
    base: u64,
    frontier: u64,
    peak: u64,
    holes: Vec<(u64, u64)>,
    tree: Tree<Body>,
    pieces: Vec<Piece>,
}

impl Kept {
    fn read(state: &mut Unpack<'_>) -> Option<Kept> {
        let (base, frontier, peak) = (state.number()?, state.number()?, state.number()?);
        let is_right = frontier <= peak.max(base) && peak <= u64::MAX / BLOCK;
        is_right.then_some(())?;
        let holes = state.list(|state| Some((state.number()?, state.number()?)))?;
        let tree = Tree::unpack(state, &mut |state| unpack_body(state, frontier))?;
        let mut end = base;
        let pieces = state.list(|state| {
            let (start, blocks) = (state.number()?, state.number()?);
            let is_next = start >= end && (1..=PIECE).contains(&blocks) && start.checked_add(blocks)? <= frontier;
            end = start + blocks;
            is_next.then_some(Piece { start, blocks, sum: state.small()? })
        })?;
        // No body is in blocks that are not kept.
        let ranges = live(&tree);
        let is_same = pieces.iter().map(|piece| (piece.start, piece.blocks)).eq(self::pieces(&ranges));
        is_same.then_some(Kept { base, frontier, peak, holes, tree, pieces })
    }

    /// Reads and compares all pieces, and gives them to `take`, which writes them to the output. Ends at one that is not what
    /// it was.
    fn each_piece(&self, file: &File, mut take: impl FnMut(u64, &[u8]) -> io::Result<()>) -> Result<(), Refused> {
        let mut buffer = vec![0; (PIECE * BLOCK) as usize];
        for piece in &self.pieces {
            let bytes = &mut buffer[..(piece.blocks * BLOCK) as usize];
            let read = Output::read_at(file, piece.start * BLOCK, bytes);
            if read.is_err() || crc(!0, bytes) != piece.sum {
                return Err(Refused::Damaged);
            }
            take(piece.start, bytes).map_err(Refused::Output)?;
        }
        Ok(())
    }
}

fn pack_body(body: &Body, out: &mut Pack) {
    out.count(body.runs().len());
    for Run { logical, length, start } in body.runs() {
        out.number(logical);
        out.number(length);
        out.number(start);
    }
}

fn unpack_body(input: &mut Unpack<'_>, frontier: u64) -> Option<Body> {
    let mut end = 0;
    let runs = input.list(|input| {
        let run = Run { logical: input.small()?, length: input.small()?, start: input.number()? };
        let is_next = run.logical >= end && run.length > 0;
        end = run.logical.checked_add(run.length)?;
        let is_inside = run.start.checked_add(run.length.into())? <= frontier;
        (is_next && is_inside).then_some(run)
    })?;
    Some(Body::new(&runs))
}
