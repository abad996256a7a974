//! What a machine is handed beside its disk, to be read by PID 1 or the image's own init: credentials, and a disk for
//! cloud-init. All of it is in memory, as it may be secret, and no command line has a byte of it.

use crate::qemu::{ExtraDisk, Extras, FwCfg, RunError};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
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
    /// Whether a machine would get the same by this: names and bytes. What cannot be read is like nothing.
    pub fn is(&self, other: &Handed) -> bool {
        let files =
            |one: &Handed| one.fw_cfg.iter().map(|(_, file)| file.clone()).chain(one.cloud.clone()).collect::<Vec<_>>();
        let names = |one: &Handed| one.fw_cfg.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        let alike = names(self) == names(other) && self.cloud.is_some() == other.cloud.is_some();
        alike && files(self).iter().zip(files(other)).all(|(one, other)| Arc::ptr_eq(one, &other) || equal(one, &other))
    }

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

fn equal(one: &File, other: &File) -> bool {
    let (mut here, mut there) = (vec![0; 65_536], vec![0; 65_536]);
    let mut at = 0;
    loop {
        let (Ok(n), Ok(m)) = (one.read_at(&mut here, at), other.read_at(&mut there, at)) else { return false };
        if n != m || here[..n] != there[..n] {
            return false;
        }
        if n == 0 {
            return true;
        }
        at += n as u64;
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
