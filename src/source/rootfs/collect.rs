//! The members of a root file system on their way into one layer.

use super::extras::Extras;
use super::guess::Guess;
use super::left_out::LeftOut;
use super::{Owner, RootfsError};
use crate::image::{Algorithm, Digest, Hasher};
use crate::layer::{EntryKind, Ranges, Writer};
use crate::rootfs::{Attrs, BodySink};
use crate::source::{SourceError, spool::Copy};
use std::fs::File;
use std::io::{self, BufWriter, Write};

/// Bytes of a file that tell what program it is.
const HEAD: usize = 64;
/// Bytes that are written and hashed at a time.
const CHUNK: usize = 256 << 10;

/// Writes one layer and notes what it is of.
pub struct Collector {
    out: Writer<BufWriter<Hashed>>,
    owner: Option<Owner>,
    extras: Extras,
    guess: Guess,
    left_out: LeftOut,
    notes: Vec<String>,
    /// The beginning of the body that is being written.
    head: Vec<u8>,
}

/// A layer that was written.
pub struct Collected {
    /// Where it is, from its first byte on.
    pub file: File,
    /// Its length.
    pub size: u64,
    /// Its digest.
    pub diff_id: Digest,
    /// What its files say of the machine.
    pub guess: Guess,
    /// What was left out, and what is odd, one sentence each, escaped.
    pub notes: Vec<String>,
}

impl Collector {
    /// A layer without members.
    pub fn new(owner: Option<Owner>) -> Result<Collector, SourceError> {
        let hashed = Hashed { copy: Copy::begin()?, hasher: Hasher::new(Algorithm::Sha256), size: 0 };
        Ok(Collector {
            out: Writer::new(BufWriter::with_capacity(CHUNK, hashed)),
            owner,
            extras: Extras::default(),
            guess: Guess::default(),
            left_out: LeftOut::default(),
            notes: Vec::new(),
            head: Vec::new(),
        })
    }

    /// What is odd, as a sentence that is printable.
    pub fn note(&mut self, sentence: String) {
        self.notes.push(sentence);
    }

    /// The tree is this user's, who is not root.
    pub fn note_owner(&mut self, uid: u32, gid: u32) {
        if self.owner.is_none() {
            let whose = format!("the tree belongs to {uid}:{gid}, and so do its files on the disk");
            self.notes.push(format!("{whose}; --owner 0:0 makes them root's"));
        }
    }

    /// What is not in the layer, and why.
    pub fn leave_out(&mut self, why: &'static str, path: &[u8]) {
        self.left_out.add(why, path);
    }

    /// A member, from the root on and without `.` in it. Of a file with a body this is followed by [`data`](Self::data); `ranges` are
    /// where there is data in it, if it has holes. Whether it is taken.
    pub fn member(
        &mut self,
        path: &[u8],
        mut attrs: Attrs,
        kind: EntryKind,
        ranges: Option<&Ranges>,
    ) -> Result<bool, SourceError> {
        if path.split(|&byte| byte == b'/').any(|name| name.starts_with(b".wh.")) {
            self.left_out.add("would be whiteouts of a layer", path);
            return Ok(false);
        }
        if let Some(Owner { uid, gid }) = self.owner {
            (attrs.uid, attrs.gid) = (uid, gid);
        }
        self.guess.name(path, &kind);
        if let EntryKind::HardLink(target) = &kind
            && let Some((path, attrs, kind)) = self.extras.take_back(target)
        {
            self.write(&path, &attrs, &kind, None)?;
        }
        if self.extras.hold(path, &attrs, &kind) {
            return Ok(false);
        }
        self.head.clear();
        self.write(path, &attrs, &kind, ranges)?;
        Ok(true)
    }

    fn write(
        &mut self,
        path: &[u8],
        attrs: &Attrs,
        kind: &EntryKind,
        ranges: Option<&Ranges>,
    ) -> Result<(), SourceError> {
        let written = match (kind, ranges) {
            (EntryKind::File { size }, Some(ranges)) => self.out.sparse(path, attrs, *size, ranges),
            _ => self.out.member(path, attrs, kind),
        };
        written.map_err(not_written)
    }

    /// The next bytes of a file's body.
    pub fn data(&mut self, bytes: &[u8]) -> Result<(), SourceError> {
        self.bytes(bytes).map_err(not_written)
    }

    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.head.len() < HEAD {
            let before = self.head.len();
            self.head.extend_from_slice(&bytes[..bytes.len().min(HEAD - before)]);
            if before < HEAD && self.head.len() == HEAD {
                self.guess.program(&self.head);
            }
        }
        self.out.data(bytes)
    }

    /// Ends the layer.
    pub fn finish(mut self) -> Result<Collected, SourceError> {
        let (extras, kept) = std::mem::take(&mut self.extras).settle();
        extras.iter().for_each(|path| self.left_out.add("container runtime's own", path));
        for (path, attrs, kind) in kept {
            self.write(&path, &attrs, &kind, None)?;
        }
        let finished = self.out.finish().and_then(|out| out.into_inner().map_err(|error| error.into_error()));
        let Hashed { copy, hasher, size } = finished.map_err(not_written)?;
        let notes = self.left_out.sentences().into_iter().chain(self.notes).collect();
        Ok(Collected { file: copy.into_file()?, size, diff_id: hasher.finish(), guess: self.guess, notes })
    }
}

/// The spool's own error where it is one.
fn not_written(error: io::Error) -> SourceError {
    match error.downcast::<SourceError>() {
        Ok(error) => error,
        Err(error) => RootfsError::Read { path: "the root file system".into(), source: error }.into(),
    }
}

/// Bodies of a tar go the same way.
impl BodySink for Collector {
    type Body = ();

    fn begin(&mut self, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn write(&mut self, data: &[u8]) -> io::Result<()> {
        self.bytes(data)
    }

    fn hole(&mut self, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn abandon(&mut self) {}

    fn discard(&mut self, (): ()) {}
}

/// A temporary file, and the digest of what is in it.
struct Hashed {
    copy: Copy,
    hasher: Hasher,
    size: u64,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.copy.write(bytes).map_err(io::Error::other)?;
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
