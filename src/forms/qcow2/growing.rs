//! A qcow2 that a disk is written into from the start: a cluster has its place in the file when it is first written to.
//!
//! ```text
//!   header │ clusters, in the order of their first writes │ L1 table │ L2 tables │ refcounts
//! ```
//!
//! No byte is written twice, and a disk needs no second place to lie in meanwhile. Who writes in the same order gets
//! the same file; so it is for one writer at a time.

use super::write::{CLUSTER, File, fits};
use super::{COPIED, SECTOR};
use crate::forms::Packing;
use crate::output::Output;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

const BYTES: u64 = CLUSTER as u64;

/// The disk, as an output. What it was given is a qcow2 only after [`Growing::finish`].
pub struct Growing<'a> {
    output: &'a dyn Output,
    places: Mutex<Places>,
}

/// Which cluster of the file has which of the disk. Memory: some 20 bytes a cluster that was written.
struct Places {
    of: BTreeMap<u64, u64>,
    /// Those of the file that were given back. They read as zeros.
    free: BTreeSet<u64>,
    /// Clusters of the file.
    used: u64,
}

impl<'a> Growing<'a> {
    /// In an empty file.
    pub fn new(output: &'a dyn Output) -> Growing<'a> {
        Growing { output, places: Mutex::new(Places { of: BTreeMap::new(), free: BTreeSet::new(), used: 1 }) }
    }

    /// Writes the tables of a disk of `size` bytes and the header, and returns the length of the file: what is behind it
    /// is to be cut off.
    ///
    /// # Errors
    /// When writing fails, or the disk is larger than the form can hold.
    pub fn finish(self, size: u64) -> io::Result<u64> {
        let size = size.next_multiple_of(SECTOR);
        fits(size)?;
        let mut places = self.places.into_inner().unwrap_or_else(PoisonError::into_inner);
        places.close_gaps(self.output)?;
        let mut file = File::behind(self.output, size, places.used as usize);
        places.of.iter().try_for_each(|(number, place)| file.enter_at(*number, (place * BYTES) | COPIED))?;
        file.finish(Packing::Plain)
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        // A panic while it was held is that of the only writer.
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Places {
    /// The place of a cluster, which it gets now if it has none.
    fn place(&mut self, number: u64) -> u64 {
        if let Some(place) = self.of.get(&number) {
            return *place;
        }
        let place = self.free.pop_first().unwrap_or_else(|| {
            self.used += 1;
            self.used - 1
        });
        self.of.insert(number, place);
        place
    }

    /// Where byte `at` of the disk goes, and how many bytes from there on lie behind each other, `most` at most.
    fn stretch(&mut self, at: u64, most: usize) -> (u64, usize) {
        let (number, within) = (at / BYTES, at % BYTES);
        let first = self.place(number);
        let (mut clusters, mut length) = (1, (BYTES - within) as usize);
        while length < most && self.place(number + clusters) == first + clusters {
            (clusters, length) = (clusters + 1, length + CLUSTER);
        }
        (first * BYTES + within, length.min(most))
    }

    /// Puts the file's last clusters where others were given back.
    fn close_gaps(&mut self, output: &dyn Output) -> io::Result<()> {
        let mut last: Vec<(u64, u64)> = self.of.iter().map(|(number, place)| (*place, *number)).collect();
        last.sort_unstable();
        let mut bytes = vec![0; CLUSTER];
        for gap in std::mem::take(&mut self.free) {
            let Some((place, number)) = last.pop_if(|(place, _)| *place > gap) else { break };
            output.read_at(place * BYTES, &mut bytes)?;
            output.write_at(gap * BYTES, &bytes)?;
            self.of.insert(number, gap);
        }
        self.used = self.of.len() as u64 + 1;
        Ok(())
    }
}

/// Calls `each` with every part of a range that lies in one cluster: its number, the byte within, and how many bytes.
fn parts(offset: u64, length: u64, each: &mut dyn FnMut(u64, u64, u64) -> io::Result<()>) -> io::Result<()> {
    let (mut at, end) = (offset, offset + length);
    while at < end {
        let part = (BYTES - at % BYTES).min(end - at);
        each(at / BYTES, at % BYTES, part)?;
        at += part;
    }
    Ok(())
}

impl Output for Growing<'_> {
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut places = self.places();
        let (mut at, mut rest) = (offset, data);
        while !rest.is_empty() {
            let (place, length) = places.stretch(at, rest.len());
            let (now, later) = rest.split_at(length);
            self.output.write_at(place, now)?;
            (at, rest) = (at + length as u64, later);
        }
        Ok(())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let places = self.places();
        let mut rest = buffer;
        parts(offset, rest.len() as u64, &mut |number, within, length| {
            let (now, later) = std::mem::take(&mut rest).split_at_mut(length as usize);
            rest = later;
            match places.of.get(&number) {
                Some(place) => self.output.read_at(place * BYTES + within, now),
                None => {
                    now.fill(0);
                    Ok(())
                }
            }
        })
    }

    fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        let mut places = self.places();
        let end = offset.saturating_add(length);
        let there: Vec<(u64, u64)> =
            places.of.range(offset / BYTES..end.div_ceil(BYTES)).map(|(number, place)| (*number, *place)).collect();
        for (number, place) in there {
            let (from, to) = ((number * BYTES).max(offset), ((number + 1) * BYTES).min(end));
            self.output.discard(place * BYTES + from % BYTES, to - from)?;
            if to - from == BYTES {
                places.of.remove(&number);
                places.free.insert(place);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forms;
    use std::fs;
    use std::process::Command;

    /// What is done to a disk: written with a byte, or given back, from a byte on, so many bytes.
    type Step = (Option<u8>, u64, usize);

    /// The file after these steps, and the disk that they are done to.
    fn after(steps: &[Step], size: u64) -> (tempfile::TempDir, Vec<u8>) {
        let folder = tempfile::tempdir().unwrap();
        let file = fs::File::options().read(true).write(true).create_new(true).open(folder.path().join("d")).unwrap();
        let growing = Growing::new(&file);
        let mut disk = vec![0; size as usize];
        for &(byte, offset, length) in steps {
            let range = offset as usize..offset as usize + length;
            match byte {
                Some(byte) => growing.write_at(offset, &vec![byte; length]).unwrap(),
                None => growing.discard(offset, length as u64).unwrap(),
            }
            disk[range].fill(byte.unwrap_or(0));
        }
        let mut there = vec![1; disk.len()];
        growing.read_at(0, &mut there).unwrap();
        assert!(there == disk, "what was written is not what is read");
        file.set_len(growing.finish(size).unwrap()).unwrap();
        (folder, disk)
    }

    #[test]
    fn a_disk_that_was_written_in_any_order_is_a_whole_qcow2() {
        const K: u64 = 1 << 10;
        let rows: [(&str, u64, &[Step], u64); 7] = [
            ("nothing", 1 << 20, &[], 0),
            ("a byte", 1 << 20, &[(Some(1), 5, 1)], 1),
            ("backwards, across clusters", 1 << 20, &[(Some(1), 640 * K, 100_000), (Some(2), 100, 200_000)], 6),
            ("given back in part", 1 << 20, &[(Some(1), 0, 1 << 17), (None, 4096, 8192)], 2),
            (
                "given back and taken again",
                1 << 20,
                &[(Some(1), 0, 1 << 17), (None, 0, 1 << 16), (Some(3), 1 << 19, 9)],
                2,
            ),
            (
                "gaps in the middle",
                1 << 20,
                &[(Some(1), 0, 1 << 19), (None, 64 * K, 1 << 17), (None, 300 * K, 1 << 17)],
                5,
            ),
            (
                "all given back",
                600 << 20,
                &[(Some(1), 0, 1 << 20), (Some(2), 599 << 20, 4096), (None, 0, 600 << 20)],
                0,
            ),
        ];
        for (name, size, steps, clusters) in rows {
            let (folder, disk) = after(steps, size);
            let path = folder.path().join("d");
            let check = Command::new("qemu-img").args(["check", "--output=json", "-f", "qcow2"]).arg(&path).output();
            let check = check.expect("qemu-img is needed");
            let said = String::from_utf8_lossy(&check.stdout).into_owned();
            assert!(check.status.success(), "{name}: {said}");
            let allocated = format!("\"allocated-clusters\": {clusters},");
            assert!(
                said.contains(&allocated) || clusters == 0 && !said.contains("allocated-clusters"),
                "{name}: {said}"
            );
            let source = forms::open(fs::File::open(&path).unwrap()).unwrap();
            let mut there = vec![0; source.size() as usize];
            source.read_at(0, &mut there).unwrap();
            assert!(there == disk, "{name}");
            // Header, tables and refcounts, a table for each half GiB that has something.
            let tables = 4 + u64::from(clusters > 0);
            assert_eq!(fs::metadata(&path).unwrap().len(), (clusters + tables) * BYTES, "{name}");
        }
    }

    #[test]
    fn a_disk_that_is_too_large_is_refused() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(Growing::new(&file).finish(u64::MAX / 2).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }
}
