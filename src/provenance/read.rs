//! A statement of anybody, read: what it claims of a disk, and nothing else of it.
//!
//! Bounds: [`MAX`] bytes of text, 128 levels (serde_json's), 100,000 items of a list, [`MAX_AREAS`] areas that do not overlap.
//! Of a statement that another program made, or of another kind, the digests of its subjects are used: one of them must be the
//! disk's.

use super::parts::{Area, File};
use super::{PREDICATE, STATEMENT, kind};
use crate::escape::{escape, printable};
use crate::image::list;
use crate::shorten::fit;
use serde::Deserialize;
use serde_json::value::RawValue;

/// Most bytes of a statement.
pub const MAX: u64 = 16 << 20;
/// Most areas.
const MAX_AREAS: usize = 256;
/// Longest text of a statement that an error shows, in characters.
const SHOWN: usize = 80;

/// Why a text is no statement about a disk.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// Too long.
    #[error("a statement has at most {} MiB", MAX >> 20)]
    TooLarge,
    /// No JSON, or not that of a statement.
    #[error("not a statement: {0}")]
    Json(String),
    /// A JSON document of another kind.
    #[error("not an in-toto statement, version 1: its _type is {0}")]
    Type(String),
    /// Nothing in it can be compared.
    #[error("the statement has no SHA-256 of a disk")]
    NoDigest,
    /// Areas that no disk has.
    #[error("the statement has areas that overlap, or more than {MAX_AREAS}")]
    Areas,
}

/// What a statement claims. Texts are not escaped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// SHA-256 of the raw disk, in lower case: any of these.
    pub disks: Vec<String>,
    /// Bytes of it.
    pub size: Option<u64>,
    /// Areas, in the order of the disk, all with digests.
    pub areas: Vec<Area>,
    /// Files on the EFI System Partition.
    pub files: Vec<File>,
    /// The kernel's command line.
    pub command_line: Option<String>,
    /// SHA-256 of PID 1.
    pub pid1: Option<String>,
}

#[derive(Deserialize)]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    #[serde(deserialize_with = "list")]
    subject: Vec<Descriptor>,
    #[serde(default, rename = "predicateType")]
    predicate_type: String,
    /// Whatever it is, of a kind that is not ours.
    #[serde(default)]
    predicate: Option<Box<RawValue>>,
}

#[derive(Default, Deserialize)]
struct Predicate {
    #[serde(default, rename = "runDetails")]
    details: Details,
}

#[derive(Default, Deserialize)]
struct Details {
    #[serde(default, deserialize_with = "list")]
    byproducts: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Descriptor {
    #[serde(default)]
    name: String,
    #[serde(default)]
    digest: DigestSet,
    #[serde(default)]
    annotations: Annotations,
}

#[derive(Default, Deserialize)]
struct DigestSet {
    sha256: Option<String>,
}

#[derive(Default, Deserialize)]
struct Annotations {
    kind: Option<String>,
    offset: Option<u64>,
    bytes: Option<u64>,
    number: Option<u32>,
    r#type: Option<String>,
    guid: Option<String>,
    text: Option<String>,
}

/// Reads a statement.
///
/// # Errors
/// When it is none, or says nothing of a disk.
pub fn read(text: &[u8]) -> Result<Claims, StatementError> {
    if text.len() as u64 > MAX {
        return Err(StatementError::TooLarge);
    }
    let json = |error: serde_json::Error| StatementError::Json(fit(&printable(&error.to_string()), 2 * SHOWN));
    let statement: Statement = serde_json::from_slice(text).map_err(json)?;
    if statement.kind != STATEMENT {
        return Err(StatementError::Type(format!("\"{}\"", fit(&escape(statement.kind.as_bytes()), SHOWN))));
    }
    let mut claims = Claims::default();
    let is = |one: &Descriptor, kind: &str| one.annotations.kind.as_deref() == Some(kind);
    let known = statement.subject.iter().any(|one| is(one, kind::DISK));
    for one in statement.subject.iter().filter(|one| !known || is(one, kind::DISK)) {
        claims.disks.extend(one.digest.sha256.as_deref().and_then(digits));
        claims.size = claims.size.or(one.annotations.bytes);
    }
    if claims.disks.is_empty() {
        return Err(StatementError::NoDigest);
    }
    let ours = statement.predicate.filter(|_| statement.predicate_type == PREDICATE);
    let ours: Predicate =
        ours.map(|raw| serde_json::from_str(raw.get())).transpose().map_err(json)?.unwrap_or_default();
    ours.details.byproducts.into_iter().for_each(|one| claims.take(one));
    claims.areas.sort_by_key(|area| area.offset);
    let apart = claims.areas.windows(2).all(|two| two[0].range().end <= two[1].offset);
    if !apart || claims.areas.len() > MAX_AREAS {
        return Err(StatementError::Areas);
    }
    claims.files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(claims)
}

/// The digits of a SHA-256.
fn digits(text: &str) -> Option<String> {
    let right = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    right.then(|| text.to_ascii_lowercase())
}

impl Claims {
    /// Takes a byproduct that is about the disk.
    fn take(&mut self, one: Descriptor) {
        let Annotations { kind, offset, bytes, number, r#type, guid, text } = one.annotations;
        let Some(sha256) = one.digest.sha256.as_deref().and_then(digits) else { return };
        match (kind.as_deref(), offset, bytes) {
            (Some(kind::AREA), Some(offset), Some(bytes)) => {
                self.areas.push(Area { name: one.name, offset, bytes, sha256, number, type_id: r#type, guid });
            }
            (Some(kind::BOOT_FILE), _, Some(bytes)) => self.files.push(File { path: one.name, bytes, sha256 }),
            (Some(kind::COMMAND_LINE), ..) => self.command_line = text,
            (Some(kind::PID1), ..) => self.pid1 = Some(sha256),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provenance::{Facts, Parts, render};
    use serde_json::{Value, json};

    fn area(name: &str, offset: u64, bytes: u64) -> Area {
        Area { name: name.into(), offset, bytes, sha256: "0a".repeat(32), ..Area::default() }
    }

    fn parts(areas: Vec<Area>) -> Parts {
        Parts {
            size: 4096,
            sha256: "0b".repeat(32),
            areas,
            files: vec![File { path: "a".into(), bytes: 1, sha256: "0c".repeat(32) }],
            command_line: Some("quiet".into()),
            pid1: Some("0d".repeat(32)),
        }
    }

    fn statement(parts: &Parts, file: Option<(&str, &str)>) -> String {
        let (dependencies, builder, byproducts) = (vec![], vec![], vec![]);
        render(&Facts { name: "x", parts, file, parameters: json!({}), dependencies, builder, byproducts }).unwrap()
    }

    #[test]
    fn what_is_written_is_read() {
        let parts = parts(vec![area("boot code", 0, 440), area("partition 1", 1024, 1024)]);
        for file in [None, Some(("qcow2", "00"))] {
            let claims = read(statement(&parts, file).as_bytes()).unwrap();
            assert_eq!((claims.disks, claims.size), (vec![parts.sha256.clone()], Some(4096)));
            assert_eq!((&claims.areas, &claims.files), (&parts.areas, &parts.files));
            assert_eq!((&claims.command_line, &claims.pid1), (&parts.command_line, &parts.pid1));
        }
    }

    #[test]
    fn any_digest_of_a_subject_counts_where_nobody_says_what_it_is() {
        let subject =
            json!([{ "digest": { "sha256": "0B".repeat(32), "sha1": "x" } }, { "digest": { "sha256": "short" } }]);
        let text = |kind: &str, predicate: Value| {
            let (ours, kind) = (STATEMENT, kind.to_owned());
            json!({ "_type": ours, "subject": subject, "predicateType": kind, "predicate": predicate }).to_string()
        };
        let expected = Claims { disks: vec!["0b".repeat(32)], ..Claims::default() };
        for predicate in [json!({ "runDetails": 1 }), json!(null), json!([])] {
            assert_eq!(read(text("https://example.org/x", predicate).as_bytes()).unwrap(), expected);
        }
        assert_eq!(read(text(PREDICATE, json!(null)).as_bytes()).unwrap(), expected);
        assert!(read(text(PREDICATE, json!({ "runDetails": 1 })).as_bytes()).is_err());
    }

    #[test]
    fn areas_that_no_disk_has_are_refused() {
        let refused = |areas| read(statement(&parts(areas), None).as_bytes()).unwrap_err();
        assert_eq!(refused(vec![area("a", 0, 10), area("b", 9, 10)]), StatementError::Areas);
        assert_eq!(
            refused(vec![area("a", 1, u64::MAX), area("b", u64::MAX, 1), area("c", 2, 2)]),
            StatementError::Areas
        );
        assert_eq!(refused((0..300).map(|n| area("a", n, 1)).collect()), StatementError::Areas);
    }

    #[test]
    fn what_is_no_statement_is_told_in_one_printable_sentence() {
        let long: Value = json!({ "_type": format!("\u{1b}]0;{}", "x".repeat(1000)), "subject": [] });
        for text in ["", "[]", "{}", "{\"_type\": 1}", &long.to_string(), &"[".repeat(1000)] {
            let told = read(text.as_bytes()).unwrap_err().to_string();
            assert!(told.len() < 300 && !told.contains(char::is_control), "{told}");
        }
        assert_eq!(read(&vec![b' '; MAX as usize + 1]), Err(StatementError::TooLarge));
    }
}
