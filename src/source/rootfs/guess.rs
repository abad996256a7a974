//! What the files of a root file system say of the machine it is for, as nobody else does.
//!
//! Most of its programs are for one processor: that is its own. Firmware and foreign programs are fewer. Its init is
//! `/sbin/init`, perhaps below a link from `/sbin` to `/usr/sbin` or `/usr/bin`.

use crate::arch::Arch;
use crate::image::Platform;
use crate::layer::EntryKind;
use crate::recognise::{self, Kind};
use std::collections::BTreeMap;

/// The init of every distribution that has one.
const INIT: &str = "/sbin/init";
/// Where it is, if `/sbin` is a link.
const LINKED: [&[u8]; 3] = [b"usr/sbin/init", b"usr/bin/init", b"bin/init"];

/// What was seen so far.
#[derive(Default)]
pub struct Guess {
    programs: BTreeMap<Arch, u64>,
    has_init: bool,
    has_linked_init: bool,
    sbin_is_link: bool,
}

impl Guess {
    /// A name comes by.
    pub fn name(&mut self, path: &[u8], kind: &EntryKind) {
        self.has_init |= path == b"sbin/init";
        self.has_linked_init |= LINKED.contains(&path);
        self.sbin_is_link |= path == b"sbin" && matches!(kind, EntryKind::Symlink(_));
    }

    /// The beginning of a file comes by.
    pub fn program(&mut self, head: &[u8]) {
        if let Kind::Elf(Some(machine)) = recognise::start(head)
            && let Some(arch) = Arch::from_name(machine)
        {
            *self.programs.entry(arch).or_default() += 1;
        }
    }

    /// Linux on the processor that most programs are for.
    pub fn platform(&self) -> Option<Platform> {
        let (arch, _) = self.programs.iter().max_by_key(|(_, count)| **count)?;
        Some(Platform::new("linux", arch.oci_name(), None))
    }

    /// The tree's own init.
    pub fn init(&self) -> Option<&'static str> {
        (self.has_init || self.sbin_is_link && self.has_linked_init).then_some(INIT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(machine: u16) -> Vec<u8> {
        let mut head = vec![0; 64];
        head[..5].copy_from_slice(b"\x7fELF\x02");
        head[16] = 2;
        head[18..20].copy_from_slice(&machine.to_le_bytes());
        head
    }

    #[test]
    fn most_programs_tell_the_processor() {
        let guessed = |machines: &[u16]| {
            let mut guess = Guess::default();
            machines.iter().for_each(|&machine| guess.program(&program(machine)));
            guess.program(b"#!/bin/sh\n");
            guess.platform().map(|platform| platform.to_string())
        };
        assert_eq!(guessed(&[62, 62, 183]).as_deref(), Some("linux/amd64"));
        assert_eq!(guessed(&[183, 62, 183]).as_deref(), Some("linux/arm64"));
        assert_eq!(guessed(&[3]).as_deref(), Some("linux/386"));
        assert_eq!(guessed(&[8]), None);
        assert_eq!(guessed(&[]), None);
    }

    #[test]
    fn an_init_is_found_through_merged_folders() {
        let file = EntryKind::File { size: 1 };
        let link = EntryKind::Symlink(b"usr/sbin".to_vec());
        for (names, found) in [
            (&[("sbin/init", &link)][..], true),
            (&[("sbin", &link), ("usr/sbin/init", &file)], true),
            (&[("usr/bin/init", &link), ("sbin", &link)], true),
            (&[("usr/sbin/init", &file)], false),
            (&[("sbin", &EntryKind::Directory), ("bin/init", &file)], false),
            (&[("init", &file)], false),
        ] {
            let mut guess = Guess::default();
            names.iter().for_each(|(name, kind)| guess.name(name.as_bytes(), kind));
            assert_eq!(guess.init().is_some(), found, "{names:?}");
        }
    }
}
