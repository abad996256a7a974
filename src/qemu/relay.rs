//! Forwarded TCP ports of IPv6 addresses. QEMU's user network listens on IPv4 alone: connections are taken here and passed
//! on to a port of the loopback address that QEMU listens on.
//!
//! ```text
//!  [::1]:8080 ─▶ listener ─▶ 127.0.0.1:ANY ─▶ QEMU ─▶ the guest's port
//! ```

use super::error::RunError;
use super::forward::Forward;
use super::ports;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io::{self, PipeReader, PipeWriter};
use std::net::{IpAddr, Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// Until a connection that could not be taken is tried again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Most connections at a time: each is two threads.
const MAX_CONNECTIONS: usize = 256;

/// Listeners with the port each passes on to. They stop when this is dropped.
#[derive(Default)]
pub(crate) struct Relays {
    threads: Vec<JoinHandle<()>>,
    stop: Vec<PipeWriter>,
}

/// What QEMU is to forward, and the relays for what it cannot.
pub(super) fn begin(forwards: &[Forward]) -> Result<(Vec<Forward>, Relays), RunError> {
    let (mut own, mut relays) = (Vec::new(), Relays::default());
    for forward in forwards {
        let IpAddr::V6(_) = forward.address else {
            own.push(*forward);
            continue;
        };
        let listener = ports::listen(forward.host_port()).map_err(|source| ports::refused(*forward, source))?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|free| Ok(free.local_addr()?.port()));
        let port = port.map_err(RunError::host("find a free port"))?;
        relays.add(listener, port).map_err(RunError::host("take connections over IPv6"))?;
        own.push(Forward { address: Ipv4Addr::LOCALHOST.into(), host: port, ..*forward });
    }
    Ok((own, relays))
}

impl Relays {
    fn add(&mut self, listener: TcpListener, port: u16) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        let (stopped, stop) = io::pipe()?;
        let thread = std::thread::Builder::new().name("relay".into());
        self.threads.push(thread.spawn(move || accept_all(&listener, &stopped, port))?);
        self.stop.push(stop);
        Ok(())
    }
}

impl Drop for Relays {
    fn drop(&mut self) {
        self.stop.clear();
        self.threads.drain(..).for_each(|thread| _ = thread.join());
    }
}

fn accept_all(listener: &TcpListener, stopped: &PipeReader, port: u16) {
    let open = Arc::new(());
    loop {
        let mut fds =
            [PollFd::new(listener.as_fd(), PollFlags::POLLIN), PollFd::new(stopped.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, PollTimeout::NONE).is_err_and(|errno| errno != nix::errno::Errno::EINTR) {
            return;
        }
        if fds[1].any().unwrap_or(true) {
            return;
        }
        let Ok((client, _)) = listener.accept() else {
            // No descriptor is left, say: who asks again at once gets the same answer.
            std::thread::sleep(ACCEPT_PAUSE);
            continue;
        };
        if Arc::strong_count(&open) <= MAX_CONNECTIONS {
            let one = Arc::clone(&open);
            // Without a thread the connection ends at once, as on a host that has too many.
            _ = std::thread::Builder::new().name("relayed".into()).spawn(move || {
                _ = pass_on(&client, port);
                drop(one);
            });
        }
    }
}

/// Both ways, until both have ended.
fn pass_on(client: &TcpStream, port: u16) -> io::Result<()> {
    client.set_nonblocking(false)?;
    let guest = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    std::thread::scope(|scope| {
        // One direction alone would be a connection that never answers.
        std::thread::Builder::new().name("relayed back".into()).spawn_scoped(scope, || copy(client, &guest))?;
        copy(&guest, client);
        Ok(())
    })
}

/// The end of one direction is the end of it on the other side, and a failure is an end.
fn copy(mut from: &TcpStream, mut to: &TcpStream) {
    let copied = io::copy(&mut from, &mut to);
    _ = to.shutdown(if copied.is_ok() { Shutdown::Write } else { Shutdown::Both });
    _ = from.shutdown(Shutdown::Read);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    /// Whether this host has IPv6 at all.
    fn six() -> Option<u16> {
        ports::listen("[::1]:0".parse().unwrap()).ok().and_then(|listener| Some(listener.local_addr().ok()?.port()))
    }

    #[test]
    fn a_connection_over_ipv6_is_passed_on_and_ends_in_each_direction_by_itself() {
        let port = six().expect("this host's ::1");
        let v4: Forward = "127.0.0.1:8080:80".parse().unwrap();
        let v6 = Forward { address: "::1".parse().unwrap(), host: port, ..v4 };
        let (own, relays) = begin(&[v4, v6]).unwrap();
        assert_eq!((own[0], own[1].guest, own[1].address), (v4, 80, v4.address));
        let guest = TcpListener::bind((Ipv4Addr::LOCALHOST, own[1].host)).unwrap();
        let answer = std::thread::spawn(move || {
            let (mut stream, _) = guest.accept().unwrap();
            let mut asked = String::new();
            stream.read_to_string(&mut asked).unwrap();
            stream.write_all(format!("you said {asked}").as_bytes()).unwrap();
        });
        let mut client = TcpStream::connect(("::1", port)).unwrap();
        client.write_all(b"hello").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut said = String::new();
        client.read_to_string(&mut said).unwrap();
        assert_eq!(said, "you said hello");
        answer.join().unwrap();
        assert!(begin(&[v6]).is_err(), "the port is taken");
        drop(relays);
        begin(&[v6]).unwrap();
    }
}
