//! Why something cannot be signed.

use crate::escape::escape;
use crate::formats::authenticode::Fault;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use thiserror::Error;

/// Why something cannot be signed.
#[derive(Debug, Error)]
pub enum SigningError {
    /// A file of a key or a certificate cannot be read.
    #[error("cannot read the {what} {}", crate::escape::path(.path))]
    Read {
        /// `signing key` or `certificate`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A file that is something else.
    #[error("{what} {found}: {}", crate::escape::path(.path))]
    Kind {
        /// `signing key` or `certificate`.
        what: &'static str,
        /// What it is instead, after the words above.
        found: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// A key with a passphrase.
    #[error("signing key is encrypted, and nobody is asked for a passphrase: {}", crate::escape::path(.0))]
    Encrypted(PathBuf),
    /// A key of a kind or size that cannot be used.
    #[error("signing key cannot be used, {reason}: {}", crate::escape::path(.path))]
    Key {
        /// What is wrong with it.
        reason: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// Key and certificate are two different ones'.
    #[error("certificate does not belong to the signing key: {certificate}")]
    NotHis {
        /// Its subject.
        certificate: String,
    },
    /// No EFI program, or one that cannot be signed.
    #[error("cannot sign {}: {fault}", escape(.path.as_bytes()))]
    Program {
        /// Its path on the ESP.
        path: String,
        /// What is wrong with it.
        fault: Fault,
    },
    /// The program that signs cannot be started, or its output not read.
    #[error("cannot run the signing command {program}")]
    Start {
        /// Its name.
        program: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// It failed.
    #[error("signing command failed ({status}): {program}")]
    Failed {
        /// Its name.
        program: String,
        /// How it ended.
        status: ExitStatus,
    },
    /// It took too long.
    #[error("signing command did not end in {seconds} seconds: {program}")]
    TimedOut {
        /// Its name.
        program: String,
        /// So long was waited.
        seconds: u64,
    },
    /// It printed more than any signature.
    #[error("signing command printed more than a signature: {program}")]
    TooMuch {
        /// Its name.
        program: String,
    },
    /// What it printed is no signature by the certificate's key.
    #[error("what the signing command printed is no signature by the certificate's key: {program}")]
    Wrong {
        /// Its name.
        program: String,
    },
    /// Our own signature is wrong, which only broken memory or a broken key explains.
    #[error("signing key makes signatures that its certificate does not confirm")]
    Unconfirmed,
}

impl SigningError {
    /// What to do about it, where there is something.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            SigningError::Kind { what: "certificate", .. } => {
                "--sign-cert takes one X.509 certificate in PEM, with an RSA, P-256 or P-384 key: openssl req -x509 makes one".into()
            }
            SigningError::Kind { .. } => {
                "--sign-key takes a private key in PEM: openssl req -x509 -newkey rsa:2048 -nodes makes one with its certificate".into()
            }
            SigningError::Encrypted(_) => {
                "let the program that knows the passphrase sign: --sign-command 'openssl pkeyutl -sign -inkey KEY -pkeyopt digest:sha256'".into()
            }
            SigningError::Key { .. } => "RSA from 2048 to 4096 bits, ECDSA P-256 and P-384 can be used".into(),
            SigningError::NotHis { .. } => "give the certificate that was made with this key".into(),
            SigningError::Wrong { .. } => {
                "it gets a SHA-256 digest of 32 bytes on standard input, and prints the signature alone: RSA PKCS #1 v1.5 or ECDSA in DER".into()
            }
            _ => return None,
        })
    }
}
