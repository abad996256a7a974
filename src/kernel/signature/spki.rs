//! Public keys as PEM files hold them: `SubjectPublicKeyInfo` (RFC 5280, 4.1.2.7), of which only RSA's is read.

/// `rsaEncryption` (RFC 8017, appendix C), with its parameters: the only `AlgorithmIdentifier` of an RSA key.
const RSA_ENCRYPTION: [u8; 13] = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];

/// The `RSAPublicKey` in a `SubjectPublicKeyInfo` (RFC 5280, 4.1.2.7); `None` for another algorithm's.
pub(super) fn of_info(info: &[u8]) -> Option<Vec<u8>> {
    let (fields, rest) = element(info, 0x30)?;
    let (algorithm, fields) = element(fields, 0x30)?;
    let (bits, end) = element(fields, 0x03)?;
    // A bit string begins with the number of bits of its last byte that do not count.
    let key = bits.strip_prefix(&[0])?;
    (rest.is_empty() && end.is_empty() && algorithm == RSA_ENCRYPTION).then(|| key.to_vec())
}

/// Whether this is an `RSAPublicKey` (RFC 8017, A.1.1), as it stands alone in files of PKCS #1: two numbers.
pub(super) fn is_rsa(key: &[u8]) -> bool {
    let numbers = || {
        let (fields, rest) = element(key, 0x30)?;
        let (_, fields) = element(fields, 0x02)?;
        let (_, end) = element(fields, 0x02)?;
        Some(rest.is_empty() && end.is_empty())
    };
    numbers() == Some(true)
}

/// A DER element (X.690, 8.1) with this tag: its contents, and what follows.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&length, rest) = bytes.strip_prefix(&[tag])?.split_first()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        0x81 | 0x82 => {
            let (digits, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            (digits.iter().fold(0, |number, &digit| number << 8 | usize::from(digit)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_info_is_taken_apart_or_refused() {
        let mut info = vec![0x30, 0x13 + 2, 0x30, 0x0d];
        info.extend(RSA_ENCRYPTION);
        info.extend([0x03, 0x04, 0x00, 1, 2, 3]);
        assert_eq!(of_info(&info), Some(vec![1, 2, 3]));
        for length in 0..info.len() {
            assert_eq!(of_info(&info[..length]), None, "{length}");
        }
        info[7] ^= 1;
        assert_eq!(of_info(&info), None, "another algorithm");
        let key = [0x30, 6, 2, 1, 5, 2, 1, 3];
        assert!(is_rsa(&key) && !is_rsa(&info));
        assert!((0..key.len()).all(|length| !is_rsa(&key[..length])));
    }
}
