//! OCI image layouts, as directories and as archives.
//!
//! ```text
//!  oci-layout    {"imageLayoutVersion": "1.0.0"}
//!  index.json    entries, perhaps with names ─▶ manifest or further index ─▶ … ─▶ configuration, layers
//!  blobs/<algorithm>/<hex>
//! ```
//!
//! Every document is compared with size and digest before it is parsed. Blobs are regular files, or regular members of
//! the archive. Attestations, artifacts and entries of unknown types are passed over. Of several manifests the first that
//! fits the platform best is taken.
//!
//! OCI image-spec, image-layout.md, image-index.md, manifest.md.

use crate::escape::escape;
use crate::image::{
    Blob, BlobError, BlobFault, ConfigFile, Descriptor, Document, DocumentError, DocumentKind, Image, LayerBlob,
    MAX_CONFIG, MAX_MANIFEST, Manifest, Platform, parse_config, parse_document,
};
use crate::source::archive::Archive;
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
}

impl Store {
    fn file(&self, name: &str) -> Result<Blob, BlobError> {
        let found = match self {
            Store::Directory(directory) => Blob::file(name, directory.join(name)),
            Store::Archive(archive) => archive.regular_itself(name).ok_or_else(|| BlobError {
                blob: name.into(),
                fault: BlobFault::Io(io::Error::from(io::ErrorKind::NotFound)),
            }),
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
            None => {
                let blob = self.file(&descriptor.digest.path())?;
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
        Ok(self.blob(descriptor)?.read_verified(descriptor)?)
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

/// A manifest that may be meant.
#[derive(Clone)]
struct Leaf {
    /// Which entry of `index.json` led here.
    entry: usize,
    name: Option<String>,
    descriptor: Descriptor,
    platform: Option<Platform>,
}

/// The image of a layout that fits.
pub fn open(store: &Store, choice: Option<&Choice>, wanted: &Platform) -> Result<Image, SourceError> {
    check_layout(store)?;
    let index = document_error(INDEX, parse_document(&store.plain_document(INDEX)?, Some(INDEX_TYPE)))?;
    let Document::Index(entries) = index else { return Err(SourceError::NoImage) };
    let mut search = Search { store, leaves: Vec::new(), indexes: 0 };
    for position in chosen_entries(&entries, choice)? {
        let name = names(&entries[position]).first().cloned();
        search.follow(position, name, &entries[position], 0)?;
    }
    let mut leaves = search.leaves;
    if let Some(Choice::Digest(digest)) = choice {
        let is_entry = entries.iter().any(|entry| entry.digest == *digest);
        if !is_entry {
            let available = leaves.iter().map(Leaf::describe).collect();
            leaves.retain(|leaf| leaf.descriptor.digest == *digest);
            if leaves.is_empty() {
                return Err(SourceError::NotFound { wanted: digest.to_string(), available });
            }
        }
    }
    let leaf = choose(store, leaves, wanted)?;
    load(store, &leaf, wanted)
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
    let layout: Result<Layout, _> = serde_json::from_slice(&bytes).map_err(DocumentError::Json);
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
    fn describe(&self) -> String {
        describe(self.name.as_ref(), &self.descriptor)
    }
}

/// Follows nested indexes down to manifests.
struct Search<'a> {
    store: &'a Store,
    leaves: Vec<Leaf>,
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
        let bytes = self.store.document(descriptor, MAX_MANIFEST)?;
        let parsed = parse_document(&bytes, descriptor.media_type.as_deref());
        match document_error(&descriptor.digest.to_string(), parsed)? {
            Document::Manifest(_) => self.add(entry, name, descriptor),
            Document::Index(entries) => {
                for nested in entries.iter().filter(|nested| nested.may_be_image()) {
                    self.follow(entry, name.clone(), nested, depth + 1)?;
                }
                Ok(())
            }
        }
    }

    fn add(&mut self, entry: usize, name: Option<String>, descriptor: &Descriptor) -> Result<(), SourceError> {
        if self.leaves.len() == MAX_MANIFESTS {
            return Err(SourceError::Nesting(MAX_DEPTH));
        }
        self.leaves.push(Leaf { entry, name, descriptor: descriptor.clone(), platform: descriptor.platform() });
        Ok(())
    }
}

/// The one manifest that fits: the best for the platform of each entry, if that is the same for all entries.
fn choose(store: &Store, mut leaves: Vec<Leaf>, wanted: &Platform) -> Result<Leaf, SourceError> {
    if leaves.len() == 1 {
        return leaves.pop().ok_or(SourceError::NoImage);
    }
    let mut best: Vec<(u32, Leaf)> = Vec::new();
    let mut available = Vec::new();
    for leaf in leaves {
        let platform = match &leaf.platform {
            Some(platform) => platform.clone(),
            None => manifest_and_config(store, &leaf.descriptor)?.1.platform,
        };
        match wanted.accepts(&platform) {
            None => available.push(platform.to_string()),
            Some(rank) => match best.iter_mut().find(|(_, other)| other.entry == leaf.entry) {
                Some(other) if rank < other.0 => *other = (rank, leaf),
                Some(_) => {}
                None => best.push((rank, leaf)),
            },
        }
    }
    let same = best.windows(2).all(|pair| pair[0].1.descriptor.digest == pair[1].1.descriptor.digest);
    if !same {
        return Err(SourceError::Several(best.iter().map(|(_, leaf)| leaf.describe()).collect()));
    }
    match best.into_iter().next() {
        Some((_, leaf)) => Ok(leaf),
        None if available.is_empty() => Err(SourceError::NoImage),
        None => {
            available.sort();
            available.dedup();
            Err(SourceError::NoPlatform { wanted: Box::new(wanted.clone()), available })
        }
    }
}

fn manifest_and_config(store: &Store, descriptor: &Descriptor) -> Result<(Manifest, ConfigFile), SourceError> {
    let name = descriptor.digest.to_string();
    let bytes = store.document(descriptor, MAX_MANIFEST)?;
    let Document::Manifest(manifest) = document_error(&name, parse_document(&bytes, descriptor.media_type.as_deref()))?
    else {
        return Err(SourceError::Document { name, source: DocumentError::Neither });
    };
    let bytes = store.document(&manifest.config, MAX_CONFIG)?;
    let config = parse_config(&bytes, manifest.layers.len())
        .map_err(|source| SourceError::Config { name: manifest.config.digest.to_string(), source })?;
    Ok((manifest, config))
}

fn load(store: &Store, leaf: &Leaf, wanted: &Platform) -> Result<Image, SourceError> {
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
    Ok(Image {
        name: leaf.name.clone(),
        platform,
        warnings: history_warning(&config).into_iter().collect(),
        config_digest: manifest.config.digest,
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

/// A history that does not tell of the layers there are. Tools repack images without rewriting it.
pub fn history_warning(config: &ConfigFile) -> Option<String> {
    let (told, layers) = (config.history_layers?, config.diff_ids.len());
    (told != layers).then(|| format!("the image has {layers} layers but its history tells of {told}"))
}
