//! Base64 (RFC 4648, section 4) as bytes. White space is skipped, as `base64` wraps its lines; padding is asked for.
//!
//! PID 1 has no crate for it: this is all that it needs.

/// The bytes; `None` where it is something else.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut digits, mut padding) = (0u32, 0u32, 0u32);
    for byte in text.bytes().filter(|byte| !byte.is_ascii_whitespace()) {
        let digit = match byte {
            b'=' => {
                padding += 1;
                continue;
            }
            // Nothing follows the padding.
            _ if padding > 0 => return None,
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(digit);
        digits += 1;
        if digits.is_multiple_of(4) {
            bytes.extend_from_slice(&bits.to_be_bytes()[1..]);
            bits = 0;
        }
    }
    // What is left of the last group: two digits are one byte, three are two; the other bits are zero.
    match (digits % 4, padding) {
        (0, 0) => {}
        (2, 2) if bits & 0xf == 0 => bytes.push((bits >> 4) as u8),
        (3, 1) if bits & 0x3 == 0 => bytes.extend_from_slice(&((bits >> 2) as u16).to_be_bytes()),
        _ => return None,
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::decode;
    use ::base64::Engine;
    use ::base64::engine::general_purpose::STANDARD;

    #[test]
    fn it_reads_what_others_write_and_nothing_else() {
        for length in 0..70u8 {
            let bytes: Vec<u8> = (0..length).map(|n| n.wrapping_mul(37) ^ 0xa5).collect();
            let text = STANDARD.encode(&bytes);
            assert_eq!(decode(&text).as_ref(), Some(&bytes), "{text}");
            let wrapped =
                text.as_bytes().chunks(5).map(|part| String::from_utf8_lossy(part) + "\n").collect::<String>();
            assert_eq!(decode(&wrapped), Some(bytes), "{wrapped}");
        }
        for text in
            ["A", "AA", "AAA", "AA=", "AAA==", "AAAA=", "AB==", "AAB=", "=", "====", "A===", "AA==AA==", "A-_A", "ä"]
        {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
