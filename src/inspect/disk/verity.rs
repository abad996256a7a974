//! Hash trees of dm-verity: what each says, and whether the data are what it was made of.

use super::Reading;
use super::table::Entry;
use crate::formats::ReadAt;
use crate::formats::gpt::{VERITY_ARM64, VERITY_X86_64};
use crate::formats::verity::{self, BLOCK, Superblock};
use crate::hex::hex;
use crate::inspect::model::{Owner, Usage, Verity};
use crate::verity::{Geometry, RootHash, check};

impl Reading<'_> {
    /// The hashes in a partition. The root hash is that of a command line, or what two partitions' GUIDs say together;
    /// the data are in the partition whose GUID is its first half, or in the root.
    pub(super) fn verity(&mut self, index: usize, entry: &Entry, root: Option<usize>) {
        if ![VERITY_X86_64, VERITY_ARM64].iter().any(|kind| kind.to_string() == entry.type_id) {
            return;
        }
        let superblock = match Superblock::read(&*self.disk.source, entry.offset) {
            Ok(Ok(superblock)) => superblock,
            Ok(Err(fault)) => return self.note(entry, &fault),
            Err(error) => return self.note(entry, &error),
        };
        let geometry = Geometry::of(superblock.blocks);
        self.map.claim(
            (entry.offset, geometry.bytes().min(entry.length)),
            Owner::Metadata,
            "hash tree",
            Some(entry.number),
        );
        let usage =
            Usage { owner: Owner::Metadata, what: "hash tree".to_owned(), bytes: geometry.bytes().min(entry.length) };
        self.found.partitions[index].usage.push(usage);
        let own = digits(entry.guid.as_deref());
        let said = self.found.entries.iter().filter_map(|found| found.options.as_deref()).find_map(root_hash);
        let entries = &self.disk.table.entries;
        let of_said = said.as_ref().filter(|said| said.ends_with(&own)).map(|said| said[..32].to_owned());
        let data = match of_said {
            Some(first) => entries.iter().find(|data| digits(data.guid.as_deref()) == first),
            None => root.map(|root| &entries[root]),
        };
        let hash =
            said.or_else(|| data.map(|data| digits(data.guid.as_deref()) + &own)).filter(|hash| hash.len() == 64);
        let mut found = Verity {
            partition: entry.number,
            data_partition: data.map(|data| data.number),
            root_hash: hash.clone().unwrap_or_default(),
            algorithm: "sha256".to_owned(),
            salt: hex(&superblock.salt),
            uuid: uuid::Uuid::from_bytes(superblock.uuid).to_string(),
            data_blocks: superblock.blocks,
            block_size: BLOCK,
            verified: None,
            fault: None,
        };
        if let (Some(data), Some(hash)) = (data, hash.as_deref().and_then(bytes)) {
            let whole = geometry.bytes() <= entry.length && superblock.blocks <= data.length / BLOCK;
            let source: &dyn ReadAt = &*self.disk.source;
            let checked = || check((source, data.offset), (source, entry.offset), &superblock, &hash);
            let fault = match whole {
                true => checked().err().map(|fault| fault.to_string()),
                false => Some("the tree is over more blocks than there are".to_owned()),
            };
            (found.verified, found.fault) = (Some(fault.is_none()), fault);
        }
        self.found.verity.push(found);
    }
}

/// A GUID without its hyphens.
fn digits(guid: Option<&str>) -> String {
    guid.unwrap_or_default().replace('-', "")
}

/// The root hash on a command line, as PID 1 takes it, in lower case.
fn root_hash(options: &str) -> Option<String> {
    verity::root_hash(options).map(str::to_ascii_lowercase)
}

fn bytes(digits: &str) -> Option<RootHash> {
    let digits = digits.as_bytes().as_chunks::<2>().0;
    let mut hash = [0; 32];
    if digits.len() != hash.len() {
        return None;
    }
    for (byte, pair) in hash.iter_mut().zip(digits) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_hash_is_64_digits() {
        let hash = "0aB1".repeat(16);
        assert_eq!(root_hash(&format!("quiet roothash={hash} x")), Some(hash.to_ascii_lowercase()));
        for bad in ["", "roothash=", "roothash=00", "roothash=zz", &format!("roothash={hash}00"), "roothash=é"] {
            assert_eq!(root_hash(bad), None, "{bad}");
        }
        assert_eq!(bytes(&hash).map(|bytes| bytes[1]), Some(0xb1));
    }
}
