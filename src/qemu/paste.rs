//! A machine as a few lines of shell that can be pasted: what `bootdisk test --dry-run` prints.
//!
//! The machine is the one that would be tested, but for what only a test can have: its console is the terminal, and
//! there is no monitor and no host channel, so that PID 1 takes its terminal for the workload's.

use super::args::{FileAt, SocketAt, Wiring, arguments};
use super::error::RunError;
use super::machine::{Access, Boot, MachineOptions};
use super::{accel, binary, firmware};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// The lines, each ended. They make a temporary folder for what the machine writes to.
///
/// # Errors
/// When there is no QEMU or firmware, or a file's name cannot be given to QEMU.
pub fn script(machine: &MachineOptions) -> Result<String, RunError> {
    if matches!(machine.boot, Boot::Direct { .. }) {
        return Err(RunError::Unsupported("a script for a direct boot, whose kernel is a file on the disk"));
    }
    let qemu = binary::find(machine.arch, machine.qemu.as_deref())?;
    let disk = std::path::absolute(&machine.disk).map_err(RunError::host("find the disk"))?;
    let name = disk.to_str().ok_or(RunError::Unsupported("a disk whose name is not UTF-8"))?;
    let mut lines = vec!["dir=$(mktemp -d)".to_owned()];
    let overlay = machine.access == Access::Overlay;
    if overlay {
        let size = std::fs::metadata(&disk).map_err(RunError::host("look at the disk"))?.len();
        lines.push(format!("qemu-img create -q -f qcow2 \"$dir/overlay\" {size}"));
    }
    let firmware = match machine.boot {
        Boot::Uefi => {
            let (code, vars) = firmware::paths(machine.arch)?;
            lines.push(format!("cp {} \"$dir/vars\"", quote(vars.as_os_str())));
            Some((FileAt::Path(code.display().to_string()), FileAt::Path("$dir/vars".into())))
        }
        _ => None,
    };
    let wiring = Wiring {
        accel: accel::settle(machine.accel, machine.arch, &qemu)?.accel,
        disk: FileAt::Path(name.to_owned()),
        block_device: false,
        overlay: overlay.then(|| FileAt::Path("$dir/overlay".into())),
        firmware,
        qmp: SocketAt::Absent,
        channel: SocketAt::Absent,
        console: SocketAt::Stdio,
    };
    let mut command = quote(qemu.as_os_str());
    for argument in arguments(machine, &wiring) {
        command.push_str(if argument.as_bytes().starts_with(b"-") { " \\\n  " } else { " " });
        command.push_str(&quote(&argument));
    }
    lines.push(command);
    Ok(lines.join("\n") + "\n")
}

/// A word as a shell takes it, `$dir` of ours being the one thing it is to replace.
fn quote(word: &OsStr) -> String {
    let text = word.to_string_lossy();
    let quoted = shlex::try_quote(&text).map_or_else(|_| "''".into(), |quoted| quoted.into_owned());
    match text.contains("$dir/") {
        // Out of the single quotes, into double ones, and back.
        true => quoted.replace("$dir", "'\"$dir\"'"),
        false => quoted,
    }
}
