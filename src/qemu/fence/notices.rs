//! What the kernel asks about QEMU's calls, and QEMU's memory behind their pointers.
//!
//! Source: seccomp_unotify(2); Linux, include/uapi/linux/seccomp.h.

use nix::errno::Errno;
use std::fs::File;
use std::io;
use std::mem::zeroed;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;

/// A call that waits for an answer.
pub(super) struct Notice {
    id: u64,
    /// The thread that calls.
    pub(super) thread: u32,
    /// SYS_*.
    pub(super) call: i64,
    /// As they are, pointers being QEMU's.
    pub(super) args: [u64; 6],
}

/// A newer kernel writes more than the structure that we know.
#[repr(C)]
struct Room {
    known: libc::seccomp_notif,
    more: [u64; 32],
}

/// Waits for a notice; `None` when the call has gone in the meantime.
pub(super) fn receive(listener: &OwnedFd) -> io::Result<Option<Notice>> {
    // SAFETY: all zeroes is a value of these plain structures, and what the kernel wants to be given.
    let mut room: Room = unsafe { zeroed() };
    // SAFETY: the kernel writes a `seccomp_notif` of its own size, for which there is room.
    let got = unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut room) };
    match Errno::result(got) {
        Ok(_) => {
            let notif = room.known;
            let call = notif.data.nr.into();
            Ok(Some(Notice { id: notif.id, thread: notif.pid, call, args: notif.data.args }))
        }
        Err(Errno::ENOENT | Errno::EINTR) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

impl Notice {
    /// Lets the call happen, or makes it fail with ECONNREFUSED.
    pub(super) fn answer(&self, listener: &OwnedFd, goes_on: bool) {
        let (error, flags) =
            if goes_on { (0, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32) } else { (-libc::ECONNREFUSED, 0) };
        let mut response = libc::seccomp_notif_resp { id: self.id, val: 0, error, flags };
        // SAFETY: the structure is ours and whole. It fails only when the call has gone, and then nobody waits.
        unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut response) };
    }

    /// Whether the call still waits: then what was read meanwhile is of its process, and not of a later one with the
    /// same number.
    pub(super) fn waits(&self, listener: &OwnedFd) -> bool {
        let id = self.id;
        // SAFETY: the kernel reads one number of ours.
        unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ID_VALID, &raw const id) == 0 }
    }
}

/// The memory of the process that asks. It stays open, as it is nearly always the same thread.
pub(super) struct Memory {
    thread: u32,
    file: File,
}

impl Memory {
    /// Of a process or thread.
    pub(super) fn of(thread: u32) -> io::Result<Memory> {
        Ok(Memory { thread, file: File::open(format!("/proc/{thread}/mem"))? })
    }

    /// Fills `bytes` from this address of the thread that a notice is of.
    pub(super) fn read(&mut self, notice: &Notice, address: u64, bytes: &mut [u8]) -> io::Result<()> {
        if self.thread == notice.thread && self.file.read_exact_at(bytes, address).is_ok() {
            return Ok(());
        }
        // Another thread, or another program in its place.
        *self = Memory::of(notice.thread)?;
        self.file.read_exact_at(bytes, address)
    }
}
