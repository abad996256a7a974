//! When the firmware hands over to what it boots: its last words, on its own log or on the serial console.
//!
//! Source: SeaBIOS, src/boot.c; EDK II, MdeModulePkg/Universal/BdsDxe.

use super::Session;
use crate::session::console::find;
use crate::session::event::{Outcome, What};

/// SeaBIOS names the device first, then the address or the option ROM that it jumps to.
const SEABIOS: [&[u8]; 2] = [b"Booting from 0000:7c00", b"Booting from ROM"];
/// OVMF and AAVMF, of the boot option that they start.
const EDK2: [&[u8]; 1] = [b"BdsDxe: starting"];

/// Looks for the firmware's last words in bytes that come in pieces.
#[derive(Clone, Default)]
pub(super) struct HandOver {
    found: bool,
    /// The end of what came before, shorter than any of the words.
    tail: Vec<u8>,
}

impl HandOver {
    /// Whether the words are in these bytes, or end in them. Once found, never again.
    fn feed(&mut self, bytes: &[u8], words: &[&[u8]]) -> bool {
        if self.found {
            return false;
        }
        self.tail.extend_from_slice(bytes);
        self.found = words.iter().any(|word| find(&self.tail, word).is_some());
        let longest = words.iter().map(|word| word.len()).max().unwrap_or(0);
        let surplus = self.tail.len().saturating_sub(longest.saturating_sub(1));
        self.tail.drain(..surplus);
        self.found
    }
}

impl Session<'_> {
    /// Reads SeaBIOS's log; whether there was anything.
    pub(super) fn read_firmware_log(&mut self) -> bool {
        if self.is_deaf() {
            return false;
        }
        let Some(line) = &mut self.firmware_line else { return false };
        let n = line.read(&mut self.buffer);
        if n == 0 {
            return false;
        }
        let bytes = self.buffer[..n].to_vec();
        let done = self.boot.hand_over.feed(&bytes, &SEABIOS);
        if !self.boot.hello
            && let Some(gave_up) = self.boot.last_words.in_log(&bytes)
        {
            self.conclude(Outcome::GaveUp(gave_up));
        }
        self.tell(What::Firmware(bytes));
        if done {
            self.tell(What::FirmwareDone);
        }
        true
    }

    /// In what comes over the console before anybody but firmware and loader could have written it.
    pub(super) fn look_for_hand_over(&mut self, console: &[u8]) {
        if self.machine.has_seabios() || self.boot.hello {
            return;
        }
        if self.boot.hand_over.feed(console, &EDK2) {
            self.tell(What::FirmwareDone);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_across_pieces_and_once() {
        let text =
            b"SeaBIOS (version 1.16.2)\nBooting from Hard Disk...\nBooting from 0000:7c00\nBooting from 0000:7c00\n";
        for size in 1..text.len() {
            let mut hand_over = HandOver::default();
            let found = text.chunks(size).filter(|piece| hand_over.feed(piece, &SEABIOS)).count();
            assert_eq!(found, 1, "pieces of {size}");
            assert!(hand_over.tail.len() < SEABIOS[0].len());
        }
    }

    #[test]
    fn other_words_are_not() {
        let mut hand_over = HandOver::default();
        assert!(!hand_over.feed(b"Booting from Hard Disk...\nBoot failed: not a bootable disk\n", &SEABIOS));
        let mut hand_over = HandOver::default();
        assert!(!hand_over.feed(b"BdsDxe: loading Boot0001\n", &EDK2));
        assert!(hand_over.feed(b"BdsDxe: starting Boot0001\n", &EDK2));
    }
}
