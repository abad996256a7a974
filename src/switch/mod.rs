//! The network among the machines of one test: a switch on a thread of its own, and which addresses the machines have.
//!
//! ```text
//!  machine 0 ─ card ─ QEMU ═ pair of datagram sockets ═ ┌────────┐
//!  machine 1 ─ card ─ QEMU ═ pair of datagram sockets ═ │ switch │   a datagram is an Ethernet frame
//!  machine 2 ─ card ─ QEMU ═ pair of datagram sockets ═ └────────┘
//! ```
//!
//! The sockets have no names and lead nowhere else: no other program of this host gets on the network, and nothing on it
//! gets to the host. The switch keeps no frame. A sender waits while it is busy, and what a receiver does not take is lost,
//! as on Ethernet. What waits in a socket is bounded by the kernel (socket(7), `wmem_default`).
//!
//! Not supported: frames longer than Ethernet's 1500 bytes of payload, spanning trees, priorities.

mod table;

use crate::guest::network::Card;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io::{self, PipeReader, PipeWriter};
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::thread::{Builder, JoinHandle};
use table::{Table, To};

/// Most machines on one network.
pub const MOST: usize = 16;

/// Longest frame, in bytes: addresses and type, two tags of VLANs, and 1500 of payload (IEEE 802.3, 3.2.7; 802.1Q, 9).
const LONGEST: usize = 14 + 8 + 1500;
/// Frames that are taken from one machine before the next has its turn.
const TURN: usize = 32;

/// The network, 10.113.0.0/24: private (RFC 1918), and none that QEMU, Docker, Podman or Kubernetes take by themselves.
const PREFIX: u8 = 24;

/// The card of the machine with this number, counted from 0 and less than [`MOST`]. The Ethernet addresses are QEMU's, in
/// a part of which it makes none by itself.
pub fn card(number: usize) -> Card {
    let last = u8::try_from(number + 1).unwrap_or(u8::MAX);
    Card { mac: [0x52, 0x54, 0, 0x71, 0, last], address: Ipv4Addr::new(10, 113, 0, last), prefix: PREFIX }
}

/// A switch that runs. It ends when this is dropped.
pub struct Switch {
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl Switch {
    /// A switch with so many ports, and the machines' ends of them.
    ///
    /// # Errors
    /// When the system has no descriptors, or no thread, to give.
    pub fn start(ports: usize) -> io::Result<(Switch, Vec<UnixDatagram>)> {
        let pairs = (0..ports).map(|_| UnixDatagram::pair()).collect::<io::Result<Vec<_>>>()?;
        let (ours, theirs): (Vec<UnixDatagram>, Vec<UnixDatagram>) = pairs.into_iter().unzip();
        ours.iter().try_for_each(|port| port.set_nonblocking(true))?;
        let (stopped, stop) = io::pipe()?;
        let thread = Builder::new().name("switch".into()).spawn(move || Ports::new(ours).run(&stopped))?;
        Ok((Switch { stop: Some(stop), thread: Some(thread) }, theirs))
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            _ = thread.join();
        }
    }
}

struct Ports {
    sockets: Vec<UnixDatagram>,
    /// Those whose machine's end has gone for good.
    gone: Vec<bool>,
    table: Table,
    /// One byte more than the longest frame: who fills it has sent a longer one.
    buffer: [u8; LONGEST + 1],
}

impl Ports {
    fn new(sockets: Vec<UnixDatagram>) -> Ports {
        Ports { gone: vec![false; sockets.len()], sockets, table: Table::default(), buffer: [0; LONGEST + 1] }
    }

    /// Passes frames on until `stopped` is at its end.
    fn run(mut self, stopped: &PipeReader) {
        loop {
            let live: Vec<usize> = (0..self.sockets.len()).filter(|&port| !self.gone[port]).collect();
            let mut fds = vec![PollFd::new(stopped.as_fd(), PollFlags::POLLIN)];
            fds.extend(live.iter().map(|&port| PollFd::new(self.sockets[port].as_fd(), PollFlags::POLLIN)));
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) => {}
                Err(Errno::EINTR) => continue,
                Err(_) => return,
            }
            let seen: Vec<PollFlags> = fds.iter().map(|fd| fd.revents().unwrap_or(PollFlags::empty())).collect();
            if !seen[0].is_empty() {
                return;
            }
            for (&port, seen) in live.iter().zip(&seen[1..]).filter(|(_, seen)| !seen.is_empty()) {
                // Without anything to read it is an error, which would be there for ever.
                self.gone[port] = !seen.contains(PollFlags::POLLIN) || !self.take_turn(port);
            }
        }
    }

    /// Takes what a machine has sent, but not so much that the others wait; whether the port is still good.
    fn take_turn(&mut self, port: usize) -> bool {
        for _ in 0..TURN {
            match self.sockets[port].recv(&mut self.buffer) {
                Ok(length) => self.pass_on(port, length),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        true
    }

    fn pass_on(&mut self, from: usize, length: usize) {
        if length > LONGEST {
            return;
        }
        let frame = &self.buffer[..length];
        // A receiver that is full, or gone, loses the frame.
        let send = |port: usize| _ = self.sockets[port].send(frame);
        match self.table.route(from, frame) {
            To::Nobody => {}
            To::One(port) => send(port),
            To::All => (0..self.sockets.len()).filter(|&port| port != from).for_each(send),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// A frame of this length from one machine's card to another's.
    fn frame(to: [u8; 6], from: usize, length: usize) -> Vec<u8> {
        let mut bytes = [&to[..], &card(from).mac, &[0x08, 0x00]].concat();
        bytes.resize(length, from as u8);
        bytes
    }

    fn mac(number: usize) -> [u8; 6] {
        card(number).mac
    }

    /// The next frame; whoever waits for one that was lost learns it after a while.
    #[track_caller]
    fn next(plug: &UnixDatagram) -> Vec<u8> {
        plug.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut buffer = [0; 4096];
        let length = plug.recv(&mut buffer).expect("a frame");
        buffer[..length].to_vec()
    }

    #[test]
    fn frames_reach_whom_they_are_for_and_everybody_while_that_is_not_known() {
        let (_switch, plugs) = Switch::start(3).unwrap();
        // To somebody unknown, to a group of them, to all of them.
        for to in [mac(1), [0x33, 0x33, 0, 0, 0, 1], [0xff; 6]] {
            plugs[0].send(&frame(to, 0, 60)).unwrap();
            assert_eq!((next(&plugs[1]), next(&plugs[2])), (frame(to, 0, 60), frame(to, 0, 60)));
        }
        // Two has now spoken, and what is for it comes to nobody else: each next frame is the one behind.
        plugs[2].send(&frame(mac(0), 2, 60)).unwrap();
        assert_eq!(next(&plugs[0]), frame(mac(0), 2, 60));
        plugs[0].send(&frame(mac(2), 0, 61)).unwrap();
        plugs[0].send(&frame([0xff; 6], 0, 62)).unwrap();
        assert_eq!((next(&plugs[2]), next(&plugs[2])), (frame(mac(2), 0, 61), frame([0xff; 6], 0, 62)));
        assert_eq!(next(&plugs[1]), frame([0xff; 6], 0, 62));
    }

    #[test]
    fn what_is_no_frame_of_ethernets_goes_nowhere() {
        let (_switch, plugs) = Switch::start(2).unwrap();
        for length in [0, 1, 13, LONGEST + 1, 9000, 60_000] {
            let bytes = [frame([0xff; 6], 0, 60), vec![0; 60_000]].concat();
            plugs[0].send(&bytes[..length]).unwrap();
        }
        // A group sends nothing.
        plugs[0].send(&[&[0xff; 6][..], &[0x33, 0x33, 0, 0, 0, 1], &[0; 48]].concat()).unwrap();
        for length in [14, LONGEST] {
            plugs[0].send(&frame([0xff; 6], 0, length)).unwrap();
            assert_eq!(next(&plugs[1]).len(), length);
        }
    }

    #[test]
    fn who_takes_nothing_and_who_has_gone_hold_nobody_up() {
        let (_switch, mut plugs) = Switch::start(4).unwrap();
        let (deaf, gone) = (plugs.remove(3), plugs.remove(2));
        drop(gone);
        // Many times what a socket holds.
        for number in 0..5000u16 {
            let mut bytes = frame([0xff; 6], 0, 1514);
            bytes[20..22].copy_from_slice(&number.to_be_bytes());
            plugs[0].send(&bytes).unwrap();
            assert_eq!(next(&plugs[1]), bytes, "{number}");
        }
        let mut held = 0;
        deaf.set_nonblocking(true).unwrap();
        while deaf.recv(&mut [0; 2048]).is_ok() {
            held += 1;
        }
        assert!((1..5000).contains(&held), "{held}");
    }

    #[test]
    fn it_ends_with_its_owner() {
        let (switch, plugs) = Switch::start(1).unwrap();
        drop(switch);
        assert!(plugs[0].send(&[0; 60]).is_err(), "nobody has the other end any more");
    }

    #[test]
    fn every_machine_has_a_card_and_an_address_of_its_own() {
        let cards: Vec<Card> = (0..MOST).map(card).collect();
        assert_eq!((cards[0].mac, cards[0].address.to_string()), ([0x52, 0x54, 0, 0x71, 0, 1], "10.113.0.1".into()));
        for (number, card) in cards.iter().enumerate() {
            assert!(cards[..number].iter().all(|other| other.mac != card.mac && other.address != card.address));
        }
    }
}
