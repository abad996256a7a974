//! Content that a descriptor carries itself, in base64 (RFC 4648, section 4).
//!
//! OCI image-spec, descriptor.md, `data`: it must be the content, with the digest and the size the descriptor states.

use base64::Engine;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};

use crate::image::{BlobError, BlobFault, Descriptor, Hasher};

/// With its padding; bits behind the last byte count for nothing, as in Go's decoder.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&base64::alphabet::STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

impl Descriptor {
    /// The embedded content, if there is any. An error if it is not what the descriptor describes.
    pub fn embedded(&self) -> Result<Option<Vec<u8>>, BlobError> {
        let Some(data) = &self.data else { return Ok(None) };
        let bytes = BASE64.decode(data).ok().filter(|bytes| {
            bytes.len() as u64 == self.size && Hasher::digest(self.digest.algorithm(), bytes) == self.digest
        });
        match bytes {
            Some(bytes) => Ok(Some(bytes)),
            None => Err(BlobError { blob: self.digest.to_string(), fault: BlobFault::EmbeddedData }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_4648_examples() {
        for (text, bytes) in
            [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYmE=", "fooba"), ("e30=", "{}")]
        {
            assert_eq!(BASE64.decode(text).as_deref(), Ok(bytes.as_bytes()), "{text}");
        }
        for bad in ["Zg", "Zg=", "=g==", "Zg==Zg==", "Zm9v\n", "Zm-_", "Z==="] {
            assert!(BASE64.decode(bad).is_err(), "{bad}");
        }
    }
}
