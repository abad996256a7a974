//! Names of volumes: Docker's (moby, volume/service, `validateName`), and no longer than a file's name may be.

use super::VolumeError;

const LONGEST: usize = 64;

/// Checks a name: a letter or digit, then letters, digits, `_`, `.` and `-`, 2 to 64 in all.
///
/// # Errors
/// [`VolumeError::Name`].
pub fn check(name: &str) -> Result<(), VolumeError> {
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    match first && (2..=LONGEST).contains(&name.len()) && name.bytes().all(legal) {
        true => Ok(()),
        false => Err(VolumeError::Name(name.to_owned())),
    }
}
