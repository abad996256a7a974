//! A disk byte after byte.

use super::{Source, units};
use crate::output::Output;
use std::io;

/// Unit of a raw copy: what is zeros in it stays a hole.
const UNIT: usize = 4096;

/// Writes the bytes as they are; zeros become holes.
pub(super) fn write(source: &dyn Source, output: &dyn Output) -> io::Result<u64> {
    let size = source.size();
    units::each(source, UNIT, &mut |index, bytes| {
        let offset = index * UNIT as u64;
        let length = (size - offset).min(UNIT as u64) as usize;
        output.write_at(offset, &bytes[..length])
    })?;
    Ok(size)
}
