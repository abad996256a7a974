//! A connection to QEMU whose other end may close at any time.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;

/// A connection whose other end may close.
pub(super) struct Line {
    pub(super) socket: UnixStream,
    pub(super) open: bool,
}

impl Line {
    /// Makes the socket non-blocking.
    pub(super) fn new(socket: UnixStream) -> io::Result<Line> {
        socket.set_nonblocking(true)?;
        Ok(Line { socket, open: true })
    }

    /// Reads once; 0 when there is nothing now or any more.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> usize {
        loop {
            match self.socket.read(buffer) {
                Ok(0) => self.open = false,
                Ok(n) => return n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => self.open = false,
            }
            return 0;
        }
    }
}
