//! A virtiofsd that serves one folder or file to one machine.
//!
//! ```text
//!  listening socket, without a name ─▶ virtiofsd        our end of it ─▶ asked for its features ─▶ QEMU
//! ```
//!
//! The daemon answers only when it has shut itself in. So whoever gets an answer knows that it works, before there is a
//! machine that would wait for it; what keeps it from that, it says on standard error. It ends with its socket, which
//! is QEMU's, with [`Daemon`], and with the thread that started it.
//!
//! Source: QEMU, docs/interop/vhost-user.rst, "Message Specification".

use super::program::{Program, Sandbox};
use super::view::{PLACE, View};
use crate::escape::os_error;
use crate::qemu::spawn::{self, Confined, Process};
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

/// How long it may take to begin, on a busy host.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is served.
#[derive(Clone, Copy, Debug)]
pub struct Served<'a> {
    /// A folder, or a file.
    pub path: &'a Path,
    /// Of a file: what it is called in the folder that the guest sees.
    pub file: Option<&'a str>,
    /// Nothing is written.
    pub read_only: bool,
}

/// A daemon that serves.
pub struct Daemon {
    process: Process,
    /// Its standard error is open.
    speaks: bool,
    /// How it ended was looked at.
    ended: bool,
}

/// Starts a daemon; its end of the socket is for QEMU.
///
/// # Errors
/// Why none works here, in words, escaped.
pub fn start(program: &Program, served: Served<'_>) -> Result<(Daemon, UnixStream), String> {
    let mut why = String::new();
    for (sandbox, view) in ways(program, served, nix::unistd::geteuid().is_root()) {
        match attempt(program, served, sandbox, view) {
            Ok(started) => return Ok(started),
            Err(reason) => why = reason,
        }
    }
    Err(why)
}

/// The sandboxes that are tried, and whether the daemon needs a view of its own.
fn ways(program: &Program, served: Served<'_>, root: bool) -> [(Sandbox, bool); 2] {
    let held = served.file.is_none() && (!served.read_only || program.has_read_only());
    let view = !held || !root && !program.is_for_everybody();
    // Only root, which in a view everybody is, can change the root of its files without a namespace.
    [(Sandbox::Namespace, view), (Sandbox::Chroot, view || !root)]
}

/// Starts the program as it is here: where it stands, a view may have something else.
fn launch(
    program: &Program,
    view: Option<spawn::View>,
    args: &[OsString],
    listener: &UnixListener,
) -> io::Result<Process> {
    let file = open(&program.path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
    let fds = [listener.as_raw_fd(), file.as_raw_fd()];
    match view {
        None => Process::start(&program.path, args, &fds[..1]),
        view => {
            let name = format!("/proc/self/fd/{}", fds[1]);
            Process::start_confined(Confined::to(view), Path::new(&name), args, &fds)
        }
    }
}

fn attempt(
    program: &Program,
    served: Served<'_>,
    sandbox: Sandbox,
    view: bool,
) -> Result<(Daemon, UnixStream), String> {
    let (listener, mut socket) = connected().map_err(|error| os_error(&error))?;
    let folder = if view { Path::new(PLACE) } else { served.path };
    let args = program.arguments(listener.as_raw_fd(), folder, sandbox, served.read_only);
    let view = view.then(|| View::of(served.path, served.file, served.read_only)).transpose();
    let view = view.map_err(|error| os_error(&error))?;
    let view = view.map(|view| Box::new(move || view.take()) as spawn::View);
    let started = launch(program, view, &args, &listener);
    let mut process = started.map_err(|error| format!("virtiofsd cannot be started: {}", os_error(&error)))?;
    // Its own copy is the last one: when it ends, the socket says so.
    drop(listener);
    match features(&mut socket) {
        Ok(()) => Ok((Daemon { process, speaks: true, ended: false }, socket)),
        Err(error) => {
            _ = process.kill();
            let said = process.complaint();
            let why = if said.is_empty() { os_error(&error) } else { said };
            Err(format!("virtiofsd does not work here: {why}"))
        }
    }
}

/// A socket that listens, and one that waits to be taken from it. The name goes at once.
fn connected() -> io::Result<(UnixListener, UnixStream)> {
    let folder = tempfile::Builder::new().prefix("bootdisk-").tempdir()?;
    let name = folder.path().join("s");
    let listener = UnixListener::bind(&name)?;
    let socket = UnixStream::connect(&name)?;
    Ok((listener, socket))
}

/// Asks for the features, VHOST_USER_GET_FEATURES, which changes nothing; the machine will ask again.
fn features(socket: &mut UnixStream) -> io::Result<()> {
    socket.set_read_timeout(Some(PATIENCE))?;
    // Request 1, version 1, no payload; the answer has 8 bytes of it.
    let request: Vec<u8> = [1u32, 1, 0].into_iter().flat_map(u32::to_ne_bytes).collect();
    socket.write_all(&request)?;
    let mut answer = [0; 20];
    socket.read_exact(&mut answer)?;
    socket.set_read_timeout(None)?;
    match answer[..4] == 1u32.to_ne_bytes() {
        true => Ok(()),
        false => Err(io::ErrorKind::InvalidData.into()),
    }
}

impl Daemon {
    /// Its standard error while that is open, to poll for; [`listen`](Self::listen) reads it.
    pub fn stderr(&self) -> Option<BorrowedFd<'_>> {
        self.speaks.then(|| self.process.stderr())
    }

    /// Reads what it says: a full pipe would hold it up, and with it the machine.
    pub fn listen(&mut self) {
        self.speaks = self.process.listen();
    }

    /// It has closed its standard error and must be about to end, which nothing else tells.
    pub fn is_ending(&self) -> bool {
        !self.speaks && !self.ended
    }

    /// What it said, if it has failed by itself; once.
    pub fn failure(&mut self) -> Option<String> {
        let status = self.process.ended().ok().flatten().filter(|_| !self.ended)?;
        self.ended = true;
        let said = self.process.complaint();
        (!status.success()).then(|| if said.is_empty() { status.to_string() } else { said })
    }
}

#[cfg(test)]
mod tests;
