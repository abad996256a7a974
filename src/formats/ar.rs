//! The ar archive around a Debian package.
//!
//! ```text
//! "!<arch>\n" ─ header (60) ─ body ─ pad to even ─ header (60) ─ ...
//! header: name 16 | mtime 12 | uid 6 | gid 6 | mode 8 | size 10 | "`\n"
//! ```
//!
//! Not supported: GNU and BSD long names; deb(5) has none. Specification: deb(5); ar.h.

use std::io::{self, Read};

/// First bytes of an archive.
pub const MAGIC: &[u8; 8] = b"!<arch>\n";
/// Last bytes of a header.
const HEADER_END: &[u8; 2] = b"`\n";
/// Size of a header.
const HEADER: usize = 60;

/// The next member's name and size in bytes; `None` at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Without the `/` and blanks that fill the field.
    pub name: String,
    /// Length of the body in bytes. A body of odd length has one byte of padding after it.
    pub size: u64,
}

/// Checks the first eight bytes.
pub fn open(input: &mut impl Read) -> io::Result<()> {
    let mut magic = [0; 8];
    input.read_exact(&mut magic).map_err(truncated)?;
    if &magic != MAGIC { Err(invalid("not an ar archive")) } else { Ok(()) }
}

/// Reads the header at the input's position.
pub fn next(input: &mut impl Read) -> io::Result<Option<Member>> {
    let mut header = Vec::with_capacity(HEADER);
    input.take(HEADER as u64).read_to_end(&mut header)?;
    if header.is_empty() || header == b"\n" {
        return Ok(None);
    }
    if header.len() < HEADER {
        return Err(truncated(io::ErrorKind::UnexpectedEof.into()));
    }
    if &header[58..] != HEADER_END {
        return Err(invalid("ar member header without its end mark"));
    }
    let text = std::str::from_utf8(&header[..58]).map_err(|_| invalid("ar member header is not text"))?;
    // Both are ASCII in any real archive; a boundary inside a character means that they are not.
    let field = |from, to| text.get(from..to).ok_or_else(|| invalid("ar member header is not text"));
    let size = field(48, 58)?.trim_end();
    let digits = !size.is_empty() && size.bytes().all(|b| b.is_ascii_digit());
    let size = if digits { size.parse().ok() } else { None };
    let name = field(0, 16)?.trim_end().trim_end_matches('/').to_owned();
    Ok(Some(Member { name, size: size.ok_or_else(|| invalid("ar member with an impossible size"))? }))
}

fn invalid(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

fn truncated(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => io::Error::new(io::ErrorKind::UnexpectedEof, "the file ends too early"),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &str, size: &str) -> Vec<u8> {
        format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{size:<10}`\n", 0, 0, 0, 100644).into_bytes()
    }

    #[test]
    fn a_member_is_read_and_the_end_seen() {
        let bytes = header("data.tar.xz/", "12");
        assert_eq!(next(&mut bytes.as_slice()).unwrap(), Some(Member { name: "data.tar.xz".into(), size: 12 }));
        assert_eq!(next(&mut &b""[..]).unwrap(), None);
    }

    #[test]
    fn damaged_headers_are_errors() {
        assert!(open(&mut &b"!<arch"[..]).is_err());
        assert!(open(&mut &b"!<ARCH>\n"[..]).is_err());
        for size in ["", "-1", "+1", "0x1", "1 2"] {
            assert!(next(&mut header("a", size).as_slice()).is_err(), "{size}");
        }
        for length in 1..HEADER {
            assert!(next(&mut &header("a", "1")[..length]).is_err(), "{length}");
        }
        let mut bytes = header("a", "1");
        bytes[58] = 0xff;
        assert!(next(&mut bytes.as_slice()).is_err());
        bytes[15] = 0xc3;
        assert!(next(&mut bytes.as_slice()).is_err());
    }
}
