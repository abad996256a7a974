//! POSIX access control lists: from the text of `SCHILY.acl.*` records to the bytes of the kernel's xattr.
//!
//! ```text
//!  "user::rw-,user:lisa:rwx:502,group::r--,mask::rwx,other::r--"
//!  version u32 = 2, then 8 bytes an entry, little-endian: tag u16, permissions u16, id u32
//! ```
//!
//! star writes the number as a fourth field; GNU tar writes only the name, which means nothing outside the machine
//! that packed it. NFSv4 ACLs are not read.
//!
//! Sources: star(5), "SCHILY.acl.access"; Linux include/uapi/linux/posix_acl_xattr.h.

use super::number::decimal;

const VERSION: u32 = 2;
const UNDEFINED_ID: u32 = u32::MAX;

/// What a text ACL comes to.
#[derive(Debug, PartialEq, Eq)]
pub enum Acl {
    /// The value of `system.posix_acl_access` or `system.posix_acl_default`.
    Value(Vec<u8>),
    /// It names a user or a group whose number it does not give.
    NamesWithoutIds,
}

/// The xattr value for a text ACL. `None`: it is none.
pub fn vfs_acl(text: &[u8]) -> Option<Acl> {
    let mut entries = Vec::new();
    for line in text.split(|b| matches!(b, b',' | b'\n')) {
        let line = line.split(|&b| b == b'#').next().unwrap_or(b"").trim_ascii();
        if line.is_empty() {
            continue;
        }
        match entry(line)? {
            Some(entry) => entries.push(entry),
            None => return Some(Acl::NamesWithoutIds),
        }
    }
    // The kernel wants them by tag, named entries by number.
    entries.sort_unstable();
    if !is_valid(&entries) {
        return None;
    }
    let mut value = VERSION.to_le_bytes().to_vec();
    for (tag, id, permissions) in entries {
        value.extend_from_slice(&tag.to_le_bytes());
        value.extend_from_slice(&permissions.to_le_bytes());
        value.extend_from_slice(&id.to_le_bytes());
    }
    Some(Acl::Value(value))
}

const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

/// Tag, id and permissions: in this order for sorting.
type AclEntry = (u16, u32, u16);

/// `tag:qualifier:permissions[:id]`; the inner `None` is a name without a number.
fn entry(line: &[u8]) -> Option<Option<AclEntry>> {
    let fields: Vec<&[u8]> = line.split(|&b| b == b':').map(<[u8]>::trim_ascii).collect();
    let (tag, qualifier, permissions, number) = match fields[..] {
        [tag @ (b"mask" | b"m" | b"other" | b"o"), permissions] => (tag, &b""[..], permissions, &b""[..]),
        [tag, qualifier, permissions] => (tag, qualifier, permissions, &b""[..]),
        [tag, qualifier, permissions, number] => (tag, qualifier, permissions, number),
        _ => return None,
    };
    let named = !qualifier.is_empty();
    let tag = match (tag, named) {
        (b"user" | b"u", false) => USER_OBJ,
        (b"user" | b"u", true) => USER,
        (b"group" | b"g", false) => GROUP_OBJ,
        (b"group" | b"g", true) => GROUP,
        (b"mask" | b"m", false) => MASK,
        (b"other" | b"o", false) => OTHER,
        _ => return None,
    };
    let permissions = permission_bits(permissions)?;
    if !named {
        return Some(Some((tag, UNDEFINED_ID, permissions)));
    }
    let id = match number {
        b"" => decimal(qualifier),
        number => Some(decimal(number)?),
    };
    match id {
        None => Some(None),
        Some(id) => Some(Some((tag, u32::try_from(id).ok().filter(|&id| id != UNDEFINED_ID)?, permissions))),
    }
}

fn permission_bits(text: &[u8]) -> Option<u16> {
    text.iter().try_fold(0, |bits, b| match b {
        b'r' => Some(bits | 4),
        b'w' => Some(bits | 2),
        b'x' => Some(bits | 1),
        b'-' => Some(bits),
        _ => None,
    })
}

/// The kernel's own conditions: one of each unnamed entry, a mask when there are named ones, no id twice.
fn is_valid(entries: &[AclEntry]) -> bool {
    let count = |tag| entries.iter().filter(|e| e.0 == tag).count();
    let named = count(USER) + count(GROUP);
    [USER_OBJ, GROUP_OBJ, OTHER].iter().all(|&tag| count(tag) == 1)
        && count(MASK) <= 1
        && (named == 0 || count(MASK) == 1)
        && entries.windows(2).all(|pair| (pair[0].0, pair[0].1) != (pair[1].0, pair[1].1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_entries_are_52_bytes_in_the_kernels_order() {
        let text = b"user::rw-,other::r--,group:dev:rw-:600,group::r--,mask::rwx,user:lisa:rwx:502";
        let Some(Acl::Value(value)) = vfs_acl(text) else { panic!("it is valid") };
        assert_eq!(value.len(), 52);
        let expected: [(u16, u16, u32); 6] = [
            (USER_OBJ, 6, UNDEFINED_ID),
            (USER, 7, 502),
            (GROUP_OBJ, 4, UNDEFINED_ID),
            (GROUP, 6, 600),
            (MASK, 7, UNDEFINED_ID),
            (OTHER, 4, UNDEFINED_ID),
        ];
        let mut bytes = vec![2, 0, 0, 0];
        for (tag, permissions, id) in expected {
            bytes.extend_from_slice(&tag.to_le_bytes());
            bytes.extend_from_slice(&permissions.to_le_bytes());
            bytes.extend_from_slice(&id.to_le_bytes());
        }
        assert_eq!(value, bytes);
    }

    #[test]
    fn other_spellings() {
        let long = vfs_acl(b"user::rw-\nuser:502:r-x\ngroup::r--\nmask:r-x\nother:---\n").unwrap();
        let short = vfs_acl(b"u::rw,u:x:rx:502,g::r,m::rx,o::").unwrap();
        assert_eq!(long, short);
        assert_eq!(vfs_acl(b"user::rw-,user:lisa:rwx,group::r--,mask::rwx,other::r--"), Some(Acl::NamesWithoutIds));
    }

    #[test]
    fn what_is_no_acl() {
        for bad in [
            &b""[..],
            b"user::rw-",
            b"user::rw-,group::r--,other::r--,other::r--",
            b"user::rw-,user:1:rw-,group::r--,other::r--",
            b"user::rwz,group::r--,other::r--",
            b"user::rw-,group::r--,other:x:r--",
            b"user::rw-,user:a:r--:-1,group::r--,mask::r--,other::r--",
            b"user::rw-,user:a:r--:4294967295,group::r--,mask::r--,other::r--",
            b"user::rw-,user:1:r--,user:1:r--,group::r--,mask::r--,other::r--",
        ] {
            assert_eq!(vfs_acl(bad), None, "{}", String::from_utf8_lossy(bad));
        }
    }
}
