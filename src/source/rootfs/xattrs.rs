//! Extended attributes of files of this host, those of symbolic links among them.

use crate::rootfs::tree::Xattrs;
use std::ffi::{CStr, CString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Most bytes of the list of names, and of a value (XATTR_LIST_MAX and XATTR_SIZE_MAX of Linux).
const MOST: usize = 64 << 10;

/// Names and values, sorted by name. A file system without any has none.
pub fn of(path: &Path) -> io::Result<Xattrs> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut names = match names(&path) {
        Ok(names) if names.is_empty() => return Ok(None),
        Ok(names) => names,
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => return Ok(None),
        Err(error) => return Err(error),
    };
    names.sort();
    let mut found = Vec::with_capacity(names.len());
    for name in names {
        match value(&path, &name) {
            Ok(value) => found.push((name.into_bytes().into(), value.into())),
            // Gone since, or a name that the list has and that this user may not read.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENODATA | libc::EPERM | libc::EACCES)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok((!found.is_empty()).then(|| found.into()))
}

fn names(path: &CStr) -> io::Result<Vec<CString>> {
    // SAFETY: a string that ends with NUL; asked for the length alone.
    let length = sized(unsafe { libc::llistxattr(path.as_ptr(), std::ptr::null_mut(), 0) })?;
    let mut list = vec![0; if length == 0 { 0 } else { MOST }];
    if list.is_empty() {
        return Ok(Vec::new());
    }
    // SAFETY: a string that ends with NUL, and a buffer with its length.
    let length = sized(unsafe { libc::llistxattr(path.as_ptr(), list.as_mut_ptr().cast(), list.len()) })?;
    let names = list[..length].split_inclusive(|&byte| byte == 0);
    Ok(names.filter_map(|name| CStr::from_bytes_with_nul(name).ok().map(CStr::to_owned)).collect())
}

fn value(path: &CStr, name: &CStr) -> io::Result<Vec<u8>> {
    let mut value = vec![0; MOST];
    // SAFETY: two strings that end with NUL, and a buffer with its length.
    let length =
        sized(unsafe { libc::lgetxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()) })?;
    value.truncate(length);
    value.shrink_to_fit();
    Ok(value)
}

fn sized(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}
