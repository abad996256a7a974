//! A disk in units of one size: those that hold something else than zeros, in order.

use super::Source;
use crate::holes::is_zero;
use crate::large;
use crate::output::Output;
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

/// Bytes read at a time, at least: few enough to be in the processor's cache still when they are written.
const BATCH: usize = 1 << 20;

/// A number and a unit's bytes.
pub(super) type Unit<'a> = (u64, &'a [u8]);

/// Gives every unit that is not all zeros, with its number. The last one is filled with zeros.
pub(super) fn each(
    source: &dyn Source,
    unit: usize,
    put: &mut dyn FnMut(u64, &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    batches(source, unit, BATCH, &mut |batch| batch.iter().try_for_each(|(index, bytes)| put(*index, bytes)))
}

/// The same, those that lie behind each other at once: the number of the first, and the bytes of all.
pub(super) fn runs(
    source: &dyn Source,
    unit: usize,
    put: &mut dyn FnMut(u64, &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    stretches(source, unit, BATCH, &mut |first, bytes| {
        filled(bytes, unit, &mut |at, run| put(first + (at / unit) as u64, run))
    })
}

/// Bytes of a block that a file system can leave out.
const BLOCK: usize = 4096;

/// Writes bytes into a part of an output that is zeros: blocks of zeros stay holes.
pub(super) fn write_filled(output: &dyn Output, place: u64, bytes: &[u8]) -> io::Result<()> {
    filled(bytes, BLOCK, &mut |at, run| output.write_at(place + at as u64, run))
}

/// The runs of units that are not all zeros: where each begins, and its bytes.
fn filled(bytes: &[u8], unit: usize, put: &mut dyn FnMut(usize, &[u8]) -> io::Result<()>) -> io::Result<()> {
    let (mut at, mut rest) = (0, bytes);
    while !rest.is_empty() {
        let is_hole = is_zero(&rest[..unit.min(rest.len())]);
        let length = rest.chunks(unit).take_while(|bytes| is_zero(bytes) == is_hole).map(<[u8]>::len).sum();
        let (run, behind) = rest.split_at(length);
        if !is_hole {
            put(at, run)?;
        }
        (at, rest) = (at + length, behind);
    }
    Ok(())
}

/// As [`each`], several at a time: of about `batch` bytes that lie behind each other.
pub(super) fn batches(
    source: &dyn Source,
    unit: usize,
    batch: usize,
    put: &mut dyn FnMut(&[Unit<'_>]) -> io::Result<()>,
) -> io::Result<()> {
    stretches(source, unit, batch, &mut |first, bytes| {
        let units = bytes.chunks(unit).enumerate().map(|(place, bytes)| (first + place as u64, bytes));
        put(&units.filter(|(_, bytes)| !is_zero(bytes)).collect::<Vec<_>>())
    })
}

/// What is no hole, in whole units, about `batch` bytes at a time: the number of the first one, and the bytes. The next ones are
/// read meanwhile.
fn stretches(
    source: &dyn Source,
    unit: usize,
    batch: usize,
    put: &mut dyn FnMut(u64, &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let most = (batch / unit).max(1) * unit;
    let (empty, empties) = channel();
    let (full, fulls) = channel();
    (0..BUFFERS).for_each(|_| _ = empty.send(large::buffer(most)));
    // Whoever ends first takes its ends of both with it, and so ends the other.
    thread::scope(move |scope| {
        let read = move || {
            if let Err(error) = read_all(source, unit, most, &empties, &full) {
                _ = full.send(Err(error));
            }
        };
        thread::Builder::new().name("read".into()).spawn_scoped(scope, read)?;
        for stretch in fulls {
            let Stretch { first, length, buffer } = stretch?;
            put(first, &buffer[..length])?;
            _ = empty.send(buffer);
        }
        Ok(())
    })
}

/// One is written while another is read.
const BUFFERS: usize = 2;

struct Stretch {
    first: u64,
    /// Bytes of the buffer that count.
    length: usize,
    buffer: Vec<u8>,
}

/// Reads into the buffers that come, until there is nothing more or nobody wants it.
fn read_all(
    source: &dyn Source,
    unit: usize,
    most: usize,
    empties: &Receiver<Vec<u8>>,
    full: &Sender<io::Result<Stretch>>,
) -> io::Result<()> {
    let mut at = 0;
    while let Some(range) = source.data(at)? {
        // In whole units from here on. What was given already begins no second time.
        at = at.max(range.start / unit as u64 * unit as u64);
        while at < range.end {
            let end = range.end.next_multiple_of(unit as u64).min(at + most as u64);
            let length = (end - at) as usize;
            let Ok(mut buffer) = empties.recv() else { return Ok(()) };
            if buffer.len() < length {
                buffer.resize(length, 0);
            }
            let there = (source.size() - at).min(end - at) as usize;
            source.read_at(at, &mut buffer[..there])?;
            buffer[there..length].fill(0);
            if full.send(Ok(Stretch { first: at / unit as u64, length, buffer })).is_err() {
                return Ok(());
            }
            at = end;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_fails_ends_both() {
        let disk = tempfile::tempfile().unwrap();
        std::os::unix::fs::FileExt::write_all_at(&disk, &vec![1; 16 << 20], 0).unwrap();
        let source = crate::forms::open(disk.try_clone().unwrap()).unwrap();
        let fails_at = |last: u64| {
            let mut seen = 0;
            let ended = each(&*source, 65_536, &mut |_, _| {
                seen += 1;
                if seen == last { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
            });
            (seen, ended.map_err(|error| error.kind()))
        };
        for last in [1, 16, 17, 100, 256] {
            assert_eq!(fails_at(last), (last, Err(io::ErrorKind::StorageFull)));
        }
        assert_eq!(fails_at(257), (256, Ok(())));
    }
}
