//! Unpacks a compressed disk into a temporary file without a name.

use crate::formats::{read_start, unpack};
use crate::forms::{Fault, Raw};
use crate::holes::is_zero;
use crate::output::{Output, scratch_dir};
use std::io::BufReader;

/// The largest disk that is unpacked: what is larger is a decompression bomb, or better unpacked where there is room.
const LARGEST: u64 = 64 << 30;
/// Bytes that are unpacked at a time.
const PIECE: usize = 1 << 20;
/// What is zeros in it becomes a hole.
const HOLE: usize = 64 << 10;

/// The disk in `file`, unpacked.
pub fn unpacked(file: &Raw) -> Result<Raw, Fault> {
    let mut reader = unpack::reader(BufReader::with_capacity(PIECE, file.reading()))?;
    let temporary = tempfile::tempfile_in(scratch_dir())?;
    let (mut size, mut buffer) = (0, vec![0; PIECE]);
    loop {
        let length = read_start(&mut reader, &mut buffer).map_err(|_| Fault::Damaged("it cannot be unpacked"))?;
        let pieces = buffer[..length].chunks(HOLE).enumerate().filter(|(_, bytes)| !is_zero(bytes));
        for (index, bytes) in pieces {
            temporary.write_at(size + (index * HOLE) as u64, bytes)?;
        }
        size += length as u64;
        match () {
            () if size > LARGEST => return Err(Fault::Unsupported("unpacks to more than 64 GiB")),
            () if length < buffer.len() => break,
            () => {}
        }
    }
    temporary.set_len(size)?;
    Ok(Raw::new(temporary)?)
}
