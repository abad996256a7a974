//! What a system says of itself: os-release.
//!
//! ```text
//! # a comment
//! ID=debian                        a name, a value
//! PRETTY_NAME="Debian \"12\""      in quotes; in double ones a backslash keeps what follows it
//! ```
//!
//! Of several lines of one name the last counts. Specification: os-release(5).

/// Where it is, the first that exists counts.
pub const PLACES: [&[u8]; 2] = [b"/etc/os-release", b"/usr/lib/os-release"];

/// The value of a variable: quotes taken off, and backslashes in double quotes; `None` for an empty one.
pub fn value(text: &[u8], name: &[u8]) -> Option<Vec<u8>> {
    let line = text.split(|&byte| byte == b'\n').rev().find_map(|line| line.strip_prefix(name)?.strip_prefix(b"="))?;
    let line = line.trim_ascii();
    let (inner, double) = match line {
        [b'"', inner @ .., b'"'] => (inner, true),
        [b'\'', inner @ .., b'\''] => (inner, false),
        _ => (line, false),
    };
    let mut out = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b'\\' if double => out.extend(bytes.next()),
            _ => out.push(byte),
        }
    }
    (!out.is_empty()).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::value;

    #[test]
    fn values_are_unquoted() {
        let text = b"NAME=\"A \\\"B\\\"\"\nID='x'\nID=last\nVERSION=\nVERSION_IDX=1\n";
        assert_eq!(value(text, b"NAME").unwrap(), b"A \"B\"");
        assert_eq!(value(text, b"ID").unwrap(), b"last");
        assert_eq!(value(text, b"VERSION"), None);
        assert_eq!(value(text, b"VERSION_ID"), None);
    }
}
