//! What this program reads from: nothing it writes may take the place of one of these files.
//!
//! A file is known by its device and inode, so that neither a symbolic link nor a second name hides it. A folder that is
//! an input as a whole, an OCI layout, is known by its path: nothing is written into it either.
//!
//! Nothing is remembered until [`remember`] is called: one run of the program is one command, but in a process that lives
//! on, the inode of a file that was removed may be another file's by now.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// One file, whatever its names are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    /// The file these facts are of.
    pub fn of(facts: &Metadata) -> FileId {
        FileId { device: facts.dev(), inode: facts.ino() }
    }
}

/// Files and folders that were opened.
#[derive(Debug, Default)]
pub struct Inputs {
    files: BTreeMap<FileId, PathBuf>,
    folders: Vec<PathBuf>,
}

impl Inputs {
    fn add_file(&mut self, facts: &Metadata, path: &Path) {
        if facts.is_file() {
            self.files.entry(FileId::of(facts)).or_insert_with(|| path.to_owned());
        }
    }

    fn add_folder(&mut self, path: &Path) {
        self.folders.extend(path.canonicalize());
    }

    /// The input that an output in `folder` would replace or be put into. `there` is the file it would replace.
    fn hit(&self, folder: &Path, there: Option<FileId>) -> Option<PathBuf> {
        let file = there.and_then(|id| self.files.get(&id));
        let into = || {
            let folder = folder.canonicalize().ok()?;
            self.folders.iter().find(|input| folder.starts_with(input))
        };
        file.or_else(into).cloned()
    }
}

static OPENED: Mutex<Option<Inputs>> = Mutex::new(None);

fn opened() -> MutexGuard<'static, Option<Inputs>> {
    // A list of files has no state in between that a panic could leave.
    OPENED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From here on everything that is opened is remembered.
pub fn remember() {
    opened().get_or_insert_default();
}

/// Opens an input.
///
/// # Errors
/// As `File::open`.
pub fn open(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    note(&file, path);
    Ok(file)
}

/// Notes an input that is open already. `path` is what a refusal calls it.
pub fn note(file: &impl AsFd, path: &Path) {
    if let Some(inputs) = &mut *opened()
        && let Ok(facts) = file.as_fd().try_clone_to_owned().and_then(|copy| File::from(copy).metadata())
    {
        inputs.add_file(&facts, path);
    }
}

/// Notes a folder of which every file is an input.
pub fn note_folder(path: &Path) {
    if let Some(inputs) = &mut *opened() {
        inputs.add_folder(path);
    }
}

/// The input that an output would replace, or be put into: see [`Inputs`].
pub fn hit(folder: &Path, there: Option<FileId>) -> Option<PathBuf> {
    opened().as_ref()?.hit(folder, there)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn an_input_is_known_under_all_its_names_and_nothing_else_is() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("layout/blobs")).unwrap();
        for name in ["image.tar", "other", "layout/index.json"] {
            fs::write(at(name), name).unwrap();
        }
        std::os::unix::fs::symlink("image.tar", at("link")).unwrap();
        std::os::unix::fs::symlink("layout", at("same")).unwrap();
        fs::hard_link(at("image.tar"), at("second")).unwrap();
        let mut inputs = Inputs::default();
        inputs.add_file(&fs::metadata(at("image.tar")).unwrap(), &at("image.tar"));
        inputs.add_folder(&at("layout"));
        for (output, input) in [
            ("image.tar", Some("image.tar")),
            ("link", Some("image.tar")),
            ("second", Some("image.tar")),
            ("layout/index.json", Some("layout")),
            ("layout/new", Some("layout")),
            ("layout/blobs/new", Some("layout")),
            ("same/new", Some("layout")),
            ("other", None),
            ("new", None),
        ] {
            let there = fs::metadata(at(output)).ok().map(|facts| FileId::of(&facts));
            assert_eq!(inputs.hit(at(output).parent().unwrap(), there), input.map(at), "{output}");
        }
    }
}
