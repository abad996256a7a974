//! Changing a FAT32 volume in place so that whoever reads it at any moment, or after any interruption, finds every file
//! whole that was whole before.
//!
//! ```text
//! create    body to free clusters ─▶ both FATs ─▶ directory entry            until the last sector there is no file
//! repoint   body, FATs ─▶ one sector of the directory: cluster and length    the one step that changes a file
//! remove    directory entry ─▶ both FATs
//! ```
//!
//! Clusters that an interruption left without a file are free again for the next change, except those the caller wants
//! kept. What is written goes out in the order above; the caller says when it must have reached the disk.
//!
//! Not supported: growing a directory, FAT12 and FAT16, sectors of 4096 bytes.
//! Specification: "FAT: General Overview of On-Disk Format" 1.03; long names are Microsoft's "FAT Long Name" addition.

use super::{Extent, time::Stamp};
use crate::output::Output;
use std::collections::BTreeSet;
use std::io;

const SECTOR: usize = 512;
const ENTRY: usize = 32;
const LONG_NAME: u8 = 0x0f;
const DIRECTORY: u8 = 0x10;
const VOLUME: u8 = 0x08;
const DELETED: u8 = 0xe5;
/// Characters of one long-name entry, and where they stand in it.
const LONG_AT: [usize; 13] = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30];
/// Mark of a chain's end; a free cluster; the bits of a FAT entry that count.
const END: u32 = 0x0fff_ffff;
const FREE: u32 = 0;
const MASK: u32 = 0x0fff_ffff;
/// Largest FAT that is held in memory: that of an ESP of 64 GiB.
const MAX_FAT: u64 = 64 << 20;
/// Most entries of one directory, and directories below each other.
const MAX_ENTRIES: usize = 65_536;
const MAX_DEPTH: usize = 16;

/// A volume that is being changed.
pub struct Editor<'a> {
    disk: &'a dyn Output,
    /// First byte of the partition on the disk.
    offset: u64,
    cluster_bytes: usize,
    fat_offset: u64,
    fat_bytes: u64,
    data_offset: u64,
    root: u32,
    /// Of every cluster the next one.
    fat: Vec<u32>,
    stamp: Stamp,
}

/// A file or directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name; the long one if it has one.
    pub name: String,
    /// First cluster; 0 when empty.
    pub cluster: u32,
    /// Length in bytes; 0 of a directory.
    pub size: u32,
    /// Whether it is a directory.
    pub is_directory: bool,
    short: [u8; 11],
    /// Where its entry is in the partition, after those of the long name.
    at: u64,
    long_at: Vec<u64>,
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the FAT file system is damaged: {what}"))
}

impl<'a> Editor<'a> {
    /// Reads the FAT of the volume at `offset` of the disk, `length` bytes long. New entries get the time `seconds`.
    pub fn open(disk: &'a dyn Output, offset: u64, length: u64, seconds: i64) -> io::Result<Editor<'a>> {
        let mut boot = [0; SECTOR];
        disk.read_at(offset, &mut boot)?;
        let (u16_at, u32_at) = (|at| u64::from(u16_of(&boot, at)), |at| u64::from(u32_of(&boot, at)));
        let (per_cluster, reserved, fats) = (u64::from(boot[0x0d]), u16_at(0x0e), u64::from(boot[0x10]));
        let (total, per_fat, root) = (u32_at(0x20), u32_at(0x24), u32_of(&boot, 0x2c));
        let fits = boot[510..] == [0x55, 0xaa] && u16_at(0x0b) == SECTOR as u64 && u16_at(0x16) == 0;
        let data = reserved + fats * per_fat;
        if !fits || per_cluster == 0 || fats != 2 || total > length / SECTOR as u64 || data >= total {
            return Err(damaged("its boot sector is not that of a FAT32 volume"));
        }
        let clusters = (total - data) / per_cluster + 2;
        if per_fat * (SECTOR as u64) > MAX_FAT || clusters * 4 > per_fat * SECTOR as u64 {
            return Err(damaged("its FAT has an impossible size"));
        }
        let fat_offset = reserved * SECTOR as u64;
        let mut bytes = vec![0; clusters as usize * 4];
        disk.read_at(offset + fat_offset, &mut bytes)?;
        let fat = bytes.chunks_exact(4).map(|entry| u32_of(entry, 0)).collect();
        Ok(Editor {
            disk,
            offset,
            cluster_bytes: per_cluster as usize * SECTOR,
            fat_offset,
            fat_bytes: per_fat * SECTOR as u64,
            data_offset: data * SECTOR as u64,
            root,
            fat,
            stamp: Stamp::from_unix(seconds),
        })
    }

    /// What is at `path`.
    pub fn find(&self, path: &str) -> io::Result<Option<Entry>> {
        let mut found: Option<Entry> = None;
        for part in path.split('/').filter(|part| !part.is_empty()) {
            let directory = match &found {
                None => self.root,
                Some(entry) if entry.is_directory => entry.cluster,
                Some(_) => return Ok(None),
            };
            found = self.list(directory)?.into_iter().find(|entry| entry.name.eq_ignore_ascii_case(part));
            if found.is_none() {
                return Ok(None);
            }
        }
        Ok(found)
    }

    /// The entries of the directory at `path`, without `.` and `..`.
    pub fn entries(&self, path: &str) -> io::Result<Vec<Entry>> {
        match self.find(path)? {
            Some(entry) if entry.is_directory => self.list(entry.cluster),
            _ => Err(io::Error::new(io::ErrorKind::NotFound, format!("no directory {path}"))),
        }
    }

    /// A file's bytes, `limit` at most.
    pub fn read(&self, entry: &Entry, limit: u64) -> io::Result<Vec<u8>> {
        if u64::from(entry.size) > limit {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("file of more than {limit} bytes")));
        }
        let mut bytes = self.read_chain(entry.cluster)?;
        if bytes.len() < entry.size as usize {
            return Err(damaged("a file is shorter than it says"));
        }
        bytes.truncate(entry.size as usize);
        Ok(bytes)
    }

    /// Where a file lies on the disk, in order.
    pub fn extents(&self, entry: &Entry) -> io::Result<Vec<Extent>> {
        let mut extents: Vec<Extent> = Vec::new();
        let mut left = u64::from(entry.size).div_ceil(SECTOR as u64);
        for cluster in self.chain(entry.cluster)? {
            let lba = (self.offset + self.place(cluster)) / SECTOR as u64;
            let sectors = left.min((self.cluster_bytes / SECTOR) as u64) as u32;
            left -= u64::from(sectors);
            match extents.last_mut() {
                _ if sectors == 0 => {}
                Some(last) if last.lba + u64::from(last.sectors) == lba => last.sectors += sectors,
                _ => extents.push(Extent { lba, sectors }),
            }
        }
        Ok(extents)
    }

    /// Gives free every cluster that no file has and that lies in none of `keep`. In memory alone: what is taken anew is
    /// written with it.
    pub fn reclaim(&mut self, keep: &[Extent]) -> io::Result<()> {
        let mut used = BTreeSet::new();
        self.mark(self.root, 0, &mut used)?;
        let kept = |cluster: u32| {
            let first = (self.offset + self.place(cluster)) / SECTOR as u64;
            let end = first + (self.cluster_bytes / SECTOR) as u64;
            keep.iter().any(|extent| extent.lba < end && extent.lba + u64::from(extent.sectors) > first)
        };
        let lost =
            |cluster: &u32| self.fat[*cluster as usize] & MASK != FREE && !used.contains(cluster) && !kept(*cluster);
        let lost: Vec<u32> = (2..self.fat.len() as u32).filter(lost).collect();
        for cluster in &lost {
            self.fat[*cluster as usize] &= !MASK;
        }
        self.write_fat(&lost)
    }

    /// Bytes of free clusters.
    pub fn free(&self) -> u64 {
        self.fat[2..].iter().filter(|next| *next & MASK == FREE).count() as u64 * self.cluster_bytes as u64
    }

    /// Bytes that a file of `length` takes.
    pub fn taken(&self, length: usize) -> u64 {
        length.next_multiple_of(self.cluster_bytes) as u64
    }

    /// Makes a file in the directory at `directory`. There must be none of this name.
    pub fn create(&mut self, directory: &str, name: &str, body: &[u8]) -> io::Result<Entry> {
        let others = self.entries(directory)?;
        let short = short_name(name, &others)?;
        let slots = self.free_slots(directory, 1 + name.len().div_ceil(LONG_AT.len()))?;
        let cluster = self.store(body)?;
        let mut entry = [0; ENTRY];
        entry[..11].copy_from_slice(&short);
        entry[11] = 0x20;
        self.stamp.put(&mut entry);
        put_place(&mut entry, cluster, body.len() as u32);
        let (long_at, at) = slots.split_at(slots.len() - 1);
        for (long, at) in long_name(name, &short).iter().zip(long_at) {
            self.patch(*at, long)?;
        }
        self.patch(at[0], &entry)?;
        let (name, size) = (name.to_owned(), body.len() as u32);
        Ok(Entry { name, cluster, size, is_directory: false, short, at: at[0], long_at: long_at.to_vec() })
    }

    /// Writes a body that belongs to no file yet; returns its first cluster.
    pub fn store(&mut self, body: &[u8]) -> io::Result<u32> {
        let clusters = self.allocate(body.len().div_ceil(self.cluster_bytes))?;
        // In runs, so that a kernel in one piece is one write; the last sector is filled with zeros.
        let (mut at, mut index) = (0, 0);
        while index < clusters.len() {
            let mut end = index + 1;
            while end < clusters.len() && clusters[end] == clusters[end - 1] + 1 {
                end += 1;
            }
            let part = &body[at..body.len().min(at + (end - index) * self.cluster_bytes)];
            let place = self.offset + self.place(clusters[index]);
            let whole = part.len() / SECTOR * SECTOR;
            self.disk.write_at(place, &part[..whole])?;
            if whole < part.len() {
                let mut last = [0; SECTOR];
                last[..part.len() - whole].copy_from_slice(&part[whole..]);
                self.disk.write_at(place + whole as u64, &last)?;
            }
            (at, index) = (at + part.len(), end);
        }
        for (index, cluster) in clusters.iter().enumerate() {
            let next = clusters.get(index + 1).copied().unwrap_or(END);
            let entry = &mut self.fat[*cluster as usize];
            *entry = *entry & !MASK | next;
        }
        self.write_fat(&clusters)?;
        Ok(clusters.first().copied().unwrap_or(0))
    }

    /// Makes a file's name lead to a stored body: one sector is written. What it led to has no file then.
    pub fn repoint(&mut self, entry: &Entry, cluster: u32, size: u32) -> io::Result<()> {
        let mut sector = [0; SECTOR];
        let start = entry.at / SECTOR as u64 * SECTOR as u64;
        self.disk.read_at(self.offset + start, &mut sector)?;
        let within = (entry.at - start) as usize;
        let bytes = &mut sector[within..within + ENTRY];
        self.stamp.put(bytes);
        put_place(bytes, cluster, size);
        self.disk.write_at(self.offset + start, &sector)
    }

    /// Removes a file.
    pub fn remove(&mut self, entry: &Entry) -> io::Result<()> {
        let clusters = self.chain(entry.cluster)?;
        for at in std::iter::once(&entry.at).chain(&entry.long_at) {
            self.patch(*at, &[DELETED])?;
        }
        for cluster in &clusters {
            self.fat[*cluster as usize] &= !MASK;
        }
        self.write_fat(&clusters)
    }

    /// Writes the count of free clusters, which is advice and was wrong until now.
    pub fn finish(&mut self) -> io::Result<()> {
        let mut info = [0; SECTOR];
        self.disk.read_at(self.offset + SECTOR as u64, &mut info)?;
        if info.starts_with(b"RRaA") {
            let free = (self.free() / self.cluster_bytes as u64) as u32;
            info[0x1e8..0x1ec].copy_from_slice(&free.to_le_bytes());
            self.disk.write_at(self.offset + SECTOR as u64, &info)?;
        }
        Ok(())
    }

    fn place(&self, cluster: u32) -> u64 {
        self.data_offset + u64::from(cluster - 2) * self.cluster_bytes as u64
    }

    fn chain(&self, first: u32) -> io::Result<Vec<u32>> {
        let (mut clusters, mut next) = (Vec::new(), first);
        while next != 0 && next < 0x0fff_fff8 {
            if next < 2 || next as usize >= self.fat.len() || clusters.len() > self.fat.len() {
                return Err(damaged("a chain of clusters leads nowhere"));
            }
            clusters.push(next);
            next = self.fat[next as usize] & MASK;
        }
        Ok(clusters)
    }

    fn read_chain(&self, first: u32) -> io::Result<Vec<u8>> {
        let clusters = self.chain(first)?;
        let mut bytes = vec![0; clusters.len() * self.cluster_bytes];
        for (cluster, part) in clusters.iter().zip(bytes.chunks_mut(self.cluster_bytes)) {
            self.disk.read_at(self.offset + self.place(*cluster), part)?;
        }
        Ok(bytes)
    }

    /// The places of all entries of a directory, and whether any entry can follow.
    fn places(&self, first: u32) -> io::Result<Vec<u64>> {
        let mut places = Vec::new();
        for cluster in self.chain(first)? {
            places.extend((0..self.cluster_bytes / ENTRY).map(|i| self.place(cluster) + (i * ENTRY) as u64));
            if places.len() > MAX_ENTRIES {
                return Err(damaged("a directory has too many entries"));
            }
        }
        Ok(places)
    }

    fn list(&self, first: u32) -> io::Result<Vec<Entry>> {
        let (bytes, places) = (self.read_chain(first)?, self.places(first)?);
        let (mut entries, mut long) = (Vec::new(), Vec::<(u64, [u8; ENTRY])>::new());
        for (raw, at) in bytes.chunks_exact(ENTRY).zip(places).take_while(|(raw, _)| raw[0] != 0) {
            if raw[0] == DELETED {
                long.clear();
            } else if raw[11] == LONG_NAME {
                let mut copy = [0; ENTRY];
                copy.copy_from_slice(raw);
                long.push((at, copy));
            } else {
                let mut short = [0; 11];
                short.copy_from_slice(&raw[..11]);
                let parts = std::mem::take(&mut long);
                // Long entries without their short one, which an interruption leaves, are of no file.
                let belongs = parts.iter().all(|(_, part)| part[13] == sum_of(&short));
                let parts = if belongs { parts } else { Vec::new() };
                if raw[0] != b'.' && raw[11] & VOLUME == 0 {
                    let cluster = u32::from(u16_of(raw, 26)) | u32::from(u16_of(raw, 20)) << 16;
                    let name = if parts.is_empty() { short_text(&short) } else { long_text(&parts) };
                    let (size, is_directory) = (u32_of(raw, 28), raw[11] & DIRECTORY != 0);
                    let long_at = parts.into_iter().map(|(at, _)| at).collect();
                    entries.push(Entry { name, cluster, size, is_directory, short, at, long_at });
                }
            }
        }
        Ok(entries)
    }

    fn mark(&self, directory: u32, depth: usize, used: &mut BTreeSet<u32>) -> io::Result<()> {
        used.extend(self.chain(directory)?);
        for entry in self.list(directory)? {
            if entry.is_directory && depth < MAX_DEPTH && !used.contains(&entry.cluster) {
                self.mark(entry.cluster, depth + 1, used)?;
            } else if !entry.is_directory {
                used.extend(self.chain(entry.cluster)?);
            }
        }
        Ok(())
    }

    /// Places for `count` entries one behind the other.
    fn free_slots(&self, directory: &str, count: usize) -> io::Result<Vec<u64>> {
        let first = self.find(directory)?.map_or(0, |entry| entry.cluster);
        let (bytes, places) = (self.read_chain(first)?, self.places(first)?);
        let free: Vec<bool> = bytes.chunks_exact(ENTRY).map(|raw| raw[0] == DELETED || raw[0] == 0).collect();
        // Entries behind the first that was never used are all free: zeros follow to the directory's end.
        let start = (0..free.len())
            .find(|&start| free[start..].len() >= count && free[start..start + count].iter().all(|f| *f));
        let full = || io::Error::new(io::ErrorKind::StorageFull, format!("directory {directory} is full"));
        let start = start.ok_or_else(full)?;
        Ok(places[start..start + count].to_vec())
    }

    /// Free clusters: in one piece where there is one, else the first there are.
    fn allocate(&self, count: usize) -> io::Result<Vec<u32>> {
        let free: Vec<u32> =
            (2..self.fat.len() as u32).filter(|cluster| self.fat[*cluster as usize] & MASK == FREE).collect();
        let in_one = |window: &&[u32]| window[count - 1] - window[0] == count as u32 - 1;
        match count {
            0 => Ok(Vec::new()),
            _ if free.len() < count => Err(io::Error::new(io::ErrorKind::StorageFull, "no free clusters")),
            _ => Ok(free.windows(count).find(in_one).unwrap_or(&free[..count]).to_vec()),
        }
    }

    /// Writes the sectors of both FATs that hold these clusters, the first FAT first.
    fn write_fat(&self, clusters: &[u32]) -> io::Result<()> {
        const PER_SECTOR: u32 = SECTOR as u32 / 4;
        let sectors: BTreeSet<u32> = clusters.iter().map(|cluster| cluster / PER_SECTOR).collect();
        for copy in 0..2 {
            for sector in &sectors {
                let from = (sector * PER_SECTOR) as usize;
                let entries = &self.fat[from..self.fat.len().min(from + PER_SECTOR as usize)];
                let mut bytes = [0; SECTOR];
                for (entry, place) in entries.iter().zip(bytes.chunks_exact_mut(4)) {
                    place.copy_from_slice(&entry.to_le_bytes());
                }
                let at = self.fat_offset + copy * self.fat_bytes + u64::from(*sector) * SECTOR as u64;
                self.disk.write_at(self.offset + at, &bytes)?;
            }
        }
        Ok(())
    }

    /// Changes bytes of one sector by writing all of it.
    fn patch(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let start = at / SECTOR as u64 * SECTOR as u64;
        let mut sector = [0; SECTOR];
        self.disk.read_at(self.offset + start, &mut sector)?;
        let within = (at - start) as usize;
        sector[within..within + bytes.len()].copy_from_slice(bytes);
        self.disk.write_at(self.offset + start, &sector)
    }
}

/// First cluster and length of an entry.
fn put_place(entry: &mut [u8], cluster: u32, size: u32) {
    let bytes = cluster.to_le_bytes();
    entry[26..28].copy_from_slice(&bytes[..2]);
    entry[20..22].copy_from_slice(&bytes[2..]);
    entry[28..32].copy_from_slice(&size.to_le_bytes());
}

/// The checksum of a short name that its long entries carry.
fn sum_of(short: &[u8; 11]) -> u8 {
    short.iter().fold(0u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte))
}

/// A short name that no other entry has: letters and digits of the long one, and a number.
fn short_name(name: &str, others: &[Entry]) -> io::Result<[u8; 11]> {
    let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    let kept = |text: &str, most: usize| -> Vec<u8> {
        text.bytes().filter(u8::is_ascii_alphanumeric).take(most).map(|b| b.to_ascii_uppercase()).collect()
    };
    (1..=9)
        .map(|number| {
            let mut short = [b' '; 11];
            let (stem, extension) = (kept(stem, 6), kept(extension, 3));
            short[..stem.len()].copy_from_slice(&stem);
            short[stem.len()..stem.len() + 2].copy_from_slice(&[b'~', b'0' + number]);
            short[8..8 + extension.len()].copy_from_slice(&extension);
            short
        })
        .find(|short| others.iter().all(|other| other.short != *short))
        .ok_or_else(|| io::Error::new(io::ErrorKind::StorageFull, "too many names of one kind in a directory"))
}

/// The entries of a long name, in the order they stand in: the last part first.
fn long_name(name: &str, short: &[u8; 11]) -> Vec<[u8; ENTRY]> {
    let mut units: Vec<u16> = name.encode_utf16().collect();
    let count = units.len().div_ceil(LONG_AT.len());
    if units.len() < count * LONG_AT.len() {
        units.push(0);
    }
    units.resize(count * LONG_AT.len(), 0xffff);
    let encode = |(index, part): (usize, &[u16])| {
        let mut entry = [0; ENTRY];
        entry[0] = (index as u8 + 1) | if index + 1 == count { 0x40 } else { 0 };
        entry[11] = LONG_NAME;
        entry[13] = sum_of(short);
        for (at, unit) in LONG_AT.into_iter().zip(part) {
            entry[at..at + 2].copy_from_slice(&unit.to_le_bytes());
        }
        entry
    };
    let mut entries: Vec<_> = units.chunks(LONG_AT.len()).enumerate().map(encode).collect();
    entries.reverse();
    entries
}

fn long_text(parts: &[(u64, [u8; ENTRY])]) -> String {
    let units = parts.iter().rev().flat_map(|(_, part)| LONG_AT.map(|at| u16_of(part, at)));
    let units: Vec<u16> = units.take_while(|unit| *unit != 0 && *unit != 0xffff).collect();
    String::from_utf16_lossy(&units)
}

fn short_text(short: &[u8; 11]) -> String {
    let part = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    match part(&short[8..]) {
        extension if extension.is_empty() => part(&short[..8]),
        extension => format!("{}.{extension}", part(&short[..8])),
    }
}

/// A little-endian field. Callers know that it is there.
fn u16_of(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_of(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_of(bytes, at)) | u32::from(u16_of(bytes, at + 2)) << 16
}
