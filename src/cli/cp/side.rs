//! What one side of a copy is.

use crate::recognise::{self, Kind};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// One of the two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Side {
    /// A path in a machine of this name.
    Machine(String, String),
    /// A path on a disk.
    Disk(PathBuf, OsString),
    /// A path of the host.
    Here(OsString),
    /// A standard stream.
    Stream,
}

impl Side {
    /// As `docker cp` reads it: what begins with a dot or a slash is a path here, unless a disk is before a colon.
    pub fn of(text: &OsStr) -> Side {
        let bytes = text.as_bytes();
        if bytes == b"-" {
            return Side::Stream;
        }
        let colons = bytes.iter().enumerate().filter(|(_, byte)| **byte == b':').map(|(at, _)| at);
        for at in colons {
            let before = OsStr::from_bytes(&bytes[..at]);
            if is_disk(before) {
                return Side::Disk(before.into(), OsStr::from_bytes(&bytes[at + 1..]).to_owned());
            }
        }
        let is_path = |name: &str| name.starts_with('.') || name.contains('/');
        match text.to_str().and_then(|text| text.split_once(':')).filter(|(name, _)| !is_path(name)) {
            Some((name, path)) => {
                Side::Machine(name.to_owned(), if path.is_empty() { "/".into() } else { path.to_owned() })
            }
            None => Side::Here(text.to_owned()),
        }
    }
}

/// A disk in any form, or a file system without a table.
fn is_disk(path: &OsStr) -> bool {
    match recognise::path(Path::new(path)) {
        Ok(Kind::Disk(_) | Kind::FileSystem(_)) => true,
        Ok(kind) => kind.form().is_some(),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_side_is_a_machine_a_disk_a_path_or_a_stream() {
        let machine = |name: &str, path: &str| Side::Machine(name.into(), path.into());
        for (text, side) in [
            ("-", Side::Stream),
            ("web:/etc", machine("web", "/etc")),
            ("web:", machine("web", "/")),
            ("web:a:b", machine("web", "a:b")),
            ("./web:/etc", Side::Here("./web:/etc".into())),
            ("/web:/etc", Side::Here("/web:/etc".into())),
            ("etc/passwd", Side::Here("etc/passwd".into())),
            ("a/b:/etc", Side::Here("a/b:/etc".into())),
            ("", Side::Here("".into())),
        ] {
            assert_eq!(Side::of(OsStr::new(text)), side, "{text}");
        }
    }
}
