//! Keys that may vouch for a kernel, from the files that hold them.
//!
//! ```text
//! -----BEGIN PGP PUBLIC KEY BLOCK-----   OpenPGP, armoured; several blocks in a file are all taken   RFC 4880, 6.2
//! 0x98 0x99 0xc6 …                       OpenPGP, binary; a keyring is several keys                  RFC 4880, 4.2
//! … "KBXf" at 8                          GnuPG's keybox                                              kbx/keybox-blob.c
//! -----BEGIN PUBLIC KEY-----             RSA: SubjectPublicKeyInfo                                   RFC 7468, 13
//! -----BEGIN RSA PUBLIC KEY-----         RSA: RSAPublicKey, from before                              RFC 8017, A.1.1
//! ```

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::spki;
use crate::formats::unpack;
use crate::kernel::KernelError;
use crate::kernel::error::shown;
use crate::once;

/// Longest file of keys, in bytes; a distribution's keyring has less than 100 KiB.
const MAX: u64 = 8 << 20;
/// Labels of the armours that are read.
const PGP: &str = "PGP PUBLIC KEY BLOCK";
const SPKI: &str = "PUBLIC KEY";
const PKCS1: &str = "RSA PUBLIC KEY";

/// Keys; none is no requirement.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    /// OpenPGP keyrings, as `gpgv` reads them.
    rings: Vec<Vec<u8>>,
    /// RSA keys: `RSAPublicKey` (RFC 8017, A.1.1) in DER, and what the file is called.
    rsa: Vec<(Vec<u8>, String)>,
}

impl Keys {
    /// Reads the files of keys.
    ///
    /// # Errors
    /// [`KernelError::NoKey`] for a file that has none.
    pub fn read(files: &[PathBuf]) -> Result<Keys, KernelError> {
        let mut keys = Keys::default();
        for path in files {
            keys.add(path)?;
        }
        Ok(keys)
    }

    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.rings.is_empty() && self.rsa.is_empty()
    }

    pub(super) fn has_openpgp(&self) -> bool {
        !self.rings.is_empty()
    }

    pub(super) fn rings(&self) -> &[Vec<u8>] {
        &self.rings
    }

    pub(super) fn rsa(&self) -> &[(Vec<u8>, String)] {
        &self.rsa
    }

    fn add(&mut self, path: &Path) -> Result<(), KernelError> {
        let file = once::open(path, "a key").map_err(KernelError::io("open", path))?;
        let bytes = unpack::read_bounded(file, MAX).map_err(KernelError::io("read", path))?;
        let too_large = || KernelError::TooLarge { what: "key", limit: MAX, name: shown(path) };
        let bytes = bytes.ok_or_else(too_large)?;
        let no_key = |found: &str| KernelError::NoKey { found: found.to_owned(), path: path.to_owned() };
        if is_packet_of_key(&bytes) || bytes.get(8..12) == Some(b"KBXf") {
            self.rings.push(bytes);
            return Ok(());
        }
        let text = std::str::from_utf8(&bytes).map_err(|_| no_key("no public key of OpenPGP and no PEM"))?;
        let rings: Vec<Vec<u8>> = armoured(text, PGP).map_err(no_key)?;
        let infos = armoured(text, SPKI).map_err(no_key)?;
        let keys = armoured(text, PKCS1).map_err(no_key)?;
        if rings.is_empty() && infos.is_empty() && keys.is_empty() {
            let private = text.contains("PRIVATE KEY");
            return Err(no_key(if private { "a private key" } else { "no public key of OpenPGP and no PEM" }));
        }
        if rings.iter().any(|ring| !is_packet_of_key(ring)) {
            return Err(no_key("an armour with no public key of OpenPGP in it"));
        }
        self.rings.extend(rings);
        for info in infos {
            let key = spki::of_info(&info).ok_or_else(|| no_key("a public key of another algorithm than RSA"))?;
            self.rsa.push((key, shown(path.file_name().map_or(path, Path::new))));
        }
        for key in keys {
            if !spki::is_rsa(&key) {
                return Err(no_key("an armour with no RSA key in it"));
            }
            self.rsa.push((key, shown(path.file_name().map_or(path, Path::new))));
        }
        Ok(())
    }
}

/// Whether OpenPGP packets begin with a public key: tag 6, in the old format or the new.
fn is_packet_of_key(bytes: &[u8]) -> bool {
    matches!(bytes.first(), Some(0x98..=0x9b | 0xc6))
}

/// The contents of all armours with this label. Headers and the CRC of OpenPGP's are passed over: GnuPG does not need it
/// and RFC 9580 has it gone.
fn armoured(text: &str, label: &str) -> Result<Vec<Vec<u8>>, &'static str> {
    let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
    let mut found = Vec::new();
    let mut lines = text.lines().map(str::trim_end);
    while lines.any(|line| line == begin) {
        let mut base64 = String::new();
        loop {
            match lines.next() {
                None => return Err("an armour without its end"),
                Some(line) if line == end => break,
                Some(line) if line.contains(": ") || line.starts_with('=') => {}
                Some(line) => base64.push_str(line),
            }
        }
        found.push(STANDARD.decode(base64).map_err(|_| "an armour with something else than base64 in it")?);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn armours_are_read_to_their_end() {
        let text = "text\n-----BEGIN PUBLIC KEY-----\r\nZm9v\nYmE=\n-----END PUBLIC KEY-----\n\
                    -----BEGIN PUBLIC KEY-----\nComment: a\n\nZg==\n=abcd\n-----END PUBLIC KEY-----\n";
        assert_eq!(armoured(text, SPKI).unwrap(), [b"fooba".to_vec(), b"f".to_vec()]);
        assert_eq!(armoured(text, PGP).unwrap(), [b""; 0]);
        assert!(armoured(&text[..60], SPKI).is_err());
        assert!(armoured(&text.replace("Zm9v", "Zm-v"), SPKI).is_err());
    }
}
