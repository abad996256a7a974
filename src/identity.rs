//! Every identifier on a disk, derived from what goes onto it: same input, same identifiers, and no two different
//! disks with the same ones.
//!
//! ```text
//!  ChainID of the layers ──────────────────────────▶ UUID and hash seed of the root file system
//!  ChainID + boot spec + kernel + PID 1 + options ─▶ disk GUID, partition GUIDs, FAT volume id, machine-id
//! ```
//!
//! Where one disk is to have siblings, an identity that the user names is one more input of the second line. The root
//! partition has the same bytes on all of them: the first line stays what it is.
//!
//! UUIDs are version 5 (RFC 9562, section 5.5) in one namespace of our own.

use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Namespace of all our name-based UUIDs.
const NAMESPACE: Uuid = Uuid::from_u128(0x8f1c_5f0e_5a53_4d6b_9a57_2f6f_0b3d_71c4);

/// The root file system's identifiers: they depend on the layers alone, so that two disks of one image have the same
/// root partition, byte for byte, whatever kernel and options they have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RootIdentity {
    /// `s_uuid` of the superblock.
    pub uuid: Uuid,
    /// `s_hash_seed`, for hashed directories.
    pub hash_seed: Uuid,
}

impl RootIdentity {
    /// From the ChainID (image-spec, config.md, "Layer ChainID") of an image, as `sha256:…`.
    pub fn of(chain_id: &str) -> RootIdentity {
        RootIdentity { uuid: name("root", chain_id.as_bytes()), hash_seed: name("root hash seed", chain_id.as_bytes()) }
    }
}

/// The disk's identifiers: they depend on everything that is on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskIdentity {
    /// Disk GUID of the partition table.
    pub disk: Uuid,
    /// Unique partition GUID of the BIOS boot partition.
    pub bios_boot: Uuid,
    /// Unique partition GUID of the EFI System Partition.
    pub esp: Uuid,
    /// Unique partition GUID of the modules' partition.
    pub modules: Uuid,
    /// UUID and hash seed of the modules' file system.
    pub modules_system: [Uuid; 2],
    /// Unique partition GUID of the root partition: how PID 1 finds it.
    pub root: Uuid,
    /// FAT volume id of the EFI System Partition.
    pub esp_volume: u32,
    /// For /etc/machine-id.
    pub machine_id: Uuid,
    /// UUID of the superblock of the root's hashes.
    pub verity: Uuid,
    /// What is hashed in front of each block of the root.
    pub salt: [u8; 32],
}

impl DiskIdentity {
    /// From the digest of everything that makes the disk, as [`Ingredients::digest`] gives it.
    pub fn of(digest: &[u8; 32]) -> DiskIdentity {
        let volume = name("ESP volume", digest);
        DiskIdentity {
            disk: name("disk", digest),
            bios_boot: name("BIOS boot partition", digest),
            esp: name("EFI System Partition", digest),
            modules: name("modules partition", digest),
            modules_system: [name("modules", digest), name("modules hash seed", digest)],
            root: name("root partition", digest),
            machine_id: name("machine-id", digest),
            verity: name("verity", digest),
            salt: Ingredients::default().add("verity salt", digest).digest(),
            esp_volume: u32::from_be_bytes(*volume.as_bytes().first_chunk().expect("a UUID has 16 bytes")),
        }
    }
}

/// Of a document: from its content.
pub fn of_document(content: &[u8]) -> Uuid {
    name("document", content)
}

/// Owner of a certificate in a firmware's list of keys, in the bytes of that list.
pub fn signature_owner(certificate: &[u8]) -> [u8; 16] {
    name("signature owner", certificate).to_bytes_le()
}

fn name(what: &str, value: &[u8]) -> Uuid {
    let mut bytes = what.as_bytes().to_vec();
    bytes.push(0);
    bytes.extend_from_slice(value);
    Uuid::new_v5(&NAMESPACE, &bytes)
}

/// Collects everything that makes a disk into one digest. Each item is framed by its length, so that no two lists of
/// items have the same bytes.
#[derive(Default)]
pub struct Ingredients(Sha256);

impl Ingredients {
    /// Adds one named item.
    pub fn add(&mut self, what: &str, value: &[u8]) -> &mut Self {
        for part in [what.as_bytes(), value] {
            self.0.update((part.len() as u64).to_le_bytes());
            self.0.update(part);
        }
        self
    }

    /// The digest of all items in their order.
    pub fn digest(&self) -> [u8; 32] {
        self.0.clone().finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_differ_from_each_other_and_follow_their_input() {
        let (a, b) = (DiskIdentity::of(&[1; 32]), DiskIdentity::of(&[2; 32]));
        assert_eq!(a, DiskIdentity::of(&[1; 32]));
        let [system, seed] = a.modules_system;
        let all = [
            a.disk,
            a.bios_boot,
            a.esp,
            a.modules,
            system,
            seed,
            a.root,
            a.machine_id,
            b.disk,
            b.bios_boot,
            b.esp,
            b.root,
        ];
        for (i, x) in all.iter().enumerate() {
            assert_eq!(x.get_version_num(), 5);
            assert!(all[..i].iter().all(|y| y != x));
        }
    }

    #[test]
    fn items_do_not_run_into_each_other() {
        let (mut a, mut b) = (Ingredients::default(), Ingredients::default());
        a.add("x", b"ab").add("y", b"");
        b.add("x", b"a").add("y", b"b");
        assert_ne!(a.digest(), b.digest());
    }
}
