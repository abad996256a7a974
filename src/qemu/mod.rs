//! Booting a disk in QEMU: command line, firmware, accelerator, process, host channel, result.
//!
//! ```text
//!  MachineOptions ─▶ binary, firmware, accel, disk ─▶ Machine + Wiring ─▶ args ─▶ spawn ─▶ QEMU
//!                    (what this host has)            (values)            (pure)            │ │ │
//!  Session ◀── channel (frames) ◀── streams, terminal, signals            qmp ◀────────────┘ │ │
//!     │                                                                   console ◀──────────┘ │
//!     ├──▶ Event … Finished                                               port org.bootdisk.0 ◀┘
//!     └──◀ control connections: exec, stop, state
//! ```
//!
//! QEMU gets every file and every socket as an open descriptor: no name of a file is ever parsed by QEMU, no socket
//! has a path, and nothing can be left behind in a temporary directory. The engine sends typed [`Event`]s; what they
//! look like is the command line's business.
//!
//! Not supported: more than one disk; hosts that are not Linux; a guest whose architecture QEMU cannot emulate as
//! `q35`, `pc` or `virt`.

pub mod accel;
mod account;
pub mod args;
pub mod binary;
pub mod channel;
pub mod console;
pub mod control;
pub mod disk;
pub mod error;
pub mod event;
mod fence;
pub mod firmware;
pub mod forward;
pub mod machine;
mod overlay;
pub mod paste;
mod ports;
mod probe;
pub mod qmp;
pub mod run;
mod sandbox;
mod session;
mod signals;
mod spawn;
pub mod streams;
pub mod terminal;

pub use accel::AccelChoice;
pub use error::RunError;
pub use event::{Event, Finished, Outcome, Scarce, What};
pub use forward::Forward;
pub use machine::{Accel, Access, Boot, Bus, Display, MachineOptions, Nic, Reach, Reboot};
pub use run::{SessionOptions, run, run_controlled};
pub use signals::hangup_is_ignored;
pub use streams::Streams;
