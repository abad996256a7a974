//! A root file system in a folder of this host.
//!
//! Every name is looked up in a folder that is held open, so that no link that somebody puts in the way leads out of the
//! tree. Names are taken in order of their bytes. What cannot be read, sockets, and what is mounted in the tree are left
//! out by name.
//!
//! Kept: owners, modes, times to the nanosecond, hard links, holes, extended attributes. Not kept: file attributes
//! (chattr), times of access.

use super::collect::Collector;
use super::{RootfsError, xattrs};
use crate::holes;
use crate::layer::EntryKind;
use crate::rootfs::{Attrs, Time};
use crate::source::SourceError;
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Deepest nesting of folders. Each is held open while those in it are read.
const MAX_DEPTH: usize = 500;
/// Most ranges of data that the map of one file has; a file with more of them is written with its holes filled.
const MAX_RANGES: usize = 10_000;
/// Bytes that are read at a time.
const CHUNK: usize = 256 << 10;

/// What is said of what is left out.
const UNREADABLE: &str = "cannot be read by this user";
const SOCKET: &str = "sockets";
const MOUNTED: &str = "another file system is mounted there";

/// Reads the tree below `path`.
pub fn read(path: &Path, collector: &mut Collector) -> Result<(), SourceError> {
    let failed = |source| RootfsError::Read { path: path.to_owned(), source };
    let folder = open_folder(path, false).map_err(failed)?;
    let facts = folder.metadata().map_err(failed)?;
    let attrs = attrs(&facts, xattrs::of(path).map_err(failed)?);
    collector.member(b"./", attrs, EntryKind::Directory, None)?;
    let mut walk = Walk { collector, device: facts.dev(), links: HashMap::new(), buffer: vec![0; CHUNK] };
    walk.folder(&folder, &[], 0)?;
    walk.note_owner(&facts);
    Ok(())
}

/// The tree being read.
struct Walk<'a> {
    collector: &'a mut Collector,
    /// Of the root.
    device: u64,
    /// First names of files that have several.
    links: HashMap<(u64, u64), Vec<u8>>,
    buffer: Vec<u8>,
}

impl Walk<'_> {
    /// What is in a folder, which has this name in the tree.
    fn folder(&mut self, folder: &File, name: &[u8], depth: usize) -> Result<(), SourceError> {
        if depth == MAX_DEPTH {
            return Err(RootfsError::Depth(MAX_DEPTH).into());
        }
        let place = at(folder, None);
        let listed = std::fs::read_dir(&place).and_then(|names| names.map(|one| Ok(one?.file_name())).collect());
        let mut names: Vec<OsString> = listed.map_err(|source| failed(name, source))?;
        names.sort();
        for last in names {
            let full = if name.is_empty() { last.as_bytes().to_vec() } else { [name, b"/", last.as_bytes()].concat() };
            self.entry(&at(folder, Some(&last)), &full, depth)?;
        }
        Ok(())
    }

    /// What is at `place`, which has this name in the tree.
    fn entry(&mut self, place: &Path, name: &[u8], depth: usize) -> Result<(), SourceError> {
        let facts = match place.symlink_metadata() {
            Ok(facts) => facts,
            Err(source) => return Err(failed(name, source)),
        };
        let kind = facts.file_type();
        if kind.is_socket() {
            self.collector.leave_out(SOCKET, name);
            return Ok(());
        }
        let attrs = attrs(&facts, xattrs::of(place).map_err(|source| failed(name, source))?);
        if kind.is_dir() {
            return self.subfolder(place, name, &facts, attrs, depth);
        }
        if let Some(first) = self.first_name(&facts, name) {
            return self.collector.member(name, attrs, EntryKind::HardLink(first), None).map(drop);
        }
        let kind = match () {
            () if kind.is_file() => return self.file(place, name, &facts, attrs),
            () if kind.is_symlink() => {
                let target = std::fs::read_link(place).map_err(|source| failed(name, source))?;
                EntryKind::Symlink(target.into_os_string().into_vec())
            }
            () if kind.is_fifo() => EntryKind::Fifo,
            () => {
                let (major, minor) = (libc::major(facts.rdev()), libc::minor(facts.rdev()));
                if kind.is_block_device() {
                    EntryKind::BlockDevice { major, minor }
                } else {
                    EntryKind::CharDevice { major, minor }
                }
            }
        };
        self.collector.member(name, attrs, kind, None)?;
        self.remember(&facts, name);
        Ok(())
    }

    fn subfolder(
        &mut self,
        place: &Path,
        name: &[u8],
        facts: &Metadata,
        attrs: Attrs,
        depth: usize,
    ) -> Result<(), SourceError> {
        let taken = self.collector.member(name, attrs, EntryKind::Directory, None)?;
        if facts.dev() != self.device {
            self.collector.leave_out(MOUNTED, name);
            return Ok(());
        }
        match open_folder(place, true) {
            Ok(folder) if taken => self.folder(&folder, name, depth + 1),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                self.collector.leave_out(UNREADABLE, name);
                Ok(())
            }
            Err(source) => Err(failed(name, source)),
        }
    }

    /// The name that a file has had already.
    fn first_name(&self, facts: &Metadata, name: &[u8]) -> Option<Vec<u8>> {
        self.links.get(&(facts.dev(), facts.ino())).filter(|first| first.as_slice() != name).cloned()
    }

    fn remember(&mut self, facts: &Metadata, name: &[u8]) {
        if facts.nlink() > 1 {
            self.links.insert((facts.dev(), facts.ino()), name.to_vec());
        }
    }

    fn file(&mut self, place: &Path, name: &[u8], facts: &Metadata, attrs: Attrs) -> Result<(), SourceError> {
        let file = match open_file(place) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                self.collector.leave_out(UNREADABLE, name);
                return Ok(());
            }
            Err(source) => return Err(failed(name, source)),
        };
        let opened = file.metadata().map_err(|source| failed(name, source))?;
        let size = opened.len();
        if !opened.is_file() || opened.ino() != facts.ino() || size != facts.len() {
            return Err(changed(name));
        }
        let ranges = match opened.blocks().saturating_mul(512) < size {
            true => ranges(&file, size).map_err(|source| failed(name, source))?,
            false => None,
        };
        if !self.collector.member(name, attrs, EntryKind::File { size }, ranges.as_deref())? {
            return Ok(());
        }
        for (offset, length) in ranges.unwrap_or_else(|| vec![(0, size)]) {
            self.copy(&file, name, offset, length)?;
        }
        self.remember(facts, name);
        Ok(())
    }

    fn copy(&mut self, file: &File, name: &[u8], mut offset: u64, mut left: u64) -> Result<(), SourceError> {
        while left > 0 {
            let most = left.min(CHUNK as u64) as usize;
            let read = match file.read_at(&mut self.buffer[..most], offset) {
                Ok(0) => return Err(changed(name)),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(failed(name, source)),
            };
            self.collector.data(&self.buffer[..read])?;
            offset += read as u64;
            left -= read as u64;
        }
        Ok(())
    }

    /// A tree that a user has unpacked is the user's: so would be every file on the disk.
    fn note_owner(&mut self, root: &Metadata) {
        let user = nix::unistd::getuid().as_raw();
        if user != 0 && root.uid() == user {
            self.collector.note_owner(user, root.gid());
        }
    }
}

/// A name in an open folder, or the folder itself, as a path that no link can change.
fn at(folder: &File, name: Option<&OsString>) -> PathBuf {
    let place = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd()));
    name.map_or(place.clone(), |name| place.join(name))
}

fn open_folder(path: &Path, in_tree: bool) -> io::Result<File> {
    let no_link = if in_tree { libc::O_NOFOLLOW } else { 0 };
    OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY | no_link).open(path)
}

fn open_file(path: &Path) -> io::Result<File> {
    // A FIFO that has taken the file's place is not waited for.
    OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY).open(path)
}

fn attrs(facts: &Metadata, xattrs: crate::rootfs::tree::Xattrs) -> Attrs {
    let mtime = Time { secs: facts.mtime(), nanos: u32::try_from(facts.mtime_nsec()).unwrap_or(0) };
    Attrs { mode: (facts.mode() & 0o7777) as u16, uid: facts.uid(), gid: facts.gid(), mtime, xattrs }
}

/// Where there is data in a file with holes; `None` where it is in too many pieces, or the file system does not tell.
fn ranges(file: &File, size: u64) -> io::Result<Option<Vec<(u64, u64)>>> {
    let (mut found, mut end) = (Vec::new(), 0);
    loop {
        let range = match holes::data(file, end, size) {
            Ok(Some(range)) => range,
            Ok(None) => return Ok(Some(found)),
            Err(nix::Error::EINVAL) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        if found.len() == MAX_RANGES {
            return Ok(None);
        }
        found.push((range.start, range.end - range.start));
        end = range.end;
    }
}

fn failed(name: &[u8], source: io::Error) -> SourceError {
    RootfsError::Read { path: OsString::from_vec(name.to_vec()).into(), source }.into()
}

fn changed(name: &[u8]) -> SourceError {
    RootfsError::Changed(OsString::from_vec(name.to_vec()).into()).into()
}
