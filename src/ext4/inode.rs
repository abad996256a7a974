//! Inodes as they lie in the table: attributes, times, device numbers, checksum.
//!
//! Specification: Documentation/filesystems/ext4/inodes.rst.

use super::checksum::Seed;
use super::format::{BLOCK, EXTRA_ISIZE, INLINE_LINK, Inode, inode_flag, mode};
use crate::rootfs::tree::Attrs;
use crate::rootfs::{Kind, Time};
use zerocopy::{FromZeros, IntoBytes};

/// Seconds ext4 can store: 34 bits from the lowest of 32.
const SECONDS: std::ops::RangeInclusive<i64> = -(1 << 31)..=(1 << 34) - (1 << 31) - 1;

/// Seconds from 2310-04-04 to 2378-04-22. Kernels before 3.14 wrote times before 1970 this way, and e2fsck takes them
/// for such: a file system that has one is not clean to it.
const AMBIGUOUS: std::ops::Range<i64> = (3 << 32) - (1 << 31)..3 << 32;

/// The nearest time ext4 can store and e2fsck accepts, and whether that is another one.
pub fn clamp_time(time: Time) -> (Time, bool) {
    if AMBIGUOUS.contains(&time.secs) {
        return (Time { secs: AMBIGUOUS.start - 1, nanos: 999_999_999 }, true);
    }
    if SECONDS.contains(&time.secs) {
        return (Time { nanos: time.nanos.min(999_999_999), ..time }, false);
    }
    let secs = time.secs.clamp(*SECONDS.start(), *SECONDS.end());
    let nanos = if time.secs > secs { 999_999_999 } else { 0 };
    (Time { secs, nanos }, true)
}

/// The two words of a time: the low 32 bits, and nanoseconds with the two bits above.
fn time_words(time: Time) -> (u32, u32) {
    let low = time.secs as i32;
    let epoch = ((time.secs - i64::from(low)) >> 32) as u32 & 3;
    (low as u32, time.nanos << 2 | epoch)
}

/// The word or words of a device number in `i_block`, or `None` when Linux has no such number.
pub fn device(major: u32, minor: u32) -> Option<[u8; 60]> {
    let mut block = [0; 60];
    if major < 256 && minor < 256 {
        block[..4].copy_from_slice(&(major << 8 | minor).to_le_bytes());
    } else if major < 1 << 12 && minor < 1 << 20 {
        let word = minor & 0xff | major << 8 | (minor & !0xff) << 12;
        block[4..8].copy_from_slice(&word.to_le_bytes());
    } else {
        return None;
    }
    Some(block)
}

/// `i_block` of a symbolic link short enough.
pub fn inline_link(target: &[u8]) -> Option<[u8; 60]> {
    let mut block = [0; 60];
    if target.len() >= INLINE_LINK {
        return None;
    }
    block[..target.len()].copy_from_slice(target);
    Some(block)
}

/// The file type bits of `i_mode`.
pub fn type_bits<B>(kind: &Kind<B>) -> u16 {
    match kind {
        Kind::Directory(_) => mode::DIRECTORY,
        Kind::File { .. } => mode::REGULAR,
        Kind::Symlink(_) => mode::SYMLINK,
        Kind::CharDevice { .. } => mode::CHAR,
        Kind::BlockDevice { .. } => mode::BLOCK,
        Kind::Fifo => mode::FIFO,
    }
}

/// An inode with what `attrs` says; the change time and the birth time are the modification time.
pub fn with_attrs(type_bits: u16, attrs: &Attrs) -> Inode {
    let mut inode = Inode::new_zeroed();
    inode.i_mode.set(type_bits | attrs.mode & 0o7777);
    inode.i_uid.set(attrs.uid as u16);
    inode.i_uid_high.set((attrs.uid >> 16) as u16);
    inode.i_gid.set(attrs.gid as u16);
    inode.i_gid_high.set((attrs.gid >> 16) as u16);
    inode.i_extra_isize.set(EXTRA_ISIZE);
    let (seconds, extra) = time_words(clamp_time(attrs.mtime).0);
    for word in [&mut inode.i_atime, &mut inode.i_ctime, &mut inode.i_mtime, &mut inode.i_crtime] {
        word.set(seconds);
    }
    for word in
        [&mut inode.i_atime_extra, &mut inode.i_ctime_extra, &mut inode.i_mtime_extra, &mut inode.i_crtime_extra]
    {
        word.set(extra);
    }
    inode
}

/// The inode of an attribute's value: the file's owner, the value's checksum in the place of a time, and how many files
/// have it, which is one, in the place of another and of a version.
pub fn of_value(owner: &Attrs, checksum: u32, size: u64) -> Inode {
    let attrs = Attrs { mode: 0o600, uid: owner.uid, gid: owner.gid, mtime: owner.mtime, xattrs: None };
    let mut inode = with_attrs(mode::REGULAR, &attrs);
    inode.i_flags.set(inode_flag::EA_INODE);
    inode.i_links_count.set(1);
    inode.i_atime.set(checksum);
    inode.i_version.set(1);
    for word in [&mut inode.i_atime_extra, &mut inode.i_ctime, &mut inode.i_ctime_extra] {
        word.set(0);
    }
    set_size(&mut inode, size);
    inode
}

/// Sets the size in bytes.
pub fn set_size(inode: &mut Inode, size: u64) {
    inode.i_size_lo.set(size as u32);
    inode.i_size_high.set((size >> 32) as u32);
}

/// Sets the number of blocks, those of trees and attributes included; the field counts 512 bytes.
pub fn set_blocks(inode: &mut Inode, blocks: u64) {
    let sectors = blocks * (BLOCK / 512);
    inode.i_blocks_lo.set(sectors as u32);
    inode.i_blocks_high.set((sectors >> 32) as u16);
}

/// Sets the place of the attribute block.
pub fn set_xattr_block(inode: &mut Inode, block: u64) {
    inode.i_file_acl_lo.set(block as u32);
    inode.i_file_acl_high.set((block >> 32) as u16);
}

/// Sets the checksum: the last step.
pub fn seal(inode: &mut Inode, number: u32, seed: Seed) {
    let sum = seed.inode(number, inode.i_generation.get()).inode(inode.as_bytes());
    inode.i_checksum_lo.set(sum as u16);
    inode.i_checksum_hi.set((sum >> 16) as u16);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_beyond_32_bits_use_the_epoch_bits() {
        let words = |secs| time_words(Time { secs, nanos: 5 });
        assert_eq!(words(0), (0, 20));
        assert_eq!(words(-1), (u32::MAX, 20));
        assert_eq!(words(-(1 << 31)), (1 << 31, 20));
        assert_eq!(words(1 << 31), (1 << 31, 21));
        assert_eq!(words(1 << 33), (0, 22));
        assert_eq!(words(*SECONDS.end()), (0x7fff_ffff, 23));
    }

    #[test]
    fn times_out_of_range_become_the_nearest() {
        let clamp = |secs| clamp_time(Time { secs, nanos: 7 });
        assert_eq!(clamp(1 << 33), (Time { secs: 1 << 33, nanos: 7 }, false));
        assert_eq!(clamp(i64::MAX), (Time { secs: *SECONDS.end(), nanos: 999_999_999 }, true));
        assert_eq!(clamp(-(1 << 31) - 1), (Time { secs: -(1 << 31), nanos: 0 }, true));
        assert!(!clamp(AMBIGUOUS.start - 1).1);
        assert_eq!(clamp(AMBIGUOUS.start), (Time { secs: AMBIGUOUS.start - 1, nanos: 999_999_999 }, true));
        assert!(!clamp(AMBIGUOUS.end).1);
    }

    #[test]
    fn device_numbers_have_two_forms() {
        assert_eq!(device(1, 3).unwrap()[..8], [3, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(device(259, 70_000).unwrap()[..8], [0, 0, 0, 0, 0x70, 0x03, 0x11, 0x11]);
        assert_eq!(device(4096, 0), None);
        assert_eq!(device(0, 1 << 20), None);
    }
}
