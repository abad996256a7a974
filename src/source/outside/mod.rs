//! Images that another program keeps or makes, which is asked for them: daemons, stores, builders.
//!
//! ```text
//!  docker-daemon:       daemon     one GET on its socket ────────────┐
//!  containers-storage:  stores     podman save, or skopeo, buildah ──┼─▶ an archive as a stream ─▶ spool
//!  containerd:          stores     ctr images export ────────────────┤
//!  dockerfile:          builder    docker, buildah, podman build ────┘
//! ```
//!
//! Their files are not opened here: who owns them knows their form, and who may read them. What comes is an archive like
//! any other and is verified like any other. Only `dockerfile:` has anything executed, which is what a Dockerfile says.

mod builder;
mod daemon;
mod error;
mod program;
mod stores;

pub use builder::Build;
pub use error::OutsideError;

use crate::image::Platform;
use crate::source::reference::{Input, Reference, Transport};
use crate::source::{Select, SourceError};
use std::fs::File;

/// The archive of an image that another program has; `None` for what is none of theirs.
pub fn open(reference: &Reference, select: &Select) -> Option<Result<File, SourceError>> {
    let platform = select.platform.as_ref().map(Platform::to_string);
    Some(match (reference.transport, &reference.input) {
        (Transport::DockerDaemon, Input::Name(name)) => daemon::archive(name),
        (Transport::ContainersStorage, Input::Name(name)) => stores::containers_storage(name),
        (Transport::Containerd, Input::Name(name)) => stores::containerd(name, platform.as_deref()),
        (Transport::Dockerfile, Input::Path(folder)) => match &select.build {
            Some(build) => builder::archive(folder, build, platform.as_deref()),
            None => Err(OutsideError::NotBuilt(folder.clone()).into()),
        },
        (Transport::Dockerfile, _) => Err(OutsideError::NoFolder.into()),
        _ => return None,
    })
}
