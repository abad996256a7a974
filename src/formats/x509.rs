//! Certificates, as far as signatures of boot files need them: whose they are, for how long, and the public key.
//!
//! ```text
//! Certificate ─▶ TBSCertificate: [0] version, serial number, algorithm, issuer, validity, subject, SubjectPublicKeyInfo
//!                signature algorithm, signature                                       (neither is looked at)
//! ```
//!
//! Who issued a certificate is not verified: firmware trusts the certificate itself, not a chain.
//! Specifications: RFC 5280, 4.1; RFC 5480; RFC 8017, A.1.1.

use super::calendar::days;
use super::der::{self, Element, Elements};
use crate::escape::escape;

/// `rsaEncryption`, without tag and length.
pub const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// `id-ecPublicKey`.
pub const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
/// `secp256r1`.
pub const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// `secp384r1`.
pub const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
/// Longest certificate that is taken, in bytes; usual ones have 1 to 2 KiB.
pub const LONGEST: usize = 64 << 10;

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublicKey {
    /// `RSAPublicKey` in DER.
    Rsa(Vec<u8>),
    /// An uncompressed point of P-256: 65 bytes.
    P256(Vec<u8>),
    /// An uncompressed point of P-384: 97 bytes.
    P384(Vec<u8>),
    /// Any other.
    Other,
}

impl PublicKey {
    /// What people call it.
    pub fn name(&self) -> &'static str {
        match self {
            PublicKey::Rsa(_) => "RSA",
            PublicKey::P256(_) => "ECDSA P-256",
            PublicKey::P384(_) => "ECDSA P-384",
            PublicKey::Other => "another algorithm",
        }
    }
}

/// A certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// All of it, in DER.
    pub der: Vec<u8>,
    /// `issuer` and `serialNumber`, which together name it: both whole elements.
    pub issuer_and_serial: (Vec<u8>, Vec<u8>),
    /// `subject` as text, `CN=…` and the like, escaped.
    pub subject: String,
    /// When it begins and ends to be valid, in seconds since 1970, both included.
    pub validity: (i64, i64),
    /// The key that it is about.
    pub key: PublicKey,
}

impl Certificate {
    /// Reads DER with nothing behind it. `None` when it is no certificate.
    pub fn parse(der: &[u8]) -> Option<Certificate> {
        if der.len() > LONGEST {
            return None;
        }
        let mut signed = der::only(der, der::SEQUENCE)?.inside();
        let mut fields = signed.take(der::SEQUENCE)?.inside();
        (signed.take(der::SEQUENCE).is_some() && signed.take(der::BIT_STRING).is_some()).then_some(())?;
        fields.take(0xa0);
        let serial = fields.take(der::INTEGER)?;
        fields.take(der::SEQUENCE)?;
        let issuer = fields.take(der::SEQUENCE)?;
        let mut validity = fields.take(der::SEQUENCE)?.inside();
        let validity = (seconds(validity.any()?)?, seconds(validity.any()?)?);
        let subject = fields.take(der::SEQUENCE)?;
        let key = public_key(fields.take(der::SEQUENCE)?)?;
        let issuer_and_serial = (issuer.whole.to_vec(), serial.whole.to_vec());
        Some(Certificate { der: der.to_vec(), issuer_and_serial, subject: name(subject), validity, key })
    }
}

/// A `SubjectPublicKeyInfo`. `None` when it is none.
fn public_key(info: Element<'_>) -> Option<PublicKey> {
    let mut info = info.inside();
    let mut algorithm = info.take(der::SEQUENCE)?.inside();
    let id = algorithm.take(der::OID)?.content;
    // A bit string begins with the number of bits of its last byte that do not count.
    let bits = info.take(der::BIT_STRING)?.content.strip_prefix(&[0])?;
    let curve = algorithm.take(der::OID).map(|curve| curve.content);
    let is_point = |length: usize| bits.len() == length && bits[0] == 4;
    Some(match (id, curve) {
        (RSA, None) => {
            let mut numbers = der::only(bits, der::SEQUENCE)?.inside();
            (numbers.take(der::INTEGER).is_some() && numbers.take(der::INTEGER).is_some()).then_some(())?;
            PublicKey::Rsa(bits.to_vec())
        }
        (EC, Some(P256)) if is_point(65) => PublicKey::P256(bits.to_vec()),
        (EC, Some(P384)) if is_point(97) => PublicKey::P384(bits.to_vec()),
        _ => PublicKey::Other,
    })
}

/// Most parts of a name that are shown.
const MAX_PARTS: usize = 16;

/// A `Name` as RFC 4514 has it, but in the order it is written in. Text is escaped.
fn name(name: Element<'_>) -> String {
    let mut parts = Vec::new();
    let mut sets = name.inside();
    while let Some(mut attributes) = sets.take(der::SET).map(Element::inside) {
        while let Some(mut pair) = attributes.take(der::SEQUENCE).map(Element::inside) {
            let (Some(id), Some(value)) = (pair.take(der::OID), pair.any()) else { continue };
            if parts.len() < MAX_PARTS {
                parts.push(format!("{}={}", attribute(id.content), text(value)));
            }
        }
    }
    if parts.is_empty() { "a certificate without a name".into() } else { parts.join(", ") }
}

/// The usual attributes have two bytes 55 04 in front (X.520).
fn attribute(id: &[u8]) -> String {
    let known = match id {
        [0x55, 0x04, 3] => "CN",
        [0x55, 0x04, 5] => "serialNumber",
        [0x55, 0x04, 6] => "C",
        [0x55, 0x04, 7] => "L",
        [0x55, 0x04, 8] => "ST",
        [0x55, 0x04, 10] => "O",
        [0x55, 0x04, 11] => "OU",
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x01] => "emailAddress",
        _ => return format!("#{}", crate::hex::hex(id)),
    };
    known.to_owned()
}

/// A string's text. `BMPString` has two bytes a character; the others are ASCII, UTF-8, or as good as that.
fn text(value: Element<'_>) -> String {
    const LONGEST: usize = 256;
    let shown = &value.content[..value.content.len().min(LONGEST)];
    match value.tag {
        0x1e => {
            let units: Vec<u16> = shown.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
            escape(String::from_utf16_lossy(&units).as_bytes())
        }
        _ => escape(shown),
    }
}

/// A time in seconds since 1970 (RFC 5280, 4.1.2.5): `YYMMDDHHMMSSZ`, where 50 is 1950, or `YYYYMMDDHHMMSSZ`.
fn seconds(time: Element<'_>) -> Option<i64> {
    let digits = time.content.strip_suffix(b"Z")?;
    let number = |digits: &[u8]| {
        digits
            .iter()
            .try_fold(0i64, |number, digit| digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0')))
    };
    let (year, rest) = match time.tag {
        der::UTC_TIME if digits.len() == 12 => {
            let year = number(&digits[..2])?;
            (year + if year < 50 { 2000 } else { 1900 }, &digits[2..])
        }
        der::GENERALIZED_TIME if digits.len() == 14 => (number(&digits[..4])?, &digits[4..]),
        _ => return None,
    };
    let mut fields = rest.chunks_exact(2).map(number);
    let mut field = |range: std::ops::RangeInclusive<i64>| fields.next()?.filter(|value| range.contains(value));
    let (month, day) = (field(1..=12)?, field(1..=31)?);
    let (hour, minute, second) = (field(0..=23)?, field(0..=59)?, field(0..=60)?);
    Some(days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
}

/// Certificates in the contents of a `[0]` of a signature: the first `most` of them that can be read.
pub fn all(bytes: &[u8], most: usize) -> Vec<Certificate> {
    let mut elements = Elements(bytes);
    std::iter::from_fn(|| elements.any()).take(most).filter_map(|one| Certificate::parse(one.whole)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_and_days_are_days() {
        let of = |tag, text: &[u8]| seconds(Element { tag, content: text, whole: text });
        for (tag, text, expected) in [
            (der::UTC_TIME, &b"700101000000Z"[..], Some(0)),
            (der::UTC_TIME, b"491231235959Z", Some(2_524_607_999)),
            (der::UTC_TIME, b"500101000000Z", Some(-631_152_000)),
            (der::GENERALIZED_TIME, b"20000229120000Z", Some(951_825_600)),
            (der::GENERALIZED_TIME, b"99991231235959Z", Some(253_402_300_799)),
            (der::UTC_TIME, b"701301000000Z", None),
            (der::UTC_TIME, b"7001010000Z", None),
            (der::UTC_TIME, b"70010100000xZ", None),
            (der::GENERALIZED_TIME, b"20000229120000+0100", None),
            (der::INTEGER, b"700101000000Z", None),
        ] {
            assert_eq!(of(tag, text), expected, "{}", escape(text));
        }
    }

    #[test]
    fn what_is_no_certificate_is_none() {
        for bytes in [&b""[..], b"\x30\x00", b"\x30\x80\x00\x00", &[0x30; 300]] {
            assert_eq!(Certificate::parse(bytes), None);
        }
    }
}
