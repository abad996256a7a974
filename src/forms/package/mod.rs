//! A disk in an archive with what a program wants beside it: OVA, Google's tar.gz, Vagrant's box, a containerDisk.
//!
//! ```text
//! OVA   ustar: disk.ovf (the machine) ─ disk.mf (SHA-256 of the others) ─ disk.vmdk (streamOptimized)
//! GCE   gzip of a GNU tar: disk.raw, whole GiB, sparse in the old way
//! box   ustar: metadata.json ─ Vagrantfile ─ box.img (qcow2, packed)
//! image an archive of docker or OCI, of one layer with disk/disk.qcow2
//! ```
//!
//! Read: the first disk of each, also where the archive is compressed. What else an archive says is not looked at.

pub mod container;
mod gce;
mod hash;
mod machine;
mod ova;
mod read;
mod tar;
mod vagrant;

pub use container::Archive;
pub use machine::Hardware;
pub(super) use read::{Member, disk_in};
pub(super) use {
    container::write as write_container, gce::write as write_gce, ova::write as write_ova,
    vagrant::write as write_vagrant,
};

/// A disk of Google's cloud is a whole number of these.
pub(super) const GIB: u64 = 1 << 30;
