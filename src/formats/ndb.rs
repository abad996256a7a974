//! rpm's own database ("ndb", `Packages.db`, as SUSE has it): only its table of slots.
//!
//! ```text
//!  0   "RpmP"  version  generation  pages of slots u32 at 12    two slots long
//!  32  "Slot"  package number  first block  blocks               16 bytes each, to the end of the pages
//! ```
//!
//! Source: rpm, lib/backend/ndb/rpmpkg.c.

const MAGIC: &[u8] = b"RpmP";
const SLOT_MAGIC: &[u8] = b"Slot";
const SLOT: usize = 16;
const HEADER: usize = 32;
const PAGE: usize = 4096;

/// Packages in the database that begins with `file`; `None` when it is none, or damaged, or more was needed.
pub fn count(file: &[u8]) -> Option<u64> {
    if !file.starts_with(MAGIC) {
        return None;
    }
    let word = |slot: &[u8], i: usize| slot.get(4 * i..4 * i + 4)?.try_into().ok().map(u32::from_le_bytes);
    let pages = usize::try_from(word(file, 3)?).ok()?;
    let slots = file.get(HEADER..pages.checked_mul(PAGE)?)?;
    let mut count = 0;
    for slot in slots.chunks_exact(SLOT) {
        if !slot.starts_with(SLOT_MAGIC) {
            return None;
        }
        let (number, block) = (word(slot, 1)?, word(slot, 2)?);
        count += u64::from(number != 0 && block != 0);
    }
    Some(count)
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
        file[96] ^= 1;
        assert_eq!(count(&file), None);
    }
}
