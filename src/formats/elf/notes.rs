//! Notes: the oldest kernel a program was made for, the instruction set it needs, and Go's mark.
//!
//! ```text
//!  namesz descsz type   name, padded to 4   desc, padded to 4 (to 8 in .note.gnu.property of 64 bits)
//! ```

use super::bytes::Bytes;

/// `NT_GNU_ABI_TAG`: system (0 is Linux) and three numbers of a version.
const ABI_TAG: u32 = 1;
/// `NT_GNU_PROPERTY_TYPE_0`: type, size and value, again and again.
const PROPERTY: u32 = 5;
/// `GNU_PROPERTY_X86_ISA_1_NEEDED`.
const ISA_NEEDED: u32 = 0xc000_8002;
/// Most notes and properties looked at.
const MAX_NOTES: usize = 256;

/// What the notes of one segment say.
#[derive(Default)]
pub struct Notes {
    /// Of the ABI tag.
    pub minimum_kernel: Option<[u32; 3]>,
    /// Of the x86 property.
    pub isa_needed: u32,
    /// Go's build note is there.
    pub go: bool,
}

/// Reads the notes of a segment; what comes after a broken one is left out.
pub fn read(segment: &[u8], of: &Bytes<'_>) -> Notes {
    let mut notes = Notes::default();
    let mut at = 0;
    for _ in 0..MAX_NOTES {
        let Some(next) = one(segment, at, of, &mut notes) else { break };
        at = next;
    }
    notes
}

/// Reads the note at `at`; where the next one begins.
fn one(segment: &[u8], at: usize, of: &Bytes<'_>, notes: &mut Notes) -> Option<usize> {
    let bytes = Bytes { file: segment, ..*of };
    let name_size = usize::try_from(bytes.u32(at)?).ok()?;
    let size = usize::try_from(bytes.u32(at.checked_add(4)?)?).ok()?;
    let kind = bytes.u32(at.checked_add(8)?)?;
    let name_at = at.checked_add(12)?;
    let name = segment.get(name_at..name_at.checked_add(name_size)?)?;
    let desc_at = name_at.checked_add(name_size.checked_next_multiple_of(4)?)?;
    let desc = segment.get(desc_at..desc_at.checked_add(size)?)?;
    match (name, kind) {
        (b"GNU\0", ABI_TAG) => notes.minimum_kernel = minimum(&Bytes { file: desc, ..*of }),
        (b"GNU\0", PROPERTY) => notes.isa_needed |= isa(&Bytes { file: desc, ..*of }),
        (b"Go\0\0", _) => notes.go = true,
        _ => {}
    }
    let align = if kind == PROPERTY && of.wide { 8 } else { 4 };
    desc_at.checked_add(size.checked_next_multiple_of(align)?)
}

fn minimum(desc: &Bytes<'_>) -> Option<[u32; 3]> {
    (desc.u32(0)? == 0).then_some(())?;
    Some([desc.u32(4)?, desc.u32(8)?, desc.u32(12)?])
}

fn isa(desc: &Bytes<'_>) -> u32 {
    let (mut at, mut needed) = (0usize, 0);
    let align = if desc.wide { 8 } else { 4 };
    for _ in 0..MAX_NOTES {
        let (Some(kind), Some(size)) = (desc.u32(at), desc.u32(at + 4)) else { break };
        if kind == ISA_NEEDED && size == 4 {
            needed |= desc.u32(at + 8).unwrap_or(0);
        }
        let step = (size as usize).checked_next_multiple_of(align).and_then(|size| size.checked_add(8));
        let Some(next) = step.and_then(|step| at.checked_add(step)).filter(|&next| next < usize::MAX - 16) else {
            break;
        };
        at = next;
    }
    needed
}
