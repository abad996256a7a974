//! The outer archive: a tar that is indexed once and never unpacked.
//!
//! ```text
//!  members: name ─▶ regular file: offset and size
//!                 ─▶ link: the name of another member
//! ```
//!
//! Names are normalised (`./a//b` is `a/b`); the last member of a name is the one that counts. Links are followed
//! only within the index. Understood: ustar, GNU long names, PAX `path`, `linkpath` and `size`. Refused: sparse members, more
//! than [`MAX_MEMBERS`] members, names of more than 4096 bytes, an archive that is cut short within a member. Devices,
//! directories and FIFOs are passed over. The end marker may be one block of zeros or missing, and the padding of the last
//! member too, as in a layer and as GNU tar and Go take it.
//!
//! POSIX.1-2017, pax, "ustar Interchange Format" and "pax Header Block"; tar(5).

use crate::escape::escape;
use crate::image::Blob;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use tar::{EntryType, Header};

/// Most members of an archive: an image has a few for each layer.
pub const MAX_MEMBERS: usize = 100_000;
/// Longest name or link target, in bytes.
const MAX_NAME: usize = 4096;
/// Longest extension header, in bytes.
const MAX_EXTENSION: u64 = 1 << 20;
/// Most links from one name to the next.
const MAX_LINKS: usize = 40;
const BLOCK: u64 = 512;

/// What is wrong with an archive.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The file cannot be read.
    #[error("input or output error")]
    Io(#[from] io::Error),
    /// It ends within a member.
    #[error("it is cut short after {0} bytes")]
    CutShort(u64),
    /// A header block that is none.
    #[error("invalid tar header at byte {0}")]
    Header(u64),
    /// Too many members.
    #[error("more than {MAX_MEMBERS} members")]
    TooManyMembers,
    /// A name, a link or an extension header that is too long.
    #[error("a name or extension header that is too long at byte {0}")]
    TooLong(u64),
    /// A sparse member.
    #[error("sparse members are not supported: {0}")]
    Sparse(String),
    /// A name that leads out of the archive, or is absolute.
    #[error("a path that leaves the archive: {0}")]
    Outside(String),
    /// No such member.
    #[error("no such member: {0}")]
    Missing(String),
    /// Links that lead back to themselves.
    #[error("links that never end: {0}")]
    Links(String),
}

impl ArchiveError {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            ArchiveError::CutShort(_) | ArchiveError::Missing(_) => {
                Some("the archive is damaged or incomplete: save or copy it again")
            }
            _ => None,
        }
    }
}

/// A tar and the places of its members.
#[derive(Debug)]
pub struct Archive {
    file: Arc<File>,
    members: HashMap<Vec<u8>, Member>,
}

#[derive(Debug)]
enum Member {
    Regular {
        offset: u64,
        size: u64,
    },
    /// A symbolic link, relative to its own directory, or a hard link, relative to the root; here both from the root.
    Link(Vec<u8>),
}

/// What extension headers say about the next member.
#[derive(Default)]
struct Extension {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    sparse: bool,
}

impl Archive {
    /// Reads all headers of a regular file.
    pub fn index(file: File) -> Result<Archive, ArchiveError> {
        let length = file.metadata()?.len();
        let mut archive = Archive { file: Arc::new(file), members: HashMap::new() };
        let mut extension = Extension::default();
        let mut at = 0;
        let mut headers = 0;
        loop {
            // No end marker: all members are there, but an extension without its member is not.
            if at >= length && headers > 0 {
                return if extension.is_empty() { Ok(archive) } else { Err(ArchiveError::CutShort(length)) };
            }
            let block = archive.block(at, length)?;
            if is_zero(&block) {
                // One block of zeros ends it if nothing follows.
                return match at + BLOCK == length || is_zero(&archive.block(at + BLOCK, length)?) {
                    true => Ok(archive),
                    false => Err(ArchiveError::Header(at)),
                };
            }
            headers += 1;
            if headers > 4 * MAX_MEMBERS || archive.members.len() > MAX_MEMBERS {
                return Err(ArchiveError::TooManyMembers);
            }
            at = archive.member(at, length, &block, &mut extension)?;
        }
    }

    fn block(&self, at: u64, length: u64) -> Result<[u8; BLOCK as usize], ArchiveError> {
        if at.checked_add(BLOCK).is_none_or(|end| end > length) {
            return Err(ArchiveError::CutShort(length));
        }
        let mut block = [0; BLOCK as usize];
        self.file.read_exact_at(&mut block, at)?;
        Ok(block)
    }

    /// Takes in the member whose header is at `at`; returns where the next one is.
    fn member(&mut self, at: u64, length: u64, block: &[u8], extension: &mut Extension) -> Result<u64, ArchiveError> {
        let header = Header::from_byte_slice(block);
        if !has_checksum(header.as_bytes()) {
            return Err(ArchiveError::Header(at));
        }
        let kind = header.entry_type();
        let is_extension = kind.is_gnu_longname()
            || kind.is_gnu_longlink()
            || kind.is_pax_local_extensions()
            || kind.is_pax_global_extensions();
        let stated = header.entry_size().map_err(|_| ArchiveError::Header(at))?;
        let size = match (is_extension, kind) {
            (true, _) => stated,
            // Types without content, whatever their size says.
            (_, EntryType::Link | EntryType::Symlink | EntryType::Directory) if stated == 0 => 0,
            (_, EntryType::Link | EntryType::Symlink) => return Err(ArchiveError::Header(at)),
            _ => extension.size.unwrap_or(stated),
        };
        let offset = at + BLOCK;
        let next = size.checked_next_multiple_of(BLOCK).and_then(|size| offset.checked_add(size));
        let next = next.filter(|_| offset + size <= length).ok_or(ArchiveError::CutShort(length))?;
        if is_extension {
            if size > MAX_EXTENSION {
                return Err(ArchiveError::TooLong(at));
            }
            let mut content = vec![0; size as usize];
            self.file.read_exact_at(&mut content, offset)?;
            extension.take_in(kind, content).ok_or(ArchiveError::Header(at))?;
        } else {
            self.insert(at, header, std::mem::take(extension), offset, size)?;
        }
        Ok(next)
    }

    fn insert(
        &mut self,
        at: u64,
        header: &Header,
        extension: Extension,
        offset: u64,
        size: u64,
    ) -> Result<(), ArchiveError> {
        let path = extension.path.unwrap_or_else(|| header.path_bytes().into_owned());
        let link = extension.link.or_else(|| header.link_name_bytes().map(|link| link.into_owned()));
        if path.len() > MAX_NAME || link.as_ref().is_some_and(|link| link.len() > MAX_NAME) {
            return Err(ArchiveError::TooLong(at));
        }
        let kind = header.entry_type();
        if extension.sparse || kind.is_gnu_sparse() {
            return Err(ArchiveError::Sparse(escape(&path)));
        }
        // A member that no name can mean is nothing to us.
        let Some(name) = normalise(&path) else { return Ok(()) };
        let parent = name.iter().rposition(|&b| b == b'/').map_or(&b""[..], |slash| &name[..slash]);
        let member = match (kind, link) {
            (EntryType::Symlink, Some(target)) => match target.first() {
                Some(b'/') => Member::Link(target),
                _ => Member::Link([parent, &b"/"[..], &target].concat()),
            },
            (EntryType::Link, Some(target)) => Member::Link(target),
            (EntryType::Symlink | EntryType::Link | EntryType::Directory, _) => return Ok(()),
            (EntryType::Char | EntryType::Block | EntryType::Fifo, _) => return Ok(()),
            _ => Member::Regular { offset, size },
        };
        self.members.insert(name, member);
        Ok(())
    }

    /// Names of all members that may be an image's, in no order.
    pub fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.members.keys().map(Vec::as_slice)
    }

    /// Whether there is a member of this normalised name.
    pub fn has(&self, name: &str) -> bool {
        self.members.contains_key(name.as_bytes())
    }

    /// The regular file of this name, links followed. `name` comes from the image.
    pub fn regular(&self, name: &[u8]) -> Result<Blob, ArchiveError> {
        let outside = || ArchiveError::Outside(escape(name));
        if name.first() == Some(&b'/') {
            return Err(outside());
        }
        let mut key = normalise(name).ok_or_else(outside)?;
        for _ in 0..MAX_LINKS {
            match self.members.get(&key) {
                None => return Err(ArchiveError::Missing(escape(&key))),
                Some(&Member::Regular { offset, size }) => {
                    return Ok(Blob::part(&escape(name), Arc::clone(&self.file), offset, size));
                }
                Some(Member::Link(target)) => key = normalise(target).ok_or_else(outside)?,
            }
        }
        Err(ArchiveError::Links(escape(name)))
    }

    /// The member of this normalised name if it is a regular file itself and no link.
    pub fn regular_itself(&self, name: &str) -> Option<Blob> {
        match self.members.get(name.as_bytes())? {
            &Member::Regular { offset, size } => Some(Blob::part(name, Arc::clone(&self.file), offset, size)),
            Member::Link(_) => None,
        }
    }
}

impl Extension {
    fn is_empty(&self) -> bool {
        self.path.is_none() && self.link.is_none() && self.size.is_none() && !self.sparse
    }

    /// Notes what an extension header says; `None` if it is malformed.
    fn take_in(&mut self, kind: EntryType, content: Vec<u8>) -> Option<()> {
        if kind.is_pax_global_extensions() {
            // A comment is fine. A name or a size for all members is meant to confuse: readers differ on it.
            let mut global = Extension::default();
            global.take_in_records(&content)?;
            let Extension { path: None, link: None, size: None, sparse: false } = global else { return None };
            return Some(());
        }
        if kind.is_pax_local_extensions() {
            return self.take_in_records(&content);
        }
        let text = content.split(|&b| b == 0).next().unwrap_or_default().to_vec();
        match kind.is_gnu_longname() {
            true => self.path = Some(text),
            false => self.link = Some(text),
        }
        Some(())
    }

    /// Records are `LENGTH KEY=VALUE\n`, and LENGTH counts all of it.
    fn take_in_records(&mut self, mut rest: &[u8]) -> Option<()> {
        while !rest.is_empty() {
            let space = rest.iter().take(20).position(|&b| b == b' ')?;
            let length: usize = std::str::from_utf8(&rest[..space]).ok()?.parse().ok()?;
            let record = rest.get(space + 1..length)?.strip_suffix(b"\n")?;
            let equals = record.iter().position(|&b| b == b'=')?;
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            match key {
                b"path" => self.path = Some(value.to_vec()),
                b"linkpath" => self.link = Some(value.to_vec()),
                b"size" => self.size = Some(std::str::from_utf8(value).ok()?.parse().ok()?),
                _ => self.sparse |= key.starts_with(b"GNU.sparse."),
            }
            rest = &rest[length..];
        }
        Some(())
    }
}

fn is_zero(block: &[u8; BLOCK as usize]) -> bool {
    *block == [0; BLOCK as usize]
}

/// Whether the header's checksum is right, summed as unsigned or, as some old tars did, as signed bytes.
fn has_checksum(block: &[u8; BLOCK as usize]) -> bool {
    let Ok(stated) = Header::from_byte_slice(block).cksum() else { return false };
    let field = 148..156;
    let byte = |(i, &b): (usize, &u8)| if field.contains(&i) { b' ' } else { b };
    let unsigned: u32 = block.iter().enumerate().map(|x| u32::from(byte(x))).sum();
    let signed: i32 = block.iter().enumerate().map(|x| i32::from(byte(x) as i8)).sum();
    stated == unsigned || i64::from(stated) == i64::from(signed)
}

/// The name without `.`, empty components and `..`; `None` if it leads above the root, or nowhere.
fn normalise(name: &[u8]) -> Option<Vec<u8>> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in name.split(|&b| b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => _ = parts.pop()?,
            part => parts.push(part),
        }
    }
    (!parts.is_empty()).then(|| parts.join(&b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_normalised_and_never_leave() {
        assert_eq!(normalise(b"./a//b/./c").unwrap(), b"a/b/c");
        assert_eq!(normalise(b"x/../a").unwrap(), b"a");
        assert_eq!(normalise(b"a/../../b"), None);
        assert_eq!(normalise(b".."), None);
        assert_eq!(normalise(b"./"), None);
    }

    fn tar(names: &[&str]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for name in names {
            let mut header = Header::new_ustar();
            header.set_size(700);
            builder.append_data(&mut header, name, &[7u8; 700][..]).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn indexed(bytes: &[u8]) -> Result<usize, String> {
        let mut file = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut file, bytes).unwrap();
        Archive::index(file).map(|archive| archive.names().count()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_end_marker_may_be_short_or_missing_and_a_member_may_not() {
        let whole = tar(&["a", "b"]);
        let marker = whole.len() - 2 * BLOCK as usize;
        let padding = 1024 - 700;
        for cut in [whole.len(), whole.len() - 512, marker, marker - 1, marker - padding] {
            assert_eq!(indexed(&whole[..cut]), Ok(2), "{cut}");
        }
        for cut in [marker - padding - 1, marker - 1024, marker - 1025, marker - 1500, 100, 511, 512, 512 + 699] {
            assert_eq!(indexed(&whole[..cut]), Err(format!("it is cut short after {cut} bytes")), "{cut}");
        }
        // Within the marker's own blocks something is missing, too.
        for cut in [marker + 100, whole.len() - 100] {
            assert!(indexed(&whole[..cut]).is_err(), "{cut}");
        }
        assert_eq!(indexed(&whole[..marker - 1536]), Ok(1), "a cut between two members cannot be seen here");
        let more = [&whole[..marker + 512], &whole[..marker]].concat();
        assert_eq!(indexed(&more), Err(format!("invalid tar header at byte {marker}")));
        let mut extension = Header::new_ustar();
        extension.set_entry_type(EntryType::XHeader);
        extension.set_size(12);
        extension.set_path("x").unwrap();
        extension.set_cksum();
        let orphan = [&whole[..marker], extension.as_bytes(), b"12 path=a/b\n", &[0; 500]].concat();
        assert_eq!(indexed(&orphan), Err(format!("it is cut short after {} bytes", orphan.len())));
    }

    #[test]
    fn pax_records_are_read_by_their_length() {
        let mut extension = Extension::default();
        assert!(extension.take_in_records(b"24 SCHILY.xattr.a=\n 9 x\n12 path=a/b\n11 size=42\n").is_some());
        assert_eq!((extension.path.as_deref(), extension.size), (Some(&b"a/b"[..]), Some(42)));
        let mut global = Extension::default();
        assert!(global.take_in(EntryType::XGlobalHeader, b"13 comment=x\n".to_vec()).is_some());
        assert!(global.take_in(EntryType::XGlobalHeader, b"11 size=42\n".to_vec()).is_none());
        for bad in [&b"5 path=a/b\n"[..], b"99 path=a\n", b"x path=a\n", b"12 path=a/b", b"11 size=-1\n", b"6 path\n"] {
            assert!(Extension::default().take_in_records(bad).is_none(), "{}", escape(bad));
        }
    }
}
