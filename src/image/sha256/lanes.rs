//! The compression function with the processor's SHA instructions (Intel 64 and IA-32 Architectures Software
//! Developer's Manual, volume 2, SHA256RNDS2), `N` messages in turns.

use super::{BLOCK, State};
use std::arch::x86_64::*;

/// First 32 bits of the fractional parts of the cube roots of the first 64 primes (FIPS 180-4, 4.2.2), four by four.
const K: [[u32; 4]; 16] = [
    [0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5],
    [0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5],
    [0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3],
    [0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174],
    [0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc],
    [0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da],
    [0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7],
    [0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967],
    [0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13],
    [0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85],
    [0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3],
    [0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070],
    [0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5],
    [0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3],
    [0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208],
    [0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2],
];

/// Whether the processor has the instructions.
pub fn are_there() -> bool {
    is_x86_feature_detected!("sha") && is_x86_feature_detected!("ssse3") && is_x86_feature_detected!("sse4.1")
}

/// The next blocks of each message, as many of either.
///
/// # Panics
/// Unless the instructions [`are_there`].
pub fn compress<const N: usize>(states: [&mut State; N], blocks: [&[[u8; BLOCK]]; N]) {
    assert!(are_there());
    // SAFETY: the instructions are there.
    unsafe { in_turns(states, blocks) }
}

/// The blocks that all of the messages have.
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn in_turns<const N: usize>(states: [&mut State; N], blocks: [&[[u8; BLOCK]]; N]) {
    let count = blocks.iter().map(|blocks| blocks.len()).min().unwrap_or(0);
    let zero = _mm_setzero_si128();
    let (mut abef, mut cdgh) = ([zero; N], [zero; N]);
    for lane in 0..N {
        (abef[lane], cdgh[lane]) = halves(states[lane]);
    }
    for at in 0..count {
        let (abef_before, cdgh_before) = (abef, cdgh);
        let mut words = blocks.map(|blocks| message(&blocks[at]));
        // Loops of four, so that the compiler unrolls them and keeps the words in registers.
        for (quarter, constants) in K.as_chunks::<4>().0.iter().enumerate() {
            for group in 0..4 {
                let constants = four(&constants[group]);
                for lane in 0..N {
                    if quarter > 0 {
                        extend(&mut words[lane], group);
                    }
                    let sum = _mm_add_epi32(words[lane][group], constants);
                    // Two rounds each; they take their words from the lower half.
                    cdgh[lane] = _mm_sha256rnds2_epu32(cdgh[lane], abef[lane], sum);
                    abef[lane] = _mm_sha256rnds2_epu32(abef[lane], cdgh[lane], _mm_unpackhi_epi64(sum, sum));
                }
            }
        }
        for lane in 0..N {
            abef[lane] = _mm_add_epi32(abef[lane], abef_before[lane]);
            cdgh[lane] = _mm_add_epi32(cdgh[lane], cdgh_before[lane]);
        }
    }
    for (lane, state) in states.into_iter().enumerate() {
        *state = whole(abef[lane], cdgh[lane]);
    }
}

/// Words 16 to 63 of the schedule, four at a time: the oldest four, at `at`, are replaced.
#[target_feature(enable = "sha,ssse3,sse4.1")]
#[inline]
fn extend(words: &mut [__m128i; 4], at: usize) {
    let [w16, w12, w8, w4] = [words[at], words[(at + 1) % 4], words[(at + 2) % 4], words[(at + 3) % 4]];
    let sum = _mm_add_epi32(_mm_sha256msg1_epu32(w16, w12), _mm_alignr_epi8::<4>(w4, w8));
    words[at] = _mm_sha256msg2_epu32(sum, w4);
}

/// The sixteen words of a block, which are big-endian in it.
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn message(block: &[u8; BLOCK]) -> [__m128i; 4] {
    let (parts, _) = block.as_chunks::<16>();
    let swap = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
    let load = |bytes: &[u8; 16]| {
        let number = u128::from_le_bytes(*bytes);
        _mm_shuffle_epi8(_mm_set_epi64x((number >> 64) as i64, number as i64), swap)
    };
    [load(&parts[0]), load(&parts[1]), load(&parts[2]), load(&parts[3])]
}

#[target_feature(enable = "sha,ssse3,sse4.1")]
fn four(words: &[u32; 4]) -> __m128i {
    let [a, b, c, d] = words.map(|word| word as i32);
    _mm_set_epi32(d, c, b, a)
}

/// The state as the instructions want it: {A, B, E, F} and {C, D, G, H}, the first named word highest.
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn halves(state: &State) -> (__m128i, __m128i) {
    let [a, b, c, d, e, f, g, h] = *state;
    (four(&[f, e, b, a]), four(&[h, g, d, c]))
}

#[target_feature(enable = "sha,ssse3,sse4.1")]
fn whole(abef: __m128i, cdgh: __m128i) -> State {
    let low = |half: __m128i| _mm_cvtsi128_si64(half) as u64;
    let (ba, fe) = (low(_mm_unpackhi_epi64(abef, abef)), low(abef));
    let (dc, hg) = (low(_mm_unpackhi_epi64(cdgh, cdgh)), low(cdgh));
    let [a, e, c, g] = [ba, fe, dc, hg].map(|pair| (pair >> 32) as u32);
    let [b, f, d, h] = [ba, fe, dc, hg].map(|pair| pair as u32);
    [a, b, c, d, e, f, g, h]
}
