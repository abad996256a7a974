//! Paths in the image's root, and folders that are made there: what is missing of a path, and nothing that is there.

use nix::errno::Errno;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Component, Path, PathBuf};

/// Names that are walked for one path, links' targets included: rings of links end, and no path exhausts the stack.
const MAX_STEPS: u32 = 1000;

/// Makes what is missing of an absolute path, behind symbolic links that lead nowhere yet too.
pub fn make_folders(path: &Path) -> std::io::Result<()> {
    let mut steps_left = MAX_STEPS;
    follow_and_make(path, &mut steps_left)
}

fn follow_and_make(path: &Path, steps_left: &mut u32) -> std::io::Result<()> {
    *steps_left = steps_left.checked_sub(1).ok_or(Errno::ELOOP)?;
    if fs::metadata(path).is_ok() {
        // A file in the way is told of when the folder is entered.
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        follow_and_make(parent, steps_left)?;
    }
    match fs::read_link(path) {
        Ok(target) => follow_and_make(&path.parent().unwrap_or(Path::new("/")).join(target), steps_left),
        Err(_) => match new_folder(path) {
            // `a/..` of a target: there by now.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        },
    }
}

/// One folder, for everybody to enter.
pub fn new_folder(path: &Path) -> std::io::Result<()> {
    fs::DirBuilder::new().mode(0o755).create(path)
}

/// An absolute path without `..`: relative paths of a configuration are relative to `/`.
pub fn in_root(path: &str) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for part in Path::new(path).components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => _ = clean.pop(),
            _ => {}
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::{follow_and_make, in_root, make_folders};
    use std::os::unix::fs::symlink;
    use std::path::Path;

    #[test]
    fn folders_are_made_behind_links_that_lead_nowhere_and_rings_end() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        symlink("deep/er", at("link")).unwrap();
        symlink("second", at("first")).unwrap();
        symlink("first", at("second")).unwrap();
        make_folders(&at("link/a/b")).unwrap();
        assert!(at("deep/er/a/b").is_dir());
        assert!(make_folders(&at("first/a")).is_err());
        assert!(follow_and_make(&at("link/../x"), &mut 3).is_ok() && at("deep/x").is_dir());
        std::fs::write(at("file"), "").unwrap();
        assert!(make_folders(&at("file/a")).is_err());
        assert!(make_folders(&at(&"a/".repeat(100_000))).is_err());
    }

    #[test]
    fn configured_paths_stay_in_the_root() {
        for (text, path) in [
            ("", "/"),
            ("/", "/"),
            ("srv/app", "/srv/app"),
            ("/a/../../../b/./c", "/b/c"),
            ("..", "/"),
            ("//x//", "/x"),
        ] {
            assert_eq!(in_root(text), Path::new(path), "{text}");
        }
    }
}
