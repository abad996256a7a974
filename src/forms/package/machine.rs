//! The machine that a disk is for, as far as its package must say it.

use crate::formats::gpt;
use crate::forms::Source;
use std::io;

/// What a machine offers that a disk's kernel knows.
/// The default is what every generic kernel knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hardware {
    /// Disks are on an IDE controller, and not on SATA.
    pub ide: bool,
    /// The network card is VMware's own, and not an Intel one.
    pub vmxnet3: bool,
}

impl Hardware {
    /// For a kernel with these drivers, by the names of the devices that they are for.
    pub fn for_drivers(drivers: &[String]) -> Hardware {
        let has = |name: &str| drivers.iter().any(|driver| driver == name);
        Hardware { ide: !has("ahci") && has("ide"), vmxnet3: !has("e1000") }
    }
}

/// What the disk itself tells.
pub struct Machine {
    /// A BIOS finds something to start.
    pub bios: bool,
    /// Its root is one for aarch64.
    pub arm: bool,
}

impl Machine {
    pub fn of(source: &dyn Source) -> io::Result<Machine> {
        let starts = |at: u64| {
            let mut code = [0; 16];
            let there = source.size().saturating_sub(at).min(code.len() as u64) as usize;
            source.read_at(at, &mut code[..there]).map(|()| code != [0; 16])
        };
        let Ok(table) = gpt::read(source, source.size()) else { return Ok(Machine { bios: starts(0)?, arm: false }) };
        let stage = table.partitions().find(|partition| partition.kind == gpt::BIOS_BOOT);
        // Without a partition for it the first sector starts something of its own, or nothing.
        let bios = starts(stage.and_then(|stage| stage.first.checked_mul(table.sector)).unwrap_or(0))?;
        let arm = table.partitions().any(|partition| partition.kind == gpt::ROOT_ARM64);
        Ok(Machine { bios, arm })
    }
}
