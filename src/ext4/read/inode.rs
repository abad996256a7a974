//! One inode.

use super::error::{Part, ReadError};
use super::superblock::FileSystem;
use crate::ext4::format::{self, group_flag, inode_flag, mode};
use crate::rootfs::Time;
use zerocopy::{FromBytes, IntoBytes};

/// An inode as it is on the disk, verified.
#[derive(Clone)]
pub struct Inode {
    /// Its number.
    pub number: u32,
    /// What it is.
    pub kind: Kind,
    /// `mode & 0o7777`.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Time of last modification.
    pub mtime: Time,
    /// Bytes.
    pub size: u64,
    /// `i_links_count`; 1 for a directory with more than 65000.
    pub links: u16,
    pub(super) raw: format::Inode,
    /// What follows the fixed fields: attributes.
    pub(super) extra: Vec<u8>,
}

/// What an inode is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Kind {
    Directory,
    File,
    Symlink,
    CharDevice { major: u32, minor: u32 },
    BlockDevice { major: u32, minor: u32 },
    Fifo,
    Socket,
}

const OLD_SIZE: usize = 128;

impl FileSystem<'_> {
    /// Reads an inode in use.
    pub fn inode(&self, number: u32) -> Result<Inode, ReadError> {
        let part = Part::Inode(number);
        let damaged = || ReadError::Damaged(part);
        let index = number.checked_sub(1).filter(|_| number <= self.inodes().0).ok_or_else(damaged)?;
        let group = u64::from(index / self.inodes_per_group());
        let descriptor = self.descriptor(group)?;
        if descriptor.bg_flags.get() & group_flag::INODE_UNINIT != 0 && self.seed.is_some() {
            return Err(damaged());
        }
        let table = u64::from(descriptor.bg_inode_table_lo.get()) | u64::from(descriptor.bg_inode_table_hi.get()) << 32;
        let size = self.inode_size();
        let mut bytes = vec![0; size.max(size_of::<format::Inode>())];
        let skip = u64::from(index % self.inodes_per_group()) * size as u64;
        self.read(table, skip, &mut bytes[..size], part)?;
        let (raw, _) = format::Inode::read_from_prefix(&bytes).map_err(|_| damaged())?;
        if raw.i_links_count.get() == 0 {
            return Err(damaged());
        }
        self.verify_inode(number, &raw, &bytes[..size])?;
        let extra_size = if size > OLD_SIZE { usize::from(raw.i_extra_isize.get()) } else { 0 };
        let extra = bytes[..size].get(OLD_SIZE + extra_size..).ok_or_else(damaged)?.to_vec();
        // Fields beyond i_extra_isize are attributes, not what their names say.
        let fields = if extra_size >= 28 { raw } else { without_extra(&raw) };
        Ok(Inode {
            number,
            kind: kind(&raw).ok_or_else(damaged)?,
            mode: raw.i_mode.get() & 0o7777,
            uid: u32::from(raw.i_uid.get()) | u32::from(raw.i_uid_high.get()) << 16,
            gid: u32::from(raw.i_gid.get()) | u32::from(raw.i_gid_high.get()) << 16,
            mtime: time(fields.i_mtime.get(), fields.i_mtime_extra.get()),
            size: u64::from(raw.i_size_lo.get()) | u64::from(raw.i_size_high.get()) << 32,
            links: raw.i_links_count.get(),
            raw,
            extra,
        })
    }

    fn verify_inode(&self, number: u32, raw: &format::Inode, bytes: &[u8]) -> Result<(), ReadError> {
        let Some(seed) = self.seed else { return Ok(()) };
        let sum = seed.inode(number, raw.i_generation.get()).inode(bytes);
        let with_high = bytes.len() > OLD_SIZE && raw.i_extra_isize.get() >= 4;
        let stored = u32::from(raw.i_checksum_lo.get()) | u32::from(raw.i_checksum_hi.get()) << 16;
        let same = if with_high { stored == sum } else { stored & 0xffff == sum & 0xffff };
        if same { Ok(()) } else { Err(ReadError::Checksum(Part::Inode(number))) }
    }
}

impl Inode {
    /// Whether `i_flags` has a bit.
    pub(super) fn has(&self, flag: u32) -> bool {
        self.raw.i_flags.get() & flag != 0
    }

    /// Whether its content is where this reader can find it.
    pub(super) fn check_readable(&self) -> Result<(), ReadError> {
        for (flag, name) in [(inode_flag::INLINE_DATA, "inline data"), (inode_flag::ENCRYPT, "encrypted files")] {
            if self.has(flag) {
                return Err(ReadError::Unsupported(name.into()));
            }
        }
        Ok(())
    }
}

fn without_extra(raw: &format::Inode) -> format::Inode {
    let mut fields = *raw;
    fields.as_mut_bytes()[OLD_SIZE..].fill(0);
    fields
}

fn time(seconds: u32, extra: u32) -> Time {
    Time { secs: i64::from(seconds as i32) + (i64::from(extra & 3) << 32), nanos: (extra >> 2).min(999_999_999) }
}

fn kind(raw: &format::Inode) -> Option<Kind> {
    let word = |i: usize| u32::from_le_bytes([0, 1, 2, 3].map(|b| raw.i_block[4 * i + b]));
    let (major, minor) = match word(0) {
        0 => (word(1) >> 8 & 0xfff, word(1) & 0xff | word(1) >> 12 & 0xf_ff00),
        old => (old >> 8 & 0xff, old & 0xff),
    };
    Some(match raw.i_mode.get() & mode::MASK {
        mode::DIRECTORY => Kind::Directory,
        mode::REGULAR => Kind::File,
        mode::SYMLINK => Kind::Symlink,
        mode::CHAR => Kind::CharDevice { major, minor },
        mode::BLOCK => Kind::BlockDevice { major, minor },
        mode::FIFO => Kind::Fifo,
        mode::SOCKET => Kind::Socket,
        _ => return None,
    })
}
