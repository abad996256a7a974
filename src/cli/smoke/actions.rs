//! What is told to GitHub's runner, where one started this: annotations on standard error, which it reads as it does
//! standard output, and a summary in the step's file.

use crate::cli::stdio;
use crate::escape::os_error;
use crate::smoke::{Suite, report};
use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Tells it, if there is one. A summary that cannot be written is no failure of a test.
pub fn tell(suite: &Suite) {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    if variable("GITHUB_ACTIONS").is_none_or(|value| value != "true") {
        return;
    }
    let workspace = variable("GITHUB_WORKSPACE").map(PathBuf::from);
    stdio::say(&report::github::annotations(suite, |file| in_workspace(file, workspace.as_deref())));
    if let Some(path) = variable("GITHUB_STEP_SUMMARY")
        && let Err(error) = append(&path, &report::github::summary(suite))
    {
        let path = crate::escape::path(Path::new(&path));
        stdio::say(&format!("warning: cannot write the summary {path}: {}\n", os_error(&error)));
    }
}

/// As the runner names files: from the repository's root.
fn in_workspace(file: &Path, workspace: Option<&Path>) -> String {
    let absolute = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let inside = workspace.and_then(|workspace| absolute.strip_prefix(workspace).ok());
    crate::escape::printable(&inside.unwrap_or(file).to_string_lossy())
}

/// Adds to the file, which other steps may have written to.
fn append(path: &OsString, text: &str) -> io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.append(true).create(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    file.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_from_the_repositorys_root() {
        let workspace = Some(Path::new("/repo"));
        assert_eq!(in_workspace(Path::new("/repo/a/smoke.toml"), workspace), "a/smoke.toml");
        assert_eq!(in_workspace(Path::new("/else/smoke.toml"), workspace), "/else/smoke.toml");
        assert_eq!(in_workspace(Path::new("smoke.toml"), None), "smoke.toml");
    }

    #[test]
    fn a_summary_is_added_to_what_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("summary");
        std::fs::write(&path, "before\n").unwrap();
        append(&path.clone().into(), "after\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "before\nafter\n");
    }
}
