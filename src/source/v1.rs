//! Docker archives from before `manifest.json`, which Docker 1.10 brought: `repositories` and the files of image version 1.
//!
//! ```text
//!  repositories      {"app": {"1": "<id>"}}
//!  <id>/json         the image's configuration, and the id of its parent
//!  <id>/layer.tar    what it adds to that
//! ```
//!
//! Ids are random and nothing states a digest, so nothing can be verified: the diff_ids are computed here. An archive of
//! unnamed images has no `repositories`; it is refused.
//!
//! Docker image spec v1.0, "Combined Image JSON + Filesystem Changeset Format".

use crate::escape::escape;
use crate::formats::unpack;
use crate::image::{
    Algorithm, Blob, BlobFault, BlobReader, Config, Digest, DocumentError, Hasher, Image, LayerBlob, MAX_CONFIG,
    MAX_LAYERS, Platform, parse_json,
};
use crate::source::archive::Archive;
use crate::source::{Choice, SourceError, match_names, oci};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::{self, Read};

/// The file that such an archive is known by.
pub const REPOSITORIES: &str = "repositories";

/// Tags and ids by the names of repositories.
type Repositories = BTreeMap<String, BTreeMap<String, String>>;

#[derive(Deserialize)]
struct Json {
    #[serde(default)]
    parent: Option<String>,
    #[serde(default)]
    os: Option<String>,
    #[serde(default)]
    architecture: Option<String>,
    #[serde(default)]
    created: Option<String>,
    #[serde(default)]
    config: Option<Config>,
}

/// The image of such an archive that fits.
pub fn open(archive: &Archive, choice: Option<&Choice>, wanted: &Platform) -> Result<Image, SourceError> {
    let repositories: Repositories = document(archive, REPOSITORIES)?.1;
    let mut images: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, tags) in &repositories {
        tags.iter().for_each(|(tag, id)| images.entry(id).or_default().push(format!("{name}:{tag}")));
    }
    let (ids, names): (Vec<&str>, Vec<Vec<String>>) = images.into_iter().unzip();
    let shown = |at: usize| escape(names[at].join(" ").as_bytes());
    let found = match choice {
        None => (0..ids.len()).collect(),
        Some(Choice::Index(at)) => (0..ids.len()).filter(|found| found == at).collect(),
        Some(Choice::Name(name)) => match_names(name, &names),
        // What a digest of such an image would be of nobody has said.
        Some(Choice::Digest(_)) => Vec::new(),
    };
    let all = |places: &mut dyn Iterator<Item = usize>| places.map(shown).collect();
    match (found.as_slice(), choice) {
        ([only], _) => image(archive, ids[*only], names[*only].first().cloned(), wanted),
        ([], Some(choice)) => {
            let wanted = escape(choice.to_string().as_bytes());
            Err(SourceError::NotFound { wanted, available: all(&mut (0..ids.len())) })
        }
        ([], None) => Err(SourceError::NoImage),
        (several, _) => Err(SourceError::Several(all(&mut several.iter().copied()))),
    }
}

fn image(archive: &Archive, id: &str, name: Option<String>, wanted: &Platform) -> Result<Image, SourceError> {
    let (config_digest, top) = document::<Json>(archive, &format!("{id}/json"))?;
    let mut layers = vec![layer(archive, id)?];
    let mut parent = top.parent.clone();
    while let Some(id) = parent.filter(|id| !id.is_empty()) {
        if layers.len() == MAX_LAYERS {
            return Err(SourceError::Ancestors(name.map_or_else(String::new, |name| escape(name.as_bytes()))));
        }
        layers.push(layer(archive, &id)?);
        parent = document::<Json>(archive, &format!("{id}/json"))?.1.parent;
    }
    layers.reverse();
    let platform = platform(&top, wanted)?;
    let warnings = vec!["the archive is from before digests: its content cannot be verified".into()];
    Ok(Image {
        name,
        warnings: warnings.into_iter().chain(oci::beyond(&platform, wanted)).collect(),
        platform,
        config: top.config.unwrap_or_default(),
        config_digest,
        manifest_digest: None,
        created: top.created,
        layers,
        history: Vec::new(),
    })
}

/// What is not said is as wanted.
fn platform(json: &Json, wanted: &Platform) -> Result<Platform, SourceError> {
    let or =
        |said: &Option<String>, wanted: &str| said.clone().filter(|said| !said.is_empty()).unwrap_or(wanted.into());
    let actual = Platform::new(&or(&json.os, &wanted.os), &or(&json.architecture, &wanted.architecture), None);
    match actual.os == "linux" && wanted.accepts(&actual).is_some() {
        true => Ok(actual),
        false => Err(SourceError::Platform { wanted: Box::new(wanted.clone()), actual: Box::new(actual) }),
    }
}

/// A document and its digest.
fn document<T: for<'de> Deserialize<'de>>(archive: &Archive, name: &str) -> Result<(Digest, T), SourceError> {
    let failed = |source| SourceError::Document { name: escape(name.as_bytes()), source };
    let blob = archive.regular(name.as_bytes())?;
    if blob.size() > MAX_CONFIG {
        return Err(failed(DocumentError::TooLarge { size: blob.size(), limit: MAX_CONFIG }));
    }
    let bytes = blob.read().map_err(|fault| blob.error(fault))?;
    let parsed = parse_json(&bytes).map_err(|error| failed(DocumentError::Json(error)))?;
    Ok((Digest::sha256(&bytes), parsed))
}

fn layer(archive: &Archive, id: &str) -> Result<LayerBlob, SourceError> {
    let blob = archive.regular(format!("{id}/layer.tar").as_bytes())?;
    let diff_id = diff_id(&blob).map_err(|fault| blob.error(fault))?;
    Ok(LayerBlob { size: blob.size(), blob, digest: None, media_type: None, diff_id })
}

fn diff_id(blob: &Blob) -> Result<Digest, BlobFault> {
    let mut reader = unpack::reader(Bytes(blob.open()?)).map_err(BlobFault::Io)?;
    let (mut hasher, mut buffer) = (Hasher::new(Algorithm::Sha256), vec![0; 256 << 10]);
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finish()),
            Ok(length) => hasher.update(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(BlobFault::Io(error)),
        }
    }
}

struct Bytes(BlobReader);

impl Read for Bytes {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|fault| match fault {
            BlobFault::Io(error) => error,
            other => io::Error::other(other),
        })
    }
}
