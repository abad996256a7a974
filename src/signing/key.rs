//! Private keys, from the PEM files that hold them, and their signatures.
//!
//! ```text
//! -----BEGIN PRIVATE KEY-----       PKCS #8        RFC 5958
//! -----BEGIN RSA PRIVATE KEY-----   PKCS #1        RFC 8017, A.1.2
//! -----BEGIN EC PRIVATE KEY-----    SEC1           RFC 5915
//! ```
//!
//! Signatures of ECDSA take their number from key and digest (RFC 6979): one key and one disk give one signature, as with
//! RSA PKCS #1 v1.5.

use super::SigningError;
use super::pem::armours;
use crate::formats::der;
use crate::formats::x509::{self, PublicKey};
use p256::ecdsa::signature::hazmat::PrehashSigner;
use ring::signature::{KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use sha2::{Digest, Sha256};
use std::path::Path;

/// A private key.
pub(super) enum Key {
    Rsa(Box<RsaKeyPair>),
    P256(p256::ecdsa::SigningKey),
    P384(p384::ecdsa::SigningKey),
}

/// What a signature of a curve is made with.
enum Curve {
    P256,
    P384,
}

impl Key {
    /// Reads the first private key of a file's text.
    pub(super) fn parse(text: &str, path: &Path) -> Result<Key, SigningError> {
        let kind = |found| SigningError::Kind { what: "signing key", found, path: path.to_owned() };
        let refuse = |reason| SigningError::Key { reason, path: path.to_owned() };
        let armours = armours(text);
        let Some(armour) = armours.iter().find(|armour| armour.label.ends_with("PRIVATE KEY")) else {
            let is_public = armours.iter().any(|one| one.label == "CERTIFICATE" || one.label.ends_with("PUBLIC KEY"));
            return Err(kind(if is_public { "is a certificate or a public key" } else { "has no private key in PEM" }));
        };
        if armour.has_headers || armour.label == "ENCRYPTED PRIVATE KEY" {
            return Err(SigningError::Encrypted(path.to_owned()));
        }
        let der = armour.bytes.as_deref().ok_or_else(|| kind("is damaged"))?;
        match armour.label.as_str() {
            "RSA PRIVATE KEY" => rsa(der),
            "EC PRIVATE KEY" => {
                curve_of(der).map_or(Err("it has another curve than P-256 and P-384"), |(curve, d)| ec(&curve, &d))
            }
            "PRIVATE KEY" => pkcs8(der).unwrap_or(Err("it is of another algorithm")),
            _ => Err("it is of another algorithm"),
        }
        .map_err(refuse)
    }

    /// Its public key.
    pub(super) fn public(&self) -> PublicKey {
        match self {
            Key::Rsa(key) => PublicKey::Rsa(key.public_key().as_ref().to_vec()),
            Key::P256(key) => PublicKey::P256(key.verifying_key().to_encoded_point(false).as_bytes().to_vec()),
            Key::P384(key) => PublicKey::P384(key.verifying_key().to_encoded_point(false).as_bytes().to_vec()),
        }
    }

    /// Its signature of the SHA-256 of `message`: RSA PKCS #1 v1.5, or ECDSA in DER. `None` for a key that is not sound.
    pub(super) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let digest = Sha256::digest(message);
        match self {
            Key::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                // No number of it reaches the signature: the padding has none.
                let random = ring::rand::SystemRandom::new();
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).ok()?;
                Some(signature)
            }
            Key::P256(key) => {
                let signature: p256::ecdsa::Signature = key.sign_prehash(&digest).ok()?;
                Some(signature.to_der().as_bytes().to_vec())
            }
            Key::P384(key) => {
                let signature: p384::ecdsa::Signature = key.sign_prehash(&digest).ok()?;
                Some(signature.to_der().as_bytes().to_vec())
            }
        }
    }
}

/// `PrivateKeyInfo`. `None` for another algorithm, or when it is none.
fn pkcs8(info: &[u8]) -> Option<Result<Key, &'static str>> {
    let mut fields = der::only(info, der::SEQUENCE)?.inside();
    fields.take(der::INTEGER)?;
    let mut algorithm = fields.take(der::SEQUENCE)?.inside();
    let id = algorithm.take(der::OID)?.content;
    let key = fields.take(der::OCTET_STRING)?.content;
    match id {
        x509::RSA => Some(rsa(key)),
        x509::EC => {
            let curve = named(algorithm.take(der::OID)?.content)?;
            let mut fields = der::only(key, der::SEQUENCE)?.inside();
            fields.take(der::INTEGER)?;
            Some(ec(&curve, fields.take(der::OCTET_STRING)?.content))
        }
        _ => None,
    }
}

/// `ECPrivateKey`: its curve and its number.
fn curve_of(der: &[u8]) -> Option<(Curve, Vec<u8>)> {
    let mut fields = der::only(der, der::SEQUENCE)?.inside();
    fields.take(der::INTEGER)?;
    let number = fields.take(der::OCTET_STRING)?.content;
    let curve = fields.take(0xa0)?.inside().take(der::OID)?.content;
    Some((named(curve)?, number.to_vec()))
}

fn named(curve: &[u8]) -> Option<Curve> {
    match curve {
        x509::P256 => Some(Curve::P256),
        x509::P384 => Some(Curve::P384),
        _ => None,
    }
}

fn ec(curve: &Curve, number: &[u8]) -> Result<Key, &'static str> {
    let damaged = |_| "it is damaged";
    match curve {
        Curve::P256 => p256::ecdsa::SigningKey::from_slice(number).map(Key::P256).map_err(damaged),
        Curve::P384 => p384::ecdsa::SigningKey::from_slice(number).map(Key::P384).map_err(damaged),
    }
}

fn rsa(der: &[u8]) -> Result<Key, &'static str> {
    let key = RsaKeyPair::from_der(der).map_err(|_| "it is damaged, or has fewer than 2048 or more than 4096 bits")?;
    Ok(Key::Rsa(Box::new(key)))
}
