//! Files and folders of this host on their way into the layer, to where `docker cp` would put them.
//!
//! ```text
//!  the place is    of a folder                      of a file
//!  a folder        in it, by its name; `x/.` in it   in it, by its name
//!  a file          refused                          replaced
//!  absent          it is made                       it is made; in a folder of this name where the path ends with a slash
//! ```
//!
//! A link at the place leads to what is meant, and stays. Folders that the image has stay as they are. Not kept of this
//! host: owners, times, extended attributes, holes, hard links; of modes only whether a file can be executed, as the rest
//! is the umask's. Only files, folders and links are copied. The source may be a link; those in it stay links.

use super::base::{Base, Place};
use super::members::{Content, HostFile, Member, Members};
use super::record::{Item, What};
use super::users::Users;
use super::{AddError, CopyIn};
use crate::copy::take;
use crate::escape::{self, escape};
use crate::inputs;
use crate::rootfs::Attrs;
use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Adds what is to be copied.
pub fn add(copy: &CopyIn, base: &Base, members: &mut Members, warnings: &mut Vec<String>) -> Result<Item, AddError> {
    let (source, preface, _) = take::split(copy.source.as_os_str().as_bytes());
    let source = PathBuf::from(OsStr::from_bytes(source));
    let facts = fs::metadata(&source).map_err(AddError::at("copy", &copy.source))?;
    let to = Target::of(copy, base)?;
    let (uid, gid) = match &copy.owner {
        Some(owner) => Users::of_image(base)?.owner(owner)?,
        None => (0, 0),
    };
    let mut copier = Copier { copy, base, members, uid, gid, files: 0, bytes: 0, private: Vec::new() };
    let place = match facts.is_dir() {
        true => {
            inputs::note_folder(&source);
            let place = to.for_folder(base, if preface.contents { None } else { Some(&preface.name) })?;
            copier.folder(source, place)?
        }
        false => {
            let place = to.for_file(base, &preface.name)?;
            copier.file(source, &facts, place.path.clone())?;
            place.path
        }
    };
    let (files, bytes) = (copier.files, copier.bytes);
    warnings.extend(copier.warning());
    let what = if facts.is_dir() { What::Folder { files, bytes } } else { What::File { bytes } };
    Ok(Item { what, path: format!("/{}", String::from_utf8_lossy(&place)), user: None })
}

/// Where it is to go.
struct Target<'a> {
    place: Place,
    /// It is written as a folder.
    slash: bool,
    text: &'a str,
}

impl<'a> Target<'a> {
    fn of(copy: &'a CopyIn, base: &Base) -> Result<Target<'a>, AddError> {
        let text = &copy.target;
        let place = base.place(text.split('/').filter(|name| *name != ".").collect::<Vec<_>>().join("/").as_bytes())?;
        Ok(Target { place, slash: text.ends_with('/') || text.ends_with("/."), text })
    }

    fn for_file(self, base: &Base, name: &[u8]) -> Result<Place, AddError> {
        let is_folder = self.place.there.is_some_and(|there| base.is_folder(there));
        if self.slash && self.place.there.is_some() && !is_folder {
            return Err(self.refused("is a file in the image, and no folder"));
        }
        let place = if is_folder || self.slash { base.below(&self.place, name) } else { self.place };
        refuse_for_file(base, &place)?;
        Ok(place)
    }

    /// `None` is what is in the folder.
    fn for_folder(self, base: &Base, name: Option<&[u8]>) -> Result<Place, AddError> {
        let is_folder = self.place.there.is_some_and(|there| base.is_folder(there));
        match (name, is_folder) {
            _ if self.place.there.is_some() && !is_folder => {
                Err(self.refused("is a file in the image, and a folder does not go into it"))
            }
            (Some(name), true) => Ok(base.below(&self.place, name)),
            _ => Ok(self.place),
        }
    }

    fn refused(&self, why: &str) -> AddError {
        elsewhere(&format!("{} {why}", escape(self.text.as_bytes())))
    }
}

fn elsewhere(message: &str) -> AddError {
    AddError::refused(message, "give another destination; bootdisk inspect IMAGE --tree shows what there is")
}

fn refuse_for_file(base: &Base, place: &Place) -> Result<(), AddError> {
    match place.there {
        Some(there) if !base.is_replaceable(there) => {
            let what = if base.is_folder(there) { "a folder" } else { "no ordinary file" };
            Err(elsewhere(&format!("/{} is {what} in the image, and a file does not replace it", escape(&place.path))))
        }
        _ => Ok(()),
    }
}

/// One option at work.
struct Copier<'a> {
    copy: &'a CopyIn,
    base: &'a Base,
    members: &'a mut Members,
    uid: u32,
    gid: u32,
    files: u64,
    bytes: u64,
    /// Files that only their owner can read here, and everybody on the disk: the first, and a place for each more.
    private: Vec<PathBuf>,
}

impl Copier<'_> {
    /// A folder and all that is in it. The path of its place.
    fn folder(&mut self, source: PathBuf, place: Place) -> Result<Vec<u8>, AddError> {
        let path = place.path.clone();
        let mut todo = vec![(source, place)];
        while let Some((source, place)) = todo.pop() {
            match place.there {
                None => self.members.add(place.path.clone(), self.member(self.folder_mode(), Content::Folder))?,
                Some(there) if self.base.is_folder(there) => {}
                Some(_) => {
                    let shown = escape(&place.path);
                    return Err(elsewhere(&format!(
                        "/{shown} is a file in the image, and a folder does not go into it"
                    )));
                }
            }
            for name in names(&source)? {
                let (source, place) = (source.join(&name), self.base.below(&place, checked(&source, &name)?));
                let facts = source.symlink_metadata().map_err(AddError::at("copy", &source))?;
                match facts.is_dir() {
                    true => todo.push((source, place)),
                    false => {
                        refuse_for_file(self.base, &place)?;
                        self.file(source, &facts, place.path)?;
                    }
                }
            }
        }
        Ok(path)
    }

    /// A file or a link.
    fn file(&mut self, source: PathBuf, facts: &Metadata, path: Vec<u8>) -> Result<(), AddError> {
        let kind = facts.file_type();
        if kind.is_symlink() {
            let target = fs::read_link(&source).map_err(AddError::at("read", &source))?;
            return self.members.add(path, self.member(0o777, Content::Link(target.into_os_string().into_vec())));
        }
        if !kind.is_file() {
            return Err(special(&source, facts));
        }
        let bits = facts.permissions().mode();
        if bits & 0o077 == 0 && self.copy.mode.is_none() {
            self.private.push(if self.private.is_empty() { source.clone() } else { PathBuf::new() });
        }
        let usual = if bits & 0o100 == 0 { 0o644 } else { 0o755 };
        let file = HostFile::new(source, facts);
        self.files += 1;
        self.bytes = self.bytes.saturating_add(file.size());
        self.members.add(path, self.member(self.copy.mode.unwrap_or(usual), Content::File(file)))
    }

    /// Who can read a folder can enter it.
    fn folder_mode(&self) -> u16 {
        self.copy.mode.map_or(0o755, |mode| mode & 0o1777 | (mode & 0o444) >> 2)
    }

    fn member(&self, mode: u16, content: Content) -> Member {
        Member { attrs: Attrs { mode, uid: self.uid, gid: self.gid, ..Attrs::default() }, content }
    }

    /// What was private becomes public only with a word about it.
    fn warning(&self) -> Option<String> {
        let first = escape::path(self.private.first()?);
        let more = self.private.len() - 1;
        let (which, target) = (if more == 0 { first } else { format!("{first} and {more} more") }, &self.copy.target);
        let mode = format!("--copy-in SRC:{}:600", escape(target.as_bytes()));
        Some(format!("only its owner can read it here, and everybody on the disk: {which}; give a mode, as in {mode}"))
    }
}

/// What is in a folder, in order of bytes, so that of two faults the same one is told each time.
fn names(folder: &Path) -> Result<Vec<OsString>, AddError> {
    let listed = fs::read_dir(folder).and_then(|names| names.map(|one| Ok(one?.file_name())).collect());
    let mut names: Vec<OsString> = listed.map_err(AddError::at("read", folder))?;
    names.sort();
    Ok(names)
}

/// A name that a layer can have.
fn checked<'a>(folder: &Path, name: &'a OsString) -> Result<&'a [u8], AddError> {
    match name.as_bytes().starts_with(b".wh.") {
        true => {
            let shown = escape::path(&folder.join(name));
            let message = format!("{shown} cannot be copied: its name begins with .wh., which deletes in a layer");
            Err(AddError::refused(message, format!("rename it: mv {shown} OTHER")))
        }
        false => Ok(name.as_bytes()),
    }
}

/// For what is neither file nor folder nor link.
fn special(path: &Path, facts: &Metadata) -> AddError {
    let kind = facts.file_type();
    let what = match () {
        () if kind.is_fifo() => "a named pipe",
        () if kind.is_socket() => "a socket",
        () => "a device",
    };
    let message = format!("{} is {what}, and only files, folders and links are copied in", escape::path(path));
    AddError::refused(message, "save what it gives to a file first, and copy that: cat PIPE > FILE")
}
