//! The image's accounts, read in its root.

use super::failure::Failure;
use crate::guest::user::{self, Identity};
use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Most bytes of /etc/passwd and of /etc/group that are looked at.
const ACCOUNTS_LIMIT: u64 = 16 << 20;

/// Who a `User` of a configuration is.
pub fn identify(user: &str) -> Result<Identity, Failure> {
    let (passwd, group) = (accounts("/etc/passwd"), accounts("/etc/group"));
    user::resolve(user, &passwd, &group).map_err(Failure::machine)
}

/// Contents of a file that may be missing, of any kind and of any size.
fn accounts(path: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    if let Ok(file) = OpenOptions::new().read(true).custom_flags(flags).open(Path::new(path))
        && file.metadata().is_ok_and(|meta| meta.is_file())
    {
        _ = file.take(ACCOUNTS_LIMIT).read_to_end(&mut bytes);
    }
    bytes
}
