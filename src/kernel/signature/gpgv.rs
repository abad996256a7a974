//! OpenPGP signatures, verified by GnuPG's `gpgv`.
//!
//! Its status lines decide (GnuPG, doc/DETAILS): a signature is good when `GOODSIG` and `VALIDSIG` are said of it, the
//! signature is of a document's bytes (class 00), and its key has neither expired nor been revoked. Signatures over
//! SHA-1 or older are refused.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::{Keys, Refusal, Signature, covered};
use crate::escape::escape;
use crate::formats::unpack;
use crate::kernel::{Input, KernelError};

/// Most bytes of status lines that are read; a signature takes a few hundred.
const MAX_STATUS: u64 = 64 << 10;

/// MD5, SHA-1 and RIPEMD-160 among the digest algorithms (RFC 4880, 9.4).
const WEAK: [&str; 3] = ["1", "2", "3"];
/// GnuPG's number for a bad public key, of which the digest of its own signature is one reason.
const BAD_KEY: &str = "6";

/// Classes of signatures (RFC 4880, 5.2.1): of bytes, and of a text, whatever its line ends.
const OF_BYTES: &str = "00";
const OF_TEXT: &str = "01";

/// Who made the signature, in words.
pub(super) fn verify(keys: &Keys, signature: &Signature, input: &Input) -> Result<String, Refusal> {
    let dir = folder()?;
    let mut gpgv = command(keys, dir.path())?;
    let file = dir.path().join("signature");
    fs::write(&file, &signature.bytes).map_err(KernelError::io("write", &file))?;
    gpgv.args(["--status-fd", "1", "--"]).arg(&file).arg("-");
    let status = run(&mut gpgv, signature, input)?;
    signer(&status, OF_BYTES).map_err(Refusal::Reason)
}

/// The text of a clear-signed file (RFC 4880, 7) of at most `limit` bytes, as `gpgv` gives it out, and who signed it in
/// words. What stands around the signed part is not in it.
pub(super) fn open(keys: &Keys, message: &Path, limit: u64) -> Result<(Vec<u8>, String), Refusal> {
    let dir = folder()?;
    let mut gpgv = command(keys, dir.path())?;
    // The text goes to standard output, status lines alone to standard error.
    gpgv.args(["--status-fd", "2", "--log-file", "/dev/null", "--output", "-", "--"]).arg(message);
    let lines = dir.path().join("status");
    let file = File::create(&lines).map_err(KernelError::io("write", &lines))?;
    let mut child = gpgv.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(file).spawn().map_err(not_run)?;
    let text = child.stdout.take().map_or(Ok(None), |output| unpack::read_bounded(output, limit));
    child.wait().map_err(not_run)?;
    let text = text.map_err(not_run)?;
    let status = File::open(&lines).and_then(|file| unpack::read_bounded(file, MAX_STATUS));
    let status = status.map_err(KernelError::io("read", &lines))?;
    let (Some(text), Some(status)) = (text, status) else { return Err(Refusal::Reason("it is too long".into())) };
    let signer = signer_of_text(&String::from_utf8_lossy(&status)).map_err(Refusal::Reason)?;
    Ok((text, signer))
}

/// Where `gpgv` finds what it is given.
fn folder() -> Result<TempDir, KernelError> {
    tempfile::tempdir().map_err(KernelError::io("write", std::env::temp_dir()))
}

/// `gpgv` with the keys, which it reads from the folder.
fn command(keys: &Keys, folder: &Path) -> Result<Command, Refusal> {
    if !keys.has_openpgp() {
        return Err(Refusal::Reason("it is an OpenPGP signature, and no key given is one of OpenPGP".into()));
    }
    let mut gpgv = Command::new("gpgv");
    gpgv.env("LC_ALL", "C").args(["--weak-digest", "SHA1", "--homedir"]).arg(folder);
    for (i, ring) in keys.rings().iter().enumerate() {
        let file = folder.join(format!("ring{i}"));
        fs::write(&file, ring).map_err(KernelError::io("write", &file))?;
        gpgv.arg("--keyring").arg(&file);
    }
    Ok(gpgv)
}

fn not_run(error: io::Error) -> KernelError {
    match error.kind() {
        io::ErrorKind::NotFound => KernelError::NoGpgv,
        _ => KernelError::io("run", "gpgv")(error),
    }
}

/// Feeds what is covered and returns the status lines.
fn run(gpgv: &mut Command, signature: &Signature, file: &Input) -> Result<String, KernelError> {
    let mut child = gpgv.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().map_err(not_run)?;
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

/// Status lines, as a word and the rest.
fn lines(status: &str) -> impl Iterator<Item = (&str, &str)> {
    let lines = status.lines().filter_map(|line| line.strip_prefix("[GNUPG:] "));
    lines.map(|line| line.split_once(' ').unwrap_or((line, "")))
}

/// As [`signer`] of a text, of which there must be exactly one: a signature is of the text before it and of no other.
fn signer_of_text(status: &str) -> Result<String, String> {
    let signer = signer(status, OF_TEXT)?;
    let texts = lines(status).filter(|(word, _)| *word == "PLAINTEXT").count();
    match texts == 1 && lines(status).all(|(word, _)| word != "ERROR") {
        true => Ok(signer),
        false => Err("it holds more than one signed text".to_owned()),
    }
}

/// Who made the first good signature, of this class, of those that the status lines are about; why none is.
fn signer(status: &str, class: &str) -> Result<String, String> {
    let mut reason = None;
    let mut good = None;
    for (word, rest) in lines(status) {
        let (key, name) = rest.split_once(' ').unwrap_or((rest, ""));
        let named = || format!("{}, key {}", escape(name.as_bytes()), escape(key.as_bytes()));
        match word {
            "NEWSIG" => good = None,
            "GOODSIG" => good = Some(escape(name.as_bytes())),
            "VALIDSIG" if good.is_some() && rest.split(' ').nth(8) == Some(class) => {
                return Ok(format!("{}, key {}", good.unwrap_or_default(), escape(key.as_bytes())));
            }
            "VALIDSIG" if good.is_some() => reason = Some(format!("it is no signature of {}", signed_by(class))),
            "NODATA" if reason.is_none() => reason = Some("there is no OpenPGP signature in it".to_owned()),
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

/// What a signature of this class signs.
fn signed_by(class: &str) -> &'static str {
    if class == OF_TEXT { "a text" } else { "a file's bytes" }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = "[GNUPG:] VALIDSIG 5EE7 2026-11-26 1795721901 0 4 0 22 8 00 5EE7\n";

    fn said(lines: &[&str]) -> Result<String, String> {
        signer(&lines.iter().map(|line| format!("[GNUPG:] {line}\n")).collect::<String>(), OF_BYTES)
    }

    #[test]
    fn a_good_signature_names_its_signer() {
        let good = "[GNUPG:] NEWSIG\n[GNUPG:] GOODSIG 31C9 Test <a\u{1b}b>\n".to_owned() + VALID;
        assert_eq!(signer(&good, OF_BYTES), Ok("Test <a\\x1bb>, key 5EE7".to_owned()));
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
        assert_eq!(signer(&expired, OF_BYTES), Err("the key has expired of Old <o@example.org>, key 5157".to_owned()));
        assert_eq!(said(&["BADSIG 31C9 Test"]), Err("it is not what was signed by Test, key 31C9".to_owned()));
        let unknown = ["NEWSIG", "ERRSIG 31C9 22 8 00 1 9 5EE7", "NO_PUBKEY 31C9"];
        assert_eq!(said(&unknown), Err("it is signed by another key than those given, 31C9".to_owned()));
        assert_eq!(signer("", OF_BYTES), Err("its OpenPGP signature cannot be used".to_owned()));
        let text = ["GOODSIG 31C9 Test", "VALIDSIG 5EE7 2026-11-26 1 0 4 0 22 8 01 5EE7"];
        assert_eq!(said(&text), Err("it is no signature of a file's bytes".to_owned()));
        // What a good signature was said of one must not make the next one good.
        let next = ["GOODSIG 31C9 Test", "NEWSIG", "VALIDSIG 5EE7 2026-11-26 1 0 4 0 22 8 00 5EE7"];
        assert!(said(&next).is_err());
    }

    #[test]
    fn a_text_has_one_good_signature_of_its_class_and_no_other_text_with_it() {
        let text = "[GNUPG:] PLAINTEXT 74 0 \n";
        let good = format!("[GNUPG:] NEWSIG\n[GNUPG:] GOODSIG 31C9 Test\n{}", VALID.replace(" 00 ", " 01 "));
        let unknown = "[GNUPG:] NEWSIG\n[GNUPG:] ERRSIG 31C9 22 8 01 1 9 5EE7\n[GNUPG:] NO_PUBKEY 31C9\n";
        let several = Err("it holds more than one signed text".to_owned());
        let none = "there is no OpenPGP signature in it";
        for (status, expected) in [
            (format!("{text}{good}"), Ok("Test, key 5EE7".to_owned())),
            // An archive signs with an old and a new key.
            (format!("{text}{unknown}{good}"), Ok("Test, key 5EE7".to_owned())),
            (format!("{text}{good}[GNUPG:] ERROR proc_pkt.plaintext 89_BAD_DATA\n"), several.clone()),
            (format!("{text}{good}{text}"), several.clone()),
            (good.clone(), several),
            (format!("{text}{unknown}"), Err("it is signed by another key than those given, 31C9".to_owned())),
            (format!("{text}{}", good.replace(" 01 ", " 00 ")), Err("it is no signature of a text".to_owned())),
            ("[GNUPG:] NODATA 1\n[GNUPG:] NODATA 2\n".to_owned(), Err(none.to_owned())),
            (format!("{text}[GNUPG:] NODATA 4\n"), Err(none.to_owned())),
        ] {
            assert_eq!(signer_of_text(&status), expected, "{status}");
        }
    }
}
