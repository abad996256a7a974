//! The directory of this user's run-time state, which nobody else may write.

use super::error::MachineError;
use crate::own_folder::{make_private, within};
use nix::unistd::geteuid;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// `bootdisk` in the first of these that is this user's: `XDG_RUNTIME_DIR`, `/run/user/UID`; or `/tmp/bootdisk-UID`.
/// Makes it when missing.
///
/// # Errors
/// When none can be used, or the one that is there is not this user's alone.
pub fn directory() -> Result<PathBuf, MachineError> {
    let uid = geteuid().as_raw();
    let given = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|dir| dir.is_absolute());
    among(given.into_iter().chain([format!("/run/user/{uid}").into()]), Path::new(&format!("/tmp/bootdisk-{uid}")))
}

fn among(candidates: impl Iterator<Item = PathBuf>, last: &Path) -> Result<PathBuf, MachineError> {
    let uid = geteuid().as_raw();
    // sudo keeps the variable, and root's machines have no place among another user's.
    let is_ours = |dir: &PathBuf| fs::metadata(dir).is_ok_and(|data| data.is_dir() && data.uid() == uid);
    let mut candidates = candidates;
    let dir = match candidates.find(is_ours) {
        Some(dir) => within(&dir, "bootdisk")?,
        None => last.to_owned(),
    };
    make_private(&dir)?;
    Ok(dir)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};

    #[test]
    fn the_first_directory_of_ours_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let (ours, last) = (dir.path().join("run"), dir.path().join("tmp"));
        fs::create_dir(&ours).unwrap();
        let candidates = [dir.path().join("missing"), ours.clone()];
        assert_eq!(among(candidates.into_iter(), &last).unwrap(), ours.join("bootdisk"));
        assert!(!last.exists());
    }

    /// A runtime directory that everybody may use, as root has it with XDG_RUNTIME_DIR=/tmp.
    #[test]
    fn what_a_stranger_made_where_everybody_may_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o1777)).unwrap();
        let take = || among([dir.path().to_owned()].into_iter(), Path::new("/nonexistent"));
        let bootdisk = take().unwrap();
        chown(&bootdisk, Some(54_321), None).unwrap();
        let error = take().unwrap_err();
        assert!(error.to_string().starts_with("folder is another user's: "), "{error}");
        assert!(error.hint().unwrap().contains("export XDG_RUNTIME_DIR="));
    }

    #[test]
    fn the_last_resort_must_be_ours_alone() {
        let dir = tempfile::tempdir().unwrap();
        let last = dir.path().join("bootdisk-0");
        let take = || among(std::iter::empty(), &last);
        let mode = |mode| fs::set_permissions(&last, fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(take().unwrap(), last);
        assert_eq!(fs::metadata(&last).unwrap().mode() & 0o777, 0o700);
        mode(0o755);
        assert_eq!(take().unwrap(), last);
        assert_eq!(fs::metadata(&last).unwrap().mode() & 0o777, 0o700);
        mode(0o720);
        assert!(matches!(take(), Err(MachineError::Folder(_))));
        fs::remove_dir(&last).unwrap();
        fs::create_dir(dir.path().join("elsewhere")).unwrap();
        symlink("elsewhere", &last).unwrap();
        lchown(&last, Some(54_321), None).unwrap();
        assert!(matches!(take(), Err(MachineError::Folder(_))));
    }
}
