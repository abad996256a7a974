//! Children of PID 1 that have ended: processes it started, and orphans that came to it.

use crate::guest::channel::Outcome;

/// Collects one. The raw system call: a typed one knows no real-time signals, and loses a child that died of one.
pub fn next_ended() -> Option<(i32, Outcome)> {
    let mut status = 0;
    // SAFETY: the kernel writes one integer.
    let pid = unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG) };
    (pid > 0).then(|| (pid, outcome(status)))
}

/// Whether there are any, alive or not yet collected.
pub fn any() -> bool {
    let flags = libc::WNOHANG | libc::WNOWAIT | libc::WEXITED;
    let mut info = std::mem::MaybeUninit::<libc::siginfo_t>::zeroed();
    // SAFETY: the kernel writes one structure.
    unsafe { libc::waitid(libc::P_ALL, 0, info.as_mut_ptr(), flags) == 0 }
}

fn outcome(status: i32) -> Outcome {
    if libc::WIFSIGNALED(status) {
        return Outcome::Signaled(libc::WTERMSIG(status) as u8);
    }
    Outcome::Exited(libc::WEXITSTATUS(status) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_and_every_signal_is_told() {
        for status in 0..=255 {
            assert_eq!(outcome(i32::from(status) << 8), Outcome::Exited(status));
        }
        for signal in 1..=64u8 {
            assert_eq!(outcome(i32::from(signal)), Outcome::Signaled(signal));
            // With a core file.
            assert_eq!(outcome(i32::from(signal) | 0x80), Outcome::Signaled(signal));
        }
    }
}
