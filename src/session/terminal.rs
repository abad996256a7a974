//! The user's terminal: its size, and raw mode that ends with its guard.

use crate::guest::channel::Terminal;
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Raw mode of a terminal, until dropped.
pub struct Raw {
    terminal: OwnedFd,
    before: Termios,
}

impl Raw {
    /// Puts the terminal at `fd` into raw mode: every byte as it is typed, Ctrl-C included.
    pub fn enter(fd: BorrowedFd<'_>) -> io::Result<Raw> {
        let before = tcgetattr(fd)?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        // Our own duplicate: the guard must work however long the caller's descriptor lives.
        let terminal = fd.try_clone_to_owned()?;
        tcsetattr(&terminal, SetArg::TCSADRAIN, &raw)?;
        Ok(Raw { terminal, before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // A terminal that has gone cannot be restored and need not be.
        _ = tcsetattr(&self.terminal, SetArg::TCSADRAIN, &self.before);
    }
}

/// Whether there is a terminal at `fd`.
pub fn is_terminal(fd: BorrowedFd<'_>) -> bool {
    io::IsTerminal::is_terminal(&fd)
}

/// Rows and columns of the terminal at `fd`, `None` when there is none or it does not know.
pub fn size(fd: BorrowedFd<'_>) -> Option<(u16, u16)> {
    let mut size = MaybeUninit::<libc::winsize>::zeroed();
    // SAFETY: TIOCGWINSZ writes one winsize, and all zeros is a valid one.
    let size = unsafe {
        if libc::ioctl(fd.as_raw_fd(), libc::TIOCGWINSZ, size.as_mut_ptr()) != 0 {
            return None;
        }
        size.assume_init()
    };
    (size.ws_row != 0 && size.ws_col != 0).then_some((size.ws_row, size.ws_col))
}

/// The terminal the guest is to give the workload: this one's name and size, as far as there is one.
pub fn describe(fd: impl AsFd) -> Terminal {
    let (rows, cols) = size(fd.as_fd()).unwrap_or_default();
    let term = std::env::var("TERM").ok().filter(|term| !term.is_empty()).unwrap_or_else(|| "xterm".into());
    Terminal { term, rows, cols }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::pty::{Winsize, openpty};

    #[test]
    fn raw_mode_ends_with_its_guard() {
        let size = Winsize { ws_row: 30, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(Some(&size), None).unwrap();
        assert_eq!(super::size(pty.slave.as_fd()), Some((30, 100)));
        let before = tcgetattr(&pty.slave).unwrap();
        let guard = Raw::enter(pty.slave.as_fd()).unwrap();
        assert_ne!(tcgetattr(&pty.slave).unwrap(), before);
        drop(guard);
        assert_eq!(tcgetattr(&pty.slave).unwrap(), before);
    }

    #[test]
    fn a_pipe_is_no_terminal() {
        let (reader, _writer) = io::pipe().unwrap();
        assert!(!is_terminal(reader.as_fd()));
        assert_eq!(size(reader.as_fd()), None);
        assert!(Raw::enter(reader.as_fd()).is_err());
        let described = describe(&reader);
        assert_eq!((described.rows, described.cols), (0, 0));
    }
}
