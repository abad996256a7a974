//! A statement, written.
//!
//! ```text
//!  subject                the disk, raw; and the file it is kept in, where that is another form
//!  externalParameters     image, options and command, as they were given
//!  resolvedDependencies   image, layers, kernel, modules, loader, files that were added
//!  builder                this program by version and digest, and PID 1
//!  byproducts             areas of the disk, boot files, command line, PID 1 on the disk; a list of components
//! ```
//!
//! Annotations are ours: `kind`, `offset` and `bytes` of areas, `type` and `guid` of partitions.

use super::parts::Parts;
use super::{PREDICATE, STATEMENT, kind};
use crate::escape;
use crate::hex::hex;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

/// How a disk of ours is built, as a URI: the document in the crate that describes it.
const BUILD_TYPE: &str = "pkg:cargo/bootdisk#docs/provenance.md";

/// Something with a digest.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resource {
    /// What it is, in words.
    pub name: String,
    /// Where it is, where that can be said as a URI.
    pub uri: Option<String>,
    /// The digest's algorithm and its hexadecimal digits.
    pub digest: Option<(String, String)>,
    /// What else is known.
    pub annotations: Map<String, Value>,
}

impl Resource {
    /// Something whose SHA-256 is known.
    pub fn new(name: impl Into<String>, sha256: impl Into<String>) -> Resource {
        let digest = Some(("sha256".to_owned(), sha256.into()));
        Resource { name: name.into(), digest, ..Resource::default() }
    }

    /// The same, with something else that is known.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Resource {
        self.annotations.insert(name.to_owned(), value.into());
        self
    }

    fn value(&self) -> Value {
        let mut value = Map::new();
        value.insert("name".into(), self.name.clone().into());
        if let Some(uri) = &self.uri {
            value.insert("uri".into(), uri.clone().into());
        }
        if let Some((algorithm, hex)) = &self.digest {
            value.insert("digest".into(), json!({ algorithm: hex }));
        }
        if !self.annotations.is_empty() {
            value.insert("annotations".into(), Value::Object(self.annotations.clone()));
        }
        Value::Object(value)
    }
}

/// What a statement says.
pub struct Facts<'a> {
    /// Name of the disk's file, without folders.
    pub name: &'a str,
    /// What the disk is made of.
    pub parts: &'a Parts,
    /// The form it is kept in and the file's SHA-256, where that is not raw.
    pub file: Option<(&'a str, &'a str)>,
    /// Options as they were given.
    pub parameters: Value,
    /// What it was made from.
    pub dependencies: Vec<Resource>,
    /// What made it: this program, PID 1.
    pub builder: Vec<Resource>,
    /// What was made beside it.
    pub byproducts: Vec<Resource>,
}

/// SHA-256 of some bytes, in hexadecimal.
pub fn sha256_of(bytes: &[u8]) -> String {
    hex(Sha256::digest(bytes))
}

/// The statement, as JSON with a line end.
///
/// # Errors
/// None that a statement could cause.
pub fn render(facts: &Facts<'_>) -> serde_json::Result<String> {
    let version = env!("CARGO_PKG_VERSION");
    let values = |all: &[Resource]| all.iter().map(Resource::value).collect::<Vec<_>>();
    let mut byproducts = byproducts(facts.parts);
    byproducts.extend(facts.byproducts.iter().cloned());
    let statement = json!({
        "_type": STATEMENT,
        "subject": values(&subjects(facts)),
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": facts.parameters,
                "resolvedDependencies": values(&facts.dependencies),
            },
            "runDetails": {
                "builder": {
                    "id": format!("pkg:cargo/bootdisk@{version}"),
                    "version": { "bootdisk": version },
                    "builderDependencies": values(&facts.builder),
                },
                "byproducts": values(&byproducts),
            },
        },
    });
    escape::json(&statement)
}

fn subjects(facts: &Facts<'_>) -> Vec<Resource> {
    let raw = |name: String| {
        let disk = Resource::new(name, &facts.parts.sha256).with("kind", kind::DISK);
        disk.with("bytes", facts.parts.size)
    };
    match facts.file {
        None => vec![raw(facts.name.to_owned())],
        // The file first: it is what somebody has who looks for its digest.
        Some((form, sha256)) => vec![
            Resource::new(facts.name, sha256).with("kind", kind::FILE).with("form", form),
            raw(format!("{} (the raw disk in it)", facts.name)),
        ],
    }
}

fn byproducts(parts: &Parts) -> Vec<Resource> {
    let areas = parts.areas.iter().map(|area| {
        let mut one = Resource::new(&area.name, &area.sha256).with("kind", kind::AREA);
        one = one.with("offset", area.offset).with("bytes", area.bytes);
        let facts = [("type", &area.type_id), ("guid", &area.guid)];
        one = facts.into_iter().fold(one, |one, (name, value)| match value {
            Some(value) => one.with(name, value.clone()),
            None => one,
        });
        area.number.map_or(one.clone(), |number| one.with("number", number))
    });
    let files = parts
        .files
        .iter()
        .map(|file| Resource::new(&file.path, &file.sha256).with("kind", kind::BOOT_FILE).with("bytes", file.bytes));
    let line = parts.command_line.iter().map(|line| {
        let one = Resource::new("command line", sha256_of(line.as_bytes()));
        one.with("kind", kind::COMMAND_LINE).with("text", line.clone())
    });
    let pid1 = parts.pid1.iter().map(|sha256| Resource::new("PID 1", sha256).with("kind", kind::PID1));
    areas.chain(files).chain(line).chain(pid1).collect()
}
