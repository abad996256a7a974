//! Extended attributes as PAX records carry them.
//!
//! ```text
//!  SCHILY.xattr.user.a=…              raw value       star, GNU tar, Go (Docker, containerd, BuildKit)
//!  LIBARCHIVE.xattr.user%2Ea=YmFy     percent-encoded name, base64 value       bsdtar
//!  SCHILY.acl.access=user::rw-,…      a POSIX ACL as text                      star, GNU tar, bsdtar
//!  RHT.security.selinux=…             raw value                                GNU tar, star
//! ```
//!
//! When several give one attribute, the raw `SCHILY.xattr` one counts.

use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::acl::{Acl, vfs_acl};
use super::error::ErrorKind;
use crate::rootfs::tree::Xattrs;

/// Base64 (RFC 4648, section 4) with or without padding: libarchive writes none.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Where a value comes from; a later one in this list beats an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Converted,
    Libarchive,
    Raw,
}

/// Name and value.
type Xattr = (Box<[u8]>, Box<[u8]>);

/// The attributes of the next member, as they come.
#[derive(Default)]
pub struct Collected {
    values: Vec<(Xattr, Rank)>,
}

impl Collected {
    /// A record of one of the four kinds; `Ok(false)` if it is another. The inner flag of [`Recorded`] tells about
    /// an ACL that had to be dropped.
    pub fn record(&mut self, key: &[u8], value: &[u8]) -> Result<Recorded, ErrorKind> {
        if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
            self.add(name, Rank::Raw, value)?;
        } else if let Some(name) = key.strip_prefix(b"LIBARCHIVE.xattr.") {
            let name = percent_decode(name);
            let value = BASE64.decode(value).map_err(|_| ErrorKind::Base64(key.into()))?;
            self.add(&name, Rank::Libarchive, &value)?;
        } else if key == b"RHT.security.selinux" {
            self.add(b"security.selinux", Rank::Converted, value)?;
        } else if let Some(name) = acl_name(key) {
            if value.is_empty() {
                return Ok(Recorded::Yes);
            }
            match vfs_acl(value).ok_or_else(|| ErrorKind::Acl(value.into()))? {
                Acl::Value(value) => self.add(name, Rank::Converted, &value)?,
                Acl::NamesWithoutIds => return Ok(Recorded::AclDropped),
            }
        } else {
            return Ok(Recorded::No);
        }
        Ok(Recorded::Yes)
    }

    fn add(&mut self, name: &[u8], rank: Rank, value: &[u8]) -> Result<(), ErrorKind> {
        // XATTR_NAME_MAX is 255.
        if name.is_empty() || name.len() > 255 || name.contains(&0) {
            return Err(ErrorKind::XattrName(name.into()));
        }
        self.values.push(((name.into(), value.into()), rank));
        Ok(())
    }

    /// All of them, sorted by name, one value each: the highest rank, and of equals the last.
    pub fn finish(mut self) -> Xattrs {
        self.values.sort_by(|a, b| (&a.0.0, a.1).cmp(&(&b.0.0, b.1)));
        let mut sorted: Vec<Xattr> = Vec::new();
        for ((name, value), _) in self.values {
            match sorted.last_mut() {
                Some(last) if last.0 == name => last.1 = value,
                _ => sorted.push((name, value)),
            }
        }
        (!sorted.is_empty()).then(|| sorted.into())
    }
}

/// What became of a record.
#[derive(Debug, PartialEq, Eq)]
pub enum Recorded {
    /// It was an extended attribute.
    Yes,
    /// It was an ACL that names people without their numbers.
    AclDropped,
    /// It was no extended attribute.
    No,
}

fn acl_name(key: &[u8]) -> Option<&'static [u8]> {
    match key {
        b"SCHILY.acl.access" => Some(b"system.posix_acl_access"),
        b"SCHILY.acl.default" => Some(b"system.posix_acl_default"),
        _ => None,
    }
}

/// The record of an attribute: key and value. A key ends at its first `=`, so a name that has one is bsdtar's form.
pub fn record_of(name: &[u8], value: &[u8]) -> (Vec<u8>, Vec<u8>) {
    if !name.contains(&b'=') {
        return ([&b"SCHILY.xattr."[..], name].concat(), value.to_vec());
    }
    let percent = |&byte: &u8| match byte {
        b'=' | b'%' => format!("%{byte:02X}").into_bytes(),
        _ => vec![byte],
    };
    let name: Vec<u8> = name.iter().flat_map(percent).collect();
    ([&b"LIBARCHIVE.xattr."[..], &name].concat(), BASE64.encode(value).into_bytes())
}

/// `%2E` → `.`; a percent sign that starts no such pair stays.
fn percent_decode(text: &[u8]) -> Vec<u8> {
    let hex = |b: &u8| (*b as char).to_digit(16).map(|d| d as u8);
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        let pair = match (first, after) {
            (b'%', [high, low, ..]) => hex(high).zip(hex(low)),
            _ => None,
        };
        rest = match pair {
            Some((high, low)) => {
                out.push(high << 4 | low);
                &after[2..]
            }
            None => {
                out.push(first);
                after
            }
        };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_with_and_without_padding() {
        for (text, value) in [
            ("", ""),
            ("Zg", "f"),
            ("Zg==", "f"),
            ("Zm8", "fo"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYmFy", "foobar"),
        ] {
            assert_eq!(BASE64.decode(text).as_deref(), Ok(value.as_bytes()), "{text}");
        }
        assert_eq!(BASE64.decode("//79AA"), Ok(vec![0xff, 0xfe, 0xfd, 0]));
        for bad in ["Z", "Zm9v=====", "Z m", "Zm_v", "=", "Zm=v"] {
            assert!(BASE64.decode(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_are_percent_decoded() {
        assert_eq!(percent_decode(b"user.a%3Db%%4"), b"user.a=b%%4");
    }

    #[test]
    fn the_raw_record_wins_wherever_it_stands() {
        let records: [(&[u8], &[u8]); 2] = [(b"SCHILY.xattr.user.a", b"raw"), (b"LIBARCHIVE.xattr.user.a", b"YmFy")];
        for order in [[0, 1], [1, 0]] {
            let mut collected = Collected::default();
            for i in order {
                assert_eq!(collected.record(records[i].0, records[i].1).unwrap(), Recorded::Yes);
            }
            let xattrs = collected.finish().unwrap();
            assert_eq!(xattrs.len(), 1);
            assert_eq!(&*xattrs[0].1, b"raw");
        }
    }
}
