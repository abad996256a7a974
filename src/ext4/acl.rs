//! POSIX access control lists: the form tools and layers use, and the shorter one ext4 stores.
//!
//! ```text
//!  VFS   version 2 (u32) │ tag u16, permissions u16, id u32 │ …              8 bytes an entry
//!  ext4  version 1 (u32) │ tag u16, permissions u16 [, id u32] │ …           4 bytes where the tag has no id
//! ```
//!
//! Source: the kernel's `include/uapi/linux/posix_acl_xattr.h` and `fs/ext4/acl.h`.

const VFS_VERSION: [u8; 4] = 2u32.to_le_bytes();
const EXT4_VERSION: [u8; 4] = 1u32.to_le_bytes();

const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;
/// The id of an entry whose tag has none.
const NO_ID: u32 = u32::MAX;

fn has_id(tag: u16) -> bool {
    matches!(tag, USER | GROUP)
}

/// From the VFS form to ext4's, or `None` when the kernel would not accept it as an ACL.
pub fn to_ext4(value: &[u8]) -> Option<Vec<u8>> {
    let entries = value.strip_prefix(&VFS_VERSION)?;
    if entries.is_empty() || !entries.len().is_multiple_of(8) {
        return None;
    }
    let mut out = EXT4_VERSION.to_vec();
    let mut order = Order::default();
    for entry in entries.chunks_exact(8) {
        let tag = u16::from_le_bytes([entry[0], entry[1]]);
        let permissions = u16::from_le_bytes([entry[2], entry[3]]);
        let id = u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]);
        if permissions > 7 || (has_id(tag) && id == NO_ID) || !order.accepts(tag) {
            return None;
        }
        out.extend_from_slice(&entry[..if has_id(tag) { 8 } else { 4 }]);
    }
    order.is_complete().then_some(out)
}

/// From ext4's form to the VFS form, or `None` when it is not one.
pub fn from_ext4(value: &[u8]) -> Option<Vec<u8>> {
    let mut rest = value.strip_prefix(&EXT4_VERSION)?;
    let mut out = VFS_VERSION.to_vec();
    while !rest.is_empty() {
        let (head, tail) = rest.split_at_checked(4)?;
        out.extend_from_slice(head);
        rest = tail;
        if has_id(u16::from_le_bytes([head[0], head[1]])) {
            let (id, tail) = rest.split_at_checked(4)?;
            out.extend_from_slice(id);
            rest = tail;
        } else {
            out.extend_from_slice(&NO_ID.to_le_bytes());
        }
    }
    Some(out)
}

/// The order the kernel demands: owner, users, owning group, groups, mask, others; a mask where anybody is named.
#[derive(Default)]
struct Order {
    last: u16,
    named: bool,
    mask: bool,
}

impl Order {
    fn accepts(&mut self, tag: u16) -> bool {
        let after = match tag {
            USER_OBJ => self.last == 0,
            USER => matches!(self.last, USER_OBJ | USER),
            GROUP_OBJ => matches!(self.last, USER_OBJ | USER),
            GROUP => matches!(self.last, GROUP_OBJ | GROUP),
            MASK => matches!(self.last, GROUP_OBJ | GROUP),
            OTHER => matches!(self.last, GROUP_OBJ | GROUP | MASK),
            _ => false,
        };
        self.named |= has_id(tag);
        self.mask |= tag == MASK;
        self.last = tag;
        after
    }

    fn is_complete(&self) -> bool {
        self.last == OTHER && (self.mask || !self.named)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vfs(entries: &[(u16, u16, u32)]) -> Vec<u8> {
        let mut out = VFS_VERSION.to_vec();
        for (tag, permissions, id) in entries {
            out.extend_from_slice(&tag.to_le_bytes());
            out.extend_from_slice(&permissions.to_le_bytes());
            out.extend_from_slice(&id.to_le_bytes());
        }
        out
    }

    #[test]
    fn both_forms_say_the_same() {
        let long = vfs(&[
            (USER_OBJ, 6, NO_ID),
            (USER, 7, 1000),
            (USER, 4, 70_000),
            (GROUP_OBJ, 4, NO_ID),
            (GROUP, 5, 100),
            (MASK, 7, NO_ID),
            (OTHER, 0, NO_ID),
        ]);
        let short = to_ext4(&long).unwrap();
        assert_eq!(short.len(), 4 + 4 * 4 + 3 * 8);
        assert_eq!(from_ext4(&short).unwrap(), long);
    }

    #[test]
    fn what_the_kernel_refuses_is_refused() {
        let three = [(USER_OBJ, 6, NO_ID), (GROUP_OBJ, 4, NO_ID), (OTHER, 4, NO_ID)];
        assert!(to_ext4(&vfs(&three)).is_some());
        for bad in [
            &[][..],
            &three[..2],
            &[three[1], three[0], three[2]],
            &[three[0], (USER, 7, 5), three[1], three[2]],
            &[three[0], (USER, 7, NO_ID), three[1], (MASK, 7, NO_ID), three[2]],
            &[three[0], three[1], (OTHER, 9, NO_ID)],
            &[three[0], three[1], three[2], three[2]],
            &[three[0], three[1], (0x40, 4, NO_ID), three[2]],
        ] {
            assert_eq!(to_ext4(&vfs(bad)), None, "{bad:?}");
        }
        assert_eq!(to_ext4(b""), None);
        assert_eq!(to_ext4(&vfs(&three)[..11]), None);
        assert_eq!(from_ext4(&[1, 0, 0, 0, 2, 0, 7, 0]), None, "an id is missing");
    }
}
