//! What the host side and PID 1 of the guest agree upon, and nothing else.
//!
//! - [`spec`]: the boot specification, a JSON file in the initramfs;
//! - [`user`] and [`signal`]: what an image's `User` and `StopSignal` mean, for PID 1 and for whoever makes the disk;
//! - [`health`]: a health check, for whoever started the machine;
//! - [`mounts`]: folders of the host and volumes, for one boot;
//! - [`restart`]: whether a workload that has ended is started again;
//! - [`settings`]: the document that a machine gets at start;
//! - [`channel`]: the frames on the virtio-serial port between `bootdisk run` and PID 1.
//!
//! Both programs are built from one source tree, but a disk may be booted by a later `bootdisk`, so both formats
//! carry a version.

pub mod booted;
pub mod channel;
pub mod health;
pub mod mounts;
pub mod network;
pub mod overrides;
pub mod own_init;
pub mod restart;
pub mod script;
pub mod settings;
pub mod signal;
pub mod spec;
pub mod surroundings;
pub mod user;
