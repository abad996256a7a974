//! What is on a disk, as a list of components that other programs read: CycloneDX 1.5 in JSON.
//!
//! ```text
//!  disk ─┬─ image ─ operating system ─ packages, each with its package URL
//!        └─ kernel, loader, PID 1, by digest
//! ```
//!
//! The document has the time of the image and a serial number from its own content: one disk gives one document, byte for
//! byte. Not supported: licences, which no package database has in a form that can be relied upon; files.
//!
//! Specification: CycloneDX 1.5, bom-1.5.schema.json; package URLs in [`purl`].

mod purl;
mod read;

pub use purl::purl;
pub use read::{ListError, Listed, MAX as MAX_DOCUMENT, compare, is_document, read};

use crate::contents::installed::{Installed, Manager, Package};
use crate::escape;
use crate::identity;
use serde_json::{Value, json};

/// Something on a disk that is in no package database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Its reference in the document: `kernel`.
    pub id: &'static str,
    /// What it is called: `linux`.
    pub name: String,
    /// Its version, if it has one.
    pub version: Option<String>,
    /// SHA-256 in hexadecimal.
    pub sha256: String,
    /// What else is known, by names of ours.
    pub properties: Vec<(&'static str, String)>,
}

/// What a document says.
pub struct Facts<'a> {
    /// Name of the disk's file, without folders.
    pub disk: &'a str,
    /// The image's name, or what stands for it.
    pub image: &'a str,
    /// Its digest, as `sha256:…`.
    pub image_digest: &'a str,
    /// Its platform.
    pub platform: &'a str,
    /// Digests of the layers' contents, the lowest first.
    pub layers: Vec<String>,
    /// Its time, in RFC 3339, if it has one.
    pub created: Option<&'a str>,
    /// Its operating system and packages.
    pub installed: &'a Installed,
    /// Kernel, loader, PID 1.
    pub parts: &'a [Part],
}

/// The document, with a line end.
///
/// # Errors
/// None that an image could cause.
pub fn render(facts: &Facts<'_>) -> serde_json::Result<String> {
    let installed = facts.installed;
    let mut components = vec![image(facts)];
    let system = installed.system.as_ref();
    let name = system.map_or("linux", |system| &system.id);
    let mut operating_system = json!({ "type": "operating-system", "bom-ref": "os", "name": name });
    if let Some(system) = system {
        let facts = [("version", &system.version), ("description", &system.name)];
        facts.into_iter().for_each(|(key, value)| value.iter().for_each(|value| operating_system[key] = json!(value)));
    }
    components.push(operating_system);
    components.extend(facts.parts.iter().map(part));
    let packages: Vec<(String, Value)> = installed.packages.iter().map(|one| package(one, installed)).collect();
    let references: Vec<&String> = packages.iter().map(|(reference, _)| reference).collect();
    let on_disk: Vec<&str> = std::iter::once("image").chain(facts.parts.iter().map(|part| part.id)).collect();
    let dependencies = json!([
        { "ref": "disk", "dependsOn": on_disk },
        { "ref": "image", "dependsOn": ["os"] },
        { "ref": "os", "dependsOn": references },
    ]);
    let version = env!("CARGO_PKG_VERSION");
    let tool = json!({ "type": "application", "name": "bootdisk", "version": version });
    let mut metadata = json!({
        "tools": { "components": [tool] },
        "component": { "type": "file", "bom-ref": "disk", "name": facts.disk },
    });
    if let Some(created) = facts.created {
        metadata["timestamp"] = json!(created);
    }
    components.extend(packages.iter().map(|(_, component)| component.clone()));
    // What a database may hold beyond what was read is said, and not passed over.
    let aggregate = if installed.doubts.is_empty() { "complete" } else { "incomplete" };
    let mut document = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": metadata,
        "components": components,
        "dependencies": dependencies,
        "compositions": [{ "aggregate": aggregate, "dependencies": ["os"] }],
    });
    let serial = identity::of_document(&serde_json::to_vec(&document)?);
    document["serialNumber"] = json!(format!("urn:uuid:{serial}"));
    escape::json(&document)
}

fn image(facts: &Facts<'_>) -> Value {
    let mut properties = vec![property("bootdisk:platform", facts.platform)];
    properties.extend(facts.layers.iter().map(|layer| property("bootdisk:layer", layer)));
    let mut image = json!({
        "type": "container",
        "bom-ref": "image",
        "name": facts.image,
        "version": facts.image_digest,
        "properties": properties,
    });
    if let Some(hex) = facts.image_digest.strip_prefix("sha256:") {
        image["hashes"] = hashes(hex);
    }
    image
}

fn part(part: &Part) -> Value {
    let mut component = json!({
        "type": "application",
        "bom-ref": part.id,
        "name": part.name,
        "hashes": hashes(&part.sha256),
    });
    if let Some(version) = &part.version {
        component["version"] = json!(version);
    }
    if !part.properties.is_empty() {
        let all: Vec<Value> = part.properties.iter().map(|(name, value)| property(name, value)).collect();
        component["properties"] = json!(all);
    }
    component
}

/// A package's reference and component.
fn package(package: &Package, installed: &Installed) -> (String, Value) {
    let purl = purl(package, installed.system.as_ref());
    let version = match package.epoch {
        Some(epoch) => format!("{epoch}:{}", package.version),
        None => package.version.clone(),
    };
    let manager = match package.manager {
        Manager::Dpkg => "dpkg",
        Manager::Apk => "apk",
        Manager::Rpm => "rpm",
        Manager::Pacman => "pacman",
    };
    let mut properties = vec![property("bootdisk:manager", manager)];
    if let Some((source, version)) = &package.source {
        properties.push(property("bootdisk:source", source));
        properties.extend(version.iter().map(|version| property("bootdisk:source-version", version)));
    }
    let component = json!({
        "type": "library",
        "bom-ref": purl,
        "name": package.name,
        "version": version,
        "purl": purl,
        "properties": properties,
    });
    (purl, component)
}

fn property(name: &str, value: &str) -> Value {
    json!({ "name": name, "value": value })
}

fn hashes(sha256: &str) -> Value {
    json!([{ "alg": "SHA-256", "content": sha256 }])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contents::installed::System;

    fn facts<'a>(installed: &'a Installed, parts: &'a [Part]) -> Facts<'a> {
        Facts {
            disk: "disk.img",
            image: "app:1",
            image_digest: "sha256:00",
            platform: "linux/amd64",
            layers: vec!["sha256:01".into()],
            created: Some("2024-01-01T00:00:00Z"),
            installed,
            parts,
        }
    }

    fn package(name: &str) -> Package {
        let (version, arch) = ("1".to_owned(), Some("amd64".to_owned()));
        Package { manager: Manager::Dpkg, name: name.into(), version, epoch: None, arch, source: None }
    }

    #[test]
    fn a_document_is_its_contents_and_nothing_else() {
        let system = Some(System { id: "debian".into(), version: Some("12".into()), name: None });
        let installed = Installed { system, packages: vec![package("a"), package("b")], doubts: vec![] };
        let parts = [Part { id: "kernel", name: "linux".into(), sha256: "02".into(), ..Part::default() }];
        let text = render(&facts(&installed, &parts)).unwrap();
        assert_eq!(text, render(&facts(&installed, &parts)).unwrap());
        let document: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document["components"].as_array().unwrap().len(), 5);
        assert_eq!(document["dependencies"][0]["dependsOn"], json!(["image", "kernel"]));
        assert_eq!(document["dependencies"][2]["dependsOn"][1], "pkg:deb/debian/b@1?arch=amd64&distro=debian-12");
        assert_eq!(document["compositions"][0]["aggregate"], "complete");
        let doubtful = Installed { doubts: vec!["x"], ..installed.clone() };
        let other: Value = serde_json::from_str(&render(&facts(&doubtful, &parts)).unwrap()).unwrap();
        assert_eq!(other["compositions"][0]["aggregate"], "incomplete");
        assert_ne!(other["serialNumber"], document["serialNumber"], "another content");
    }
}
