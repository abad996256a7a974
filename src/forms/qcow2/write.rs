//! Writes qcow2: clusters in the disk's order, each L2 table before the first of its clusters, refcounts at the end.

use super::{COMPRESSION, COPIED, MAGIC, PACKED, SECTOR};
use crate::forms::deflate::{Around, Deflate};
use crate::forms::{Packing, Source, packed, units};
use crate::output::Output;
use std::io;

const CLUSTER_BITS: u32 = 16;
/// Bytes of a cluster.
pub(super) const CLUSTER: usize = 1 << CLUSTER_BITS;
/// Entries of an L2 table, and of a refcount block.
const L2_ENTRIES: u64 = CLUSTER as u64 / 8;
const REFCOUNTS: usize = CLUSTER / 2;
/// QEMU takes no L1 table of more than 32 MiB.
const LARGEST: u64 = (32 << 20) / 8 * L2_ENTRIES * CLUSTER as u64;
/// Bytes that are packed at a time.
const BATCH: usize = 8 << 20;
/// Bits of a packed cluster's place in its entry.
const PLACE_BITS: u32 = 62 - (CLUSTER_BITS - 8);
/// QEMU's reader has a window of 4 KiB.
const WINDOW_BITS: u8 = 12;
/// Level of Zstandard: the first whose disks are no larger than those of qemu-img. The next one takes twice as long.
const ZSTD_LEVEL: i32 = 4;

/// Writes a disk; see [`crate::forms::write`].
pub fn write(source: &dyn Source, output: &dyn Output, packing: Packing, threads: usize) -> io::Result<u64> {
    let size = source.size().next_multiple_of(SECTOR);
    fits(size)?;
    let mut file = File::behind(output, size, 1);
    if packing == Packing::Plain {
        units::runs(source, CLUSTER, &mut |number, bytes| file.plain(number, bytes))?;
    } else {
        units::batches(source, CLUSTER, BATCH, &mut |batch| {
            let all = packed::all(batch, threads, &|| Packer::new(packing), &Packer::pack)?;
            batch.iter().zip(all).try_for_each(|((number, bytes), packed)| match packed.len() < CLUSTER {
                true => file.packed(*number, &packed),
                false => file.plain(*number, bytes),
            })
        })?;
    }
    file.finish(packing)
}

/// # Errors
/// When a disk is larger than the form can hold.
pub(super) fn fits(size: u64) -> io::Result<()> {
    match size > LARGEST {
        true => Err(io::Error::new(io::ErrorKind::FileTooLarge, "a disk of more than 2 PiB has no form of this kind")),
        false => Ok(()),
    }
}

/// Packs one cluster after the other.
enum Packer {
    Deflate(Deflate),
    Zstd(zstd::bulk::Compressor<'static>),
}

impl Packer {
    fn new(packing: Packing) -> io::Result<Packer> {
        Ok(match packing {
            Packing::Zstd => Packer::Zstd(zstd::bulk::Compressor::new(ZSTD_LEVEL)?),
            _ => Packer::Deflate(Deflate::new(WINDOW_BITS, Around::Nothing)?),
        })
    }

    /// The packed bytes; as many as a cluster has when it cannot be packed.
    fn pack(&mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Packer::Zstd(compressor) => compressor.compress(bytes),
            Packer::Deflate(deflate) => Ok(deflate.pack(bytes, CLUSTER - 1)?.unwrap_or_else(|| vec![0; CLUSTER])),
        }
    }
}

/// The file as it grows.
pub(super) struct File<'a> {
    output: &'a dyn Output,
    size: u64,
    l1: Vec<u64>,
    /// The place of that table.
    l1_at: u64,
    /// The L2 table that clusters are put into: its index in the L1 table, its place, its entries.
    l2: Option<(usize, u64, Vec<u64>)>,
    /// How often each cluster of the file is used.
    refcounts: Vec<u16>,
    /// Where the next packed cluster begins, in a cluster that has room: its first byte has a place.
    packed_at: Option<u64>,
}

impl<'a> File<'a> {
    /// For a disk of `size` bytes: goes on behind so many clusters, of which the header is the first.
    pub fn behind(output: &'a dyn Output, size: u64, clusters: usize) -> File<'a> {
        let l1 = vec![0; size.div_ceil(L2_ENTRIES * CLUSTER as u64) as usize];
        let mut file = File { output, size, l1, l1_at: 0, l2: None, refcounts: vec![1; clusters], packed_at: None };
        file.l1_at = file.take((file.l1.len() * 8).div_ceil(CLUSTER).max(1));
        file
    }

    /// Takes clusters at the end of the file, and returns the place of the first.
    fn take(&mut self, clusters: usize) -> u64 {
        let place = (self.refcounts.len() * CLUSTER) as u64;
        self.refcounts.resize(self.refcounts.len() + clusters, 1);
        place
    }

    /// Puts clusters that lie behind each other behind each other, as many at once as one table has.
    fn plain(&mut self, first: u64, bytes: &[u8]) -> io::Result<()> {
        let (mut number, mut rest) = (first, bytes);
        while !rest.is_empty() {
            self.table(number)?;
            let clusters = (L2_ENTRIES - number % L2_ENTRIES).min((rest.len() / CLUSTER) as u64);
            let (now, behind) = rest.split_at(clusters as usize * CLUSTER);
            let place = self.take(clusters as usize);
            units::write_filled(self.output, place, now)?;
            (0..clusters).for_each(|at| self.enter(number + at, (place + at * CLUSTER as u64) | COPIED));
            (number, rest) = (number + clusters, behind);
        }
        Ok(())
    }

    fn packed(&mut self, number: u64, bytes: &[u8]) -> io::Result<()> {
        self.table(number)?;
        // It may go on into the next cluster only when that is the next of the file.
        let ahead = (self.refcounts.len() * CLUSTER) as u64;
        let at = self.packed_at.filter(|at| at.next_multiple_of(CLUSTER as u64) == ahead);
        let at = at.unwrap_or(ahead);
        let end = at + bytes.len() as u64;
        let clusters = end.div_ceil(CLUSTER as u64) as usize;
        self.refcounts.resize(clusters.max(self.refcounts.len()), 0);
        let sectors = (end - 1) / SECTOR - at / SECTOR;
        for cluster in at / CLUSTER as u64..=(end - 1) / CLUSTER as u64 {
            self.refcounts[cluster as usize] += 1;
        }
        self.output.write_at(at, bytes)?;
        self.packed_at = (!end.is_multiple_of(CLUSTER as u64)).then_some(end);
        self.enter(number, PACKED | sectors << PLACE_BITS | at);
        Ok(())
    }

    /// Makes the L2 table of this cluster the present one.
    fn table(&mut self, number: u64) -> io::Result<()> {
        let index = (number / L2_ENTRIES) as usize;
        if self.l2.as_ref().is_none_or(|(present, ..)| *present != index) {
            self.write_table()?;
            let place = self.take(1);
            self.l1[index] = place | COPIED;
            self.l2 = Some((index, place, vec![0; L2_ENTRIES as usize]));
        }
        Ok(())
    }

    /// Enters a cluster; those before it have been entered.
    pub fn enter_at(&mut self, number: u64, entry: u64) -> io::Result<()> {
        self.table(number)?;
        self.enter(number, entry);
        Ok(())
    }

    fn enter(&mut self, number: u64, entry: u64) {
        if let Some((.., entries)) = &mut self.l2 {
            entries[(number % L2_ENTRIES) as usize] = entry;
        }
    }

    fn write_table(&mut self) -> io::Result<()> {
        match self.l2.take() {
            Some((_, place, entries)) => self.output.write_at(place, &big_endian(&entries)),
            None => Ok(()),
        }
    }

    /// Writes what is left, and returns the length of the file.
    pub fn finish(mut self, packing: Packing) -> io::Result<u64> {
        self.write_table()?;
        self.output.write_at(self.l1_at, &big_endian(&self.l1))?;
        let (table, table_clusters) = self.write_refcounts()?;
        let header = self.header(table, table_clusters, packing);
        let length = (self.refcounts.len() * CLUSTER) as u64;
        // Up to its last byte it is a file of whole clusters.
        self.output.write_at(length - 1, &[0])?;
        self.output.write_at(0, &header)?;
        Ok(length)
    }

    /// The refcounts count their own clusters too.
    fn write_refcounts(&mut self) -> io::Result<(u64, u32)> {
        let used = self.refcounts.len();
        let (mut blocks, mut tables) = (0, 0);
        loop {
            let all = used + blocks + tables;
            let needed = (all.div_ceil(REFCOUNTS), (all.div_ceil(REFCOUNTS) * 8).div_ceil(CLUSTER));
            if needed == (blocks, tables) {
                break;
            }
            (blocks, tables) = needed;
        }
        let table = self.take(tables);
        let first = self.take(blocks);
        let places: Vec<u64> = (0..blocks as u64).map(|block| first + block * CLUSTER as u64).collect();
        self.output.write_at(table, &big_endian(&places))?;
        for (place, counts) in places.iter().zip(self.refcounts.chunks(REFCOUNTS)) {
            let mut bytes: Vec<u8> = counts.iter().flat_map(|count| count.to_be_bytes()).collect();
            bytes.resize(CLUSTER, 0);
            self.output.write_at(*place, &bytes)?;
        }
        Ok((table, tables as u32))
    }

    fn header(&self, refcount_table: u64, refcount_clusters: u32, packing: Packing) -> Vec<u8> {
        let zstd = packing == Packing::Zstd;
        let mut header = Vec::with_capacity(CLUSTER);
        header.extend(MAGIC);
        let mut words = |words: &[u32]| words.iter().for_each(|word| header.extend(word.to_be_bytes()));
        words(&[3, 0, 0, 0, CLUSTER_BITS]);
        words(&[(self.size >> 32) as u32, self.size as u32]);
        words(&[0, self.l1.len() as u32, (self.l1_at >> 32) as u32, self.l1_at as u32]);
        words(&[(refcount_table >> 32) as u32, refcount_table as u32, refcount_clusters]);
        // No snapshots, then the features: incompatible, compatible, those that clear themselves.
        words(&[0, 0, 0]);
        words(&[0, if zstd { COMPRESSION as u32 } else { 0 }, 0, 0, 0, 0]);
        // Refcounts of 2^4 bits; the header's length, and the last of its fields.
        words(&[4, 112]);
        header.extend([u8::from(zstd), 0, 0, 0, 0, 0, 0, 0]);
        // The end of the header's extensions.
        header.resize(CLUSTER, 0);
        header
    }
}

fn big_endian(entries: &[u64]) -> Vec<u8> {
    let mut bytes: Vec<u8> = entries.iter().flat_map(|entry| entry.to_be_bytes()).collect();
    bytes.resize(bytes.len().next_multiple_of(CLUSTER), 0);
    bytes
}
