//! Whether a signature was made by a certificate's key: RSA PKCS #1 v1.5 or ECDSA, of a SHA-256.

use crate::formats::authenticode::{self, Fault};
use crate::formats::cms::SignedData;
use crate::formats::x509::{Certificate, PublicKey};
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA256_ASN1, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey,
    VerificationAlgorithm,
};
use sha2::{Digest, Sha256};

/// Whether it is. Never for keys of other algorithms, nor of fewer than 2048 bits.
pub fn is_by(key: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
    let (algorithm, bytes): (&dyn VerificationAlgorithm, _) = match key {
        PublicKey::Rsa(key) => (&RSA_PKCS1_2048_8192_SHA256, key),
        PublicKey::P256(point) => (&ECDSA_P256_SHA256_ASN1, point),
        PublicKey::P384(point) => (&ECDSA_P384_SHA256_ASN1, point),
        PublicKey::Other => return false,
    };
    UnparsedPublicKey::new(algorithm, bytes).verify(message, signature).is_ok()
}

/// What one signature of a program says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// Whose it is, if it brings the certificate along.
    pub by: Option<Certificate>,
    /// The digest in it is the program's.
    pub digest_matches: bool,
    /// The certificate's key made it.
    pub is_genuine: bool,
}

/// All signatures of a program, one for each signer.
///
/// # Errors
/// When it is no EFI program, or its table is damaged.
pub fn signatures(file: &[u8]) -> Result<Vec<Signed>, Fault> {
    let tables = authenticode::signatures(file)?;
    if tables.is_empty() {
        return Ok(Vec::new());
    }
    let digest = authenticode::digest(file)?;
    let mut found = Vec::new();
    for bytes in tables {
        let Some(data) = SignedData::parse(bytes) else {
            found.push(Signed { by: None, digest_matches: false, is_genuine: false });
            continue;
        };
        let digest_matches = authenticode::signed_digest(&data) == Some(&digest);
        found.extend(data.signers.iter().map(|signer| {
            let by = data.certificate_of(signer).cloned();
            // What is digested is the content without its tag and length (RFC 5652, 5.4).
            let content = data.content.map_or([0; 32], |content| Sha256::digest(content.content).into());
            let says_so = signer.is_sha256 && signer.message_digest() == Some(&content);
            let signed = signer.attributes.as_deref().unwrap_or_default();
            let is_genuine = says_so && by.as_ref().is_some_and(|by| is_by(&by.key, signed, signer.signature));
            Signed { by, digest_matches, is_genuine }
        }));
    }
    Ok(found)
}
