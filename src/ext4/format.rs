//! The structures and constants of ext4 and of its journal, as they lie on the disk. No algorithms.
//!
//! Fields have the names the Linux kernel gives them (`fs/ext4/ext4.h`, `include/linux/jbd2.h`; the text is
//! Documentation/filesystems/ext4). Everything is little-endian but the journal, which is big-endian.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned, big_endian as be, little_endian as le};

/// Bytes of a block in the file systems we write.
pub const BLOCK: u64 = 4096;
/// Blocks of a group: what one bitmap block counts.
pub const BLOCKS_PER_GROUP: u64 = 32_768;
/// Most inodes of a group: what one bitmap block counts.
pub const MAX_INODES_PER_GROUP: u32 = 32_768;
/// Bytes of an inode in the file systems we write.
pub const INODE_SIZE: usize = 256;
/// Inodes of one block of an inode table.
pub const INODES_PER_BLOCK: u32 = (BLOCK as usize / INODE_SIZE) as u32;
/// Offset of the first superblock, in bytes. Backups are at the start of their group.
pub const SUPERBLOCK_OFFSET: u64 = 1024;
/// `s_magic`.
pub const MAGIC: u16 = 0xef53;

/// Inode of the root directory.
pub const ROOT_INO: u32 = 2;
/// Inode that owns the blocks kept for a longer group descriptor table.
pub const RESIZE_INO: u32 = 7;
/// Inode of the journal.
pub const JOURNAL_INO: u32 = 8;
/// First inode that is not reserved (`s_first_ino`).
pub const FIRST_INO: u32 = 11;

/// Most names of one inode.
pub const LINK_MAX: u32 = 65_000;
/// Symbolic links shorter than this live in `i_block`.
pub const INLINE_LINK: usize = 60;

/// Bits of `s_feature_compat`.
pub mod compat {
    #![allow(missing_docs)]
    pub const HAS_JOURNAL: u32 = 0x4;
    pub const EXT_ATTR: u32 = 0x8;
    pub const RESIZE_INODE: u32 = 0x10;
    pub const DIR_INDEX: u32 = 0x20;
    pub const SPARSE_SUPER2: u32 = 0x200;
}

/// Bits of `s_feature_incompat`: a reader that does not know one must refuse the file system.
pub mod incompat {
    #![allow(missing_docs)]
    pub const FILETYPE: u32 = 0x2;
    pub const RECOVER: u32 = 0x4;
    pub const META_BG: u32 = 0x10;
    pub const EXTENTS: u32 = 0x40;
    pub const BITS64: u32 = 0x80;
    pub const FLEX_BG: u32 = 0x200;
    pub const EA_INODE: u32 = 0x400;
    pub const CSUM_SEED: u32 = 0x2000;
    pub const LARGEDIR: u32 = 0x4000;
}

/// Bits of `s_feature_ro_compat`: a reader may ignore them.
pub mod ro_compat {
    #![allow(missing_docs)]
    pub const SPARSE_SUPER: u32 = 0x1;
    pub const LARGE_FILE: u32 = 0x2;
    pub const HUGE_FILE: u32 = 0x8;
    pub const DIR_NLINK: u32 = 0x20;
    pub const EXTRA_ISIZE: u32 = 0x40;
    pub const METADATA_CSUM: u32 = 0x400;
    pub const BIGALLOC: u32 = 0x200;
}

/// `s_flags`: names are hashed as unsigned bytes.
pub const FLAG_UNSIGNED_HASH: u32 = 0x2;
/// `s_def_hash_version` and `hash_version`: half of MD4.
pub const HASH_HALF_MD4: u8 = 1;
/// `s_default_mount_opts`: user attributes and ACLs.
pub const MOUNT_XATTR_USER_ACL: u32 = 0x4 | 0x8;
/// `s_checksum_type`: CRC-32C.
pub const CHECKSUM_CRC32C: u8 = 1;
/// `s_jnl_backup_type`: `s_jnl_blocks` holds the journal's `i_block` and size.
pub const JOURNAL_BACKUP_BLOCKS: u8 = 1;

/// The superblock.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[allow(missing_docs)]
pub struct Superblock {
    pub s_inodes_count: le::U32,
    pub s_blocks_count_lo: le::U32,
    pub s_r_blocks_count_lo: le::U32,
    pub s_free_blocks_count_lo: le::U32,
    pub s_free_inodes_count: le::U32,
    pub s_first_data_block: le::U32,
    pub s_log_block_size: le::U32,
    pub s_log_cluster_size: le::U32,
    pub s_blocks_per_group: le::U32,
    pub s_clusters_per_group: le::U32,
    pub s_inodes_per_group: le::U32,
    pub s_mtime: le::U32,
    pub s_wtime: le::U32,
    pub s_mnt_count: le::U16,
    pub s_max_mnt_count: le::U16,
    pub s_magic: le::U16,
    pub s_state: le::U16,
    pub s_errors: le::U16,
    pub s_minor_rev_level: le::U16,
    pub s_lastcheck: le::U32,
    pub s_checkinterval: le::U32,
    pub s_creator_os: le::U32,
    pub s_rev_level: le::U32,
    pub s_def_resuid: le::U16,
    pub s_def_resgid: le::U16,
    pub s_first_ino: le::U32,
    pub s_inode_size: le::U16,
    pub s_block_group_nr: le::U16,
    pub s_feature_compat: le::U32,
    pub s_feature_incompat: le::U32,
    pub s_feature_ro_compat: le::U32,
    pub s_uuid: [u8; 16],
    pub s_volume_name: [u8; 16],
    pub s_last_mounted: [u8; 64],
    pub s_algorithm_usage_bitmap: le::U32,
    pub s_prealloc_blocks: u8,
    pub s_prealloc_dir_blocks: u8,
    pub s_reserved_gdt_blocks: le::U16,
    pub s_journal_uuid: [u8; 16],
    pub s_journal_inum: le::U32,
    pub s_journal_dev: le::U32,
    pub s_last_orphan: le::U32,
    pub s_hash_seed: [le::U32; 4],
    pub s_def_hash_version: u8,
    pub s_jnl_backup_type: u8,
    pub s_desc_size: le::U16,
    pub s_default_mount_opts: le::U32,
    pub s_first_meta_bg: le::U32,
    pub s_mkfs_time: le::U32,
    pub s_jnl_blocks: [le::U32; 17],
    pub s_blocks_count_hi: le::U32,
    pub s_r_blocks_count_hi: le::U32,
    pub s_free_blocks_count_hi: le::U32,
    pub s_min_extra_isize: le::U16,
    pub s_want_extra_isize: le::U16,
    pub s_flags: le::U32,
    pub s_raid_stride: le::U16,
    pub s_mmp_update_interval: le::U16,
    pub s_mmp_block: le::U64,
    pub s_raid_stripe_width: le::U32,
    pub s_log_groups_per_flex: u8,
    pub s_checksum_type: u8,
    pub s_reserved_pad: le::U16,
    pub s_kbytes_written: le::U64,
    pub s_snapshot: [u8; 20],
    pub s_error_report: [u8; 108],
    pub s_mount_opts: [u8; 64],
    pub s_usr_quota_inum: le::U32,
    pub s_grp_quota_inum: le::U32,
    pub s_overhead_clusters: le::U32,
    pub s_backup_bgs: [le::U32; 2],
    pub s_encryption: [u8; 20],
    pub s_lpf_ino: le::U32,
    pub s_prj_quota_inum: le::U32,
    pub s_checksum_seed: le::U32,
    pub s_times_hi: [u8; 8],
    pub s_reserved: [le::U32; 96],
    pub s_checksum: le::U32,
}
const _: () = assert!(size_of::<Superblock>() == 1024);
const _: () = assert!(core::mem::offset_of!(Superblock, s_magic) == 0x38);
const _: () = assert!(core::mem::offset_of!(Superblock, s_uuid) == 0x68);
const _: () = assert!(core::mem::offset_of!(Superblock, s_hash_seed) == 0xec);
const _: () = assert!(core::mem::offset_of!(Superblock, s_jnl_blocks) == 0x10c);
const _: () = assert!(core::mem::offset_of!(Superblock, s_blocks_count_hi) == 0x150);
const _: () = assert!(core::mem::offset_of!(Superblock, s_log_groups_per_flex) == 0x174);
const _: () = assert!(core::mem::offset_of!(Superblock, s_overhead_clusters) == 0x248);
const _: () = assert!(core::mem::offset_of!(Superblock, s_checksum_seed) == 0x270);
const _: () = assert!(core::mem::offset_of!(Superblock, s_checksum) == 0x3fc);

/// Bits of `bg_flags`.
pub mod group_flag {
    /// The inode bitmap and table were never written: all inodes are free.
    pub const INODE_UNINIT: u16 = 1;
    /// The block bitmap was never written: only the group's own metadata is used.
    pub const BLOCK_UNINIT: u16 = 2;
    /// The unused part of the inode table reads as zeros.
    pub const INODE_ZEROED: u16 = 4;
}

/// A group descriptor. Without the `64bit` feature only the first 32 bytes are on the disk.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[allow(missing_docs)]
pub struct GroupDescriptor {
    pub bg_block_bitmap_lo: le::U32,
    pub bg_inode_bitmap_lo: le::U32,
    pub bg_inode_table_lo: le::U32,
    pub bg_free_blocks_count_lo: le::U16,
    pub bg_free_inodes_count_lo: le::U16,
    pub bg_used_dirs_count_lo: le::U16,
    pub bg_flags: le::U16,
    pub bg_exclude_bitmap_lo: le::U32,
    pub bg_block_bitmap_csum_lo: le::U16,
    pub bg_inode_bitmap_csum_lo: le::U16,
    pub bg_itable_unused_lo: le::U16,
    pub bg_checksum: le::U16,
    pub bg_block_bitmap_hi: le::U32,
    pub bg_inode_bitmap_hi: le::U32,
    pub bg_inode_table_hi: le::U32,
    pub bg_free_blocks_count_hi: le::U16,
    pub bg_free_inodes_count_hi: le::U16,
    pub bg_used_dirs_count_hi: le::U16,
    pub bg_itable_unused_hi: le::U16,
    pub bg_exclude_bitmap_hi: le::U32,
    pub bg_block_bitmap_csum_hi: le::U16,
    pub bg_inode_bitmap_csum_hi: le::U16,
    pub bg_reserved: le::U32,
}
const _: () = assert!(size_of::<GroupDescriptor>() == 64);
const _: () = assert!(core::mem::offset_of!(GroupDescriptor, bg_checksum) == 0x1e);

/// Bits of `i_flags`.
pub mod inode_flag {
    /// The directory is a hash tree.
    pub const INDEX: u32 = 0x1000;
    /// `i_block` holds an extent tree.
    pub const EXTENTS: u32 = 0x8_0000;
    /// The content is the value of an attribute of another inode.
    pub const EA_INODE: u32 = 0x20_0000;
    /// `i_blocks` counts blocks of the file system, not 512 bytes.
    pub const HUGE_FILE: u32 = 0x4_0000;
    /// File data lives in the inode.
    pub const INLINE_DATA: u32 = 0x1000_0000;
    /// Contents are encrypted.
    pub const ENCRYPT: u32 = 0x800;
}

/// File types in `i_mode`.
pub mod mode {
    #![allow(missing_docs)]
    pub const MASK: u16 = 0xf000;
    pub const FIFO: u16 = 0x1000;
    pub const CHAR: u16 = 0x2000;
    pub const DIRECTORY: u16 = 0x4000;
    pub const BLOCK: u16 = 0x6000;
    pub const REGULAR: u16 = 0x8000;
    pub const SYMLINK: u16 = 0xa000;
    pub const SOCKET: u16 = 0xc000;
}

/// An inode of 256 bytes: the old 128, 32 more of `i_extra_isize`, and room for extended attributes.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[allow(missing_docs)]
pub struct Inode {
    pub i_mode: le::U16,
    pub i_uid: le::U16,
    pub i_size_lo: le::U32,
    pub i_atime: le::U32,
    pub i_ctime: le::U32,
    pub i_mtime: le::U32,
    pub i_dtime: le::U32,
    pub i_gid: le::U16,
    pub i_links_count: le::U16,
    pub i_blocks_lo: le::U32,
    pub i_flags: le::U32,
    pub i_version: le::U32,
    pub i_block: [u8; 60],
    pub i_generation: le::U32,
    pub i_file_acl_lo: le::U32,
    pub i_size_high: le::U32,
    pub i_obso_faddr: le::U32,
    pub i_blocks_high: le::U16,
    pub i_file_acl_high: le::U16,
    pub i_uid_high: le::U16,
    pub i_gid_high: le::U16,
    pub i_checksum_lo: le::U16,
    pub i_reserved: le::U16,
    pub i_extra_isize: le::U16,
    pub i_checksum_hi: le::U16,
    pub i_ctime_extra: le::U32,
    pub i_mtime_extra: le::U32,
    pub i_atime_extra: le::U32,
    pub i_crtime: le::U32,
    pub i_crtime_extra: le::U32,
    pub i_version_hi: le::U32,
    pub i_projid: le::U32,
    pub xattrs: [u8; INLINE_XATTRS],
}
/// `i_extra_isize` of our inodes: everything up to `i_projid`.
pub const EXTRA_ISIZE: u16 = 32;
/// Bytes of an inode left for extended attributes.
pub const INLINE_XATTRS: usize = INODE_SIZE - 128 - EXTRA_ISIZE as usize;
const _: () = assert!(size_of::<Inode>() == INODE_SIZE);
const _: () = assert!(core::mem::offset_of!(Inode, i_block) == 0x28);
const _: () = assert!(core::mem::offset_of!(Inode, i_checksum_lo) == 0x7c);
const _: () = assert!(core::mem::offset_of!(Inode, i_extra_isize) == 0x80);
const _: () = assert!(core::mem::offset_of!(Inode, xattrs) == 0xa0);

/// `eh_magic`.
pub const EXTENT_MAGIC: u16 = 0xf30a;
/// Longest initialised extent, in blocks. A longer length marks one that was allocated and never written.
pub const EXTENT_MAX: u32 = 32_768;
/// Extents in `i_block`.
pub const EXTENTS_IN_INODE: usize = 4;
/// Extents in a block of 4096 bytes; the last four bytes are the checksum.
pub const EXTENTS_IN_BLOCK: usize = 340;

/// Starts every node of an extent tree.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[allow(missing_docs)]
pub struct ExtentHeader {
    pub eh_magic: le::U16,
    pub eh_entries: le::U16,
    pub eh_max: le::U16,
    pub eh_depth: le::U16,
    pub eh_generation: le::U32,
}

/// A leaf entry: `ee_len` blocks of the file from `ee_block` on are at the disk's block `ee_start`.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[allow(missing_docs)]
pub struct Extent {
    pub ee_block: le::U32,
    pub ee_len: le::U16,
    pub ee_start_hi: le::U16,
    pub ee_start_lo: le::U32,
}

/// An index entry: blocks of the file from `ei_block` on are found through the node at `ei_leaf`.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[allow(missing_docs)]
pub struct ExtentIndex {
    pub ei_block: le::U32,
    pub ei_leaf_lo: le::U32,
    pub ei_leaf_hi: le::U16,
    pub ei_unused: le::U16,
}
const _: () = assert!(size_of::<ExtentHeader>() == 12);
const _: () = assert!(size_of::<Extent>() == 12);
const _: () = assert!(size_of::<ExtentIndex>() == 12);

/// A directory entry, without its name.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[allow(missing_docs)]
pub struct DirEntry {
    pub inode: le::U32,
    pub rec_len: le::U16,
    pub name_len: u8,
    pub file_type: u8,
}

/// Ends a directory leaf: looks like an unused entry and holds the checksum.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[allow(missing_docs)]
pub struct DirTail {
    pub det_reserved_zero1: le::U32,
    pub det_rec_len: le::U16,
    pub det_reserved_zero2: u8,
    pub det_reserved_ft: u8,
    pub det_checksum: le::U32,
}
/// `det_reserved_ft`.
pub const DIR_TAIL_TYPE: u8 = 0xde;
const _: () = assert!(size_of::<DirEntry>() == 8);
const _: () = assert!(size_of::<DirTail>() == 12);

/// `file_type` of a directory entry.
pub mod file_type {
    #![allow(missing_docs)]
    pub const REGULAR: u8 = 1;
    pub const DIRECTORY: u8 = 2;
    pub const CHAR: u8 = 3;
    pub const BLOCK: u8 = 4;
    pub const FIFO: u8 = 5;
    pub const SYMLINK: u8 = 7;
}

/// Follows `.` and `..` in the first block of a hashed directory.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[allow(missing_docs)]
pub struct DxRootInfo {
    pub reserved_zero: le::U32,
    pub hash_version: u8,
    pub info_length: u8,
    pub indirect_levels: u8,
    pub unused_flags: u8,
}

/// An entry of a hash tree node. The first of a node has no hash: `limit` and `count` lie in its place.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[allow(missing_docs)]
pub struct DxEntry {
    pub hash: le::U32,
    pub block: le::U32,
}

/// Ends a hash tree node, at the place of the entry after the last possible one.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[allow(missing_docs)]
pub struct DxTail {
    pub dt_reserved: le::U32,
    pub dt_checksum: le::U32,
}
const _: () = assert!(size_of::<DxRootInfo>() == 8);
const _: () = assert!(size_of::<DxEntry>() == 8);
const _: () = assert!(size_of::<DxTail>() == 8);

/// `h_magic` of an attribute block, and the word before attributes in an inode.
pub const XATTR_MAGIC: u32 = 0xea02_0000;

/// Starts a block of extended attributes.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[allow(missing_docs)]
pub struct XattrHeader {
    pub h_magic: le::U32,
    pub h_refcount: le::U32,
    pub h_blocks: le::U32,
    pub h_hash: le::U32,
    pub h_checksum: le::U32,
    pub h_reserved: [le::U32; 3],
}

/// An extended attribute, without its name. Entries end with four zero bytes.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[allow(missing_docs)]
pub struct XattrEntry {
    pub e_name_len: u8,
    pub e_name_index: u8,
    pub e_value_offs: le::U16,
    pub e_value_inum: le::U32,
    pub e_value_size: le::U32,
    pub e_hash: le::U32,
}
const _: () = assert!(size_of::<XattrHeader>() == 32);
const _: () = assert!(size_of::<XattrEntry>() == 16);

/// `e_name_index`: which prefix a name had.
pub mod xattr_index {
    #![allow(missing_docs)]
    pub const USER: u8 = 1;
    pub const ACL_ACCESS: u8 = 2;
    pub const ACL_DEFAULT: u8 = 3;
    pub const TRUSTED: u8 = 4;
    pub const SECURITY: u8 = 6;
}

/// `h_magic` of every journal block.
pub const JOURNAL_MAGIC: u32 = 0xc03b_3998;
/// `h_blocktype` of a journal superblock, version 2.
pub const JOURNAL_SUPERBLOCK_V2: u32 = 4;

/// The first block of the journal, up to its checksum. Big-endian.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[allow(missing_docs)]
pub struct JournalSuperblock {
    pub h_magic: be::U32,
    pub h_blocktype: be::U32,
    pub h_sequence: be::U32,
    pub s_blocksize: be::U32,
    pub s_maxlen: be::U32,
    pub s_first: be::U32,
    pub s_sequence: be::U32,
    pub s_start: be::U32,
    pub s_errno: be::U32,
    pub s_feature_compat: be::U32,
    pub s_feature_incompat: be::U32,
    pub s_feature_ro_compat: be::U32,
    pub s_uuid: [u8; 16],
    pub s_nr_users: be::U32,
    pub s_dynsuper: be::U32,
    pub s_max_transaction: be::U32,
    pub s_max_trans_data: be::U32,
    pub s_checksum_type: u8,
    pub s_padding2: [u8; 3],
    pub s_num_fc_blks: be::U32,
    pub s_head: be::U32,
    pub s_padding: [be::U32; 40],
    pub s_checksum: be::U32,
    pub s_users: [u8; 768],
}
const _: () = assert!(size_of::<JournalSuperblock>() == 1024);
const _: () = assert!(core::mem::offset_of!(JournalSuperblock, s_checksum) == 0xfc);
