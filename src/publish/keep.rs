//! Whose a file was that another one replaces, and who might read it.
//!
//! Owner, group, permissions and access list (acl(5)) stay as far as this user may give them. Where one of them cannot
//! be kept nobody gets to read what he could not read before: the group's permissions then are at most everybody's.

use super::target::umask;
use std::ffi::{CStr, CString};
use std::fs::{File, Metadata, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::Path;

/// Where Linux keeps a file's access list.
const ACCESS_LIST: &CStr = c"system.posix_acl_access";
/// Longest extended attribute (XATTR_SIZE_MAX).
const LONGEST: usize = 65_536;

/// Gives a new file what the old one at `path` had, or what any new file gets where there was none.
pub fn owner_and_mode(new: &File, old: Option<&Metadata>, path: &Path) -> io::Result<()> {
    let Some(old) = old else { return new.set_permissions(Permissions::from_mode(0o666 & !umask())) };
    let now = new.metadata()?;
    let group = now.gid() == old.gid() || fchown(new, None, Some(old.gid())).is_ok();
    // Last: a file of somebody else's can be given to no group.
    _ = now.uid() == old.uid() || fchown(new, Some(old.uid()), None).is_ok();
    let list = access_list(path);
    let mode = old.mode() & 0o777;
    // The access list before the mode: with one, the group's bits are what the list grants at most.
    let listed = list.as_ref().is_none_or(|list| set_access_list(new, list).is_ok());
    let others = mode & 0o007;
    let mode = if group && listed { mode } else { mode & (0o707 | others << 3) };
    new.set_permissions(Permissions::from_mode(mode))
}

fn access_list(path: &Path) -> Option<Vec<u8>> {
    let path = CString::new(path.as_os_str().as_bytes()).ok()?;
    let mut list = vec![0; LONGEST];
    // SAFETY: two strings that end with NUL, and a buffer with its length.
    let length = unsafe { libc::lgetxattr(path.as_ptr(), ACCESS_LIST.as_ptr(), list.as_mut_ptr().cast(), list.len()) };
    list.truncate(usize::try_from(length).ok()?);
    Some(list)
}

fn set_access_list(file: &File, list: &[u8]) -> nix::Result<()> {
    let name = ACCESS_LIST.as_ptr();
    // SAFETY: an open descriptor, a string that ends with NUL, and a buffer with its length.
    let set = unsafe { libc::fsetxattr(file.as_raw_fd(), name, list.as_ptr().cast(), list.len(), 0) };
    nix::errno::Errno::result(set).map(drop)
}
