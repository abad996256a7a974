//! QEMU as a child that cannot outlive us.
//!
//! It is in a process group of its own, so that a terminal's Ctrl-C reaches us and not it; the kernel kills it when the
//! thread that started it ends; dropping [`Process`] kills and reaps it.

use super::account::Account;
use super::fence::Gate;
use crate::escape::escape;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, signal, sigprocmask};
use std::ffi::OsString;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};

/// Bytes of QEMU's standard error that are kept: the first ones, where the cause is.
const COMPLAINT: usize = 8 << 10;

/// A running QEMU.
pub(crate) struct Process {
    child: Child,
    stderr: ChildStderr,
    said: Vec<u8>,
    status: Option<ExitStatus>,
}

/// Takes another view of the host's files, between fork and exec: only system calls, nothing allocates.
pub(crate) type View = Box<dyn Fn() -> io::Result<()> + Send + Sync>;

/// What a child is and may do less than we.
#[derive(Default)]
pub(crate) struct Confined {
    /// Another user.
    pub(super) account: Option<Account>,
    /// Another view of the host's files.
    pub(super) view: Option<View>,
    /// A gate that it closes behind itself.
    pub(super) gate: Option<Gate>,
}

impl Confined {
    /// One that sees other files, if there is a view.
    pub(crate) fn to(view: Option<View>) -> Confined {
        Confined { view, ..Confined::default() }
    }
}

impl Process {
    /// Starts `program`; it gets the descriptors in `inherit` under the numbers they have here.
    pub(crate) fn start(program: &Path, args: &[OsString], inherit: &[RawFd]) -> io::Result<Process> {
        Process::start_confined(Confined::default(), program, args, inherit)
    }

    /// As [`start`](Self::start), with less around it.
    pub(crate) fn start_confined(
        confined: Confined,
        program: &Path,
        args: &[OsString],
        inherit: &[RawFd],
    ) -> io::Result<Process> {
        let (inherit, parent) = (inherit.to_vec(), nix::unistd::getpid());
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0);
        // SAFETY: between fork and exec only system calls are made; nothing allocates, nothing locks.
        unsafe {
            command.pre_exec(move || {
                // First, as becoming somebody else makes the kernel forget the next line.
                confined.account.map_or(Ok(()), Account::become_it)?;
                confined.view.as_ref().map_or(Ok(()), |take| take())?;
                prctl::set_pdeathsig(Signal::SIGKILL)?;
                if nix::unistd::getppid() != parent {
                    // We ended before the line above.
                    libc::_exit(1);
                }
                // A crash leaves no copy of the guest's memory in somebody's directory.
                setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
                // A limit on a file's size is an error of a write then, as a full disk is, and not QEMU's end.
                signal(Signal::SIGXFSZ, SigHandler::SigIgn)?;
                sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
                for &fd in &inherit {
                    // The descriptors stay open: their owners are alive in the parent's call of `start`.
                    fcntl(BorrowedFd::borrow_raw(fd), FcntlArg::F_SETFD(FdFlag::empty()))?;
                }
                if let Some(gate) = &confined.gate {
                    gate.close();
                }
                Ok(())
            });
        }
        let mut child = command.spawn()?;
        let stderr = child.stderr.take().ok_or_else(|| io::Error::other("no pipe for standard error"))?;
        set_nonblocking(stderr.as_fd())?;
        Ok(Process { child, stderr, said: Vec::new(), status: None })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its standard error, to poll for; [`listen`](Self::listen) reads it.
    pub(crate) fn stderr(&self) -> BorrowedFd<'_> {
        self.stderr.as_fd()
    }

    /// Reads what is there of its standard error; `false` when it has closed it.
    pub(crate) fn listen(&mut self) -> bool {
        let mut buffer = [0; 4096];
        loop {
            match self.stderr.read(&mut buffer) {
                Ok(0) => return false,
                Ok(n) => {
                    let room = COMPLAINT - self.said.len();
                    self.said.extend_from_slice(&buffer[..n.min(room)]);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            }
        }
    }

    /// What it said on standard error, its own name left away, as one escaped line.
    pub(crate) fn complaint(&mut self) -> String {
        self.listen();
        let lines = self.said.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        let texts: Vec<String> = lines.map(|line| escape(without_program(line))).collect();
        texts.join("; ")
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        if self.status.is_none() {
            self.status = self.child.try_wait()?;
        }
        Ok(self.status)
    }

    /// Ends it and waits for its end.
    pub(crate) fn kill(&mut self) -> io::Result<ExitStatus> {
        if let Some(status) = self.ended()? {
            return Ok(status);
        }
        self.child.kill()?;
        let status = self.child.wait()?;
        self.status = Some(status);
        Ok(status)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        _ = self.kill();
    }
}

/// `qemu-system-x86_64: message`, `/usr/bin/qemu-system-x86_64: message`.
fn without_program(line: &[u8]) -> &[u8] {
    let colon = line.windows(2).position(|pair| pair == b": ");
    match colon {
        Some(at) if line[..at].windows(5).any(|word| word == b"qemu-") && !line[..at].contains(&b' ') => {
            &line[at + 2..]
        }
        _ => line,
    }
}

pub(crate) fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    use nix::fcntl::OFlag;
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_one_safe_line_without_the_program() {
        let script = "printf 'qemu-system-x86_64: bad\\033[1m\\nwarning: qemu-x: y\\n' >&2";
        let args: Vec<OsString> = ["-c", script].map(OsString::from).to_vec();
        let mut process = Process::start(Path::new("/bin/sh"), &args, &[]).unwrap();
        while process.ended().unwrap().is_none() {
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        assert_eq!(process.complaint(), "bad\\x1b[1m; warning: qemu-x: y");
    }

    #[test]
    fn a_flood_of_complaints_is_cut() {
        let args: Vec<OsString> = ["-c", "head -c 1000000 /dev/zero >&2"].map(OsString::from).to_vec();
        let mut process = Process::start(Path::new("/bin/sh"), &args, &[]).unwrap();
        while process.listen() {
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        assert_eq!(process.said.len(), COMPLAINT);
    }

    #[test]
    fn dropping_it_ends_it() {
        let process = Process::start(Path::new("/bin/sleep"), &["600".into()], &[]).unwrap();
        let pid = nix::unistd::Pid::from_raw(process.id() as i32);
        drop(process);
        assert_eq!(nix::sys::signal::kill(pid, None), Err(nix::errno::Errno::ESRCH));
    }
}
