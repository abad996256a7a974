//! What tells PID 1 which of the attached disks was booted, agreed upon by those who boot one.

/// The serial number of the disk that `bootdisk run` and `bootdisk test` boot. Every bus has room for it.
pub const SERIAL: &str = "bootdisk";

/// Type of the kernel's setup data that our BIOS boot stage adds: the firmware's answer to INT 13h AH=48h for the boot
/// drive. No type of the kernel's own is near it.
pub const SETUP_DATA: u32 = u32::from_le_bytes(*b"bdsk");
