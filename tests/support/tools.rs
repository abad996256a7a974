//! Outside programs as oracles: run them, keep what they say, and never pass because one is missing.

use std::process::{Command, Output};

/// Runs a program to its end. A program that cannot be started fails the test: `scripts/test` installs them all.
pub fn run(command: &mut Command) -> Output {
    match command.output() {
        Ok(output) => output,
        Err(error) => {
            panic!("cannot start {:?}: {error}; scripts/test installs what the tests need", command.get_program())
        }
    }
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
