//! OCI image layouts, as directories and as archives.
//!
//! ```text
//!  oci-layout    {"imageLayoutVersion": "1.0.0"}
//!  index.json    entries, perhaps with names ─▶ manifest or further index ─▶ … ─▶ configuration, layers
//!  blobs/<algorithm>/<hex>
//! ```
//!
//! Every document is compared with size and digest before it is parsed. Blobs are regular files, or regular members of
//! the archive. Attestations and entries of unknown types are passed over, and so is what turns out to be no image (a
//! signature, a chart) or not to be there, as long as something else fits. Which of several is taken: see `choose`.
//!
//! OCI image-spec, image-layout.md, image-index.md, manifest.md.

use crate::escape::{chain, escape};
use crate::image::{
    Blob, BlobError, BlobFault, ConfigFile, Descriptor, Digest, Document, DocumentError, DocumentKind, Image,
    LayerBlob, MAX_CONFIG, MAX_MANIFEST, Manifest, Platform, parse_config, parse_document, parse_json,
};
use crate::registry::{RegistryError, Remote};
use crate::source::archive::Archive;
use crate::source::skopeo_dir::SkopeoDir;
use crate::source::{Choice, SourceError, match_names};
use serde::Deserialize;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Deepest nesting of indexes below `index.json`.
const MAX_DEPTH: usize = 8;
/// Most nested indexes that are read.
const MAX_INDEXES: usize = 256;
/// Most manifests that are considered.
const MAX_MANIFESTS: usize = 10_000;
const INDEX: &str = "index.json";
const LAYOUT: &str = "oci-layout";
const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";

/// Where a layout's files are.
pub enum Store {
    /// A directory.
    Directory(PathBuf),
    /// An archive of it.
    Archive(Arc<Archive>),
    /// A registry, which has no `index.json` but one document that a name means.
    Registry(Box<Remote>),
    /// Not a layout, but the same documents under other names.
    Skopeo(SkopeoDir),
}

impl Store {
    fn file(&self, name: &str) -> Result<Blob, BlobError> {
        let found = match self {
            Store::Directory(directory) => Blob::file(name, directory.join(name)),
            Store::Skopeo(dir) => dir.file(name),
            Store::Archive(archive) => archive.regular_itself(name).ok_or_else(|| BlobError {
                blob: name.into(),
                fault: BlobFault::Io(io::Error::from(io::ErrorKind::NotFound)),
            }),
            Store::Registry(_) => return Err(BlobError { blob: name.into(), fault: BlobFault::Missing }),
        };
        found.map_err(|error| match error.fault {
            BlobFault::Io(io) if io.kind() == io::ErrorKind::NotFound => {
                BlobError { blob: error.blob, fault: BlobFault::Missing }
            }
            fault => BlobError { blob: error.blob, fault },
        })
    }

    /// What a descriptor describes: the content it carries itself, else the file named after its digest.
    fn blob(&self, descriptor: &Descriptor) -> Result<Blob, BlobError> {
        match descriptor.embedded()? {
            Some(bytes) => Ok(Blob::memory(&descriptor.digest.to_string(), bytes)),
            None if let Store::Registry(remote) = self => Ok(remote.layer(descriptor)),
            None => {
                let blob = match self {
                    Store::Skopeo(dir) => self.file(&dir.name_of(&descriptor.digest))?,
                    _ => self.file(&descriptor.digest.path())?,
                };
                blob.check_size(descriptor.size)?;
                Ok(blob)
            }
        }
    }

    /// The verified content of a manifest, index or configuration.
    fn document(&self, descriptor: &Descriptor, limit: u64) -> Result<Vec<u8>, SourceError> {
        if descriptor.size > limit {
            let source = DocumentError::TooLarge { size: descriptor.size, limit };
            return Err(SourceError::Document { name: descriptor.digest.to_string(), source });
        }
        match self {
            Store::Registry(remote) if descriptor.embedded()?.is_none() => Ok(fetched(remote, descriptor)?),
            _ => Ok(self.blob(descriptor)?.read_verified(descriptor)?),
        }
    }

    /// The manifest or index that a descriptor describes.
    fn parsed(&self, descriptor: &Descriptor) -> Result<Document, SourceError> {
        let bytes = self.document(descriptor, MAX_MANIFEST)?;
        let parsed = parse_document(&bytes, descriptor.media_type.as_deref());
        document_error(&descriptor.digest.to_string(), parsed)
    }

    /// A file that has no digest.
    fn plain_document(&self, name: &str) -> Result<Vec<u8>, SourceError> {
        let blob = self.file(name)?;
        if blob.size() > MAX_MANIFEST {
            let source = DocumentError::TooLarge { size: blob.size(), limit: MAX_MANIFEST };
            return Err(SourceError::Document { name: name.into(), source });
        }
        blob.read().map_err(|fault| blob.error(fault).into())
    }
}

/// A document of a registry's. One that is not there may be passed over, as one that a layout does not have.
fn fetched(remote: &Remote, descriptor: &Descriptor) -> Result<Vec<u8>, SourceError> {
    remote.document(descriptor).map_err(|error| match error {
        RegistryError::Missing { digest, .. } if digest != remote.root().digest => {
            BlobError { blob: digest.to_string(), fault: BlobFault::Missing }.into()
        }
        error => error.into(),
    })
}

/// A manifest that may be meant.
#[derive(Clone)]
pub(super) struct Leaf {
    /// Which entry of `index.json` led here.
    pub(super) entry: usize,
    pub(super) name: Option<String>,
    pub(super) descriptor: Descriptor,
    pub(super) platform: Option<Platform>,
}

/// The manifests that the choice may mean, and what was passed over on the way to them.
pub(super) fn search(store: &Store, choice: Option<&Choice>) -> Result<(Vec<Leaf>, Vec<Passed>), SourceError> {
    let entries = entries(store)?;
    let mut search = Search { store, leaves: Vec::new(), passed: Vec::new(), indexes: 0 };
    for position in chosen_entries(&entries, choice)? {
        let name = names(&entries[position]).first().cloned();
        search.follow(position, name, &entries[position], 0)?;
    }
    if let Some(Choice::Digest(digest)) = choice {
        let is_entry = entries.iter().any(|entry| entry.digest == *digest);
        if !is_entry {
            search.only(digest)?;
        }
    }
    Ok((search.leaves, search.passed))
}

/// Where the way to an image begins.
fn entries(store: &Store) -> Result<Vec<Descriptor>, SourceError> {
    match store {
        Store::Registry(remote) => return Ok(vec![remote.root().clone()]),
        Store::Skopeo(dir) => return Ok(vec![dir.top().clone()]),
        Store::Directory(_) | Store::Archive(_) => {}
    }
    check_layout(store)?;
    match document_error(INDEX, parse_document(&store.plain_document(INDEX)?, Some(INDEX_TYPE)))? {
        Document::Index(entries) => Ok(entries),
        Document::Manifest(_) => Err(SourceError::NoImage),
    }
}

fn document_error<T>(name: &str, result: Result<T, DocumentError>) -> Result<T, SourceError> {
    result.map_err(|source| SourceError::Document { name: name.into(), source })
}

fn check_layout(store: &Store) -> Result<(), SourceError> {
    #[derive(Deserialize)]
    struct Layout {
        #[serde(rename = "imageLayoutVersion")]
        version: String,
    }
    let bytes = store.plain_document(LAYOUT).map_err(|error| match error {
        SourceError::Blob(BlobError { fault: BlobFault::Missing, .. }) => SourceError::NoLayout,
        other => other,
    })?;
    let layout: Result<Layout, _> = parse_json(&bytes).map_err(DocumentError::Json);
    let version = document_error(LAYOUT, layout)?.version;
    if version.starts_with("1.") { Ok(()) } else { Err(SourceError::LayoutVersion(version)) }
}

/// Names that an entry of `index.json` has.
fn names(entry: &Descriptor) -> Vec<String> {
    // The second is what containerd and Docker from version 25 on add, with the repository in it.
    ["org.opencontainers.image.ref.name", "io.containerd.image.name"]
        .iter()
        .filter_map(|key| entry.annotations.get(*key).cloned())
        .collect()
}

/// Which entries of `index.json` the choice may mean.
fn chosen_entries(entries: &[Descriptor], choice: Option<&Choice>) -> Result<Vec<usize>, SourceError> {
    let images: Vec<usize> = (0..entries.len()).filter(|&i| entries[i].may_be_image()).collect();
    if images.is_empty() {
        return Err(SourceError::NoImage);
    }
    let not_found = |wanted: String| {
        let available = images.iter().map(|&i| describe(names(&entries[i]).first(), &entries[i])).collect();
        Err(SourceError::NotFound { wanted, available })
    };
    match choice {
        None => Ok(images),
        Some(Choice::Index(index)) if *index < entries.len() => Ok(vec![*index]),
        Some(Choice::Index(index)) => not_found(format!("@{index}")),
        Some(Choice::Digest(digest)) => {
            match images.iter().find(|&&i| entries[i].digest == *digest) {
                Some(&position) => Ok(vec![position]),
                // Perhaps a manifest of a nested index.
                None => Ok(images),
            }
        }
        Some(Choice::Name(name)) => {
            let all: Vec<_> = images.iter().map(|&i| names(&entries[i])).collect();
            match match_names(name, &all) {
                found if found.is_empty() => not_found(escape(name.as_bytes())),
                found => Ok(found.into_iter().map(|i| images[i]).collect()),
            }
        }
    }
}

/// What the list of several images says of one.
fn describe(name: Option<&String>, descriptor: &Descriptor) -> String {
    let name = name.map_or_else(|| "(no name)".to_string(), |name| escape(name.as_bytes()));
    match descriptor.platform() {
        Some(platform) => format!("{name} {platform} (@{})", descriptor.digest),
        None => format!("{name} (@{})", descriptor.digest),
    }
}

impl Leaf {
    fn new(entry: usize, name: Option<String>, descriptor: &Descriptor) -> Leaf {
        Leaf { entry, name, descriptor: descriptor.clone(), platform: descriptor.platform() }
    }

    pub(super) fn describe(&self) -> String {
        describe(self.name.as_ref(), &self.descriptor)
    }
}

/// An entry that is no image or is not there, and why. It matters only if nothing else fits.
pub(super) struct Passed {
    entry: String,
    why: SourceError,
}

impl Passed {
    pub(super) fn new(leaf: &Leaf, why: SourceError) -> Passed {
        Passed { entry: leaf.describe(), why }
    }

    /// As a part of a list.
    pub(super) fn line(&self) -> String {
        let why = match &self.why {
            SourceError::Document { source, .. } => source.to_string(),
            other => chain(other),
        };
        format!("{}: {why}", self.entry)
    }

    /// As an error of its own.
    pub(super) fn alone(self) -> SourceError {
        self.why
    }

    /// What the user of another entry is to know.
    pub(super) fn warning(&self) -> Option<String> {
        self.why.is_absence().then(|| format!("ignored, as it is incomplete: {}", self.line()))
    }
}

/// Follows nested indexes down to manifests.
struct Search<'a> {
    store: &'a Store,
    leaves: Vec<Leaf>,
    passed: Vec<Passed>,
    indexes: usize,
}

impl Search<'_> {
    fn follow(
        &mut self,
        entry: usize,
        name: Option<String>,
        descriptor: &Descriptor,
        depth: usize,
    ) -> Result<(), SourceError> {
        let kind = descriptor.media_type.as_deref().map(DocumentKind::of);
        if !matches!(kind, None | Some(Some(DocumentKind::Index))) {
            return self.add(entry, name, descriptor);
        }
        self.indexes += 1;
        if depth >= MAX_DEPTH || self.indexes > MAX_INDEXES {
            return Err(SourceError::Nesting(MAX_DEPTH));
        }
        match self.store.parsed(descriptor) {
            Ok(Document::Manifest(_)) => self.add(entry, name, descriptor),
            Ok(Document::Index(entries)) => {
                for nested in entries.iter().filter(|nested| nested.may_be_image()) {
                    self.follow(entry, name.clone(), nested, depth + 1)?;
                }
                Ok(())
            }
            Err(error) if error.passes_over() => {
                self.passed.push(Passed::new(&Leaf::new(entry, name, descriptor), error));
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn add(&mut self, entry: usize, name: Option<String>, descriptor: &Descriptor) -> Result<(), SourceError> {
        if self.leaves.len() == MAX_MANIFESTS {
            return Err(SourceError::Nesting(MAX_DEPTH));
        }
        self.leaves.push(Leaf::new(entry, name, descriptor));
        Ok(())
    }

    /// Leaves the manifest of this digest, and nothing that could stand in for it.
    fn only(&mut self, digest: &Digest) -> Result<(), SourceError> {
        let available = self.leaves.iter().map(Leaf::describe).collect();
        self.leaves.retain(|leaf| leaf.descriptor.digest == *digest);
        self.passed.clear();
        match self.leaves.is_empty() {
            true => Err(SourceError::NotFound { wanted: digest.to_string(), available }),
            false => Ok(()),
        }
    }
}

pub(super) fn manifest_and_config(
    store: &Store,
    descriptor: &Descriptor,
) -> Result<(Manifest, ConfigFile), SourceError> {
    let Document::Manifest(manifest) = store.parsed(descriptor)? else {
        return Err(SourceError::Document { name: descriptor.digest.to_string(), source: DocumentError::Neither });
    };
    let bytes = store.document(&manifest.config, MAX_CONFIG)?;
    let config = parse_config(&bytes, manifest.layers.len())
        .map_err(|source| SourceError::Config { name: manifest.config.digest.to_string(), source })?;
    Ok((manifest, config))
}

pub(super) fn load(store: &Store, leaf: &Leaf, wanted: &Platform) -> Result<Image, SourceError> {
    let (manifest, config) = manifest_and_config(store, &leaf.descriptor)?;
    let platform = check_platform(&config, leaf.platform.as_ref(), wanted)?;
    let mut layers = Vec::new();
    for (layer, diff_id) in manifest.layers.iter().zip(&config.diff_ids) {
        layers.push(LayerBlob {
            blob: store.blob(layer)?,
            digest: Some(layer.digest.clone()),
            size: layer.size,
            media_type: layer.media_type.clone(),
            diff_id: diff_id.clone(),
        });
    }
    let warnings = warnings(&config, &platform, wanted);
    Ok(Image {
        name: leaf.name.clone(),
        platform,
        warnings,
        config_digest: manifest.config.digest,
        manifest_digest: Some(leaf.descriptor.digest.clone()),
        created: config.created,
        config: config.config,
        history: config.history,
        layers,
    })
}

/// The platform of an image, if it is what is wanted. What the configuration leaves open is as wanted; a variant that
/// the index names and the configuration does not is the index's.
pub fn check_platform(
    config: &ConfigFile,
    from_index: Option<&Platform>,
    wanted: &Platform,
) -> Result<Platform, SourceError> {
    let mut actual = config.platform.clone();
    if actual.os.is_empty() {
        actual.os = wanted.os.clone();
    }
    if actual.architecture.is_empty() {
        actual.architecture = wanted.architecture.clone();
        actual.variant = wanted.variant.clone();
    }
    if actual.variant.is_none() {
        actual.variant = from_index.and_then(|platform| platform.variant.clone());
    }
    if actual.os != "linux" || wanted.accepts(&actual).is_none() {
        return Err(SourceError::Platform { wanted: Box::new(wanted.clone()), actual: Box::new(actual) });
    }
    Ok(actual)
}

/// What is odd about an image and does no harm, or not everywhere.
pub fn warnings(config: &ConfigFile, platform: &Platform, wanted: &Platform) -> Vec<String> {
    history_warning(config).into_iter().chain(beyond(platform, wanted)).collect()
}

/// Of an image that runs on some machines of the wanted kind alone.
pub fn beyond(platform: &Platform, wanted: &Platform) -> Option<String> {
    platform
        .is_beyond(wanted)
        .then(|| format!("the image is for {platform}: not every machine of {wanted} has such a processor"))
}

/// A history that does not tell of the layers there are. Tools repack images without rewriting it.
fn history_warning(config: &ConfigFile) -> Option<String> {
    let (told, layers) = (config.history_layers?, config.diff_ids.len());
    (told != layers).then(|| format!("the image has {layers} layers, but its history has {told}"))
}
