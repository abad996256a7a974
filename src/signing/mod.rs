//! Signing what UEFI starts, and the keys that firmware is to know, for Secure Boot.
//!
//! ```text
//! private key ──┐                    ┌─▶ EFI programs with a signature        (Authenticode)
//! or a program ─┴─▶ Signing ─────────┴─▶ PK.auth, KEK.auth, db.auth           (authenticated variables)
//!                   └ certificate
//! ```
//!
//! Nothing that is signed has a time of signing or a random number in it: the same files and key give the same bytes. The
//! variables have a time, which is the beginning of the certificate's validity, so that those of a later certificate are
//! later. Every signature is verified with the certificate before it is used.
//!
//! Not supported: chains of certificates, digests other than SHA-256, counter-signatures of a time.

mod error;
mod key;
mod pem;
mod program;
pub mod verify;

pub use error::SigningError;

use crate::formats::authenticode;
use crate::formats::cms::{self, Parts};
use crate::formats::signature_list::{self, Variable};
use crate::formats::unpack::read_bounded;
use crate::formats::x509::{Certificate, PublicKey};
use crate::hex::hex;
use crate::{identity, inputs};
use key::Key;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Mutex;

/// Longest file of a key or a certificate, in bytes.
const LONGEST: u64 = 1 << 20;

/// Who signs.
enum With {
    Key(Key),
    /// A program and its arguments.
    Program(Vec<String>),
}

/// A key, or a program that has it, and its certificate.
pub struct Signing {
    certificate: Certificate,
    with: With,
    /// Signatures by what they are of: nobody is asked twice.
    made: Mutex<BTreeMap<[u8; 32], Vec<u8>>>,
}

impl std::fmt::Debug for Signing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signing").field("certificate", &self.certificate.subject).finish_non_exhaustive()
    }
}

impl Signing {
    /// With a private key in a file.
    ///
    /// # Errors
    /// Files that are something else, and a certificate of another key.
    pub fn with_key(key: &Path, certificate: &Path) -> Result<Signing, SigningError> {
        let text = read("signing key", key)?;
        let found = Key::parse(&text, key)?;
        let certificate = read_certificate(certificate)?;
        if found.public() != certificate.key {
            return Err(SigningError::NotHis { certificate: certificate.subject });
        }
        Ok(Signing { certificate, with: With::Key(found), made: Mutex::default() })
    }

    /// With a program: its name, and its arguments.
    ///
    /// # Errors
    /// A certificate file that is something else.
    pub fn with_program(words: Vec<String>, certificate: &Path) -> Result<Signing, SigningError> {
        let certificate = read_certificate(certificate)?;
        Ok(Signing { certificate, with: With::Program(words), made: Mutex::default() })
    }

    /// Whose signatures they are.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The program `file`, which the ESP has at `path`, signed. Signatures that it has are replaced: a certificate that
    /// a firmware has come to refuse makes it refuse the program, whoever else has signed it.
    ///
    /// # Errors
    /// It is no EFI program, or nobody signs.
    pub fn program(&self, path: &str, file: &[u8]) -> Result<Vec<u8>, SigningError> {
        let fault = |fault| SigningError::Program { path: path.to_owned(), fault };
        let bare = authenticode::bare(file).map_err(fault)?;
        let content = authenticode::indirect_data(&authenticode::digest(&bare).map_err(fault)?);
        // Of the content its bytes without tag and length are digested (RFC 5652, 5.4): it is a short sequence.
        let inner = crate::formats::der::first(&content).map_or(&[][..], |(element, _)| element.content);
        let attributes = cms::attributes(authenticode::INDIRECT_DATA, &Sha256::digest(inner).into());
        let signature = self.sign(&attributes)?;
        let signed = cms::content_info(&cms::signed_data(&Parts {
            content_type: authenticode::INDIRECT_DATA,
            content: Some(&content),
            certificate: &self.certificate,
            attributes: Some(&attributes),
            signature: &signature,
        }));
        authenticode::attach(bare, &signed).map_err(fault)
    }

    /// Most bytes that a signature makes a program longer.
    pub fn longest(&self) -> usize {
        // The certificate, its issuer and serial number again, the signature, and fewer than 1024 bytes around them.
        let (issuer, serial) = &self.certificate.issuer_and_serial;
        self.certificate.der.len() + issuer.len() + serial.len() + program::LONGEST as usize + 1024
    }

    /// The list that has the certificate alone, and the time that variables with it have.
    pub fn list(&self) -> (Vec<u8>, [u8; 16]) {
        list(&self.certificate)
    }

    /// The file `NAME.auth` that sets a variable to the certificate.
    ///
    /// # Errors
    /// Nobody signs.
    pub fn variable(&self, variable: Variable) -> Result<Vec<u8>, SigningError> {
        let (list, time) = self.list();
        let signature = self.sign(&signature_list::signed_bytes(variable, &time, &list))?;
        let signed = cms::signed_data(&Parts {
            content_type: cms::DATA,
            content: None,
            certificate: &self.certificate,
            attributes: None,
            signature: &signature,
        });
        Ok(signature_list::authenticated(&time, &signed, &list))
    }

    /// The signature of a message, verified.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SigningError> {
        let digest: [u8; 32] = Sha256::digest(message).into();
        // One at a time, so that two tokens' worth of questions are never on the screen at once.
        let mut made = self.made.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(signature) = made.get(&digest) {
            return Ok(signature.clone());
        }
        let (signature, wrong) = match &self.with {
            With::Key(key) => (key.sign(message).unwrap_or_default(), SigningError::Unconfirmed),
            With::Program(words) => {
                (program::sign(words, &digest)?, SigningError::Wrong { program: program::name(words) })
            }
        };
        if !verify::is_by(&self.certificate.key, message, &signature) {
            return Err(wrong);
        }
        made.insert(digest, signature.clone());
        Ok(signature)
    }
}

/// A signature list of one certificate, and the time of variables that have it.
pub fn list(certificate: &Certificate) -> (Vec<u8>, [u8; 16]) {
    let owner = identity::signature_owner(&certificate.der);
    (signature_list::encode(certificate, owner), signature_list::time(certificate.validity.0))
}

/// SHA-256 of a certificate, as tools show it, in hexadecimal.
pub fn fingerprint(certificate: &Certificate) -> String {
    hex(Sha256::digest(&certificate.der))
}

/// Reads a certificate in PEM whose key can sign.
///
/// # Errors
/// A file that is something else.
pub fn read_certificate(path: &Path) -> Result<Certificate, SigningError> {
    let text = read("certificate", path)?;
    let kind = |found| SigningError::Kind { what: "certificate", found, path: path.to_owned() };
    let armours = pem::armours(&text);
    let Some(armour) = armours.iter().find(|armour| armour.label == "CERTIFICATE") else {
        let is_private = armours.iter().any(|armour| armour.label.ends_with("PRIVATE KEY"));
        return Err(kind(if is_private { "is a private key" } else { "is no certificate in PEM" }));
    };
    let certificate = armour.bytes.as_deref().and_then(Certificate::parse).ok_or_else(|| kind("is damaged"))?;
    match certificate.key {
        PublicKey::Other => Err(kind("has a key of another algorithm than RSA, ECDSA P-256 and P-384")),
        _ => Ok(certificate),
    }
}

fn read(what: &'static str, path: &Path) -> Result<String, SigningError> {
    let failed = |source| SigningError::Read { what, path: path.to_owned(), source };
    let kind = |found| SigningError::Kind { what, found, path: path.to_owned() };
    if path.is_dir() {
        return Err(kind("is a folder"));
    }
    let too_large = || failed(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 1 MiB"));
    let bytes = inputs::open(path).and_then(|file| read_bounded(file, LONGEST)).map_err(failed)?;
    let bytes = bytes.ok_or_else(too_large)?;
    String::from_utf8(bytes)
        .map_err(|_| kind(if what == "certificate" { "is no certificate in PEM" } else { "has no private key in PEM" }))
}

#[cfg(test)]
mod tests;
