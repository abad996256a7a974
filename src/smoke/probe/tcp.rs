//! A TCP port of the guest that accepts.
//!
//! QEMU's user network accepts on the host's side before it has asked the guest, so that a connection of ours proves
//! nothing. What the guest answered is in QEMU's own table of connections (`info usernet`).

use super::super::board::Board;
use super::PAUSE;
use crate::qemu::control::Dialer;
use std::io::{ErrorKind, Read};
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
    let address = SocketAddr::from(([127, 0, 0, 1], host));
    let cannot = |error: std::io::Error| format!("cannot connect: {}", crate::escape::os_error(&error));
    let mut stream = TcpStream::connect_timeout(&address, ANSWER).map_err(cannot)?;
    stream.set_read_timeout(Some(Duration::from_millis(50))).map_err(cannot)?;
    let deadline = Instant::now() + ANSWER;
    while Instant::now() < deadline {
        match stream.read(&mut [0; 1]) {
            Ok(n) if n > 0 => return Ok(()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            // Closed at once: it may have been accepted, and the table would say so; the next attempt will tell.
            _ => return Err("the connection was refused".into()),
        }
        let table = dialer.connect().and_then(|mut connection| connection.user_network()).map_err(|e| e.to_string())?;
        if established(&table, host, guest) {
            return Ok(());
        }
    }
    Err("the guest did not answer the connection".into())
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
    use super::established;

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
