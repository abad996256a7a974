//! A program on a terminal of its own, driven as a person would: type, wait for what appears, change the window's size.

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{Winsize, grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::termios::{Termios, tcgetattr};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

/// What a terminal is sent to go back to the beginning of a line and empty it.
pub const CLEARED: &str = "\r\u{1b}[2K";

/// A program whose standard streams and controlling terminal are a new pseudo-terminal.
pub struct OnTerminal {
    child: Child,
    master: Option<File>,
    /// Ours, so that the terminal outlives the program and its mode can be looked at.
    slave: Option<File>,
    said: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
    closing: Arc<AtomicBool>,
    seen: usize,
    before: Termios,
}

/// A master and its slave. No program inherits them by accident: a copy of the master in a machine that another test
/// starts would keep the terminal from ever hanging up.
fn open_pair() -> (File, File) {
    let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname_r(&master).unwrap();
    let slave = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NOCTTY).open(name).unwrap();
    (OwnedFd::from(master).into(), slave)
}

fn set_size(terminal: &File, rows: u16, cols: u16) {
    let size = Winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCSWINSZ reads one winsize.
    nix::errno::Errno::result(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &size) }).unwrap();
}

fn read_all(mut from: File, to: &Mutex<Vec<u8>>, closing: &AtomicBool) {
    let mut buffer = [0; 65_536];
    while !closing.load(Ordering::SeqCst) {
        let mut fds = [PollFd::new(from.as_fd(), PollFlags::POLLIN)];
        if !matches!(poll(&mut fds, PollTimeout::from(50u16)), Ok(1..)) {
            continue;
        }
        match from.read(&mut buffer) {
            Ok(n @ 1..) => to.lock().unwrap().extend_from_slice(&buffer[..n]),
            // EIO when no program has the terminal any more.
            _ => return,
        }
    }
}

impl OnTerminal {
    /// Starts it in a session of its own: a program in the background of its terminal is stopped when it changes modes.
    pub fn start(command: &mut Command, rows: u16, cols: u16) -> OnTerminal {
        let (master, slave) = open_pair();
        set_size(&master, rows, cols);
        let before = tcgetattr(&slave).unwrap();
        let copy = || slave.try_clone().unwrap();
        command.stdin(copy()).stdout(copy()).stderr(copy());
        // SAFETY: two system calls between fork and exec; standard input is the terminal already.
        unsafe {
            command.pre_exec(|| {
                nix::unistd::setsid()?;
                nix::errno::Errno::result(libc::ioctl(0, libc::TIOCSCTTY, 0))?;
                Ok(())
            });
        }
        let child = command.spawn().unwrap();
        let said = Arc::new(Mutex::new(Vec::new()));
        let (from, to, closing) = (master.try_clone().unwrap(), said.clone(), Arc::new(AtomicBool::new(false)));
        let closed = closing.clone();
        let reader = thread::spawn(move || read_all(from, &to, &closed));
        let (master, slave, reader) = (Some(master), Some(slave), Some(reader));
        OnTerminal { child, master, slave, said, reader, closing, seen: 0, before }
    }

    /// Types.
    pub fn type_in(&mut self, text: &str) {
        self.master.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// Waits until this appears after what was waited for last, and returns what came before it.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str, patience: Duration) -> String {
        let started = Instant::now();
        loop {
            let said = self.said.lock().unwrap()[self.seen..].to_vec();
            if let Some(at) = said.windows(text.len()).position(|window| window == text.as_bytes()) {
                self.seen += at + text.len();
                return String::from_utf8_lossy(&said[..at]).into_owned();
            }
            let over = self.child.try_wait().unwrap().is_some();
            if started.elapsed() > patience || over && started.elapsed() > Duration::from_secs(1) {
                _ = self.child.kill();
                panic!("{text:?} did not appear; after what did, there was:\n{}", String::from_utf8_lossy(&said));
            }
            sleep(Duration::from_millis(10));
        }
    }

    /// Changes the window's size, which the foreground program is told by SIGWINCH.
    pub fn resize(&self, rows: u16, cols: u16) {
        set_size(self.master.as_ref().unwrap(), rows, cols);
    }

    /// Whether the terminal's mode is as it was before the program.
    pub fn is_restored(&self) -> bool {
        tcgetattr(self.slave.as_ref().unwrap()).unwrap() == self.before
    }

    /// Closes the terminal, as a window that is shut.
    pub fn hang_up(&mut self) {
        self.slave = None;
        self.stop_reading();
        self.master = None;
    }

    fn stop_reading(&mut self) {
        self.closing.store(true, Ordering::SeqCst);
        if let Some(reader) = self.reader.take() {
            _ = reader.join();
        }
    }

    /// Waits for the program's end; its exit status.
    #[track_caller]
    pub fn finish(&mut self, patience: Duration) -> Option<i32> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            if started.elapsed() > patience {
                _ = self.child.kill();
                panic!("it did not end; it said:\n{}", String::from_utf8_lossy(&self.said.lock().unwrap()));
            }
            sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for OnTerminal {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
        self.stop_reading();
    }
}
