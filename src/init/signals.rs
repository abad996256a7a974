//! How PID 1 receives signals: all blocked, read as events.

use crate::guest::signal::LAST;
use nix::errno::Errno;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// What ACPI's built-in tiny power button driver sends to PID 1: SIGRTMIN+4 as systemd counts.
pub const POWER_BUTTON: i32 = 38;

/// Signals to PID 1 as a descriptor.
pub struct Incoming(OwnedFd);

/// A signal that came.
pub struct Received {
    /// Its number.
    pub signal: i32,
    /// Sent by the kernel (Ctrl-Alt-Del, the power button) and not by a process.
    pub from_kernel: bool,
}

impl Incoming {
    /// Blocks every signal and opens the descriptor, non-blocking.
    pub fn open() -> nix::Result<Incoming> {
        let set = full_set();
        // SAFETY: the set is initialised and outlives both calls.
        let fd = unsafe {
            libc::sigprocmask(libc::SIG_SETMASK, &set, std::ptr::null_mut());
            libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
        };
        Errno::result(fd)?;
        // SAFETY: the kernel has just made this descriptor for us.
        Ok(Incoming(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// The next signal, if one is waiting.
    pub fn next(&self) -> Option<Received> {
        let mut info = MaybeUninit::<libc::signalfd_siginfo>::uninit();
        let size = size_of::<libc::signalfd_siginfo>();
        // SAFETY: the kernel writes at most `size` bytes into `info`.
        let count = unsafe { libc::read(self.0.as_raw_fd(), info.as_mut_ptr().cast(), size) };
        if count != size as isize {
            return None;
        }
        // SAFETY: the kernel filled all of it.
        let info = unsafe { info.assume_init() };
        Some(Received { signal: info.ssi_signo as i32, from_kernel: info.ssi_code > 0 })
    }
}

impl std::os::fd::AsFd for Incoming {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// In a child before it becomes its program: every disposition and the mask as a fresh process has them.
pub fn reset() {
    // SAFETY: both structures are valid when zeroed (SIG_DFL, no flags, empty mask), and no handler is installed.
    unsafe {
        let default: libc::sigaction = std::mem::zeroed();
        for signal in 1..=LAST {
            // KILL, STOP and libc's own two refuse, which is right.
            libc::sigaction(signal, &default, std::ptr::null_mut());
        }
        let mut empty = MaybeUninit::uninit();
        libc::sigemptyset(empty.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, empty.as_ptr(), std::ptr::null_mut());
    }
}

/// Sends a signal, real-time ones included. `pid` as kill(2) takes it.
pub fn send(pid: i32, signal: i32) -> nix::Result<()> {
    // SAFETY: no memory is involved.
    Errno::result(unsafe { libc::kill(pid, signal) }).map(drop)
}

fn full_set() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigfillset initialises the set it is given.
    unsafe {
        libc::sigfillset(set.as_mut_ptr());
        set.assume_init()
    }
}
