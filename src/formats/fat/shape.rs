//! The boot sector: how a volume is divided.
//!
//! ```text
//! 11 bytes of a sector u16   13 sectors of a cluster u8   14 reserved sectors u16   16 FATs u8   17 root entries u16
//! 19 sectors u16             22 sectors of a FAT u16      32 sectors u32
//! FAT12, FAT16  39 volume id u32  43 label               FAT32  36 sectors of a FAT u32  40 flags u16  44 root u32
//!                                                               48 FSInfo u16  67 volume id u32  71 label
//! ```
//!
//! A volume whose short field for the FAT's sectors is zero is FAT32 to every driver, however few clusters it has:
//! `mkfs.fat -F 32` makes such on small partitions. Of the others the number of clusters decides.

use super::{ENTRY, Fault};
use crate::formats::{u16_at, u32_at};

/// Most clusters that FAT32 numbers.
const MAX_CLUSTERS: u64 = 0x0fff_fff5;
/// Flag of FAT32: only one FAT is kept.
const NOT_MIRRORED: u16 = 0x80;

/// Where things lie, in bytes from the start of the volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// 12, 16 or 32.
    pub bits: u8,
    /// Bytes of a sector.
    pub sector: u64,
    /// Bytes of a cluster.
    pub cluster: u64,
    /// The first FAT.
    pub fats_at: u64,
    /// Bytes of one FAT.
    pub fat_bytes: u64,
    /// FATs there are.
    pub fats: u64,
    /// The one that counts, when it is kept alone.
    pub only: Option<u64>,
    /// The root directory.
    pub root: Root,
    /// Cluster 2.
    pub data: u64,
    /// Clusters.
    pub clusters: u32,
    /// The sector with the count of free clusters.
    pub info: Option<u64>,
    /// Bytes of the whole volume.
    pub size: u64,
    /// Its identifier.
    pub id: u32,
    /// Its label, as the boot sector has it.
    pub label: [u8; 11],
}

/// Where a root directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Root {
    /// At a place of its own: offset and bytes.
    Fixed(u64, u64),
    /// In clusters, as every other.
    Chain(u32),
}

impl Shape {
    /// Reads a boot sector.
    pub fn decode(boot: &[u8; 512]) -> Result<Shape, Fault> {
        let u16 = |at| u64::from(u16_at(boot, at).unwrap_or_default());
        let u32 = |at| u32_at(boot, at).unwrap_or_default();
        let (sector, per_cluster, fats) = (u16(11), u64::from(boot[13]), u64::from(boot[16]));
        let possible = [512, 1024, 2048, 4096].contains(&sector) && per_cluster.is_power_of_two();
        if !possible || fats == 0 || boot[510..] != [0x55, 0xaa] || u16(14) == 0 {
            return Err(Fault::NotFat);
        }
        let is_fat32 = u16(22) == 0;
        let fat_bytes = if is_fat32 { u64::from(u32(36)) } else { u16(22) } * sector;
        let size = if u16(19) != 0 { u16(19) } else { u64::from(u32(32)) } * sector;
        let fixed_root = (u16(17) * ENTRY as u64).next_multiple_of(sector);
        let fats_at = u16(14) * sector;
        let root_at = fats_at + fats * fat_bytes;
        let data = root_at + fixed_root;
        let cluster = sector * per_cluster;
        let clusters = size.checked_sub(data).ok_or(Fault::NoClusters)? / cluster;
        let bits = match clusters {
            0 => return Err(Fault::NoClusters),
            _ if is_fat32 => 32,
            1..4085 => 12,
            _ => 16,
        };
        if clusters > MAX_CLUSTERS {
            return Err(Fault::ManyClusters);
        }
        if ((clusters + 2) * u64::from(bits)).div_ceil(8) > fat_bytes {
            return Err(Fault::ShortFat);
        }
        let flags = u16(40) as u16;
        let (root, extra) = if is_fat32 { (Root::Chain(u32(44)), 28) } else { (Root::Fixed(root_at, fixed_root), 0) };
        Ok(Shape {
            bits,
            sector,
            cluster,
            fats_at,
            fat_bytes,
            fats,
            only: (is_fat32 && flags & NOT_MIRRORED != 0).then_some(u64::from(flags & 0xf)),
            root,
            data,
            clusters: clusters as u32,
            info: Some(u16(48)).filter(|at| is_fat32 && ![0, 0xffff].contains(at)).map(|at| at * sector),
            size,
            id: u32(39 + extra),
            label: boot[43 + extra..].first_chunk().copied().unwrap_or_default(),
        })
    }

    /// Bytes of a FAT that are entries of clusters.
    pub fn used_fat(&self) -> u64 {
        ((u64::from(self.clusters) + 2) * u64::from(self.bits)).div_ceil(8)
    }

    /// The FAT that is read.
    pub fn fat_at(&self) -> u64 {
        self.fats_at + self.only.filter(|fat| *fat < self.fats).unwrap_or(0) * self.fat_bytes
    }

    /// The first byte of a cluster, whose number must be one.
    pub fn place(&self, cluster: u32) -> u64 {
        self.data + u64::from(cluster - 2) * self.cluster
    }

    /// Whether there is such a cluster.
    pub fn has(&self, cluster: u32) -> bool {
        cluster >= 2 && cluster - 2 < self.clusters
    }
}
