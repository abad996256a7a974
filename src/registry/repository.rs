//! One repository of a registry by all ways that lead to it: its manifests, its blobs, its tags.
//!
//! What has a digest is compared with it before anybody sees it, blobs excepted, which are compared as they arrive.
//!
//! Specification: OCI distribution-spec 1.1, "Pull" and "Content Discovery".

use super::access::{Access, Told};
use super::auth::PULL;
use super::conf;
use super::endpoint::Endpoint;
use super::error::{RegistryError, UNASKED};
use super::http::{Answer, Ask, Http};
use super::name::Name;
use super::retry::persistently;
use super::site::may_lead_to;
use super::url::Url;
use crate::escape::escape;
use crate::image::{Descriptor, Digest, Hasher, MAX_MANIFEST};
use serde::Deserialize;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

/// What is taken as a manifest.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.docker.distribution.manifest.v1+prettyjws;q=0.1";
/// Largest list of tags that is read, in bytes.
const MAX_TAGS: u64 = 4 << 20;
/// Most places of one layer that are asked.
const MOST_URLS: usize = 8;
/// Most tags that are offered.
const NEAREST: usize = 3;

/// See the module.
#[derive(Debug)]
pub struct Repository {
    name: Name,
    ways: Vec<Endpoint>,
    /// Mirrors that do not answer.
    down: Vec<AtomicBool>,
    access: Access,
    announced: Once,
}

/// A manifest or index whose digest is right.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What its sender says it is.
    pub media_type: Option<String>,
    /// Its digest.
    pub digest: Digest,
}

#[derive(Deserialize)]
struct Tags {
    #[serde(default)]
    tags: Option<Vec<String>>,
}

impl Repository {
    /// Nobody is asked yet.
    ///
    /// # Errors
    /// When a configuration file cannot be used, or blocks it.
    pub fn new(name: &Name, access: Access) -> Result<Repository, RegistryError> {
        let ways: Vec<_> = conf::ways(name)?.into_iter().map(|way| Endpoint::new(way, access.verify, PULL)).collect();
        let down = ways.iter().map(|_| AtomicBool::new(false)).collect();
        Ok(Repository { name: name.clone(), ways, down, access, announced: Once::new() })
    }

    /// What it is a repository of.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The first way that leads there, from the `first`-th on; the last one's error if none does.
    fn by_any_way<T>(
        &self,
        first: usize,
        get: impl Fn(&Endpoint) -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        self.announced.call_once(|| self.access.tell(Told::Asking(&self.name)));
        let count = self.ways.len();
        for at in (first..first + count).map(|at| at % count) {
            let (way, down) = (&self.ways[at], &self.down[at]);
            let is_last = at == (first + count - 1) % count;
            if down.load(Ordering::Relaxed) && !is_last {
                continue;
            }
            match get(way) {
                Err(error) if error.is_of_the_way() && !is_last => {
                    down.store(matches!(error, RegistryError::Unreachable { .. }), Ordering::Relaxed);
                }
                result => return result,
            }
        }
        Err(RegistryError::Unwanted)
    }

    /// The manifest or index that the name means.
    pub fn root(&self) -> Result<Found, RegistryError> {
        let found = self.manifest(&self.name.decides(), self.name.digest());
        match found {
            Err(RegistryError::NotFound { name, registry, .. }) => {
                let nearest = self.nearest(name.tag().unwrap_or_default());
                Err(RegistryError::NotFound { name, registry, nearest })
            }
            found => found,
        }
    }

    fn manifest(&self, reference: &str, expected: Option<&Digest>) -> Result<Found, RegistryError> {
        self.by_any_way(0, |way| persistently(|| self.manifest_of(way, reference, expected)))
    }

    fn manifest_of(&self, way: &Endpoint, reference: &str, expected: Option<&Digest>) -> Result<Found, RegistryError> {
        let ask = Ask { accept: Some(MANIFESTS), ..Ask::default() };
        let answer = way.get(&format!("manifests/{reference}"), &ask, &self.name)?;
        let media_type = answer.header("content-type").map(|text| text.split(';').next().unwrap_or(text).trim().into());
        // What the registry itself says of its answer counts where nobody else has said anything.
        let said = answer.header("docker-content-digest").and_then(|digest| digest.parse().ok());
        let expected = expected.cloned().or(said);
        let bytes = answer.document(MAX_MANIFEST)?;
        let digest = match expected {
            Some(expected) => checked(way, expected, &bytes)?,
            None => Digest::sha256(&bytes),
        };
        Ok(Found { bytes, media_type, digest })
    }

    /// What a descriptor describes, whole.
    pub fn document(&self, descriptor: &Descriptor, is_manifest: bool) -> Result<Vec<u8>, RegistryError> {
        let digest = &descriptor.digest;
        if is_manifest {
            return Ok(self.manifest(&digest.to_string(), Some(digest))?.bytes);
        }
        let get = |way: &Endpoint| {
            let answer = way.get(&format!("blobs/{digest}"), &Ask::default(), &self.name)?;
            let bytes = answer.document(descriptor.size)?;
            checked(way, digest.clone(), &bytes).map(|_| bytes)
        };
        self.by_any_way(0, |way| persistently(|| get(way)))
    }

    /// The bytes of a blob from `from` on, as they arrive, and who sends them. Not tried again: the body may break as
    /// well. The `tries`-th time another way is gone first. What the registry does not have may be at one of `urls`.
    pub fn blob(
        &self,
        digest: &Digest,
        urls: &[String],
        from: u64,
        tries: usize,
    ) -> Result<(Answer, String), RegistryError> {
        let ask = Ask { from: (from > 0).then_some(from), ..Ask::default() };
        let get = |way: &Endpoint| Ok((way.get(&format!("blobs/{digest}"), &ask, &self.name)?, way.shown()));
        match self.by_any_way(tries, get) {
            Err(error @ RegistryError::Missing { .. }) => self.foreign(digest, urls, &ask).unwrap_or(Err(error)),
            result => result,
        }
    }

    /// A layer from the first place that has it of those where its manifest says that it is.
    fn foreign(
        &self,
        digest: &Digest,
        urls: &[String],
        ask: &Ask<'_>,
    ) -> Option<Result<(Answer, String), RegistryError>> {
        let mut last = None;
        for url in urls.iter().take(MOST_URLS) {
            last = Some(self.foreign_at(digest, url, ask));
            if matches!(last, Some(Ok(_))) {
                break;
            }
        }
        last
    }

    /// Whoever is there learns nothing of who we are.
    fn foreign_at(&self, digest: &Digest, text: &str, ask: &Ask<'_>) -> Result<(Answer, String), RegistryError> {
        let refused = |why| {
            let (registry, url) = (escape(self.name.registry().as_bytes()), text.chars().take(200).collect());
            Err(RegistryError::Foreign { registry, url, digest: digest.clone(), why })
        };
        let Some(url) = Url::parse(text) else { return refused("that is no address of HTTP") };
        let may_lead = self.ways.iter().any(|way| may_lead_to(way.authority(), &url.authority));
        match () {
            () if !self.access.foreign => return refused(UNASKED),
            () if !may_lead => return refused("that is this machine's own"),
            () => {}
        }
        let answer = Http::new(self.access.verify.unwrap_or(true)).get(&url, ask)?;
        let (status, shown) = (answer.status, escape(answer.url.authority.as_bytes()));
        match status {
            200 | 206 => Ok((answer, shown)),
            _ => Err(RegistryError::Status { registry: shown, status, said: String::new() }),
        }
    }

    /// The tags most like one that is not there, escaped. None where the registry does not tell.
    fn nearest(&self, tag: &str) -> Vec<String> {
        let get = |way: &Endpoint| way.get("tags/list", &Ask::default(), &self.name)?.document(MAX_TAGS);
        self.by_any_way(0, get).map_or_else(|_| Vec::new(), |bytes| nearest_of(&bytes, tag))
    }
}

/// Those of a list, escaped.
pub fn nearest_of(list: &[u8], tag: &str) -> Vec<String> {
    let listed = serde_json::from_slice::<Tags>(list).ok();
    let mut tags = listed.and_then(|listed| listed.tags).unwrap_or_default();
    tags.retain(|other| other.len() <= 128 && other != tag);
    tags.truncate(10_000);
    tags.sort_by_cached_key(|other| (distance(tag, other), other.clone()));
    tags.iter().take(NEAREST).map(|tag| escape(tag.as_bytes())).collect()
}

fn checked(way: &Endpoint, expected: Digest, bytes: &[u8]) -> Result<Digest, RegistryError> {
    let actual = Hasher::digest(expected.algorithm(), bytes);
    match actual == expected {
        true => Ok(expected),
        false => Err(RegistryError::Digest { registry: way.shown(), expected, actual }),
    }
}

/// Characters to insert, remove or replace until one text is the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::distance;

    #[test]
    fn tags_that_are_alike_are_near() {
        for (a, b, expected) in
            [("", "", 0), ("a", "", 1), ("latest", "lates", 1), ("1.27", "1.26", 1), ("kitten", "sitting", 3)]
        {
            assert_eq!((distance(a, b), distance(b, a)), (expected, expected), "{a} {b}");
        }
    }
}
