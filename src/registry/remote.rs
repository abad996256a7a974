//! An image in a registry: what its name means, its documents, its layers on their way.

use super::access::{Access, Policy, Told};
use super::error::RegistryError;
use super::fetch::Fetch;
use super::keep::Keep;
use super::name::Name;
use super::repository::Repository;
use crate::cache::blobs::Tag;
use crate::image::{Blob, Descriptor, DocumentKind};
use std::sync::Arc;

/// See the module.
pub struct Remote {
    repository: Arc<Repository>,
    keep: Arc<Keep>,
    fetch: Arc<Fetch>,
    access: Access,
    root: Descriptor,
    /// Its content, where it was asked for.
    bytes: Option<Vec<u8>>,
}

impl Remote {
    /// Finds out what a name means, from what is kept here or from its registry.
    ///
    /// # Errors
    /// When neither says.
    pub fn open(name: &Name, access: Access) -> Result<Remote, RegistryError> {
        let repository = Arc::new(Repository::new(name, access.clone())?);
        let keep = Arc::new(Keep::new(access.open_cache()));
        let (root, bytes) = root(&repository, &keep, &access)?;
        let fetch = Fetch::new(Arc::clone(&repository), Arc::clone(&keep), access.clone());
        Ok(Remote { repository, keep, fetch, access, root, bytes })
    }

    /// Its manifest or index.
    pub fn root(&self) -> &Descriptor {
        &self.root
    }

    /// The content of a document, whose digest is right.
    ///
    /// # Errors
    /// When it is not kept here and the registry does not have it.
    pub fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, RegistryError> {
        if let Some(bytes) = self.bytes.as_ref().filter(|_| descriptor.digest == self.root.digest) {
            return Ok(bytes.clone());
        }
        let cache = self.keep.cache();
        if let Some(bytes) = cache.and_then(|cache| cache.read(&descriptor.digest, descriptor.size)) {
            return Ok(bytes);
        }
        if self.access.policy == Policy::Never {
            return Err(RegistryError::NotKept(Box::new(self.repository.name().clone())));
        }
        let is_manifest = descriptor.media_type.as_deref().is_none_or(|kind| DocumentKind::of(kind).is_some());
        let bytes = self.repository.document(descriptor, is_manifest)?;
        // Without it the next one asks again.
        cache.iter().for_each(|cache| _ = cache.write(&descriptor.digest, &bytes));
        Ok(bytes)
    }

    /// A layer. It is not fetched before somebody reads one.
    pub fn layer(&self, descriptor: &Descriptor) -> Blob {
        self.fetch.layer(descriptor)
    }
}

/// A document that a name means, and its content if it was asked for.
type Root = (Descriptor, Option<Vec<u8>>);

fn root(repository: &Repository, keep: &Keep, access: &Access) -> Result<Root, RegistryError> {
    let name = repository.name();
    let ask = || asked(repository, keep).inspect(|(root, _)| access.tell(Told::Means(name, &root.digest)));
    match (access.policy, kept(keep, name)) {
        (Policy::Missing | Policy::Never, Some(kept)) => Ok((kept, None)),
        (Policy::Newer, Some(kept)) if name.digest().is_some() => Ok((kept, None)),
        (Policy::Never, None) => Err(RegistryError::NotKept(Box::new(name.clone()))),
        (Policy::Newer, Some(kept)) => match ask() {
            Err(error @ RegistryError::Unreachable { .. }) => {
                let text = format!("{error}; using the copy in the cache: {}", kept.digest);
                access.tell(Told::Warning(&text));
                Ok((kept, None))
            }
            asked => asked,
        },
        (Policy::Always | Policy::Missing | Policy::Newer, _) => ask(),
    }
}

/// What the name meant, if that is still here.
fn kept(keep: &Keep, name: &Name) -> Option<Descriptor> {
    let cache = keep.cache()?;
    let tag = cache.tag(&name.to_string())?;
    let digest = tag.digest.parse().ok()?;
    let is_right = name.digest().is_none_or(|wanted| *wanted == digest);
    let there = is_right && cache.get(&digest, tag.size).is_some();
    there.then(|| Descriptor::new(tag.media_type, digest, tag.size))
}

fn asked(repository: &Repository, keep: &Keep) -> Result<Root, RegistryError> {
    let found = repository.root()?;
    let size = found.bytes.len() as u64;
    if let Some(cache) = keep.cache() {
        let (name, digest) = (repository.name().to_string(), found.digest.to_string());
        let tag = Tag { name, digest, media_type: found.media_type.clone(), size };
        // Without it the next one asks again.
        _ = cache.write(&found.digest, &found.bytes).and_then(|()| cache.set_tag(&tag));
    }
    // A type that nobody knows says nothing; the content does.
    let media_type = found.media_type.filter(|kind| DocumentKind::of(kind).is_some());
    Ok((Descriptor::new(media_type, found.digest, size), Some(found.bytes)))
}
