//! Content digests: `algorithm:encoded`, as descriptors, diff_ids and blob paths have them.
//!
//! Registered algorithms are sha256 (64 lower-case hexadecimal digits) and sha512 (128). Everything else, upper case
//! and other lengths included, is refused here, before a digest becomes a path or a key. blake3 is not supported.
//!
//! OCI image-spec, descriptor.md, "Digests".

use crate::escape::escape;
use crate::image::sha256::Sha256;
use serde::de::{Deserialize, Deserializer, Error as _};
use sha2::{Digest as _, Sha512};
use std::fmt::{self, Write};
use std::str::FromStr;

/// A registered digest algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// `sha256`.
    Sha256,
    /// `sha512`.
    Sha512,
}

impl Algorithm {
    /// The name in front of the colon.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha512 => "sha512",
        }
    }

    /// Hexadecimal digits of a digest.
    fn digits(self) -> usize {
        match self {
            Algorithm::Sha256 => 64,
            Algorithm::Sha512 => 128,
        }
    }
}

/// A digest whose grammar was checked.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest {
    algorithm: Algorithm,
    hex: Box<str>,
}

/// Why a text is no digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// No colon, or nothing on one side of it.
    #[error("not a digest: \"{}\"", escape(.0.as_bytes()))]
    Form(String),
    /// An algorithm this reader does not compute.
    #[error("unsupported digest algorithm \"{}\"", escape(.0.as_bytes()))]
    Algorithm(String),
    /// Wrong length, upper case, or not hexadecimal.
    #[error("{} digest is not {} lower-case hexadecimal digits: \"{}\"", .0.name(), .0.digits(), escape(.1.as_bytes()))]
    Encoded(Algorithm, String),
}

impl Digest {
    /// The sha256 digest of `bytes`.
    pub fn sha256(bytes: &[u8]) -> Digest {
        Hasher::digest(Algorithm::Sha256, bytes)
    }

    /// The sha256 digest with these hexadecimal digits, if they are that.
    pub fn from_sha256_hex(hex: &str) -> Option<Digest> {
        is_hex(hex, Algorithm::Sha256).then(|| Digest { algorithm: Algorithm::Sha256, hex: hex.into() })
    }

    /// The algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The lower-case hexadecimal digits after the colon.
    pub fn hex(&self) -> &str {
        &self.hex
    }

    /// The path of the blob in an OCI layout: `blobs/sha256/…` (image-layout.md, "Blobs").
    pub fn path(&self) -> String {
        format!("blobs/{}/{}", self.algorithm.name(), self.hex)
    }
}

fn is_hex(text: &str, algorithm: Algorithm) -> bool {
    text.len() == algorithm.digits() && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// A digest in an error message need not be whole to be recognised.
fn shortened(text: &str) -> String {
    text.chars().take(160).collect()
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Digest, DigestError> {
        let (name, hex) = text.split_once(':').ok_or_else(|| DigestError::Form(shortened(text)))?;
        let algorithm = match name {
            "sha256" => Algorithm::Sha256,
            "sha512" => Algorithm::Sha512,
            "" => return Err(DigestError::Form(shortened(text))),
            other => return Err(DigestError::Algorithm(shortened(other))),
        };
        if !is_hex(hex, algorithm) {
            return Err(DigestError::Encoded(algorithm, shortened(hex)));
        }
        Ok(Digest { algorithm, hex: hex.into() })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.name(), self.hex)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// A digest being computed.
#[derive(Clone)]
pub enum Hasher {
    /// sha256.
    Sha256(Sha256),
    /// sha512.
    Sha512(Sha512),
}

impl Hasher {
    /// The digest of nothing yet.
    pub fn new(algorithm: Algorithm) -> Hasher {
        match algorithm {
            Algorithm::Sha256 => Hasher::Sha256(Sha256::new()),
            Algorithm::Sha512 => Hasher::Sha512(Sha512::new()),
        }
    }

    /// The digest of `bytes`.
    pub fn digest(algorithm: Algorithm, bytes: &[u8]) -> Digest {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }

    /// The next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Sha256(hasher) => hasher.update(bytes),
            Hasher::Sha512(hasher) => hasher.update(bytes),
        }
    }

    /// The next bytes of two digests, in less time than one after the other.
    pub fn update_both(a: &mut Hasher, of_a: &[u8], b: &mut Hasher, of_b: &[u8]) {
        match (a, b) {
            (Hasher::Sha256(a), Hasher::Sha256(b)) => Sha256::update_both(a, of_a, b, of_b),
            (a, b) => {
                a.update(of_a);
                b.update(of_b);
            }
        }
    }

    /// The digest of everything so far.
    pub fn finish(self) -> Digest {
        let (algorithm, hex) = match self {
            Hasher::Sha256(hasher) => (Algorithm::Sha256, hexadecimal(&hasher.finish())),
            Hasher::Sha512(hasher) => (Algorithm::Sha512, hexadecimal(&hasher.finalize())),
        };
        Digest { algorithm, hex: hex.into() }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut hex, byte| {
        _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registered_algorithms() {
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::sha256(b"").to_string(), empty);
        assert_eq!(empty.parse::<Digest>().unwrap(), Digest::sha256(b""));
        let long = Hasher::digest(Algorithm::Sha512, b"");
        assert!(long.to_string().starts_with("sha512:cf83e1357eefb8bd"));
        assert_eq!(long.to_string().parse::<Digest>().unwrap(), long);
        assert_eq!(long.path(), format!("blobs/sha512/{}", long.hex()));
    }

    #[test]
    fn anything_else_is_refused() {
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let upper = hex.to_uppercase();
        for bad in [
            String::new(),
            ":".into(),
            hex.into(),
            format!(":{hex}"),
            format!("sha256:{upper}"),
            format!("SHA256:{hex}"),
            format!("sha256:{}", &hex[1..]),
            format!("sha256:{hex}0"),
            format!("sha512:{hex}"),
            format!("md5:{}", &hex[..32]),
            format!("sha256+b64u:{hex}"),
            "sha256:../../../../etc/passwd".into(),
            format!("sha256:{}/x", &hex[2..]),
            format!("sha256:{} ", &hex[1..]),
        ] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }

    #[test]
    fn errors_are_safe_to_show() {
        let error = "sha256:\x1b[2J".parse::<Digest>().unwrap_err().to_string();
        assert!(!error.contains('\x1b'), "{error}");
    }
}
