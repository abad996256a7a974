//! Credentials as `docker login` and `podman login` left them.
//!
//! | looked at, in this order | |
//! |---|---|
//! | `$REGISTRY_AUTH_FILE` | alone, when it is set |
//! | `$XDG_RUNTIME_DIR/containers/auth.json` | podman, skopeo, buildah |
//! | `$XDG_CONFIG_HOME/containers/auth.json` | the same, kept |
//! | `$DOCKER_CONFIG/config.json`, else `~/.docker/config.json` | docker |
//!
//! The first file that knows the repository or its registry decides. In a file the most specific key does
//! (`ghcr.io/x/y`, `ghcr.io/x`, `ghcr.io`); a helper program comes before what the file holds itself.
//!
//! Specification: containers-auth.json(5); docker login, "Credential stores".

mod file;
mod helper;

use super::name::DOCKER;
use super::places;
use super::secret::Secret;
use crate::escape::{escape, path as shown};
use std::io;
use std::path::PathBuf;

pub use file::look_in;
pub use helper::HelperError;

/// The name that Docker's own programs keep their registry under.
const DOCKER_KEY: &str = "https://index.docker.io/v1/";

/// Who somebody is to a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// A name and a password.
    Login {
        /// The name.
        user: String,
        /// The password.
        password: Secret,
    },
    /// A token that buys tokens.
    Identity(Secret),
    /// A token that is shown as it is.
    Bearer(Secret),
}

/// Why credentials cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// A file cannot be read.
    #[error("cannot read the credentials in {}", shown(.path))]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// A file is not what it should be. What is wrong is not quoted: it may be a password.
    #[error("cannot read the credentials in {}: line {line}, column {column} is not as docker login writes it", shown(.path))]
    Form {
        /// Which.
        path: PathBuf,
        /// Where, from 1.
        line: usize,
        /// Where, from 1.
        column: usize,
    },
    /// An entry of a file.
    #[error("the credentials for {} in {} are not base64 of NAME:PASSWORD", escape(.key.as_bytes()), shown(.path))]
    Entry {
        /// Which file.
        path: PathBuf,
        /// Which entry.
        key: String,
    },
    /// A helper program.
    #[error("cannot get credentials from the helper that {} names", shown(.path))]
    Helper {
        /// The file that names it.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: HelperError,
    },
}

/// What was found, and where was looked.
#[derive(Debug, Default)]
pub struct Search {
    /// The credential.
    pub found: Option<Credential>,
    /// The files that were looked at, there or not.
    pub looked: Vec<PathBuf>,
}

/// Looks for credentials of `repository` in `registry`.
///
/// # Errors
/// When a file that is there, or a helper that it names, cannot be used.
pub fn search(registry: &str, repository: &str) -> Result<Search, CredentialError> {
    let keys = keys(registry, repository);
    let mut search = Search { found: None, looked: files() };
    for path in &search.looked {
        search.found = file::look(path, &keys)?;
        if search.found.is_some() {
            break;
        }
    }
    Ok(search)
}

/// Where credentials may be.
fn files() -> Vec<PathBuf> {
    if let Some(file) = places::named("REGISTRY_AUTH_FILE") {
        return vec![file];
    }
    let runtime = places::named("XDG_RUNTIME_DIR").map(|dir| dir.join("containers/auth.json"));
    let docker = places::named("DOCKER_CONFIG").or_else(|| Some(places::named("HOME")?.join(".docker")));
    let kept = places::config().map(|dir| dir.join("containers/auth.json"));
    [runtime, kept, docker.map(|dir| dir.join("config.json"))].into_iter().flatten().collect()
}

/// Names that credentials of a repository may have, the most specific first.
fn keys(registry: &str, repository: &str) -> Vec<String> {
    let whole = format!("{registry}/{repository}");
    let mut keys = vec![whole.clone()];
    keys.extend(whole.rmatch_indices('/').map(|(at, _)| whole[..at].to_owned()));
    if registry == DOCKER {
        keys.extend(["index.docker.io".to_owned(), DOCKER_KEY.to_owned(), "registry-1.docker.io".to_owned()]);
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_key_comes_first() {
        assert_eq!(keys("ghcr.io", "x/y"), ["ghcr.io/x/y", "ghcr.io/x", "ghcr.io"]);
        let docker = keys("docker.io", "library/nginx");
        assert_eq!(docker[2..5], ["docker.io", "index.docker.io", "https://index.docker.io/v1/"]);
    }
}
