//! Which port a frame leaves by: what a switch has learnt from the frames that came (IEEE 802.1D, 7.7 to 7.9).

use std::collections::HashMap;

/// Most Ethernet addresses that are remembered. A machine may send with any number of them.
const MOST: usize = 1024;
/// Destination, source and type.
const HEADER: usize = 14;

/// Where a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum To {
    /// By this port.
    One(usize),
    /// By every port but the one it came by.
    All,
    /// It is dropped.
    Nobody,
}

/// The port of each Ethernet address that has sent something.
#[derive(Default)]
pub(super) struct Table(HashMap<[u8; 6], usize>);

impl Table {
    /// Learns who is at the port that the frame came by, and finds where it goes.
    pub(super) fn route(&mut self, from: usize, frame: &[u8]) -> To {
        let (Some(to), Some(source)) = (address(frame, 0), address(frame, 6)) else { return To::Nobody };
        if frame.len() < HEADER || is_group(&source) {
            return To::Nobody;
        }
        // A full table begins anew: what is not known is sent to everybody, and learnt again.
        if self.0.len() >= MOST && !self.0.contains_key(&source) {
            self.0.clear();
        }
        self.0.insert(source, from);
        match self.0.get(&to) {
            _ if is_group(&to) => To::All,
            None => To::All,
            Some(&port) if port == from => To::Nobody,
            Some(&port) => To::One(port),
        }
    }
}

fn address(frame: &[u8], at: usize) -> Option<[u8; 6]> {
    frame.get(at..)?.first_chunk().copied()
}

/// Broadcast and multicast: the lowest bit of the first byte (IEEE 802.3, 3.2.3).
fn is_group(address: &[u8; 6]) -> bool {
    address[0] & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(to: u32, from: u32) -> Vec<u8> {
        let address = |number: u32| [&[2, 0][..], &number.to_be_bytes()].concat();
        [address(to), address(from), vec![8, 0]].concat()
    }

    #[test]
    fn an_address_is_where_it_was_last_heard() {
        let mut table = Table::default();
        assert_eq!(table.route(0, &frame(2, 1)), To::All);
        assert_eq!(table.route(1, &frame(1, 2)), To::One(0));
        assert_eq!(table.route(0, &frame(2, 1)), To::One(1));
        assert_eq!(table.route(2, &frame(9, 2)), To::All, "it has moved");
        assert_eq!(table.route(0, &frame(2, 1)), To::One(2));
        assert_eq!(table.route(0, &frame(1, 3)), To::Nobody, "both are at one port");
    }

    #[test]
    fn a_flood_of_addresses_is_forgotten() {
        let mut table = Table::default();
        for number in 0..100_000 {
            table.route(0, &frame(number + 1, number));
            assert!(table.0.len() <= MOST);
        }
        assert_eq!(table.route(1, &frame(99_999, 1)), To::One(0), "the last ones are known");
    }
}
