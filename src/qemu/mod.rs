//! How a QEMU is started: command line, firmware, accelerator, disk, process, and the fence around it.
//!
//! ```text
//!  MachineOptions ─▶ binary, firmware, accel, disk ─▶ Machine + Wiring ─▶ args ─▶ spawn ─▶ QEMU
//!                    (what this host has)            (values)            (pure)            │ │ │
//!                                                    session ◀── our ends of the sockets ──┘ │ │
//!                                                                qmp, console, host channel ─┘ ┘
//! ```
//!
//! QEMU gets every file and every socket as an open descriptor: no name of a file is ever parsed by QEMU, no socket
//! has a path, and nothing can be left behind in a temporary directory. What happens from the first instruction on is
//! `session`'s.
//!
//! Not supported: more than one disk to boot from; hosts that are not Linux; a guest whose architecture QEMU cannot emulate as
//! `q35`, `pc` or `virt`.

pub mod accel;
mod account;
pub mod args;
pub mod binary;
pub mod disk;
pub mod error;
mod extras;
mod fence;
pub mod firmware;
pub mod forward;
mod kept_waiting;
pub mod machine;
mod overlay;
pub mod paste;
mod ports;
mod probe;
pub mod publish;
pub mod qmp;
mod relay;
mod sandbox;
mod saved;
pub(crate) mod spawn;
mod start;

pub use error::RunError;
pub(crate) use extras::node;
pub use extras::{ExtraDisk, Extras, FwCfg, Share, Wire};
pub use forward::Forward;
pub use kept_waiting::kept_waiting;
pub use machine::{Accel, AccelChoice, Access, Boot, Bus, Display, Keys, MachineOptions, Nic, Reach, Reboot};
pub use publish::Publish;
pub use saved::cannot_be_saved;
pub(crate) use saved::{Kept, Origin, Saved, receive_state, send_state};
pub(crate) use start::{Links, Started, start};
