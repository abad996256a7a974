//! Mirrors of Docker's own registry, as its daemon has them.
//!
//! ```text
//!  {"registry-mirrors": ["https://mirror.example", "http://localhost:5000"]}
//! ```
//!
//! The file is `daemon.json` of the user's daemon, else of the system's. One that this user may not read says nothing.
//!
//! Specification: docker, "dockerd", "Daemon configuration file".

use super::conf_error::ConfError;
use super::places;
use super::url::Url;
use serde::Deserialize;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Largest file that is read, in bytes.
const MAX: u64 = 1 << 20;

#[derive(Deserialize)]
struct Daemon {
    #[serde(default, rename = "registry-mirrors")]
    mirrors: Option<Vec<String>>,
}

/// The mirrors, in the order in which they are asked.
///
/// # Errors
/// When the file is not as the daemon takes it.
pub fn mirrors() -> Result<Vec<Url>, ConfError> {
    let user = places::config().map(|dir| dir.join("docker/daemon.json"));
    let files = user.into_iter().chain([PathBuf::from("/etc/docker/daemon.json")]);
    for path in files {
        if let Some(text) = read(&path)? {
            return parse(&text).map_err(|why| ConfError::Form { path, why });
        }
    }
    Ok(Vec::new())
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, ConfError> {
    use io::ErrorKind::{NotADirectory, NotFound, PermissionDenied};
    let mut text = Vec::new();
    match File::open(path).and_then(|file| file.take(MAX + 1).read_to_end(&mut text)) {
        Ok(_) => Ok(Some(text)),
        Err(error) if matches!(error.kind(), NotADirectory | NotFound | PermissionDenied) => Ok(None),
        Err(source) => Err(ConfError::Read { path: path.to_owned(), source }),
    }
}

/// What a file says; an empty one says nothing.
pub fn parse(text: &[u8]) -> Result<Vec<Url>, String> {
    if text.len() as u64 > MAX {
        return Err(format!("it has more than {MAX} bytes"));
    }
    if text.trim_ascii().is_empty() {
        return Ok(Vec::new());
    }
    let daemon: Daemon = serde_json::from_slice(text).map_err(|error| {
        // What stands there is not quoted: it may have a password in it.
        format!("line {}, column {} is not as dockerd takes it", error.line(), error.column())
    })?;
    let mirrors = daemon.mirrors.unwrap_or_default();
    let parsed = mirrors.iter().enumerate().map(|(at, mirror)| {
        let url = Url::parse(mirror).filter(|url| url.path == "/");
        url.ok_or_else(|| format!("entry {} of registry-mirrors is not http[s]://HOST[:PORT]", at + 1))
    });
    parsed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirrors_that_the_daemon_would_ask() {
        let list = |mirrors: &str| format!(r#"{{"registry-mirrors": {mirrors}, "debug": true}}"#);
        let wrong = "entry 1 of registry-mirrors is not http[s]://HOST[:PORT]";
        for (text, expected) in [
            (
                list(r#"["https://mirror.example", "http://LOCALHOST:5000/"]"#),
                "https://mirror.example/ http://localhost:5000/",
            ),
            (list("[]"), ""),
            (list("null"), ""),
            ("{}".into(), ""),
            (" \n".into(), ""),
            (list(r#"["mirror.example"]"#), wrong),
            (list(r#"["https://mirror.example/hub"]"#), wrong),
            (list(r#"["ftp://mirror.example"]"#), wrong),
            (list(r#"["https://me:secret@mirror.example"]"#), wrong),
            (list(r#""https://mirror.example""#), "line 1, column "),
            ("[[registry]]".into(), "line 1, column "),
            (" ".repeat(MAX as usize + 1), "it has more than 1048576 bytes"),
        ] {
            let shown = |urls: Vec<Url>| urls.iter().map(Url::to_string).collect::<Vec<_>>().join(" ");
            let said = parse(text.as_bytes()).map_or_else(|why| why, shown);
            let start: String = text.chars().take(60).collect();
            assert!(said.starts_with(expected) && said.is_empty() == expected.is_empty(), "{start}: {said}");
        }
    }
}
