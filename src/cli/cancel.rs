//! SIGINT, SIGTERM and SIGHUP while a disk is made: the unfinished file goes, and the exit status says which signal.

use crate::publish::remove_unpublished;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};
use std::io;

/// Ends this program when a signal comes, until dropped.
pub struct Cancel(Handle);

impl Cancel {
    /// Begins to listen.
    pub fn on_signals() -> io::Result<Cancel> {
        let hangup = (!crate::session::hangup_is_ignored()).then_some(SIGHUP);
        let mut signals = Signals::new([SIGINT, SIGTERM].into_iter().chain(hangup))?;
        let handle = signals.handle();
        std::thread::Builder::new().name("signals".into()).spawn(move || {
            if let Some(signal) = signals.forever().next() {
                remove_unpublished();
                std::process::exit(128 + signal);
            }
        })?;
        Ok(Cancel(handle))
    }
}

impl Drop for Cancel {
    fn drop(&mut self) {
        self.0.close();
    }
}
