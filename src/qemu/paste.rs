//! A machine as a few lines of shell that can be pasted: what `bootdisk test --dry-run` prints.
//!
//! The machine is the one that would be tested, but for what only a test can have: its console is the terminal, and
//! there is no monitor and no host channel, so that PID 1 takes its terminal for the workload's. What a direct boot
//! hands to QEMU is copied out of the disk by the script itself, from where it lies there.

use super::args::{FileAt, SocketAt, Wiring, arguments};
use super::error::RunError;
use super::machine::{Access, Boot, MachineOptions};
use super::{accel, binary, firmware, sandbox};
use crate::formats::scattered::Places;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Stands for the script's temporary folder in what is quoted: no character, so in nobody's text.
const DIR: &str = "\u{10ffff}";

/// Kernel and initramfs on the disk, for [`Boot::Direct`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootFilesAt {
    /// The kernel's file.
    pub kernel: Places,
    /// The initramfs.
    pub initramfs: Places,
}

/// The lines, each ended. They make a temporary folder for what the machine writes to, remove it afterwards, and end with
/// QEMU's status. A direct boot takes its files from `boot_files`, or without that from where the machine has them.
///
/// # Errors
/// When there is no QEMU or firmware, or a file's name cannot be given to QEMU.
pub fn script(machine: &MachineOptions, boot_files: Option<&BootFilesAt>) -> Result<String, RunError> {
    let qemu = binary::find(machine.arch, machine.qemu.as_deref())?;
    let disk = std::path::absolute(&machine.disk).map_err(RunError::host("find the disk"))?;
    let name = disk.to_str().ok_or(RunError::Unsupported("a disk whose name is not UTF-8"))?;
    let mut lines = vec!["dir=$(mktemp -d)".to_owned()];
    let overlay = machine.access == Access::Overlay;
    if overlay {
        let size = std::fs::metadata(&disk).map_err(RunError::host("look at the disk"))?.len();
        lines.push(format!("qemu-img create -q -f qcow2 \"$dir/overlay\" {size}"));
    }
    let mut machine = machine.clone();
    let firmware = match &mut machine.boot {
        Boot::Uefi => {
            let (code, vars) = firmware::paths(machine.arch, false)?;
            lines.push(format!("cp {} \"$dir/vars\"", quote(vars.as_os_str())));
            Some((FileAt::Path(code.display().to_string()), FileAt::Path(format!("{DIR}/vars"))))
        }
        Boot::Direct { kernel, initrd, .. } => {
            if let Some(files) = boot_files {
                lines.push(copy(&disk, &files.kernel, "kernel"));
                lines.push(copy(&disk, &files.initramfs, "initramfs"));
                *kernel = format!("{DIR}/kernel").into();
                *initrd = Some(format!("{DIR}/initramfs").into());
            }
            None
        }
        Boot::Bios => None,
    };
    let wiring = Wiring {
        accel: accel::settle(machine.accel, machine.arch, &qemu)?.accel,
        disk: FileAt::Path(name.to_owned()),
        block_device: false,
        overlay: overlay.then(|| FileAt::Path(format!("{DIR}/overlay"))),
        firmware,
        qmp: SocketAt::Absent,
        channel: SocketAt::Absent,
        console: SocketAt::Stdio,
        sandbox: sandbox::wanted(&machine, &qemu),
        firmware_log: SocketAt::Absent,
        shares: Vec::new(),
        disks: Vec::new(),
        fw_cfg: Vec::new(),
        wire: None,
        memory: None,
        written: None,
    };
    let mut command = quote(qemu.as_os_str());
    for argument in arguments(&machine, &wiring) {
        command.push_str(if argument.as_bytes().starts_with(b"-") { " \\\n  " } else { " " });
        command.push_str(&quote(&argument));
    }
    lines.push(command);
    lines.push("status=$?; rm -r \"$dir\"; (exit $status)".to_owned());
    Ok(lines.join("\n") + "\n")
}

/// The line that copies a file out of the disk into the script's folder.
fn copy(disk: &Path, places: &[(u64, u64)], name: &str) -> String {
    let disk = quote(disk.as_os_str());
    let piece = |(offset, length): &(u64, u64)| {
        format!("dd if={disk} iflag=skip_bytes,count_bytes skip={offset} count={length} bs=1M status=none")
    };
    let pieces: Vec<String> = places.iter().map(piece).collect();
    format!("{{ {}; }} >\"$dir/{name}\"", pieces.join("; "))
}

/// A word as a shell takes it, the script's folder being the one thing it is to replace.
pub fn quote(word: &OsStr) -> String {
    let text = word.to_string_lossy();
    let quoted = shlex::try_quote(&text).map_or_else(|_| "''".into(), |quoted| quoted.into_owned());
    // Out of the single quotes, into double ones, and back.
    quoted.replace(DIR, "'\"$dir\"'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_folder_is_replaced() {
        assert_eq!(quote(OsStr::new("$dir/x y")), "'$dir/x y'");
        assert_eq!(quote(OsStr::new(&format!("{DIR}/kernel"))), "''\"$dir\"'/kernel'");
        assert_eq!(quote(OsStr::new("plain")), "plain");
    }

    #[test]
    fn a_file_in_two_pieces_is_copied_in_their_order() {
        let line = copy(Path::new("/a b.img"), &[(4096, 512), (1024, 3)], "kernel");
        let dd = "iflag=skip_bytes,count_bytes skip";
        let rest = "bs=1M status=none";
        let first = format!("dd if='/a b.img' {dd}=4096 count=512 {rest}");
        assert_eq!(line, format!("{{ {first}; dd if='/a b.img' {dd}=1024 count=3 {rest}; }} >\"$dir/kernel\""));
    }
}
