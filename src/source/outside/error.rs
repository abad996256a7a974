//! Why another program does not give an image. What it said is escaped.

use crate::escape;
use std::io;
use std::path::PathBuf;

/// Why another program does not give an image.
#[derive(Debug, thiserror::Error)]
pub enum OutsideError {
    /// Nobody listens where daemons do.
    #[error("no container daemon answers: nothing listens at {}", .0.join(", "))]
    NoDaemon(
        /// Where it was looked for, escaped.
        Vec<String>,
    ),
    /// The daemon's socket cannot be used.
    #[error("cannot talk to the container daemon at {place}")]
    Daemon {
        /// Its address, escaped.
        place: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The daemon refuses.
    #[error("the container daemon at {place} says: {said}")]
    Refused {
        /// Its address, escaped.
        place: String,
        /// Its words, escaped.
        said: String,
    },
    /// The daemon has no such image.
    #[error("the container daemon at {place} has no image {name}")]
    Unknown {
        /// Its address, escaped.
        place: String,
        /// What was asked for, escaped.
        name: String,
    },
    /// `DOCKER_HOST` names what is not connected to.
    #[error("DOCKER_HOST does not name a socket on this machine: {0}")]
    Host(
        /// Its value, escaped.
        String,
    ),
    /// None of the programs that could do it is installed.
    #[error("{doing} takes one of these programs, and none is installed: {}", .programs.join(", "))]
    NoProgram {
        /// What was to be done.
        doing: &'static str,
        /// Programs that do it.
        programs: &'static [&'static str],
    },
    /// A program that is installed cannot be started.
    #[error("cannot start {program}")]
    Start {
        /// Its name.
        program: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The program failed.
    #[error("{program} failed: {said}")]
    Failed {
        /// Its name.
        program: String,
        /// What it said last, escaped.
        said: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// Nothing to build from.
    #[error("no Dockerfile in {}", escape::path(.0))]
    NoDockerfile(PathBuf),
    /// A Dockerfile for a command that builds nothing.
    #[error("only build, run and test build from a Dockerfile: dockerfile:{}", escape::path(.0))]
    NotBuilt(PathBuf),
    /// A Dockerfile without the folder around it.
    #[error("dockerfile: takes a folder, not standard input")]
    NoFolder,
}

impl OutsideError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            OutsideError::NoDaemon(_) => "start it, or name its socket: DOCKER_HOST=unix:///run/docker.sock".into(),
            OutsideError::Daemon { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "its socket is for its group: sudo docker save NAME | bootdisk build - -o DISK".into()
            }
            OutsideError::Unknown { .. } => "list its images, or pull it first: docker images; docker pull NAME".into(),
            OutsideError::Host(_) => "let docker talk to it: docker save NAME | bootdisk build - -o DISK".into(),
            OutsideError::NoProgram { programs, .. } => {
                format!("install one: apt-get install {}", package(programs[0]))
            }
            OutsideError::Failed { hint, .. } => return hint.clone(),
            OutsideError::NoDockerfile(_) => "name it: --file FILE DIR".into(),
            OutsideError::NotBuilt(folder) => {
                let folder = shlex::try_quote(&folder.to_string_lossy()).map_or("DIR".into(), |word| word.into_owned());
                format!("build it, and look at the disk: bootdisk build dockerfile:{folder} -o disk.img")
            }
            OutsideError::NoFolder => "give the folder with the Dockerfile: dockerfile:DIR".into(),
            OutsideError::Daemon { .. } | OutsideError::Refused { .. } | OutsideError::Start { .. } => return None,
        })
    }
}

/// Where Debian has a program.
fn package(program: &'static str) -> &'static str {
    match program {
        "ctr" => "containerd",
        "docker" => "docker.io",
        other => other,
    }
}
