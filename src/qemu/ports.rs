//! Whether the host's side of forwarded ports can be had, found out before QEMU starts.

use super::error::RunError;
use super::forward::{Forward, Protocol};
use nix::sys::socket::{self, AddressFamily, Backlog, SockFlag, SockType, SockaddrIn6, setsockopt, sockopt};
use std::io;
use std::net::{SocketAddr, SocketAddrV6, TcpListener, UdpSocket};
use std::os::fd::AsRawFd;

/// Checks all forwards of one machine: against each other, then each against the host.
///
/// # Errors
/// The first that cannot be had.
pub(super) fn check(forwards: &[Forward]) -> Result<(), RunError> {
    twice(forwards)?;
    forwards.iter().try_for_each(check_free)
}

/// Listens for an instant: a port somebody else has is named before QEMU starts. QEMU listens anew afterwards, and
/// if the port goes in between, QEMU's own message remains.
fn check_free(forward: &Forward) -> Result<(), RunError> {
    let address = forward.host_port();
    let bound = match forward.protocol {
        Protocol::Tcp => listen(address).map(drop),
        Protocol::Udp => UdpSocket::bind(address).map(drop),
    };
    bound.map_err(|source| refused(*forward, source))
}

/// Connections that wait.
const BACKLOG: i32 = 128;

/// Listens. `[::]` is every IPv6 address and no IPv4 one: those may be somebody else's.
pub(super) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let SocketAddr::V6(address) = address else { return TcpListener::bind(address) };
    let socket = socket::socket(AddressFamily::Inet6, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&socket, sockopt::Ipv6V6Only, &true)?;
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    let address = SocketAddrV6::new(*address.ip(), address.port(), 0, 0);
    socket::bind(socket.as_raw_fd(), &SockaddrIn6::from(address))?;
    socket::listen(&socket, Backlog::new(BACKLOG)?)?;
    Ok(TcpListener::from(socket))
}

/// One port on one address is one listener's. Every address includes each.
fn twice(forwards: &[Forward]) -> Result<(), RunError> {
    for (at, second) in forwards.iter().enumerate() {
        let meets = |first: &&Forward| {
            let any = [first, second].iter().any(|forward| forward.address.is_unspecified())
                && first.address.is_ipv4() == second.address.is_ipv4();
            (first.protocol, first.host) == (second.protocol, second.host) && (any || first.address == second.address)
        };
        if let Some(first) = forwards[..at].iter().find(meets) {
            return Err(RunError::PortTwice { first: *first, second: *second });
        }
    }
    Ok(())
}

/// What keeps a port from being listened on, as an error of its own.
pub(super) fn refused(forward: Forward, source: io::Error) -> RunError {
    match source.kind() {
        io::ErrorKind::PermissionDenied => RunError::PortPrivileged { forward },
        io::ErrorKind::AddrNotAvailable => RunError::PortAddress { forward },
        _ => RunError::PortTaken { forward, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;
    use std::net::TcpListener;

    fn forwards(texts: &[&str]) -> Vec<Forward> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn two_forwards_of_one_port_are_named() {
        for (texts, twice) in [
            (&["8080:80", "8081:80"][..], false),
            (&["8080:80", "8080:80/udp"], false),
            (&["127.0.0.1:8080:80", "127.0.0.2:8080:81"], false),
            (&["8080:80", "8080:80"], true),
            (&["8080:80", "8080:81"], true),
            (&["8080:80", "127.0.0.1:8080:81"], true),
            (&["0.0.0.0:8080:80", "8080:81"], true),
            (&["[::]:8080:80", "8080:80"], false),
            (&["[::]:8080:80", "[::1]:8080:81"], true),
            (&["53:53/udp", "8080:80", "0.0.0.0:53:54/udp"], true),
        ] {
            let found = super::twice(&forwards(texts));
            assert_eq!(found.is_err(), twice, "{texts:?}");
            let Err(error) = found else { continue };
            let sentence = error.to_string();
            let first = forwards(texts)[0].to_string();
            assert!(sentence.starts_with("host port is forwarded twice: ") && sentence.contains(&first), "{sentence}");
            assert!(error.hint().unwrap().contains("-p "), "{error:?}");
        }
    }

    #[test]
    fn each_reason_a_port_cannot_be_had_for_is_its_own_sentence() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let text = format!("{}:80", taken.local_addr().unwrap().port());
        let error = check(&forwards(&[&text])).unwrap_err();
        assert!(
            error.to_string().starts_with(&format!("cannot listen on forwarded port 127.0.0.1:{text}: ")),
            "{error}"
        );
        let [port] = forwards(&["80:8080"])[..] else { unreachable!() };
        let error = refused(port, ErrorKind::PermissionDenied.into());
        assert_eq!(error.to_string(), "no permission to listen on host port 80: 127.0.0.1:80:8080");
        assert_eq!(error.hint().unwrap(), "use a port from 1024 on, for example -p 10080:8080");
        let error = check(&forwards(&["192.0.2.1:8080:80"])).unwrap_err();
        assert_eq!(error.to_string(), "this host does not have the address of a forwarded port: 192.0.2.1:8080:80");
        assert_eq!(error.hint().unwrap(), "omit the address for this host alone: -p 8080:80");
    }
}
