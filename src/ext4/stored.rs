//! What ext4 keeps of attributes, told without writing them, so that what is read back can be compared.

use super::inode::clamp_time;
use super::xattrs;
use crate::rootfs::tree::Attrs;

/// The attributes as a reader of the written file system finds them: the time clamped, and without the extended
/// attributes that the writer warns it cannot store.
pub fn stored(attrs: &Attrs, is_directory: bool) -> Attrs {
    let kept = xattrs::select(&attrs.xattrs, is_directory, |_, _| {});
    let mut kept: Vec<_> = kept.iter().map(xattrs::Attribute::in_full).collect();
    kept.sort();
    let kept = kept.into_iter().map(|(name, value)| (name.into_boxed_slice(), value.into_boxed_slice()));
    let kept: Box<[_]> = kept.collect();
    let (mtime, _) = clamp_time(attrs.mtime);
    Attrs { mtime, xattrs: (!kept.is_empty()).then_some(kept), ..*attrs }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rootfs::Time;

    fn attribute(name: &str, value: &[u8]) -> (Box<[u8]>, Box<[u8]>) {
        (name.as_bytes().into(), value.into())
    }

    #[test]
    fn what_cannot_be_stored_is_not_expected() {
        let plain = Attrs { mode: 0o755, uid: 1, gid: 2, mtime: Time { secs: 3, nanos: 4 }, xattrs: None };
        assert_eq!(stored(&plain, false), plain);
        let kept = attribute("user.x", b"1");
        let xattrs =
            Some([attribute("selinux", b"?"), attribute("system.posix_acl_access", b"?"), kept.clone()].into());
        let late = Time { secs: i64::MAX, nanos: 0 };
        let expected = Attrs { xattrs: Some([kept].into()), mtime: clamp_time(late).0, ..plain.clone() };
        assert_eq!(stored(&Attrs { xattrs, mtime: late, ..plain }, false), expected);
    }
}
