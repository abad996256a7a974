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

/// Whether a process is on its way out, or gone: what is left of it waits for others of its PID namespace to go first.
pub fn is_ending(pid: i32) -> bool {
    std::fs::read(format!("/proc/{pid}/stat")).map_or(true, |stat| has_exited(&stat).unwrap_or(true))
}

/// Looks for `PF_EXITING` among the flags: the seventh field after the name, which ends with the last `)` (proc(5)).
fn has_exited(stat: &[u8]) -> Option<bool> {
    const PF_EXITING: u64 = 4;
    let behind_name = stat.iter().rposition(|&byte| byte == b')')? + 1;
    let fields = std::str::from_utf8(&stat[behind_name..]).ok()?;
    let flags: u64 = fields.split_ascii_whitespace().nth(6)?.parse().ok()?;
    Some(flags & PF_EXITING != 0)
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
    fn a_process_that_exits_is_told_from_one_that_runs() {
        let running = b"4711 (a) b (c)) S 1 4711 4711 0 -1 4194560 103 0 0 0 0 0 0 0 20 0 1 0 226 2 3";
        let exiting = b"4711 (a) b (c)) D 1 4711 4711 0 -1 4194564 103 0 0 0 0 0 0 0 20 0 1 0 226 2 3";
        assert_eq!((has_exited(running), has_exited(exiting)), (Some(false), Some(true)));
        assert_eq!(has_exited(b"4711 (cut) S 1"), None);
        assert!(!is_ending(std::process::id() as i32));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        while !is_ending(child.id() as i32) {
            std::thread::yield_now();
        }
        child.wait().unwrap();
    }

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
