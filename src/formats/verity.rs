//! The superblock in front of dm-verity's hash tree, as veritysetup writes and reads it.
//!
//! ```text
//!  0 signature  8 version 1  12 type of tree 1  16 UUID  32 algorithm
//! 64 bytes of a data block  68 of a hash block  72 data blocks  80 bytes of salt  88 salt, 256         512 bytes in all
//! ```
//!
//! Nobody verifies it: what it says wrong makes a tree whose root hash is another.
//!
//! Not supported: other algorithms than SHA-256, other blocks than 4096 bytes, trees of type 0 (Chrome OS).
//! Specification: cryptsetup, lib/verity/verity.c, `struct verity_sb`; the kernel's
//! Documentation/admin-guide/device-mapper/verity.rst.

use super::{ReadAt, u16_at, u32_at, u64_at};
use std::io;

/// First bytes.
pub const SIGNATURE: &[u8; 8] = b"verity\0\0";
/// Bytes of the superblock. The tree begins at the next block.
pub const SIZE: usize = 512;
/// Bytes of a data block and of a hash block.
pub const BLOCK: u64 = 4096;
/// Bytes of a root hash and of every other.
pub const DIGEST: usize = 32;
/// Longest salt, in bytes.
pub const MAX_SALT: usize = 256;
/// Name of the algorithm.
const ALGORITHM: &[u8] = b"sha256";

/// What is in front of the root hash on a kernel's command line (systemd-veritysetup-generator(8)).
pub const WORD: &str = "roothash=";

/// The root hash on a command line, 64 hexadecimal digits: of two words the first counts.
pub fn root_hash(line: &str) -> Option<&str> {
    let hash = line.split_ascii_whitespace().find_map(|word| word.strip_prefix(WORD))?;
    (hash.len() == 2 * DIGEST && hash.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(hash)
}

/// What it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Superblock {
    /// UUID of the hash device, in the order of its text.
    pub uuid: [u8; 16],
    /// Data blocks that the tree is over; at least 1.
    pub blocks: u64,
    /// In front of each block that is hashed; at most [`MAX_SALT`] bytes.
    pub salt: Vec<u8>,
}

/// Why it is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "host", derive(thiserror::Error))]
pub enum Fault {
    /// Another signature.
    #[cfg_attr(feature = "host", error("has no superblock of dm-verity"))]
    Absent,
    /// A version, type, algorithm or block size that is not supported.
    #[cfg_attr(feature = "host", error("has a superblock of dm-verity of another kind: {0}"))]
    Kind(&'static str),
    /// A number that cannot be.
    #[cfg_attr(feature = "host", error("has a damaged superblock of dm-verity: {0}"))]
    Damaged(&'static str),
}

impl Superblock {
    /// Reads it from its bytes.
    ///
    /// # Errors
    /// When there is none, or none that is supported.
    pub fn parse(bytes: &[u8; SIZE]) -> Result<Superblock, Fault> {
        if !bytes.starts_with(SIGNATURE) {
            return Err(Fault::Absent);
        }
        let kind = [
            (u32_at(bytes, 8) == Some(1), "version"),
            (u32_at(bytes, 12) == Some(1), "type of tree"),
            (bytes[32..64].split(|byte| *byte == 0).next() == Some(ALGORITHM), "algorithm"),
            (u32_at(bytes, 64) == Some(BLOCK as u32), "size of data blocks"),
            (u32_at(bytes, 68) == Some(BLOCK as u32), "size of hash blocks"),
        ];
        if let Some((_, what)) = kind.iter().find(|(is_ours, _)| !is_ours) {
            return Err(Fault::Kind(what));
        }
        let blocks = u64_at(bytes, 72).unwrap_or(0);
        let salt = usize::from(u16_at(bytes, 80).unwrap_or(0));
        // As many as have bytes that 63 bits count.
        if blocks == 0 || blocks > i64::MAX as u64 / BLOCK {
            return Err(Fault::Damaged("number of data blocks"));
        }
        let salt = bytes[88..88 + MAX_SALT].get(..salt).ok_or(Fault::Damaged("length of the salt"))?;
        let mut uuid = [0; 16];
        uuid.copy_from_slice(&bytes[16..32]);
        Ok(Superblock { uuid, blocks, salt: salt.to_vec() })
    }

    /// Reads it where it stands.
    ///
    /// # Errors
    /// When reading fails; what was found is the inner result.
    pub fn read(device: &(impl ReadAt + ?Sized), offset: u64) -> io::Result<Result<Superblock, Fault>> {
        let mut bytes = [0; SIZE];
        device.read_at(offset, &mut bytes)?;
        Ok(Superblock::parse(&bytes))
    }

    /// Its bytes.
    ///
    /// # Panics
    /// When the salt is longer than [`MAX_SALT`].
    #[cfg(feature = "host")]
    pub fn encode(&self) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        let mut put = |at: usize, what: &[u8]| bytes[at..at + what.len()].copy_from_slice(what);
        put(0, SIGNATURE);
        put(8, &1u32.to_le_bytes());
        put(12, &1u32.to_le_bytes());
        put(16, &self.uuid);
        put(32, ALGORITHM);
        put(64, &(BLOCK as u32).to_le_bytes());
        put(68, &(BLOCK as u32).to_le_bytes());
        put(72, &self.blocks.to_le_bytes());
        put(80, &(self.salt.len() as u16).to_le_bytes());
        assert!(self.salt.len() <= MAX_SALT, "a salt of {} bytes", self.salt.len());
        put(88, &self.salt);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_no_byte_of_a_stranger_panics() {
        let all = Superblock { uuid: [7; 16], blocks: 1 << 40, salt: (0..=255).collect() };
        for block in [&all, &Superblock { uuid: [0; 16], blocks: 1, salt: Vec::new() }] {
            assert_eq!(Superblock::parse(&block.encode()), Ok(block.clone()));
        }
        let good = Superblock { salt: vec![1; 32], ..all }.encode();
        for (at, value, fault) in [
            (0, 0, Fault::Absent),
            (8, 2, Fault::Kind("version")),
            (12, 0, Fault::Kind("type of tree")),
            (35, b'5', Fault::Kind("algorithm")),
            (38, b'x', Fault::Kind("algorithm")),
            (65, 8, Fault::Kind("size of data blocks")),
            (69, 2, Fault::Kind("size of hash blocks")),
            (79, 0x80, Fault::Damaged("number of data blocks")),
            (81, 1, Fault::Damaged("length of the salt")),
        ] {
            let mut bytes = good;
            bytes[at] = value;
            assert_eq!(Superblock::parse(&bytes), Err(fault), "byte {at}");
            assert!(fault.to_string().starts_with("has "));
        }
        let mut none = good;
        none[72..80].fill(0);
        assert_eq!(Superblock::parse(&none), Err(Fault::Damaged("number of data blocks")));
        for at in 0..SIZE {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bytes = good;
                bytes[at] = value;
                _ = Superblock::parse(&bytes);
            }
        }
        assert!(Superblock::read(&good[..100], 0).is_err());
    }
}
