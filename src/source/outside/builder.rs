//! An image from a Dockerfile: built by whoever is there, in its own store, and taken from that.
//!
//! ```text
//!  docker [buildx] build --iidfile FILE DIR ─▶ docker save ID
//!  buildah build         --iidfile FILE DIR ─▶ buildah push ID docker-archive:/dev/stdout
//!  podman build          --iidfile FILE DIR ─▶ podman save ID
//! ```
//!
//! The image stays there without a name, as after a build of the program's own: the next build finds its layers. What the
//! program says meanwhile goes to standard error.

use super::program::{self, installed};
use super::{OutsideError, SourceError};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Programs that build, the first that can goes.
const BUILDERS: [&str; 3] = ["docker", "buildah", "podman"];
/// Names of Dockerfiles, as buildah and podman look for them.
const NAMES: [&str; 2] = ["Dockerfile", "Containerfile"];

/// How an image is built.
#[derive(Clone, Debug, Default)]
pub struct Build {
    /// The Dockerfile; the folder's own when absent.
    pub file: Option<PathBuf>,
    /// Nothing is said but what is wrong.
    pub quiet: bool,
}

/// The archive of the image that the folder makes.
pub fn archive(folder: &Path, build: &Build, platform: Option<&str>) -> Result<File, SourceError> {
    let file = dockerfile(folder, build)?;
    let builder =
        builder().ok_or(OutsideError::NoProgram { doing: "building from a Dockerfile", programs: &BUILDERS })?;
    let dir = tempfile::tempdir().map_err(SourceError::Read)?;
    let id_file = dir.path().join("id");
    let mut command = Command::new(builder);
    command.args(words(builder)).arg("--iidfile").arg(&id_file).arg("--file").arg(file);
    if let Some(platform) = platform {
        command.args(["--platform", platform]);
    }
    command.arg(as_operand(folder));
    let hint = (!build.quiet).then(|| "its messages are above".to_owned());
    program::run(command, build.quiet).map_err(|failure| failure.with_hint(hint))?;
    let id = std::fs::read_to_string(&id_file).map_err(SourceError::Read)?;
    program::archive(saving(builder, id.trim())).map_err(|failure| failure.with_hint(None))
}

/// The Dockerfile, which must be there before anything is started.
fn dockerfile(folder: &Path, build: &Build) -> Result<PathBuf, SourceError> {
    let failed = |source| SourceError::Open { path: folder.to_owned(), source };
    if !folder.metadata().map_err(failed)?.is_dir() {
        return Err(failed(std::io::ErrorKind::NotADirectory.into()));
    }
    if let Some(file) = &build.file {
        file.metadata().map_err(|source| SourceError::Open { path: file.clone(), source })?;
        return Ok(file.clone());
    }
    let found = NAMES.iter().map(|name| folder.join(name)).find(|file| file.is_file());
    found.ok_or_else(|| OutsideError::NoDockerfile(folder.to_owned()).into())
}

/// Docker counts as there if its daemon is.
fn builder() -> Option<&'static str> {
    let usable = |program: &&&str| installed(&[**program]).is_some() && (**program != "docker" || docker(&["version"]));
    BUILDERS.iter().find(usable).copied()
}

/// Whether docker does this.
fn docker(words: &[&str]) -> bool {
    let command = &mut Command::new("docker");
    command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// What has a program build.
fn words(builder: &str) -> &'static [&'static str] {
    match builder {
        // Without it a builder in a container of its own keeps what it has built.
        "docker" if docker(&["buildx", "version"]) => &["buildx", "build", "--load"],
        "buildah" => &["build", "--layers"],
        _ => &["build"],
    }
}

/// What has a program write an image of its store to its standard output.
fn saving(builder: &str, id: &str) -> Command {
    let mut command = Command::new(builder);
    match builder {
        "buildah" => command.args(["push", "--quiet", id, "docker-archive:/dev/stdout"]),
        "podman" => command.args(["save", "--quiet", id]),
        _ => command.args(["save", id]),
    };
    command
}

/// A path that no program takes for an option.
fn as_operand(path: &Path) -> OsString {
    match path.as_os_str().as_encoded_bytes().first() {
        Some(b'-') => Path::new(".").join(path).into_os_string(),
        _ => OsStr::to_owned(path.as_os_str()),
    }
}
