//! The guest that writes a byte to its serial port and switches itself off.
//!
//! It runs from the flash at address 0 of machine type `virt`, in EL1, where a device and the hypervisor are all it needs.
//!
//! Source: Arm, "Power State Coordination Interface" (DEN0022), SYSTEM_OFF; QEMU, hw/arm/virt.c (memory map, conduit HVC).

use super::Guest;
use std::process::ExitStatus;

#[rustfmt::skip]
const CODE: [u32; 7] = [
    0xd2a1_2001, // movz x1, 0x0900, lsl 16   PL011 at 09000000
    0x5280_0540, // movz w0, 42
    0xb900_0020, // str  w0, [x1]
    0x5280_0100, // movz w0, 0x0008
    0x72b0_8000, // movk w0, 0x8400, lsl 16   84000008: SYSTEM_OFF
    0xd400_0002, // hvc  0
    0x1400_0000, // b    .
];

pub(super) const GUEST: Guest = Guest {
    machine: &["-machine", "virt", "-m", "64M"],
    rom,
    proven,
    goal: "write to its serial port and switch itself off",
};

fn rom() -> Vec<u8> {
    let mut rom: Vec<u8> = CODE.iter().flat_map(|word| word.to_le_bytes()).collect();
    rom.resize(4096, 0);
    rom
}

fn proven(status: ExitStatus, said: &[u8]) -> bool {
    status.success() && said == [42]
}
