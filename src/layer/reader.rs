//! The reader: headers until a member is complete, then its body.
//!
//! Where readers of the field disagree, and what is done here (measured on GNU tar, bsdtar, Python, Go and two Rust
//! crates, see tests/data/tar-cases):
//!
//! | input | here |
//! |---|---|
//! | PAX and header give a value | PAX |
//! | a PAX name *and* a GNU long name; two `x`, two `L` or two `K` headers | refused |
//! | a size on anything but a regular file | refused: some skip a body and some read it as members |
//! | a numeric field that is no number, in any header | refused, as Go does |
//! | a file of type NUL named `x/` | a directory, as in v7; refused when it has a size |
//! | a file of type `0` named `x/` | a file, as Go has it; GNU tar and bsdtar make a directory of it |
//! | unknown type | a regular file, as POSIX says, with a warning |
//! | `V` label | skipped |
//! | one block of zeros | the end, refused if anything but the stream's end follows |
//! | two blocks of zeros | the end; what follows is read and ignored |
//! | no end marker | fine at a block's edge |

use super::entry::{Entry, EntryKind};
use super::error::{Error, ErrorKind};
use super::header::{Dialect, Header};
use super::input::{Input, padding};
use super::pax::{Extended, check_global};
use super::sparse::{self, Format, Map};
use super::warnings::{WarningKind, Warnings};
use super::writer::Ranges;
use super::{Limits, number};
use crate::rootfs::{Attrs, BodySink, Time, tree};
use std::io::BufRead;

/// Highest user or group number: 2^32 - 1 means "nobody was given" to the kernel.
const MAX_ID: i128 = (1 << 32) - 2;
/// Highest major number of a Linux device (12 bits).
const MAX_MAJOR: i128 = (1 << 12) - 1;
/// Highest minor number of a Linux device (20 bits).
const MAX_MINOR: i128 = (1 << 20) - 1;

/// Reads one layer.
pub struct Reader<'a> {
    input: Input<'a>,
    limits: Limits,
    body: Option<Body>,
    ended: bool,
}

/// The body that the last entry announced and nobody has read yet.
struct Body {
    entry: Box<[u8]>,
    real_size: u64,
    /// Bytes in the archive, after a map at the body's head, and the zeros up to the next block.
    stored: u64,
    padding: u64,
    map: Option<Map>,
}

/// Extension headers that wait for their member.
#[derive(Default)]
struct Pending {
    headers: u32,
    extended: Option<Extended>,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.extended.is_none() && self.long_name.is_none() && self.long_link.is_none()
    }
}

impl<'a> Reader<'a> {
    /// A reader at the start of an uncompressed layer.
    pub fn new(stream: &'a mut dyn BufRead, limits: Limits) -> Self {
        Reader { input: Input::new(stream), limits, body: None, ended: false }
    }

    /// Bytes of the stream read so far.
    pub fn offset(&self) -> u64 {
        self.input.offset
    }

    /// The next member, or nothing once the layer has been read to the end of the stream. A body that was not read is
    /// passed over.
    ///
    /// # Errors
    /// Anything that is not one archive with one meaning, or more than [`Limits`] allow. No more can be read then.
    pub fn next_entry(&mut self, warnings: &mut Warnings) -> Result<Option<Entry>, Error> {
        self.skip_body()?;
        let mut pending = Pending::default();
        while !self.ended {
            let offset = self.input.offset;
            let at = |kind| Error { offset, entry: None, kind };
            let Some(block) = self.input.block()? else {
                self.ended = true;
                return if pending.is_empty() { Ok(None) } else { Err(at(ErrorKind::OrphanExtension)) };
            };
            let header = Header(block);
            if header.is_zero() {
                if !pending.is_empty() {
                    return Err(at(ErrorKind::OrphanExtension));
                }
                self.end()?;
                break;
            }
            if !header.checksum_matches() {
                return Err(at(ErrorKind::Checksum));
            }
            if let Some((field, raw)) = header.bad_number() {
                return Err(at(ErrorKind::NotANumber { field, value: raw.into() }));
            }
            match header.typeflag() {
                b'x' | b'X' | b'g' | b'L' | b'K' => self.extension(&header, &mut pending, offset, warnings)?,
                b'V' if pending.is_empty() => {
                    let size = self.size(&header, None).map_err(at)?;
                    self.input.skip(size)?;
                    self.input.skip_padding(padding(size))?;
                }
                b'V' => return Err(at(ErrorKind::MisplacedExtension(b'V'))),
                b'D' | b'M' | b'N' => return Err(at(ErrorKind::Unsupported(header.typeflag()))),
                _ => return self.member(&header, pending, offset, warnings).map(Some),
            }
        }
        Ok(None)
    }

    /// Streams the body of the last entry into `sink`: [`BodySink::begin`], data and holes, [`BodySink::finish`].
    /// For an entry without a body, or when it has been read already, an empty body.
    ///
    /// # Errors
    /// The layer ends early, or the sink fails; the sink's body has been abandoned then.
    pub fn body<S: BodySink>(&mut self, sink: &mut S) -> Result<S::Body, Error> {
        let Some(body) = self.body.take() else { return Ok(S::Body::default()) };
        let offset = self.input.offset;
        let store = |e| Error { offset, entry: None, kind: ErrorKind::Store(e) };
        let result = sink
            .begin(body.real_size)
            .map_err(store)
            .and_then(|()| copy_body(&mut self.input, &body, sink))
            .and_then(|()| sink.finish().map_err(store));
        if result.is_err() {
            sink.abandon();
        }
        result.map_err(|error| Error { entry: Some(body.entry), ..error })
    }

    /// Where there is data in the body of the last entry, if it has holes.
    pub fn ranges(&self) -> Option<&Ranges> {
        Some(&self.body.as_ref()?.map.as_ref()?.ranges)
    }

    /// Passes over the body of the last entry.
    pub fn skip_body(&mut self) -> Result<(), Error> {
        let Some(body) = self.body.take() else { return Ok(()) };
        self.input
            .skip(body.stored)
            .and_then(|()| self.input.skip_padding(body.padding))
            .map_err(|error| Error { entry: Some(body.entry), ..error })
    }

    /// After the first block of zeros.
    fn end(&mut self) -> Result<(), Error> {
        self.ended = true;
        let offset = self.input.offset;
        match self.input.block()? {
            None => Ok(()),
            Some(block) if Header(block).is_zero() => self.input.drain(),
            Some(_) => Err(Error { offset, entry: None, kind: ErrorKind::DataAfterZeroBlock }),
        }
    }

    fn extension(
        &mut self,
        header: &Header,
        pending: &mut Pending,
        offset: u64,
        warnings: &mut Warnings,
    ) -> Result<(), Error> {
        let at = |kind| Error { offset, entry: None, kind };
        pending.headers += 1;
        if pending.headers > self.limits.extension_headers {
            return Err(at(ErrorKind::TooManyExtensions(self.limits.extension_headers)));
        }
        let size = self.number("size", header.size()).and_then(non_negative("size")).map_err(at)?;
        let limit = self.limits.extension_bytes;
        if size > limit {
            return Err(at(ErrorKind::ExtensionTooLarge { size, limit }));
        }
        let bytes = self.input.bytes(size)?;
        self.input.skip(padding(size))?;
        let typeflag = header.typeflag();
        let repeated = match typeflag {
            b'x' | b'X' => {
                let extended = Extended::parse(&bytes, &self.limits, warnings).map_err(at)?;
                pending.extended.replace(extended).is_some()
            }
            // GNU tar takes the empty name for it, Go the one in the header.
            b'L' | b'K' if matches!(bytes.first(), None | Some(0)) => return Err(at(ErrorKind::EmptyLongName)),
            b'L' => pending.long_name.replace(until_nul(bytes)).is_some(),
            b'K' => pending.long_link.replace(until_nul(bytes)).is_some(),
            _ => {
                check_global(&bytes, warnings).map_err(at)?;
                false
            }
        };
        if repeated { Err(at(ErrorKind::RepeatedExtension(typeflag))) } else { Ok(()) }
    }

    fn member(
        &mut self,
        header: &Header,
        pending: Pending,
        offset: u64,
        warnings: &mut Warnings,
    ) -> Result<Entry, Error> {
        let mut extended = pending.extended.unwrap_or_default();
        let at = |kind| Error { offset, entry: None, kind };
        let sparse_name = extended.sparse.name.take();
        if pending.long_name.is_some() && (extended.path.is_some() || sparse_name.is_some()) {
            return Err(at(ErrorKind::TwoNames("name")));
        }
        if pending.long_link.is_some() && extended.linkpath.is_some() {
            return Err(at(ErrorKind::TwoNames("link target")));
        }
        let path = match (sparse_name.or(extended.path.take()), pending.long_name) {
            (Some(path), _) => path.into_vec(),
            (None, Some(path)) => path,
            (None, None) => header.path(),
        };
        let linkname = match (extended.linkpath.take(), pending.long_link) {
            (Some(link), _) => link.into_vec(),
            (None, Some(link)) => link,
            (None, None) => header.linkname().to_vec(),
        };
        let named = |error: Error| Error { entry: Some(path.as_slice().into()), ..error };
        let at = |kind| named(at(kind));

        let stored = self.size(header, extended.size).map_err(at)?;
        let attrs = self.attrs(header, &mut extended, warnings, &path).map_err(at)?;
        let kind = self.kind(header, &extended, linkname, &path, stored, warnings).map_err(at)?;
        let kind = match kind {
            EntryKind::File { .. } => {
                let size = self.announce_body(header, extended, stored, &path).map_err(named)?;
                EntryKind::File { size }
            }
            other if stored > 0 => {
                return Err(at(ErrorKind::BodyNotAllowed { what: other.name(), size: stored }));
            }
            _ if extended.sparse.format().map_err(at)?.is_some() => {
                return Err(at(ErrorKind::Sparse("belongs to something that is not a regular file")));
            }
            other => other,
        };
        Ok(Entry { path, attrs, kind, offset })
    }

    fn attrs(
        &self,
        header: &Header,
        extended: &mut Extended,
        warnings: &mut Warnings,
        path: &[u8],
    ) -> Result<Attrs, ErrorKind> {
        let id = |field, raw, record: Option<u64>| {
            let value = self.number(field, raw)?;
            in_range(field, record.map_or(value, i128::from), MAX_ID)
        };
        let mode = self.number("mode", header.mode())?;
        if mode < 0 {
            return Err(ErrorKind::OutOfRange { field: "mode", value: mode });
        }
        let secs = self.number("mtime", header.mtime())?;
        let mtime = extended.mtime.unwrap_or_else(|| {
            let near = secs.clamp(i64::MIN.into(), i64::MAX.into());
            if near != secs {
                warnings.add(WarningKind::TimeClamped, path);
            }
            Time { secs: near as i64, nanos: 0 }
        });
        Ok(Attrs {
            mode: (mode & 0o7777) as u16,
            uid: id("uid", header.uid(), extended.uid)?,
            gid: id("gid", header.gid(), extended.gid)?,
            mtime,
            xattrs: std::mem::take(&mut extended.xattrs).finish(),
        })
    }

    fn kind(
        &self,
        header: &Header,
        extended: &Extended,
        target: Vec<u8>,
        path: &[u8],
        stored: u64,
        warnings: &mut Warnings,
    ) -> Result<EntryKind, ErrorKind> {
        let device = || -> Result<(u32, u32), ErrorKind> {
            let number = |field, raw, record: Option<u64>, max| {
                in_range(field, record.map_or(self.number(field, raw)?, i128::from), max)
            };
            Ok((
                number("devmajor", header.devmajor(), extended.devmajor, MAX_MAJOR)?,
                number("devminor", header.devminor(), extended.devminor, MAX_MINOR)?,
            ))
        };
        if matches!(header.typeflag(), b'1' | b'2') && target.is_empty() {
            return Err(ErrorKind::NoTarget);
        }
        Ok(match header.typeflag() {
            // Version 7 had no type for directories.
            0 if path.ends_with(b"/") => EntryKind::Directory,
            0 | b'0' | b'7' | b'S' => EntryKind::File { size: stored },
            b'1' => EntryKind::HardLink(target),
            b'2' if target.len() > tree::SYMLINK_MAX => return Err(ErrorKind::TargetTooLong(target.len())),
            b'2' => EntryKind::Symlink(target),
            b'3' => device().map(|(major, minor)| EntryKind::CharDevice { major, minor })?,
            b'4' => device().map(|(major, minor)| EntryKind::BlockDevice { major, minor })?,
            b'5' => EntryKind::Directory,
            b'6' => EntryKind::Fifo,
            _ => {
                warnings.add(WarningKind::UnknownType, path);
                EntryKind::File { size: stored }
            }
        })
    }

    /// Notes the body of a regular file and returns the file's length.
    fn announce_body(&mut self, header: &Header, extended: Extended, stored: u64, path: &[u8]) -> Result<u64, Error> {
        let realsize = extended.realsize;
        let format = extended.sparse.format().map_err(|kind| self.input.error(kind))?;
        let padding = padding(stored);
        let mut left = stored;
        let map = match (header.typeflag(), format) {
            (b'S', None) if header.dialect() == Dialect::Gnu => {
                let ranges = sparse::old_gnu(header, &mut self.input, &self.limits)?;
                let real = self.number("realsize", header.sparse_real_size()).and_then(non_negative("realsize"));
                Some((ranges, realsize.map_or(real, Ok).map_err(|kind| self.input.error(kind))?))
            }
            (b'S', _) => return Err(self.input.error(ErrorKind::Unsupported(b'S'))),
            (_, Some((Format::Records(ranges), real))) => Some((ranges, real)),
            (_, Some((Format::Body, real))) => {
                let (ranges, taken) = sparse::from_body(&mut self.input, stored, &self.limits)?;
                left -= taken;
                Some((ranges, real))
            }
            (_, None) => None,
        };
        let map = map.map(|(ranges, real)| Map::new(ranges, real, left));
        let map = map.transpose().map_err(|kind| self.input.error(kind))?;
        let real_size = map.as_ref().map_or(stored, |map| map.real_size);
        if realsize.is_some_and(|size| size != real_size) {
            return Err(self.input.error(ErrorKind::Sparse("comes with two different sizes")));
        }
        self.check_size(real_size).map_err(|kind| self.input.error(kind))?;
        self.body = Some(Body { entry: path.into(), real_size, stored: left, padding, map });
        Ok(real_size)
    }

    /// The bytes of body in the archive: PAX before the header, and below the limit in any case.
    fn size(&self, header: &Header, record: Option<u64>) -> Result<u64, ErrorKind> {
        let size = self.number("size", header.size())?;
        let size = record.map_or_else(|| non_negative("size")(size), Ok)?;
        self.check_size(size)?;
        Ok(size)
    }

    fn check_size(&self, size: u64) -> Result<(), ErrorKind> {
        match self.limits.file_bytes {
            limit if size > limit => Err(ErrorKind::FileTooLarge { size, limit }),
            _ => Ok(()),
        }
    }

    fn number(&self, field: &'static str, raw: &[u8]) -> Result<i128, ErrorKind> {
        number::field(raw).ok_or_else(|| ErrorKind::NotANumber { field, value: raw.into() })
    }
}

fn copy_body<S: BodySink>(input: &mut Input, body: &Body, sink: &mut S) -> Result<(), Error> {
    match &body.map {
        None => input.copy(body.stored, |data| sink.write(data))?,
        Some(map) => {
            let mut end = 0;
            for &(offset, length) in &map.ranges {
                hole(input, sink, offset - end)?;
                input.copy(length, |data| sink.write(data))?;
                end = offset + length;
            }
            hole(input, sink, map.real_size - end)?;
        }
    }
    input.skip_padding(body.padding)
}

fn hole<S: BodySink>(input: &Input, sink: &mut S, length: u64) -> Result<(), Error> {
    match length {
        0 => Ok(()),
        _ => sink.hole(length).map_err(|e| input.error(ErrorKind::Store(e))),
    }
}

fn non_negative(field: &'static str) -> impl Fn(i128) -> Result<u64, ErrorKind> {
    move |value| u64::try_from(value).map_err(|_| ErrorKind::OutOfRange { field, value })
}

fn in_range(field: &'static str, value: i128, max: i128) -> Result<u32, ErrorKind> {
    match value {
        _ if (0..=max).contains(&value) => Ok(value as u32),
        _ => Err(ErrorKind::OutOfRange { field, value }),
    }
}

/// GNU long names end with a NUL; what is behind the first one is not part of the name.
fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(nul) = bytes.iter().position(|&b| b == 0) {
        bytes.truncate(nul);
    }
    bytes
}
