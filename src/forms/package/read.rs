//! The disk in an archive: the first member that may be one. Its bytes stay where they are.

use crate::forms::pieces::{From, Piece, Pieces};
use crate::forms::{Fault, Raw, Source};
use crate::layer::{EntryKind, Limits, Reader, Warnings};
use std::io::BufReader;

/// Most members before the disk, and most ranges of a sparse one.
const MEMBERS: usize = 64;
const RANGES: usize = 1 << 20;

/// A disk in an archive.
pub enum Member {
    /// In whatever form, without a hole.
    Whole(Raw),
    /// Raw, with holes.
    Sparse(Box<dyn Source>),
}

/// The disk in an archive, or in a layer in it.
pub fn disk_in(file: Raw) -> Result<Member, Fault> {
    match find(&file)? {
        Some(Found { layer: true, body, size, .. }) => disk_in_layer(file.within(body, size)?),
        found => member(file, found),
    }
}

fn disk_in_layer(layer: Raw) -> Result<Member, Fault> {
    let found = find(&layer)?.filter(|found| !found.layer);
    member(layer, found)
}

fn member(file: Raw, found: Option<Found>) -> Result<Member, Fault> {
    let found = found.ok_or(Fault::Unsupported("is an archive without a disk"))?;
    match found.ranges {
        None => Ok(Member::Whole(file.within(found.body, found.size)?)),
        Some(ranges) => sparse(file, found.body, found.size, ranges),
    }
}

/// A member that is a disk, or has one.
struct Found {
    layer: bool,
    body: u64,
    size: u64,
    ranges: Option<Vec<(u64, u64)>>,
}

/// The first of them.
fn find(file: &Raw) -> Result<Option<Found>, Fault> {
    let damaged = |_| Fault::Damaged("its archive cannot be read");
    let mut stream = BufReader::new(file.reading());
    let limits = Limits { sparse_entries: RANGES, ..Limits::default() };
    let mut reader = Reader::new(&mut stream, limits);
    for _ in 0..MEMBERS {
        let Some(entry) = reader.next_entry(&mut Warnings::default()).map_err(damaged)? else { break };
        let EntryKind::File { size } = entry.kind else { continue };
        let (disk, layer) = (is_disk(&entry.path), is_layer(&entry.path));
        if !disk && !layer {
            reader.skip_body().map_err(damaged)?;
            continue;
        }
        let ranges = reader.ranges().map(<[_]>::to_vec);
        return Ok(Some(Found { layer, body: reader.offset(), size, ranges }));
    }
    Ok(None)
}

/// Whether a member is the layer of an image by its name: the first is, in those that are written here.
fn is_layer(path: &[u8]) -> bool {
    path.starts_with(b"blobs/sha256/") || path.ends_with(b".tar")
}

/// Whether a member is a disk by its name.
fn is_disk(path: &[u8]) -> bool {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
    name.to_ascii_lowercase().ends_with(b".vmdk") || [&b"disk.raw"[..], b"box.img", b"disk.qcow2"].contains(&name)
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
