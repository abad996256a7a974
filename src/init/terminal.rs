//! Terminals: a pseudo-terminal for a process that the host drives, or the machine's console.

use crate::guest::channel::Terminal;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::mount::{MsFlags, mount};
use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};
use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;

nix::ioctl_write_ptr_bad!(set_size, libc::TIOCSWINSZ, libc::winsize);
nix::ioctl_write_int_bad!(make_controlling, libc::TIOCSCTTY);

/// In the child, inside the root: makes a terminal of the image's /dev/pts, takes it as controlling terminal and as
/// standard streams, and returns the master side. The workload's is its /dev/console too.
pub fn make(wanted: &Terminal, is_workload: bool) -> std::io::Result<PtyMaster> {
    let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let name = ptsname_r(&master)?;
    resize(&master, wanted.rows, wanted.cols);
    let slave = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NOCTTY).open(&name)?;
    if is_workload {
        // Best effort: only a program that looks for the console misses it.
        _ = mount(Some(name.as_str()), "/dev/console", None::<&str>, MsFlags::MS_BIND, None::<&str>);
    }
    take(&slave)?;
    Ok(master)
}

/// Sets a terminal's size. Unknown (0) is left.
pub fn resize(terminal: &impl AsFd, rows: u16, cols: u16) {
    if rows > 0 && cols > 0 {
        let size = libc::winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: reads one winsize.
        _ = unsafe { set_size(terminal.as_fd().as_raw_fd(), &size) };
    }
}

/// Takes the console as controlling terminal and standard streams, and makes it the root's /dev/console, which is
/// then its name; /dev/null where there is none.
pub fn use_console(console: Option<File>) {
    if let Some(console) = &console {
        be_console(console);
    }
    let Some(terminal) = console.or_else(|| OpenOptions::new().read(true).write(true).open("/dev/null").ok()) else {
        return;
    };
    _ = take(&terminal);
}

/// Takes a console as controlling terminal and standard streams, beside a workload that has it as its /dev/console.
pub fn log_in(console: Option<File>) -> std::io::Result<()> {
    console.map_or_else(|| Err(Errno::ENODEV.into()), |console| take(&console))
}

/// Makes the console the root's /dev/console and the output of a workload, whose input is not there: people type at it.
pub fn only_output(console: Option<File>) {
    let null = || OpenOptions::new().read(true).write(true).open("/dev/null").ok();
    console.iter().for_each(be_console);
    for (standard, file) in [(0, null()), (1, console.or_else(null))] {
        let Some(file) = file else { continue };
        // SAFETY: replaces the standard descriptors of this child.
        _ = unsafe { libc::dup2(file.as_raw_fd(), standard) };
    }
    // SAFETY: as above.
    _ = unsafe { libc::dup2(1, 2) };
}

/// Makes a console the root's /dev/console and the standard streams of an image's own init, which is nobody's terminal.
pub fn stand_in(console: &File) {
    be_console(console);
    _ = become_streams(console);
}

fn be_console(console: &File) {
    let source = format!("/proc/self/fd/{}", console.as_raw_fd());
    _ = mount(Some(source.as_str()), "/dev/console", None::<&str>, MsFlags::MS_BIND, None::<&str>);
}

fn take(terminal: &File) -> std::io::Result<()> {
    // SAFETY: no memory is involved. A device that is no terminal refuses, and is used all the same.
    _ = unsafe { make_controlling(terminal.as_raw_fd(), 0) };
    become_streams(terminal)
}

fn become_streams(terminal: &File) -> std::io::Result<()> {
    let fd = terminal.as_raw_fd();
    for standard in 0..3 {
        // SAFETY: replaces the standard descriptors of this child.
        Errno::result(unsafe { libc::dup2(fd, standard) })?;
    }
    Ok(())
}
