//! Changing a FAT32 volume in place so that whoever reads it at any moment, or after any interruption, finds every file
//! whole that was whole before.
//!
//! ```text
//! begin     the mark, an empty file in the root folder                       says that a change is under way
//! create    body to free clusters ─▶ both FATs ─▶ directory entry            until the last sector there is no file
//! repoint   body, FATs ─▶ one sector of the directory: cluster and length    the one step that changes a file
//! remove    directory entry ─▶ both FATs
//! end       count of free clusters ─▶ the mark removed
//! ```
//!
//! What is written goes out in the order above; the caller says when it must have reached the disk.
//!
//! A volume on which anything is damaged is not changed: a cluster that looks free may be a file's then. Clusters marked
//! bad stay marked, and clusters that no file has stay as they are: they may be what a repair is going to find. With the
//! mark there they are what an interruption of ours left, as are parts of names and FATs that differ, and are mended.
//!
//! Not supported: growing a directory, FAT12 and FAT16, sectors of other than 512 bytes, volumes that keep one FAT alone.

use super::directory::{DELETED, END};
use super::links::Link;
use super::names::{long_name, short_name};
use super::time::Stamp;
use super::{ENTRY, Entry, Error, Fault, Volume, Walk};
use crate::formats::{ReadAt, u32_at};
use crate::output::Output;
use std::collections::BTreeSet;
use std::io;

const SECTOR: usize = 512;
/// Where the count of free clusters is in its sector.
const FREE_COUNT: usize = 0x1e8;
/// FAT entries in a sector.
const PER_SECTOR: u32 = SECTOR as u32 / 4;
/// The short name of the mark: one entry, so that it is there or not.
const MARK: &[u8; 11] = b"BOOTDISKTMP";

/// A disk as readers want it.
struct Disk<'a>(&'a dyn Output);

impl ReadAt for Disk<'_> {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.0.read_at(offset, buffer)
    }
}

/// A volume that is being changed.
pub struct Editor<'a> {
    disk: &'a dyn Output,
    volume: Volume<Disk<'a>>,
    stamp: Stamp,
    walk: Walk,
    /// The entry of the mark, when a change is under way.
    mark: Option<Entry>,
    /// An earlier change never came to its end.
    interrupted: bool,
    /// It left a count of free clusters that is wrong.
    recount: bool,
    /// Free clusters when the volume was opened.
    free_before: u32,
    /// Clusters that this change took from files and that are free when it ends.
    dropped: BTreeSet<u32>,
    /// Clusters of no file that were not given free, as somebody needs them still.
    withheld: BTreeSet<u32>,
}

impl<'a> Editor<'a> {
    /// Opens the volume in the partition at `offset` of the disk, `length` bytes long. New entries get the time
    /// `seconds`. Nothing is written.
    ///
    /// # Errors
    /// When it is damaged, or of a kind that is not changed.
    pub fn open(disk: &'a dyn Output, offset: u64, length: u64, seconds: i64) -> Result<Editor<'a>, Error> {
        let volume = Volume::open(Disk(disk), offset, length)?;
        let shape = &volume.shape;
        if shape.bits != 32 || shape.sector != SECTOR as u64 {
            return Err(Error::Unsupported("it is no FAT32 with sectors of 512 bytes"));
        }
        if shape.only.is_some() {
            return Err(Error::Unsupported("it keeps one FAT alone"));
        }
        let walk = volume.walk();
        if let Some(fault) = walk.faults.first() {
            return Err(fault.clone().into());
        }
        let mark = volume.list(None)?.entries.into_iter().find(|entry| entry.short == *MARK && entry.size == 0);
        let interrupted = mark.is_some();
        let editor = Editor {
            disk,
            stamp: Stamp::from_unix(seconds),
            walk,
            mark,
            interrupted,
            recount: interrupted,
            free_before: volume.links.free().count() as u32,
            dropped: BTreeSet::new(),
            withheld: BTreeSet::new(),
            volume,
        };
        if !interrupted && !editor.sectors_that_differ()?.is_empty() {
            return Err(Fault::FatsDiffer.into());
        }
        Ok(editor)
    }

    /// The volume, to be read.
    pub fn volume(&self) -> &Volume<impl ReadAt + use<'a>> {
        &self.volume
    }

    /// Everything that was on it when it was opened.
    pub fn walk(&self) -> &Walk {
        &self.walk
    }

    /// Says that a change is under way; what an earlier one left is mended. Whatever follows must be on the disk later
    /// than this.
    pub fn begin(&mut self) -> Result<(), Error> {
        if self.mark.is_none() {
            let at = self.free_slots("", 1)?[0];
            self.patch(at, &self.entry(MARK, 0, 0))?;
            self.mark = self.volume.list(None)?.entries.into_iter().find(|entry| entry.at == at);
        } else if self.interrupted {
            for at in &self.walk.orphans {
                self.patch(*at, &[DELETED])?;
            }
            let differ = self.sectors_that_differ()?;
            self.write_sectors(&differ)?;
        }
        Ok(())
    }

    /// Whether the mark is there.
    pub fn is_under_way(&self) -> bool {
        self.mark.is_some()
    }

    /// Whether an earlier change never came to its end, and is not mended yet.
    pub fn was_interrupted(&self) -> bool {
        self.interrupted
    }

    /// A stored body that no file is going to have; it is free at the next [`Editor::reclaim`].
    pub fn forget(&mut self, cluster: u32) {
        let most = u64::from(self.volume.shape.clusters);
        self.dropped.extend(self.volume.links.follow(cluster, most).clusters);
    }

    /// Gives free what this change took from files, and what an earlier one left that was interrupted; but nothing that
    /// lies in `keep`, places on the disk.
    pub fn reclaim(&mut self, keep: &[(u64, u64)]) -> Result<(), Error> {
        let kept = |cluster: u32| {
            let first = self.volume.bytes.start + self.volume.shape.place(cluster);
            let end = first + self.volume.shape.cluster;
            keep.iter().any(|(offset, length)| *offset < end && offset.saturating_add(*length) > first)
        };
        let links = &self.volume.links;
        let left = |cluster: &u32| {
            let used = matches!(links.get(*cluster), Some(Link::Next(_) | Link::End));
            self.interrupted && used && !self.walk.uses(*cluster)
        };
        let nobodys = links.all().filter(left).chain(self.dropped.iter().copied()).chain(self.withheld.iter().copied());
        let (withheld, lost): (BTreeSet<u32>, BTreeSet<u32>) = nobodys.partition(|cluster| kept(*cluster));
        self.release(&lost.into_iter().collect::<Vec<_>>())?;
        self.dropped.clear();
        self.withheld = withheld;
        self.interrupted = false;
        Ok(())
    }

    /// Bytes of free clusters.
    pub fn free(&self) -> u64 {
        self.volume.links.free().count() as u64 * self.volume.shape.cluster
    }

    /// Bytes that a file of `length` takes.
    pub fn taken(&self, length: usize) -> u64 {
        (length as u64).next_multiple_of(self.volume.shape.cluster)
    }

    /// Makes a file in the directory at `directory`. There must be none of this name.
    pub fn create(&mut self, directory: &str, name: &str, body: &[u8]) -> Result<Entry, Error> {
        let others = self.volume.entries(directory)?;
        let short = short_name(name, |short| others.iter().any(|other| other.short == *short))?;
        let parts = long_name(name, &short);
        let slots = self.free_slots(directory, 1 + parts.len())?;
        let cluster = self.store(body)?;
        let (long_at, at) = slots.split_at(parts.len());
        for (part, at) in parts.iter().zip(long_at) {
            self.patch(*at, part)?;
        }
        self.patch(at[0], &self.entry(&short, cluster, body.len() as u32))?;
        let made = self.volume.entries(directory)?.into_iter().find(|entry| entry.at == at[0]);
        made.ok_or_else(|| io::Error::other("the file that was made is not there").into())
    }

    /// Writes a body that belongs to no file yet; returns its first cluster.
    pub fn store(&mut self, body: &[u8]) -> Result<u32, Error> {
        let clusters = self.allocate(body.len().div_ceil(self.volume.shape.cluster as usize))?;
        self.write_body(&clusters, body)?;
        for (index, cluster) in clusters.iter().enumerate() {
            self.volume.links.set(*cluster, clusters.get(index + 1).map_or(Link::End, |next| Link::Next(*next)));
        }
        self.write_fat(&clusters)?;
        Ok(clusters.first().copied().unwrap_or(0))
    }

    /// In runs, so that a kernel in one piece is one write; the last sector is filled with zeros.
    fn write_body(&self, clusters: &[u32], body: &[u8]) -> io::Result<()> {
        let mut left = body;
        for (place, length) in self.volume.on_disk(clusters.iter().copied()) {
            let (part, rest) = left.split_at(left.len().min(length as usize));
            let (whole, end) = part.split_at(part.len() / SECTOR * SECTOR);
            self.disk.write_at(place, whole)?;
            if !end.is_empty() {
                let mut last = [0; SECTOR];
                last[..end.len()].copy_from_slice(end);
                self.disk.write_at(place + whole.len() as u64, &last)?;
            }
            left = rest;
        }
        Ok(())
    }

    /// Makes a file's name lead to a stored body: one sector is written. What it led to is free when the change ends.
    pub fn repoint(&mut self, entry: &Entry, cluster: u32, size: u32) -> Result<(), Error> {
        let start = entry.at / SECTOR as u64 * SECTOR as u64;
        let mut sector = self.sector(start)?;
        let within = (entry.at - start) as usize;
        let bytes = &mut sector[within..within + ENTRY];
        self.stamp.put(bytes);
        put_place(bytes, cluster, size);
        self.write(start, &sector)?;
        self.dropped.extend(self.volume.chain_of(entry).clusters);
        Ok(())
    }

    /// Removes a file.
    pub fn remove(&mut self, entry: &Entry) -> Result<(), Error> {
        let clusters = self.volume.chain_of(entry).clusters;
        for at in std::iter::once(&entry.at).chain(&entry.long_at) {
            self.patch(*at, &[DELETED])?;
        }
        self.release(&clusters)
    }

    /// Brings the count of free clusters up to date, which is advice. One that was wrong before stays as wrong, and one
    /// that is not known so: only what an interruption of ours left is counted anew. What was written so far must be on
    /// the disk before [`Editor::end`].
    pub fn count(&mut self) -> Result<(), Error> {
        const UNKNOWN: u32 = u32::MAX;
        let Some(at) = self.volume.shape.info else { return Ok(()) };
        let mut info = self.sector(at)?;
        let said = u32_at(&info, FREE_COUNT).unwrap_or(UNKNOWN);
        if info.starts_with(b"RRaA") && (said != UNKNOWN || self.recount) {
            let free = self.volume.links.free().count() as u32;
            let count = if self.recount { free } else { said.wrapping_sub(self.free_before).wrapping_add(free) };
            info[FREE_COUNT..FREE_COUNT + 4].copy_from_slice(&count.to_le_bytes());
            self.write(at, &info)?;
        }
        Ok(())
    }

    /// Says that the change is at its end. It is not as long as clusters that no file has were kept for somebody: the next
    /// change is to give them free.
    pub fn end(&mut self) -> Result<(), Error> {
        match self.mark.take() {
            _ if !self.withheld.is_empty() => Ok(()),
            Some(mark) => Ok(self.patch(mark.at, &[DELETED])?),
            None => Ok(()),
        }
    }

    /// The bytes of an entry of a file.
    fn entry(&self, short: &[u8; 11], cluster: u32, size: u32) -> [u8; ENTRY] {
        let mut entry = [0; ENTRY];
        entry[..11].copy_from_slice(short);
        entry[11] = 0x20;
        self.stamp.put(&mut entry);
        put_place(&mut entry, cluster, size);
        entry
    }

    fn release(&mut self, clusters: &[u32]) -> Result<(), Error> {
        for cluster in clusters {
            self.volume.links.set(*cluster, Link::Free);
        }
        Ok(self.write_fat(clusters)?)
    }

    /// Places for `count` entries one behind the other. What lies behind the directory's last entry is taken too, and
    /// then an end is written behind it first: nobody says that there are zeros.
    fn free_slots(&self, directory: &str, count: usize) -> Result<Vec<u64>, Error> {
        let folder = self.volume.find(directory)?;
        let mut places = Vec::new();
        for (offset, length) in self.volume.directory_places(folder.as_ref())? {
            places.extend((0..length).step_by(ENTRY).map(|entry| offset + entry));
        }
        let first: Vec<u8> = places.iter().map(|at| self.byte(*at)).collect::<io::Result<_>>()?;
        let end = first.iter().position(|byte| *byte == END).unwrap_or(first.len());
        let is_free = |index: usize| index >= end || first[index] == DELETED;
        let fits = |start: &usize| start + count <= first.len() && (*start..start + count).all(is_free);
        let start = (0..=end).find(fits).ok_or_else(|| Error::DirectoryFull(directory.to_owned()))?;
        let after = start + count;
        if after > end && first.get(after).is_some_and(|byte| *byte != END) {
            self.patch(places[after], &[END])?;
        }
        Ok(places[start..after].to_vec())
    }

    fn byte(&self, at: u64) -> io::Result<u8> {
        let mut byte = [0];
        self.volume.bytes.read_at(at, &mut byte).map(|()| byte[0])
    }

    /// Free clusters: in one piece where there is one, else the first there are.
    fn allocate(&self, count: usize) -> Result<Vec<u32>, Error> {
        let free: Vec<u32> = self.volume.links.free().collect();
        let in_one = |window: &&[u32]| window[count - 1] - window[0] == count as u32 - 1;
        match count {
            0 => Ok(Vec::new()),
            _ if free.len() < count => Err(Error::Full),
            _ => Ok(free.windows(count).find(in_one).unwrap_or(&free[..count]).to_vec()),
        }
    }

    /// Writes the sectors of every FAT that hold these clusters, the first FAT first.
    fn write_fat(&self, clusters: &[u32]) -> io::Result<()> {
        self.write_sectors(&clusters.iter().map(|cluster| cluster / PER_SECTOR).collect())
    }

    fn write_sectors(&self, sectors: &BTreeSet<u32>) -> io::Result<()> {
        let shape = &self.volume.shape;
        for copy in 0..shape.fats {
            for sector in sectors {
                let at = u64::from(*sector) * SECTOR as u64;
                let place = shape.fats_at + copy * shape.fat_bytes + at;
                let entries = &self.volume.links.bytes()[at as usize..];
                let entries = &entries[..entries.len().min(SECTOR)];
                // What follows the last cluster's entry is nobody's and stays.
                let mut bytes = self.sector(place)?;
                bytes[..entries.len()].copy_from_slice(entries);
                self.write(place, &bytes)?;
            }
        }
        Ok(())
    }

    /// Sectors of the FAT that are another in a copy of it.
    fn sectors_that_differ(&self) -> Result<BTreeSet<u32>, Error> {
        let shape = &self.volume.shape;
        let first = self.volume.links.bytes();
        let mut differ = BTreeSet::new();
        for copy in 1..shape.fats {
            let mut other = vec![0; first.len()];
            self.volume.bytes.read_at(shape.fats_at + copy * shape.fat_bytes, &mut other)?;
            let pairs = first.chunks(SECTOR).zip(other.chunks(SECTOR));
            differ.extend((0..).zip(pairs).filter(|(_, (one, other))| one != other).map(|(sector, _)| sector));
        }
        Ok(differ)
    }

    /// Changes bytes of one sector by writing all of it.
    fn patch(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let start = at / SECTOR as u64 * SECTOR as u64;
        let mut sector = self.sector(start)?;
        let within = (at - start) as usize;
        sector[within..within + bytes.len()].copy_from_slice(bytes);
        self.write(start, &sector)
    }

    fn sector(&self, at: u64) -> io::Result<[u8; SECTOR]> {
        let mut sector = [0; SECTOR];
        self.volume.bytes.read_at(at, &mut sector).map(|()| sector)
    }

    fn write(&self, at: u64, sector: &[u8; SECTOR]) -> io::Result<()> {
        self.disk.write_at(self.volume.bytes.start + at, sector)
    }
}

/// First cluster and length of an entry.
fn put_place(entry: &mut [u8], cluster: u32, size: u32) {
    let bytes = cluster.to_le_bytes();
    entry[26..28].copy_from_slice(&bytes[..2]);
    entry[20..22].copy_from_slice(&bytes[2..]);
    entry[28..32].copy_from_slice(&size.to_le_bytes());
}
