//! RSA signatures of Alpine's packages (PKCS #1 v1.5, RFC 8017, 8.2).
//!
//! Alpine signs with SHA-1 until apk version 3; what is signed was made by the distribution, so that its collisions are
//! of no use to a third party. A signature of SHA-256 is taken just as well.

use ring::signature::{RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

use super::{Keys, Kind, Refusal, Signature, covered};
use crate::kernel::{Input, KernelError};

/// Most bytes that are covered: the control stream of a package, a few KiB.
const MAX_COVERED: usize = 16 << 20;

/// Which key made the signature.
pub(super) fn verify(keys: &Keys, signature: &Signature, input: &Input) -> Result<String, Refusal> {
    if keys.rsa().is_empty() {
        return Err(Refusal::Reason("it is an RSA signature, and no key given is one of RSA in PEM".into()));
    }
    let (algorithm, name) = match signature.kind {
        Kind::RsaSha256 => (&RSA_PKCS1_2048_8192_SHA256, "SHA-256"),
        _ => (&RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY, "SHA-1"),
    };
    let mut content = Vec::new();
    let read = covered(signature, input, &mut |piece| {
        content.extend_from_slice(piece);
        if content.len() > MAX_COVERED { Err(std::io::ErrorKind::FileTooLarge.into()) } else { Ok(()) }
    });
    read.map_err(KernelError::io("read", input.path()))?;
    let is_good = |key: &[u8]| UnparsedPublicKey::new(algorithm, key).verify(&content, &signature.bytes).is_ok();
    match keys.rsa().iter().find(|(key, _)| is_good(key)) {
        Some((_, file)) => Ok(format!("{file} (RSA, {name})")),
        None => Err(Refusal::Reason("no RSA key given made its signature".into())),
    }
}
