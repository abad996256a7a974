//! A directory as `skopeo copy … dir:PATH` makes it: blobs under their digests alone.
//!
//! ```text
//!  version                  "Directory Transport Version: 1.1\n"
//!  manifest.json            a manifest, or an index with --all
//!  <hex>.manifest.json      manifests of that index
//!  <hex>                    configuration and layers; <hex>.tar in version 1.0
//!  signature-1 …            passed over
//! ```
//!
//! Nobody states the digest of `manifest.json`: it is what its content has. Everything else has one in a document.
//!
//! containers-transports(5), "dir:path"; containers/image, directory/.

use crate::escape::escape;
use crate::image::{Algorithm, Blob, BlobError, BlobFault, Descriptor, Digest, DocumentError, MAX_MANIFEST};
use crate::source::SourceError;
use std::io;
use std::path::{Path, PathBuf};

const MANIFEST: &str = "manifest.json";
const VERSION: &str = "version";

/// A directory of which the first document was read.
pub struct SkopeoDir {
    path: PathBuf,
    top: Descriptor,
}

impl SkopeoDir {
    /// Opens the directory at `path`.
    pub fn open(path: &Path) -> Result<SkopeoDir, SourceError> {
        if !path.join(MANIFEST).exists() || !path.join(VERSION).exists() {
            return Err(SourceError::NoSkopeoDir);
        }
        let manifest = Blob::file(MANIFEST, path.join(MANIFEST))?;
        if manifest.size() > MAX_MANIFEST {
            let source = DocumentError::TooLarge { size: manifest.size(), limit: MAX_MANIFEST };
            return Err(SourceError::Document { name: MANIFEST.into(), source });
        }
        let bytes = manifest.read().map_err(|fault| manifest.error(fault))?;
        Ok(SkopeoDir { path: path.to_owned(), top: Descriptor::of_document(&bytes) })
    }

    /// What `manifest.json` is.
    pub fn top(&self) -> &Descriptor {
        &self.top
    }

    /// The file with the content of this digest, which may be missing.
    pub fn name_of(&self, digest: &Digest) -> String {
        if *digest == self.top.digest {
            return MANIFEST.into();
        }
        let stem = match digest.algorithm() {
            Algorithm::Sha256 => digest.hex().to_owned(),
            other => format!("{}-{}", other.name(), digest.hex()),
        };
        let names = [format!("{stem}.manifest.json"), format!("{stem}.tar")];
        names.into_iter().find(|name| self.path.join(name).exists()).unwrap_or(stem)
    }

    /// The file of this name.
    pub fn file(&self, name: &str) -> Result<Blob, BlobError> {
        Blob::file(&escape(name.as_bytes()), self.path.join(name)).map_err(|error| match error.fault {
            BlobFault::Io(cause) if cause.kind() == io::ErrorKind::NotFound => {
                BlobError { blob: error.blob, fault: BlobFault::Missing }
            }
            fault => BlobError { blob: error.blob, fault },
        })
    }
}
