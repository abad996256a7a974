//! Another program that signs: a token's, a key service's, openssl with a passphrase.
//!
//! It gets a SHA-256 digest, 32 bytes, on standard input, and prints the signature of it. Its standard error is ours. It
//! has its time, and ends with us.

use super::SigningError;
use crate::escape::escape;
use nix::sys::prctl;
use nix::sys::signal::Signal;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Longest signature: RSA with 8192 bits has 1024 bytes.
pub(super) const LONGEST: u64 = 4096;
/// Time for one signature: somebody may have to touch a token.
const PATIENCE: Duration = Duration::from_secs(300);

/// The signature that the program `words[0]`, with the other words as arguments, makes of a digest.
pub(super) fn sign(words: &[String], digest: &[u8; 32]) -> Result<Vec<u8>, SigningError> {
    sign_within(words, digest, PATIENCE)
}

fn sign_within(words: &[String], digest: &[u8; 32], patience: Duration) -> Result<Vec<u8>, SigningError> {
    let program = name(words);
    let failed = |source| SigningError::Start { program: program.clone(), source };
    let mut command = Command::new(words.first().map_or("", String::as_str));
    command.args(words.get(1..).unwrap_or_default()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let parent = nix::unistd::getpid();
    // SAFETY: between fork and exec only system calls are made; nothing allocates, nothing locks.
    unsafe {
        command.pre_exec(move || {
            prctl::set_pdeathsig(Signal::SIGTERM)?;
            match nix::unistd::getppid() == parent {
                true => Ok(()),
                // We ended before the line above.
                false => Err(std::io::ErrorKind::BrokenPipe.into()),
            }
        });
    }
    let mut child = command.spawn().map_err(failed)?;
    let (mut stdin, stdout) = (child.stdin.take(), child.stdout.take());
    // A program that does not read it says itself what it is missing. 32 bytes fit any pipe.
    _ = stdin.as_mut().map(|pipe| pipe.write_all(digest));
    drop(stdin);
    let (sender, receiver) = mpsc::channel();
    let reader = std::thread::Builder::new().name("signature".into()).spawn(move || {
        let mut bytes = Vec::new();
        let read = stdout.map_or(Ok(0), |pipe| pipe.take(LONGEST + 1).read_to_end(&mut bytes));
        _ = sender.send(read.map(|_| bytes));
    });
    reader.map_err(failed)?;
    let deadline = Instant::now() + patience;
    let printed = receiver.recv_timeout(patience);
    let too_much = matches!(&printed, Ok(Ok(bytes)) if bytes.len() as u64 > LONGEST);
    let status = loop {
        match child.try_wait().map_err(failed)? {
            Some(status) => break Some(status),
            None if too_much || printed.is_err() || Instant::now() >= deadline => break None,
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    if status.is_none() {
        _ = child.kill();
        _ = child.wait();
    }
    match (printed, status) {
        _ if too_much => Err(SigningError::TooMuch { program }),
        (_, None) | (Err(_), _) => Err(SigningError::TimedOut { program, seconds: patience.as_secs() }),
        (_, Some(status)) if !status.success() => Err(SigningError::Failed { program, status }),
        (Ok(Ok(bytes)), _) => Ok(bytes),
        (Ok(Err(source)), _) => Err(SigningError::Start { program, source }),
    }
}

/// What the program is called.
pub(super) fn name(words: &[String]) -> String {
    escape(words.first().map_or("", String::as_str).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(script: &str) -> Result<Vec<u8>, String> {
        let words = ["sh", "-c", script].map(str::to_owned);
        sign_within(&words, &[b'd'; 32], Duration::from_secs(2)).map_err(|error| error.to_string())
    }

    #[test]
    fn a_program_gets_the_digest_and_is_bounded() {
        assert_eq!(said("cat"), Ok(vec![b'd'; 32]));
        assert_eq!(said("exit 3"), Err("signing command failed (exit status: 3): sh".into()));
        assert_eq!(said("cat /dev/zero"), Err("signing command printed more than a signature: sh".into()));
        assert_eq!(said("exec sleep 60"), Err("signing command did not end in 2 seconds: sh".into()));
        let missing = sign(&["/nonexistent\n".to_owned()], &[0; 32]).unwrap_err();
        assert_eq!(missing.to_string(), "cannot run the signing command /nonexistent\\n");
    }
}
