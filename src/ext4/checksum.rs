//! The checksums of the `metadata_csum` feature: CRC-32C without the final inversion, seeded with what the
//! structure belongs to, so that a block in the wrong place fails too.
//!
//! Specification: Documentation/filesystems/ext4/checksums.rst.

use super::format::{DxTail, GroupDescriptor, Inode, Superblock, XattrHeader};
use zerocopy::IntoBytes;

/// CRC-32C as the kernel computes it: neither the start nor the result is inverted.
pub fn crc(seed: u32, bytes: &[u8]) -> u32 {
    !crc32c::crc32c_append(!seed, bytes)
}

/// The seed of everything in one file system: from its UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(pub u32);

/// The seed of everything that belongs to one inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InodeSeed(pub u32);

/// `s_checksum`.
pub fn superblock(sb: &Superblock) -> u32 {
    let bytes = sb.as_bytes();
    crc(!0, &bytes[..bytes.len() - 4])
}

impl Seed {
    /// From the file system's UUID.
    pub fn new(uuid: &[u8; 16]) -> Self {
        Seed(crc(!0, uuid))
    }

    /// From an inode's number and generation.
    pub fn inode(self, number: u32, generation: u32) -> InodeSeed {
        InodeSeed(crc(crc(self.0, &number.to_le_bytes()), &generation.to_le_bytes()))
    }

    /// `bg_checksum` of the descriptor of `group`, of which `size` bytes are on the disk.
    pub fn descriptor(self, group: u32, descriptor: &GroupDescriptor, size: usize) -> u16 {
        let mut descriptor = *descriptor;
        descriptor.bg_checksum.set(0);
        crc(crc(self.0, &group.to_le_bytes()), &descriptor.as_bytes()[..size]) as u16
    }

    /// Of a block bitmap, or of the used part of an inode bitmap.
    pub fn bitmap(self, bits: &[u8]) -> u32 {
        crc(self.0, bits)
    }

    /// Of an attribute's value in an inode of its own.
    pub fn attribute_value(self, value: &[u8]) -> u32 {
        crc(self.0, value)
    }

    /// `h_checksum` of the attribute block at `block`.
    pub fn xattr_block(self, block: u64, bytes: &[u8]) -> u32 {
        let at = core::mem::offset_of!(XattrHeader, h_checksum);
        let crc1 = crc(crc(self.0, &block.to_le_bytes()), &bytes[..at]);
        crc(crc(crc1, &[0; 4]), &bytes[at + 4..])
    }
}

impl InodeSeed {
    /// `i_checksum` of an inode of any size: 128 bytes, or more with `i_extra_isize`.
    pub fn inode(self, inode: &[u8]) -> u32 {
        let mut inode = inode.to_vec();
        let low = core::mem::offset_of!(Inode, i_checksum_lo);
        let high = core::mem::offset_of!(Inode, i_checksum_hi);
        inode[low..low + 2].fill(0);
        if let Some(field) = inode.get_mut(high..high + 2) {
            field.fill(0);
        }
        crc(self.0, &inode)
    }

    /// Of a directory leaf, an extent node or anything else: the bytes before the checksum's own place.
    pub fn block(self, bytes: &[u8]) -> u32 {
        crc(self.0, bytes)
    }

    /// `dt_checksum` of a hash tree node whose entries end at byte `used`.
    pub fn hash_node(self, block: &[u8], used: usize, tail: &DxTail) -> u32 {
        crc(crc(crc(self.0, &block[..used]), tail.dt_reserved.as_bytes()), &[0; 4])
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_result_is_not_inverted() {
        // The check value of CRC-32C is 0xe3069283 with both inversions.
        assert_eq!(super::crc(!0, b"123456789"), !0xe306_9283);
    }
}
