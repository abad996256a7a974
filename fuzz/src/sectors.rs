//! A disk as a list of its sectors that are not zeros.
//!
//! ```text
//! sectors (u64 LE)   then for each: number (u64 LE), 512 bytes      a later one replaces an earlier one
//! ```
//!
//! All records have one length, so that a mutation of one leaves the others where they are.

use bootdisk::formats::ReadAt;
use bootdisk::output::Output;
use std::collections::HashMap;
use std::io;
use std::sync::Mutex;

const SECTOR: usize = 512;
/// No disk here has more: 8 GiB. Time grows with the size of a disk, which is no fault.
const MOST: u64 = 1 << 24;

/// The disk. What is written to it stays in it.
pub struct Sectors {
    /// Its size in bytes.
    pub size: u64,
    sectors: Mutex<HashMap<u64, [u8; SECTOR]>>,
}

impl Sectors {
    /// The disk that these bytes describe.
    pub fn of(data: &[u8]) -> Sectors {
        let (head, rest) = data.split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
        let records = rest.as_chunks::<{ 8 + SECTOR }>().0.iter().filter_map(|record| {
            let (number, bytes) = record.split_first_chunk::<8>()?;
            Some((u64::from_le_bytes(*number), *bytes.first_chunk()?))
        });
        Sectors { size: u64::from_le_bytes(*head) % MOST * SECTOR as u64, sectors: Mutex::new(records.collect()) }
    }

    /// The bytes that describe a disk.
    pub fn describe(disk: &[u8]) -> Vec<u8> {
        let mut out = (disk.len().div_ceil(SECTOR) as u64).to_le_bytes().to_vec();
        for (number, sector) in (0u64..).zip(disk.chunks(SECTOR)).filter(|(_, sector)| sector.iter().any(|b| *b != 0)) {
            out.extend(number.to_le_bytes());
            out.extend(sector);
            out.resize(out.len() + SECTOR - sector.len(), 0);
        }
        out
    }

    /// Changes one sector.
    pub fn edit(&self, number: u64, change: impl FnOnce(&mut [u8; SECTOR])) {
        change(self.sectors.lock().expect("one thread").entry(number).or_insert([0; SECTOR]));
    }

    fn check(&self, offset: u64, length: usize) -> io::Result<()> {
        let end = offset.checked_add(length as u64).filter(|end| *end <= self.size);
        end.map(drop).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// The sectors that hold these bytes: each with which of its bytes, and where they go in the buffer.
    fn parts(offset: u64, length: usize) -> impl Iterator<Item = (u64, std::ops::Range<usize>, usize)> {
        let mut done = 0;
        std::iter::from_fn(move || {
            let at = offset + done as u64;
            let skip = (at % SECTOR as u64) as usize;
            let count = (SECTOR - skip).min(length - done);
            let part = (count > 0).then_some((at / SECTOR as u64, skip..skip + count, done));
            done += count;
            part
        })
    }
}

impl ReadAt for Sectors {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.check(offset, buffer.len())?;
        buffer.fill(0);
        let sectors = self.sectors.lock().expect("one thread");
        for (number, range, at) in Sectors::parts(offset, buffer.len()) {
            if let Some(sector) = sectors.get(&number) {
                buffer[at..at + range.len()].copy_from_slice(&sector[range]);
            }
        }
        Ok(())
    }
}

impl Output for Sectors {
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check(offset, data.len())?;
        for (number, range, at) in Sectors::parts(offset, data.len()) {
            self.edit(number, |sector| sector[range.clone()].copy_from_slice(&data[at..at + range.len()]));
        }
        Ok(())
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        ReadAt::read_at(self, offset, buffer)
    }
    fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        self.write_at(offset, &vec![0; length as usize])
    }
}
