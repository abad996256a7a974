//! A file or a folder becomes records. What a path stands for is as `docker cp` has it: `x/.` is what is in `x`, a link
//! is copied as a link unless its path ends with a slash or it is to be followed.

use super::{Kind, Preface, Record, Sink, at};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The path without what its end says, the preface, and whether a link at its end is followed.
pub fn split(path: &[u8]) -> (&[u8], Preface, bool) {
    let mut rest = path;
    let (mut contents, mut slash) = (matches!(path, b"." | b".."), false);
    loop {
        if let Some(before) = rest.strip_suffix(b"/.").filter(|_| !slash) {
            (rest, contents) = (before, true);
        } else if let Some(before) = rest.strip_suffix(b"/") {
            (rest, slash) = (before, true);
        } else {
            break;
        }
    }
    // What is left of `/` is nothing, and its folder has no name.
    let last = rest.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    contents |= rest.is_empty() || last == b".." || last == b".";
    let name = if contents { Vec::new() } else { last.to_vec() };
    (if rest.is_empty() { b"/" } else { rest }, Preface { name, contents, loose: false }, slash || contents)
}

/// Gives a sink everything at `path`. What is left out is told to `note`, a line each.
///
/// # Errors
/// When it cannot be read, or the sink fails.
pub fn take(path: &[u8], follow: bool, sink: &mut dyn Sink, note: &mut dyn FnMut(&str)) -> io::Result<()> {
    if path.is_empty() {
        return Err(io::Error::other("an empty path is none"));
    }
    let (place, preface, followed) = split(path);
    let root = PathBuf::from(OsStr::from_bytes(place));
    let facts = if follow || followed { fs::metadata(&root) } else { root.symlink_metadata() };
    let facts = facts.map_err(|error| at("copy", path, &error))?;
    if followed && !facts.is_dir() {
        return Err(at("copy", path, &io::ErrorKind::NotADirectory.into()));
    }
    sink.begin(&preface)?;
    let mut links = HashMap::new();
    let device = facts.dev();
    let mut todo = vec![(root, Vec::new(), Some(facts))];
    while let Some((full, path, facts)) = todo.pop() {
        let shown = full.as_os_str().as_bytes();
        let facts = match facts.map_or_else(|| full.symlink_metadata(), Ok) {
            // It was there a moment ago.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            facts => facts.map_err(|error| at("read", shown, &error))?,
        };
        let Some(kind) = kind_of(&full, &path, &facts, &mut links)? else {
            note(&format!("a socket is left out: {}", crate::escape::escape(shown)));
            continue;
        };
        let record = Record {
            path,
            mode: facts.mode() & 0o7777,
            uid: facts.uid(),
            gid: facts.gid(),
            mtime: (facts.mtime(), facts.mtime_nsec() as u32),
            capability: capability(&full, &facts),
            kind,
        };
        match record.kind {
            Kind::File(_) => file(&full, record, sink, note)?,
            Kind::Directory if facts.dev() != device && is_the_kernels(&full) => {
                note(&format!("what the kernel shows there is left out: {}", crate::escape::escape(shown)));
                sink.put(&record, &mut io::empty())?;
            }
            Kind::Directory => {
                sink.put(&record, &mut io::empty())?;
                todo.extend(children(&full, &record.path)?);
            }
            _ => sink.put(&record, &mut io::empty())?,
        }
    }
    sink.end()
}

/// A file and its body. One that is gone by now is passed over.
fn file(full: &Path, mut record: Record, sink: &mut dyn Sink, note: &mut dyn FnMut(&str)) -> io::Result<()> {
    let shown = full.as_os_str().as_bytes();
    let mut body = match open(full) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened.map_err(|error| at("read", shown, &error))?,
    };
    if record.kind == Kind::File(0) {
        // What the kernel makes up has no length before it is read.
        let mut bytes = Vec::new();
        if let Err(error) = (&mut body).take(MADE_UP).read_to_end(&mut bytes) {
            note(&at("read", shown, &error).to_string());
        }
        record.kind = Kind::File(bytes.len() as u64);
        return sink.put(&record, &mut &bytes[..]);
    }
    let mut counted = Counted { body, bytes: 0 };
    sink.put(&record, &mut counted)?;
    if let Kind::File(length) = record.kind
        && counted.bytes < length
    {
        note(&format!("became shorter while it was copied, and ends with zeros: {}", crate::escape::escape(shown)));
    }
    Ok(())
}

/// Longest file without a length that is read.
const MADE_UP: u64 = 1 << 20;

struct Counted {
    body: File,
    bytes: u64,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.body.read(buffer)?;
        self.bytes += count as u64;
        Ok(count)
    }
}

/// Whether a folder is the beginning of a file system that is no storage (statfs(2), `f_type`): proc, sysfs, cgroup, cgroup2,
/// devpts, debugfs, tracefs, securityfs, bpf, pstore, configfs, fusectl, efivarfs, mqueue, hugetlbfs, binfmt_misc.
fn is_the_kernels(full: &Path) -> bool {
    const KINDS: [i64; 16] = [
        0x9fa0,
        0x6265_6572,
        0x0027_e0eb,
        0x6367_7270,
        0x1cd1,
        0x6462_6720,
        0x7472_6163,
        0x7363_6673,
        0xcafe_4a11,
        0x6165_676c,
        0x6265_6570,
        0x6573_5543,
        0xde5e_81e4,
        0x1980_0202,
        0x9584_58f6,
        0x4249_4e4d,
    ];
    #[allow(clippy::unnecessary_cast, reason = "the type is another one with musl")]
    nix::sys::statfs::statfs(full).is_ok_and(|facts| KINDS.contains(&(facts.filesystem_type().0 as i64)))
}

/// Paths and places in a folder, the last name first.
type Child = (PathBuf, Vec<u8>, Option<Metadata>);

fn children(folder: &Path, path: &[u8]) -> io::Result<Vec<Child>> {
    let read = || fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>();
    let mut names = match read() {
        // It was there a moment ago.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        names => names.map_err(|error| at("read", folder.as_os_str().as_bytes(), &error))?,
    };
    names.sort_unstable_by(|one, other| other.cmp(one));
    let below = |name: &OsStr| match path.is_empty() {
        true => name.as_bytes().to_vec(),
        false => [path, b"/", name.as_bytes()].concat(),
    };
    Ok(names.iter().map(|name| (folder.join(name), below(name), None)).collect())
}

/// `None` for a socket.
fn kind_of(
    full: &Path,
    path: &[u8],
    facts: &Metadata,
    links: &mut HashMap<(u64, u64), Vec<u8>>,
) -> io::Result<Option<Kind>> {
    let kind = facts.file_type();
    if !facts.is_dir() && !kind.is_socket() && facts.nlink() > 1 {
        if let Some(first) = links.get(&(facts.dev(), facts.ino())) {
            return Ok(Some(Kind::HardLink(first.clone())));
        }
        links.insert((facts.dev(), facts.ino()), path.to_vec());
    }
    let device = || (libc::major(facts.rdev()) as u32, libc::minor(facts.rdev()) as u32);
    Ok(Some(match () {
        () if facts.is_dir() => Kind::Directory,
        () if facts.is_file() => Kind::File(facts.len()),
        () if facts.is_symlink() => {
            let target = fs::read_link(full).map_err(|error| at("read", full.as_os_str().as_bytes(), &error))?;
            Kind::Symlink(target.into_os_string().as_bytes().to_vec())
        }
        () if kind.is_fifo() => Kind::Fifo,
        () if kind.is_char_device() => Kind::Character(device().0, device().1),
        () if kind.is_block_device() => Kind::Block(device().0, device().1),
        () => return Ok(None),
    }))
}

/// A file that may have become something else by now is not waited for.
fn open(full: &Path) -> io::Result<File> {
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;
    OpenOptions::new().read(true).custom_flags(flags).open(full)
}

fn capability(full: &Path, facts: &Metadata) -> Vec<u8> {
    let mut value = vec![0u8; 256];
    let (Ok(path), true) = (std::ffi::CString::new(full.as_os_str().as_bytes()), facts.is_file()) else {
        return Vec::new();
    };
    // SAFETY: two strings that end, and as much room as is said.
    let length = unsafe {
        libc::lgetxattr(path.as_ptr(), c"security.capability".as_ptr(), value.as_mut_ptr().cast(), value.len())
    };
    value.truncate(usize::try_from(length).unwrap_or(0));
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_path_says_what_of_it_is_copied() {
        for (path, place, name, contents, follow) in [
            ("a", "a", "a", false, false),
            ("/a/b", "/a/b", "b", false, false),
            ("a/", "a", "a", false, true),
            ("a//", "a", "a", false, true),
            ("a/.", "a", "", true, true),
            ("a/./", "a/.", "", true, true),
            (".", ".", "", true, true),
            ("..", "..", "", true, true),
            ("a/..", "a/..", "", true, true),
            ("/", "/", "", true, true),
            ("/.", "/", "", true, true),
        ] {
            let (found, preface, followed) = split(path.as_bytes());
            let name = name.as_bytes().to_vec();
            assert_eq!(
                (found, preface, followed),
                (place.as_bytes(), Preface { name, contents, loose: false }, follow),
                "{path}"
            );
        }
    }
}
