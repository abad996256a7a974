//! A machine that was saved and goes on: its clock stands where it stood, and so does the kernel's randomness, the same in
//! every machine that goes on from that state.
//!
//! Source: random(4).

use super::{clock, log};
use crate::guest::channel::Resumed;
use nix::errno::Errno;
use std::fs::File;
use std::os::fd::AsRawFd;

/// Bytes of a seed that are taken, at most.
const LONGEST: usize = 64;

/// `struct rand_pool_info` with a seed of so many bytes.
#[repr(C)]
struct Pool {
    entropy_count: i32,
    buf_size: i32,
    buf: [u8; LONGEST],
}

mod ioctl {
    // `struct rand_pool_info`, whose size ends before its bytes.
    nix::ioctl_write_ptr_bad!(add_entropy, nix::request_code_write!(b'R', 3, 8), super::Pool);
    nix::ioctl_none!(reseed, b'R', 7);
}

/// Does what the host says of it.
pub fn take(payload: &[u8]) {
    let Ok(Resumed { time, seed }) = serde_json::from_slice(payload) else {
        return log::warning("the host said in a way unknown here that the machine goes on");
    };
    clock::catch_up(time);
    if let Err(error) = stir(&seed) {
        log::warning(format!("cannot renew the kernel's randomness: {error}"));
    }
}

/// Puts the seed into the kernel's pool, and has it used at once.
fn stir(seed: &[u8]) -> std::io::Result<()> {
    let mut pool = Pool { entropy_count: 0, buf_size: 0, buf: [0; LONGEST] };
    let length = seed.len().min(LONGEST);
    pool.buf[..length].copy_from_slice(&seed[..length]);
    (pool.buf_size, pool.entropy_count) = (length as i32, length as i32 * 8);
    let device = File::open("/dev/random")?;
    // SAFETY: the kernel reads the structure, of which no more than `buf_size` bytes of the buffer.
    unsafe { ioctl::add_entropy(device.as_raw_fd(), &raw const pool) }?;
    // Kernels before 4.14 do not know it, and take what was added when they see fit.
    // SAFETY: nothing is read or written.
    match unsafe { ioctl::reseed(device.as_raw_fd()) } {
        Ok(_) | Err(Errno::EINVAL | Errno::ENOTTY) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
