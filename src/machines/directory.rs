//! The directory of this user's run-time state, which nobody else may write.

use super::error::{MachineError, io};
use nix::unistd::geteuid;
use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// `bootdisk` in the first of these that is this user's: `XDG_RUNTIME_DIR`, `/run/user/UID`; or `/tmp/bootdisk-UID`.
/// Makes it when missing.
///
/// # Errors
/// When none can be used, or the one in /tmp is a symbolic link, somebody else's or open to others.
pub fn directory() -> Result<PathBuf, MachineError> {
    let uid = geteuid().as_raw();
    let given = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|dir| dir.is_absolute());
    among(given.into_iter().chain([format!("/run/user/{uid}").into()]), Path::new(&format!("/tmp/bootdisk-{uid}")))
}

fn among(candidates: impl Iterator<Item = PathBuf>, last: &Path) -> Result<PathBuf, MachineError> {
    let uid = geteuid().as_raw();
    // sudo keeps the variable, and root's machines have no place among another user's.
    let is_ours = |dir: &PathBuf| fs::metadata(dir).is_ok_and(|data| data.is_dir() && data.uid() == uid);
    match candidates.into_iter().find(is_ours) {
        Some(dir) => make(&dir.join("bootdisk")),
        None => {
            make(last)?;
            let data = fs::symlink_metadata(last).map_err(io(last))?;
            match data.is_dir() && data.uid() == uid && data.permissions().mode() & 0o077 == 0 {
                true => Ok(last.to_owned()),
                false => Err(MachineError::NotOurs(last.to_owned())),
            }
        }
    }
}

/// A directory for this user alone; one that is there already is left as it is.
pub(super) fn make(dir: &Path) -> Result<PathBuf, MachineError> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(io(dir)(error)),
        _ => Ok(dir.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_directory_of_ours_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let (ours, last) = (dir.path().join("run"), dir.path().join("tmp"));
        fs::create_dir(&ours).unwrap();
        let candidates = [dir.path().join("missing"), ours.clone()];
        assert_eq!(among(candidates.into_iter(), &last).unwrap(), ours.join("bootdisk"));
        assert!(!last.exists());
    }

    #[test]
    fn the_last_resort_must_be_ours_alone() {
        let dir = tempfile::tempdir().unwrap();
        let last = dir.path().join("bootdisk-0");
        let take = || among(std::iter::empty(), &last);
        assert_eq!(take().unwrap(), last);
        assert_eq!(fs::metadata(&last).unwrap().mode() & 0o777, 0o700);
        fs::set_permissions(&last, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(matches!(take(), Err(MachineError::NotOurs(_))));
        fs::remove_dir(&last).unwrap();
        fs::create_dir(dir.path().join("elsewhere")).unwrap();
        std::os::unix::fs::symlink("elsewhere", &last).unwrap();
        assert!(matches!(take(), Err(MachineError::NotOurs(_))));
    }
}
