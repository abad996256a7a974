//! What a boot mounts in the workload's root beside the image: folders and files of the host, and volumes.
//!
//! The host gives each a name. PID 1 finds it under that name: as the tag of a virtio-fs device, or as the serial number of
//! a disk whose whole content is an ext4 file system.

use serde::{Deserialize, Serialize};

/// The kernel's driver for shares, in the list of a boot specification.
pub const DRIVER: &str = "virtiofs";

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Tag or serial number, see [`name`].
    pub name: String,
    /// What has that name.
    pub by: By,
    /// Where the workload finds it: an absolute path.
    pub at: String,
    /// The one file in it that is meant; absent for all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The workload cannot write to it.
    #[serde(default)]
    pub read_only: bool,
    /// A volume: enlarged to its disk, and begun with what the image has in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<Volume>,
}

/// How it comes into the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// virtio-fs: what the host has, live.
    Share,
    /// A disk of its own.
    Disk,
}

/// What is special about a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// An empty one gets a copy of what the image has there.
    pub seed: bool,
}

/// The name of the one with this number. A serial number of virtio-blk has at most 20 bytes.
pub fn name(number: usize) -> String {
    format!("bootdisk-{number}")
}

/// Where several are mounted one below the other, the outer one comes first.
pub fn depth(at: &str) -> usize {
    at.split('/').filter(|part| !part.is_empty()).count()
}
