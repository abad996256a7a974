//! What a machine is handed beside its disk, to be read by PID 1 or the image's own init: credentials, and a disk for
//! cloud-init. All of it is in memory, as it may be secret, and no command line has a byte of it.

use crate::qemu::{ExtraDisk, Extras, FwCfg, RunError};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::Arc;

/// The serial number of a disk for cloud-init.
const SERIAL: &str = "cidata";

/// All of it. Several machines may have the same, as nobody writes to it.
#[derive(Clone, Debug, Default)]
pub struct Handed {
    /// Items of the firmware configuration device, by their names.
    pub fw_cfg: Vec<(String, Arc<File>)>,
    /// A disk for cloud-init.
    pub cloud: Option<Arc<File>>,
}

impl Handed {
    /// Adds all of it to a machine.
    pub(super) fn add_to(&self, extras: &mut Extras) -> Result<(), RunError> {
        let open = |file: &File| file.try_clone().map_err(RunError::host("hand a file to the machine"));
        for (name, file) in &self.fw_cfg {
            extras.fw_cfg.push(FwCfg { name: name.clone(), file: open(file)? });
        }
        if let Some(file) = &self.cloud {
            // QEMU takes a descriptor only if it can do no more than what it is for.
            let name = format!("/proc/self/fd/{}", file.as_raw_fd());
            let file = File::open(name).map_err(RunError::host("hand a disk to the machine"))?;
            let serial = SERIAL.to_owned();
            extras.disks.push(ExtraDisk { serial, file, read_only: true, place: PathBuf::from("/dev/shm") });
        }
        Ok(())
    }
}

/// An empty file without a name, in memory, gone with its last descriptor.
pub fn in_memory() -> io::Result<File> {
    Ok(memfd_create("bootdisk-handed", MFdFlags::MFD_CLOEXEC)?.into())
}

/// A file like that with this content.
pub fn holding(bytes: &[u8]) -> io::Result<Arc<File>> {
    let mut file = in_memory()?;
    file.write_all(bytes)?;
    Ok(Arc::new(file))
}
