//! Environment variables and host names from the command line, with `docker run`'s rules.

use crate::once;
use anyhow::{Context, bail};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Variables of the files, then of the options, so that options win. `NAME` without `=` takes the value from this
/// process's environment. Where there is none, a file's line is nothing, and an option stays a name alone: it takes the
/// image's variable away.
pub fn collect(files: &[PathBuf], options: &[String]) -> anyhow::Result<Vec<String>> {
    let mut variables = Vec::new();
    for file in files {
        let mut text = String::new();
        once::open(file, "the environment")
            .and_then(|mut file| file.read_to_string(&mut text))
            .with_context(|| format!("cannot read the environment file {}", crate::escape::path(file)))?;
        // Some editors begin a file with a byte order mark.
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        for (number, line) in text.lines().enumerate() {
            variable(file_line(line))
                .map(|variable| variables.extend(variable.filter(|variable| variable.contains('='))))
                .with_context(|| format!("line {} of {}", number + 1, crate::escape::path(file)))?;
        }
    }
    for option in options {
        variables.extend(variable(option)?);
    }
    Ok(variables)
}

/// A line of an environment file: leading white space is dropped, and a comment is nothing.
fn file_line(line: &str) -> &str {
    let line = line.trim_start();
    if line.starts_with('#') { "" } else { line }
}

fn variable(text: &str) -> anyhow::Result<Option<String>> {
    if text.is_empty() {
        return Ok(None);
    }
    if text.contains('\0') {
        bail!("environment variable with a NUL byte: {}", crate::escape::escape(text.as_bytes()));
    }
    match text.split_once('=') {
        Some(("", _)) => bail!("environment variable without a name: {}", crate::escape::escape(text.as_bytes())),
        Some((name, _)) if name.contains(char::is_whitespace) => {
            bail!("environment variable with white space in its name: {}", crate::escape::escape(name.as_bytes()))
        }
        Some(_) => Ok(Some(text.to_owned())),
        None => Ok(Some(std::env::var(text).map_or(text.to_owned(), |value| format!("{text}={value}")))),
    }
}

/// Checks a host name: sethostname(2) takes 64 bytes, and it is written into /etc/hosts.
pub fn hostname(name: &str) -> anyhow::Result<String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if name.is_empty() || name.len() > 64 || !name.chars().all(legal) {
        bail!(
            "not a host name of at most 64 letters, digits, `-`, `.` or `_`: {}",
            crate::escape::escape(name.as_bytes())
        );
    }
    Ok(name.to_string())
}

/// The directory for one kind of data: an XDG variable if it is an absolute path, else under the home directory.
pub fn xdg(variable: &str, under_home: &str) -> anyhow::Result<PathBuf> {
    if let Some(dir) = std::env::var_os(variable).map(PathBuf::from).filter(|dir| dir.is_absolute()) {
        return Ok(dir);
    }
    match std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute()) {
        Some(home) => Ok(home.join(Path::new(under_home))),
        None => bail!("neither HOME nor {variable} names a directory"),
    }
}

/// The folder that stands in place of `bootdisk` in the user's caches.
const CACHE: &str = "BOOTDISK_CACHE";

/// Where layers, disks of images and recorded times are kept; it need not exist.
pub fn cache() -> anyhow::Result<PathBuf> {
    match shared_cache() {
        Some(dir) => Ok(dir),
        None => Ok(crate::own_folder::within(&xdg("XDG_CACHE_HOME", ".cache")?, "bootdisk")?),
    }
}

/// The cache that somebody has named, and so knows who shares it.
pub fn shared_cache() -> Option<PathBuf> {
    let dir = std::env::var_os(CACHE).filter(|dir| !dir.is_empty())?;
    std::path::absolute(dir).ok()
}

/// The user's folder of boot loaders; it need not exist.
pub fn loaders() -> anyhow::Result<PathBuf> {
    Ok(crate::own_folder::within(&xdg("XDG_DATA_HOME", ".local/share")?, "bootdisk/loaders")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_come_first_and_comments_are_nothing() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file, b"\xef\xbb\xbf# comment\n\nA=1\r\n  B=two words\nNOT_SET_ANYWHERE_42\n")
            .unwrap();
        let options = ["A=2", "C=x=y", "D=", "NOT_SET_ANYWHERE_42"].map(str::to_owned);
        let got = collect(&[file.path().to_path_buf()], &options).unwrap();
        assert_eq!(got, ["A=1", "B=two words", "A=2", "C=x=y", "D=", "NOT_SET_ANYWHERE_42"]);
    }

    #[test]
    fn nameless_variables_are_refused() {
        assert!(collect(&[], &["=x".into()]).is_err());
        assert!(collect(&[], &["A B=x".into()]).is_err());
    }

    #[test]
    fn host_names_are_checked() {
        assert!(hostname("web-1.example").is_ok());
        for bad in ["", "a b", "x\ny", &"a".repeat(65)] {
            assert!(hostname(bad).is_err(), "{bad:?}");
        }
    }
}
