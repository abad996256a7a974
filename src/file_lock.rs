//! A lock on a file (flock(2)) that goes with its value. Unlike nix's `Flock` it does not panic where unlocking fails:
//! closing the file unlocks it too.

use std::fs::{File, TryLockError};
use std::io;

/// A locked file.
#[derive(Debug)]
pub struct Locked(File);

impl Locked {
    /// Waits until nobody else holds a lock.
    ///
    /// # Errors
    /// When the file system has no locks, or fails.
    pub fn wait(file: File) -> io::Result<Locked> {
        uninterrupted(|| file.lock()).map(|()| Locked(file))
    }

    /// Alone, or an error at once.
    ///
    /// # Errors
    /// When somebody else holds a lock, and as [`wait`](Self::wait).
    pub fn alone(file: File) -> io::Result<Locked> {
        uninterrupted(|| file.try_lock().map_err(plain)).map(|()| Locked(file))
    }

    /// Beside others who share it, or an error at once.
    ///
    /// # Errors
    /// When somebody holds it alone, and as [`wait`](Self::wait).
    pub fn shared(file: File) -> io::Result<Locked> {
        uninterrupted(|| file.try_lock_shared().map_err(plain)).map(|()| Locked(file))
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // At once, also where a child that is about to begin still has a copy of the descriptor.
        _ = self.0.unlock();
    }
}

fn plain(error: TryLockError) -> io::Error {
    match error {
        TryLockError::Error(error) => error,
        TryLockError::WouldBlock => io::ErrorKind::WouldBlock.into(),
    }
}

fn uninterrupted(mut lock: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    loop {
        match lock() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_goes_with_its_value_though_a_copy_of_the_file_stays() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let open = || File::open(file.path()).unwrap();
        let first = open();
        let copy = first.try_clone().unwrap();
        let first = Locked::wait(first).unwrap();
        assert!(Locked::alone(open()).is_err() && Locked::shared(open()).is_err());
        drop(first);
        let (_one, _other) = (Locked::shared(open()).unwrap(), Locked::shared(open()).unwrap());
        assert!(Locked::alone(open()).is_err());
        drop(copy);
    }
}
