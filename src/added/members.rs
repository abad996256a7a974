//! The members of the layer on their way into its archive: by path, so that the order of options makes no difference.

use super::AddError;
use super::base::{Base, MAX_TEXT, Place};
use crate::escape::{self, escape};
use crate::holes::is_zero;
use crate::image::{Algorithm, Digest, Hasher};
use crate::layer::{EntryKind, Writer};
use crate::output::scratch_dir;
use crate::rootfs::{Attrs, Time};
use std::collections::BTreeMap;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

/// Bytes that are read at a time.
const CHUNK: usize = 256 << 10;
/// Most bytes of all files together: what an image may come to without a size that somebody names.
const MAX_BYTES: u64 = 64 << 30;

/// What a member is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A folder.
    Folder,
    /// A symbolic link to this.
    Link(Vec<u8>),
    /// A file with these bytes.
    Text(Vec<u8>),
    /// A file of this host.
    File(HostFile),
}

/// A file of this host as it was when it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostFile {
    path: PathBuf,
    size: u64,
    state: (u64, u64, i64, i64),
}

impl HostFile {
    /// By its facts.
    pub fn new(path: PathBuf, facts: &Metadata) -> HostFile {
        HostFile { path, size: facts.len(), state: state(facts) }
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Opens it. What was put in its place meanwhile is not waited for.
    fn open(&self) -> Result<File, AddError> {
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
        let opened = OpenOptions::new().read(true).custom_flags(flags).open(&self.path);
        let file = opened.map_err(AddError::at("open", &self.path))?;
        crate::inputs::note(&file, &self.path);
        self.check(&file)?;
        Ok(file)
    }

    /// Whether it is the file that was found, and as it was.
    fn check(&self, file: &File) -> Result<(), AddError> {
        let facts = file.metadata().map_err(AddError::at("read", &self.path))?;
        match facts.is_file() && facts.len() == self.size && state(&facts) == self.state {
            true => Ok(()),
            false => Err(self.changed()),
        }
    }

    fn changed(&self) -> AddError {
        let message = format!("{} changed while it was read", escape::path(&self.path));
        AddError::refused(message, "run the command again when nobody writes to it")
    }

    /// Gives its bytes to `each`.
    fn read(&self, each: &mut dyn FnMut(&[u8]) -> Result<(), AddError>) -> Result<(), AddError> {
        let mut file = self.open()?;
        let mut buffer = vec![0; CHUNK];
        let mut left = self.size;
        while left > 0 {
            let most = left.min(CHUNK as u64) as usize;
            match file.read(&mut buffer[..most]) {
                Ok(0) => return Err(self.changed()),
                Ok(count) => {
                    each(&buffer[..count])?;
                    left -= count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(AddError::at("read", &self.path)(error)),
            }
        }
        self.check(&file)
    }
}

/// Device, inode and time of change: another state is another file.
fn state(facts: &Metadata) -> (u64, u64, i64, i64) {
    (facts.dev(), facts.ino(), facts.mtime(), facts.mtime_nsec())
}

/// A member but for its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Mode and owner.
    pub attrs: Attrs,
    /// What it is.
    pub content: Content,
}

/// All of them, by their paths: without a slash at either end, and without links.
pub struct Members {
    made_at: i64,
    all: BTreeMap<Vec<u8>, Member>,
    /// Of all files of this host.
    bytes: u64,
}

impl Members {
    /// None, and the time of those to come.
    pub fn new(made_at: i64) -> Members {
        Members { made_at, all: BTreeMap::new(), bytes: 0 }
    }

    /// Adds one.
    ///
    /// # Errors
    /// When something else goes there already, or it is all too much.
    pub fn add(&mut self, path: Vec<u8>, member: Member) -> Result<(), AddError> {
        let one_folder = |there: &Member| *there == member && member.content == Content::Folder;
        if let Some(there) = self.all.get(&path)
            && !one_folder(there)
        {
            return Err(twice(&path));
        }
        if let Content::File(file) = &member.content {
            self.bytes = self.bytes.saturating_add(file.size);
        }
        if self.bytes > MAX_BYTES {
            let hint = "give the machine a volume for it: bootdisk run DISK -v FOLDER:/PATH";
            return Err(AddError::refused("the files to copy in have more than 64 GiB", hint));
        }
        self.all.insert(path, member);
        Ok(())
    }

    /// Adds one in the place of what was added before.
    pub fn replace(&mut self, path: Vec<u8>, member: Member) {
        self.all.insert(path, member);
    }

    /// Adds a folder with these attributes, whichever a folder that was added before has.
    ///
    /// # Errors
    /// When something else goes there already.
    pub fn put_folder(&mut self, path: Vec<u8>, attrs: Attrs) -> Result<(), AddError> {
        match self.all.get(&path) {
            Some(there) if there.content != Content::Folder => Err(twice(&path)),
            _ => {
                self.all.insert(path, Member { attrs, content: Content::Folder });
                Ok(())
            }
        }
    }

    /// Whether something is added there.
    pub fn has(&self, path: &[u8]) -> bool {
        self.all.contains_key(path)
    }

    /// The paths, in order of their bytes.
    pub fn paths(&self) -> impl Iterator<Item = &[u8]> {
        self.all.keys().map(Vec::as_slice)
    }

    /// A text of the image as it is with what was added, and its attributes.
    ///
    /// # Errors
    /// When it is no file, or a long one.
    pub fn text(&self, base: &Base, place: &Place) -> Result<Option<(Attrs, Vec<u8>)>, AddError> {
        let Some(member) = self.all.get(&place.path) else { return base.text(place) };
        let text = match &member.content {
            Content::Text(text) => text.clone(),
            Content::File(file) if file.size <= MAX_TEXT => {
                let mut text = Vec::new();
                file.read(&mut |bytes| {
                    text.extend_from_slice(bytes);
                    Ok(())
                })?;
                text
            }
            _ => return Err(twice(&place.path)),
        };
        Ok(Some((member.attrs.clone(), text)))
    }

    /// Paths that are in no folder which is added too, each with its slash: so many at most, and how many more there are.
    pub fn topmost(&self, most: usize) -> (Vec<String>, u64) {
        let mut top = self.paths().filter(|path| self.ancestors(path).next().is_none());
        let names = top.by_ref().take(most).map(|path| format!("/{}", String::from_utf8_lossy(path))).collect();
        (names, top.count() as u64)
    }

    /// Members on the way to a path.
    fn ancestors<'a>(&'a self, path: &'a [u8]) -> impl Iterator<Item = (&'a [u8], &'a Member)> {
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        slashes.filter_map(|at| Some((&path[..at], self.all.get(&path[..at])?)))
    }

    /// Nothing goes into what is no folder.
    fn check(&self) -> Result<(), AddError> {
        let through = |path| self.ancestors(path).find(|(_, member)| member.content != Content::Folder);
        match self.paths().find_map(through) {
            Some((path, _)) => Err(twice(path)),
            None => Ok(()),
        }
    }

    /// Writes the layer to a temporary file that nobody else can open: the file, its length and its digest.
    ///
    /// # Errors
    /// When a file of this host cannot be read, or there is no room for the layer.
    pub fn write(self) -> Result<(File, u64, Digest), AddError> {
        self.check()?;
        let folder = scratch_dir();
        let not_written = || AddError::at("write the added layer in", &folder);
        let file = tempfile::tempfile_in(&folder).map_err(not_written())?;
        let hashed = Hashed { file, hasher: Hasher::new(Algorithm::Sha256), size: 0 };
        let mut out = Writer::new(BufWriter::with_capacity(CHUNK, hashed));
        for (path, member) in &self.all {
            let attrs = Attrs { mtime: Time { secs: self.made_at, nanos: 0 }, ..member.attrs.clone() };
            let kind = match &member.content {
                Content::Folder => EntryKind::Directory,
                Content::Link(target) => EntryKind::Symlink(target.clone()),
                Content::Text(text) => EntryKind::File { size: text.len() as u64 },
                Content::File(file) => EntryKind::File { size: file.size },
            };
            out.member(path, &attrs, &kind).map_err(not_written())?;
            match &member.content {
                Content::Text(text) => out.data(text).map_err(not_written())?,
                Content::File(file) => file.read(&mut |bytes| out.data(bytes).map_err(not_written()))?,
                Content::Folder | Content::Link(_) => {}
            }
        }
        let finished = out.finish().and_then(|out| out.into_inner().map_err(|error| error.into_error()));
        let Hashed { file, hasher, size } = finished.map_err(not_written())?;
        file.set_len(size).map_err(not_written())?;
        Ok((file, size, hasher.finish()))
    }
}

fn twice(path: &[u8]) -> AddError {
    let message = format!("two options put something at /{}", escape(path));
    AddError::refused(message, "give one of them, or another destination")
}

/// A file, and the digest of what is in it. Zeros become holes: those of a file of this host cost nothing here either.
struct Hashed {
    file: File,
    hasher: Hasher,
    size: u64,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = match is_zero(bytes) {
            true => {
                self.file.seek(SeekFrom::Current(bytes.len() as i64))?;
                bytes.len()
            }
            false => self.file.write(bytes)?,
        };
        self.hasher.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
