//! Signal numbers and names, real-time ones included, and how PID 1 receives them: all blocked, read as events.

use nix::errno::Errno;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Highest signal number of Linux (SIGRTMAX).
pub const LAST: i32 = 64;
/// First real-time signal as libc counts, which keeps 32 and 33 for itself.
const RTMIN: i32 = 34;
/// What ACPI's built-in tiny power button driver sends to PID 1: SIGRTMIN+4 as systemd counts.
pub const POWER_BUTTON: i32 = 38;

const NAMES: [(&str, i32); 34] = [
    ("HUP", libc::SIGHUP),
    ("INT", libc::SIGINT),
    ("QUIT", libc::SIGQUIT),
    ("ILL", libc::SIGILL),
    ("TRAP", libc::SIGTRAP),
    ("ABRT", libc::SIGABRT),
    ("IOT", libc::SIGIOT),
    ("BUS", libc::SIGBUS),
    ("FPE", libc::SIGFPE),
    ("KILL", libc::SIGKILL),
    ("USR1", libc::SIGUSR1),
    ("SEGV", libc::SIGSEGV),
    ("USR2", libc::SIGUSR2),
    ("PIPE", libc::SIGPIPE),
    ("ALRM", libc::SIGALRM),
    ("TERM", libc::SIGTERM),
    ("STKFLT", libc::SIGSTKFLT),
    ("CHLD", libc::SIGCHLD),
    ("CLD", libc::SIGCHLD),
    ("CONT", libc::SIGCONT),
    ("STOP", libc::SIGSTOP),
    ("TSTP", libc::SIGTSTP),
    ("TTIN", libc::SIGTTIN),
    ("TTOU", libc::SIGTTOU),
    ("URG", libc::SIGURG),
    ("XCPU", libc::SIGXCPU),
    ("XFSZ", libc::SIGXFSZ),
    ("VTALRM", libc::SIGVTALRM),
    ("PROF", libc::SIGPROF),
    ("WINCH", libc::SIGWINCH),
    ("IO", libc::SIGIO),
    ("POLL", libc::SIGPOLL),
    ("PWR", libc::SIGPWR),
    ("SYS", libc::SIGSYS),
];

/// The number of a signal written as an image's `StopSignal` may be: `SIGTERM`, `term`, `15`, `RTMIN+4`, `SIGRTMAX-2`.
pub fn parse(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse::<i32>() {
        return (1..=LAST).contains(&number).then_some(number);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let offset = |rest: &str, sign: char| match rest {
        "" => Some(0),
        rest => rest.strip_prefix(sign)?.parse::<i32>().ok().filter(|n| (0..=LAST - RTMIN).contains(n)),
    };
    if let Some(rest) = name.strip_prefix("RTMIN") {
        return Some(RTMIN + offset(rest, '+')?);
    }
    if let Some(rest) = name.strip_prefix("RTMAX") {
        return Some(LAST - offset(rest, '-')?);
    }
    NAMES.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
}

/// `SIGKILL`, or `signal 35` where there is no name.
pub fn name(number: i32) -> String {
    match NAMES.iter().find(|(_, known)| *known == number) {
        Some((name, _)) => format!("SIG{name}"),
        None => format!("signal {number}"),
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_of_stop_signals() {
        for (text, number) in [
            ("SIGTERM", 15),
            ("TERM", 15),
            ("sigquit", 3),
            ("9", 9),
            ("64", 64),
            ("SIGRTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("RTMAX-1", 63),
            ("SIGWINCH", 28),
        ] {
            assert_eq!(parse(text), Some(number), "{text}");
        }
        for text in ["", "0", "65", "-1", "SIG", "SIGFOO", "SIGRTMIN+31", "SIGRTMIN3", "RTMAX-99", "15x", "99999999999"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn names_for_people() {
        assert_eq!(name(9), "SIGKILL");
        assert_eq!(name(40), "signal 40");
    }
}
