//! Programs as children that cannot outlive us, and their output as an archive.
//!
//! The kernel asks a child to end when the thread that started it has ended. It is in our process group, so that a
//! terminal's Ctrl-C reaches both.

use super::OutsideError;
use crate::escape::escape;
use crate::source::{SourceError, spool};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;

/// Bytes of what a program says that are kept: the last ones, where the reason is.
const KEPT: usize = 8 << 10;
/// Bytes of a line that are told.
const LINE: usize = 600;

/// The first of these programs that is installed.
pub fn installed<'a>(programs: &[&'a str]) -> Option<&'a str> {
    let path = std::env::var_os("PATH")?;
    let is_there = |program: &&&str| std::env::split_paths(&path).any(|dir| is_program(&dir.join(program)));
    programs.iter().find(is_there).copied()
}

fn is_program(file: &Path) -> bool {
    nix::unistd::access(file, nix::unistd::AccessFlags::X_OK).is_ok() && file.is_file()
}

/// What a program writes to its standard output, as an archive; what it says instead, if it fails.
pub fn archive(mut command: Command) -> Result<File, Failure> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = start(&mut command)?;
    let said = listen(child.stderr.take());
    let mut output = Output { pipe: child.stdout.take(), is_over: false };
    let copied = spool::copy_stream(&mut output);
    if copied.is_err() && !output.is_over {
        // Nobody reads on, and it may not write for a long time yet.
        _ = child.kill();
        _ = child.wait();
        return copied.map_err(Failure::Other);
    }
    // A program that fails knows better why it wrote what it did.
    ended(&command, child.wait(), said)?;
    copied.map_err(Failure::Other)
}

/// What a program writes, and whether that was all.
struct Output {
    pipe: Option<ChildStdout>,
    is_over: bool,
}

impl Read for Output {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.pipe.as_mut().map_or(Ok(0), |pipe| pipe.read(buffer))?;
        self.is_over = read == 0 && !buffer.is_empty();
        Ok(read)
    }
}

/// Runs a program to its end. What it says goes to our standard error, or is kept for the error where it is to be quiet.
pub fn run(mut command: Command, quiet: bool) -> Result<(), Failure> {
    let own = || io::stderr().as_fd().try_clone_to_owned().map_or_else(|_| Stdio::null(), Stdio::from);
    command.stdout(if quiet { Stdio::null() } else { own() });
    command.stderr(if quiet { Stdio::piped() } else { own() });
    let mut child = start(&mut command)?;
    let said = listen(child.stderr.take());
    ended(&command, child.wait(), said)
}

/// Why there is no archive.
pub enum Failure {
    /// The program's own words, escaped, and its name.
    Said {
        /// Its name.
        program: String,
        /// What it said last, or how it ended.
        said: String,
    },
    /// Anything else.
    Other(SourceError),
}

impl Failure {
    /// As an error, with what to do about it.
    pub fn with_hint(self, hint: Option<String>) -> SourceError {
        match self {
            Failure::Said { program, said } => OutsideError::Failed { program, said, hint }.into(),
            Failure::Other(error) => error,
        }
    }

    /// Whether the program says this.
    pub fn says(&self, words: &str) -> bool {
        matches!(self, Failure::Said { said, .. } if said.contains(words))
    }
}

fn name(command: &Command) -> String {
    escape(command.get_program().as_encoded_bytes())
}

fn start(command: &mut Command) -> Result<Child, Failure> {
    let parent = nix::unistd::getpid();
    command.stdin(Stdio::null());
    // SAFETY: between fork and exec only system calls are made; nothing allocates, nothing locks.
    unsafe {
        command.pre_exec(move || {
            prctl::set_pdeathsig(Signal::SIGTERM)?;
            match nix::unistd::getppid() == parent {
                true => Ok(()),
                // We ended before the line above.
                false => Err(io::ErrorKind::BrokenPipe.into()),
            }
        });
    }
    command.spawn().map_err(|source| Failure::Other(OutsideError::Start { program: name(command), source }.into()))
}

/// Reads what a program says meanwhile: with its pipe full it would wait for ever.
fn listen(stderr: Option<impl Read + Send + 'static>) -> Option<JoinHandle<Vec<u8>>> {
    let mut stderr = stderr?;
    Some(std::thread::spawn(move || {
        let (mut kept, mut buffer) = (Vec::new(), [0; 4096]);
        while let Ok(length @ 1..) = stderr.read(&mut buffer) {
            kept.extend_from_slice(&buffer[..length]);
            kept.drain(..kept.len().saturating_sub(KEPT));
        }
        kept
    }))
}

fn ended(command: &Command, status: io::Result<ExitStatus>, said: Option<JoinHandle<Vec<u8>>>) -> Result<(), Failure> {
    let program = name(command);
    let status = status.map_err(|error| Failure::Other(SourceError::Read(error)))?;
    if status.success() {
        return Ok(());
    }
    let said = said.and_then(|said| said.join().ok()).unwrap_or_default();
    let said = last_line(&said).unwrap_or_else(|| format!("it ended with {status}"));
    Err(Failure::Said { program, said })
}

/// The last line that says something, escaped.
fn last_line(said: &[u8]) -> Option<String> {
    let mut lines = said.split(|&byte| byte == b'\n').rev().map(|line| line.trim_ascii());
    let line = lines.find(|line| !line.is_empty())?;
    let line = line.strip_prefix(b"Error: ").unwrap_or(line);
    Some(escape(&line[..line.len().min(LINE)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    fn failure(script: &str) -> String {
        crate::escape::chain(&archive(shell(script)).unwrap_err().with_hint(None))
    }

    #[test]
    fn what_a_program_says_last_is_why_it_failed() {
        let said = "sh failed: no such image: x\\x1b[2J";
        assert_eq!(failure("echo one >&2; printf 'Error: no such image: x\\033[2J\\n\\n' >&2; exit 125"), said);
        assert_eq!(failure("exit 3"), "sh failed: it ended with exit status: 3");
        assert_eq!(failure("kill -9 $$"), "sh failed: it ended with signal: 9 (SIGKILL)");
        // More than a pipe holds, before anything else.
        assert_eq!(
            failure("head -c 1000000 /dev/zero >&2; echo text; echo >&2; echo late >&2; exit 1"),
            "sh failed: late"
        );
    }

    #[test]
    fn what_is_no_archive_is_refused_at_once_and_the_program_is_ended() {
        assert!(failure("exec yes text").contains("an image is needed, but this is text"));
        assert!(failure("true").ends_with("this is an empty file"));
        let missing = archive(Command::new("/no/such/program")).unwrap_err().with_hint(None);
        assert_eq!(crate::escape::chain(&missing), "cannot start /no/such/program: no such file or directory");
    }

    #[test]
    fn a_program_that_fails_behind_its_archive_has_given_none() {
        let tar = "tar -c --null -T /dev/null";
        assert!(archive(shell(tar)).is_err(), "zeros are no archive");
        let whole = "printf x > \"$0\" && tar -c \"$0\" 2>/dev/null";
        let dir = tempfile::tempdir().unwrap();
        let with = |script: String| {
            let mut command = shell(&script);
            command.arg(dir.path().join("member"));
            archive(command)
        };
        assert!(with(whole.into()).is_ok());
        let cut = with(format!("{whole}; echo lost the store >&2; exit 1")).unwrap_err();
        assert!(cut.says("lost the store"));
    }
}
