//! Where a session's clients come from: threads of this program, and a listening socket.

use super::connection::Connection;
use super::error::ControlError;
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

/// A socket that cannot accept (no descriptors are left) is left alone for so long.
const PAUSE: Duration = Duration::from_secs(1);

/// The session's end: gives out new clients. Without either source there are none.
#[derive(Default)]
pub struct Endpoint {
    dialled: Option<Dialled>,
    listener: Option<UnixListener>,
    not_before: Option<Instant>,
}

struct Dialled {
    clients: Receiver<UnixStream>,
    bell: UnixStream,
}

/// Connects to a session of this program, from any thread.
#[derive(Clone)]
pub struct Dialer {
    clients: Sender<UnixStream>,
    rope: Arc<UnixStream>,
}

/// An endpoint for a session, and what connects to it.
///
/// # Errors
/// When no pair of sockets can be made.
pub fn endpoint() -> io::Result<(Endpoint, Dialer)> {
    let (clients_end, clients) = channel();
    let (bell, rope) = UnixStream::pair()?;
    bell.set_nonblocking(true)?;
    rope.set_nonblocking(true)?;
    let dialled = Dialled { clients, bell };
    let endpoint = Endpoint { dialled: Some(dialled), ..Endpoint::default() };
    Ok((endpoint, Dialer { clients: clients_end, rope: Arc::new(rope) }))
}

impl Dialer {
    /// Connects, and waits for the session's hello: until the machine's start if it has not begun.
    ///
    /// # Errors
    /// When the session has ended.
    pub fn connect(&self) -> Result<Connection, ControlError> {
        let (ours, theirs) = UnixStream::pair().map_err(ControlError::host("make a pair of sockets"))?;
        self.clients.send(theirs).map_err(|_| ControlError::Ended)?;
        // A bell that rings already rings.
        _ = (&*self.rope).write(&[0]);
        Connection::over(ours, None)
    }
}

impl Endpoint {
    /// Listens too. Only programs of this user are let in.
    ///
    /// # Errors
    /// When the socket cannot be made non-blocking.
    pub fn listen(&mut self, listener: UnixListener) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        self.listener = Some(listener);
        Ok(())
    }

    /// What to poll for reading.
    pub(in crate::session) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let listener = self.listener.as_ref().filter(|_| self.not_before.is_none_or(|at| Instant::now() >= at));
        let bell = self.dialled.as_ref().map(|dialled| dialled.bell.as_fd());
        bell.into_iter().chain(listener.map(AsFd::as_fd))
    }

    /// Clients that have come.
    pub(in crate::session) fn arrived(&mut self) -> Vec<UnixStream> {
        let mut clients = Vec::new();
        if let Some(dialled) = &mut self.dialled {
            let gone = rung_out(&mut dialled.bell);
            clients.extend(dialled.clients.try_iter());
            if gone {
                self.dialled = None;
            }
        }
        while let Some(listener) = &self.listener {
            match listener.accept() {
                Ok((client, _)) if is_ours(&client) => clients.push(client),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    self.not_before = Some(Instant::now() + PAUSE);
                    break;
                }
            }
        }
        clients
    }
}

/// Empties the bell; whether nobody can ring it any more.
fn rung_out(bell: &mut UnixStream) -> bool {
    let mut buffer = [0; 256];
    loop {
        match bell.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
        }
    }
}

/// Whether a client is a program of the same user. The directory keeps others out; this holds where it does not.
fn is_ours(client: &UnixStream) -> bool {
    getsockopt(client, PeerCredentials).is_ok_and(|peer| peer.uid() == nix::unistd::geteuid().as_raw())
}
