//! SHA-256 (FIPS 180-4), of one message or of two at once.
//!
//! A processor's SHA instructions wait for each other within one message. Two messages in turns keep them busy: both
//! are done in little more than the time of one. A layer always has two, the blob and the tar in it.
//!
//! ```text
//!  blob  ████████                       paired with as much of the tar, then
//!  tar   ████████████████████████       the rest of the tar alone
//! ```
//!
//! Where there are no such instructions, blocks go to the `sha2` crate.

#[cfg(target_arch = "x86_64")]
mod lanes;
#[cfg(test)]
mod tests;

use sha2::digest::generic_array::GenericArray;
use sha2::digest::typenum::U64;
use zerocopy::IntoBytes;
use zerocopy::byteorder::big_endian::U32;

/// Bytes of a block.
const BLOCK: usize = 64;
/// Eight words between two blocks.
type State = [u32; 8];
/// Before the first block: fractional parts of the square roots of the first eight primes (5.3.3).
const INITIAL: State =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// A message being hashed.
#[derive(Clone)]
pub struct Sha256 {
    state: State,
    /// Bytes of the message so far.
    length: u64,
    /// The last `length % 64` of them.
    started: [u8; BLOCK],
}

impl Default for Sha256 {
    fn default() -> Sha256 {
        Sha256 { state: INITIAL, length: 0, started: [0; BLOCK] }
    }
}

impl Sha256 {
    /// Nothing yet.
    pub fn new() -> Sha256 {
        Sha256::default()
    }

    /// The next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        let rest = self.complete(bytes);
        let (blocks, rest) = rest.as_chunks();
        compress([&mut self.state], [blocks]);
        self.keep(rest);
    }

    /// The next bytes of two messages.
    pub fn update_both(a: &mut Sha256, of_a: &[u8], b: &mut Sha256, of_b: &[u8]) {
        let (of_a, of_b) = (a.complete(of_a), b.complete(of_b));
        let ((blocks_a, rest_a), (blocks_b, rest_b)) = (of_a.as_chunks(), of_b.as_chunks());
        let common = blocks_a.len().min(blocks_b.len());
        compress([&mut a.state, &mut b.state], [&blocks_a[..common], &blocks_b[..common]]);
        compress([&mut a.state], [&blocks_a[common..]]);
        compress([&mut b.state], [&blocks_b[common..]]);
        a.keep(rest_a);
        b.keep(rest_b);
    }

    /// The digest of everything so far.
    pub fn finish(mut self) -> [u8; 32] {
        let (padding, length) = self.padding();
        self.update(&padding[..length]);
        self.digest()
    }

    /// The digests of two messages.
    pub fn finish_both(mut a: Sha256, mut b: Sha256) -> ([u8; 32], [u8; 32]) {
        let ((of_a, length_a), (of_b, length_b)) = (a.padding(), b.padding());
        Sha256::update_both(&mut a, &of_a[..length_a], &mut b, &of_b[..length_b]);
        (a.digest(), b.digest())
    }

    /// What is behind the message, and how many bytes of it.
    fn padding(&self) -> ([u8; 2 * BLOCK], usize) {
        let bits = self.length.wrapping_mul(8);
        let zeros = (BLOCK + 56 - 1 - self.length as usize % BLOCK) % BLOCK;
        let mut padding = [0; 2 * BLOCK];
        padding[0] = 0x80;
        padding[1 + zeros..][..8].copy_from_slice(&bits.to_be_bytes());
        (padding, 1 + zeros + 8)
    }

    fn digest(&self) -> [u8; 32] {
        let mut digest = [0; 32];
        digest.copy_from_slice(self.state.map(U32::new).as_bytes());
        digest
    }

    /// Completes the block that was started, if `bytes` are enough for it, and gives those that follow.
    fn complete<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let have = self.length as usize % BLOCK;
        if have == 0 {
            self.length += bytes.len() as u64;
            return bytes;
        }
        let (now, rest) = bytes.split_at(bytes.len().min(BLOCK - have));
        self.started[have..][..now.len()].copy_from_slice(now);
        if have + now.len() == BLOCK {
            compress([&mut self.state], [&[self.started]]);
        }
        self.length += bytes.len() as u64;
        rest
    }

    /// Keeps the beginning of a block; nothing does no harm to what was kept before.
    fn keep(&mut self, rest: &[u8]) {
        self.started[..rest.len()].copy_from_slice(rest);
    }
}

/// The next blocks of each message, as many of either.
fn compress<const N: usize>(states: [&mut State; N], blocks: [&[[u8; BLOCK]]; N]) {
    #[cfg(target_arch = "x86_64")]
    if lanes::are_there() {
        return lanes::compress(states, blocks);
    }
    states.into_iter().zip(blocks).for_each(|(state, blocks)| by_the_crate(state, blocks));
}

fn by_the_crate(state: &mut State, blocks: &[[u8; BLOCK]]) {
    for block in blocks {
        sha2::compress256(state, std::slice::from_ref(GenericArray::<u8, U64>::from_slice(block)));
    }
}
