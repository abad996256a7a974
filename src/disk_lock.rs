//! The lock on a disk: a shared one (flock(2)) says "a machine reads this", an exclusive one "this is being written".

use nix::errno::Errno;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A lock lives on in every copy of its descriptor, and not all go with their owner: a QEMU that was killed takes a
/// moment to end, and so does a child of any thread of ours between its fork and its exec.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(5);

/// Locks an open disk, until the last copy of its descriptor is closed.
///
/// File systems without locks give none; QEMU's own locks remain.
///
/// # Errors
/// [`Errno::EWOULDBLOCK`] when another one uses the disk and still does a second later.
pub fn lock(file: &File, exclusive: bool) -> Result<(), Errno> {
    let operation = if exclusive { libc::LOCK_EX } else { libc::LOCK_SH };
    let end = Instant::now() + PATIENCE;
    loop {
        // Not nix's `Flock`: it unlocks when dropped, and the lock must outlive us in QEMU's copy of the descriptor.
        // SAFETY: flock takes a descriptor, which `file` keeps open, and no pointer.
        match Errno::result(unsafe { libc::flock(file.as_raw_fd(), operation | libc::LOCK_NB) }) {
            Ok(_) | Err(Errno::EOPNOTSUPP | Errno::ENOLCK | Errno::ENOSYS) => return Ok(()),
            Err(Errno::EWOULDBLOCK | Errno::EINTR) if Instant::now() < end => sleep(PAUSE),
            Err(errno) => return Err(errno),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_is_about_to_go_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk.img");
        std::fs::write(&path, [0; 512]).unwrap();
        let open = || File::open(&path).unwrap();
        let (first, second) = (open(), open());
        lock(&first, true).unwrap();
        assert_eq!(lock(&second, false), Err(Errno::EWOULDBLOCK));
        let copy = first.try_clone().unwrap();
        drop(first);
        let holder = std::thread::spawn(move || {
            sleep(PATIENCE / 10);
            drop(copy);
        });
        lock(&second, true).unwrap();
        holder.join().unwrap();
    }
}
