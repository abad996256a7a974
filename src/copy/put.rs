//! Records become files, where `docker cp` would put them.
//!
//! ```text
//!  the place is    of a folder            of anything else
//!  a folder        in it, by its name     in it, by its name        what is in a folder goes into it
//!  a file          refused                replaced
//!  absent          it is made             it is made; refused where the path ends with a slash
//! ```
//!
//! The place itself is the user's, and links on its way are followed. What is below it was said by the records' writer:
//! each name is one step from an open folder that no link led to. A file is whole under its name, or what was there stays.
//!
//! Not supported: sockets; more than the process's open files of folders in each other.

use super::{Kind, Preface, Record, Sink, at, record};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat, renameat};
use nix::sys::stat::{
    FileStat, Mode, SFlag, UtimensatFlags, fchmod, fstatat, futimens, makedev, mkdirat, mknodat, utimensat,
};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, fchownat, linkat, symlinkat, unlinkat};
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// How files are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Whose they are in the records; otherwise they are of who makes them.
    pub owners: bool,
    /// Devices and fifos, set-user-ID, set-group-ID and capabilities, as a machine trusts its own.
    pub trusted: bool,
}

/// A folder that is being filled.
struct Open {
    path: Vec<u8>,
    fd: OwnedFd,
    /// What it gets when it is full; nothing for one that is the user's.
    facts: Option<Record>,
}

/// See the module.
pub struct Put<'a> {
    to: Vec<u8>,
    options: Options,
    preface: Preface,
    /// Where what is copied itself goes: the folder that it is in, and its name there.
    root: Option<(OwnedFd, OsString)>,
    open: Vec<Open>,
    note: &'a mut dyn FnMut(&str),
    /// So many temporary names were used.
    temporary: u64,
    /// What was left out and may have other names.
    left_out: HashSet<Vec<u8>>,
}

impl<'a> Put<'a> {
    /// To this path. What is left out is told to `note`, a line each.
    pub fn new(to: &[u8], options: Options, note: &'a mut dyn FnMut(&str)) -> Put<'a> {
        let to = to.to_vec();
        Put {
            to,
            options,
            preface: Preface::default(),
            root: None,
            open: Vec::new(),
            note,
            temporary: 0,
            left_out: HashSet::new(),
        }
    }

    /// Finds out where it all goes, from what comes first.
    fn settle(&mut self, first: &Record) -> io::Result<()> {
        if self.to.is_empty() {
            return Err(io::Error::other("an empty path is none"));
        }
        let shown = self.to.clone();
        let wrong = |why: &str| io::Error::other(format!("cannot copy to {}: {why}", crate::escape::escape(&shown)));
        let place = PathBuf::from(OsStr::from_bytes(&self.to));
        let ends_as_folder = [&b"/"[..], b"/.", b"/.."].iter().any(|end| self.to.ends_with(end));
        let is_folder = first.kind == Kind::Directory;
        let there = match place.metadata() {
            Ok(there) => Some(there),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(at("copy to", &self.to, &error)),
        };
        match there {
            Some(there) if there.is_dir() => {
                let fd =
                    folder(AT_FDCWD, &place, OFlag::empty()).map_err(|error| at("open", &self.to, &error.into()))?;
                if self.preface.contents {
                    self.open.push(Open { path: Vec::new(), fd, facts: None });
                } else {
                    let name = OsStr::from_bytes(&self.preface.name).to_owned();
                    leaf(name.as_bytes()).map_err(|error| at("copy", name.as_bytes(), &error))?;
                    self.root = Some((fd, name));
                }
                return Ok(());
            }
            _ if !first.path.is_empty() => return Err(wrong("no such directory")),
            Some(_) if is_folder => return Err(wrong("a folder does not go into a file")),
            Some(_) if ends_as_folder => return Err(wrong("not a directory")),
            Some(there) if !there.is_file() => return Err(wrong("it is no ordinary file")),
            None if !is_folder && ends_as_folder => return Err(wrong("no such directory")),
            _ => {}
        }
        // A link is the way to the file, and stays.
        let place = if there.is_some() { place.canonicalize()? } else { without_end(&self.to) };
        let name = place.file_name().ok_or_else(|| wrong("no such directory"))?.to_owned();
        let parent = place.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let fd = folder(AT_FDCWD, parent, OFlag::empty()).map_err(|error| at("copy to", &self.to, &error.into()))?;
        self.root = Some((fd, name));
        Ok(())
    }

    /// Closes folders until the one that has `path` in it is the last, and opens those on the way.
    fn enter(&mut self, path: &[u8]) -> io::Result<()> {
        let is_in = |open: &Open| {
            open.path.is_empty() || path.strip_prefix(&open.path[..]).is_some_and(|rest| rest.first() == Some(&b'/'))
        };
        while self.open.last().is_some_and(|open| !is_in(open)) {
            self.close()?;
        }
        let Some(last) = self.open.last() else { return Err(io::ErrorKind::InvalidData.into()) };
        let from = if last.path.is_empty() { 0 } else { last.path.len() + 1 };
        let Some(end) = path[from..].iter().rposition(|byte| *byte == b'/') else { return Ok(()) };
        let mut at = from;
        for name in path[from..from + end].split(|byte| *byte == b'/') {
            at += name.len();
            let made = self.directory(name, &path[..at])?;
            self.open.push(Open { path: path[..at].to_vec(), fd: made, facts: None });
            at += 1;
        }
        Ok(())
    }

    /// A folder in the last that is open.
    fn directory(&self, name: &[u8], path: &[u8]) -> io::Result<OwnedFd> {
        let parent = self.open.last().map(|open| open.fd.as_fd()).ok_or(io::ErrorKind::InvalidData)?;
        make_folder(parent, OsStr::from_bytes(name)).map_err(|error| at("make", path, &error))
    }

    /// Closes the last folder, which is full.
    fn close(&mut self) -> io::Result<()> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        let Some(facts) = open.facts else { return Ok(()) };
        self.dress(&open.fd, &facts).map_err(|error| at("set the mode of", &facts.path, &error))
    }

    /// Owner, mode, attributes and time of an open file or folder.
    fn dress(&self, fd: &OwnedFd, facts: &Record) -> io::Result<()> {
        if self.options.owners {
            fchown(fd, Some(Uid::from_raw(facts.uid)), Some(Gid::from_raw(facts.gid)))?;
        }
        fchmod(fd, self.mode(facts))?;
        if self.options.trusted && !facts.capability.is_empty() {
            // SAFETY: a name that ends, and as many bytes as there are.
            let set = unsafe {
                libc::fsetxattr(
                    fd.as_raw_fd(),
                    c"security.capability".as_ptr(),
                    facts.capability.as_ptr().cast(),
                    facts.capability.len(),
                    0,
                )
            };
            Errno::result(set)?;
        }
        Ok(futimens(fd, &TimeSpec::UTIME_OMIT, &time(facts))?)
    }

    fn mode(&self, facts: &Record) -> Mode {
        Mode::from_bits_truncate(facts.mode & if self.options.trusted || self.options.owners { 0o7777 } else { 0o777 })
    }

    /// Makes something that is no folder, under a name of its own first.
    fn make(&mut self, parent: &OwnedFd, name: &OsStr, record: &Record, body: &mut dyn Read) -> io::Result<()> {
        if let Some(there) = look(parent, name)?
            && kind_bits(&there) == SFlag::S_IFDIR
        {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let temporary = loop {
            self.temporary += 1;
            let name = OsString::from(format!(".bootdisk-cp.{}.{}", std::process::id(), self.temporary));
            if look(parent, &name)?.is_none() {
                break name;
            }
        };
        let made = self.make_as(parent, &temporary, record, body);
        let placed = made.and_then(|()| Ok(renameat(parent, temporary.as_os_str(), parent, name)?));
        // Also where both names are one file, which rename leaves alone.
        _ = unlinkat(parent, temporary.as_os_str(), UnlinkatFlags::NoRemoveDir);
        placed
    }

    fn make_as(&mut self, parent: &OwnedFd, name: &OsStr, record: &Record, body: &mut dyn Read) -> io::Result<()> {
        match &record.kind {
            Kind::File(length) => {
                let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                let file = File::from(openat(parent, name, flags, Mode::from_bits_truncate(0o600))?);
                let mut out = BufWriter::new(&file);
                record::fill(body, *length, &mut out)?;
                out.flush()?;
                drop(out);
                return self.dress(&file.into(), record);
            }
            Kind::Symlink(target) => symlinkat(OsStr::from_bytes(target), parent, name)?,
            Kind::HardLink(first) => {
                let (folder, first) = self.find(first)?;
                return Ok(linkat(&folder, first.as_os_str(), parent, name, AtFlags::empty())?);
            }
            Kind::Fifo => mknodat(parent, name, SFlag::S_IFIFO, self.mode(record), 0)?,
            Kind::Character(major, minor) => {
                mknodat(parent, name, SFlag::S_IFCHR, self.mode(record), makedev((*major).into(), (*minor).into()))?;
            }
            Kind::Block(major, minor) => {
                mknodat(parent, name, SFlag::S_IFBLK, self.mode(record), makedev((*major).into(), (*minor).into()))?;
            }
            Kind::Directory => return Err(io::ErrorKind::InvalidData.into()),
        }
        if self.options.owners {
            let (user, group) = (Uid::from_raw(record.uid), Gid::from_raw(record.gid));
            fchownat(parent, name, Some(user), Some(group), AtFlags::AT_SYMLINK_NOFOLLOW)?;
        }
        Ok(utimensat(parent, name, &TimeSpec::UTIME_OMIT, &time(record), UtimensatFlags::NoFollowSymlink)?)
    }

    /// The folder and the name of something that was put before: as all is, step by step.
    fn find(&self, path: &[u8]) -> io::Result<(OwnedFd, OsString)> {
        if path.is_empty() {
            let (parent, name) = self.root.as_ref().ok_or(io::ErrorKind::InvalidData)?;
            return Ok((parent.try_clone()?, name.clone()));
        }
        let mut names = steps(path)?;
        let last = names.pop().ok_or(io::ErrorKind::InvalidData)?;
        let mut fd = self.open.first().ok_or(io::ErrorKind::InvalidData)?.fd.try_clone()?;
        for name in names {
            fd = folder(&fd, Path::new(OsStr::from_bytes(name)), OFlag::O_NOFOLLOW)?;
        }
        Ok((fd, OsStr::from_bytes(last).to_owned()))
    }

    /// Whether it may be made here.
    fn is_wanted(&mut self, record: &Record) -> bool {
        let special = match &record.kind {
            Kind::Fifo | Kind::Character(..) | Kind::Block(..) => !self.options.trusted,
            Kind::HardLink(first) => self.left_out.contains(first),
            _ => false,
        };
        if special {
            self.left_out.insert(record.path.clone());
            let shown = crate::escape::escape(&[&self.preface.name[..], b"/", &record.path].concat());
            (self.note)(&format!("a device or a named pipe is left out: {shown}"));
            return false;
        }
        true
    }

    fn put_root(&mut self, record: &Record, body: &mut dyn Read) -> io::Result<()> {
        if let Some(open) = self.open.first() {
            // What is in a folder goes into another one, which stays as it is.
            let is_folder = open.path.is_empty() && record.kind == Kind::Directory;
            return if is_folder { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) };
        }
        let Some((parent, name)) = self.root.take() else { return Err(io::ErrorKind::InvalidData.into()) };
        let made = match record.kind {
            Kind::Directory => make_folder(parent.as_fd(), &name)
                .map(|fd| self.open.push(Open { path: Vec::new(), fd, facts: Some(record.clone()) })),
            _ => self.make(&parent, &name, record, body),
        };
        self.root = Some((parent, name));
        made
    }
}

impl Sink for Put<'_> {
    fn begin(&mut self, preface: &Preface) -> io::Result<()> {
        self.preface = preface.clone();
        let place = Path::new(OsStr::from_bytes(&self.to));
        if preface.loose && !place.is_dir() {
            let why = if place.exists() { Errno::ENOTDIR } else { Errno::ENOENT };
            return Err(at("copy to", &self.to, &why.into()));
        }
        Ok(())
    }

    fn put(&mut self, record: &Record, body: &mut dyn Read) -> io::Result<()> {
        if self.root.is_none() && self.open.is_empty() {
            self.settle(record)?;
        }
        if !self.is_wanted(record) {
            return Ok(());
        }
        let shown = if record.path.is_empty() { &self.preface.name } else { &record.path }.clone();
        if record.path.is_empty() {
            return self.put_root(record, body).map_err(|error| explained(&shown, record, &error));
        }
        let name = *steps(&record.path)?.last().ok_or(io::ErrorKind::InvalidData)?;
        self.enter(&record.path)?;
        if record.kind == Kind::Directory {
            let fd = self.directory(name, &record.path).map_err(|error| explained(&shown, record, &error))?;
            self.open.push(Open { path: record.path.clone(), fd, facts: Some(record.clone()) });
            return Ok(());
        }
        let parent = self.open.last().ok_or(io::ErrorKind::InvalidData)?.fd.try_clone()?;
        self.make(&parent, OsStr::from_bytes(name), record, body).map_err(|error| explained(&shown, record, &error))
    }

    fn end(&mut self) -> io::Result<()> {
        while !self.open.is_empty() {
            self.close()?;
        }
        Ok(())
    }
}

/// An error as `docker cp` has it where one kind of thing would take the place of the other.
fn explained(path: &[u8], record: &Record, error: &io::Error) -> io::Error {
    let shown = crate::escape::escape(path);
    match error.kind() {
        io::ErrorKind::IsADirectory => io::Error::other(format!("cannot overwrite a folder with a file: {shown}")),
        io::ErrorKind::NotADirectory if record.kind == Kind::Directory => {
            io::Error::other(format!("cannot overwrite a file with a folder: {shown}"))
        }
        // It has its place already.
        io::ErrorKind::Other => io::Error::other(error.to_string()),
        _ => at("write", path, error),
    }
}

fn time(record: &Record) -> TimeSpec {
    TimeSpec::new(record.mtime.0, record.mtime.1.min(999_999_999).into())
}

fn kind_bits(facts: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(facts.st_mode & SFlag::S_IFMT.bits())
}

fn look(parent: &OwnedFd, name: &OsStr) -> io::Result<Option<FileStat>> {
    match fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(facts) => Ok(Some(facts)),
        Err(Errno::ENOENT) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

fn folder(parent: impl AsFd, name: &Path, more: OFlag) -> nix::Result<OwnedFd> {
    openat(parent, name, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | more, Mode::empty())
}

/// A folder of this name, new or as it is. A link to one is none.
fn make_folder(parent: std::os::fd::BorrowedFd<'_>, name: &OsStr) -> io::Result<OwnedFd> {
    match mkdirat(parent, name, Mode::from_bits_truncate(0o755)) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(errno) => return Err(errno.into()),
    }
    match folder(parent, Path::new(name), OFlag::O_NOFOLLOW) {
        Err(Errno::ELOOP) => Err(io::ErrorKind::NotADirectory.into()),
        opened => Ok(opened?),
    }
}

/// One step of a path.
fn leaf(name: &[u8]) -> io::Result<()> {
    match name.is_empty() || name == b"." || name == b".." || name.contains(&b'/') || name.contains(&0) {
        true => Err(io::ErrorKind::InvalidFilename.into()),
        false => Ok(()),
    }
}

/// The names of a path, each of which is one step down.
fn steps(path: &[u8]) -> io::Result<Vec<&[u8]>> {
    let names: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
    names.iter().try_for_each(|name| leaf(name)).map_err(|error| at("take the name", path, &error))?;
    Ok(names)
}

/// A path without slashes and dots at its end.
fn without_end(path: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(super::take::split(path).0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::copy::record::{Writer, read};
    use crate::copy::take::take;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    const OURS: Options = Options { owners: false, trusted: false };

    /// Copies through a stream; what was said, and what was left out.
    fn copy(from: &Path, to: &Path, end: (&str, &str), options: Options) -> (Result<(), String>, Vec<String>) {
        let bytes = |path: &Path, end: &str| [path.as_os_str().as_bytes(), end.as_bytes()].concat();
        let (mut stream, mut notes, mut more) = (Vec::new(), Vec::new(), Vec::new());
        let taken =
            take(&bytes(from, end.0), false, &mut Writer::new(&mut stream), &mut |text| notes.push(text.into()));
        let note = &mut |text: &str| more.push(text.to_owned());
        let put = taken.and_then(|()| read(&mut &stream[..], &mut Put::new(&bytes(to, end.1), options, note)));
        (put.map_err(|error| error.to_string()), notes.into_iter().chain(more).collect())
    }

    #[test]
    fn a_copy_goes_where_docker_puts_it() {
        // From, its end, what is there, to, its end, what there is then or what is said.
        let rows = [
            ("file", "", "", "new", "", Ok("new")),
            ("file", "", "", "new", "/", Err("no such directory")),
            ("file", "", "", "no/new", "", Err("no such file or directory")),
            ("file", "", "old", "old", "", Ok("old")),
            ("file", "", "old", "old", "/", Err("ot a directory")),
            ("file", "", "dir/", "dir", "", Ok("dir/file")),
            ("file", "", "dir/file/", "dir", "", Err("cannot overwrite a folder with a file: file")),
            ("file", "/", "", "new", "", Err("ot a directory")),
            ("tree", "", "", "new", "", Ok("new/a/b")),
            ("tree", "", "", "new", "/", Ok("new/a/b")),
            ("tree", "/.", "", "new", "", Ok("new/a/b")),
            ("tree", "", "old", "old", "", Err("a folder does not go into a file")),
            ("tree", "", "dir/", "dir", "", Ok("dir/tree/a/b")),
            ("tree", "/", "dir/", "dir", "/", Ok("dir/tree/a/b")),
            ("tree", "/.", "dir/", "dir", "", Ok("dir/a/b")),
            ("tree", "/.", "dir/a", "dir", "", Err("cannot overwrite a file with a folder: a")),
            ("tree", "/.", "dir/a/b/", "dir", "", Err("cannot overwrite a folder with a file: a/b")),
            ("none", "", "", "new", "", Err("cannot copy")),
        ];
        for (from, from_end, there, to, to_end, expected) in rows {
            let home = tempfile::tempdir().unwrap();
            let at = |name: &str| home.path().join(name);
            fs::write(at("file"), "body").unwrap();
            fs::create_dir_all(at("tree/a")).unwrap();
            fs::write(at("tree/a/b"), "body").unwrap();
            if let Some(folder) = there.strip_suffix('/') {
                fs::create_dir_all(at(folder)).unwrap();
            } else if !there.is_empty() {
                fs::create_dir_all(at(there).parent().unwrap()).unwrap();
                fs::write(at(there), "old").unwrap();
            }
            let (said, notes) = copy(&at(from), &at(to), (from_end, to_end), OURS);
            let row = format!("{from}{from_end} to {to}{to_end} with {there:?}: {said:?} {notes:?}");
            match expected {
                Ok(place) => assert!(said.is_ok() && fs::read(at(place)).unwrap() == b"body", "{row}"),
                Err(words) => assert!(said.unwrap_err().contains(words), "{row}"),
            }
            let left = walk(home.path());
            assert!(!left.iter().any(|name| name.contains("bootdisk-cp")), "{row}: {left:?}");
        }
    }

    #[test]
    fn a_tar_goes_into_a_folder_that_is_there_and_is_refused_before_it_has_come_where_there_is_none() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("file"), "").unwrap();
        let begin = |to: &str, loose: bool| {
            let to = home.path().join(to);
            let note = &mut |_: &str| {};
            let mut put = Put::new(to.as_os_str().as_bytes(), OURS, note);
            put.begin(&Preface { contents: true, loose, ..Preface::default() }).map_err(|error| error.to_string())
        };
        assert_eq!(begin("", true), Ok(()));
        assert!(begin("none", true).unwrap_err().ends_with("/none: no such file or directory"));
        assert!(begin("none/", true).unwrap_err().ends_with("/none/: no such file or directory"));
        assert!(begin("file", true).unwrap_err().ends_with("/file: not a directory"));
        // A folder is made.
        assert_eq!(begin("none", false), Ok(()));
    }

    #[test]
    fn what_the_kernel_makes_up_is_copied_where_it_is_named_and_left_out_below_another_place() {
        let home = tempfile::tempdir().unwrap();
        let to = home.path().join("version");
        copy(Path::new("/proc/version"), &to, ("", ""), OURS).0.unwrap();
        assert_eq!(fs::read(&to).unwrap(), fs::read("/proc/version").unwrap());
        for (from, to) in [("", "x"), ("x", "")] {
            let (mut stream, note) = (Vec::new(), &mut |_: &str| {});
            let taken = take(from.as_bytes(), false, &mut Writer::new(&mut stream), note);
            let put = taken.and_then(|()| read(&mut &stream[..], &mut Put::new(to.as_bytes(), OURS, note)));
            assert!(put.is_err(), "{from:?} {to:?}");
        }
    }

    fn walk(folder: &Path) -> Vec<String> {
        let mut all = Vec::new();
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            all.push(entry.path().display().to_string());
            if entry.file_type().unwrap().is_dir() {
                all.extend(walk(&entry.path()));
            }
        }
        all
    }

    #[test]
    fn modes_times_links_and_odd_names_arrive_and_what_no_stranger_should_make_does_not() {
        let home = tempfile::tempdir().unwrap();
        let from = home.path().join("from");
        fs::create_dir(&from).unwrap();
        let odd = from.join(OsStr::from_bytes(b"\xffodd\nname"));
        fs::write(&odd, vec![7; 200_000]).unwrap();
        fs::hard_link(&odd, from.join("twin")).unwrap();
        symlink("/etc/passwd", from.join("link")).unwrap();
        fs::set_permissions(&odd, fs::Permissions::from_mode(0o4751)).unwrap();
        mknodat(AT_FDCWD, &from.join("pipe"), SFlag::S_IFIFO, Mode::from_bits_truncate(0o600), 0).unwrap();
        fs::hard_link(from.join("pipe"), from.join("pipe's twin")).unwrap();
        _ = std::os::unix::net::UnixListener::bind(from.join("socket")).unwrap();
        fs::hard_link(from.join("socket"), from.join("socket's twin")).unwrap();
        let when = TimeSpec::new(1_000_000_000, 123_456_789);
        utimensat(AT_FDCWD, &odd, &when, &when, UtimensatFlags::NoFollowSymlink).unwrap();
        fs::set_permissions(&from, fs::Permissions::from_mode(0o555)).unwrap();
        utimensat(AT_FDCWD, &from, &when, &when, UtimensatFlags::NoFollowSymlink).unwrap();
        for (options, mode, pipe) in [(OURS, 0o751, false), (Options { owners: true, trusted: true }, 0o4751, true)] {
            let to = home.path().join(format!("to-{pipe}"));
            let (said, notes) = copy(&from, &to, ("", ""), options);
            said.unwrap();
            assert_eq!(notes.len(), 2 + 2 * usize::from(!pipe), "{notes:?}");
            let there = fs::metadata(to.join(odd.file_name().unwrap())).unwrap();
            assert_eq!((there.mode() & 0o7777, there.mtime(), there.mtime_nsec()), (mode, 1_000_000_000, 123_456_789));
            assert_eq!((there.len(), there.ino()), (200_000, fs::metadata(to.join("twin")).unwrap().ino()));
            assert_eq!(fs::read_link(to.join("link")).unwrap(), Path::new("/etc/passwd"));
            assert_eq!(to.join("pipe").exists(), pipe);
            let folder = fs::metadata(&to).unwrap();
            assert_eq!((folder.mode() & 0o777, folder.mtime()), (0o555, 1_000_000_000));
        }
    }

    #[test]
    fn records_of_a_stranger_reach_nothing_outside() {
        let record = |path: &str, kind: Kind| Record {
            path: path.into(),
            kind,
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: (0, 0),
            capability: Vec::new(),
        };
        let file = |path: &str| record(path, Kind::File(4));
        let folder = || record("", Kind::Directory);
        let link = |path: &str, target: &str| record(path, Kind::Symlink(target.into()));
        let hard = |path: &str, target: &str| record(path, Kind::HardLink(target.into()));
        let rows: [(&str, Vec<Record>); 12] = [
            ("x", vec![folder(), file("../secret")]),
            ("x", vec![folder(), file("/secret")]),
            ("x", vec![folder(), file("a/../../secret")]),
            ("x", vec![folder(), file("a//b")]),
            ("x", vec![folder(), file("a/\0")]),
            ("x", vec![folder(), link("out", ".."), file("out/secret")]),
            ("x", vec![folder(), link("out", ".."), record("out", Kind::Directory), file("out/secret")]),
            ("x", vec![folder(), link("out", "../secret"), hard("in", "out/secret")]),
            ("x", vec![folder(), hard("in", "../secret")]),
            ("..", vec![file("")]),
            ("a/../../secret", vec![file("")]),
            ("x", vec![file(""), file("secret")]),
        ];
        for (name, records) in rows {
            let home = tempfile::tempdir().unwrap();
            fs::write(home.path().join("secret"), "safe").unwrap();
            let to = home.path().join("to");
            fs::create_dir(&to).unwrap();
            let note = &mut |_: &str| {};
            let mut put = Put::new(to.as_os_str().as_bytes(), OURS, note);
            put.begin(&Preface { name: name.into(), contents: false, loose: false }).unwrap();
            let said =
                records.iter().try_for_each(|record| put.put(record, &mut &b"evil"[..])).and_then(|()| put.end());
            assert!(said.is_err(), "{name} {records:?}");
            assert_eq!(fs::read(home.path().join("secret")).unwrap(), b"safe", "{name} {records:?}");
            assert_eq!(fs::metadata(home.path().join("secret")).unwrap().nlink(), 1, "{name} {records:?}");
        }
        // A link in the place of a file is replaced, and where it led is as it was.
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("secret"), "safe").unwrap();
        let note = &mut |_: &str| {};
        let mut put = Put::new(home.path().as_os_str().as_bytes(), OURS, note);
        put.begin(&Preface { name: b"x".to_vec(), contents: false, loose: false }).unwrap();
        for record in [folder(), link("a", "../secret"), file("a")] {
            put.put(&record, &mut &b"evil"[..]).unwrap();
        }
        put.end().unwrap();
        assert_eq!(fs::read(home.path().join("secret")).unwrap(), b"safe");
        assert_eq!(fs::read(home.path().join("x/a")).unwrap(), b"evil");
    }
}
