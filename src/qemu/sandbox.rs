//! Whether QEMU can give up the system calls it does not need.
//!
//! Distributions build QEMU with and without seccomp, and one without ends at the option. So it is asked once, and the
//! answer is kept as that about the accelerator is.

use super::accel;
use super::args::SANDBOX;
use super::machine::MachineOptions;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

/// What the answer is remembered under.
const NAME: &str = "sandbox";

/// Whether the machine's QEMU gets the option: it has a filter, and the user's own arguments say nothing about it.
pub(super) fn wanted(machine: &MachineOptions, qemu: &Path) -> bool {
    let own = machine.extra.iter().any(|argument| argument == "-sandbox" || argument == "--sandbox");
    !own && accel::remembered(NAME, qemu, || has_filter(qemu)).is_ok_and(|answer| answer.is_ok())
}

/// QEMU looks at the option before it prints its version.
fn has_filter(qemu: &Path) -> io::Result<Result<(), String>> {
    let mut command = Command::new(qemu);
    command.args(["-sandbox", SANDBOX, "-version"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let status = command.status()?;
    Ok(if status.success() { Ok(()) } else { Err(format!("no seccomp filter ({status})")) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::Architecture;

    #[test]
    fn a_qemu_without_a_filter_is_not_asked_for_one() {
        for arch in [Architecture::X86_64, Architecture::Aarch64] {
            let qemu = super::super::binary::find(arch, None).unwrap();
            assert_eq!(has_filter(&qemu).unwrap(), Ok(()), "Debian's QEMU has one");
            let mut machine = MachineOptions::new(arch, "/disk".into());
            assert!(wanted(&machine, &qemu));
            machine.extra = vec!["-sandbox".into(), "off".into()];
            assert!(!wanted(&machine, &qemu));
        }
        assert!(has_filter(Path::new("/bin/false")).unwrap().is_err());
        assert!(has_filter(Path::new("/nonexistent")).is_err());
    }
}
