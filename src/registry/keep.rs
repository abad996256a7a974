//! Where blobs go as they arrive: the cache, or a temporary file without a name when nothing is to be kept.

use super::error::RegistryError;
use crate::cache::blobs::{Begun, BlobCache, Part};
use crate::image::Digest;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// See the module.
#[derive(Debug)]
pub enum Keep {
    /// The cache.
    Cache(Arc<BlobCache>),
    /// One file for all, each blob in a place of its own; made with the first.
    Nowhere(Mutex<Option<(Arc<File>, u64)>>),
}

/// Where one blob is, or is to be written.
#[derive(Clone, Debug)]
pub struct Place {
    /// The file.
    pub file: Arc<File>,
    /// Its first byte there.
    pub offset: u64,
}

/// A place for a blob.
pub enum Taken {
    /// It is there already.
    There(Place),
    /// It is to be written. So many bytes were there before.
    New(Place, u64, Option<Part>),
}

impl Keep {
    /// In a cache, or nowhere.
    pub fn new(cache: Option<Arc<BlobCache>>) -> Keep {
        cache.map_or_else(|| Keep::Nowhere(Mutex::default()), Keep::Cache)
    }

    /// The cache.
    pub fn cache(&self) -> Option<&BlobCache> {
        match self {
            Keep::Cache(cache) => Some(cache),
            Keep::Nowhere(_) => None,
        }
    }

    /// A place for a blob: waits for whoever else fetches it into the cache.
    pub fn take(&self, digest: &Digest, size: u64) -> Result<Taken, RegistryError> {
        let taken = match self {
            Keep::Cache(cache) => in_cache(cache, digest, size),
            Keep::Nowhere(spool) => nowhere(spool, size),
        };
        taken.map_err(|error| self.failed(error))
    }

    /// An error of its place.
    pub fn failed(&self, source: io::Error) -> RegistryError {
        RegistryError::Keep { place: self.folder(), source }
    }

    fn folder(&self) -> PathBuf {
        self.cache().map_or_else(std::env::temp_dir, |cache| cache.dir().to_owned())
    }
}

fn in_cache(cache: &BlobCache, digest: &Digest, size: u64) -> io::Result<Taken> {
    Ok(match cache.begin(digest, size)? {
        Begun::There(file) => Taken::There(Place { file: Arc::new(file), offset: 0 }),
        Begun::Part(part) => {
            let mut before = part.file.metadata()?.len();
            if before > size {
                part.file.set_len(0)?;
                before = 0;
            }
            Taken::New(Place { file: Arc::clone(&part.file), offset: 0 }, before, Some(part))
        }
    })
}

fn nowhere(spool: &Mutex<Option<(Arc<File>, u64)>>, size: u64) -> io::Result<Taken> {
    let mut spool = spool.lock().unwrap_or_else(PoisonError::into_inner);
    let (file, end) = match spool.take() {
        Some(spool) => spool,
        None => (Arc::new(tempfile::tempfile_in(std::env::temp_dir())?), 0),
    };
    *spool = Some((Arc::clone(&file), end.saturating_add(size)));
    Ok(Taken::New(Place { file, offset: end }, 0, None))
}
