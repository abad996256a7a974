//! A root that is verified block by block: what its hash decides, which is known only when the root is written.
//!
//! ```text
//!  root written ─▶ hash tree behind it ─▶ root hash ─┬─▶ roothash= on the kernel's command line
//!                                                    ├─▶ PARTUUID of the root: its first 128 bits
//!                                                    └─▶ PARTUUID of the hashes: its last 128 bits
//! ```
//!
//! Until then zeros stand in the places, so that sizes are what they will be. The salt is the disk's own: what tells two
//! disks apart tells their root hashes apart, though their roots are the same bytes.
//!
//! Specification: UAPI.2 Discoverable Partitions Specification; systemd-veritysetup-generator(8) for `roothash=`.

use super::{Firmware, Options};
use crate::boot::uki;
use crate::disk::gpt::Guids;
use crate::ext4::Free;
use crate::formats::verity::WORD;
use crate::guest::spec::Root;
use crate::hex::hex;
use crate::identity::DiskIdentity;
use crate::verity::RootHash;
use thiserror::Error;
use uuid::Uuid;

/// What stands for a root hash before it is known.
const UNKNOWN: RootHash = [0; 32];

/// Options that mean nothing for a verified root, or take from it what it is for.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum VerityError {
    /// Room.
    #[error("a verified root is never written to and does not grow: it has no use for {0}")]
    Room(&'static str),
    /// Modules that nobody verifies.
    #[error("--guest-modules all puts kernel modules into a partition that --verity does not verify")]
    Modules,
    /// Two root hashes.
    #[error("--cmdline has roothash=, which --verity writes itself")]
    Word,
}

impl VerityError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            VerityError::Room(option) => {
                format!("omit {option}; what is written goes to memory, and what must stay to a volume")
            }
            VerityError::Modules => "omit --guest-modules, or give the modules with --copy-in".into(),
            VerityError::Word => "omit roothash= from --cmdline".into(),
        }
    }
}

/// Refuses what cannot be together with a verified root, and leaves it no room.
pub(super) fn settle(options: &mut Options) -> Result<(), VerityError> {
    let word = |word: &str| word.starts_with(WORD);
    match options {
        Options { size: Some(_), .. } => Err(VerityError::Room("--size")),
        Options { free: Free::Bytes(_), .. } => Err(VerityError::Room("--free")),
        Options { guest_modules: true, .. } => Err(VerityError::Modules),
        Options { command_line, .. } if command_line.split(' ').any(word) => Err(VerityError::Word),
        _ => {
            options.free = Free::Least;
            Ok(())
        }
    }
}

/// What a build is to say of a disk whose boot files are verified by nobody.
pub(super) fn warning(firmware: Firmware) -> Option<&'static str> {
    firmware.bios.then_some(
        "BIOS verifies nothing: who can change the disk can change the root hash that it starts with (--firmware uefi)",
    )
}

/// Where writes go: to memory above the root, or nowhere with a kernel without overlayfs.
pub(crate) fn writes(root: &mut Root, has_overlay: bool) {
    root.ephemeral = has_overlay;
    root.read_only |= !has_overlay;
}

/// What is known of a disk when its root is written.
pub(super) struct Settled {
    /// The whole command line.
    pub(super) command_line: String,
    /// Identifiers of the disk and its partitions.
    pub(super) guids: Guids,
    /// What a unified kernel image says of the userland; as long as it can be until that is known.
    pub(super) os_release: String,
}

impl Settled {
    /// Of a disk with this command line; of a verified one, with its root hash once that is known.
    pub(super) fn of(identity: &DiskIdentity, command_line: &str, hash: Option<&RootHash>) -> Settled {
        let DiskIdentity { disk, bios_boot, esp, modules, root, .. } = *identity;
        let mut guids = Guids { disk, bios_boot, esp, modules, root, verity: Uuid::nil() };
        let mut command_line = command_line.to_owned();
        if let Some(hash) = hash {
            command_line = command_line.replacen(&word(&UNKNOWN), &word(hash), 1);
            let [root, verity] = [&hash[..16], &hash[16..]].map(|half| Uuid::from_slice(half).unwrap_or_default());
            guids = Guids { root, verity, ..guids };
        }
        Settled { command_line, guids, os_release: uki::longest_osrel() }
    }
}

/// The word of the command line before the root hash is known.
pub(super) fn placeholder() -> String {
    word(&UNKNOWN)
}

fn word(hash: &RootHash) -> String {
    format!("{WORD}{}", hex(hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_hash_takes_its_places() {
        let identity = DiskIdentity::of(&[1; 32]);
        let line = format!("quiet {} a=1", placeholder());
        let mut hash = [0xab; 32];
        hash[0] = 0x01;
        hash[31] = 0x02;
        let settled = Settled::of(&identity, &line, Some(&hash));
        assert_eq!(settled.command_line.len(), line.len());
        assert!(
            settled.command_line.starts_with("quiet roothash=01abab") && settled.command_line.ends_with("ab02 a=1")
        );
        assert_eq!(settled.guids.root.to_string(), "01ababab-abab-abab-abab-abababababab");
        assert_eq!(settled.guids.verity.to_string(), "abababab-abab-abab-abab-ababababab02");
        let before = Settled::of(&identity, "quiet", None);
        assert_eq!((before.command_line.as_str(), before.guids.root), ("quiet", identity.root));
    }
}
