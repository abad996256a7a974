//! PKCS #7 signatures as boot files and firmware variables carry them: one signer, SHA-256, its certificate.
//!
//! ```text
//! ContentInfo (signedData) ─▶ SignedData: version, digest algorithms, content, [0] certificates, signers
//!                                           content: its type, [0] itself or nothing
//! SignerInfo: version, issuer and serial number, SHA-256, [0] attributes or none, algorithm, signature
//! ```
//!
//! Not supported, when read: more than 16 certificates or signers, digests other than SHA-256, time stamps.
//! Specifications: RFC 2315; RFC 5652, 5; RFC 8017, 8.2; RFC 5758, 3.2.

use super::der::{self, Element, Elements};
use super::x509::{self, Certificate, PublicKey};

/// `signedData`, without tag and length.
const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
/// `data`: content that is somewhere else.
pub const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01];
const CONTENT_TYPE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x03];
const MESSAGE_DIGEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x04];
/// `id-sha256`.
pub const SHA256: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];
/// `ecdsa-with-SHA256`.
const ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
/// Most certificates and signers that are looked at.
const MOST: usize = 16;

/// `AlgorithmIdentifier` of SHA-256.
pub fn sha256() -> Vec<u8> {
    der::sequence(&[&der::element(der::OID, &[SHA256]), &[der::NULL, 0]])
}

/// `AlgorithmIdentifier` of signatures by a key.
fn algorithm(key: &PublicKey) -> Vec<u8> {
    match key {
        PublicKey::Rsa(_) => der::sequence(&[&der::element(der::OID, &[x509::RSA]), &[der::NULL, 0]]),
        _ => der::sequence(&[&der::element(der::OID, &[ECDSA_SHA256])]),
    }
}

/// The attributes that are signed: the content's type, and its digest. A `SET OF`, which is what is signed.
pub fn attributes(content_type: &[u8], digest: &[u8; 32]) -> Vec<u8> {
    let attribute =
        |id, value: Vec<u8>| der::sequence(&[&der::element(der::OID, &[id]), &der::element(der::SET, &[&value])]);
    der::set_of(vec![
        attribute(CONTENT_TYPE, der::element(der::OID, &[content_type])),
        attribute(MESSAGE_DIGEST, der::element(der::OCTET_STRING, &[digest])),
    ])
}

/// What is put together to a signature.
pub struct Parts<'a> {
    /// Type of the content, without tag and length.
    pub content_type: &'a [u8],
    /// The content, an element; `None` when it is somewhere else.
    pub content: Option<&'a [u8]>,
    /// Whose signature it is.
    pub certificate: &'a Certificate,
    /// [`attributes`]; `None` when the content itself is signed.
    pub attributes: Option<&'a [u8]>,
    /// The signature.
    pub signature: &'a [u8],
}

/// `SignedData` of one signer.
pub fn signed_data(parts: &Parts<'_>) -> Vec<u8> {
    let (issuer, serial) = &parts.certificate.issuer_and_serial;
    // In a signer's place the set has another tag than in what is signed.
    let attributes = parts.attributes.map_or(Vec::new(), |set| [&[0xa0], &set[1..]].concat());
    let version = [der::INTEGER, 1, 1];
    let signer = der::sequence(&[
        &version,
        &der::sequence(&[issuer, serial]),
        &sha256(),
        &attributes,
        &algorithm(&parts.certificate.key),
        &der::element(der::OCTET_STRING, &[parts.signature]),
    ]);
    let content = parts.content.map_or(Vec::new(), |content| der::element(0xa0, &[content]));
    der::sequence(&[
        &version,
        &der::element(der::SET, &[&sha256()]),
        &der::sequence(&[&der::element(der::OID, &[parts.content_type]), &content]),
        &der::element(0xa0, &[&parts.certificate.der]),
        &der::element(der::SET, &[&signer]),
    ])
}

/// `ContentInfo` around `SignedData`.
pub fn content_info(signed_data: &[u8]) -> Vec<u8> {
    der::sequence(&[&der::element(der::OID, &[SIGNED_DATA]), &der::element(0xa0, &[signed_data])])
}

/// A signature that was read.
#[derive(Debug)]
pub struct SignedData<'a> {
    /// Type of the content.
    pub content_type: &'a [u8],
    /// The content.
    pub content: Option<Element<'a>>,
    /// The certificates that it brings along.
    pub certificates: Vec<Certificate>,
    /// Who signed.
    pub signers: Vec<Signer<'a>>,
}

/// One signer.
#[derive(Debug)]
pub struct Signer<'a> {
    issuer_and_serial: (&'a [u8], &'a [u8]),
    /// The digest is SHA-256.
    pub is_sha256: bool,
    /// The signed attributes, as the `SET OF` that is signed.
    pub attributes: Option<Vec<u8>>,
    /// The signature.
    pub signature: &'a [u8],
}

impl<'a> SignedData<'a> {
    /// Reads `ContentInfo` or `SignedData`; zeros may follow. `None` when it is neither.
    pub fn parse(bytes: &'a [u8]) -> Option<SignedData<'a>> {
        let (outer, rest) = der::first(bytes).filter(|(outer, _)| outer.tag == der::SEQUENCE)?;
        if rest.iter().any(|&byte| byte != 0) {
            return None;
        }
        let mut fields = outer.inside();
        if let Some(id) = fields.take(der::OID) {
            let inner = (id.content == SIGNED_DATA).then(|| fields.take(0xa0)).flatten()?;
            fields = der::only(inner.content, der::SEQUENCE)?.inside();
        }
        fields.take(der::INTEGER)?;
        fields.take(der::SET)?;
        let mut content = fields.take(der::SEQUENCE)?.inside();
        let content_type = content.take(der::OID)?.content;
        let content = content.take(0xa0).and_then(|explicit| explicit.inside().any());
        let certificates = fields.take(0xa0).map_or(Vec::new(), |all| x509::all(all.content, MOST));
        fields.take(0xa1);
        let mut signers = fields.take(der::SET)?.inside();
        let signers = std::iter::from_fn(|| signers.any()).take(MOST).filter_map(signer).collect();
        Some(SignedData { content_type, content, certificates, signers })
    }

    /// The certificate of a signer, if it is there.
    pub fn certificate_of(&self, signer: &Signer<'_>) -> Option<&Certificate> {
        let is_his = |certificate: &&Certificate| {
            let (issuer, serial) = &certificate.issuer_and_serial;
            (issuer.as_slice(), serial.as_slice()) == signer.issuer_and_serial
        };
        self.certificates.iter().find(is_his)
    }
}

fn signer(element: Element<'_>) -> Option<Signer<'_>> {
    let mut fields = element.inside();
    fields.take(der::INTEGER)?;
    let mut names = fields.take(der::SEQUENCE)?.inside();
    let issuer_and_serial = (names.take(der::SEQUENCE)?.whole, names.take(der::INTEGER)?.whole);
    let digest = fields.take(der::SEQUENCE)?.inside().take(der::OID)?.content;
    let attributes = fields.take(0xa0).map(|set| der::element(der::SET, &[set.content]));
    fields.take(der::SEQUENCE)?;
    let signature = fields.take(der::OCTET_STRING)?.content;
    Some(Signer { issuer_and_serial, is_sha256: digest == SHA256, attributes, signature })
}

impl Signer<'_> {
    /// The digest among the attributes.
    pub fn message_digest(&self) -> Option<&[u8]> {
        let mut attributes = der::only(self.attributes.as_deref()?, der::SET)?.inside();
        std::iter::from_fn(|| attributes.any()).take(MOST).find_map(|attribute| {
            let mut fields: Elements<'_> = attribute.inside();
            let id = fields.take(der::OID)?;
            let mut values = fields.take(der::SET)?.inside();
            (id.content == MESSAGE_DIGEST).then(|| values.take(der::OCTET_STRING)).flatten().map(|value| value.content)
        })
    }
}
