//! This program's own words on its two streams: data on standard output, everything else on standard error.
//!
//! Data that cannot be written is an error, whatever the reason: who reads it must not take a part for the whole. Words
//! on standard error are said as well as can be, as there is nobody else to tell. No macro that prints is used anywhere:
//! they panic where a write fails.

use crate::escape::os_error;
use std::io::{self, Write};

/// A standard stream took no more.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to {stream}: {}", os_error(.cause))]
pub struct StreamError {
    stream: &'static str,
    cause: io::Error,
}

impl StreamError {
    /// Whether whoever read the stream has read enough, as `head` does.
    pub fn reader_has_gone(&self) -> bool {
        self.cause.kind() == io::ErrorKind::BrokenPipe
    }
}

/// A standard stream as a place for data: its errors name it.
pub struct Data<W: Write> {
    stream: &'static str,
    to: W,
}

/// Standard output. What is written must be flushed, or a failure is not seen.
pub fn stdout() -> Data<io::StdoutLock<'static>> {
    Data { stream: "standard output", to: io::stdout().lock() }
}

/// Standard error, for data that belongs there.
pub fn stderr() -> Data<io::StderrLock<'static>> {
    Data { stream: "standard error", to: io::stderr().lock() }
}

impl<W: Write> Data<W> {
    fn named(&self, cause: io::Error) -> io::Error {
        io::Error::new(cause.kind(), StreamError { stream: self.stream, cause })
    }
}

impl<W: Write> Write for Data<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.to.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result.map_err(|cause| self.named(cause)),
            }
        }
    }
    fn flush(&mut self) -> io::Result<()> {
        self.to.flush().map_err(|cause| self.named(cause))
    }
}

/// Writes all of it to standard output.
///
/// # Errors
/// A [`StreamError`] within.
pub fn data(bytes: &[u8]) -> io::Result<()> {
    let mut out = stdout();
    out.write_all(bytes)?;
    out.flush()
}

/// Says something on standard error.
pub fn say(text: &str) {
    _ = io::stderr().write_all(text.as_bytes());
}

/// What somebody else who wrote to standard output was told.
pub fn output_lost(cause: io::Error) -> io::Error {
    stdout().named(cause)
}

/// The stream that an error is about.
pub fn stream_error(error: &io::Error) -> Option<&StreamError> {
    error.get_ref()?.downcast_ref()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Refuses(io::ErrorKind);

    impl Write for Refuses {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn only_a_reader_that_has_gone_is_told_from_the_rest() {
        for (kind, gone) in [(io::ErrorKind::BrokenPipe, true), (io::ErrorKind::StorageFull, false)] {
            let mut data = Data { stream: "standard output", to: Refuses(kind) };
            let error = data.write_all(b"x").unwrap_err();
            assert_eq!(stream_error(&error).unwrap().reader_has_gone(), gone);
            assert!(error.to_string().starts_with("cannot write to standard output: "), "{error}");
        }
        assert!(stream_error(&io::ErrorKind::BrokenPipe.into()).is_none(), "a socket's is not a stream's");
    }
}
