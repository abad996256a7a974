//! The consoles of the machine: all that somebody may look at.
//!
//! The kernel's messages go to every console of its command line; /dev/console is only the last one, and that may be a
//! serial port that the machine does not have. What must be seen is written to each, and on a screen it stays until it
//! could be read.
//!
//! Source: the kernel's Documentation/admin-guide/serial-console.rst, Documentation/ABI/testing/sysfs-tty.

use super::buttons;
use crate::escape::escape;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{FlushArg, tcflush};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The console that is a screen.
const SCREEN: &str = "tty0";
/// How long a screen shows why the machine ends.
const READABLE: u16 = 30;

/// The consoles of a machine by their names in /dev, in the order of the command line.
struct Consoles {
    all: Vec<String>,
    /// Those that have a device.
    real: Vec<String>,
}

impl Consoles {
    fn here() -> Consoles {
        Consoles::of(Path::new("/sys/class"))
    }

    fn of(class: &Path) -> Consoles {
        let active = fs::read_to_string(class.join("tty/console/active")).unwrap_or_default();
        let all: Vec<String> = active.split_whitespace().map(str::to_owned).collect();
        let real = all.iter().filter(|name| is_real(class, name)).cloned().collect();
        Consoles { all, real }
    }

    fn has_screen(&self) -> bool {
        self.real.iter().any(|name| name == SCREEN)
    }

    /// Where lines go that must be seen. Where nothing is known to be real, everything may be.
    fn places(&self) -> Vec<&str> {
        let names = if self.real.is_empty() { &self.all } else { &self.real };
        if names.is_empty() { vec!["console"] } else { names.iter().map(String::as_str).collect() }
    }
}

/// Whether there is a device behind a console. The kernel takes the four serial ports of a PC on trust, and has a screen
/// without a display too.
fn is_real(class: &Path, name: &str) -> bool {
    if name == SCREEN {
        return has_display(class);
    }
    // 0 is the type of a port that was not found (PORT_UNKNOWN). What is no serial port has no type.
    fs::read_to_string(class.join("tty").join(name).join("type")).map_or(true, |kind| kind.trim() != "0")
}

/// Whether a driver of a display shows the screen: `(S) VGA+`, `(M) frame buffer device`, and not `(S) dummy device`.
fn has_display(class: &Path) -> bool {
    fs::read_dir(class.join("vtconsole")).into_iter().flatten().flatten().any(|driver| {
        let read = |name: &str| fs::read_to_string(driver.path().join(name)).unwrap_or_default();
        read("bind").trim() == "1" && !read("name").contains("dummy")
    })
}

/// Writes a line to every console that somebody may look at: for a machine without a host, where nobody else would say it.
pub fn say(text: &str) {
    let line = format!("bootdisk: {}\r\n", escape(text.as_bytes()));
    for name in Consoles::here().places() {
        _ = open(name, true).and_then(|mut console| console.write_all(line.as_bytes()));
    }
}

/// The terminal of a workload without a host: the last console that is one, as the kernel takes the last. That name
/// and not /dev/console, which cannot be a controlling terminal.
pub fn terminal() -> Option<File> {
    let consoles = Consoles::here();
    let last = consoles.places().last().and_then(|name| open(name, false).ok());
    last.or_else(|| open("console", false).ok())
}

/// Consoles that people can type at, by their names in /dev. The screen is the first of its terminals: what is all of them
/// cannot be a controlling terminal, and neither can what stands for the last console.
pub fn for_people() -> Vec<String> {
    let consoles = Consoles::here();
    let names = consoles.places().into_iter().filter(|name| *name != "console");
    names.map(|name| if name == SCREEN { "tty1".to_owned() } else { name.to_owned() }).collect()
}

/// Opens a console that people type at.
pub fn open_for_people(name: &str) -> Option<File> {
    open(name, false).ok()
}

/// The name of that console, if it is not the screen, on which distributions have logins by themselves.
pub fn last() -> Option<String> {
    Consoles::here()
        .places()
        .last()
        .filter(|name| **name != SCREEN && **name != "console")
        .map(|name| (*name).to_owned())
}

/// The console of an image's own init, where the kernel's is a port that is not there.
pub fn instead_of_the_kernels() -> Option<File> {
    let Consoles { all, real } = Consoles::here();
    let wanted = real.last().filter(|_| !all.last().is_some_and(|last| real.contains(last)))?;
    open(wanted, false).ok()
}

fn open(name: &str, write_only: bool) -> std::io::Result<File> {
    // A serial line whose other end holds it up must not hold up the end of the machine.
    let flags = if write_only { libc::O_NOCTTY | libc::O_NONBLOCK } else { libc::O_NOCTTY };
    OpenOptions::new().read(!write_only).write(true).custom_flags(flags).open(Path::new("/dev").join(name))
}

/// Whether a screen is all there is to look at.
pub fn is_screen_alone() -> bool {
    Consoles::here().real == [SCREEN]
}

/// Keeps a screen as it is until somebody has read it: Enter, the power button, or the end of the time.
pub fn let_it_be_read() {
    if !Consoles::here().has_screen() {
        return;
    }
    say(&format!("the machine switches itself off in {READABLE} s, or when Enter is pressed"));
    let screen = open(SCREEN, false).ok();
    // What was typed before is for nobody any more.
    screen.iter().for_each(|screen| _ = tcflush(screen, FlushArg::TCIFLUSH));
    let buttons = buttons::find();
    let watched = screen.iter().map(AsFd::as_fd).chain(buttons.iter().map(AsFd::as_fd));
    let mut fds: Vec<PollFd> = watched.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
    _ = poll(&mut fds, PollTimeout::from(READABLE * 1000));
}

#[cfg(test)]
mod tests {
    use super::{Consoles, fs};

    /// Its path and what it says.
    type File<'a> = (&'a str, &'a str);

    /// A `/sys/class` with these files.
    fn class(files: &[File]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    #[test]
    fn what_must_be_seen_goes_to_every_console_that_has_a_device() {
        const BOTH: File = ("tty/console/active", "tty0 ttyS0\n");
        const PORT: File = ("tty/ttyS0/type", "4\n");
        const NO_PORT: File = ("tty/ttyS0/type", "0\n");
        const VGA: [File; 2] = [("vtconsole/vtcon0/name", "(S) VGA+\n"), ("vtconsole/vtcon0/bind", "1\n")];
        const DUMMY: [File; 2] = [("vtconsole/vtcon0/name", "(S) dummy device\n"), ("vtconsole/vtcon0/bind", "1\n")];
        const UNBOUND: [File; 2] = [VGA[0], ("vtconsole/vtcon0/bind", "0\n")];
        const FRAMES: [File; 2] =
            [("vtconsole/vtcon1/name", "(M) frame buffer device\n"), ("vtconsole/vtcon1/bind", "1\n")];
        let arm = ("tty/console/active", "tty0 ttyAMA0\n");
        type Row<'a> = (&'a [&'a [File<'a>]], &'a [&'a str], bool);
        let rows: [Row; 8] = [
            (&[&[BOTH, PORT], &VGA], &["tty0", "ttyS0"], true),
            (&[&[BOTH, NO_PORT], &VGA], &["tty0"], true),
            (&[&[BOTH, NO_PORT], &UNBOUND, &FRAMES], &["tty0"], true),
            (&[&[BOTH, PORT], &DUMMY], &["ttyS0"], false),
            (&[&[BOTH, NO_PORT], &DUMMY], &["tty0", "ttyS0"], false),
            (&[&[arm], &DUMMY], &["ttyAMA0"], false),
            (&[&[("tty/console/active", "hvc0\n")]], &["hvc0"], false),
            (&[&[]], &["console"], false),
        ];
        for (number, (files, places, screen)) in rows.into_iter().enumerate() {
            let class = class(&files.concat());
            let consoles = Consoles::of(class.path());
            assert_eq!((consoles.places(), consoles.has_screen()), (places.to_vec(), screen), "row {number}");
        }
    }
}
