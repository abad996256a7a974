//! The disk in an archive: the first member that may be one. Its bytes stay where they are.

use crate::forms::pieces::{From, Piece, Pieces};
use crate::forms::{Fault, Raw, Source};
use crate::layer::{EntryKind, Header, Limits, Reader, Warnings};
use std::io::BufReader;

/// Most members before the disk, and most ranges of a sparse one.
const MEMBERS: usize = 64;
const RANGES: usize = 1 << 20;

/// Whether an archive begins with these bytes.
pub fn is_archive(start: &[u8]) -> bool {
    start.first_chunk().is_some_and(|block| Header(*block).checksum_matches())
}

/// A disk in an archive.
pub enum Member {
    /// In whatever form, without a hole.
    Whole(Raw),
    /// Raw, with holes.
    Sparse(Box<dyn Source>),
}

/// The disk in an archive.
pub fn disk_in(file: Raw) -> Result<Member, Fault> {
    let none = Fault::Unsupported("is an archive without a disk");
    let damaged = |_| Fault::Damaged("its archive cannot be read");
    let mut stream = BufReader::new(file.reading());
    let limits = Limits { sparse_entries: RANGES, ..Limits::default() };
    let mut reader = Reader::new(&mut stream, limits);
    for _ in 0..MEMBERS {
        let Some(entry) = reader.next_entry(&mut Warnings::default()).map_err(damaged)? else { break };
        let EntryKind::File { size } = entry.kind else { continue };
        if !is_disk(&entry.path) {
            reader.skip_body().map_err(damaged)?;
            continue;
        }
        let (body, ranges) = (reader.offset(), reader.ranges().map(<[_]>::to_vec));
        return match ranges {
            None => Ok(Member::Whole(file.within(body, size)?)),
            Some(ranges) => sparse(file, body, size, ranges),
        };
    }
    Err(none)
}

/// Whether a member is a disk by its name.
fn is_disk(path: &[u8]) -> bool {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
    name.to_ascii_lowercase().ends_with(b".vmdk") || name == b"disk.raw" || name == b"box.img"
}

/// A file of `size` bytes whose ranges lie behind each other from `body` on.
fn sparse(file: Raw, body: u64, size: u64, ranges: Vec<(u64, u64)>) -> Result<Member, Fault> {
    let mut from = body;
    let mut pieces = Vec::with_capacity(ranges.len());
    for (at, length) in ranges {
        pieces.push(Piece { at, length, from: From::Source(from) });
        from =
            from.checked_add(length).filter(|end| *end <= file.size()).ok_or(Fault::CutShort("a part of the disk"))?;
    }
    Ok(Member::Sparse(Box::new(Pieces { source: file, size, pieces })))
}
