//! What is wrong with a layer, when several things may be.
//!
//! A wrong digest of the stored bytes explains whatever else is wrong. Then comes what the decoder met; a wrong diff_id
//! says something only about a layer that was decoded to its end without a complaint.

use super::hash::Digests;
use crate::image::blob::BlobFault;

/// How far a layer was decoded.
#[derive(Debug)]
pub enum Decoded {
    /// To its end.
    Whole,
    /// Only so far as its reader wanted: nothing follows about its tar.
    Partly,
    /// Until this.
    Fault(BlobFault),
}

/// The fault that explains the most, if there is any.
pub fn verdict(expected: &Digests, actual: &Digests, decoded: Decoded) -> Option<BlobFault> {
    if let (Some(expected), Some(actual)) = (&expected.blob, &actual.blob)
        && expected != actual
    {
        return Some(BlobFault::Digest { expected: expected.clone(), actual: actual.clone() });
    }
    match (decoded, &expected.tar, &actual.tar) {
        (Decoded::Fault(fault), ..) => Some(fault),
        (Decoded::Whole, Some(expected), Some(actual)) if expected != actual => {
            Some(BlobFault::DiffId { expected: expected.clone(), actual: actual.clone() })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{Digest, Format};

    /// `=` the right digest, `!` a wrong one, `-` none.
    fn digest(sign: char) -> Option<Digest> {
        match sign {
            '=' => Some(Digest::sha256(b"right")),
            '!' => Some(Digest::sha256(b"wrong")),
            _ => None,
        }
    }

    #[test]
    fn a_wrong_digest_of_the_blob_explains_the_rest() {
        let damaged = || Decoded::Fault(BlobFault::CutShort(Format::Gzip));
        let rows: [(char, char, Decoded, &str); 12] = [
            ('=', '=', Decoded::Whole, ""),
            ('-', '=', Decoded::Whole, ""),
            ('=', '-', Decoded::Whole, ""),
            ('!', '=', Decoded::Whole, "digest"),
            ('!', '!', Decoded::Whole, "digest"),
            ('!', '=', damaged(), "digest"),
            ('!', '!', Decoded::Partly, "digest"),
            ('=', '=', damaged(), "cut"),
            ('-', '!', damaged(), "cut"),
            ('=', '!', Decoded::Whole, "diff_id"),
            ('-', '!', Decoded::Whole, "diff_id"),
            ('=', '!', Decoded::Partly, ""),
        ];
        for (blob, tar, decoded, wanted) in rows {
            let shown = format!("blob {blob}, tar {tar}, {decoded:?}");
            let right = Digests { blob: digest('='), tar: digest('=') };
            let fault = verdict(&right, &Digests { blob: digest(blob), tar: digest(tar) }, decoded);
            let name = match fault {
                Some(BlobFault::Digest { .. }) => "digest",
                Some(BlobFault::DiffId { .. }) => "diff_id",
                Some(BlobFault::CutShort(_)) => "cut",
                None => "",
                Some(other) => panic!("{shown}: {other:?}"),
            };
            assert_eq!(name, wanted, "{shown}");
        }
    }
}
