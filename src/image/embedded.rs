//! Content that a descriptor carries itself, in base64 (RFC 4648, section 4).
//!
//! OCI image-spec, descriptor.md, `data`: it must be the content, with the digest and the size the descriptor states.

use crate::image::{BlobError, BlobFault, Descriptor, Hasher};

impl Descriptor {
    /// The embedded content, if there is any. An error if it is not what the descriptor describes.
    pub fn embedded(&self) -> Result<Option<Vec<u8>>, BlobError> {
        let Some(data) = &self.data else { return Ok(None) };
        let bytes = decode(data.as_bytes()).filter(|bytes| {
            bytes.len() as u64 == self.size && Hasher::digest(self.digest.algorithm(), bytes) == self.digest
        });
        match bytes {
            Some(bytes) => Ok(Some(bytes)),
            None => Err(BlobError { blob: self.digest.to_string(), fault: BlobFault::EmbeddedData }),
        }
    }
}

/// Decodes base64 with its padding; `None` for anything else.
fn decode(text: &[u8]) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for (i, group) in text.chunks_exact(4).enumerate() {
        let is_last = (i + 1) * 4 == text.len();
        let digits = match group {
            [.., b'=', b'='] if is_last => 2,
            [.., b'='] if is_last => 3,
            _ => 4,
        };
        let mut bits = 0;
        for &digit in &group[..digits] {
            bits = bits << 6 | value(digit)?;
        }
        bits <<= 6 * (4 - digits);
        bytes.extend_from_slice(&bits.to_be_bytes()[1..digits]);
    }
    Some(bytes)
}

fn value(digit: u8) -> Option<u32> {
    Some(u32::from(match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    }))
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn rfc_4648_examples() {
        for (text, bytes) in
            [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYmE=", "fooba"), ("e30=", "{}")]
        {
            assert_eq!(decode(text.as_bytes()).as_deref(), Some(bytes.as_bytes()), "{text}");
        }
        for bad in ["Zg", "Zg=", "=g==", "Zg==Zg==", "Zm9v\n", "Zm-_", "Z==="] {
            assert_eq!(decode(bad.as_bytes()), None, "{bad}");
        }
    }
}
