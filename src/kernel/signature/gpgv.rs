//! OpenPGP signatures, verified by GnuPG's `gpgv`.
//!
//! Its status lines decide (GnuPG, doc/DETAILS): a signature is good when `GOODSIG` and `VALIDSIG` are said of it, the
//! signature is of a document's bytes (class 00), and its key has neither expired nor been revoked. Signatures over
//! SHA-1 or older are refused.

use std::fs;
use std::io::{self, Read, Write};
use std::process::{Command, Stdio};

use super::{Keys, Refusal, Signature, covered};
use crate::escape::escape;
use crate::kernel::{Input, KernelError};

/// Most bytes of status lines that are read; a signature takes a few hundred.
const MAX_STATUS: u64 = 64 << 10;

/// MD5, SHA-1 and RIPEMD-160 among the digest algorithms (RFC 4880, 9.4).
const WEAK: [&str; 3] = ["1", "2", "3"];
/// GnuPG's number for a bad public key, of which the digest of its own signature is one reason.
const BAD_KEY: &str = "6";

/// Who made the signature, in words.
pub(super) fn verify(keys: &Keys, signature: &Signature, input: &Input) -> Result<String, Refusal> {
    if !keys.has_openpgp() {
        return Err(Refusal::Reason("it is an OpenPGP signature, and no key given is one of OpenPGP".into()));
    }
    let dir = tempfile::tempdir().map_err(KernelError::io("write", std::env::temp_dir()))?;
    let file = dir.path().join("signature");
    fs::write(&file, &signature.bytes).map_err(KernelError::io("write", &file))?;
    let mut gpgv = Command::new("gpgv");
    gpgv.env("LC_ALL", "C").args(["--status-fd", "1", "--weak-digest", "SHA1", "--homedir"]).arg(dir.path());
    for (i, ring) in keys.rings().iter().enumerate() {
        let file = dir.path().join(format!("ring{i}"));
        fs::write(&file, ring).map_err(KernelError::io("write", &file))?;
        gpgv.arg("--keyring").arg(&file);
    }
    gpgv.arg("--").arg(&file).arg("-");
    let status = run(&mut gpgv, signature, input)?;
    signer(&status).map_err(Refusal::Reason)
}

/// Feeds what is covered and returns the status lines.
fn run(gpgv: &mut Command, signature: &Signature, file: &Input) -> Result<String, KernelError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => KernelError::NoGpgv,
        _ => KernelError::io("run", "gpgv")(error),
    };
    let mut child = gpgv.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().map_err(failed)?;
    let (input, output) = (child.stdin.take(), child.stdout.take());
    let (fed, status) = std::thread::scope(|scope| {
        let feed = move || match input {
            Some(mut input) => covered(signature, file, &mut |piece| input.write_all(piece)),
            None => Ok(()),
        };
        let feeding = std::thread::Builder::new().spawn_scoped(scope, feed);
        let mut status = Vec::new();
        // Without a thread the pipe is closed by now, and it ends.
        let read = output.map_or(Ok(0), |output| output.take(MAX_STATUS).read_to_end(&mut status));
        (feeding.map(|feeding| feeding.join()), read.map(|_| status))
    });
    child.wait().map_err(KernelError::io("run", "gpgv"))?;
    match fed.map_err(KernelError::io("start a thread for", "gpgv"))? {
        // It need not read all when it has nothing to compare it with.
        Ok(Err(error)) if error.kind() != io::ErrorKind::BrokenPipe => Err(KernelError::io("read", file.path())(error)),
        _ => Ok(String::from_utf8_lossy(&status.map_err(KernelError::io("run", "gpgv"))?).into_owned()),
    }
}

/// Who made the first good signature of those that the status lines are about; why none is.
fn signer(status: &str) -> Result<String, String> {
    let mut reason = None;
    let mut good = None;
    for line in status.lines().filter_map(|line| line.strip_prefix("[GNUPG:] ")) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let (key, name) = rest.split_once(' ').unwrap_or((rest, ""));
        let named = || format!("{}, key {}", escape(name.as_bytes()), escape(key.as_bytes()));
        match word {
            "NEWSIG" => good = None,
            "GOODSIG" => good = Some(escape(name.as_bytes())),
            "VALIDSIG" if good.is_some() && rest.split(' ').nth(8) == Some("00") => {
                return Ok(format!("{}, key {}", good.unwrap_or_default(), escape(key.as_bytes())));
            }
            "VALIDSIG" if good.is_some() => reason = Some("it is no signature of a file's bytes".to_owned()),
            "BADSIG" => reason = Some(format!("it is not what was signed by {}", named())),
            "EXPKEYSIG" => reason = Some(format!("the key has expired of {}", named())),
            "REVKEYSIG" => reason = Some(format!("the key is revoked of {}", named())),
            "EXPSIG" => reason = Some(format!("the signature has expired of {}", named())),
            "ERRSIG" if name.split(' ').nth(1).is_some_and(|algorithm| WEAK.contains(&algorithm)) => {
                reason = Some("its signature uses a digest that is too weak (MD5, SHA-1)".to_owned());
            }
            "ERRSIG" if name.split(' ').nth(4) == Some(BAD_KEY) => {
                reason = Some(format!(
                    "the key {} cannot be used: what it says of itself is signed with a digest that is too weak to be \
                     believed (MD5, SHA-1), or damaged",
                    escape(key.as_bytes())
                ));
            }
            "NO_PUBKEY" => {
                reason = Some(format!("it is signed by another key than those given, {}", escape(key.as_bytes())))
            }
            _ => {}
        }
    }
    Err(reason.unwrap_or_else(|| "its OpenPGP signature cannot be used".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = "[GNUPG:] VALIDSIG 5EE7 2026-11-26 1795721901 0 4 0 22 8 00 5EE7\n";

    fn said(lines: &[&str]) -> Result<String, String> {
        signer(&lines.iter().map(|line| format!("[GNUPG:] {line}\n")).collect::<String>())
    }

    #[test]
    fn a_good_signature_names_its_signer() {
        let good = "[GNUPG:] NEWSIG\n[GNUPG:] GOODSIG 31C9 Test <a\u{1b}b>\n".to_owned() + VALID;
        assert_eq!(signer(&good), Ok("Test <a\\x1bb>, key 5EE7".to_owned()));
    }

    #[test]
    fn a_weak_digest_is_called_so() {
        assert!(said(&["ERRSIG 31C9 1 2 00 1795721901 5 5EE7"]).unwrap_err().contains("too weak"));
        let key = said(&["ERRSIG 31C9 1 8 00 1795721901 6 5EE7"]).unwrap_err();
        assert!(key.starts_with("the key 31C9 cannot be used: ") && key.contains("too weak"), "{key}");
    }

    #[test]
    fn anything_else_is_refused_with_its_reason() {
        // An expired key's signature is valid by GnuPG's words, and not good.
        let expired = "[GNUPG:] NEWSIG\n[GNUPG:] EXPKEYSIG 5157 Old <o@example.org>\n".to_owned() + VALID;
        assert_eq!(signer(&expired), Err("the key has expired of Old <o@example.org>, key 5157".to_owned()));
        assert_eq!(said(&["BADSIG 31C9 Test"]), Err("it is not what was signed by Test, key 31C9".to_owned()));
        let unknown = ["NEWSIG", "ERRSIG 31C9 22 8 00 1 9 5EE7", "NO_PUBKEY 31C9"];
        assert_eq!(said(&unknown), Err("it is signed by another key than those given, 31C9".to_owned()));
        assert_eq!(signer(""), Err("its OpenPGP signature cannot be used".to_owned()));
        let text = ["GOODSIG 31C9 Test", "VALIDSIG 5EE7 2026-11-26 1 0 4 0 22 8 01 5EE7"];
        assert_eq!(said(&text), Err("it is no signature of a file's bytes".to_owned()));
        // What a good signature was said of one must not make the next one good.
        let next = ["GOODSIG 31C9 Test", "NEWSIG", "VALIDSIG 5EE7 2026-11-26 1 0 4 0 22 8 00 5EE7"];
        assert!(said(&next).is_err());
    }
}
