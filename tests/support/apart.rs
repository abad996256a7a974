//! Tests in a process of their own. All tests of a program share one, with its streams, its memory, its threads and its
//! life: whoever changes or measures one of these starts the program again for itself alone.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the test finds in its own process.
const PART: &str = "BOOTDISK_TEST_PART";

/// What [`again`] was given, in the process that it started; `None` in the one that all tests share.
pub fn part() -> Option<PathBuf> {
    std::env::var_os(PART).map(Into::into)
}

/// This program again with one test, given by its path (`module::name`). `prefix` is a program that starts it, with its
/// arguments.
pub fn again(test: &str, part: &Path, prefix: &[&str]) -> Command {
    let program = std::env::current_exe().unwrap();
    let words = prefix.iter().map(OsStr::new).chain([program.as_os_str()]);
    let mut words = words.chain([test, "--exact", "--nocapture", "--test-threads=1"].map(OsStr::new));
    let mut command = Command::new(words.next().unwrap());
    command.args(words).env(PART, part);
    command
}

/// Does the work of a test in a process of its own.
pub fn apart(test: &str, work: impl FnOnce()) {
    if part().is_some() {
        return work();
    }
    let said = super::tools::stdout(&mut again(test, Path::new(""), &[]));
    assert!(said.contains("test result: ok. 1 passed"), "{test} is no test of this program: {said}");
}
