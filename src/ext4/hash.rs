//! The hash by which large directories are sorted: a shortened MD4 over 32 bytes of the name at a time.
//!
//! Only `half_md4` with unsigned bytes, the form our superblock names. Source: Documentation/filesystems/ext4/
//! directory.rst and the kernel's `fs/ext4/hash.c`.

/// Start of the state when the superblock has no seed.
const INITIAL: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
/// Bytes the transformation takes at a time.
const CHUNK: usize = 32;
/// The hash that `readdir` keeps for "end of directory"; a name that has it gets the one before.
const END: u32 = 0xffff_fffe;

/// Hash of a name: the part the tree is sorted by (its lowest bit is 0), and a second one for ties.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NameHash {
    /// What the index compares.
    pub major: u32,
    /// What `readdir` sorts by when `major` is the same.
    pub minor: u32,
}

/// Hashes a name with the file system's seed (`s_hash_seed`).
pub fn half_md4(name: &[u8], seed: [u32; 4]) -> NameHash {
    let mut state = if seed == [0; 4] { INITIAL } else { seed };
    let mut rest = name;
    while !rest.is_empty() {
        transform(&mut state, &words(rest));
        rest = &rest[rest.len().min(CHUNK)..];
    }
    let major = state[1] & !1;
    NameHash { major: if major == END { END - 2 } else { major }, minor: state[2] }
}

/// The next 32 bytes of the name as big-endian words; what is missing is filled with the remaining length.
fn words(rest: &[u8]) -> [u32; 8] {
    let pad = (rest.len() as u32 & 0xff) * 0x0101_0101;
    let mut words = [pad; 8];
    for (word, bytes) in words.iter_mut().zip(rest[..rest.len().min(CHUNK)].chunks(4)) {
        *word = bytes.iter().fold(pad, |word, &byte| (word << 8).wrapping_add(byte.into()));
    }
    words
}

fn transform(state: &mut [u32; 4], input: &[u32; 8]) {
    type Mix = fn(u32, u32, u32) -> u32;
    const ROUNDS: [(Mix, u32, [usize; 8], [u32; 4]); 3] = [
        (|x, y, z| z ^ (x & (y ^ z)), 0, [0, 1, 2, 3, 4, 5, 6, 7], [3, 7, 11, 19]),
        (|x, y, z| (x & y).wrapping_add((x ^ y) & z), 0x5a82_7999, [1, 3, 5, 7, 0, 2, 4, 6], [3, 5, 9, 13]),
        (|x, y, z| x ^ y ^ z, 0x6ed9_eba1, [3, 7, 2, 6, 1, 5, 0, 4], [3, 9, 11, 15]),
    ];
    let [mut a, mut b, mut c, mut d] = *state;
    for (mix, constant, order, shifts) in ROUNDS {
        for (i, word) in order.into_iter().enumerate() {
            let sum = a.wrapping_add(mix(b, c, d)).wrapping_add(input[word]).wrapping_add(constant);
            // Each step changes the first word of the state; then the state turns by one.
            (a, b, c, d) = (d, sum.rotate_left(shifts[i % 4]), b, c);
        }
    }
    for (word, added) in state.iter_mut().zip([a, b, c, d]) {
        *word = word.wrapping_add(added);
    }
}
