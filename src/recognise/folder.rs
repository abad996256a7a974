//! Folders, by the names in them.

use super::names::{self, Names};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Most names of a folder, and of the folders in it, that are looked at.
const MAX_NAMES: usize = 4096;
/// Most folders that are looked into.
const MAX_FOLDERS: usize = 64;

/// What is in a folder; one that cannot be read is as one of another kind.
pub(super) fn look(path: &Path) -> Names {
    let Some(top) = names_in(path) else { return Names::Other };
    let folders: Vec<&Vec<u8>> =
        top.iter().filter(|name| path.join(as_path(name)).is_dir()).take(MAX_FOLDERS).collect();
    let below = folders.into_iter().flat_map(|folder| {
        let names = names_in(&path.join(as_path(folder))).unwrap_or_default();
        names.into_iter().map(|name| [folder, &b"/"[..], &name].concat()).collect::<Vec<_>>()
    });
    let all: Vec<Vec<u8>> = top.iter().cloned().chain(below).collect();
    match names::of(all.iter().map(Vec::as_slice)) {
        // A kernel's folder may have it in boot/, as a root file system has.
        Names::Other | Names::Root if all.iter().any(|name| name.starts_with(b"boot/vmlinuz")) && !is_root(&top) => {
            Names::Kernel
        }
        found => found,
    }
}

fn is_root(top: &[Vec<u8>]) -> bool {
    top.iter().any(|name| name == b"etc")
}

fn as_path(name: &[u8]) -> &Path {
    Path::new(std::ffi::OsStr::from_bytes(name))
}

fn names_in(path: &Path) -> Option<Vec<Vec<u8>>> {
    let names = std::fs::read_dir(path).ok()?.take(MAX_NAMES).filter_map(Result::ok);
    Some(names.map(|entry| entry.file_name().as_bytes().to_vec()).collect())
}
