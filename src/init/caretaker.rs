//! What PID 1 leaves beside an image's own init: one process, which starts others for the host (`exec`, `cp`) and asks
//! the init for the machine's end.
//!
//! ```text
//!  PID 1 ──── fork ─────▶ caretaker ── fork ──▶ exec, cp: in the init's namespaces, and so in its root
//!    │ exec                  │ host channel
//!    ▼                       ▼
//!  the image's init       bootdisk on the host
//! ```
//!
//! It is in nobody's way. Its root, /proc and /dev stay those of the initramfs: nothing that the init mounts, or wants to
//! unmount, concerns it. It has a session of its own, /dev/null for its streams, and is the last to go when memory runs
//! out. The `@` in front of its name keeps systemd from killing it before the end (systemd, "Storage Daemons for the
//! Root File System"); a SIGTERM ends it at once, so that other inits have nothing to wait for. Where no host is on the
//! channel none is left.

use super::children;
use super::host::Host;
use super::namespaces::Workload;
use super::order::Order;
use super::processes::{Neighbour, Processes};
use super::running::Part;
use super::signals::{self, Incoming};
use super::{log, systemd, title};
use crate::guest::channel::{Frame, Kind};
use crate::guest::own_init::CARETAKER;
use crate::guest::spec::Process;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{ForkResult, chroot, fchdir, fork, pipe2, setsid};
use std::convert::Infallible;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// The init's number.
const INIT: i32 = 1;

/// A caretaker that waits for the init to be there.
pub struct Left {
    pid: i32,
    /// Closed by a successful exec.
    _until_exec: OwnedFd,
}

/// Leaves one, whose root is to be `initramfs`. What the host sends from here on is for it. `process` is what the image
/// starts, which names the environment, the user and the folder of what is started beside it.
pub fn leave(host: &mut Host, process: &Process, initramfs: &File) -> nix::Result<Left> {
    let (exec_done, until_exec) = pipe2(OFlag::O_CLOEXEC)?;
    // SAFETY: PID 1 has one thread, so the child may do anything.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok(Left { pid: child.as_raw(), _until_exec: until_exec }),
        ForkResult::Child => {
            drop(until_exec);
            std::panic::set_hook(Box::new(|info| log::error(format!("the caretaker has a defect: {info}"))));
            let Err(why) = become_caretaker(host, process, initramfs, exec_done.into());
            log::warning(format!("cannot stay beside the image's own init: {why}"));
            end(1)
        }
    }
}

impl Left {
    /// There is no init that it could be beside.
    pub fn take_back(self) {
        _ = signals::send(self.pid, libc::SIGKILL);
        // SAFETY: nothing is written.
        _ = unsafe { libc::waitpid(self.pid, std::ptr::null_mut(), 0) };
    }
}

/// Without running anything of PID 1's.
fn end(status: i32) -> ! {
    // SAFETY: no memory is involved.
    unsafe { libc::_exit(status) }
}

fn become_caretaker(
    host: &mut Host,
    process: &Process,
    initramfs: &File,
    mut exec_done: File,
) -> std::io::Result<Infallible> {
    let signals = Incoming::open()?;
    fchdir(initramfs)?;
    chroot(".")?;
    setsid()?;
    hear_and_say_nothing()?;
    title::set(CARETAKER);
    // Two would read from one channel otherwise, and this one has no init to be beside.
    exec_done.read_to_end(&mut Vec::new())?;
    drop(exec_done);
    let process = Process { env: systemd::environment(process.env.clone()), ..process.clone() };
    Caretaker { host, signals, process, processes: Processes::default(), order: Order::default() }.run();
    end(0)
}

fn hear_and_say_nothing() -> std::io::Result<()> {
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    for standard in 0..3 {
        // SAFETY: replaces the standard descriptors of this process.
        Errno::result(unsafe { libc::dup2(null.as_raw_fd(), standard) })?;
    }
    Ok(())
}

struct Caretaker<'a> {
    host: &'a mut Host,
    signals: Incoming,
    process: Process,
    processes: Processes,
    order: Order,
}

enum Source {
    Signals,
    Host,
    Process(u32, Part),
}

impl Caretaker<'_> {
    /// Until the host has gone, or the init wants it to go.
    fn run(mut self) {
        // What came before PID 1 was the init, when nobody polled.
        self.read_host();
        while self.host.is_there() {
            self.host.send_log();
            for (process, outcome) in self.processes.take_ended(self.host) {
                process.tell(outcome, false, self.host);
            }
            self.host.flush();
            for source in self.wait() {
                match source {
                    Source::Signals if self.is_told_to_go() => return self.dismiss(),
                    Source::Signals => self.reap(),
                    Source::Host => self.read_host(),
                    Source::Process(number, part) => self.processes.ready(number, part, self.host),
                }
            }
        }
        self.dismiss();
    }

    fn wait(&self) -> Vec<Source> {
        let mut sources = vec![Source::Signals];
        let mut fds = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        if let Some((fd, flags)) = self.host.interest() {
            sources.push(Source::Host);
            fds.push(PollFd::new(fd, flags));
        }
        for (number, part, fd, flags) in self.processes.interests(self.host) {
            sources.push(Source::Process(number, part));
            fds.push(PollFd::new(fd, flags));
        }
        _ = poll(&mut fds, PollTimeout::NONE);
        let ready = |fd: &PollFd| fd.revents().is_none_or(|events| !events.is_empty());
        sources.into_iter().zip(&fds).filter(|(_, fd)| ready(fd)).map(|(source, _)| source).collect()
    }

    fn is_told_to_go(&self) -> bool {
        std::iter::from_fn(|| self.signals.next()).any(|received| received.signal == libc::SIGTERM)
    }

    /// Their streams are about to go, too.
    fn dismiss(&mut self) {
        for running in self.processes.others().filter(|running| !running.has_ended()) {
            _ = signals::send(running.pid, libc::SIGHUP);
        }
    }

    fn reap(&mut self) {
        while let Some((pid, outcome)) = children::next_ended() {
            self.order.ended(pid, &outcome);
            self.processes.reaped(pid, outcome, self.host);
        }
    }

    fn read_host(&mut self) {
        for frame in self.host.receive() {
            self.frame(&frame);
        }
    }

    fn frame(&mut self, frame: &Frame) {
        match frame.kind {
            Kind::Stop => self.order.give(INIT),
            Kind::Exec => {
                // The init may have given another one.
                let hostname = nix::unistd::gethostname().unwrap_or_default();
                let neighbour = Neighbour {
                    process: &self.process,
                    hostname: &hostname.to_string_lossy(),
                    namespaces: Workload::of(INIT, false),
                };
                self.processes.exec_asked(&frame.payload, Ok(neighbour), self.host);
            }
            _ => self.processes.frame(frame, self.host),
        }
    }
}
