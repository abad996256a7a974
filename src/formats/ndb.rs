//! rpm's own database ("ndb", `Packages.db`, as SUSE has it): its table of slots, and the headers they lead to.
//!
//! ```text
//!  0   "RpmP"  version  generation  pages of slots u32 at 12    two slots long
//!  32  "Slot"  package number  first block  blocks               16 bytes each, to the end of the pages
//!  block × 16   "BlbS"  package number  generation  bytes       then so many bytes
//! ```
//!
//! Source: rpm, lib/backend/ndb/rpmpkg.c.

const MAGIC: &[u8] = b"RpmP";
const SLOT_MAGIC: &[u8] = b"Slot";
const SLOT: usize = 16;
const HEADER: usize = 32;
const PAGE: usize = 4096;
const BLOB_MAGIC: &[u8] = b"BlbS";
const BLOB_HEAD: usize = 16;
const BLOCK: usize = 16;

/// Packages in the database that begins with `file`; `None` when it is none, or damaged, or more was needed.
pub fn count(file: &[u8]) -> Option<u64> {
    let mut count = 0;
    slots(file, &mut |_, _| {
        count += 1;
        Some(())
    })?;
    Some(count)
}

/// Hands out the header of every package. All together may have as many bytes as the file; `None` when they have more, or
/// as of [`count`].
pub fn blobs(file: &[u8], visit: &mut dyn FnMut(&[u8])) -> Option<()> {
    let mut left = file.len();
    slots(file, &mut |number, block| {
        let at = usize::try_from(block).ok()?.checked_mul(BLOCK)?;
        let head = file.get(at..at.checked_add(BLOB_HEAD)?).filter(|head| head.starts_with(BLOB_MAGIC))?;
        let length = usize::try_from(word(head, 3)?).ok().filter(|_| word(head, 1) == Some(number))?;
        left = left.checked_sub(length)?;
        visit(file.get(at + BLOB_HEAD..)?.get(..length)?);
        Some(())
    })
}

/// Package number and first block of every slot that is used.
fn slots(file: &[u8], visit: &mut dyn FnMut(u32, u32) -> Option<()>) -> Option<()> {
    if !file.starts_with(MAGIC) {
        return None;
    }
    let pages = usize::try_from(word(file, 3)?).ok()?;
    let slots = file.get(HEADER..pages.checked_mul(PAGE)?)?;
    for slot in slots.chunks_exact(SLOT) {
        if !slot.starts_with(SLOT_MAGIC) {
            return None;
        }
        let (number, block) = (word(slot, 1)?, word(slot, 2)?);
        if number != 0 && block != 0 {
            visit(number, block)?;
        }
    }
    Some(())
}

/// The `i`th little-endian number.
fn word(bytes: &[u8], i: usize) -> Option<u32> {
    bytes.get(4 * i..4 * i + 4)?.try_into().ok().map(u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_in_use_are_counted() {
        let mut file = [MAGIC, &[0; 8], &1u32.to_le_bytes(), &[0; 16]].concat();
        while file.len() < PAGE {
            let used = u32::from(file.len() < HEADER + 3 * SLOT);
            file.extend_from_slice(SLOT_MAGIC);
            [used, used * 9, 1].iter().for_each(|n| file.extend_from_slice(&n.to_le_bytes()));
        }
        assert_eq!(count(&file), Some(3));
        assert_eq!(count(&file[..PAGE - 1]), None);
        file[100] ^= 1;
        assert_eq!(count(&file[..]), Some(3), "a number, not a magic");
        assert_eq!(blobs(&file, &mut |_| {}), None, "nothing is where the slots lead");
        file[96] ^= 1;
        assert_eq!(count(&file), None);
    }

    #[test]
    fn slots_lead_to_headers() {
        let numbers = |all: [u32; 3]| all.map(u32::to_le_bytes).concat();
        let mut file = [MAGIC, &[0; 8], &1u32.to_le_bytes(), &[0; 16]].concat();
        while file.len() < PAGE {
            let (number, block) = if file.len() == HEADER { (5, PAGE as u32 / 16) } else { (0, 0) };
            file.extend([SLOT_MAGIC, &numbers([number, block, 2])].concat());
        }
        file.extend([BLOB_MAGIC, &numbers([5, 0, 3]), b"row and more"].concat());
        let mut found = Vec::new();
        assert_eq!(blobs(&file, &mut |row| found.push(row.to_vec())), Some(()));
        assert_eq!(found, [b"row"]);
        file[PAGE + 12] = 200;
        assert_eq!(blobs(&file, &mut |_| {}), None, "longer than the file");
    }
}
