//! A root file system that is in no image: a folder, or a tar as docker export, mmdebstrap and buildroot make it.
//!
//! ```text
//!  folder ─▶ folder  ─┬─▶ collect: one layer in one form ─▶ unlinked temporary file ─▶ Image
//!  tar    ─▶ tarball ─┘      │
//!                            ├─ extras: what a container runtime put there is left out
//!                            └─ guess: the processor its programs are for, and its init
//! ```
//!
//! One tree gives one layer byte for byte, in whatever order a folder lists it, so that two disks of it are equal. There is no
//! configuration: the command is the tree's own init, if it has one.
//!
//! Nothing leads out of a folder: no symbolic link is followed, and another file system that is mounted in it is left out.
//! A name that begins with `.wh.` would be a whiteout in a layer, so it is left out too. Whatever is left out is named.

mod collect;
mod error;
mod extras;
mod folder;
mod guess;
mod left_out;
mod tarball;
mod xattrs;

pub use error::RootfsError;

use crate::image::{Blob, Config, Digest, Image, LayerBlob, Platform};
use crate::recognise::{self, Kind, Names, Wanted};
use crate::source::reference::Input;
use crate::source::{SourceError, oci, refused, spool};
use collect::{Collected, Collector};
use std::fmt;
use std::fs::File;
use std::io::Seek;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

/// Whose the files of a root file system are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// Why a text is no owner.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an owner is two numbers, UID:GID, as in 0:0")]
pub struct OwnerError;

impl FromStr for Owner {
    type Err = OwnerError;

    fn from_str(text: &str) -> Result<Owner, OwnerError> {
        // The highest number means nobody to the kernel.
        let number = |text: &str| text.parse().ok().filter(|&id| id != u32::MAX && !text.starts_with('+'));
        let (uid, gid) = text.split_once(':').ok_or(OwnerError)?;
        number(uid).zip(number(gid)).map(|(uid, gid)| Owner { uid, gid }).ok_or(OwnerError)
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.uid, self.gid)
    }
}

/// The image that a root file system makes.
pub fn open(input: &Input, owner: Option<Owner>, wanted: &Platform) -> Result<Image, SourceError> {
    let mut collector = Collector::new(owner)?;
    match opened(input)? {
        (spool::Opened::Directory, path) => {
            let path = path.unwrap_or(Path::new("."));
            check(recognise::path(path).map_err(SourceError::Read)?, Some(path))?;
            crate::inputs::note_folder(path);
            folder::read(path, &mut collector)?;
        }
        (spool::Opened::File(file), path) => {
            let tar = spool::decompressed(file, path)?;
            check(recognise::file(&tar).map_err(SourceError::Read)?, path)?;
            tarball::read(tar, &mut collector)?;
        }
    }
    image(collector.finish()?, wanted)
}

/// A folder of this host as one layer, whatever is in it.
pub struct FolderLayer {
    /// The layer, uncompressed.
    pub file: File,
    /// What was left out, and what is odd, one sentence each, escaped.
    pub notes: Vec<String>,
}

/// Reads a folder that is to be a file system and no image.
pub fn folder_as_layer(path: &Path, owner: Option<Owner>) -> Result<FolderLayer, SourceError> {
    let mut collector = Collector::new(owner)?;
    folder::read(path, &mut collector)?;
    let Collected { mut file, notes, .. } = collector.finish()?;
    file.rewind().map_err(SourceError::Read)?;
    Ok(FolderLayer { file, notes })
}

fn opened(input: &Input) -> Result<(spool::Opened, Option<&Path>), SourceError> {
    match input {
        Input::Path(path) => Ok((spool::open_path(path)?, Some(path))),
        _ => Ok((spool::Opened::File(spool::open_stdin()?), None)),
    }
}

/// An image is none: its files would be those of the archive.
fn check(kind: Kind, path: Option<&Path>) -> Result<(), SourceError> {
    match &kind {
        Kind::Tar(Names::Nothing) | Kind::Folder(Names::Nothing) => Err(RootfsError::Nothing.into()),
        Kind::Tar(Names::Docker | Names::Oci | Names::SkopeoDir | Names::Package(_))
        | Kind::Folder(Names::Docker | Names::Oci | Names::SkopeoDir) => {
            let hint = recognise::Refusal::new(kind.clone(), Wanted::Image, path).hint();
            Err(RootfsError::Other { found: kind.words(), hint }.into())
        }
        Kind::Tar(_) | Kind::Folder(_) => Ok(()),
        _ => Err(refused(kind, path)),
    }
}

fn image(found: Collected, wanted: &Platform) -> Result<Image, SourceError> {
    let actual = found.guess.platform().unwrap_or_else(|| wanted.clone());
    if wanted.accepts(&actual).is_none() {
        return Err(SourceError::Platform { wanted: Box::new(wanted.clone()), actual: Box::new(actual) });
    }
    let cmd: Vec<String> = found.guess.init().map(str::to_owned).into_iter().collect();
    // As nobody has written a configuration, its digest is that of what one would say.
    let config_digest = Digest::sha256(format!("rootfs {actual} {cmd:?} {}", found.diff_id).as_bytes());
    let blob = Blob::part("the root file system", Arc::new(found.file), 0, found.size);
    let layer = LayerBlob { blob, digest: None, size: found.size, media_type: None, diff_id: found.diff_id };
    Ok(Image {
        name: None,
        warnings: found.notes.into_iter().chain(oci::beyond(&actual, wanted)).collect(),
        platform: actual,
        config: Config { cmd, ..Config::default() },
        config_digest,
        manifest_digest: None,
        created: None,
        layers: vec![layer],
        history: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_two_numbers() {
        for (text, owner) in [
            ("0:0", Some((0, 0))),
            ("1000:100", Some((1000, 100))),
            ("4294967294:0", Some((4_294_967_294, 0))),
            ("4294967295:0", None),
            ("root:root", None),
            ("0", None),
            ("", None),
            ("+1:0", None),
            ("-1:0", None),
            ("0:0:0", None),
        ] {
            let parsed = text.parse::<Owner>().ok();
            assert_eq!(parsed.map(|owner| (owner.uid, owner.gid)), owner, "{text}");
            assert!(parsed.is_none_or(|owner| owner.to_string() == text));
        }
    }
}
