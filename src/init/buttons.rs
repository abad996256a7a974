//! The power button, as an input device (evdev): ACPI's button driver makes one.
//!
//! Kernels with the built-in tiny power button driver send PID 1 a signal instead (`signals::POWER_BUTTON`).

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

const EV_KEY: u16 = 1;
const KEY_POWER: u16 = 116;
/// Bytes of a bit map of all keys (KEY_MAX is 0x2ff).
const KEY_BYTES: usize = 96;
// EVIOCGBIT(EV_KEY, length of the buffer).
nix::ioctl_read_buf!(key_bits, b'E', 0x20 + EV_KEY, u8);

/// An input device with a power key, non-blocking.
pub struct Button(File);

/// Every power button of the machine.
pub fn find() -> Vec<Button> {
    let devices = fs::read_dir("/dev/input").into_iter().flatten().flatten();
    devices
        .filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b"event"))
        .filter_map(|entry| open(&entry.path()))
        .collect()
}

fn open(path: &Path) -> Option<Button> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).ok()?;
    let mut keys = [0u8; KEY_BYTES];
    // SAFETY: the kernel writes at most as many bytes as the buffer has.
    unsafe { key_bits(file.as_raw_fd(), &mut keys) }.ok()?;
    let has_power = keys[usize::from(KEY_POWER / 8)] & (1 << (KEY_POWER % 8)) != 0;
    has_power.then_some(Button(file))
}

impl Button {
    /// Whether it was pressed since the last call.
    pub fn pressed(&mut self) -> bool {
        const SIZE: usize = size_of::<libc::input_event>();
        let mut buffer = [0u8; SIZE * 16];
        let mut pressed = false;
        while let Ok(count) = self.0.read(&mut buffer)
            && count >= SIZE
        {
            // An event ends with type (u16), code (u16) and value (i32).
            pressed |= buffer[..count].chunks_exact(SIZE).any(|event| {
                let end = &event[SIZE - 8..];
                let word = |at: usize| u16::from_ne_bytes([end[at], end[at + 1]]);
                word(0) == EV_KEY && word(2) == KEY_POWER && end[4..8] == 1i32.to_ne_bytes()
            });
        }
        pressed
    }
}

impl AsFd for Button {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
