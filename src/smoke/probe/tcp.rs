//! A TCP port of the guest that accepts.
//!
//! QEMU's user network accepts on the host's side before it has asked the guest, so that a connection of ours proves
//! nothing. What the guest answered is in QEMU's own table of connections (`info usernet`), as long as the connection is.
//! One that is gone was refused, or accepted and reset before we looked. Then a byte decides: QEMU reads it once the guest
//! has accepted, and when it closes a connection with a byte that it has not read, the host's kernel resets that. A byte
//! that came after the close decides nothing, and it is asked again.

use super::super::board::Board;
use super::PAUSE;
use crate::session::control::Dialer;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// The guest answers a connection within this time, or never.
const ANSWER: Duration = Duration::from_secs(3);

/// Connects to `host`, which is forwarded to `guest`, until the guest accepts.
pub(in crate::smoke) fn watch(board: &Board, number: usize, dialer: &Dialer, host: u16, guest: u16) {
    while board.wait_for_workload() {
        match accepted(dialer, host, guest) {
            Ok(()) => return board.check(number, true, "a connection was accepted".into()),
            Err(why) => board.check(number, false, why),
        }
        if !board.sleep(PAUSE) {
            return;
        }
    }
}

fn accepted(dialer: &Dialer, host: u16, guest: u16) -> Result<(), String> {
    let table = || {
        let table = dialer.connect().and_then(|mut connection| connection.user_network()).map_err(|e| e.to_string())?;
        Ok(established(&table, host, guest))
    };
    match ask(host, b"", &table)? {
        Answer::Accepted => Ok(()),
        Answer::Closed => match ask(host, b"\n", &table)? {
            Answer::Accepted | Answer::Closed => Ok(()),
            Answer::Refused => Err(REFUSED.into()),
            Answer::None => Err(SILENCE.into()),
        },
        Answer::Refused => Err(REFUSED.into()),
        Answer::None => Err(SILENCE.into()),
    }
}

const REFUSED: &str = "the connection was refused";
const SILENCE: &str = "the guest did not answer the connection";

/// What became of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Accepted,
    /// Closed with everything read that was sent, and the table has nothing of it.
    Closed,
    /// Closed with something that nobody read, or that came too late to be.
    Refused,
    /// Nothing within the time.
    None,
}

/// Connects, sends these bytes and waits. The guest closing what it has accepted is in the table until we close too.
fn ask(host: u16, bytes: &[u8], established: &dyn Fn() -> Result<bool, String>) -> Result<Answer, String> {
    let address = SocketAddr::from(([127, 0, 0, 1], host));
    let cannot = |error: std::io::Error| format!("cannot connect: {}", crate::escape::os_error(&error));
    let mut stream = TcpStream::connect_timeout(&address, ANSWER).map_err(cannot)?;
    stream.set_read_timeout(Some(Duration::from_millis(50))).map_err(cannot)?;
    let deadline = Instant::now() + ANSWER;
    let reset = |error: &std::io::Error| matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe);
    if let Err(error) = stream.write_all(bytes) {
        return if reset(&error) { Ok(Answer::Refused) } else { Err(cannot(error)) };
    }
    while Instant::now() < deadline {
        let closed = match stream.read(&mut [0; 1]) {
            Ok(0) => match stream.take_error().map_err(cannot)? {
                // The end had come before what was sent.
                Some(_) => return Ok(Answer::Refused),
                None => true,
            },
            Ok(_) => return Ok(Answer::Accepted),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => false,
            Err(error) if reset(&error) => return Ok(Answer::Refused),
            Err(error) => return Err(cannot(error)),
        };
        match established()? {
            true => return Ok(Answer::Accepted),
            false if closed => return Ok(Answer::Closed),
            false => {}
        }
    }
    Ok(Answer::None)
}

/// Whether the table has a connection through this forward that the guest has accepted. A line of it is
/// `TCP[STATE] descriptor address port address port received sent`, where the first address is the forward's.
fn established(table: &str, host: u16, guest: u16) -> bool {
    table.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [state, _, _, from, _, to, ..] = words[..] else { return false };
        let accepted = ["ESTABLISHED", "CLOSE_WAIT", "FIN_WAIT_1", "FIN_WAIT_2"];
        let state = state.strip_prefix("TCP[").and_then(|state| state.strip_suffix(']'));
        state.is_some_and(|state| accepted.contains(&state)) && from.parse() == Ok(host) && to.parse() == Ok(guest)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// QEMU's part, played by a listener that does or does not read before it closes.
    #[test]
    fn a_byte_tells_a_connection_that_was_read_from_one_that_was_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        for (bytes, reads, expected) in
            [(&b""[..], false, Answer::Closed), (b"\n", true, Answer::Closed), (b"\n", false, Answer::Refused)]
        {
            let answer = std::thread::scope(|scope| {
                let asked = scope.spawn(|| ask(port, bytes, &|| Ok(false)));
                let mut client = listener.accept().unwrap().0;
                // It has arrived before the close.
                let mut byte = [0; 1];
                while !bytes.is_empty() && client.peek(&mut byte).unwrap() == 0 {}
                if reads {
                    client.read_exact(&mut byte).unwrap();
                }
                drop(client);
                asked.join().unwrap()
            });
            assert_eq!(answer, Ok(expected), "{bytes:?}, {reads}");
        }
    }

    #[test]
    fn what_is_in_the_table_was_accepted_although_it_is_closed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let answer = std::thread::scope(|scope| {
            let asked = scope.spawn(|| ask(port, b"", &|| Ok(true)));
            drop(listener.accept().unwrap());
            asked.join().unwrap()
        });
        assert_eq!(answer, Ok(Answer::Accepted));
    }

    #[test]
    fn the_table_is_read_by_state_and_ports() {
        let table = "Hub -1 (net):\r\n  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\r\n  \
            TCP[ESTABLISHED]   90       127.0.0.1 18080       10.0.2.15    80     0     0\r\n  \
            TCP[SYN_SENT]      22       127.0.0.1 18081       10.0.2.15    81     0     0\r\n  \
            TCP[HOST_FORWARD]  14       127.0.0.1 18082       10.0.2.15    82     0     0\r\n  \
            UDP[210 sec]       25       10.0.2.15    68        10.0.2.2    67     0     0\r\n";
        assert!(established(table, 18080, 80));
        for (host, guest) in [(18081, 81), (18082, 82), (18080, 81), (80, 18080), (68, 67)] {
            assert!(!established(table, host, guest), "{host} {guest}");
        }
        assert!(!established("", 80, 1));
    }
}
