//! Records as bytes.
//!
//! ```text
//!  stream   "bdcp" version u8  contents, loose: bits of a u8  name text  ─ record … ─ 255
//!  record   kind u8  mode uid gid u32  seconds i64  nanos u32  path text  capability text  then by kind:
//!           0 file: length u64, bytes   1 folder   2 link: text   3 hard link: text   4 fifo
//!           5 character, 6 block device: major minor u32
//!  text     length u16, bytes                                                            all little-endian
//! ```
//!
//! The last byte tells a whole stream from one that broke off.

use super::{Kind, Preface, Record, Sink};
use std::io::{self, Read, Write};

const MAGIC: &[u8; 5] = b"bdcp\x01";
const END: u8 = 255;
/// Bytes moved at once.
const CHUNK: usize = 64 << 10;

/// Records into a stream.
pub struct Writer<W> {
    out: W,
}

impl<W: Write> Writer<W> {
    /// Into this.
    pub fn new(out: W) -> Writer<W> {
        Writer { out }
    }
}

fn text(bytes: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let length = u16::try_from(bytes.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidFilename))?;
    out.extend(length.to_le_bytes());
    out.extend(bytes);
    Ok(())
}

impl<W: Write> Sink for Writer<W> {
    fn begin(&mut self, preface: &Preface) -> io::Result<()> {
        let mut bytes = MAGIC.to_vec();
        bytes.push(u8::from(preface.contents) | u8::from(preface.loose) << 1);
        text(&preface.name, &mut bytes)?;
        self.out.write_all(&bytes)?;
        // The other side may refuse it now, and what follows may be long in coming.
        self.out.flush()
    }

    fn put(&mut self, record: &Record, body: &mut dyn Read) -> io::Result<()> {
        let kind = match record.kind {
            Kind::File(_) => 0,
            Kind::Directory => 1,
            Kind::Symlink(_) => 2,
            Kind::HardLink(_) => 3,
            Kind::Fifo => 4,
            Kind::Character(..) => 5,
            Kind::Block(..) => 6,
        };
        let mut bytes = vec![kind];
        [record.mode, record.uid, record.gid].iter().for_each(|number| bytes.extend(number.to_le_bytes()));
        bytes.extend(record.mtime.0.to_le_bytes());
        bytes.extend(record.mtime.1.to_le_bytes());
        text(&record.path, &mut bytes)?;
        text(&record.capability, &mut bytes)?;
        match &record.kind {
            Kind::File(length) => bytes.extend(length.to_le_bytes()),
            Kind::Symlink(target) | Kind::HardLink(target) => text(target, &mut bytes)?,
            Kind::Character(major, minor) | Kind::Block(major, minor) => {
                bytes.extend(major.to_le_bytes());
                bytes.extend(minor.to_le_bytes());
            }
            Kind::Directory | Kind::Fifo => {}
        }
        self.out.write_all(&bytes)?;
        match record.kind {
            Kind::File(length) => fill(body, length, &mut self.out),
            _ => Ok(()),
        }
    }

    fn end(&mut self) -> io::Result<()> {
        self.out.write_all(&[END])?;
        self.out.flush()
    }
}

/// Copies exactly `length` bytes; what a body lacks is zeros.
pub fn fill(body: &mut dyn Read, length: u64, out: &mut dyn Write) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    let mut rest = length;
    while rest > 0 {
        let most = rest.min(CHUNK as u64) as usize;
        let count = match body.read(&mut chunk[..most]) {
            Ok(0) => {
                chunk[..most].fill(0);
                most
            }
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        out.write_all(&chunk[..count])?;
        rest -= count as u64;
    }
    Ok(())
}

/// Reads a whole stream into a sink.
///
/// # Errors
/// When it is no stream, or breaks off (`UnexpectedEof`), or the sink fails.
pub fn read(from: &mut dyn Read, sink: &mut dyn Sink) -> io::Result<()> {
    let start: [u8; 6] = array(from)?;
    if &start[..5] != MAGIC {
        return Err(io::ErrorKind::InvalidData.into());
    }
    sink.begin(&Preface { contents: start[5] & 1 != 0, loose: start[5] & 2 != 0, name: take_text(from)? })?;
    loop {
        let [kind] = array(from)?;
        if kind == END {
            return sink.end();
        }
        let [mode, uid, gid] = [number(from)?, number(from)?, number(from)?];
        let mtime = (i64::from_le_bytes(array(from)?), number(from)?);
        let (path, capability) = (take_text(from)?, take_text(from)?);
        let kind = match kind {
            0 => Kind::File(u64::from_le_bytes(array(from)?)),
            1 => Kind::Directory,
            2 => Kind::Symlink(take_text(from)?),
            3 => Kind::HardLink(take_text(from)?),
            4 => Kind::Fifo,
            5 => Kind::Character(number(from)?, number(from)?),
            6 => Kind::Block(number(from)?, number(from)?),
            _ => return Err(io::ErrorKind::InvalidData.into()),
        };
        let length = if let Kind::File(length) = kind { length } else { 0 };
        let mut body = Whole(from.take(length));
        sink.put(&Record { path, kind, mode, uid, gid, mtime, capability }, &mut body)?;
        // What the sink did not want is passed over.
        io::copy(&mut body, &mut io::sink())?;
    }
}

/// A body that is all there: its early end is one of the stream.
struct Whole<R>(io::Take<R>);

impl<R: Read> Read for Whole<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 if self.0.limit() > 0 && !buffer.is_empty() => Err(io::ErrorKind::UnexpectedEof.into()),
            count => Ok(count),
        }
    }
}

fn array<const N: usize>(from: &mut dyn Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes).map(|()| bytes)
}

fn number(from: &mut dyn Read) -> io::Result<u32> {
    array(from).map(u32::from_le_bytes)
}

fn take_text(from: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::from(u16::from_le_bytes(array(from)?))];
    from.read_exact(&mut bytes).map(|()| bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keeps what it gets.
    #[derive(Default)]
    struct Kept(Vec<(Record, Vec<u8>)>, Option<Preface>, bool);

    impl Sink for Kept {
        fn begin(&mut self, preface: &Preface) -> io::Result<()> {
            self.1 = Some(preface.clone());
            Ok(())
        }
        fn put(&mut self, record: &Record, body: &mut dyn Read) -> io::Result<()> {
            let mut bytes = Vec::new();
            body.read_to_end(&mut bytes)?;
            self.0.push((record.clone(), bytes));
            Ok(())
        }
        fn end(&mut self) -> io::Result<()> {
            self.2 = true;
            Ok(())
        }
    }

    fn record(path: &[u8], kind: Kind) -> Record {
        Record {
            path: path.to_vec(),
            kind,
            mode: 0o4755,
            uid: 1,
            gid: u32::MAX,
            mtime: (-1, 999),
            capability: vec![7, 0],
        }
    }

    #[test]
    fn records_are_read_as_they_were_written_and_a_cut_is_an_error() {
        let kinds = [
            Kind::Directory,
            Kind::File(5),
            Kind::File(0),
            Kind::Symlink(b"../\xff".to_vec()),
            Kind::HardLink(b"a".to_vec()),
            Kind::Fifo,
            Kind::Character(1, 3),
            Kind::Block(8, u32::MAX),
        ];
        let preface = Preface { name: b"n\xfe".to_vec(), contents: true, loose: true };
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes);
        writer.begin(&preface).unwrap();
        for kind in &kinds {
            // A body that is too short, and one that is too long.
            writer.put(&record(b"a/b", kind.clone()), &mut &b"ab"[..]).unwrap();
        }
        writer.put(&record(b"", Kind::File(1)), &mut &b"xyz"[..]).unwrap();
        writer.end().unwrap();
        let mut kept = Kept::default();
        read(&mut &bytes[..], &mut kept).unwrap();
        assert_eq!((kept.1.as_ref(), kept.2, kept.0.len()), (Some(&preface), true, kinds.len() + 1));
        assert!(kept.0.iter().zip(&kinds).all(|((found, _), kind)| *found == record(b"a/b", kind.clone())));
        assert_eq!((&kept.0[1].1[..], &kept.0[8].1[..]), (&b"ab\0\0\0"[..], &b"x"[..]));
        for cut in 0..bytes.len() {
            assert!(read(&mut &bytes[..cut], &mut Kept::default()).is_err(), "{cut}");
        }
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] = 0xee;
            _ = read(&mut &changed[..], &mut Kept::default());
        }
    }
}
