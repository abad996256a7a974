//! Bytes in hexadecimal, as digests are written.

/// Two lower-case digits for each byte.
pub fn hex(bytes: impl AsRef<[u8]>) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = |byte: &u8| [byte >> 4, byte & 15].map(|digit| char::from(DIGITS[usize::from(digit)]));
    bytes.as_ref().iter().flat_map(digits).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_byte_has_two_digits() {
        assert_eq!(super::hex([0x00, 0x0f, 0xa5, 0xff]), "000fa5ff");
        assert_eq!(super::hex([]), "");
    }
}
