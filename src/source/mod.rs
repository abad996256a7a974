//! Where images come from: references, docker archives, OCI layouts and archives, standard input, root file systems, and
//! what other programs keep or build.
//!
//! ```text
//!  text ─▶ Reference ─▶ open ─┬─ name in a registry ──────────────────────▶ oci ────┐
//!                             ├─ directory ───────────────────────────────▶ oci ────┤
//!                             ├─ file, pipe ─────────┬─▶ spool ─▶ archive ─┬▶ oci ───┤
//!                             ├─ daemon, store, ─────┘                     ├▶ docker ┼─▶ Image
//!                             │  builder: outside                          └▶ v1 ────┤
//!                             └─ root file system: rootfs ───────────────────────────┘
//! ```
//!
//! | form | found by |
//! |---|---|
//! | OCI layout, a directory | `oci-layout` and `index.json` in it |
//! | OCI archive, a tar of such a directory | the same two members |
//! | docker archive | member `manifest.json`, or `repositories` in those from before it |
//! | directory of skopeo's transport `dir` | `manifest.json` and `version` in it |
//! | an image in a registry | `docker://`, or a name that is no file's |
//!
//! An archive that is both (Docker from version 25 on) is read by its `manifest.json`, so that it gives the same image
//! as an older archive; only what that does not have (another platform, a digest) is looked for in the index.
//! Archives may be compressed with gzip, zstd, xz, bzip2 or lz4.
//!
//! Nothing is ever unpacked: names in an archive are only compared with each other, never used as paths of this machine.

mod archive;
mod choose;
mod docker;
mod error;
mod oci;
mod outside;
mod reference;
mod rootfs;
mod skopeo_dir;
mod spool;
mod v1;

pub use archive::{ArchiveError, MAX_MEMBERS};
pub use error::SourceError;
pub use outside::{Build, OutsideError};
pub use reference::{Choice, Input, Parse, Reference, ReferenceError, Transport};
pub use rootfs::{FolderLayer, Owner, OwnerError, RootfsError, folder_as_layer};
pub use spool::copied;

use crate::image::{Image, Platform};
use crate::recognise::{self, Kind, Names, Refusal, Wanted};
use crate::registry::{Access, Name, RegistryError, Remote};
use archive::Archive;
use oci::Store;
use skopeo_dir::SkopeoDir;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

/// Which image to take from a source that has several.
#[derive(Clone, Debug, Default)]
pub struct Select {
    /// The machine it is for; Linux on this machine's architecture when absent.
    pub platform: Option<Platform>,
    /// Whose the files of a root file system are; as they are when absent.
    pub owner: Option<Owner>,
    /// How an image is built from a Dockerfile; none is when absent.
    pub build: Option<Build>,
}

impl Select {
    fn wanted(&self) -> Platform {
        self.platform.clone().unwrap_or_else(Platform::host)
    }
}

/// Finds the image a reference names. Its configuration is read and verified; its layers are only located.
///
/// Reading standard input or a pipe spools it to an unlinked temporary file in `TMPDIR`, and so does a compressed
/// archive, decompressed. What another program gives is such a pipe, and a root file system becomes such a file.
pub fn open(reference: &Reference, select: &Select) -> Result<Image, SourceError> {
    let wanted = select.wanted();
    if let Some(opened) = outside::open(reference, select) {
        return open_file(Transport::Detect, opened?, None, None, &wanted);
    }
    let choice = reference.choice.as_ref();
    match (reference.transport, &reference.input) {
        (transport, Input::Registry(name)) => open_remote(transport, name, &wanted),
        (Transport::Rootfs, input) => rootfs::open(input, select.owner, &wanted),
        (transport, Input::Path(path)) => {
            match spool::open_path(path).map_err(|error| with_choice(error, reference))? {
                spool::Opened::File(file) => open_file(transport, file, Some(path), choice, &wanted),
                spool::Opened::Directory => open_directory(transport, path, choice, &wanted),
            }
        }
        (transport, _) => open_file(transport, spool::open_stdin()?, None, choice, &wanted),
    }
}

fn open_file(
    transport: Transport,
    file: File,
    path: Option<&Path>,
    choice: Option<&Choice>,
    wanted: &Platform,
) -> Result<Image, SourceError> {
    let archive = Arc::new(Archive::index(spool::decompressed(file, path)?)?);
    open_archive(transport, archive, path, choice, wanted)
}

/// An image in a registry: what its index leaves open is as for a layout.
fn open_remote(transport: Transport, name: &Name, wanted: &Platform) -> Result<Image, SourceError> {
    let open = || {
        let remote = Box::new(Remote::open(name, Access::settled())?);
        choose::open(&Store::Registry(remote), None, wanted)
    };
    let image = open().map_err(|error| match error {
        SourceError::Registry(source) if transport == Transport::Detect && is_nowhere(&source) => {
            SourceError::Neither { source }
        }
        error => error,
    })?;
    Ok(Image { name: image.name.or_else(|| Some(name.to_string())), ..image })
}

/// Whether there is no such image, as far as we are told.
fn is_nowhere(error: &RegistryError) -> bool {
    use RegistryError::{LoggedOut, Missing, NotFound, NotKept, Unreachable};
    matches!(error, LoggedOut { .. } | Missing { .. } | NotFound { .. } | NotKept(_) | Unreachable { .. })
}

/// What was found is no image.
fn refused(kind: Kind, path: Option<&Path>) -> SourceError {
    Refusal::new(kind, Wanted::Image, path).into()
}

/// Of a path that does not exist nobody knows where it ends: the error shows the reference as it was given.
fn with_choice(error: SourceError, reference: &Reference) -> SourceError {
    match (error, &reference.choice) {
        (SourceError::Open { path, source }, Some(Choice::Name(name)))
            if source.kind() == std::io::ErrorKind::NotFound && reference.transport == Transport::Detect =>
        {
            let mut whole = path.into_os_string();
            whole.push(":");
            whole.push(name);
            SourceError::Open { path: whole.into(), source }
        }
        (error, _) => error,
    }
}

fn open_directory(
    transport: Transport,
    path: &Path,
    choice: Option<&Choice>,
    wanted: &Platform,
) -> Result<Image, SourceError> {
    let is_skopeos = || matches!(recognise::path(path), Ok(Kind::Folder(Names::SkopeoDir)));
    let store = match transport {
        Transport::OciArchive | Transport::DockerArchive | Transport::Docker => return Err(SourceError::Directory),
        Transport::Dir => Store::Skopeo(SkopeoDir::open(path)?),
        Transport::Detect if is_skopeos() => Store::Skopeo(SkopeoDir::open(path)?),
        _ => Store::Directory(path.into()),
    };
    crate::inputs::note_folder(path);
    choose::open(&store, choice, wanted).map_err(|error| name_directory(error, path))
}

/// A directory that is no layout is called by what it is.
fn name_directory(error: SourceError, path: &Path) -> SourceError {
    match (error, recognise::path(path)) {
        // It has an index, and should have the other file too.
        (error @ SourceError::NoLayout, Ok(Kind::Folder(Names::Oci))) => error,
        (SourceError::NoLayout, Ok(kind)) => refused(kind, Some(path)),
        (error, _) => error,
    }
}

fn open_archive(
    transport: Transport,
    archive: Arc<Archive>,
    path: Option<&Path>,
    choice: Option<&Choice>,
    wanted: &Platform,
) -> Result<Image, SourceError> {
    let store = Store::Archive(Arc::clone(&archive));
    let no_image = || refused(Kind::Tar(recognise::names::of(archive.names())), path);
    let is_old = archive.has(v1::REPOSITORIES) && !archive.has("manifest.json");
    let is_docker = archive.has("manifest.json") || is_old;
    let is_oci = archive.has("index.json");
    match transport {
        Transport::DockerArchive if !is_docker && is_oci => Err(SourceError::OtherArchive {
            wanted: "a docker archive",
            actual: "an OCI archive",
            transport: "oci-archive",
        }),
        Transport::OciArchive if !is_oci && is_docker => Err(SourceError::OtherArchive {
            wanted: "an OCI archive",
            actual: "a docker archive",
            transport: "docker-archive",
        }),
        Transport::DockerArchive | Transport::OciArchive if !is_docker && !is_oci => Err(no_image()),
        Transport::DockerArchive | Transport::Detect if is_old && !is_oci => v1::open(&archive, choice, wanted),
        Transport::DockerArchive => docker::open(&archive, choice, wanted),
        Transport::OciArchive => choose::open(&store, choice, wanted),
        Transport::Oci | Transport::Dir | Transport::Docker => Err(SourceError::NotADirectory),
        Transport::Detect if is_docker && !is_old => {
            let result = docker::open(&archive, choice, wanted);
            match result {
                Err(error) if is_oci && error.is_about_choice() => {
                    choose::open(&store, choice, wanted).map_err(|_| error)
                }
                other => other,
            }
        }
        Transport::Detect if is_oci => choose::open(&store, choice, wanted),
        _ => Err(no_image()),
    }
}

/// Finds the names of several that a wanted name means: the same text, else the same after Docker's defaults
/// (`docker.io/library/`, `:latest`), else the tag alone. Returns positions in `names`.
fn match_names(wanted: &str, names: &[Vec<String>]) -> Vec<usize> {
    let wanted_tag = wanted.strip_prefix(':').unwrap_or(wanted);
    let rules: [&dyn Fn(&str) -> bool; 3] =
        [&|name| name == wanted, &|name| normalised(name) == normalised(wanted), &|name| {
            !wanted_tag.contains(['/', ':']) && tag_of(name) == Some(wanted_tag)
        }];
    let by_rule = |rule: &&dyn Fn(&str) -> bool| -> Vec<usize> {
        (0..names.len()).filter(|&i| names[i].iter().any(|name| rule(name))).collect()
    };
    rules.iter().map(by_rule).find(|found| !found.is_empty()).unwrap_or_default()
}

fn normalised(name: &str) -> String {
    let prefixes = ["docker.io/library/", "index.docker.io/library/", "docker.io/", "index.docker.io/", "library/"];
    let short = prefixes.iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name);
    match tag_of(short) {
        Some(_) => short.to_string(),
        None => format!("{short}:latest"),
    }
}

/// What follows the last `:`, unless that belongs to a registry's port.
fn tag_of(name: &str) -> Option<&str> {
    name.rsplit_once(':').map(|(_, tag)| tag).filter(|tag| !tag.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::match_names;

    #[test]
    fn names_match_exactly_or_after_defaults_or_by_tag() {
        let names = [
            vec!["app:1".to_string(), "app:latest".into()],
            vec!["docker.io/library/app:2".into()],
            vec!["localhost:5000/x".into()],
        ];
        let found = |wanted| match_names(wanted, &names);
        assert_eq!(found("app:1"), [0]);
        assert_eq!(found("app"), [0]);
        assert_eq!(found("docker.io/app"), [0]);
        assert_eq!(found("app:2"), [1]);
        assert_eq!(found(":2"), [1]);
        assert_eq!(found("2"), [1]);
        assert_eq!(found("localhost:5000/x:latest"), [2]);
        assert_eq!(found("5000/x"), [0; 0]);
        assert_eq!(found("app:3"), [0; 0]);
    }

    #[test]
    fn a_tag_that_several_have_finds_them_all() {
        let names = [vec!["a:1".to_string()], vec!["b:1".into()]];
        assert_eq!(match_names("1", &names), [0, 1]);
    }
}
