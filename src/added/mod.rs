//! The layer that a build puts on top of an image: files of this host, keys and passwords for logging in.
//!
//! ```text
//!  image ─ layers ─▶ base: its names, and a few texts ─┐
//!  options (parse) ────────────────────────────────────┼─▶ members ─▶ one more layer of the image, and its record
//!  files of this host (copies) ────────────────────────┘
//! ```
//!
//! It is a layer like the image's own: applied, compared and part of the disk's identity as they are. What the image has
//! decides where things go, and not what another option puts there. One set of options gives one layer,
//! byte for byte: no owner, time or umask of this host comes in.
//!
//! What files, keys and hashes say is in the layer and nowhere else: no message and no record has it.

mod base;
mod copies;
mod error;
mod hidden;
mod keys;
mod members;
mod parse;
mod passwords;
mod record;
mod users;

#[cfg(test)]
mod tests;

pub use error::AddError;
pub use hidden::Cover;
pub use parse::{CopyIn, Password, SshKey};
pub use record::{Item, Record, What, added_to, encode};

use crate::image::{Blob, Image, LayerBlob};
use base::Base;
use members::Members;
use std::sync::Arc;

/// What is to be added.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Files and folders.
    pub copies: Vec<CopyIn>,
    /// Keys to log in with.
    pub keys: Vec<SshKey>,
    /// Passwords to log in with.
    pub passwords: Vec<Password>,
}

impl Wanted {
    /// Whether it is nothing.
    pub fn is_empty(&self) -> bool {
        self.copies.is_empty() && self.keys.is_empty() && self.passwords.is_empty()
    }
}

/// A layer for the top of an image.
pub struct Added {
    /// The layer.
    pub layer: LayerBlob,
    /// What is in it.
    pub record: Record,
    /// What its maker should know, one sentence each, printable.
    pub warnings: Vec<String>,
}

/// Makes the layer. Everything in it has the time `made_at`; `covers` are the places that a boot hides.
///
/// # Errors
/// When something cannot be read, or has no place in the image.
pub fn layer(image: &Image, wanted: &Wanted, made_at: i64, covers: &[Cover]) -> Result<Added, AddError> {
    let base = Base::read(image)?;
    let mut members = Members::new(made_at);
    let mut warnings = Vec::new();
    let mut items = Vec::new();
    for copy in &wanted.copies {
        items.push(copies::add(copy, &base, &mut members, &mut warnings)?);
    }
    // Over what was copied: a user may be of a copied /etc/passwd.
    items.extend(keys::add(&wanted.keys, &base, &mut members, &mut warnings)?);
    items.extend(passwords::add(&wanted.passwords, &base, &mut members)?);
    warnings.extend(hidden::warnings(members.paths(), covers));
    let (names, more) = members.topmost(record::MAX_NAMES);
    let (file, size, diff_id) = members.write()?;
    let blob = Blob::part("the added layer", Arc::new(file), 0, size);
    let record = Record { layer: diff_id.to_string(), items, names, more };
    let layer = LayerBlob { blob, digest: None, size, media_type: None, diff_id };
    Ok(Added { layer, record, warnings })
}
