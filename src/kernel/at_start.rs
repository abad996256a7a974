//! The ways on which a kernel brings a machine its settings.

use super::Bundle;
use super::config::Setting;
use super::places::has;
use crate::guest::settings::at_start::{AtStart, CDROM, FW_CFG, ISO9660, SMBIOS, VFAT};

/// What a disk with this kernel reads at start.
pub fn at_start(bundle: &Bundle, read: bool) -> AtStart {
    let drivers = [
        (FW_CFG, ("qemu_fw_cfg", "FW_CFG_SYSFS")),
        (ISO9660, ("isofs", "ISO9660_FS")),
        (VFAT, ("vfat", "VFAT_FS")),
        (CDROM, ("sr_mod", "BLK_DEV_SR")),
    ];
    // DMI cannot be a module, so that only the configuration tells; kernels of distributions have it.
    let config = bundle.config.as_ref();
    let dmi = config.is_none_or(|config| matches!(config.get("DMI"), Some(Setting::Yes)));
    // Where neither modules nor configuration tell, it is tried.
    let there = drivers.into_iter().filter(|(_, driver)| has(bundle, driver).unwrap_or(true)).map(|(way, _)| way);
    let ways = dmi.then_some(SMBIOS).into_iter().chain(there).map(str::to_owned).collect();
    AtStart { read, ways: if read { ways } else { Vec::new() } }
}
