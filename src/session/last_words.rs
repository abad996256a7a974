//! What is said by a machine that will never get to PID 1: the last words of boot stages, firmware, loaders and young
//! kernels, on the serial console or in SeaBIOS's log.
//!
//! Some of these words are the end, as nothing follows that could still boot. Others are only the cause of an end that
//! the firmware tells of later, when it has tried everything it knows: the first of them is kept for the sentence.
//!
//! All of this counts until PID 1 says hello. After that anybody in the guest may print these words.
//!
//! Sources: boot/bios/*.s; SeaBIOS, src/boot.c; EDK II, MdeModulePkg/Universal/BdsDxe, ShellPkg/Application/Shell and
//! UefiCpuPkg/Library/CpuExceptionHandlerLib; systemd, src/boot/efi/boot.c; Linux, arch/x86/boot/compressed,
//! drivers/firmware/efi/libstub, kernel/reboot.c.

use crate::session::console::{Text, find};
use crate::session::event::{GaveUp, Speaker};
use std::time::{Duration, Instant};

/// A line is looked at up to this length, and shown up to it.
const LINE: usize = 512;
/// So long a machine may take to PID 1 before somebody who watches it is told what it is at.
pub(super) const SLOW: Duration = Duration::from_secs(10);

/// What words mean.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Weight {
    /// Nothing follows this line.
    End,
    /// Nothing follows, and no end of the line either; what stands before may say why.
    Prompt,
    /// Why something later is the end.
    Cause,
}
use Weight::{Cause, End, Prompt};

/// Words anywhere in a line: whoever says them puts no time stamp in front, but perhaps what was on the line before.
const WORDS: [(Speaker, Weight, &str); 33] = [
    (Speaker::Stage, End, "bootdisk: no BIOS boot on this disk"),
    (Speaker::Stage, End, "bootdisk: no LBA access"),
    (Speaker::Stage, End, "bootdisk: disk read error"),
    (Speaker::Stage, End, "bootdisk: second boot stage missing"),
    (Speaker::Stage, End, "bootdisk: neither boot slot is whole"),
    (Speaker::Stage, End, "bootdisk: the boot files were changed after this disk was built"),
    (Speaker::Stage, End, "bootdisk: the firmware gives no memory map"),
    (Speaker::Stage, End, "bootdisk: address line 20 cannot be enabled"),
    (Speaker::Stage, End, "bootdisk: too little memory: "),
    (Speaker::Firmware, Cause, "Boot failed: "),
    (Speaker::Firmware, End, "No bootable device."),
    (Speaker::Firmware, Cause, "BdsDxe: failed to load "),
    (Speaker::Firmware, Cause, "BdsDxe: failed to start "),
    (Speaker::Firmware, End, "BdsDxe: No bootable option or device was found"),
    (Speaker::Firmware, End, "Press any key to enter the Boot Manager Menu"),
    (Speaker::Firmware, End, "UEFI Interactive Shell"),
    (Speaker::Firmware, Prompt, "Shell> "),
    (Speaker::Firmware, End, "!!!! X64 Exception Type"),
    (Speaker::Firmware, End, "Synchronous Exception at 0x"),
    (Speaker::Firmware, Cause, "ASSERT ["),
    (Speaker::Firmware, Cause, "ASSERT_EFI_ERROR"),
    (Speaker::Loader, Cause, "No loader found. Configuration files in"),
    (Speaker::Loader, Cause, "Error loading "),
    (Speaker::Loader, Cause, "Error preparing initrd: "),
    (Speaker::Loader, Cause, "Error registering initrd: "),
    (Speaker::Loader, Cause, "Error opening entry root path: "),
    (Speaker::Loader, Cause, "Failed to execute "),
    (Speaker::Loader, End, "systemd-boot assertion "),
    (Speaker::Kernel, Cause, "EFI stub: ERROR: "),
    (Speaker::Kernel, Cause, "Initramfs unpacking failed: "),
    (Speaker::Kernel, Prompt, "-- System halted"),
    (Speaker::Kernel, End, "reboot: System halted"),
    (Speaker::Kernel, End, "PANIC: early exception "),
];

/// Somebody's lines as they come, in pieces of any size.
#[derive(Clone, Default)]
struct Lines {
    text: Text,
    line: String,
    /// The last one that had anything in it.
    last: Option<String>,
}

impl Lines {
    /// Calls `look` with what has come of each line, whether that is all of it, and the line before it.
    fn feed<T>(&mut self, bytes: &[u8], mut look: impl FnMut(&str, bool, Option<&str>) -> Option<T>) -> Option<T> {
        let text = self.text.add(bytes);
        let mut pieces = text.split('\n').peekable();
        let mut found = None;
        while let Some(piece) = pieces.next() {
            let room = LINE.saturating_sub(self.line.len());
            self.line.push_str(&piece[..piece.floor_char_boundary(room)]);
            let ended = pieces.peek().is_some();
            found = found.or_else(|| look(&self.line, ended, self.last.as_deref()));
            if ended {
                let line = std::mem::take(&mut self.line);
                self.last = Some(line).filter(|line| !line.trim().is_empty()).or(self.last.take());
            }
        }
        found
    }

    /// What was said last, the line that has not ended included.
    fn last(&self) -> Option<&str> {
        Some(self.line.trim()).filter(|line| !line.is_empty()).or(self.last.as_deref().map(str::trim))
    }
}

/// Listens to one boot.
#[derive(Clone, Default)]
pub(super) struct LastWords {
    console: Lines,
    log: Lines,
    cause: Option<(Speaker, String)>,
    /// That it takes long has been told.
    pub(super) slow_told: bool,
}

impl LastWords {
    /// Takes bytes of the serial console; what ends the boot, if they do.
    pub(super) fn on_console(&mut self, bytes: &[u8]) -> Option<GaveUp> {
        let cause = &mut self.cause;
        self.console.feed(bytes, |line, ended, before| judge(line, ended, before, cause))
    }

    /// The same of SeaBIOS's own log.
    pub(super) fn in_log(&mut self, bytes: &[u8]) -> Option<GaveUp> {
        let cause = &mut self.cause;
        self.log.feed(bytes, |line, ended, before| judge(line, ended, before, cause))
    }

    /// The last line there is, printable.
    pub(super) fn last(&self) -> Option<String> {
        self.console.last().or(self.log.last()).map(str::to_owned)
    }

    /// When somebody is to be told that the boot since `begun` takes long.
    pub(super) fn slow_at(&self, begun: Instant) -> Option<Instant> {
        (!self.slow_told).then(|| begun + SLOW)
    }
}

/// Whether a line is the end. The first cause is kept.
fn judge(line: &str, ended: bool, before: Option<&str>, cause: &mut Option<(Speaker, String)>) -> Option<GaveUp> {
    let heard = |&(speaker, weight, words): &(Speaker, Weight, &str)| {
        let at = find(line.as_bytes(), words.as_bytes())?;
        Some((speaker, weight, line.get(at..)?.trim().to_owned()))
    };
    let (speaker, weight, said) = WORDS.iter().find_map(heard)?;
    if !ended && weight != Prompt {
        return None;
    }
    if weight == Cause {
        cause.get_or_insert((speaker, said));
        return None;
    }
    if weight == Prompt && speaker == Speaker::Kernel && cause.is_none() {
        *cause = before.map(|before| (speaker, before.trim().to_owned()));
    }
    let (speaker, line) = cause.take().unwrap_or((speaker, said));
    Some(GaveUp { speaker, line })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What one boot says on its console, and what becomes the reason.
    const CONSOLES: [(&str, Speaker, &str); 13] = [
        ("bootdisk: no BIOS boot on this disk\r\n", Speaker::Stage, "bootdisk: no BIOS boot on this disk"),
        (
            "bootdisk: disk read error 0x01 at sector 0x0000000000000800\r\n",
            Speaker::Stage,
            "bootdisk: disk read error 0x01 at sector 0x0000000000000800",
        ),
        (
            "\x1b[2J\x1b[01;01H\x1b[=3hBdsDxe: failed to load Boot0001 \"UEFI Misc Device\" from PciRoot(0x0): \
             Access Denied\r\nBdsDxe: No bootable option or device was found.\r\n",
            Speaker::Firmware,
            "BdsDxe: failed to load Boot0001 \"UEFI Misc Device\" from PciRoot(0x0): Access Denied",
        ),
        ("\x1b[2JUEFI Interactive Shell v2.2\r\n", Speaker::Firmware, "UEFI Interactive Shell v2.2"),
        ("\x1b[1m\x1b[33mShell> \x1b[0m", Speaker::Firmware, "Shell>"),
        (
            "!!!! X64 Exception Type - 0E(#PF - Page-Fault) !!!!\r\n",
            Speaker::Firmware,
            "!!!! X64 Exception Type - 0E(#PF - Page-Fault) !!!!",
        ),
        (
            "Error loading \\bootdisk\\linux: Not Found\r\nBdsDxe: failed to start Boot0001 \"x\": Not Found\r\n\
             BdsDxe: No bootable option or device was found.\r\n",
            Speaker::Loader,
            "Error loading \\bootdisk\\linux: Not Found",
        ),
        (
            "EFI stub: ERROR: Failed to allocate usable memory for kernel.\r\nEFI stub: ERROR: efi_main() failed!\r\n\
             Failed to execute Linux: Out of Resources\r\n>>Press any key to enter the Boot Manager Menu.\r\n",
            Speaker::Kernel,
            "EFI stub: ERROR: Failed to allocate usable memory for kernel.",
        ),
        (
            "\n\nOut of memory while allocating zstd\n\n -- System halted",
            Speaker::Kernel,
            "Out of memory while allocating zstd",
        ),
        ("[    1.234567] reboot: System halted\r\n", Speaker::Kernel, "reboot: System halted"),
        (
            "PANIC: early exception 0x0e IP 10:ffffffff81\r\n",
            Speaker::Kernel,
            "PANIC: early exception 0x0e IP 10:ffffffff81",
        ),
        ("systemd-boot assertion 'x' failed at y:1\r\n", Speaker::Loader, "systemd-boot assertion 'x' failed at y:1"),
        (
            "No loader found. Configuration files in \\loader\\entries\\*.conf are needed.\r\nShell> ",
            Speaker::Loader,
            "No loader found. Configuration files in \\loader\\entries\\*.conf are needed.",
        ),
    ];

    #[test]
    fn the_last_words_of_a_boot_are_known_however_their_bytes_are_cut() {
        for (text, speaker, says) in CONSOLES {
            for size in [1, 2, 3, 7, text.len()] {
                let mut words = LastWords::default();
                let found = text.as_bytes().chunks(size).find_map(|piece| words.on_console(piece));
                let found = found.unwrap_or_else(|| panic!("{text:?} in pieces of {size}"));
                assert_eq!((found.speaker, found.line.as_str()), (speaker, says), "{text:?} in pieces of {size}");
            }
        }
    }

    #[test]
    fn seabios_tells_in_its_log_what_it_tells_on_no_console() {
        let mut words = LastWords::default();
        assert_eq!(
            words.in_log(b"Booting from Hard Disk...\nBoot failed: not a bootable disk\n\nenter handle_18:\n"),
            None
        );
        let found = words.in_log(b"  NULL\nNo bootable device.\n").unwrap();
        assert_eq!((found.speaker, found.line.as_str()), (Speaker::Firmware, "Boot failed: not a bootable disk"));
    }

    /// A loader that failed and a boot option that came next are an ordinary start.
    #[test]
    fn what_still_boots_has_not_said_its_last() {
        for text in [
            "BdsDxe: failed to load Boot0001 \"UEFI Floppy\": Not Found\r\nBdsDxe: starting Boot0002 \"Disk\"\r\n",
            "bootdisk: root file system /dev/vda3 mounted\r\n",
            "bootdisk: no such user in the image's /etc/passwd: x\r\n",
            "[    0.5] systemd[1]: halted\r\nwelcome to the Shell\r\n",
            "EFI stub: ERROR: FIRMWARE BUG: kernel image not aligned on 64k boundary\r\n[    0.0] Linux version 6\r\n",
        ] {
            assert_eq!(LastWords::default().on_console(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn a_line_without_an_end_takes_no_more_room() {
        let mut words = LastWords::default();
        for _ in 0..1000 {
            assert_eq!(words.on_console(&[0xff; 4096]), None);
        }
        assert!(words.console.line.len() <= LINE);
        assert_eq!(words.on_console("\né\x1b[31mcolour\x07\r\n\r\n".as_bytes()), None);
        assert_eq!(words.last().unwrap(), "écolour\\x07");
    }

    /// The table follows the assembly: a message that is added there is missing here.
    #[test]
    fn every_message_of_our_boot_stage_is_known() {
        let messages = crate::boot::bios::messages();
        assert!(messages.len() >= 9, "{messages:?}");
        for message in messages {
            let found = LastWords::default().on_console(format!("{message}\r\n").as_bytes());
            assert_eq!(found.map(|found| found.speaker), Some(Speaker::Stage), "{message}");
        }
    }
}
