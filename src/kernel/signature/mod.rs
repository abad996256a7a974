//! Signatures of kernels: who vouches for the bytes that will boot.
//!
//! ```text
//! --kernel-key FILE...  ─ Keys ─┐
//! a package's file ─ signatures in it, or FILE.sig / FILE.asc beside it ─ one of them good? ─ Signer, or an error
//! ```
//!
//! | what | where its signature is | what it covers |
//! |---|---|---|
//! | `.rpm` | OpenPGP, in the signature header | the header, which has the payload's SHA-256 |
//! | `.apk` | RSA (PKCS #1 v1.5), first stream | the control stream, which has the data's SHA-256 |
//! | `.deb` | OpenPGP, members `_gpg*` (debsigs) | the members before |
//! | any file | OpenPGP, in `FILE.sig` or `FILE.asc` | the file |
//! | a text (`InRelease`) | OpenPGP, around the text | the text that `gpgv` gives out |
//!
//! Where keys are given every file must have a good signature by one of them: one that merely lost its signature is
//! refused, or keys would keep nobody out. Without keys nothing is looked at, and reports say "not verified".
//! Directories, container images of a directory and stored kernels carry none. A file is copied before it is verified, and
//! the copy is what is read from then on (`input.rs`).
//!
//! OpenPGP (RFC 4880) is left to GnuPG's `gpgv`, which knows of expiry, revocation and weak digests.

mod gpgv;
mod keys;
mod rsa;
mod spki;

use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

pub use keys::Keys;

use super::package::signed::{Kind, MAX, MAX_COUNT, Signature};
use super::{Input, KernelError, package};

/// What detached signatures are called, after the name of what they sign.
const DETACHED: [&str; 2] = ["sig", "asc"];

/// Why a signature was not accepted.
#[derive(Debug)]
enum Refusal {
    /// In words.
    Reason(String),
    /// It could not be looked at at all.
    Failed(KernelError),
}

impl From<KernelError> for Refusal {
    fn from(error: KernelError) -> Refusal {
        Refusal::Failed(error)
    }
}

impl Keys {
    /// Who signed the file at `path`, in words: in it, or in a file beside it.
    ///
    /// # Errors
    /// As [`Keys::signer`].
    pub fn signer_of(&self, path: &Path) -> Result<String, KernelError> {
        self.signer(&Input::open(path)?)
    }

    /// The text of a clear-signed file and who signed it, in words. Only this text may be read: the file can hold more.
    ///
    /// # Errors
    /// [`KernelError::Signature`] and [`KernelError::NoGpgv`].
    pub fn open(&self, message: &Path, limit: u64) -> Result<(Vec<u8>, String), KernelError> {
        gpgv::open(self, message, limit).map_err(|refusal| match refusal {
            Refusal::Reason(reason) => KernelError::Signature { reason, path: message.to_owned() },
            Refusal::Failed(error) => error,
        })
    }

    /// Who signed the file, in words.
    ///
    /// # Errors
    /// [`KernelError::Unsigned`] and [`KernelError::Signature`]; [`KernelError::NoGpgv`] where `gpgv` is needed and not
    /// there.
    pub(super) fn signer(&self, input: &Input) -> Result<String, KernelError> {
        let path = input.path();
        let mut reasons = Vec::new();
        for signature in signatures(input)?.into_iter().take(MAX_COUNT) {
            let result = match signature.kind {
                Kind::OpenPgp => gpgv::verify(self, &signature, input),
                Kind::RsaSha1 | Kind::RsaSha256 => rsa::verify(self, &signature, input),
            };
            match result {
                Ok(signer) => return Ok(signer),
                Err(Refusal::Reason(reason)) if reasons.contains(&reason) => {}
                Err(Refusal::Reason(reason)) => reasons.push(reason),
                Err(Refusal::Failed(error)) => return Err(error),
            }
        }
        match reasons.is_empty() {
            true => Err(KernelError::Unsigned(path.to_owned())),
            false => Err(KernelError::Signature { reason: reasons.join("; "), path: path.to_owned() }),
        }
    }
}

/// Signatures in a file, then those beside it.
fn signatures(input: &Input) -> Result<Vec<Signature>, KernelError> {
    let mut found = package::signatures(input)?;
    let whole = vec![Range { start: 0, end: input.size()? }];
    for ending in DETACHED {
        let mut name = input.path().as_os_str().to_owned();
        name.push(format!(".{ending}"));
        let file = PathBuf::from(name);
        // A folder or a pipe of that name is no signature; a link to one is as good as the one.
        if file.is_file() {
            let bytes = Input::open(&file)?.whole(MAX, "signature")?;
            found.push(Signature { kind: Kind::OpenPgp, bytes, covers: whole.clone() });
        }
    }
    Ok(found)
}

/// Hands what a signature covers to `take`, piece by piece.
fn covered(signature: &Signature, input: &Input, take: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut file = input.reader();
    let mut piece = vec![0; 256 << 10];
    for range in &signature.covers {
        file.seek(SeekFrom::Start(range.start))?;
        let mut part = (&mut file).take(range.end - range.start);
        while let n @ 1.. = part.read(&mut piece)? {
            take(&piece[..n])?;
        }
        if part.limit() > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}
