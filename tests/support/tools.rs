//! Outside programs as oracles: run them, keep what they say, and never pass because one is missing.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Runs a program to its end. A program that cannot be started fails the test: `scripts/test` installs them all.
pub fn run(command: &mut Command) -> Output {
    match command.output() {
        Ok(output) => output,
        Err(error) => {
            panic!("cannot start {:?}: {error}; scripts/test installs what the tests need", command.get_program())
        }
    }
}

/// `e2fsck -fn`, which changes nothing. The clock of a guest that is emulated on a busy host may be ahead of the host's,
/// so times in the future are no complaint.
pub fn e2fsck(image: &Path) -> Output {
    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/e2fsck.conf");
    run(Command::new("e2fsck").arg("-fn").arg(image).env("LC_ALL", "C").env("E2FSCK_CONFIG", config))
}

/// Runs a program that must succeed and returns its standard output.
pub fn stdout(command: &mut Command) -> String {
    let output = run(command);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Writes a file that is executed soon. Another program does it: a child that another test starts meanwhile has no copy
/// of the descriptor then, for which execve(2) would find the file busy.
pub fn program(path: &Path, text: &[u8], mode: u32) {
    let mut install = Command::new("sh");
    install.args(["-c", "cat > \"$1\" && chmod \"$2\" \"$1\"", "sh"]).arg(path).arg(format!("{mode:o}"));
    let mut child = install.stdin(Stdio::piped()).spawn().expect("a shell");
    child.stdin.take().unwrap().write_all(text).unwrap();
    assert!(child.wait().unwrap().success(), "{}", path.display());
}
