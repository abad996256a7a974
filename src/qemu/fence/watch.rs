//! The thread that answers the kernel's questions about QEMU's calls, for as long as QEMU lives.

use super::filter::Gate;
use super::notices::{Memory, Notice, receive};
use super::rules::{Clients, LONGEST, decode, is_loopback, is_name_server};
use crate::escape::os_error;
use crate::qemu::forward::{Forward, Protocol};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use std::io::{self, IoSliceMut, PipeReader, PipeWriter};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;

/// The child's socket has a number that QEMU's own are unlikely to get: the filter looks away from it.
const HIGH: RawFd = 512;
/// Most messages of one `sendmmsg` (UIO_MAXIOV).
const MOST_MESSAGES: u64 = 1024;

/// A fence whose child is not there yet.
pub(in crate::qemu) struct Unwatched {
    post: UnixStream,
    udp: Vec<SocketAddr>,
}

/// A fence. It falls when this is dropped, which must be after QEMU's end.
pub(crate) struct Fence {
    thread: Option<JoinHandle<()>>,
    stop: Option<PipeWriter>,
    gap: Option<String>,
}

/// Makes both sides.
pub(super) fn prepare(forwards: &[Forward], silent: &[RawFd]) -> io::Result<(Gate, Unwatched)> {
    let (post, theirs) = UnixStream::pair()?;
    let high = fcntl(&theirs, FcntlArg::F_DUPFD_CLOEXEC(HIGH))?;
    // SAFETY: fcntl has just made it, and nobody else knows it.
    let theirs = unsafe { OwnedFd::from_raw_fd(high) };
    let udp = forwards.iter().filter(|forward| forward.protocol == Protocol::Udp);
    let udp: Vec<SocketAddr> = udp.map(|forward| (forward.address, forward.host).into()).collect();
    Ok((Gate::new(theirs, silent, !udp.is_empty()), Unwatched { post, udp }))
}

impl Unwatched {
    /// Begins to watch a child that has started; the gate must have gone, so that only the child could have sent.
    ///
    /// # Errors
    /// When no thread can be made: then QEMU would wait for ever for an answer.
    pub(in crate::qemu) fn watch(self, child: u32) -> io::Result<Fence> {
        let listener = match self.listener() {
            Ok(listener) => listener,
            Err(error) => {
                let gap = format!("no seccomp notifications on this host: {}", os_error(&error));
                return Ok(Fence { thread: None, stop: None, gap: Some(gap) });
            }
        };
        let sight = Sight::of(child, self.udp);
        let gap = sight.as_ref().err().map(|error| format!("QEMU's memory cannot be read: {}", os_error(error)));
        let (stopped, stop) = io::pipe()?;
        let thread = std::thread::Builder::new().name("fence".into());
        let thread = thread.spawn(move || answer_all(&listener, &stopped, sight.ok()))?;
        Ok(Fence { thread: Some(thread), stop: Some(stop), gap })
    }

    /// What the child sent.
    fn listener(&self) -> io::Result<OwnedFd> {
        let mut errno = [0; 4];
        let mut space = nix::cmsg_space!(RawFd);
        let mut parts = [IoSliceMut::new(&mut errno)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
        let message = recvmsg::<()>(self.post.as_raw_fd(), &mut parts, Some(&mut space), flags)?;
        let listener = message.cmsgs()?.find_map(|message| match message {
            // SAFETY: the kernel has just made it for us.
            ControlMessageOwned::ScmRights(fds) => fds.first().map(|&fd| unsafe { OwnedFd::from_raw_fd(fd) }),
            _ => None,
        });
        listener.ok_or_else(|| io::Error::from_raw_os_error(i32::from_ne_bytes(errno)))
    }
}

impl Fence {
    /// Why it keeps nobody away.
    pub(in crate::qemu) fn gap(&self) -> Option<&str> {
        self.gap.as_deref()
    }
}

impl Drop for Fence {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            _ = thread.join();
        }
    }
}

/// Answers until nobody is left to ask, or `stopped` is at its end. Without sight everything goes on.
fn answer_all(listener: &OwnedFd, stopped: &PipeReader, mut sight: Option<Sight>) {
    loop {
        let mut fds =
            [PollFd::new(listener.as_fd(), PollFlags::POLLIN), PollFd::new(stopped.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) => {}
            Err(Errno::EINTR) => continue,
            Err(_) => return,
        }
        let [asked, ended] = fds.map(|fd| fd.revents().unwrap_or(PollFlags::empty()));
        if !ended.is_empty() || !asked.contains(PollFlags::POLLIN) {
            return;
        }
        match receive(listener) {
            Ok(Some(notice)) => {
                let goes_on = sight.as_mut().is_none_or(|sight| sight.allows(&notice, listener));
                notice.answer(listener, goes_on);
            }
            Ok(None) => {}
            // The listener closes with this, and then every such call fails.
            Err(_) => return,
        }
    }
}

/// What there is to judge a call by.
struct Sight {
    memory: Memory,
    /// Forwarded UDP ports of the host, and QEMU itself to borrow their sockets from.
    udp: Vec<SocketAddr>,
    child: Option<OwnedFd>,
    clients: Clients,
}

impl Sight {
    fn of(child: u32, udp: Vec<SocketAddr>) -> io::Result<Sight> {
        let memory = Memory::of(child)?;
        let child = (!udp.is_empty()).then(|| pidfd_open(child)).transpose()?;
        Ok(Sight { memory, udp, child, clients: Clients::default() })
    }

    /// Whether the call may happen. What cannot be read may not.
    fn allows(&mut self, notice: &Notice, listener: &OwnedFd) -> bool {
        let [_, one, two, _, four, five] = notice.args;
        let allowed = match notice.call {
            libc::SYS_recvfrom => {
                self.remember_client(notice.args[0]);
                Ok(true)
            }
            libc::SYS_connect => self.leads_away(notice, one, two),
            libc::SYS_sendto => self.leads_away(notice, four, five),
            libc::SYS_sendmsg => self.message_leads_away(notice, one),
            libc::SYS_sendmmsg => self.messages_lead_away(notice, one, two),
            _ => Ok(true),
        };
        allowed.unwrap_or(false) && notice.waits(listener)
    }

    /// Whether the address of this length is not of this host's loopback, or one that is within reach all the same.
    fn leads_away(&mut self, notice: &Notice, address: u64, length: u64) -> io::Result<bool> {
        let mut bytes = [0; LONGEST];
        // The kernel takes the length as an int, and refuses one that is negative or long.
        let length = (length as u32 as usize).min(LONGEST);
        self.memory.read(notice, address, &mut bytes[..length])?;
        let disconnects = notice.call == libc::SYS_connect && bytes[..2] == (libc::AF_UNSPEC as u16).to_ne_bytes();
        Ok(match decode(&bytes[..length]) {
            Some(to) if is_loopback(&to) && !disconnects => self.within_reach(notice, to),
            _ => true,
        })
    }

    fn within_reach(&self, notice: &Notice, to: SocketAddr) -> bool {
        // QEMU reads the file as often; one that is missing names nobody.
        is_name_server(&to, &std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default())
            || self.forwarded(notice.args[0]).is_some_and(|(_, here)| self.clients.has(here, to))
    }

    /// A `msghdr` begins with its address and that one's length.
    fn message_leads_away(&mut self, notice: &Notice, header: u64) -> io::Result<bool> {
        let mut bytes = [0; 16];
        self.memory.read(notice, header, &mut bytes)?;
        let name = u64::from_ne_bytes(*bytes.first_chunk().unwrap_or(&[0; 8]));
        let length = u32::from_ne_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
        if name == 0 { Ok(true) } else { self.leads_away(notice, name, length.into()) }
    }

    fn messages_lead_away(&mut self, notice: &Notice, headers: u64, count: u64) -> io::Result<bool> {
        for at in 0..u64::from(count as u32).min(MOST_MESSAGES) {
            let header = headers.wrapping_add(at * size_of::<libc::mmsghdr>() as u64);
            if !self.message_leads_away(notice, header)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Before QEMU reads a datagram of a forwarded port: who sent it.
    fn remember_client(&mut self, fd: u64) {
        if let Some((socket, here)) = self.forwarded(fd)
            && let Some(client) = sender(&socket)
        {
            self.clients.add(here, client);
        }
    }

    /// QEMU's socket of this number with its own address, if it is a forwarded UDP port.
    fn forwarded(&self, fd: u64) -> Option<(OwnedFd, SocketAddr)> {
        let socket = pidfd_getfd(self.child.as_ref()?, fd).ok()?;
        let socket = std::net::UdpSocket::from(socket);
        let here = socket.local_addr().ok().filter(|here| self.udp.contains(here))?;
        Some((socket.into(), here))
    }
}

/// Who sent the datagram that waits in a socket.
fn sender(socket: &OwnedFd) -> Option<SocketAddr> {
    let mut bytes = [0u8; LONGEST];
    let mut length = LONGEST as libc::socklen_t;
    let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
    // SAFETY: nothing of the datagram is wanted; the address goes into a buffer of that length.
    let got = unsafe {
        libc::recvfrom(socket.as_raw_fd(), std::ptr::null_mut(), 0, flags, bytes.as_mut_ptr().cast(), &raw mut length)
    };
    (got >= 0).then(|| decode(bytes.get(..length as usize)?)).flatten()
}

fn pidfd_open(process: u32) -> io::Result<OwnedFd> {
    // SAFETY: a number in, a new descriptor out.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, process, 0) };
    Errno::result(fd)?;
    // SAFETY: the kernel has just made it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

fn pidfd_getfd(process: &OwnedFd, fd: u64) -> io::Result<OwnedFd> {
    // SAFETY: numbers in, a new descriptor out.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), fd as RawFd, 0) };
    Errno::result(fd)?;
    // SAFETY: the kernel has just made it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}
