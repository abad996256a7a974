//! Folders on this host that are ours: machines, cached disks and kernels are taken from there without another look.
//!
//! So nobody but this user and root may have put anything there: each level of ours must belong to one of them, be a
//! folder or a link of theirs to one, and not be writable by others. What we make ourselves has mode 0700, as the
//! specification wants it of missing directories. Not supported: access control lists.
//!
//! Specification: XDG Base Directory Specification.

use crate::escape::{os_error, path as shown};
use nix::unistd::geteuid;
use std::fs::{self, DirBuilder, Metadata, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Group and others, writing.
const OTHERS_WRITE: u32 = 0o022;
/// Everybody writes, and everybody renames what others have there.
const OPEN: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// Why a folder is not used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// It, or the link in its place, is another user's.
    #[error("folder is another user's: {} (owner {owner}, mode {mode:04o}; this is user {user})", shown(.path))]
    Owner {
        /// Which.
        path: PathBuf,
        /// Whose.
        owner: u32,
        /// Its permissions.
        mode: u32,
        /// Who we are.
        user: u32,
    },
    /// Others may write to it.
    #[error("folder can be written to by others: {} (owner {owner}, mode {mode:04o})", shown(.path))]
    Writable {
        /// Which.
        path: PathBuf,
        /// Whose.
        owner: u32,
        /// Its permissions.
        mode: u32,
    },
    /// Others may put another in its place.
    #[error("folder can be replaced by others, as its parent has mode {mode:04o}: {}", shown(.path))]
    Replaceable {
        /// Which.
        path: PathBuf,
        /// The parent's permissions.
        mode: u32,
    },
    /// It is something else.
    #[error("not a folder: {}", shown(.0))]
    Other(PathBuf),
    /// The file system refused.
    #[error("cannot use folder {}: {}", shown(.path), os_error(.source))]
    Io {
        /// Which.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

impl FolderError {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> FolderError {
        let path = path.to_owned();
        move |source| FolderError::Io { path, source }
    }

    /// What can be done about it, for the `hint:` line.
    pub fn hint(&self) -> Option<String> {
        match self {
            FolderError::Owner { path, .. } | FolderError::Other(path) => {
                let (path, away) = (quoted(path), quoted(&path.with_added_extension("old")));
                Some(format!("move it away, and bootdisk makes a new one: mv -T {path} {away}"))
            }
            FolderError::Writable { path, .. } => {
                Some(format!("if nobody else has put anything there: chmod go-w {}", quoted(path)))
            }
            FolderError::Replaceable { path, .. } => {
                Some(format!("keep others from it: chmod +t {}", quoted(path.parent().unwrap_or(path))))
            }
            FolderError::Io { .. } => None,
        }
    }
}

/// As a shell takes it.
fn quoted(path: &Path) -> String {
    shown(Path::new(shlex::try_quote(&path.to_string_lossy()).as_deref().unwrap_or("''")))
}

/// The folder `below` in `base`, every level of it looked at as far as it exists. `base` is the user's own choice.
///
/// # Errors
/// When a level is not this user's alone.
pub fn within(base: &Path, below: &str) -> Result<PathBuf, FolderError> {
    let mut dir = base.to_owned();
    for name in below.split('/') {
        dir.push(name);
        check(&dir)?;
    }
    Ok(dir)
}

/// Makes a folder with its parents, each with mode 0700 where it was missing, and looks at it.
///
/// # Errors
/// When it cannot be made, or what is there is not this user's alone.
pub fn make(dir: &Path) -> Result<(), FolderError> {
    // Where it is there already this succeeds, and whose it is comes out below.
    match DirBuilder::new().mode(0o700).recursive(true).create(dir) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(FolderError::Other(dir.to_owned())),
        Err(error) => Err(FolderError::io(dir)(error)),
        Ok(()) => check(dir),
    }
}

/// As [`make`], and closed to every other user's eyes: one that was made with more is narrowed.
///
/// # Errors
/// As [`make`].
pub fn make_private(dir: &Path) -> Result<(), FolderError> {
    make(dir)?;
    let mode = fs::metadata(dir).map_err(FolderError::io(dir))?.mode();
    match mode & 0o077 {
        0 => Ok(()),
        _ => fs::set_permissions(dir, Permissions::from_mode(0o700)).map_err(FolderError::io(dir)),
    }
}

/// One that is missing is nobody's, and fine.
fn check(dir: &Path) -> Result<(), FolderError> {
    if let Some(parent) = dir.parent().and_then(|parent| fs::metadata(parent).ok())
        && parent.mode() & (OPEN | STICKY) == OPEN
    {
        return Err(FolderError::Replaceable { path: dir.to_owned(), mode: parent.mode() & 0o7777 });
    }
    let data = match fs::symlink_metadata(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        data => data.map_err(FolderError::io(dir))?,
    };
    if !data.is_symlink() {
        return judge(dir, &data);
    }
    // Whoever made the link chose the folder.
    owned(dir, &data)?;
    judge(dir, &fs::metadata(dir).map_err(FolderError::io(dir))?)
}

fn judge(dir: &Path, data: &Metadata) -> Result<(), FolderError> {
    if !data.is_dir() {
        return Err(FolderError::Other(dir.to_owned()));
    }
    owned(dir, data)?;
    match data.mode() & OTHERS_WRITE {
        0 => Ok(()),
        _ => Err(FolderError::Writable { path: dir.to_owned(), owner: data.uid(), mode: data.mode() & 0o7777 }),
    }
}

/// Root's are as good as ours: what root wants of us, root gets.
fn owned(dir: &Path, data: &Metadata) -> Result<(), FolderError> {
    let user = geteuid().as_raw();
    match data.uid() {
        0 => Ok(()),
        owner if owner == user => Ok(()),
        owner => Err(FolderError::Owner { path: dir.to_owned(), owner, mode: data.mode() & 0o7777, user }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{chown, lchown, symlink};

    const STRANGER: Option<u32> = Some(54_321);

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    /// What is at `bootdisk/disks`, or above it, and the error's first words; none where it is used. Needs root, to give
    /// files away.
    #[test]
    fn a_folder_that_others_may_have_written_to_is_not_used() {
        type Prepare = fn(&Path);
        #[rustfmt::skip]
        let cases: [(&str, Prepare, &str); 15] = [
            ("nothing", |_| {}, ""),
            ("ours", |base| fs::create_dir_all(base.join("bootdisk/disks")).unwrap(), ""),
            ("readable", |base| { make(&base.join("bootdisk")).unwrap(); mode(&base.join("bootdisk"), 0o755) }, ""),
            ("a link of ours", |base| { fs::create_dir(base.join("far")).unwrap(); symlink("far", base.join("bootdisk")).unwrap() }, ""),
            ("in a sticky folder", |base| mode(base, 0o1777), ""),
            ("a stranger's", |base| { make(&base.join("bootdisk")).unwrap(); chown(base.join("bootdisk"), STRANGER, None).unwrap() }, "folder is another user's"),
            ("a stranger's below ours", |base| { make(&base.join("bootdisk/disks")).unwrap(); chown(base.join("bootdisk/disks"), STRANGER, None).unwrap() }, "folder is another user's"),
            ("a stranger's link to ours", |base| { fs::create_dir(base.join("far")).unwrap(); symlink("far", base.join("bootdisk")).unwrap(); lchown(base.join("bootdisk"), STRANGER, None).unwrap() }, "folder is another user's"),
            ("our link to a stranger's", |base| { fs::create_dir(base.join("far")).unwrap(); chown(base.join("far"), STRANGER, None).unwrap(); symlink("far", base.join("bootdisk")).unwrap() }, "folder is another user's"),
            ("group writes", |base| { make(&base.join("bootdisk")).unwrap(); mode(&base.join("bootdisk"), 0o770) }, "folder can be written to by others"),
            ("others write", |base| { make(&base.join("bootdisk/disks")).unwrap(); mode(&base.join("bootdisk/disks"), 0o1707) }, "folder can be written to by others"),
            ("our link to an open one", |base| { fs::create_dir(base.join("far")).unwrap(); mode(&base.join("far"), 0o777); symlink("far", base.join("bootdisk")).unwrap() }, "folder can be written to by others"),
            ("in an open folder", |base| mode(base, 0o777), "folder can be replaced by others"),
            ("a file", |base| fs::write(base.join("bootdisk"), "").unwrap(), "not a folder"),
            ("a link to nothing", |base| symlink("nowhere", base.join("bootdisk")).unwrap(), "cannot use folder"),
        ];
        for (what, prepare, words) in cases {
            let place = tempfile::tempdir().unwrap();
            let base = place.path().join("x y");
            fs::create_dir(&base).unwrap();
            prepare(&base);
            let result = within(&base, "bootdisk/disks").and_then(|dir| make(&dir).map(|()| dir));
            match result {
                Ok(dir) => assert!(words.is_empty() && dir.is_dir(), "{what} is used"),
                Err(error) => {
                    assert!(!words.is_empty() && error.to_string().starts_with(words), "{what}: {error}");
                    let path = base.display().to_string();
                    assert!(error.to_string().contains(&path), "{what}: {error}");
                    let remedy = error.hint().is_none_or(|hint| hint.contains(&format!("'{path}")));
                    assert!(remedy, "{what}: {:?}", error.hint());
                }
            }
        }
    }

    #[test]
    fn the_sentence_names_path_owner_and_mode() {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("bootdisk");
        make(&dir).unwrap();
        chown(&dir, STRANGER, None).unwrap();
        let error = make(&dir).unwrap_err();
        let shown = dir.display();
        let user = geteuid();
        let expected = format!("folder is another user's: {shown} (owner 54321, mode 0700; this is user {user})");
        assert_eq!(error.to_string(), expected);
        let hint = format!("move it away, and bootdisk makes a new one: mv -T {shown} {shown}.old");
        assert_eq!(error.hint().unwrap(), hint);
    }

    #[test]
    fn what_is_made_is_for_this_user_alone_and_what_others_could_read_is_narrowed() {
        let place = tempfile::tempdir().unwrap();
        let deep = place.path().join("a/b/c");
        make(&deep).unwrap();
        for dir in [&deep, deep.parent().unwrap(), &place.path().join("a")] {
            assert_eq!(fs::metadata(dir).unwrap().mode() & 0o777, 0o700, "{}", dir.display());
        }
        mode(&deep, 0o755);
        make(&deep).unwrap();
        assert_eq!(fs::metadata(&deep).unwrap().mode() & 0o777, 0o755);
        make_private(&deep).unwrap();
        assert_eq!(fs::metadata(&deep).unwrap().mode() & 0o777, 0o700);
        mode(&deep, 0o722);
        assert!(matches!(make_private(&deep), Err(FolderError::Writable { .. })));
    }
}
