//! `run -d`: a child that goes on without the terminal, and a parent that waits until it can.
//!
//! The child is in a session of its own, so that the terminal's end is none of its business. Until the workload has
//! started it belongs to the parent: errors come through on standard error, its exit status becomes the parent's, and
//! when the parent goes the child stops too.

use anyhow::{Context, bail};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, getpid, getppid, setsid};
use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

/// Which of the two this program is now.
pub enum Side {
    /// The one that was called: the machine runs, or never will.
    Parent(u8),
    /// The one that runs the machine.
    Child(Child),
}

/// A child that has not been let go yet.
pub struct Child {
    parent: PipeWriter,
    /// Descriptors of whoever called, who may wait for them to be closed.
    inherited: Vec<RawFd>,
}

/// Becomes two. The parent's part is over when this returns.
///
/// # Errors
/// When the system refuses.
pub fn split() -> anyhow::Result<Side> {
    let inherited = inherited().context("cannot look at the open files")?;
    // A thread that is not copied may hold a lock that is.
    if std::fs::read_dir("/proc/self/task").context("cannot look at the threads")?.count() != 1 {
        bail!("cannot detach while other threads run");
    }
    let (said, parent) = io::pipe().context("cannot make a pipe")?;
    let before = getpid();
    // SAFETY: there is one thread, so the child may do anything.
    match unsafe { fork() }.context("cannot start a process")? {
        ForkResult::Parent { child } => {
            drop(parent);
            wait_for(said, child).map(Side::Parent)
        }
        ForkResult::Child => {
            drop(said);
            prctl::set_pdeathsig(Signal::SIGTERM).context("cannot ask for a signal at the parent's end")?;
            if getppid() != before {
                bail!("the process that should wait has ended");
            }
            setsid().context("cannot leave the terminal")?;
            Ok(Side::Child(Child { parent, inherited }))
        }
    }
}

/// What is open beyond the standard streams. QEMU does not get it.
fn inherited() -> io::Result<Vec<RawFd>> {
    let names = std::fs::read_dir("/proc/self/fd")?.flatten().map(|entry| entry.file_name());
    let mut fds: Vec<RawFd> = names.filter_map(|name| name.to_str()?.parse().ok()).filter(|&fd| fd > 2).collect();
    // The directory's own descriptor was one of them, and is closed again.
    // SAFETY: only marks descriptors.
    fds.retain(|&fd| unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) } == 0);
    Ok(fds)
}

/// Prints the machine's name once it is known; without one, the child's end is ours.
fn wait_for(mut said: PipeReader, child: Pid) -> anyhow::Result<u8> {
    let mut name = String::new();
    said.read_to_string(&mut name).context("cannot hear the machine")?;
    if name.ends_with('\n') {
        super::stdio::data(name.as_bytes())?;
        return Ok(0);
    }
    loop {
        match waitpid(child, None) {
            Ok(WaitStatus::Exited(_, status)) => return Ok(status as u8),
            Ok(WaitStatus::Signaled(_, signal, _)) => return Ok(128 + signal as u8),
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(errno).context("cannot wait for the machine"),
        }
    }
}

impl Child {
    /// Lets go: the parent prints the name and ends. What is said on standard error from here on goes to `stderr`.
    pub fn release(mut self, name: &str, stderr: &OwnedFd) -> io::Result<()> {
        prctl::set_pdeathsig(None)?;
        let null = File::options().read(true).write(true).open("/dev/null")?;
        replace(0, &null)?;
        replace(1, &null)?;
        replace(2, stderr)?;
        for fd in self.inherited.drain(..) {
            // SAFETY: they came from the caller, and nothing here owns them.
            unsafe { libc::close(fd) };
        }
        // A folder that nothing is needed from can be unmounted.
        std::env::set_current_dir("/")?;
        self.parent.write_all(format!("{name}\n").as_bytes())
    }
}

/// Nothing more is said to anybody.
pub fn fall_silent() {
    if let Ok(null) = File::options().write(true).open("/dev/null") {
        _ = replace(2, &null);
    }
}

fn replace(number: i32, with: &impl AsFd) -> io::Result<()> {
    // SAFETY: replaces a standard descriptor of this process, which nobody owns.
    nix::errno::Errno::result(unsafe { libc::dup2(with.as_fd().as_raw_fd(), number) })?;
    Ok(())
}
