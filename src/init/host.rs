//! The guest's end of the host channel (`guest::channel`): finds the port, says hello, and moves frames.
//!
//! Everything is non-blocking: a port whose host end is closed would block a plain write for ever. A machine without
//! the port, or without a host on it, gets a `Host` that swallows what it is sent.

use super::{consoles, log, resumed};
use crate::guest::channel::{Decoder, Frame, Hello, Kind, Level, PORT, VERSION, Welcome};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long the named port may take to appear once the console device is there, and a host to be seen on it.
const PORT_PATIENCE: Duration = Duration::from_millis(1000);
/// How long the host may take to answer hello.
const WELCOME_PATIENCE: Duration = Duration::from_secs(20);
/// Bytes waiting to be sent beyond which no more output is taken from the workload.
const BACKLOG: usize = 131_072;

/// The channel, or its absence.
#[derive(Default)]
pub struct Host {
    port: Option<File>,
    decoder: Decoder,
    out: Vec<u8>,
    sent: usize,
    nonce: String,
    knows_restarts: bool,
    /// Frames that have arrived and that nobody has received yet.
    early: Vec<Frame>,
}

/// What a panic needs to tell the host: the port's descriptor and the nonce.
static EMERGENCY: Mutex<Option<(i32, String)>> = Mutex::new(None);

impl Host {
    /// Opens the port and exchanges hello and welcome. `None` beside the host when there is none.
    pub fn connect() -> (Host, Option<Welcome>) {
        let mut host =
            Host { port: find_port().and_then(|path| open(&path)), decoder: Decoder::with_pieces(), ..Host::default() };
        if host.port.is_none() {
            return (host, None);
        }
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned();
        let hello = Hello {
            version: VERSION,
            bootdisk: env!("CARGO_PKG_VERSION").to_owned(),
            kernel,
            uptime: uptime(),
            restarts: true,
            resumes: true,
        };
        host.send(&Frame::control(Kind::Hello, &hello));
        let welcome = host.wait_for_welcome();
        match &welcome {
            Some(welcome) => {
                host.nonce.clone_from(&welcome.nonce);
                host.knows_restarts = welcome.restarts;
            }
            None => {
                log::warning("no usable welcome came from the host; going on without it");
                host.port = None;
            }
        }
        if let (Some(port), Ok(mut emergency)) = (&host.port, EMERGENCY.lock()) {
            *emergency = Some((port.as_raw_fd(), host.nonce.clone()));
        }
        (host, welcome)
    }

    fn wait_for_welcome(&mut self) -> Option<Welcome> {
        let deadline = Instant::now() + WELCOME_PATIENCE;
        while self.port.is_some() && Instant::now() < deadline {
            self.flush();
            let mut frames = self.receive().into_iter().skip_while(|frame| frame.kind != Kind::Welcome);
            if let Some(frame) = frames.next() {
                let welcome: Welcome = serde_json::from_slice(&frame.payload).ok()?;
                if welcome.version == VERSION {
                    self.early = frames.collect();
                    return Some(welcome);
                }
                log::error(format!("the host speaks version {} of the channel, not {VERSION}", welcome.version));
                return None;
            }
            self.wait(Duration::from_millis(200));
        }
        None
    }

    /// Whether a host listens.
    pub fn is_there(&self) -> bool {
        self.port.is_some()
    }

    /// The nonce of the welcome.
    pub fn nonce(&self) -> &str {
        &self.nonce
    }

    /// Whether it understands that a workload starts again.
    pub fn knows_restarts(&self) -> bool {
        self.knows_restarts
    }

    /// The descriptor to poll, and for what.
    pub fn interest(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        let wanted = if self.pending() > 0 { PollFlags::POLLIN | PollFlags::POLLOUT } else { PollFlags::POLLIN };
        Some((self.port.as_ref()?.as_fd(), wanted))
    }

    /// Whether more output may be queued.
    pub fn has_room(&self) -> bool {
        self.pending() < BACKLOG
    }

    fn pending(&self) -> usize {
        self.out.len() - self.sent
    }

    /// Queues a frame. Frames to nobody are dropped.
    pub fn send(&mut self, frame: &Frame) {
        if self.port.is_some() && frame.encode(&mut self.out).is_err() {
            log::error(format!("a frame for the host is too long: {} bytes", frame.payload.len()));
        }
    }

    /// Queues what the log has for the host.
    pub fn send_log(&mut self) {
        for entry in log::take_pending() {
            self.send(&Frame::control(Kind::Log, &entry));
        }
    }

    /// Says something that somebody who waits wants to see: at once to the host, or without one on the consoles.
    pub fn tell(&mut self, level: Level, text: &str) {
        log::note(level, text);
        match self.is_there() {
            true => {
                self.send_log();
                self.flush();
            }
            false => consoles::say(text),
        }
    }

    /// Writes what the port takes now.
    pub fn flush(&mut self) {
        while let Some(port) = &mut self.port
            && self.sent < self.out.len()
        {
            match port.write(&self.out[self.sent..]) {
                Ok(0) => break,
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => self.lose(&error.to_string()),
            }
        }
        if self.sent == self.out.len() {
            self.out.clear();
            self.sent = 0;
        } else if self.sent > BACKLOG {
            self.out.drain(..self.sent);
            self.sent = 0;
        }
    }

    /// Whether the host has asked for the machine to stop. All that has arrived is still there to be received.
    pub fn stop_asked(&mut self) -> bool {
        self.early = self.receive();
        self.early.iter().any(|frame| frame.kind == Kind::Stop)
    }

    /// Frames that have arrived. That the machine goes on is dealt with here, before what is asked of it then.
    pub fn receive(&mut self) -> Vec<Frame> {
        let mut frames = std::mem::take(&mut self.early);
        let mut buffer = [0u8; 16_384];
        // Bounded, so that a host that never stops cannot keep the loop here.
        for _ in 0..16 {
            let Some(port) = &mut self.port else { break };
            match port.read(&mut buffer) {
                // The host's end was closed.
                Ok(0) => self.lose("it closed the port"),
                Ok(count) => self.decoder.feed(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => self.lose(&error.to_string()),
            }
            loop {
                match self.decoder.next_frame() {
                    Ok(Some(frame)) if frame.kind == Kind::Resumed => resumed::take(&frame.payload),
                    Ok(Some(frame)) => frames.push(frame),
                    Ok(None) => break,
                    Err(error) => {
                        self.lose(&error.to_string());
                        break;
                    }
                }
            }
        }
        frames
    }

    /// Sends everything that is queued, however long the host takes, unless it goes away.
    pub fn drain(&mut self) {
        self.flush();
        while self.port.is_some() && self.pending() > 0 {
            self.wait(Duration::from_millis(500));
            // Credit that is no longer of use must not fill the port's other direction.
            self.receive();
            self.flush();
        }
    }

    fn wait(&self, limit: Duration) {
        let Some((fd, wanted)) = self.interest() else { return };
        let mut fds = [PollFd::new(fd, wanted)];
        _ = poll(&mut fds, PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX));
        if fds[0].revents().is_some_and(|events| events.contains(PollFlags::POLLHUP)) {
            // Hung up: poll returns at once, and the read that follows tells.
            sleep(Duration::from_millis(10));
        }
    }

    fn lose(&mut self, why: &str) {
        self.port = None;
        self.out.clear();
        self.sent = 0;
        if let Ok(mut emergency) = EMERGENCY.lock() {
            *emergency = None;
        }
        log::warning(format!("lost the connection to the host: {why}"));
    }
}

/// One last frame from a panic, past everything that is queued. The stream may be in the middle of a frame then, and
/// the host sees garbage; that too is an end it understands. Whether there was a host.
pub fn emergency(make: impl FnOnce(&str) -> Frame) -> bool {
    let Ok(emergency) = EMERGENCY.try_lock() else { return false };
    let Some((fd, nonce)) = emergency.as_ref() else { return false };
    let mut bytes = Vec::new();
    if make(nonce).encode(&mut bytes).is_ok() {
        // SAFETY: writes a buffer that lives to a descriptor that stays open as long as it is in EMERGENCY.
        unsafe { libc::write(*fd, bytes.as_ptr().cast(), bytes.len()) };
        sleep(Duration::from_millis(200));
    }
    true
}

/// Milliseconds since the kernel began, as it counts them.
fn uptime() -> Option<u64> {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).ok()?;
    u64::try_from(now.tv_sec() * 1000 + now.tv_nsec() / 1_000_000).ok()
}

/// The port's node. A machine with a virtio console device gets a moment for the port's name to arrive.
fn find_port() -> Option<PathBuf> {
    let deadline = Instant::now() + PORT_PATIENCE;
    loop {
        if let Some(path) = named_port() {
            return Some(path);
        }
        if !has_console_device() || Instant::now() > deadline {
            return None;
        }
        sleep(Duration::from_millis(10));
    }
}

fn named_port() -> Option<PathBuf> {
    fs::read_dir("/sys/class/virtio-ports").ok()?.flatten().find_map(|entry| {
        let name = fs::read_to_string(entry.path().join("name")).ok()?;
        (name.trim_end() == PORT).then(|| Path::new("/dev").join(entry.file_name()))
    })
}

/// Virtio device type 3 is the console (virtio specification 1.2, section 5).
fn has_console_device() -> bool {
    fs::read_dir("/sys/bus/virtio/devices")
        .into_iter()
        .flatten()
        .flatten()
        .any(|entry| fs::read_to_string(entry.path().join("device")).is_ok_and(|id| id.trim_end() == "0x0003"))
}

/// Opens the port once (a second open fails) and waits a moment for the host's end to be open too.
fn open(path: &Path) -> Option<File> {
    let flags = libc::O_NONBLOCK | libc::O_CLOEXEC;
    let port = match OpenOptions::new().read(true).write(true).custom_flags(flags).open(path) {
        Ok(port) => port,
        Err(error) => {
            log::warning(format!("cannot open the host channel {}: {error}", path.display()));
            return None;
        }
    };
    let deadline = Instant::now() + PORT_PATIENCE;
    while hung_up(&port) {
        if Instant::now() > deadline {
            log::info("nobody listens on the host channel");
            return None;
        }
        sleep(Duration::from_millis(5));
    }
    Some(port)
}

fn hung_up(port: &File) -> bool {
    let mut fds = [PollFd::new(port.as_fd(), PollFlags::POLLIN | PollFlags::POLLOUT)];
    _ = poll(&mut fds, PollTimeout::ZERO);
    fds[0].revents().is_some_and(|events| events.contains(PollFlags::POLLHUP))
}
