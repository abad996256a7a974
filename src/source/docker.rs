//! Docker archives: `manifest.json` and what it names, as `docker save`, `podman save`, skopeo, ko, jib, kaniko, Bazel
//! and Nix write them.
//!
//! ```text
//!  manifest.json   [{ "Config": "<hex>.json", "RepoTags": ["app:1"], "Layers": ["<id>/layer.tar", …] }, …]
//!
//!  until Docker 24   <id>/layer.tar, sometimes a symbolic link to another layer's
//!  from Docker 25    blobs/sha256/<hex>
//!  skopeo, podman    <hex>.tar and links to them
//! ```
//!
//! A configuration or layer whose name is its digest is checked against it; every layer is checked against its
//! diff_id anyway. `repositories` and the files of image version 1 are not read.
//!
//! Docker image spec v1.2, "Combined Image JSON + Filesystem Changeset Format".

use crate::escape::escape;
use crate::image::{
    Blob, BlobFault, ConfigFile, Digest, DocumentError, Image, LayerBlob, MAX_CONFIG, Platform, list, optional_list,
    parse_config, parse_json,
};
use crate::source::archive::Archive;
use crate::source::{Choice, SourceError, match_names};
use serde::Deserialize;
use std::collections::BTreeSet;

const MANIFEST: &str = "manifest.json";
/// Largest `manifest.json`, in bytes.
const MAX_DOCKER_MANIFEST: u64 = 20 << 20;
/// Most images in one archive.
const MAX_IMAGES: usize = 1000;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    config: String,
    #[serde(default, deserialize_with = "list")]
    repo_tags: Vec<String>,
    #[serde(default, deserialize_with = "list")]
    layers: Vec<String>,
}

#[derive(Deserialize)]
struct Entries(#[serde(deserialize_with = "optional_list")] Option<Vec<Entry>>);

/// An entry and its configuration.
struct Candidate<'a> {
    entry: &'a Entry,
    config: ConfigFile,
    digest: Digest,
}

/// The image of a docker archive that fits.
pub fn open(archive: &Archive, choice: Option<&Choice>, wanted: &Platform) -> Result<Image, SourceError> {
    let entries = read_manifest(archive)?;
    let mut candidates = Vec::new();
    for position in positions(&entries, choice)? {
        candidates.push(candidate(archive, &entries[position])?);
    }
    if let Some(Choice::Digest(digest)) = choice {
        let available = candidates.iter().map(Candidate::describe).collect();
        candidates.retain(|candidate| candidate.digest == *digest);
        if candidates.is_empty() {
            return Err(SourceError::NotFound { wanted: digest.to_string(), available });
        }
    }
    // One image twice is one image.
    let mut seen = BTreeSet::new();
    candidates.retain(|candidate| seen.insert(candidate.digest.clone()));
    if candidates.len() > 1 {
        let available = candidates.iter().map(|candidate| candidate.config.platform.to_string()).collect();
        candidates.retain(|candidate| wanted.accepts(&candidate.config.platform).is_some());
        // What is beyond the machine only where there is nothing else.
        let certain = candidates.iter().any(|candidate| !candidate.config.platform.is_beyond(wanted));
        candidates.retain(|candidate| !certain || !candidate.config.platform.is_beyond(wanted));
        if candidates.is_empty() {
            return Err(SourceError::NoPlatform { wanted: Box::new(wanted.clone()), available });
        }
    }
    if candidates.len() > 1 {
        return Err(SourceError::Several(candidates.iter().map(Candidate::describe).collect()));
    }
    candidates.pop().ok_or(SourceError::NoImage)?.image(archive, wanted)
}

fn manifest_error(source: DocumentError) -> SourceError {
    SourceError::Document { name: MANIFEST.into(), source }
}

fn read_manifest(archive: &Archive) -> Result<Vec<Entry>, SourceError> {
    let blob = archive.regular(MANIFEST.as_bytes())?;
    check_limit(&blob, MAX_DOCKER_MANIFEST).map_err(manifest_error)?;
    let bytes = blob.read().map_err(|fault| blob.error(fault))?;
    let Entries(entries) = parse_json(&bytes).map_err(|error| manifest_error(DocumentError::Json(error)))?;
    match entries.unwrap_or_default() {
        entries if entries.is_empty() => Err(SourceError::NoImage),
        entries if entries.len() > MAX_IMAGES => {
            let many = format!("more than {MAX_IMAGES} images in one archive");
            Err(manifest_error(DocumentError::Json(serde::de::Error::custom(many))))
        }
        entries => Ok(entries),
    }
}

fn check_limit(blob: &Blob, limit: u64) -> Result<(), DocumentError> {
    if blob.size() > limit { Err(DocumentError::TooLarge { size: blob.size(), limit }) } else { Ok(()) }
}

/// Which entries the choice may mean: all of them for a digest, which is known only once they are read.
fn positions(entries: &[Entry], choice: Option<&Choice>) -> Result<Vec<usize>, SourceError> {
    let not_found = |wanted: String| {
        let available = entries.iter().map(|entry| entry.names()).collect();
        Err(SourceError::NotFound { wanted, available })
    };
    match choice {
        None | Some(Choice::Digest(_)) => Ok((0..entries.len()).collect()),
        Some(Choice::Index(index)) if *index < entries.len() => Ok(vec![*index]),
        Some(Choice::Index(index)) => not_found(format!("@{index}")),
        Some(Choice::Name(name)) => {
            let names: Vec<_> = entries.iter().map(|entry| entry.repo_tags.clone()).collect();
            match match_names(name, &names) {
                found if found.is_empty() => not_found(escape(name.as_bytes())),
                found => Ok(found),
            }
        }
    }
}

fn candidate<'a>(archive: &Archive, entry: &'a Entry) -> Result<Candidate<'a>, SourceError> {
    let name = escape(entry.config.as_bytes());
    let failed = |source| SourceError::Config { name: name.clone(), source };
    let blob = archive.regular(entry.config.as_bytes())?;
    check_limit(&blob, MAX_CONFIG).map_err(|error| failed(error.into()))?;
    let bytes = blob.read().map_err(|fault| blob.error(fault))?;
    let digest = Digest::sha256(&bytes);
    if let Some(expected) = digest_in_config_name(&entry.config).filter(|expected| *expected != digest) {
        return Err(blob.error(BlobFault::Digest { expected, actual: digest }).into());
    }
    let config = parse_config(&bytes, entry.layers.len()).map_err(failed)?;
    Ok(Candidate { entry, config, digest })
}

/// `<hex>.json`, `sha256:<hex>` or `blobs/sha256/<hex>`: names that are digests.
fn digest_in_config_name(name: &str) -> Option<Digest> {
    let name = name.strip_prefix("./").unwrap_or(name);
    let stem = name.strip_suffix(".json").or_else(|| name.strip_prefix("sha256:"));
    digest_in_blob_name(name).or_else(|| Digest::from_sha256_hex(stem?))
}

fn digest_in_blob_name(name: &str) -> Option<Digest> {
    let name = name.strip_prefix("./").unwrap_or(name);
    let (algorithm, hex) = name.strip_prefix("blobs/")?.split_once('/')?;
    format!("{algorithm}:{hex}").parse().ok()
}

impl Entry {
    fn names(&self) -> String {
        match self.repo_tags.as_slice() {
            [] => format!("{} (no name)", escape(self.config.as_bytes())),
            names => escape(names.join(" ").as_bytes()),
        }
    }
}

impl Candidate<'_> {
    fn describe(&self) -> String {
        match self.entry.repo_tags.first() {
            Some(_) => format!("{} ({})", self.entry.names(), self.digest),
            None => format!("@{} (no name)", self.digest),
        }
    }

    fn image(self, archive: &Archive, wanted: &Platform) -> Result<Image, SourceError> {
        let platform = super::oci::check_platform(&self.config, None, wanted)?;
        let mut layers = Vec::new();
        for (name, diff_id) in self.entry.layers.iter().zip(&self.config.diff_ids) {
            let blob = archive.regular(name.as_bytes())?;
            let (size, digest) = (blob.size(), digest_in_blob_name(name));
            layers.push(LayerBlob { blob, digest, size, media_type: None, diff_id: diff_id.clone() });
        }
        let warnings = super::oci::warnings(&self.config, &platform, wanted);
        Ok(Image {
            name: self.entry.repo_tags.first().cloned(),
            platform,
            warnings,
            config_digest: self.digest,
            manifest_digest: None,
            created: self.config.created,
            config: self.config.config,
            history: self.config.history,
            layers,
        })
    }
}
