//! xxHash with 32 bits, by which LZ4's frames tell damage.
//!
//! Specification: xxHash fast digest algorithm, "XXH32 algorithm description".

const PRIMES: [u32; 5] = [0x9e37_79b1, 0x85eb_ca77, 0xc2b2_ae3d, 0x27d4_eb2f, 0x1656_67b1];
/// Bytes that are taken in at a time.
const STRIPE: usize = 16;

/// A hash with seed 0, being computed.
#[derive(Clone)]
pub struct Xxh32 {
    lanes: [u32; 4],
    /// Bytes that make no whole stripe yet.
    rest: Vec<u8>,
    length: u64,
}

impl Xxh32 {
    /// Of nothing yet.
    pub fn new() -> Xxh32 {
        let [one, two, ..] = PRIMES;
        let lanes = [one.wrapping_add(two), two, 0, 0u32.wrapping_sub(one)];
        Xxh32 { lanes, rest: Vec::with_capacity(STRIPE), length: 0 }
    }

    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> u32 {
        let mut hash = Xxh32::new();
        hash.update(bytes);
        hash.finish()
    }

    /// The next bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        self.length += bytes.len() as u64;
        if !self.rest.is_empty() {
            let taken = bytes.len().min(STRIPE - self.rest.len());
            self.rest.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            if self.rest.len() < STRIPE {
                return;
            }
            let rest = std::mem::take(&mut self.rest);
            self.stripe(&rest);
        }
        let mut stripes = bytes.chunks_exact(STRIPE);
        stripes.by_ref().for_each(|stripe| self.stripe(stripe));
        self.rest.extend_from_slice(stripes.remainder());
    }

    fn stripe(&mut self, stripe: &[u8]) {
        for (lane, word) in self.lanes.iter_mut().zip(stripe.chunks_exact(4)) {
            let sum = lane.wrapping_add(little(word).wrapping_mul(PRIMES[1]));
            *lane = sum.rotate_left(13).wrapping_mul(PRIMES[0]);
        }
    }

    /// The hash of everything so far.
    pub fn finish(&self) -> u32 {
        let [a, b, c, d] = self.lanes;
        let mut hash = match self.length < STRIPE as u64 {
            true => PRIMES[4],
            false => a
                .rotate_left(1)
                .wrapping_add(b.rotate_left(7))
                .wrapping_add(c.rotate_left(12))
                .wrapping_add(d.rotate_left(18)),
        };
        hash = hash.wrapping_add(self.length as u32);
        let mut words = self.rest.chunks_exact(4);
        for word in words.by_ref() {
            hash = hash.wrapping_add(little(word).wrapping_mul(PRIMES[2])).rotate_left(17).wrapping_mul(PRIMES[3]);
        }
        for &byte in words.remainder() {
            hash = hash.wrapping_add(u32::from(byte).wrapping_mul(PRIMES[4])).rotate_left(11).wrapping_mul(PRIMES[0]);
        }
        hash = (hash ^ hash >> 15).wrapping_mul(PRIMES[1]);
        hash = (hash ^ hash >> 13).wrapping_mul(PRIMES[2]);
        hash ^ hash >> 16
    }
}

fn little(word: &[u8]) -> u32 {
    word.iter().rev().fold(0, |number, &byte| number << 8 | u32::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_the_reference_in_whatever_pieces() {
        assert_eq!(Xxh32::of(b""), 0x02cc_5d05);
        assert_eq!(Xxh32::of(b"a"), 0x550d_7456);
        assert_eq!(Xxh32::of(b"abc"), 0x32d1_53ff);
        assert_eq!(Xxh32::of(b"Nobody inspects the spammish repetition"), 0xe229_3b2f);
        let bytes: Vec<u8> = (0..1000u32).map(|i| (i * 7) as u8).collect();
        for piece in [1, 3, 15, 16, 17, 100] {
            let mut hash = Xxh32::new();
            bytes.chunks(piece).for_each(|piece| hash.update(piece));
            assert_eq!(hash.finish(), Xxh32::of(&bytes), "{piece}");
        }
    }
}
