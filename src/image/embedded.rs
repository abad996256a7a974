//! Content that a descriptor carries itself, in base64 (RFC 4648, section 4).
//!
//! OCI image-spec, descriptor.md, `data`: it must be the content, with the digest and the size the descriptor states.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::image::{BlobError, BlobFault, Descriptor, Hasher};

impl Descriptor {
    /// The embedded content, if there is any. An error if it is not what the descriptor describes.
    pub fn embedded(&self) -> Result<Option<Vec<u8>>, BlobError> {
        let Some(data) = &self.data else { return Ok(None) };
        let bytes = STANDARD.decode(data).ok().filter(|bytes| {
            bytes.len() as u64 == self.size && Hasher::digest(self.digest.algorithm(), bytes) == self.digest
        });
        match bytes {
            Some(bytes) => Ok(Some(bytes)),
            None => Err(BlobError { blob: self.digest.to_string(), fault: BlobFault::EmbeddedData }),
        }
    }
}
