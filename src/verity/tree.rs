//! The tree, written.

use super::geometry::Geometry;
use crate::formats::verity::{BLOCK, DIGEST, Superblock};
use crate::image::Sha256;
use crate::output::Output;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

/// The hash that stands for all of a tree, and so for all of its data.
pub type RootHash = [u8; DIGEST];

const BYTES: usize = BLOCK as usize;
/// Blocks whose hashes fill one.
pub(super) const GROUP: usize = BYTES / DIGEST;
/// Groups that a thread takes at a time: 1 MiB of data.
const TAKEN: u64 = 2;

/// Hashes blocks behind one salt.
#[derive(Clone)]
pub(super) struct Hasher {
    salted: Sha256,
    /// That of a block of zeros, of which file systems have many.
    zero: RootHash,
}

impl Hasher {
    pub(super) fn new(salt: &[u8]) -> Hasher {
        let mut salted = Sha256::new();
        salted.update(salt);
        let mut zero = salted.clone();
        zero.update(&[0; BYTES]);
        Hasher { salted, zero: zero.finish() }
    }

    /// The hash of each block of `blocks`, one behind the other; zeros behind the last.
    pub(super) fn hash(&self, blocks: &[u8], hashes: &mut [u8; BYTES]) {
        hashes.fill(0);
        let (blocks, _) = blocks.as_chunks::<BYTES>();
        let (places, _) = hashes.as_chunks_mut::<DIGEST>();
        // The one that waits for a second.
        let mut first: Option<(&[u8; BYTES], &mut [u8; DIGEST])> = None;
        for (block, place) in blocks.iter().zip(places) {
            if is_zero(block) {
                *place = self.zero;
                continue;
            }
            match first.take() {
                None => first = Some((block, place)),
                Some((other, other_place)) => {
                    let (mut a, mut b) = (self.salted.clone(), self.salted.clone());
                    Sha256::update_both(&mut a, other, &mut b, block);
                    (*other_place, *place) = Sha256::finish_both(a, b);
                }
            }
        }
        if let Some((block, place)) = first {
            *place = self.one(block);
        }
    }

    /// The hash of one block.
    pub(super) fn one(&self, block: &[u8]) -> RootHash {
        let mut hash = self.salted.clone();
        hash.update(block);
        hash.finish()
    }
}

fn is_zero(block: &[u8; BYTES]) -> bool {
    let (words, _) = block.as_chunks::<16>();
    words.iter().all(|word| u128::from_ne_bytes(*word) == 0)
}

/// Writes the superblock and the tree over the first blocks of `data` to `hashes`, which is zero before, with so many
/// threads. With one everything is written in one order.
///
/// # Errors
/// When either cannot be read or written.
pub fn write(data: &dyn Output, superblock: &Superblock, hashes: &dyn Output, threads: usize) -> io::Result<RootHash> {
    let geometry = Geometry::of(superblock.blocks);
    let hasher = Hasher::new(&superblock.salt);
    hashes.write_at(0, &superblock.encode())?;
    let (mut below, mut from, mut count) = (data, 0, superblock.blocks);
    for level in &geometry.levels {
        write_level(&hasher, (below, from, count), (hashes, level.start), threads)?;
        (below, from, count) = (hashes, level.start, level.end - level.start);
    }
    let mut top = [0; BYTES];
    below.read_at(from * BLOCK, &mut top)?;
    Ok(hasher.one(&top))
}

/// Hashes `count` blocks from block `from` of `below`, and writes the hashes from block `to` on.
fn write_level(
    hasher: &Hasher,
    (below, from, count): (&dyn Output, u64, u64),
    (hashes, to): (&dyn Output, u64),
    threads: usize,
) -> io::Result<()> {
    let groups = count.div_ceil(GROUP as u64);
    let (next, failed) = (AtomicU64::new(0), AtomicBool::new(false));
    let work = || -> io::Result<()> {
        let mut blocks = vec![0; TAKEN as usize * GROUP * BYTES];
        let mut page = [0; BYTES];
        while !failed.load(Ordering::Relaxed) {
            let first = next.fetch_add(TAKEN, Ordering::Relaxed);
            if first >= groups {
                break;
            }
            let start = first * GROUP as u64;
            let length = (count - start).min(TAKEN * GROUP as u64) as usize * BYTES;
            below.read_at((from + start) * BLOCK, &mut blocks[..length])?;
            for (number, group) in (first..).zip(blocks[..length].chunks(GROUP * BYTES)) {
                hasher.hash(group, &mut page);
                hashes.write_at((to + number) * BLOCK, &page)?;
            }
        }
        Ok(())
    };
    let work = || work().inspect_err(|_| failed.store(true, Ordering::Relaxed));
    let others = (threads as u64).min(groups.div_ceil(TAKEN)).saturating_sub(1);
    thread::scope(|scope| {
        let begin = |_| thread::Builder::new().name("hash tree".into()).spawn_scoped(scope, work);
        // Without a thread the others do its work.
        let begun: Vec<_> = (0..others).filter_map(|number| begin(number).ok()).collect();
        let mut result = work();
        for thread in begun {
            result = result.and(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        result
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Memory;

    pub(in super::super) fn blocks(count: u64) -> Memory {
        let data = Memory::default();
        for number in 0..count {
            // Every seventh is empty.
            let byte = if number % 7 == 3 { 0 } else { (number % 251) as u8 + 1 };
            data.write_at(number * BLOCK, &[byte; BYTES]).unwrap();
            data.write_at(number * BLOCK + 8, &(if byte == 0 { 0 } else { number }).to_le_bytes()).unwrap();
        }
        data
    }

    fn slow(data: &[u8], salt: &[u8]) -> RootHash {
        use sha2::Digest;
        let of =
            |block: &[u8]| -> RootHash { sha2::Sha256::new().chain_update(salt).chain_update(block).finalize().into() };
        if data.len() == BYTES {
            return of(data);
        }
        let mut above: Vec<u8> = data.chunks(BYTES).flat_map(of).collect();
        above.resize(above.len().next_multiple_of(BYTES), 0);
        slow(&above, salt)
    }

    #[test]
    fn the_root_hash_is_that_of_the_plain_definition_with_any_number_of_threads() {
        for count in [1, 2, 3, 127, 128, 129, 255, 256, 257, 600] {
            let data = blocks(count);
            let salt = vec![0xab; count as usize % 257];
            let superblock = Superblock { uuid: [1; 16], blocks: count, salt: salt.clone() };
            let expected = slow(&data.0.lock().unwrap(), &salt);
            let mut trees = Vec::new();
            for threads in [1, 2, 5] {
                let hashes = Memory::default();
                assert_eq!(write(&data, &superblock, &hashes, threads).unwrap(), expected, "{count} {threads}");
                trees.push(hashes.0.into_inner().unwrap());
            }
            assert!(trees.windows(2).all(|two| two[0] == two[1]), "{count}");
        }
    }

    #[test]
    fn a_failed_read_or_write_is_the_result_on_any_thread() {
        struct Bad(Memory, u64);
        impl Output for Bad {
            fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
                if offset == self.1 { Err(io::ErrorKind::StorageFull.into()) } else { self.0.write_at(offset, data) }
            }
            fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
                if offset == self.1 { Err(io::ErrorKind::UnexpectedEof.into()) } else { self.0.read_at(offset, buffer) }
            }
            fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
                self.0.discard(offset, length)
            }
        }
        let superblock = Superblock { uuid: [1; 16], blocks: 1000, salt: vec![] };
        for at in [0, 256 * BLOCK, 768 * BLOCK] {
            let data = Bad(blocks(1000), at);
            for threads in [1, 2] {
                let error = write(&data, &superblock, &Memory::default(), threads).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{at} {threads}");
            }
        }
        for at in [0, BLOCK, 9 * BLOCK] {
            let error = write(&blocks(1000), &superblock, &Bad(Memory::default(), at), 2).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{at}");
        }
    }
}
