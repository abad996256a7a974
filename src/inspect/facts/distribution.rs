//! Which distribution a userland is: os-release(5), and the older files that say less.

use super::{shown, text};
use crate::contents::Root;
use crate::formats::os_release::{PLACES, value};
use crate::inspect::model::Distribution;

/// An older file, the identifier it means, and what its one line lacks in front.
const OLDER: [(&[u8], &str, &str); 6] = [
    (b"/etc/alpine-release", "alpine", "Alpine Linux "),
    (b"/etc/debian_version", "debian", "Debian "),
    (b"/etc/redhat-release", "rhel", ""),
    (b"/etc/SuSE-release", "suse", ""),
    (b"/etc/gentoo-release", "gentoo", ""),
    (b"/etc/arch-release", "arch", "Arch Linux "),
];

/// The distribution, if a file says so.
pub fn find(tree: &Root) -> Option<Distribution> {
    PLACES.iter().find_map(|path| of_os_release(tree, path)).or_else(|| of_older(tree))
}

fn of_os_release(tree: &Root, path: &[u8]) -> Option<Distribution> {
    let (text, path) = text(tree, path)?;
    let id = value(text, b"ID").unwrap_or_else(|| b"linux".to_vec());
    let version = value(text, b"VERSION_ID");
    let name = value(text, b"PRETTY_NAME").unwrap_or_else(|| {
        let name = value(text, b"NAME").unwrap_or_else(|| id.clone());
        match &version {
            Some(version) => [&name[..], b" ", version].concat(),
            None => name,
        }
    });
    Some(Distribution {
        id: shown(&id),
        name: shown(&name),
        version: version.map(|text| shown(&text)),
        evidence: shown(&path),
    })
}

fn of_older(tree: &Root) -> Option<Distribution> {
    OLDER.iter().find_map(|(path, id, before)| {
        let (text, path) = text(tree, path)?;
        let line = text.split(|&byte| byte == b'\n').next().unwrap_or_default().trim_ascii();
        let version = line.split(|&byte| byte == b' ').find(|word| word.first().is_some_and(u8::is_ascii_digit));
        Some(Distribution {
            id: (*id).to_owned(),
            name: format!("{before}{}", shown(line)).trim().to_owned(),
            version: version.map(shown),
            evidence: shown(&path),
        })
    })
}
