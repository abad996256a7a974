//! The image: digests, manifests, configuration, and its layers as verified, decompressed streams.
//!
//! ```text
//!  Image ── config, platform, diff_ids ──▶ what to start, UUIDs
//!    └── open_layer(i) ─▶ LayerStream: BufRead over the layer's tar
//!
//!  file ─▶ decoder thread ─▶ queue ─▶ the layer's reader
//!             │ compressed      │ uncompressed
//!             └────────▶ hash thread ─▶ blob digest, diff_id ─▶ finish()
//! ```
//!
//! Documents (manifests, configurations) are checked against digest and size before they are parsed. Layers are
//! checked while they are read: what was made from a layer may be believed only after [`LayerStream::finish`] said so.
//!
//! Where the bytes come from is the business of [`crate::source`].

mod ahead;
mod any_case;
mod blob;
mod config;
mod digest;
mod embedded;
mod gzip;
pub mod inflate;
mod json;
mod manifest;
mod platform;
mod pool;
mod sha256;
mod stream;
mod zstandard;

pub use ahead::LayersAhead;
pub use any_case::from_slice as parse_json;
pub use blob::{Arriving, Blob, BlobError, BlobFault, BlobReader, Format};
pub use config::{Config, ConfigError, ConfigFile, MAX_CONFIG, Step, parse as parse_config};
pub use digest::{Algorithm, Digest, DigestError, Hasher};
pub use json::{MAX_ITEMS, list, optional_list, text_map};
pub use manifest::{
    Descriptor, Document, DocumentError, DocumentKind, MAX_LAYERS, MAX_MANIFEST, Manifest, parse as parse_document,
};
pub use platform::{Platform, PlatformError};
pub use sha256::Sha256;
pub use stream::{LayerStream, MAX_TRAILING};

/// A layer as it is stored.
#[derive(Clone, Debug)]
pub struct LayerBlob {
    /// Where it is.
    pub blob: Blob,
    /// Digest of the stored bytes, when somebody states one. Docker's older archives do not.
    pub digest: Option<Digest>,
    /// Length in bytes as stored.
    pub size: u64,
    /// What its descriptor says it is. Docker archives say nothing. The content decides.
    pub media_type: Option<String>,
    /// Digest of the uncompressed tar.
    pub diff_id: Digest,
}

/// An image: everything but the contents of its layers has been read and verified.
#[derive(Clone, Debug)]
pub struct Image {
    /// The name it has where it came from: a docker tag or an OCI reference name. Not escaped.
    pub name: Option<String>,
    /// What it was made for.
    pub platform: Platform,
    /// How it wants to be run.
    pub config: Config,
    /// Digest of the configuration file. Differs between tools that repack one image; see [`Image::chain_id`].
    pub config_digest: Digest,
    /// Digest of its manifest, where it has one: docker archives and root file systems have none.
    pub manifest_digest: Option<Digest>,
    /// When it was made, in RFC 3339 as the image has it. Not escaped.
    pub created: Option<String>,
    /// Its layers, lowest first. None at all is a valid image.
    pub layers: Vec<LayerBlob>,
    /// The steps that made it, as whoever made it tells. Not escaped, and not checked against the layers.
    pub history: Vec<Step>,
    /// Oddities that do no harm, each one sentence, escaped.
    pub warnings: Vec<String>,
}

impl Image {
    /// Digests of the uncompressed layers, lowest first: the same however the image is packed.
    pub fn diff_ids(&self) -> impl ExactSizeIterator<Item = &Digest> {
        self.layers.iter().map(|layer| &layer.diff_id)
    }

    /// The digest of all diff_ids in their order (image-spec, config.md, "Layer ChainID"): what the root file system
    /// is made from. An image without layers has the digest of nothing, which the specification leaves open.
    pub fn chain_id(&self) -> Digest {
        let mut diff_ids = self.diff_ids();
        let Some(first) = diff_ids.next() else { return Digest::sha256(b"") };
        diff_ids.fold(first.clone(), |chain, diff_id| Digest::sha256(format!("{chain} {diff_id}").as_bytes()))
    }

    /// Opens layer `index`, 0 being the lowest, and begins to decompress it.
    ///
    /// Several may be open at once; each reads ahead by itself, with about 7 MiB of buffers, and with its window
    /// (at most 128 MiB) when the layer is zstd. [`LayersAhead`] has the ones that come next decoded meanwhile.
    ///
    /// # Panics
    /// If there is no such layer.
    pub fn open_layer(&self, index: usize) -> Result<LayerStream, BlobError> {
        self.layers[index].open(index, stream::AHEAD)
    }
}

impl LayerBlob {
    /// Opens it as layer `index` of its image, decompressing at most `ahead` chunks ahead of the reader.
    fn open(&self, index: usize, ahead: usize) -> Result<LayerStream, BlobError> {
        let name = match &self.digest {
            Some(digest) => format!("layer {} ({digest})", index + 1),
            None => format!("layer {} ({})", index + 1, self.blob.name()),
        };
        LayerStream::open(self, &name, ahead).map_err(|fault| BlobError { blob: name, fault })
    }
}

#[cfg(test)]
impl Image {
    /// An image of this host's platform, with nothing but layers.
    pub(crate) fn of_layers(layers: Vec<LayerBlob>) -> Image {
        Image {
            name: None,
            platform: Platform::host(),
            config: Config::default(),
            config_digest: Digest::sha256(b"{}"),
            manifest_digest: None,
            created: None,
            history: Vec::new(),
            layers,
            warnings: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(diff_ids: &[&str]) -> Image {
        let layer = |diff_id: &&str| LayerBlob {
            blob: Blob::memory("x", Vec::new()),
            digest: None,
            size: 0,
            media_type: None,
            diff_id: diff_id.parse().unwrap(),
        };
        Image::of_layers(diff_ids.iter().map(layer).collect())
    }

    #[test]
    fn chain_id_is_the_digest_of_the_chain_so_far_and_the_next_diff_id() {
        let a = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let b = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
        assert_eq!(image(&[a]).chain_id().to_string(), a);
        let two = Digest::sha256(format!("{a} {b}").as_bytes());
        assert_eq!(image(&[a, b]).chain_id(), two);
        assert_eq!(image(&[a, b, a]).chain_id(), Digest::sha256(format!("{two} {a}").as_bytes()));
        assert_eq!(image(&[]).chain_id().to_string(), a, "the digest of nothing");
    }
}
