//! What a machine has beside its disk: file systems of the host over virtio-fs, more disks, items of its firmware
//! configuration, and a second network card.
//!
//! All are open already: a socket on which a vhost-user daemon answers, a file, and a socket whose datagrams are Ethernet
//! frames. The guest knows them by their names: a tag, a serial number, a path, an Ethernet address. What a vhost-user
//! daemon serves, it serves from the machine's memory, which is shared with it for that.

use std::fs::File;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;

/// All of them.
#[derive(Debug, Default)]
pub struct Extras {
    /// File systems.
    pub shares: Vec<Share>,
    /// Disks.
    pub disks: Vec<ExtraDisk>,
    /// Items of the firmware configuration device.
    pub fw_cfg: Vec<FwCfg>,
    /// A second network card.
    pub wire: Option<Wire>,
}

/// What the guest reads by QEMU's firmware configuration device (QEMU, docs/specs/fw_cfg.rst).
#[derive(Debug)]
pub struct FwCfg {
    /// Begins with `opt/`; at most 55 bytes, without commas.
    pub name: String,
    /// The content, from its first byte on; QEMU reads it when it starts.
    pub file: File,
}

/// A network card whose other end is a socket of this host's.
#[derive(Clone, Debug)]
pub struct Wire {
    /// QEMU's end of a pair of datagram sockets. Whoever keeps it can start another machine on it.
    pub socket: Arc<UnixDatagram>,
    /// The card's Ethernet address.
    pub mac: [u8; 6],
}

/// A file system that a daemon serves.
#[derive(Debug)]
pub struct Share {
    /// The guest's name for it.
    pub tag: String,
    /// Connected to the daemon, which has not spoken to a machine yet.
    pub socket: UnixStream,
}

/// A disk whose whole content is a file system.
#[derive(Debug)]
pub struct ExtraDisk {
    /// The guest's name for it, at most 20 bytes.
    pub serial: String,
    /// The file; its lock lives in every copy of it.
    pub file: File,
    /// The guest cannot write to it.
    pub read_only: bool,
    /// Where it is, or its folder if it has no name: what is told when there is no space for it.
    pub place: PathBuf,
}

/// The name of a disk in QEMU, by its number.
pub(crate) fn node(number: usize) -> String {
    format!("more{number}")
}

impl Extras {
    /// The sockets: of the daemons, and of the card.
    pub(super) fn sockets(&self) -> impl Iterator<Item = RawFd> {
        let card = self.wire.iter().map(|wire| wire.socket.as_raw_fd());
        self.shares.iter().map(|share| share.socket.as_raw_fd()).chain(card)
    }

    /// The disks' files, and those of the firmware configuration.
    pub(super) fn files(&self) -> impl Iterator<Item = RawFd> {
        let items = self.fw_cfg.iter().map(|item| item.file.as_raw_fd());
        self.disks.iter().map(|disk| disk.file.as_raw_fd()).chain(items)
    }
}
