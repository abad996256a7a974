//! The kernel's command line: a few fixed words and what the user adds.
//!
//! Nothing from an image ever stands here: the line has no quoting that would be safe, and everything the image says
//! goes through the boot specification. The root is found by PID 1, so the kernel needs to know of none.
//!
//! Specification: the kernel's Documentation/admin-guide/kernel-parameters.rst.

use super::loader::INITRAMFS_PATH;
use crate::arch::Architecture;
use crate::escape::escape;
use thiserror::Error;

/// Most bytes of the whole line: COMMAND_LINE_SIZE of x86 and arm64 is 2048 with the NUL.
pub const MAX: usize = 2047;

/// Why a command line cannot be used.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum CommandLineError {
    /// A character that would end the line, or that no kernel parameter has.
    #[error("kernel command line has a character that is not printable ASCII: {}", escape(.0.as_bytes()))]
    Character(String),
    /// Longer than kernels take.
    #[error("kernel command line may have {limit} bytes beside what bootdisk itself adds: {length}")]
    TooLong {
        /// Bytes of the user's part.
        length: usize,
        /// Bytes there is space for.
        limit: usize,
    },
}

/// The words every disk has.
///
/// Both the screen and the serial port show the kernel's messages; the last console named becomes /dev/console, so the
/// workload is on the serial port, with or without a screen. `quiet` keeps that port fast: errors and panics still show.
///
/// `no_timer_check`: at boot x86 kernels count the timer's interrupts against a busy loop and panic when too few came.
/// Under emulation on a busy host that happens to healthy machines; kernels that know their hypervisor skip it too.
fn fixed(architecture: Architecture) -> &'static str {
    match architecture {
        Architecture::X86_64 => "console=tty0 console=ttyS0,115200 quiet no_timer_check",
        Architecture::Aarch64 => "console=tty0 console=ttyAMA0 quiet",
    }
}

/// The line for one disk: the fixed words, the disk's own if it has any, then the user's, which so win over them.
///
/// systemd-boot puts `initrd=` in front; its length is kept free, so that both firmwares give the kernel the same line.
pub fn command_line(architecture: Architecture, own: &str, user: &str) -> Result<String, CommandLineError> {
    if !user.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        return Err(CommandLineError::Character(user.to_owned()));
    }
    let user = user.trim_matches(' ');
    let fixed = [fixed(architecture), own].join(" ");
    let fixed = fixed.trim_end();
    let limit = MAX - fixed.len() - " ".len() - "initrd=\\ ".len() - INITRAMFS_PATH.len();
    if user.len() > limit {
        return Err(CommandLineError::TooLong { length: user.len(), limit });
    }
    Ok(if user.is_empty() { fixed.to_owned() } else { format!("{fixed} {user}") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use Architecture::X86_64;

    #[test]
    fn the_users_words_come_last() {
        assert_eq!(command_line(X86_64, "", "").unwrap(), "console=tty0 console=ttyS0,115200 quiet no_timer_check");
        assert_eq!(
            command_line(X86_64, "", "  a=1 \"b c\" ").unwrap(),
            "console=tty0 console=ttyS0,115200 quiet no_timer_check a=1 \"b c\""
        );
        assert!(command_line(X86_64, "own=1", "a=1").unwrap().ends_with(" no_timer_check own=1 a=1"));
        assert!(command_line(Architecture::Aarch64, "", "").unwrap().contains("console=ttyAMA0"));
        assert!(!command_line(X86_64, "", "").unwrap().contains("panic="));
    }

    #[test]
    fn what_is_not_one_printable_line_is_refused() {
        for user in ["a\nb", "a\0b", "a\tb", "a\x7fb", "ä", "a\u{202e}"] {
            assert_eq!(command_line(X86_64, "", user), Err(CommandLineError::Character(user.into())));
        }
    }

    #[test]
    fn the_loaders_addition_fits_too() {
        let limit = match command_line(X86_64, "", &"x".repeat(2048)) {
            Err(CommandLineError::TooLong { length: 2048, limit }) => limit,
            other => panic!("{other:?}"),
        };
        let longest = command_line(X86_64, "", &"x".repeat(limit)).unwrap();
        assert_eq!(format!("initrd=\\bootdisk\\initrd {longest}").len(), MAX);
        assert!(command_line(X86_64, "", &"x".repeat(limit + 1)).is_err());
    }
}
