//! The seccomp filter, and how the child puts it around itself.
//!
//! Calls without an address run as fast as ever: a connected socket's `send` is `sendto` with no address, which the
//! filter sees. Behind which pointer of `sendmsg` there is an address it cannot see, so sockets that are known to have
//! none are named by their numbers.
//!
//! Source: seccomp(2); Linux, include/uapi/linux/filter.h.

use libc::{BPF_ABS, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, c_long, sock_filter};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

/// AUDIT_ARCH_* of this processor's 64-bit calls (linux/audit.h).
const ARCH: u32 = if cfg!(target_arch = "x86_64") { 0xc000_003e } else { 0xc000_00b7 };
/// Calls of x86_64's 32-bit pointers begin here; elsewhere there are none.
const X32: u32 = if cfg!(target_arch = "x86_64") { 0x4000_0000 } else { u32::MAX };
/// Offsets in `seccomp_data`.
const NR_AT: u32 = 0;
const ARCH_AT: u32 = 4;
const ARGS_AT: u32 = 16;

/// What the child needs to put the filter around itself, made before the fork.
pub(in crate::qemu) struct Gate {
    program: Vec<sock_filter>,
    /// The listener goes to the parent through it.
    post: OwnedFd,
}

impl Gate {
    /// A gate that lets `silent` sockets send as they like, and has `recvfrom` looked at where it `hears`.
    pub(super) fn new(post: OwnedFd, silent: &[RawFd], hears: bool) -> Gate {
        let silent: Vec<RawFd> = silent.iter().copied().chain([post.as_raw_fd()]).collect();
        Gate { program: program(&silent, hears), post }
    }

    /// In the child, between fork and exec: only system calls, nothing allocates. A filter that cannot be had is told
    /// to the parent and stops nothing.
    pub(in crate::qemu) fn close(&self) {
        let listener = self.install();
        // Its own copy is closed by exec.
        self.send(listener);
    }

    /// The listener's number, or a negative errno.
    fn install(&self) -> i32 {
        if !cfg!(any(target_arch = "x86_64", target_arch = "aarch64")) {
            return -libc::ENOSYS;
        }
        let program = libc::sock_fprog { len: self.program.len() as u16, filter: self.program.as_ptr().cast_mut() };
        // Without SPEC_ALLOW old kernels slow down everything that a filtered process does.
        let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
        // What seccomp wants of everybody but root.
        _ = nix::sys::prctl::set_no_new_privs();
        // SAFETY: the program lives until the call returns; the kernel only reads it.
        let made =
            unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
        if made < 0 { -nix::errno::Errno::last_raw() } else { made as i32 }
    }

    /// Sends what [`install`](Self::install) gave, in a message with four bytes of errno.
    fn send(&self, listener: i32) {
        let error = -listener.min(0);
        let mut bytes = error.to_ne_bytes();
        let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
        // Aligned for its header, and with room for one descriptor.
        let mut control = [0u64; 4];
        // SAFETY: every pointer leads to this function's own variables, with their lengths; CMSG_FIRSTHDR is inside
        // `control`, which has room for CMSG_SPACE(4) bytes.
        unsafe {
            let mut message: libc::msghdr = std::mem::zeroed();
            message.msg_iov = &raw mut part;
            message.msg_iovlen = 1;
            if listener >= 0 {
                message.msg_control = control.as_mut_ptr().cast();
                message.msg_controllen = libc::CMSG_SPACE(4) as _;
                let header = libc::CMSG_FIRSTHDR(&raw const message);
                (*header).cmsg_level = libc::SOL_SOCKET;
                (*header).cmsg_type = libc::SCM_RIGHTS;
                (*header).cmsg_len = libc::CMSG_LEN(4) as _;
                libc::CMSG_DATA(header).cast::<i32>().write_unaligned(listener);
            }
            libc::sendmsg(self.post.as_raw_fd(), &raw const message, 0);
        }
    }
}

const NOTIFY: sock_filter = give(libc::SECCOMP_RET_USER_NOTIF);
const ALLOW: sock_filter = give(libc::SECCOMP_RET_ALLOW);
const NO_SUCH_CALL: sock_filter = give(libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32);

/// The whole filter. Each block ends in an answer or is jumped over with the call's number still loaded.
fn program(silent: &[RawFd], hears: bool) -> Vec<sock_filter> {
    let mut program = vec![load(ARCH_AT), jump(BPF_JEQ, ARCH, 1, 0), NO_SUCH_CALL];
    program.extend([load(NR_AT), jump(BPF_JGE, X32, 0, 1), NO_SUCH_CALL]);
    let mut block = |call: c_long, body: &[sock_filter]| {
        program.push(jump(BPF_JEQ, call as u32, 0, body.len() as u8));
        program.extend(body);
    };
    block(libc::SYS_connect, &[NOTIFY]);
    block(libc::SYS_sendto, &if_pointer(4));
    block(libc::SYS_sendmmsg, &[NOTIFY]);
    block(libc::SYS_sendmsg, &unless_silent(silent));
    if hears {
        block(libc::SYS_recvfrom, &if_pointer(4));
    }
    program.push(ALLOW);
    program
}

/// Looked at if this argument is no null pointer.
fn if_pointer(argument: u32) -> [sock_filter; 6] {
    let low = ARGS_AT + 8 * argument;
    [load(low), jump(BPF_JEQ, 0, 0, 2), load(low + 4), jump(BPF_JEQ, 0, 1, 0), NOTIFY, ALLOW]
}

/// Looked at unless the first argument is one of these descriptors.
fn unless_silent(silent: &[RawFd]) -> Vec<sock_filter> {
    let each = silent.iter().flat_map(|&fd| [jump(BPF_JEQ, fd as u32, 0, 1), ALLOW]);
    [load(ARGS_AT)].into_iter().chain(each).chain([NOTIFY]).collect()
}

const fn load(offset: u32) -> sock_filter {
    sock_filter { code: (BPF_LD | BPF_W | BPF_ABS) as u16, jt: 0, jf: 0, k: offset }
}

const fn jump(how: u32, value: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code: (BPF_JMP | how | BPF_K) as u16, jt, jf, k: value }
}

const fn give(answer: u32) -> sock_filter {
    sock_filter { code: (BPF_RET | BPF_K) as u16, jt: 0, jf: 0, k: answer }
}
