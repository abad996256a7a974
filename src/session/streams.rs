//! The three streams the workload's are joined to, and the threads that write two of them.
//!
//! What we write to may be slow or stuck: a pager, a full disk, a terminal that is stopped. The descriptors are shared
//! with other programs, so they are not made non-blocking; a thread each waits for them, and the machine's loop never
//! does. How much waits is bounded by the credit the guest has.

use super::signals::Signals;
use crate::escape::os_error;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread;

/// What the workload's standard streams are joined to.
pub struct Streams {
    /// Read only when standard input was asked for.
    pub stdin: OwnedFd,
    /// Gets the workload's standard output and nothing else.
    pub stdout: OwnedFd,
    /// Gets the workload's standard error.
    pub stderr: OwnedFd,
}

impl Streams {
    /// This program's own; one that is closed is /dev/null.
    pub fn inherited() -> io::Result<Streams> {
        fn duplicate(fd: impl AsFd) -> io::Result<OwnedFd> {
            match fd.as_fd().try_clone_to_owned() {
                Err(error) if error.raw_os_error() == Some(libc::EBADF) => {
                    Ok(File::options().read(true).write(true).open("/dev/null")?.into())
                }
                result => result,
            }
        }
        Ok(Streams {
            stdin: duplicate(io::stdin())?,
            stdout: duplicate(io::stdout())?,
            stderr: duplicate(io::stderr())?,
        })
    }
}

/// Wakes the machine's loop.
pub(super) struct Bell {
    socket: UnixStream,
    rope: Arc<UnixStream>,
}

impl Bell {
    pub(super) fn new() -> io::Result<Bell> {
        let (socket, rope) = UnixStream::pair()?;
        socket.set_nonblocking(true)?;
        rope.set_nonblocking(true)?;
        Ok(Bell { socket, rope: Arc::new(rope) })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Forgets how often it rang.
    pub(super) fn quiet(&mut self) {
        let mut buffer = [0; 256];
        while matches!(self.socket.read(&mut buffer), Ok(n) if n == buffer.len()) {}
    }
}

/// Waits a moment for writers to get on, or for a signal; whether one came that asks for the end.
pub(super) fn wait_for_writers(writers: &mut [Writer], bell: &mut Bell, signals: &mut Signals) -> bool {
    let readable = PollFlags::POLLIN;
    let mut fds = [PollFd::new(bell.fd(), readable), PollFd::new(signals.fd(), readable)];
    _ = poll(&mut fds, PollTimeout::from(250u16));
    bell.quiet();
    for writer in writers {
        writer.passed_on();
    }
    signals.arrived().iter().any(|&signal| signal != libc::SIGWINCH)
}

/// A stream with a thread that writes it.
pub(super) struct Writer {
    queue: Sender<Vec<u8>>,
    shared: Arc<Shared>,
    queued: usize,
}

#[derive(Default)]
struct Shared {
    /// Bytes written, or thrown away because nobody reads them, since last asked.
    passed_on: AtomicUsize,
    /// Nothing more is written: nobody reads, or it cannot be written.
    broken: AtomicBool,
    /// Why it cannot be written.
    lost: OnceLock<io::Error>,
}

impl Shared {
    /// After an error that cannot be waited out.
    fn give_up(&self, file: &File, error: io::Error) {
        // A terminal that has gone is a reader that has.
        let hung_up = error.raw_os_error() == Some(libc::EIO) && file.is_terminal();
        if error.kind() != io::ErrorKind::BrokenPipe && !hung_up {
            _ = self.lost.set(error);
        }
        self.broken.store(true, Ordering::SeqCst);
    }
}

impl Writer {
    pub(super) fn new(fd: OwnedFd, bell: &Bell) -> io::Result<Writer> {
        let (queue, waiting) = channel();
        let (shared, rope) = (Arc::new(Shared::default()), bell.rope.clone());
        let theirs = shared.clone();
        thread::Builder::new()
            .name("output".into())
            .spawn(move || write_all(&File::from(fd), &waiting, &theirs, &rope))?;
        Ok(Writer { queue, shared, queued: 0 })
    }

    /// Queues bytes.
    pub(super) fn write(&mut self, bytes: Vec<u8>) {
        self.queued += bytes.len();
        // The thread lives as long as the queue.
        _ = self.queue.send(bytes);
    }

    /// How many bytes were passed on since the last call.
    pub(super) fn passed_on(&mut self) -> usize {
        let n = self.shared.passed_on.swap(0, Ordering::SeqCst);
        self.queued -= n;
        n
    }

    /// Bytes queued and not passed on yet, as of the last call of [`passed_on`](Self::passed_on).
    pub(super) fn waiting(&self) -> usize {
        self.queued
    }

    /// Whether everything queued was passed on.
    pub(super) fn idle(&self) -> bool {
        self.queued == 0
    }

    /// Whether nothing more is written: nobody reads it any more, or it cannot be written.
    pub(super) fn broken(&self) -> bool {
        self.shared.broken.load(Ordering::SeqCst)
    }
}

/// Which of the two streams were not written whole, and why.
pub(super) fn lost(writers: &[Writer; 2]) -> Vec<String> {
    let named = ["standard output", "standard error"].into_iter().zip(writers);
    let why = |(name, writer): (&str, &Writer)| Some(format!("{name}: {}", os_error(writer.shared.lost.get()?)));
    named.filter_map(why).collect()
}

fn write_all(file: &File, waiting: &Receiver<Vec<u8>>, shared: &Shared, mut rope: &UnixStream) {
    while let Ok(bytes) = waiting.recv() {
        let mut at = 0;
        while at < bytes.len() && !shared.broken.load(Ordering::SeqCst) {
            match { file }.write(&bytes[at..]) {
                Ok(0) => shared.give_up(file, io::ErrorKind::WriteZero.into()),
                Ok(n) => at += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Somebody we share it with made it non-blocking.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => wait_for_room(file),
                Err(error) => shared.give_up(file, error),
            }
        }
        shared.passed_on.fetch_add(bytes.len(), Ordering::SeqCst);
        // A bell that rings already rings.
        _ = rope.write(&[0]);
    }
}

fn wait_for_room(file: &File) {
    let mut fds = [PollFd::new(file.as_fd(), PollFlags::POLLOUT)];
    _ = poll(&mut fds, PollTimeout::NONE);
}

/// One read of standard input that is ready: the bytes, or `None` at its end.
pub(super) fn read_ready(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> Option<usize> {
    match nix::unistd::read(fd, buffer) {
        Ok(0) => None,
        Ok(n) => Some(n),
        // Another reader was faster.
        Err(Errno::EAGAIN | Errno::EINTR) => Some(0),
        // A terminal that has gone, a directory: no more input.
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    fn until(mut done: impl FnMut() -> bool) {
        let start = Instant::now();
        while !done() {
            assert!(start.elapsed() < Duration::from_secs(10));
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn a_stuck_reader_holds_up_nobody_but_itself() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut bell = Bell::new().unwrap();
        let mut output = Writer::new(writer.into(), &bell).unwrap();
        for _ in 0..10 {
            output.write(vec![7; 65_536]);
        }
        thread::sleep(Duration::from_millis(20));
        assert!(!output.idle());
        let got = thread::spawn(move || {
            let mut bytes = vec![0; 655_360];
            reader.read_exact(&mut bytes).unwrap();
            bytes
        });
        let mut passed = 0;
        until(|| {
            passed += output.passed_on();
            bell.quiet();
            output.idle()
        });
        assert_eq!((passed, output.broken()), (655_360, false));
        assert_eq!(got.join().unwrap(), vec![7; 655_360]);
    }

    #[test]
    fn without_a_reader_bytes_are_passed_on_to_nobody() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let mut output = Writer::new(writer.into(), &Bell::new().unwrap()).unwrap();
        output.write(vec![1; 100]);
        output.write(vec![1; 100]);
        until(|| {
            output.passed_on();
            output.idle()
        });
        assert!(output.broken());
    }

    #[test]
    fn what_cannot_be_written_is_lost_and_said() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let bell = Bell::new().unwrap();
        let mut writers =
            [Writer::new(full.into(), &bell).unwrap(), Writer::new(io::pipe().unwrap().1.into(), &bell).unwrap()];
        writers.iter_mut().for_each(|writer| writer.write(vec![1; 100]));
        until(|| {
            writers.iter_mut().for_each(|writer| _ = writer.passed_on());
            writers.iter().all(Writer::idle)
        });
        assert!(writers.iter().all(Writer::broken));
        assert_eq!(lost(&writers), ["standard output: no space left on device"], "the pipe's reader has only gone");
    }

    #[test]
    fn a_non_blocking_pipe_loses_nothing() {
        let (mut reader, writer) = io::pipe().unwrap();
        crate::qemu::spawn::set_nonblocking(writer.as_fd()).unwrap();
        let mut output = Writer::new(writer.into(), &Bell::new().unwrap()).unwrap();
        output.write(vec![3; 1 << 20]);
        drop(output);
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes.len(), 1 << 20);
    }
}
