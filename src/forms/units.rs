//! A disk in units of one size: those that hold something else than zeros, in order.

use super::Source;
use crate::holes::is_zero;
use std::io;

/// Bytes read at a time, at least.
const BATCH: usize = 4 << 20;

/// Gives every unit that is not all zeros, with its number. The last one is filled with zeros.
pub(super) fn each(
    source: &dyn Source,
    unit: usize,
    put: &mut dyn FnMut(u64, &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    batches(source, unit, BATCH.max(unit), &mut |batch| batch.iter().try_for_each(|(index, bytes)| put(*index, bytes)))
}

/// A number and a unit's bytes.
pub(super) type Unit<'a> = (u64, &'a [u8]);

/// As [`each`], several at a time: of about `batch` bytes that lie behind each other.
pub(super) fn batches(
    source: &dyn Source,
    unit: usize,
    batch: usize,
    put: &mut dyn FnMut(&[Unit<'_>]) -> io::Result<()>,
) -> io::Result<()> {
    let most = (batch / unit).max(1) * unit;
    let mut buffer = crate::large::buffer(most);
    let mut at = 0;
    while let Some(range) = source.data(at)? {
        // In whole units from here on. What was given already begins no second time.
        at = at.max(range.start / unit as u64 * unit as u64);
        while at < range.end {
            let end = range.end.next_multiple_of(unit as u64).min(at + most as u64);
            buffer.clear();
            buffer.resize((end - at) as usize, 0);
            let there = (source.size() - at).min(end - at) as usize;
            source.read_at(at, &mut buffer[..there])?;
            let number = |place: usize| at / unit as u64 + place as u64;
            let units = buffer.chunks(unit).enumerate().filter(|(_, bytes)| !is_zero(bytes));
            let units: Vec<Unit<'_>> = units.map(|(place, bytes)| (number(place), bytes)).collect();
            put(&units)?;
            at = end;
        }
    }
    Ok(())
}
