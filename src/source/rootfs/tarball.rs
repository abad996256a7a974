//! A root file system in a tar, of any dialect that layers have.

use super::RootfsError;
use super::collect::Collector;
use crate::layer::{self, Entry, EntryKind, ErrorKind, Limits, Reader, Warnings};
use crate::source::SourceError;
use std::fs::File;
use std::io::{BufReader, Seek};

/// Reads it from its first byte on.
pub fn read(mut tar: File, collector: &mut Collector) -> Result<(), SourceError> {
    tar.rewind().map_err(SourceError::Read)?;
    let mut stream = BufReader::with_capacity(256 << 10, tar);
    let mut reader = Reader::new(&mut stream, Limits::default());
    let mut warnings = Warnings::default();
    while let Some(entry) = reader.next_entry(&mut warnings).map_err(RootfsError::Tar)? {
        let Entry { path, attrs, kind, .. } = entry;
        let path = tidy(&path);
        let has_body = matches!(kind, EntryKind::File { size } if size > 0);
        let ranges = reader.ranges().map(<[_]>::to_vec);
        match collector.member(path, attrs, kind, ranges.as_deref())? && has_body {
            true => reader.body(collector).map_err(body_error)?,
            false => reader.skip_body().map_err(RootfsError::Tar)?,
        }
    }
    warnings.to_string().lines().for_each(|line| collector.note(line.to_owned()));
    Ok(())
}

/// Names as everybody means them; what is odd in one is for whoever applies the layer.
fn tidy(path: &[u8]) -> &[u8] {
    let mut path = path;
    while let Some(rest) = path.strip_prefix(b"./").or_else(|| path.strip_prefix(b"/")) {
        path = rest;
    }
    while let Some(rest) = path.strip_suffix(b"/") {
        path = rest;
    }
    match path {
        b"" | b"." => b"./",
        path => path,
    }
}

/// What the temporary file met is no fault of the tar.
fn body_error(error: layer::Error) -> SourceError {
    let layer::Error { offset, entry, kind } = error;
    let kind = match kind {
        ErrorKind::Store(cause) => match cause.downcast::<SourceError>() {
            Ok(own) => return own,
            Err(cause) => ErrorKind::Store(cause),
        },
        kind => kind,
    };
    RootfsError::Tar(layer::Error { offset, entry, kind }).into()
}
