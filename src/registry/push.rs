//! What is put into a registry: blobs first, then the manifests that name them, the tag last.
//!
//! A blob that is there already is not sent. What breaks off is begun anew.
//!
//! Not supported: blobs in chunks, blobs of other repositories.
//!
//! Specification: OCI distribution-spec 1.1, "Push".

use super::access::{Access, Told};
use super::auth::PUSH;
use super::conf;
use super::endpoint::Endpoint;
use super::error::RegistryError;
use super::http::{self, Http};
use super::name::Name;
use super::retry::persistently;
use super::url::Url;
use crate::image::Digest;
use std::io::{self, Read};

/// Status of what is there, or somewhere else.
const THERE: [u16; 3] = [200, 302, 307];
/// Of an upload that has begun.
const BEGUN: [u16; 1] = [202];
/// Of what is there from now on. Some registries say so with another number.
const TAKEN: [u16; 3] = [201, 200, 202];

/// A blob: its digest, its bytes, and how they are read from their beginning.
pub struct Part<'a> {
    /// Its digest.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// Reads it, each time from the beginning.
    pub open: &'a dyn Fn() -> io::Result<Box<dyn Read + 'a>>,
}

/// See the module.
pub struct Push {
    name: Name,
    way: Endpoint,
}

impl Push {
    /// Nobody is asked yet.
    ///
    /// # Errors
    /// When a configuration file cannot be used, or blocks it.
    pub fn new(name: &Name, access: &Access) -> Result<Push, RegistryError> {
        access.tell(Told::Asking(name));
        // Mirrors come first, and are copies.
        let way = conf::ways(name)?.pop().ok_or(RegistryError::Unwanted)?;
        Ok(Push { name: name.clone(), way: Endpoint::new(way, access.verify, PUSH) })
    }

    /// Puts a blob there, unless it is there.
    ///
    /// # Errors
    /// When the registry refuses it, or does not answer.
    pub fn blob(&self, part: &Part<'_>) -> Result<(), RegistryError> {
        persistently(|| if self.has(&part.digest)? { Ok(()) } else { self.upload(part) })
    }

    fn has(&self, digest: &Digest) -> Result<bool, RegistryError> {
        let head = |http: &Http, url: &Url, authorization| http.head(url, authorization);
        match self.way.ask(&format!("blobs/{digest}"), &head, &self.name, &THERE) {
            Ok(_) => Ok(true),
            Err(RegistryError::Missing { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn upload(&self, part: &Part<'_>) -> Result<(), RegistryError> {
        let post = |http: &Http, url: &Url, authorization| http.begin(url, authorization);
        let begun = self.way.ask("blobs/uploads/", &post, &self.name, &BEGUN)?;
        let place = http::next(&begun.url, &begun)?.with_query(&[("digest", &part.digest.to_string())]);
        let put = |http: &Http, url: &Url, authorization| {
            let mut body = (part.open)().map_err(RegistryError::Part)?;
            http.put(url, authorization, "application/octet-stream", (&mut *body, part.size))
        };
        self.way.follow(&place, &put, &self.name, &TAKEN).map(drop)
    }

    /// Puts a manifest or an index there, under a tag or its digest.
    ///
    /// # Errors
    /// As [`Push::blob`].
    pub fn manifest(&self, reference: &str, media_type: &str, bytes: &[u8]) -> Result<(), RegistryError> {
        let put = |http: &Http, url: &Url, authorization| {
            http.put(url, authorization, media_type, (&mut { bytes }, bytes.len() as u64))
        };
        persistently(|| self.way.ask(&format!("manifests/{reference}"), &put, &self.name, &TAKEN).map(drop))
    }
}
