//! Talking to a machine that runs: start a process beside the workload, stop the machine, learn its state.
//!
//! ```text
//!  Dialer ── connect ──┐                          session (one thread, one poll)
//!                      ├─▶ Endpoint ─▶ clients ─▶ channel ─▶ PID 1 of the guest
//!  socket ── connect ──┘                 ▲
//!                                        └── frames of `protocol`, both ways
//! ```
//!
//! Every conversation is a [`Connection`] over a stream socket, whoever speaks and wherever it came from: a thread of
//! the same program dials ([`Dialer`]), another program connects to the machine's socket. The session treats both the
//! same, and one more descriptor in its poll is all a client costs it. Flow control goes from end to end: the session
//! holds no more of a stream than the guest's window, however slow its reader is.
//!
//! Not supported: more than one process at a time on a connection; input for the workload itself, which belongs to
//! `run`.

pub mod attach;
pub mod capture;
pub mod connection;
mod endpoint;
mod error;
mod no_entry;
pub mod protocol;

pub use capture::Captured;
pub use connection::Connection;
pub use endpoint::{Dialer, Endpoint, endpoint};
pub use error::ControlError;
pub use no_entry::NoEntry;
pub use protocol::{Checked, Exec, Health, Phase, State};
