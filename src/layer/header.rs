//! One 512-byte tar header block.
//!
//! ```text
//!    0 name[100]   100 mode[8]   108 uid[8]   116 gid[8]   124 size[12]   136 mtime[12]   148 chksum[8]
//!  156 typeflag    157 linkname[100]   257 magic[8]   265 uname[32]   297 gname[32]   329 devmajor[8]   337 devminor[8]
//!  ustar "ustar\0"   345 prefix[155]
//!  star  "ustar\0"   345 prefix[131]   476 atime[12]   488 ctime[12]   508 "tar\0"
//!  GNU   "ustar  "   345 atime[12]  357 ctime[12]  386 sparse[4 × (offset[12] numbytes[12])]  482 isextended  483 realsize[12]
//!  v7    anything else: no fields after linkname
//! ```
//!
//! User and group names are not read: an image's owners are numbers.
//!
//! Sources: POSIX.1-2017 pax, "ustar Interchange Format"; GNU tar manual, "Basic Tar Format"; star(5).

use super::number;
use std::ops::Range;

/// Size of a header and unit of every body.
pub const BLOCK: usize = 512;

/// One header block.
pub struct Header(pub [u8; BLOCK]);

/// Which fields follow `linkname`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Unix version 7: none.
    V7,
    /// POSIX ustar and PAX.
    Ustar,
    /// Jörg Schilling's star: ustar with a shorter prefix.
    Star,
    /// Old GNU.
    Gnu,
}

const NAME: Range<usize> = 0..100;
const MODE: Range<usize> = 100..108;
const UID: Range<usize> = 108..116;
const GID: Range<usize> = 116..124;
const SIZE: Range<usize> = 124..136;
const MTIME: Range<usize> = 136..148;
const CHECKSUM: Range<usize> = 148..156;
const TYPEFLAG: usize = 156;
const LINKNAME: Range<usize> = 157..257;
const DEVMAJOR: Range<usize> = 329..337;
const DEVMINOR: Range<usize> = 337..345;
const PREFIX: Range<usize> = 345..500;
const STAR_PREFIX: Range<usize> = 345..476;
const GNU_ATIME: Range<usize> = 345..357;
const GNU_CTIME: Range<usize> = 357..369;
const GNU_SPARSE: Range<usize> = 386..482;
const GNU_IS_EXTENDED: usize = 482;
const GNU_REAL_SIZE: Range<usize> = 483..495;

/// Whether an archive begins with these bytes.
pub fn is_archive(start: &[u8]) -> bool {
    start.first_chunk().is_some_and(|block| Header(*block).checksum_matches())
}

/// Writes a header's checksum, which counts its own field as blanks.
pub(crate) fn seal(header: &mut [u8; BLOCK]) {
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

impl Header {
    /// Whether the block is all zeros: half of an end marker.
    pub fn is_zero(&self) -> bool {
        self.0.iter().all(|&b| b == 0)
    }

    /// Whether the checksum is right. Old writers summed signed characters, so both sums count.
    pub fn checksum_matches(&self) -> bool {
        let Some(stored) = number::field(&self.0[CHECKSUM]) else { return false };
        let (mut unsigned, mut signed) = (0i128, 0i128);
        for (i, &byte) in self.0.iter().enumerate() {
            let byte = if CHECKSUM.contains(&i) { b' ' } else { byte };
            unsigned += i128::from(byte);
            signed += i128::from(byte as i8);
        }
        stored == unsigned || stored == signed
    }

    /// Which dialect the magic announces.
    pub fn dialect(&self) -> Dialect {
        match (&self.0[257..265], &self.0[508..512]) {
            (b"ustar  \0", _) => Dialect::Gnu,
            (magic, b"tar\0") if magic.starts_with(b"ustar\0") => Dialect::Star,
            (magic, _) if magic.starts_with(b"ustar\0") => Dialect::Ustar,
            _ => Dialect::V7,
        }
    }

    /// The type of the member.
    pub fn typeflag(&self) -> u8 {
        self.0[TYPEFLAG]
    }

    /// The first numeric field that is no number: its name and bytes. Go's reader, which is Docker's and containerd's,
    /// refuses such a header even where the number means nothing, so no image can need it. Go's numbers have 64 bits;
    /// a larger time of a member is clamped later.
    pub fn bad_number(&self) -> Option<(&'static str, &[u8])> {
        let fields = [
            ("mode", self.mode()),
            ("uid", self.uid()),
            ("gid", self.gid()),
            ("size", self.size()),
            ("mtime", self.mtime()),
            ("devmajor", self.devmajor()),
            ("devminor", self.devminor()),
        ];
        let member = !matches!(self.typeflag(), b'x' | b'X' | b'g' | b'L' | b'K');
        let good = |field, raw| match number::field(raw) {
            None => false,
            Some(value) => i64::try_from(value).is_ok() || (member && field == "mtime"),
        };
        fields.into_iter().find(|(field, raw)| !good(*field, raw))
    }

    /// Prefix and name, joined.
    pub fn path(&self) -> Vec<u8> {
        let name = text(&self.0[NAME]);
        let prefix = match self.dialect() {
            Dialect::Ustar => text(&self.0[PREFIX]),
            Dialect::Star => text(&self.0[STAR_PREFIX]),
            Dialect::Gnu => self.gnu_prefix(),
            Dialect::V7 => b"",
        };
        match prefix {
            b"" => name.to_vec(),
            prefix => [prefix, b"/", name].concat(),
        }
    }

    /// GNU headers have no prefix, but Docker before 1.13 (Go before 1.8) wrote one over atime and ctime. Those two are
    /// numbers or empty in every true GNU header, so text there is such a prefix.
    fn gnu_prefix(&self) -> &[u8] {
        let times = [&self.0[GNU_ATIME], &self.0[GNU_CTIME]];
        let prefix = text(&self.0[PREFIX]);
        match times.iter().any(|time| number::field(time).is_none()) && prefix.is_ascii() {
            true => prefix,
            false => b"",
        }
    }

    /// The target of a link, up to the first NUL.
    pub fn linkname(&self) -> &[u8] {
        text(&self.0[LINKNAME])
    }

    /// The raw mode field.
    pub fn mode(&self) -> &[u8] {
        &self.0[MODE]
    }
    /// The raw uid field.
    pub fn uid(&self) -> &[u8] {
        &self.0[UID]
    }
    /// The raw gid field.
    pub fn gid(&self) -> &[u8] {
        &self.0[GID]
    }
    /// The raw size field: bytes of body that follow.
    pub fn size(&self) -> &[u8] {
        &self.0[SIZE]
    }
    /// Bytes of body that follow; links, devices and folders have none, whatever their field says.
    pub fn body_size(&self) -> Option<u64> {
        match self.typeflag() {
            b'1'..=b'6' => Some(0),
            _ => number::field(self.size())?.try_into().ok(),
        }
    }
    /// The raw mtime field.
    pub fn mtime(&self) -> &[u8] {
        &self.0[MTIME]
    }
    /// The raw devmajor field; empty in v7.
    pub fn devmajor(&self) -> &[u8] {
        self.device(DEVMAJOR)
    }
    /// The raw devminor field; empty in v7.
    pub fn devminor(&self) -> &[u8] {
        self.device(DEVMINOR)
    }

    fn device(&self, field: Range<usize>) -> &[u8] {
        match self.dialect() {
            Dialect::V7 => b"",
            _ => &self.0[field],
        }
    }

    /// The first four slots of an old GNU sparse map, 24 bytes each.
    pub fn sparse_slots(&self) -> &[u8] {
        &self.0[GNU_SPARSE]
    }
    /// Whether blocks with more of the map follow.
    pub fn sparse_is_extended(&self) -> bool {
        self.0[GNU_IS_EXTENDED] != 0
    }
    /// The raw field with the length of an old GNU sparse file, holes included.
    pub fn sparse_real_size(&self) -> &[u8] {
        &self.0[GNU_REAL_SIZE]
    }
}

/// A text field: up to the first NUL, or all of it.
fn text(field: &[u8]) -> &[u8] {
    field.split(|&b| b == 0).next().unwrap_or(b"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(magic: &[u8], prefix: &[u8]) -> Header {
        let mut block = [0u8; BLOCK];
        block[..4].copy_from_slice(b"name");
        block[257..257 + magic.len()].copy_from_slice(magic);
        block[345..345 + prefix.len()].copy_from_slice(prefix);
        Header(block)
    }

    #[test]
    fn a_prefix_is_read_where_the_dialect_has_one() {
        assert_eq!(header(b"ustar\x0000", b"pre/fix").path(), b"pre/fix/name");
        assert_eq!(header(b"", b"pre/fix").path(), b"name");
        assert_eq!(header(b"ustar  \0", b"").path(), b"name");
        assert_eq!(header(b"ustar  \0", b"14670501234\0").path(), b"name");
        // Go before 1.8.
        assert_eq!(header(b"ustar  \0", b"usr/share/doc").path(), b"usr/share/doc/name");
        let mut star = header(b"ustar\x0000", &[b'p'; 131]);
        star.0[476..488].copy_from_slice(b"14670501234 ");
        star.0[508..].copy_from_slice(b"tar\0");
        assert_eq!(star.path(), [&[b'p'; 131][..], b"/name"].concat());
    }

    #[test]
    fn signed_and_unsigned_checksums_are_right_and_others_are_not() {
        let mut header = header(b"ustar\x0000", b"");
        header.0[4] = 0xff;
        let sum = |signed: bool| -> i64 {
            let value = |b: u8| if signed { i64::from(b as i8) } else { i64::from(b) };
            header.0.iter().map(|&b| value(b)).sum::<i64>() + 8 * 32
        };
        for right in [sum(false), sum(true)] {
            let mut copy = Header(header.0);
            copy.0[148..156].copy_from_slice(format!("{right:06o}\0 ").as_bytes());
            assert!(copy.checksum_matches());
            copy.0[0] ^= 1;
            assert!(!copy.checksum_matches());
        }
    }
}
