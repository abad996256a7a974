//! What a disk says of the settings that it reads at start, so that the host can refuse what would not arrive.

use serde::{Deserialize, Serialize};

/// Strings of SMBIOS type 11 (CONFIG_DMI).
pub const SMBIOS: &str = "smbios";
/// Files of QEMU's fw_cfg (CONFIG_FW_CFG_SYSFS).
pub const FW_CFG: &str = "fw_cfg";
/// A cloud's disk with ISO 9660 (CONFIG_ISO9660_FS).
pub const ISO9660: &str = "iso9660";
/// A cloud's disk with FAT (CONFIG_VFAT_FS).
pub const VFAT: &str = "vfat";
/// CD-ROM drives, where clouds like to put theirs (CONFIG_BLK_DEV_SR).
pub const CDROM: &str = "cdrom";

/// Whether and where PID 1 looks for settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AtStart {
    /// It looks for them; not after `build --no-settings`.
    pub read: bool,
    /// The ways on which this kernel brings them, by the names above; a host knows more of them in later versions.
    #[serde(default)]
    pub ways: Vec<String>,
}

impl AtStart {
    /// Whether settings that are given this way arrive.
    pub fn reads(&self, way: &str) -> bool {
        self.read && self.ways.iter().any(|own| own == way)
    }
}
