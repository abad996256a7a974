//! Sizes of a FAT32 volume: how many clusters a size gives, how many a set of files needs.
//!
//! A FAT volume is FAT32 because it has at least 65,525 clusters, whatever its fields say; so the cluster size follows
//! from the volume's size. Specification: "FAT: General Overview of On-Disk Format" 1.03, "FAT Type Determination".

use std::collections::{BTreeMap, BTreeSet};

/// Bytes of a sector.
pub const SECTOR: u64 = 512;
/// Below this number of clusters a volume is FAT16. Some drivers count a few clusters differently: keep a distance.
const MIN_CLUSTERS: u64 = 65_525 + 16;
/// Above this number a volume is not FAT32 any more.
const MAX_CLUSTERS: u64 = 0x0fff_fff4;
/// Boot sector, FSInfo and their copies, as the formatter lays them out.
const RESERVED_SECTORS: u64 = 8;
/// Bytes of a directory entry.
const ENTRY: u64 = 32;

/// How a volume is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Sectors of a cluster: 1, 2, 4 or 8.
    pub sectors_per_cluster: u64,
    /// Sectors of each of the two FATs.
    pub sectors_per_fat: u64,
    /// Clusters for data, the root directory's included.
    pub clusters: u64,
}

impl Geometry {
    /// The largest clusters up to 4 KiB with which a volume of `sectors` is FAT32; `None` when it is too small or too
    /// large for any.
    pub fn of(sectors: u64) -> Option<Geometry> {
        if sectors > u64::from(u32::MAX) {
            return None;
        }
        [8, 4, 2, 1].into_iter().map(|per_cluster| Geometry::with(sectors, per_cluster)).find(Geometry::is_fat32)
    }

    fn with(sectors: u64, sectors_per_cluster: u64) -> Geometry {
        let space = sectors.saturating_sub(RESERVED_SECTORS);
        // Every cluster takes its sectors and an entry of 4 bytes in both FATs; two entries are reserved.
        let entries_per_sector = SECTOR / 4;
        let sectors_per_fat = (space + 2 * sectors_per_cluster).div_ceil(sectors_per_cluster * entries_per_sector + 2);
        let clusters = space.saturating_sub(2 * sectors_per_fat) / sectors_per_cluster;
        Geometry { sectors_per_cluster, sectors_per_fat, clusters }
    }

    fn is_fat32(&self) -> bool {
        (MIN_CLUSTERS..=MAX_CLUSTERS).contains(&self.clusters)
    }

    /// Bytes of a cluster.
    pub fn cluster_bytes(&self) -> u64 {
        self.sectors_per_cluster * SECTOR
    }

    /// First byte of a cluster; the first one has number 2.
    pub fn cluster_offset(&self, cluster: u64) -> u64 {
        (RESERVED_SECTORS + 2 * self.sectors_per_fat + (cluster - 2) * self.sectors_per_cluster) * SECTOR
    }

    /// First byte of the first FAT.
    pub fn fat_offset(&self) -> u64 {
        RESERVED_SECTORS * SECTOR
    }

    /// Clusters these files and their directories take.
    pub fn clusters_for(&self, files: &BTreeMap<String, &[u8]>) -> u64 {
        let bodies: u64 = files.values().map(|body| (body.len() as u64).div_ceil(self.cluster_bytes())).sum();
        let directories = entries_of_directories(files);
        let of_directories = |entries: &u64| (entries * ENTRY).div_ceil(self.cluster_bytes()).max(1);
        bodies + directories.values().map(of_directories).sum::<u64>()
    }
}

/// The smallest volume in bytes, a multiple of 1 MiB, that holds the files; `None` when none does.
pub fn smallest_for(files: &BTreeMap<String, &[u8]>) -> Option<u64> {
    let mut mebibytes = files.values().map(|body| body.len() as u64 >> 20).sum::<u64>().max(1);
    loop {
        let sectors = (mebibytes << 20) / SECTOR;
        match Geometry::of(sectors) {
            Some(geometry) if geometry.clusters_for(files) <= geometry.clusters => return Some(mebibytes << 20),
            None if sectors > u64::from(u32::MAX) => return None,
            _ => mebibytes += 1,
        }
    }
}

/// The directories above the files, each path once, parents before children. The root is not among them.
pub fn directories(files: &BTreeMap<String, &[u8]>) -> BTreeSet<String> {
    let parents = |path: &str| path.match_indices('/').map(|(at, _)| path[..at].to_owned()).collect::<Vec<_>>();
    files.keys().flat_map(|path| parents(path)).collect()
}

/// Entries of 32 bytes in each directory, while it is being written.
fn entries_of_directories(files: &BTreeMap<String, &[u8]>) -> BTreeMap<String, u64> {
    let subdirectories = directories(files);
    // The root has the volume's label; the others have `.` and `..`, each with a long name until they are mended.
    let mut entries: BTreeMap<String, u64> = subdirectories.iter().map(|path| (path.clone(), 4)).collect();
    entries.insert(String::new(), 1);
    for path in files.keys().chain(&subdirectories) {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let for_name = 1 + (name.encode_utf16().count() as u64).div_ceil(13);
        *entries.entry(parent.to_owned()).or_default() += for_name;
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mebibytes(n: u64) -> Option<Geometry> {
        Geometry::of((n << 20) / SECTOR)
    }

    #[test]
    fn the_volume_is_always_fat32() {
        assert_eq!(mebibytes(32), None);
        for n in [33, 34, 64, 65, 66, 100, 128, 129, 130, 260, 261, 264, 512, 1024, 8192] {
            let geometry = mebibytes(n).unwrap();
            assert!(geometry.clusters >= MIN_CLUSTERS, "{n} MiB");
            // The FAT has room for every cluster, and a larger cluster would not do.
            assert!(geometry.sectors_per_fat * 128 >= geometry.clusters + 2, "{n} MiB");
            let doubled = Geometry::with((n << 20) / SECTOR, geometry.sectors_per_cluster * 2);
            assert!(geometry.sectors_per_cluster == 8 || doubled.clusters < MIN_CLUSTERS, "{n} MiB");
        }
        assert_eq!(mebibytes(128).unwrap().sectors_per_cluster, 2);
    }

    #[test]
    fn the_border_to_fat16_keeps_its_distance() {
        let smallest = (60_000..70_000).find(|&sectors| Geometry::of(sectors).is_some()).unwrap();
        let geometry = Geometry::of(smallest).unwrap();
        assert_eq!((geometry.clusters, geometry.sectors_per_cluster), (MIN_CLUSTERS, 1));
        assert_eq!(Geometry::of(1 << 32), None);
    }

    #[test]
    fn directories_are_counted() {
        let body = [0u8; 1025];
        let files = BTreeMap::from([("a/b/linux".to_owned(), &body[..]), ("a/c".to_owned(), &body[..0])]);
        assert_eq!(directories(&files).into_iter().collect::<Vec<_>>(), ["a", "a/b"]);
        // 2 for the file of 1025 bytes (1 KiB clusters), none for the empty one, 3 for root, a and a/b.
        assert_eq!(mebibytes(128).unwrap().clusters_for(&files), 5);
    }
}
