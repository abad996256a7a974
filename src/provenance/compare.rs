//! A disk beside what a statement claims of it: equal, or which part is not.

use super::parts::{Area, File, Parts, PartsError};
use super::read::Claims;
use crate::escape::escape;
use crate::forms::Source;
use std::collections::BTreeMap;
use std::ops::Range;

/// Most files that are told one by one.
const LISTED: usize = 100;

/// What was found. Every text is printable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// The disk has the digest of the statement.
    pub equal: bool,
    /// What differs, the whole disk first.
    pub differences: Vec<Difference>,
    /// Areas and files that are as they were.
    pub same: Vec<String>,
    /// The disk is larger, and nothing else differs than its size and its table.
    pub only_grown: bool,
}

/// Something that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What.
    pub what: String,
    /// What the statement says of it; `None` when it has no such thing.
    pub expected: Option<String>,
    /// What it is; `None` when it is not there.
    pub found: Option<String>,
}

/// Reads the disk and compares it.
///
/// # Errors
/// When it cannot be read.
pub fn compare(disk: &dyn Source, claims: &Claims) -> Result<Comparison, PartsError> {
    let ranges: Vec<Range<u64>> = claims.areas.iter().map(Area::range).collect();
    let (parts, digests) = Parts::read_beside(disk, &ranges)?;
    Ok(of(&parts, &digests, claims))
}

fn of(parts: &Parts, digests: &[Option<String>], claims: &Claims) -> Comparison {
    let mut found = Comparison { equal: claims.disks.contains(&parts.sha256), ..Comparison::default() };
    if !found.equal {
        found.differ("disk", claims.disks.first().map(|hex| sha256(hex)), Some(sha256(&parts.sha256)));
    }
    if let Some(size) = claims.size.filter(|size| *size != parts.size) {
        found.differ("size", Some(bytes(size)), Some(bytes(parts.size)));
    }
    found.table(&claims.areas, &parts.areas);
    let mut areas_differ = false;
    for (area, digest) in claims.areas.iter().zip(digests) {
        let name = escape(area.name.as_bytes());
        if digest.as_ref() == Some(&area.sha256) {
            found.same.push(name);
            continue;
        }
        areas_differ |= !is_of_the_table(&area.name);
        found.differ(&name, Some(sha256(&area.sha256)), digest.as_deref().map(sha256));
    }
    let files_differ = found.files(&claims.files, &parts.files);
    if claims.command_line.is_some() && claims.command_line != parts.command_line {
        let shown = |line: &Option<String>| line.as_ref().map(|line| escape(line.as_bytes()));
        found.differ("command line", shown(&claims.command_line), shown(&parts.command_line));
    }
    match (&claims.pid1, &parts.pid1) {
        (Some(expected), Some(there)) if expected == there => found.same.push("PID 1".into()),
        (Some(expected), there) => found.differ("PID 1", Some(sha256(expected)), there.as_deref().map(sha256)),
        (None, _) => {}
    }
    let has_areas = !claims.areas.is_empty();
    if !found.equal && found.differences.len() == 1 && has_areas {
        found.differ("bytes outside of the partitions", None, None);
    }
    let grown = claims.size.is_some_and(|size| size < parts.size);
    found.only_grown = !found.equal && grown && has_areas && !areas_differ && !files_differ;
    found
}

impl Comparison {
    fn differ(&mut self, what: &str, expected: Option<String>, found: Option<String>) {
        self.differences.push(Difference { what: what.to_owned(), expected, found });
    }

    /// Partitions that are elsewhere, of another type, gone or new.
    fn table(&mut self, expected: &[Area], found: &[Area]) {
        let words = |areas: &[Area]| -> BTreeMap<u32, (String, String)> {
            let of = |area: &Area| {
                let Area { offset, bytes, type_id, guid, .. } = area;
                let text = |text: &Option<String>| escape(text.as_deref().unwrap_or("none").to_lowercase().as_bytes());
                let place = format!("{bytes} bytes at {offset}, type {}, GUID {}", text(type_id), text(guid));
                Some((area.number?, (escape(area.name.as_bytes()), place)))
            };
            areas.iter().filter_map(of).collect()
        };
        let (expected, found) = (words(expected), words(found));
        if expected.is_empty() {
            return;
        }
        let news = found.keys().filter(|number| !expected.contains_key(number)).take(LISTED);
        for number in expected.keys().chain(news) {
            let (one, other) = (expected.get(number), found.get(number));
            let place = |side: Option<&(String, String)>| side.map(|(_, place)| place.clone());
            if place(one) != place(other) {
                let name = one.or(other).map(|(name, _)| name.as_str()).unwrap_or_default();
                self.differ(&format!("partition table: {name}"), place(one), place(other));
            }
        }
    }

    /// Files that are others, gone or new; whether there are such.
    fn files(&mut self, expected: &[File], found: &[File]) -> bool {
        if expected.is_empty() {
            return false;
        }
        // FAT tells no cases apart.
        let by_path = |files: &[File]| -> BTreeMap<String, (String, String)> {
            let of = |file: &File| (file.path.to_lowercase(), (file.path.clone(), file.sha256.clone()));
            files.iter().map(of).collect()
        };
        let (expected, found) = (by_path(expected), by_path(found));
        let (mut told, mut differ) = (0, 0);
        for path in expected.keys().chain(found.keys().filter(|path| !expected.contains_key(*path))) {
            let (one, other) = (expected.get(path), found.get(path));
            let name = one.or(other).map(|(name, _)| escape(name.as_bytes())).unwrap_or_default();
            let digest = |side: Option<&(String, String)>| side.map(|(_, digest)| sha256(digest));
            let role = role_of(path);
            if one.map(|(_, digest)| digest) == other.map(|(_, digest)| digest) {
                self.same.push(format!("{role}{name}"));
                continue;
            }
            differ += 1;
            if told < LISTED {
                told += 1;
                self.differ(&format!("{role}{name}"), digest(one), digest(other));
            }
        }
        if differ > told {
            self.differ(&format!("and {} more boot files", differ - told), None, None);
        }
        differ > 0
    }
}

/// What a boot file of ours is.
fn role_of(path: &str) -> &'static str {
    match path {
        "bootdisk/linux" => "kernel: ",
        "bootdisk/initrd" => "initramfs: ",
        "efi/boot/bootx64.efi" | "efi/boot/bootaa64.efi" => "loader: ",
        path if path.starts_with("loader/entries/") => "boot entry: ",
        _ => "boot file: ",
    }
}

fn is_of_the_table(name: &str) -> bool {
    matches!(name, "partition table" | "backup partition table")
}

fn sha256(hex: &str) -> String {
    format!("sha256:{hex}")
}

fn bytes(count: u64) -> String {
    format!("{count} bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn area(name: &str, offset: u64, bytes: u64, number: u32) -> Area {
        let number = Some(number).filter(|number| *number > 0);
        Area { name: name.into(), offset, bytes, sha256: "a".into(), number, ..Area::default() }
    }

    fn built() -> (Parts, Claims) {
        let areas = vec![area("partition table", 0, 10, 0), area("partition 1 (root)", 10, 80, 1)];
        let file = File { path: "bootdisk/linux".into(), bytes: 1, sha256: "k".into() };
        let parts = Parts {
            size: 100,
            sha256: "d".into(),
            areas: areas.clone(),
            files: vec![file.clone()],
            command_line: Some("quiet".into()),
            pid1: Some("p".into()),
        };
        let claims = Claims {
            disks: vec!["d".into()],
            size: Some(100),
            areas,
            files: vec![file],
            command_line: Some("quiet".into()),
            pid1: Some("p".into()),
        };
        (parts, claims)
    }

    fn told(found: &Comparison) -> Vec<&str> {
        found.differences.iter().map(|one| one.what.as_str()).collect()
    }

    #[test]
    fn every_part_that_differs_is_named_and_no_other() {
        let (parts, claims) = built();
        let right = [Some("a".to_owned()), Some("a".to_owned())];
        let found = of(&parts, &right, &claims);
        assert!(found.equal && found.differences.is_empty() && !found.only_grown);
        assert_eq!(found.same.len(), 4);

        let other = Parts { sha256: "e".into(), ..parts.clone() };
        assert_eq!(told(&of(&other, &right, &claims)), ["disk", "bytes outside of the partitions"]);
        let root = [Some("a".to_owned()), Some("b".to_owned())];
        assert_eq!(told(&of(&other, &root, &claims)), ["disk", "partition 1 (root)"]);
        let gone = Parts { files: vec![], command_line: None, pid1: None, ..other.clone() };
        let found = of(&gone, &right, &claims);
        assert_eq!(told(&found), ["disk", "kernel: bootdisk/linux", "command line", "PID 1"]);
        assert!(found.differences[1..].iter().all(|one| one.found.is_none()));

        let mut larger = Parts { size: 200, ..other };
        larger.areas[1].bytes = 180;
        let table = [Some("b".to_owned()), Some("a".to_owned())];
        let found = of(&larger, &table, &claims);
        assert_eq!(told(&found), ["disk", "size", "partition table: partition 1 (root)", "partition table"]);
        assert!(found.only_grown);
        assert!(!of(&larger, &root, &claims).only_grown, "its root was changed as well");
    }

    #[test]
    fn of_a_statement_that_has_only_a_digest_only_that_is_told() {
        let (parts, _) = built();
        let claims = Claims { disks: vec!["x".into()], ..Claims::default() };
        assert_eq!(told(&of(&parts, &[], &claims)), ["disk"]);
        let right = Claims { disks: vec!["x".into(), "d".into()], ..Claims::default() };
        assert!(of(&parts, &[], &right).equal);
    }
}
