use super::*;
use proptest::prelude::*;
use sha2::Digest;

fn digest(bytes: &[u8]) -> [u8; 32] {
    sha2::Sha256::digest(bytes).into()
}

/// Messages of every length around the ends of blocks, where padding takes a block of its own or not.
#[test]
fn every_length_of_a_few_blocks() {
    let bytes: Vec<u8> = (0..300u32).map(|n| (n * 7 + 3) as u8).collect();
    for length in 0..bytes.len() {
        let mut hasher = Sha256::new();
        hasher.update(&bytes[..length]);
        assert_eq!(hasher.finish(), digest(&bytes[..length]), "{length} bytes");
    }
}

/// Both ways to compress, whatever this processor has.
#[test]
fn the_instructions_and_the_crate_agree() {
    let blocks: Vec<[u8; BLOCK]> = (0..9u8).map(|n| std::array::from_fn(|i| n.wrapping_mul(29) ^ i as u8)).collect();
    let (mut a, mut b) = (INITIAL, INITIAL);
    by_the_crate(&mut a, &blocks);
    by_the_crate(&mut b, &blocks[3..]);
    let (mut c, mut d, mut e) = (INITIAL, INITIAL, INITIAL);
    compress([&mut c, &mut d], [&blocks[..6], &blocks[3..]]);
    compress([&mut c], [&blocks[6..]]);
    compress([&mut e], [&blocks]);
    assert_eq!((a, b, a), (c, d, e));
}

proptest! {
    #[test]
    fn two_messages_in_any_pieces(
        pieces in prop::collection::vec((any::<u8>(), 0..400usize, 0..400usize), 0..20),
    ) {
        let (mut a, mut b) = (Sha256::new(), Sha256::new());
        let (mut all_a, mut all_b) = (Vec::new(), Vec::new());
        for (seed, length_a, length_b) in pieces {
            let bytes: Vec<u8> = (0..length_a + length_b).map(|n| seed.wrapping_mul(n as u8) ^ (n >> 3) as u8).collect();
            let (of_a, of_b) = bytes.split_at(length_a);
            all_a.extend_from_slice(of_a);
            all_b.extend_from_slice(of_b);
            match seed % 3 {
                0 => a.update(of_a),
                1 => b.update(of_b),
                _ => Sha256::update_both(&mut a, of_a, &mut b, of_b),
            }
            if seed % 3 == 0 { b.update(of_b) }
            if seed % 3 == 1 { a.update(of_a) }
        }
        prop_assert_eq!(a.finish(), digest(&all_a));
        prop_assert_eq!(b.finish(), digest(&all_b));
    }
}
