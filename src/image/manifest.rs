//! OCI manifests and indexes, and Docker's schema 2 manifests and lists, which are the same but for their media types.
//!
//! A document is an index or an image manifest, never both, and is what its descriptor says it is: a document that
//! two readers may take for two different things is refused (CVE-2021-41190). Schema 1, encrypted layers and artifacts
//! are recognised and refused.
//!
//! OCI image-spec, manifest.md, image-index.md, descriptor.md.

use crate::escape::{escape, printable};
use crate::image::json;
use crate::image::{Digest, Platform, parse_json};
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::collections::BTreeMap;

/// Largest manifest or index, in bytes; registries have the same limit.
pub const MAX_MANIFEST: u64 = 4 << 20;
/// Most layers of an image. Docker stops at 127, the longest found in registries has a few hundred.
pub const MAX_LAYERS: usize = 1000;

/// A reference to content: what it is, how long it is, and its digest.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the content is. Absent in old indexes.
    #[serde(default)]
    pub media_type: Option<String>,
    /// Digest of the content.
    pub digest: Digest,
    /// Length of the content in bytes.
    pub size: u64,
    /// The content itself, in base64.
    #[serde(default)]
    pub data: Option<String>,
    /// Where else the content is, of layers that may not be passed on.
    #[serde(default, deserialize_with = "json::or_default")]
    pub urls: Vec<String>,
    /// What the image in an index is for.
    #[serde(default)]
    platform: Option<RawPlatform>,
    /// Names and remarks.
    #[serde(default, deserialize_with = "json::text_map")]
    pub annotations: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Deserialize)]
struct RawPlatform {
    #[serde(default, deserialize_with = "json::or_default")]
    os: String,
    #[serde(default, deserialize_with = "json::or_default")]
    architecture: String,
    #[serde(default)]
    variant: Option<String>,
}

impl Descriptor {
    /// Of content that no other document describes.
    pub fn new(media_type: Option<String>, digest: Digest, size: u64) -> Descriptor {
        let (urls, annotations) = (Vec::new(), BTreeMap::new());
        Descriptor { media_type, digest, size, data: None, urls, platform: None, annotations }
    }

    /// Of a document that nobody has described: what it says itself.
    pub fn of_document(bytes: &[u8]) -> Descriptor {
        #[derive(Deserialize)]
        struct Typed {
            #[serde(default, rename = "mediaType")]
            media_type: Option<String>,
        }
        let typed = parse_json::<Typed>(bytes).ok();
        let media_type = typed.and_then(|typed| typed.media_type);
        Descriptor::new(media_type, Digest::sha256(bytes), bytes.len() as u64)
    }

    /// The platform it names.
    pub fn platform(&self) -> Option<Platform> {
        let raw = self.platform.as_ref()?;
        let named = !raw.os.is_empty() || !raw.architecture.is_empty();
        named.then(|| Platform::new(&raw.os, &raw.architecture, raw.variant.as_deref()))
    }

    /// Whether it is a statement about another image (how it was built, what is in it) and no image.
    pub fn is_attestation(&self) -> bool {
        self.platform().is_some_and(|platform| platform.is_unknown())
            || self.annotations.get("vnd.docker.reference.type").is_some_and(|kind| kind == "attestation-manifest")
    }

    /// Whether an entry of an index may be an image or a further index. Entries of other types are to be passed over. Its
    /// `artifactType` says nothing about that: an image may have one too.
    pub fn may_be_image(&self) -> bool {
        let kind = self.media_type.as_deref().map_or(Some(DocumentKind::Manifest), DocumentKind::of);
        kind.is_some() && !self.is_attestation()
    }
}

/// What a media type says a document is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DocumentKind {
    /// A list of manifests.
    Index,
    /// The manifest of one image.
    Manifest,
    /// The obsolete manifest of 2015.
    Schema1,
}

impl DocumentKind {
    /// The kind that a media type names.
    pub fn of(media_type: &str) -> Option<DocumentKind> {
        match media_type {
            "application/vnd.oci.image.index.v1+json" | "application/vnd.docker.distribution.manifest.list.v2+json" => {
                Some(DocumentKind::Index)
            }
            "application/vnd.oci.image.manifest.v1+json" | "application/vnd.docker.distribution.manifest.v2+json" => {
                Some(DocumentKind::Manifest)
            }
            "application/vnd.docker.distribution.manifest.v1+json"
            | "application/vnd.docker.distribution.manifest.v1+prettyjws" => Some(DocumentKind::Schema1),
            _ => None,
        }
    }
}

/// A parsed document.
#[derive(Clone, Debug)]
pub enum Document {
    /// A list of manifests.
    Index(Vec<Descriptor>),
    /// The manifest of one image.
    Manifest(Manifest),
}

/// The manifest of one image.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The configuration.
    pub config: Descriptor,
    /// The layers, lowest first; at most [`MAX_LAYERS`].
    pub layers: Vec<Descriptor>,
}

/// Why a document is not used.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// Not JSON, not in UTF-8, a field that is missing, twice there or of the wrong type, or too many items.
    #[error("{}", printable(&.0.to_string()))]
    Json(serde_json::Error),
    /// More bytes than any such document has.
    #[error("{size} bytes, more than the {limit} such a document may have")]
    TooLarge {
        /// Its length.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// An index and a manifest in one, or another thing than its media type says.
    #[error("ambiguous document: {0}")]
    Ambiguous(&'static str),
    /// Docker's schema 1.
    #[error("the obsolete image manifest schema 1")]
    Schema1,
    /// Not version 2.
    #[error("unsupported schemaVersion {0}")]
    SchemaVersion(u64),
    /// Neither an index nor a manifest.
    #[error("neither an image manifest nor an index")]
    Neither,
    /// Something else that is kept like an image. What is configured like an image is one, whatever its `artifactType`.
    #[error("not a container image but an artifact of type {}", escape(.0.as_bytes()))]
    Artifact(String),
    /// An encrypted layer.
    #[error("layer {0} is encrypted")]
    Encrypted(usize),
    /// A layer of a type nobody registered.
    #[error("layer {0} has the unsupported media type {media_type}", media_type = escape(.1.as_bytes()))]
    LayerType(usize, String),
    /// More layers than [`MAX_LAYERS`].
    #[error("{0} layers, more than {MAX_LAYERS}")]
    TooManyLayers(usize),
}

impl DocumentError {
    /// Whether it is sound and something else than an image: a signature, a list of parts, a chart.
    pub fn is_no_image(&self) -> bool {
        matches!(self, DocumentError::Artifact(_) | DocumentError::LayerType(..) | DocumentError::Neither)
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            DocumentError::Schema1 => Some("pull and push the image again with a current tool, or rebuild it"),
            DocumentError::Encrypted(_) => Some("decrypt it first, for example with skopeo copy --decryption-key"),
            _ => None,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDocument {
    #[serde(default)]
    schema_version: Option<u64>,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    artifact_type: Option<String>,
    #[serde(default, deserialize_with = "json::optional_list")]
    manifests: Option<Vec<Descriptor>>,
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default, deserialize_with = "json::optional_list")]
    layers: Option<Vec<Descriptor>>,
    #[serde(default)]
    fs_layers: Option<IgnoredAny>,
}

/// Parses an index or a manifest. `expected` is the media type of the descriptor that led here, if one did.
pub fn parse(bytes: &[u8], expected: Option<&str>) -> Result<Document, DocumentError> {
    // The version first: a schema 1 manifest has other fields, and deserves better than a complaint about one.
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Version {
        #[serde(default)]
        schema_version: Option<u64>,
    }
    let version: Version = parse_json(bytes).map_err(DocumentError::Json)?;
    let expected = expected.and_then(DocumentKind::of);
    if version.schema_version == Some(1) || expected == Some(DocumentKind::Schema1) {
        return Err(DocumentError::Schema1);
    }
    let raw: RawDocument = parse_json(bytes).map_err(DocumentError::Json)?;
    let said = raw.media_type.as_deref().and_then(DocumentKind::of);
    if raw.fs_layers.is_some() || said == Some(DocumentKind::Schema1) {
        return Err(DocumentError::Schema1);
    }
    if raw.manifests.is_some() && (raw.config.is_some() || raw.layers.is_some()) {
        return Err(DocumentError::Ambiguous("it has both manifests and layers"));
    }
    let kind = match (&raw.manifests, &raw.config) {
        (Some(_), _) => DocumentKind::Index,
        (None, Some(_)) => DocumentKind::Manifest,
        (None, None) => return Err(DocumentError::Neither),
    };
    if expected.is_some_and(|expected| expected != kind) {
        return Err(DocumentError::Ambiguous("it does not match its descriptor"));
    }
    match said {
        Some(said) if said != kind => return Err(DocumentError::Ambiguous("it does not match its mediaType")),
        None if raw.media_type.is_some() => return Err(DocumentError::Artifact(raw.media_type.unwrap_or_default())),
        _ => {}
    }
    match raw.schema_version {
        Some(2) => {}
        other => return Err(DocumentError::SchemaVersion(other.unwrap_or_default())),
    }
    match (raw.manifests, raw.config) {
        (Some(manifests), _) => Ok(Document::Index(manifests)),
        (None, Some(config)) => image_manifest(raw.artifact_type, config, raw.layers.unwrap_or_default()),
        (None, None) => Err(DocumentError::Neither),
    }
}

fn image_manifest(
    artifact: Option<String>,
    config: Descriptor,
    layers: Vec<Descriptor>,
) -> Result<Document, DocumentError> {
    let config_type = config.media_type.as_deref().unwrap_or_default();
    let is_image = matches!(
        config_type,
        "application/vnd.oci.image.config.v1+json" | "application/vnd.docker.container.image.v1+json"
    );
    if !is_image {
        return Err(DocumentError::Artifact(artifact.unwrap_or_else(|| config_type.into())));
    }
    if layers.len() > MAX_LAYERS {
        return Err(DocumentError::TooManyLayers(layers.len()));
    }
    for (number, layer) in layers.iter().enumerate() {
        check_layer_type(number + 1, layer.media_type.as_deref().unwrap_or_default())?;
    }
    Ok(Document::Manifest(Manifest { config, layers }))
}

fn check_layer_type(number: usize, media_type: &str) -> Result<(), DocumentError> {
    if media_type.ends_with("+encrypted") {
        return Err(DocumentError::Encrypted(number));
    }
    let suffix = ["application/vnd.oci.image.layer.v1.tar", "application/vnd.oci.image.layer.nondistributable.v1.tar"]
        .iter()
        .find_map(|prefix| media_type.strip_prefix(prefix));
    let docker =
        ["application/vnd.docker.image.rootfs.diff.tar", "application/vnd.docker.image.rootfs.foreign.diff.tar"]
            .iter()
            .find_map(|prefix| media_type.strip_prefix(prefix));
    match (suffix, docker) {
        (Some("" | "+gzip" | "+zstd"), _) | (_, Some("" | ".gzip" | ".zstd")) => Ok(()),
        _ => Err(DocumentError::LayerType(number, media_type.into())),
    }
}
