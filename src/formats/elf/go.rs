//! The Go version in a program: the "build info" that Go's linker leaves in the data (Go's debug/buildinfo package).
//!
//! ```text
//!  ff " Go buildinf:"   pointer size   flags (bit 1: text follows)   ...   at 32: length as a varint, text
//! ```
//!
//! Not read: the older form with pointers instead of text (Go before 1.18).

const MAGIC: &[u8] = b"\xff Go buildinf:";
/// Where the text begins, counted from the magic.
const TEXT_AT: usize = 32;
/// Bit of the flags: text and not pointers.
const INLINE: u8 = 2;

/// The version, such as `go1.19.8`.
pub fn version(file: &[u8]) -> Option<String> {
    // The record stands at a multiple of 16.
    let record = file.chunks(16).position(|chunk| chunk.starts_with(MAGIC)).and_then(|i| file.get(i * 16..))?;
    (record.get(15)? & INLINE != 0).then_some(())?;
    // Versions are short: one byte of a varint tells the length of up to 127 bytes.
    let length = usize::from(*record.get(TEXT_AT)?);
    let text = record.get(TEXT_AT + 1..TEXT_AT + 1 + length).filter(|_| length < 128)?;
    let text = std::str::from_utf8(text).ok()?;
    let fits = text.starts_with("go1") || text.starts_with("devel");
    (fits && text.chars().all(|c| c.is_ascii_graphic() || c == ' ')).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn the_text_is_found_at_its_alignment() {
        let mut file = vec![0; 64];
        file[16..30].copy_from_slice(super::MAGIC);
        file[31] = 2;
        file[48] = 6;
        file[49..55].copy_from_slice(b"go1.19");
        assert_eq!(version(&file).as_deref(), Some("go1.19"));
        assert_eq!(version(&file[1..]), None);
        assert_eq!(version(&file[..40]), None);
    }
}
