//! A FAT volume, read: every file with the places of its bytes, and what is free.
//!
//! ```text
//!  boot sector   reserved sectors   FATs   root directory (FAT12, FAT16)   clusters from number 2
//! ```
//!
//! [`crate::boot::esp`] writes volumes; this reads anybody's, FAT12 and FAT16 as well, and wants to know where the
//! bytes lie. A chain that leaves the volume or bites its tail ends there, and the volume is said to be damaged.
//! Specification: "FAT: General Overview of On-Disk Format" 1.03.

use crate::ext4::read::ReadAt;
use std::io;

/// Largest FAT that is read, in bytes: that of a volume of 16 million clusters.
const MAX_FAT: u64 = 64 << 20;
/// Most files and directories.
const MAX_NAMES: usize = 100_000;
/// Deepest directory.
const MAX_DEPTH: usize = 32;
/// Largest directory, in bytes (the specification's limit).
const MAX_DIRECTORY: u64 = 65_536 * 32;
/// Most bytes of all directories: without damage no two share a cluster.
const MAX_DIRECTORIES: u64 = 64 << 20;

const READ_ONLY_LFN: u8 = 0x0f;
const VOLUME_LABEL: u8 = 0x08;
const DIRECTORY: u8 = 0x10;

/// A volume.
pub struct Volume<'a> {
    disk: &'a dyn ReadAt,
    offset: u64,
    sector: u64,
    cluster: u64,
    /// Of cluster 2, counted from the volume's start.
    data: u64,
    clusters: u32,
    fat: Vec<u8>,
    bits: u8,
    root: Root,
    /// Clusters that may still be followed: chains that share clusters could be endless work.
    left: u64,
    /// Volume identifier.
    pub id: u32,
    /// Label in the boot sector.
    pub label: Vec<u8>,
    /// Files and directories, directories with `/` at their ends.
    pub files: Vec<File>,
    /// Something does not lead anywhere.
    pub damaged: bool,
}

#[derive(Clone, Copy)]
enum Root {
    Fixed(u64, u64),
    Chain(u32),
}

/// A file or a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// With `/` between names and none at the start.
    pub path: String,
    /// Bytes; 0 for a directory.
    pub size: u64,
    /// Where its clusters lie: offset on the disk and bytes.
    pub places: Vec<(u64, u64)>,
    /// It is a directory.
    pub is_directory: bool,
}

impl<'a> Volume<'a> {
    /// Reads the volume at `offset`.
    pub fn open(disk: &'a dyn ReadAt, offset: u64) -> io::Result<Volume<'a>> {
        let bad = |what: &'static str| io::Error::new(io::ErrorKind::InvalidData, what);
        let mut boot = [0; 512];
        disk.read_at(offset, &mut boot)?;
        let u16 = |at: usize| u64::from(u16::from_le_bytes([boot[at], boot[at + 1]]));
        let u32 = |at: usize| u32::from_le_bytes(boot[at..at + 4].try_into().unwrap_or_default());
        let (sector, per_cluster) = (u16(11), u64::from(boot[13]));
        if ![512, 1024, 2048, 4096].contains(&sector) || !per_cluster.is_power_of_two() || boot[16] == 0 {
            return Err(bad("no FAT volume"));
        }
        let fat_sectors = if u16(22) != 0 { u16(22) } else { u32(36).into() };
        let total = if u16(19) != 0 { u16(19) } else { u32(32).into() };
        let fixed_root = (u16(17) * 32).next_multiple_of(sector);
        let fats_at = u16(14) * sector;
        let root_at = fats_at + u64::from(boot[16]) * fat_sectors * sector;
        let data = root_at + fixed_root;
        let cluster = sector * per_cluster;
        let clusters =
            (total * sector).checked_sub(data).ok_or_else(|| bad("a FAT volume without clusters"))? / cluster;
        let bits = match clusters {
            0..4085 => 12,
            4085..65525 => 16,
            _ => 32,
        };
        let fat_bytes = (fat_sectors * sector).min(((clusters + 2) * u64::from(bits)).div_ceil(8));
        if fat_bytes > MAX_FAT {
            return Err(bad("a FAT volume of too many clusters"));
        }
        let mut fat = vec![0; fat_bytes as usize];
        disk.read_at(offset + fats_at, &mut fat)?;
        let (root, extra) = if bits == 32 { (Root::Chain(u32(44)), 28) } else { (Root::Fixed(root_at, fixed_root), 0) };
        let mut volume = Volume {
            disk,
            offset,
            sector,
            cluster,
            data,
            clusters: clusters as u32,
            fat,
            bits,
            root,
            left: 2 * clusters + 65_536,
            id: u32(39 + extra),
            label: boot[43 + extra..54 + extra].trim_ascii_end().to_vec(),
            files: Vec::new(),
            damaged: false,
        };
        volume.list();
        Ok(volume)
    }

    /// 12, 16 or 32.
    pub fn bits(&self) -> u8 {
        self.bits
    }

    /// Bytes before the first cluster: boot sector, FATs, a root directory of fixed size.
    pub fn head(&self) -> u64 {
        self.data
    }

    /// Free clusters as places on the disk, neighbours together.
    pub fn free(&self) -> Vec<(u64, u64)> {
        let mut places: Vec<(u64, u64)> = Vec::new();
        for number in 2..self.clusters + 2 {
            if self.next(number) == Some(0) {
                self.push(&mut places, number);
            }
        }
        places
    }

    /// End of the last cluster, on the disk.
    pub fn end(&self) -> u64 {
        self.offset + self.data + u64::from(self.clusters) * self.cluster
    }

    /// The file at a path, whatever its case.
    pub fn find(&self, path: &str) -> Option<&File> {
        let path = path.replace('\\', "/");
        let path = path.trim_start_matches('/');
        self.files.iter().find(|file| !file.is_directory && file.path.eq_ignore_ascii_case(path))
    }

    /// The bytes of a file, or its first `limit`.
    pub fn read(&self, file: &File, limit: u64) -> io::Result<Vec<u8>> {
        let mut left = file.size.min(limit);
        let mut bytes = Vec::new();
        for (offset, length) in &file.places {
            let part = left.min(*length);
            let start = bytes.len();
            bytes.resize(start + part as usize, 0);
            self.disk.read_at(*offset, &mut bytes[start..])?;
            left -= part;
        }
        match left {
            0 => Ok(bytes),
            _ => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "its chain of clusters ends early")),
        }
    }

    /// The entry of a cluster in the FAT; `None` outside it.
    fn next(&self, cluster: u32) -> Option<u32> {
        let n = cluster as usize;
        let byte = |at: usize| self.fat.get(at).copied().map(u32::from);
        Some(match self.bits {
            12 => {
                let pair = byte(n + n / 2)? | byte(n + n / 2 + 1)? << 8;
                if n.is_multiple_of(2) { pair & 0xfff } else { pair >> 4 }
            }
            16 => byte(2 * n)? | byte(2 * n + 1)? << 8,
            _ => u32::from_le_bytes(self.fat.get(4 * n..4 * n + 4)?.try_into().ok()?) & 0x0fff_ffff,
        })
    }

    fn push(&self, places: &mut Vec<(u64, u64)>, cluster: u32) {
        let at = self.offset + self.data + u64::from(cluster - 2) * self.cluster;
        match places.last_mut() {
            Some((start, length)) if *start + *length == at => *length += self.cluster,
            _ => places.push((at, self.cluster)),
        }
    }

    /// The places of a chain, and whether it ends as it should.
    fn chain(&mut self, first: u32, limit: u64) -> (Vec<(u64, u64)>, bool) {
        let (mut places, mut cluster, mut bytes) = (Vec::new(), first, 0);
        let end = (1u32 << self.bits.min(28)) - 8;
        while bytes < limit {
            if cluster >= end {
                return (places, true);
            }
            if cluster < 2 || cluster >= self.clusters + 2 || self.left == 0 {
                return (places, false);
            }
            self.left -= 1;
            self.push(&mut places, cluster);
            bytes += self.cluster;
            let Some(next) = self.next(cluster) else { return (places, false) };
            cluster = next;
        }
        (places, true)
    }

    fn list(&mut self) {
        let root = match self.root {
            Root::Fixed(at, length) => vec![(self.offset + at, length)],
            Root::Chain(first) => self.chain(first, MAX_DIRECTORY).0,
        };
        if matches!(self.root, Root::Chain(_)) {
            self.files.push(File { path: "/".into(), size: 0, places: root.clone(), is_directory: true });
        }
        let mut todo = vec![(String::new(), root, 0)];
        let mut total = 0;
        while let Some((path, places, depth)) = todo.pop() {
            let mut bytes = Vec::new();
            for (offset, length) in places {
                let start = bytes.len();
                total += length;
                if total > MAX_DIRECTORIES {
                    self.damaged = true;
                    return;
                }
                bytes.resize(start + length.min(MAX_DIRECTORY) as usize, 0);
                if self.disk.read_at(offset, &mut bytes[start..]).is_err() {
                    self.damaged = true;
                }
            }
            for (name, attributes, first, size) in entries(&bytes) {
                if self.files.len() >= MAX_NAMES {
                    self.damaged = true;
                    return;
                }
                let is_directory = attributes & DIRECTORY != 0;
                let limit = if is_directory { MAX_DIRECTORY } else { size.next_multiple_of(self.cluster) };
                let (places, whole) =
                    if first == 0 { (Vec::new(), size == 0 || is_directory) } else { self.chain(first, limit) };
                self.damaged |= !whole;
                let path = if path.is_empty() { name } else { format!("{path}/{name}") };
                if is_directory && depth < MAX_DEPTH {
                    todo.push((path.clone(), places.clone(), depth + 1));
                }
                let shown = if is_directory { path + "/" } else { path };
                self.files.push(File { path: shown, size: if is_directory { 0 } else { size }, places, is_directory });
            }
        }
        self.files.sort_by(|a, b| a.path.cmp(&b.path));
    }

    /// Bytes of a sector.
    pub fn sector(&self) -> u64 {
        self.sector
    }
}

/// Name, attributes, first cluster and size of every entry of a directory but `.`, `..` and the label.
fn entries(bytes: &[u8]) -> Vec<(String, u8, u32, u64)> {
    let mut found = Vec::new();
    let mut long: Vec<(u8, Vec<u16>)> = Vec::new();
    for entry in bytes.chunks_exact(32) {
        let attributes = entry[11];
        match entry[0] {
            0 => break,
            0xe5 => long.clear(),
            order if attributes & 0x3f == READ_ONLY_LFN => {
                let units = [1..11, 14..26, 28..32].into_iter().flat_map(|range| entry[range].chunks_exact(2));
                long.push((order & 0x3f, units.map(|unit| u16::from_le_bytes([unit[0], unit[1]])).collect()));
                long.truncate(20);
            }
            b'.' => long.clear(),
            _ if attributes & VOLUME_LABEL != 0 => long.clear(),
            _ => {
                long.sort_by_key(|(order, _)| *order);
                let units = long.drain(..).flat_map(|(_, units)| units).take_while(|unit| *unit != 0);
                let name: String = char::decode_utf16(units).map(|c| c.unwrap_or('\u{fffd}')).collect();
                let name = if name.is_empty() { short_name(entry) } else { name.replace('/', "_") };
                let word = |at: usize| u32::from(u16::from_le_bytes([entry[at], entry[at + 1]]));
                let size = u32::from_le_bytes(entry[28..32].try_into().unwrap_or_default());
                found.push((name, attributes, word(26) | word(20) << 16, size.into()));
            }
        }
    }
    found
}

/// `NAME.EXT`; bits of byte 12 say which of both is meant in lower case.
fn short_name(entry: &[u8]) -> String {
    let part = |range: std::ops::Range<usize>, lower: bool| {
        let text: String =
            entry[range].trim_ascii_end().iter().map(|&byte| if byte < 0x80 { byte as char } else { '_' }).collect();
        if lower { text.to_lowercase() } else { text }
    };
    let (stem, end) = (part(0..8, entry[12] & 8 != 0), part(8..11, entry[12] & 16 != 0));
    let name = if end.is_empty() { stem } else { format!("{stem}.{end}") };
    name.replace('/', "_")
}
