//! The machines this user started: where each can be found, spoken to, and read about.
//!
//! ```text
//! $XDG_RUNTIME_DIR/bootdisk/machines.lock     held for as long as it takes to register a machine or clean one away
//!                           machines/NAME/    mode 0700
//!                               lock          held exclusively by the `run` that owns the machine, to its last breath
//!                               machine.json  what it is: a Record
//!                               socket        control connections, see qemu::control
//!                               log.N         its output, when detached: see log
//!                               end.json      how it ended, when detached: an End
//! ```
//!
//! The lock tells live from dead, whatever killed the owner. A dead machine's folder goes with whoever meets it, unless
//! it was detached and came to its end: then it stays to be read, until its name is wanted again or [`KEPT`] others
//! have ended since.
//!
//! Not supported: machines of other users; machines that outlive their `run`.

mod directory;
mod entry;
mod error;
pub mod log;
pub mod name;
mod record;
mod registry;

pub use directory::directory;
pub use entry::Entry;
pub use error::MachineError;
pub use record::{End, Record};
pub use registry::{KEPT, Registered, Registry};
