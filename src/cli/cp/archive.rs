//! A tar on a standard stream: what is copied goes into one, or comes out of one.

use crate::copy::{Kind, Preface, Record, Sink};
use crate::escape::escape;
use crate::formats::unpack;
use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use tar::{Builder, EntryType, Header};

/// Records become a tar: `name`, `name/…`, or `./…` for what is in a folder.
pub struct Tar<W: Write> {
    builder: Builder<W>,
    prefix: Vec<u8>,
}

impl<W: Write> Tar<W> {
    /// Into this.
    pub fn new(out: W) -> Tar<W> {
        Tar { builder: Builder::new(out), prefix: Vec::new() }
    }

    fn path(&self, below: &[u8]) -> PathBuf {
        let whole = match below.is_empty() {
            true => self.prefix.clone(),
            false => [&self.prefix[..], b"/", below].concat(),
        };
        PathBuf::from(OsStr::from_bytes(&whole))
    }
}

impl<W: Write> Sink for Tar<W> {
    fn begin(&mut self, preface: &Preface) -> io::Result<()> {
        self.prefix = if preface.contents { b".".to_vec() } else { preface.name.clone() };
        Ok(())
    }

    fn put(&mut self, record: &Record, body: &mut dyn Read) -> io::Result<()> {
        let path = self.path(&record.path);
        let mut header = Header::new_gnu();
        header.set_mode(record.mode);
        header.set_uid(record.uid.into());
        header.set_gid(record.gid.into());
        header.set_mtime(u64::try_from(record.mtime.0).unwrap_or(0));
        header.set_size(0);
        let kind = match record.kind {
            Kind::File(_) => EntryType::Regular,
            Kind::Directory => EntryType::Directory,
            Kind::Symlink(_) => EntryType::Symlink,
            Kind::HardLink(_) => EntryType::Link,
            Kind::Fifo => EntryType::Fifo,
            Kind::Character(..) => EntryType::Char,
            Kind::Block(..) => EntryType::Block,
        };
        header.set_entry_type(kind);
        match &record.kind {
            Kind::File(length) => {
                header.set_size(*length);
                self.builder.append_data(&mut header, path, body.take(*length))
            }
            Kind::Symlink(target) => self.builder.append_link(&mut header, path, Path::new(OsStr::from_bytes(target))),
            Kind::HardLink(first) => {
                let first = self.path(first);
                self.builder.append_link(&mut header, path, first)
            }
            Kind::Character(major, minor) | Kind::Block(major, minor) => {
                header.set_device_major(*major)?;
                header.set_device_minor(*minor)?;
                self.builder.append_data(&mut header, path, io::empty())
            }
            Kind::Directory => {
                let mut path = path.into_os_string();
                path.push("/");
                self.builder.append_data(&mut header, path, io::empty())
            }
            Kind::Fifo => self.builder.append_data(&mut header, path, io::empty()),
        }
    }

    fn end(&mut self) -> io::Result<()> {
        self.builder.finish()?;
        self.builder.get_mut().flush()
    }
}

/// Gives a sink what is in a tar, packed or not.
///
/// # Errors
/// When it is no tar, or the sink fails.
pub fn take(from: &mut dyn Read, sink: &mut dyn Sink, note: &mut dyn FnMut(&str)) -> io::Result<()> {
    // Before anything is read: whoever cannot take it says so.
    sink.begin(&Preface { name: Vec::new(), contents: true, loose: true })?;
    let mut archive = tar::Archive::new(unpack::reader(from)?);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = plain(&entry.path_bytes());
        // The folder itself is the destination, which stays as it is.
        if path.is_empty() {
            continue;
        }
        let extensions = entry.pax_extensions()?;
        if extensions
            .is_some_and(|mut all| all.any(|one| one.is_ok_and(|one| one.key_bytes().starts_with(b"GNU.sparse."))))
        {
            return Err(io::Error::other(format!(
                "cannot copy {}: it is sparse in the way of pax, which is not read; make the tar without --sparse",
                escape(&path)
            )));
        }
        let header = entry.header();
        let target = || entry.link_name_bytes().map(|target| target.into_owned()).unwrap_or_default();
        let device = || Ok::<_, io::Error>((header.device_major()?.unwrap_or(0), header.device_minor()?.unwrap_or(0)));
        let kind = match header.entry_type() {
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => Kind::File(entry.size()),
            EntryType::Directory => Kind::Directory,
            EntryType::Symlink => Kind::Symlink(target()),
            EntryType::Link => Kind::HardLink(plain(&target())),
            EntryType::Fifo => Kind::Fifo,
            EntryType::Char => device().map(|(major, minor)| Kind::Character(major, minor))?,
            EntryType::Block => device().map(|(major, minor)| Kind::Block(major, minor))?,
            _ => {
                note(&format!("what is of no known kind is left out: {}", escape(&path)));
                continue;
            }
        };
        let (uid, gid) = (header.uid()?, header.gid()?);
        let id = |id: u64| u32::try_from(id).map_err(|_| io::Error::from(io::ErrorKind::InvalidData));
        let record = Record {
            mode: header.mode()? & 0o7777,
            uid: id(uid)?,
            gid: id(gid)?,
            mtime: (i64::try_from(header.mtime()?).unwrap_or(0), 0),
            capability: Vec::new(),
            path,
            kind,
        };
        sink.put(&record, &mut entry)?;
    }
    sink.end()
}

/// A name as a record has it: from the archive's root down.
fn plain(path: &[u8]) -> Vec<u8> {
    let steps: Vec<&[u8]> = path.split(|byte| *byte == b'/').filter(|step| !step.is_empty() && *step != b".").collect();
    steps.join(&b'/')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::copy::record::Writer;

    #[test]
    fn a_tar_comes_out_as_it_went_in() {
        let long = "d/".to_owned() + &"n".repeat(200);
        let record = |path: &str, kind: Kind| Record {
            path: path.into(),
            kind,
            mode: 0o4750,
            uid: 7,
            gid: 3_000_000,
            mtime: (1_000_000_000, 0),
            capability: Vec::new(),
        };
        let records = [
            record("d", Kind::Directory),
            record(&long, Kind::File(3)),
            record("d/hard", Kind::HardLink(long.clone().into())),
            record("d/soft", Kind::Symlink("x".repeat(150).into())),
            record("d/pipe", Kind::Fifo),
            record("d/null", Kind::Character(1, 3)),
            record("d/disk", Kind::Block(8, 1)),
        ];
        let mut bytes = Vec::new();
        let mut tar = Tar::new(&mut bytes);
        tar.begin(&Preface { name: Vec::new(), contents: true, loose: true }).unwrap();
        records.iter().for_each(|record| tar.put(record, &mut &b"abc"[..]).unwrap());
        tar.end().unwrap();
        drop(tar);
        let (mut stream, mut expected) = (Vec::new(), Vec::new());
        take(&mut &bytes[..], &mut Writer::new(&mut stream), &mut |text| panic!("{text}")).unwrap();
        let mut writer = Writer::new(&mut expected);
        writer.begin(&Preface { name: Vec::new(), contents: true, loose: true }).unwrap();
        records.iter().for_each(|record| writer.put(record, &mut &b"abc"[..]).unwrap());
        writer.end().unwrap();
        assert!(stream == expected);
    }
}
