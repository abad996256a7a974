//! Signals to this program as bytes of a socket, so that they are one more thing to poll for.
//!
//! While no machine runs, the signals do what they do by default. A SIGHUP that this program was started to ignore, as
//! nohup(1) does, stays ignored.

use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use signal_hook::SigId;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGWINCH};
use signal_hook::{flag, low_level};

/// Signals that ask for the end of the machine.
const STOPPING: [i32; 4] = [SIGINT, SIGTERM, SIGHUP, SIGQUIT];

/// Signals that arrive, from construction to drop.
pub(super) struct Signals {
    socket: UnixStream,
    // The handlers write to it until they are unregistered.
    _writer: UnixStream,
    ids: Vec<SigId>,
}

/// How many [`Signals`] there are, and whether there are none.
struct Listeners {
    count: Mutex<usize>,
    none: Arc<AtomicBool>,
    /// Those that ask for the end.
    stopping: Vec<i32>,
}

/// A handler once installed stays, so what it does without a listener is decided by a flag.
fn listeners() -> io::Result<&'static Listeners> {
    static LISTENERS: OnceLock<Listeners> = OnceLock::new();
    if let Some(listeners) = LISTENERS.get() {
        return Ok(listeners);
    }
    let none = Arc::new(AtomicBool::new(false));
    let mut stopping = STOPPING.to_vec();
    stopping.retain(|&signal| signal != SIGHUP || !hangup_is_ignored());
    for &signal in &stopping {
        flag::register_conditional_default(signal, none.clone())?;
    }
    Ok(LISTENERS.get_or_init(|| Listeners { count: Mutex::new(0), none, stopping }))
}

/// Whether this program was started to ignore SIGHUP. Asked before the first handler is installed, and remembered.
pub fn hangup_is_ignored() -> bool {
    static IGNORED: OnceLock<bool> = OnceLock::new();
    *IGNORED.get_or_init(|| is_ignored(SIGHUP))
}

fn is_ignored(signal: i32) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: sigaction(2) only writes what is there, and all zeros is a valid one.
    unsafe {
        libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) == 0
            && action.assume_init().sa_sigaction == libc::SIG_IGN
    }
}

fn change(by: isize) -> io::Result<()> {
    let listeners = listeners()?;
    let mut count = listeners.count.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    *count = count.saturating_add_signed(by);
    listeners.none.store(*count == 0, Ordering::SeqCst);
    Ok(())
}

impl Signals {
    pub(super) fn listen() -> io::Result<Signals> {
        let (socket, writer) = UnixStream::pair()?;
        socket.set_nonblocking(true)?;
        writer.set_nonblocking(true)?;
        change(1)?;
        let mut signals = Signals { socket, _writer: writer, ids: Vec::new() };
        let fd = signals._writer.as_raw_fd();
        for signal in listeners()?.stopping.iter().copied().chain([SIGWINCH]) {
            let byte = signal as u8;
            // SAFETY: send(2) is async-signal-safe; the descriptor is open until `drop` has unregistered the action.
            let id = unsafe {
                low_level::register(signal, move || {
                    libc::send(fd, (&raw const byte).cast(), 1, 0);
                })
            }?;
            signals.ids.push(id);
        }
        Ok(signals)
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// The signals since the last call, in order.
    pub(super) fn arrived(&mut self) -> Vec<i32> {
        let mut bytes = [0; 64];
        let n = self.socket.read(&mut bytes).unwrap_or(0);
        bytes[..n].iter().map(|&byte| i32::from(byte)).collect()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for id in self.ids.drain(..) {
            low_level::unregister(id);
        }
        _ = change(-1);
    }
}

#[cfg(test)]
mod tests {
    use super::is_ignored;
    use nix::sys::signal::{SigHandler, Signal, signal};

    #[test]
    fn an_ignored_signal_is_known() {
        // SIGURG is ignored by default, which is not the same.
        assert!(!is_ignored(libc::SIGURG));
        // SAFETY: nothing in this program wants SIGURG.
        unsafe { signal(Signal::SIGURG, SigHandler::SigIgn) }.unwrap();
        assert!(is_ignored(libc::SIGURG));
    }
}
