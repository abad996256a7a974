//! Why an image cannot be had from a registry. Each error is one sentence; what a server said is escaped, cut, and
//! without what we had told it.

use super::conf_error::ConfError;
use super::credentials::CredentialError;
use super::name::{DOCKER, Name, NameError};
use super::tls::CertificateError;
use super::trouble::Trouble;
use crate::escape::{escape, path as shown};
use crate::image::Digest;
use std::io;
use std::path::PathBuf;

/// Why a layer is not fetched from elsewhere, unless somebody says so.
pub const UNASKED: &str = "nobody has asked for that";

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// No name of an image.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A configuration file.
    #[error(transparent)]
    Conf(#[from] ConfError),
    /// A file or helper with credentials.
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    /// A certificate of `certs.d`.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// No answer.
    #[error("no answer from {}: {trouble}", escape(.host.as_bytes()))]
    Unreachable {
        /// Who was asked.
        host: String,
        /// What happened.
        trouble: Trouble,
    },
    /// Somebody has to log in first.
    #[error(
        "{name} does not exist or is not public, and no user is logged in to {registry} (looked at {})",
        .looked.iter().map(|path| shown(path)).collect::<Vec<_>>().join(", ")
    )]
    LoggedOut {
        /// What was asked for.
        name: Box<Name>,
        /// Who was asked.
        registry: String,
        /// Where credentials were looked for.
        looked: Vec<PathBuf>,
    },
    /// Whoever is logged in may not have it.
    #[error("{registry} refuses {name} to the logged-in user{}", after(.said))]
    Denied {
        /// What was asked for.
        name: Box<Name>,
        /// Who was asked.
        registry: String,
        /// What it says, escaped.
        said: String,
    },
    /// There is no such image.
    #[error("no such image in {registry}: {name}{}", list(" (it has ", .nearest, ")"))]
    NotFound {
        /// What was asked for.
        name: Box<Name>,
        /// Who was asked.
        registry: String,
        /// The tags that are most like the one that was asked for, escaped.
        nearest: Vec<String>,
    },
    /// A part of the image is not there.
    #[error("{registry} does not have {digest} of {name}")]
    Missing {
        /// Of what.
        name: Box<Name>,
        /// Who was asked.
        registry: String,
        /// Which part.
        digest: Digest,
    },
    /// A layer that is somewhere else, where nobody is asked.
    #[error(
        "{registry} does not have layer {digest}, and {}, where its manifest says it is, is not asked: {why}",
        escape(.url.as_bytes())
    )]
    Foreign {
        /// Who was asked.
        registry: String,
        /// Where it is.
        url: String,
        /// Which layer.
        digest: Digest,
        /// Why it is not fetched.
        why: &'static str,
    },
    /// Another status.
    #[error("{registry} has answered with status {status}{}", after(.said))]
    Status {
        /// Who was asked.
        registry: String,
        /// The status.
        status: u16,
        /// What it says, escaped.
        said: String,
    },
    /// Too many requests.
    #[error("{registry} takes no more requests{}", .wait.filter(|wait| *wait > 0).map_or(String::new(), |wait| format!(" for {wait} s")))]
    Busy {
        /// Who was asked.
        registry: String,
        /// Seconds, as far as it says.
        wait: Option<u64>,
    },
    /// A redirect that is not followed.
    #[error("{} redirects to {}, which bootdisk does not follow: {why}", escape(.from.as_bytes()), escape(.to.as_bytes()))]
    Redirect {
        /// Who.
        from: String,
        /// Where to.
        to: String,
        /// Why not.
        why: &'static str,
    },
    /// A token server that gets nothing.
    #[error("{registry} wants tokens from {}, which bootdisk does not ask: {why}", escape(.realm.as_bytes()))]
    Realm {
        /// Who.
        registry: String,
        /// Whom it names.
        realm: String,
        /// Why not.
        why: &'static str,
    },
    /// The registry wants something else than a password or a token.
    #[error("{registry} asks for an unsupported kind of credentials: {}", escape(.scheme.as_bytes()))]
    Scheme {
        /// Who.
        registry: String,
        /// What it names.
        scheme: String,
    },
    /// The registry wants something, and does not say what.
    #[error("{0} answers only who is logged in (status 401), and does not say how")]
    NoScheme(
        /// Who.
        String,
    ),
    /// A token server has no token.
    #[error("{} has given no token: {why}", escape(.host.as_bytes()))]
    Token {
        /// Who.
        host: String,
        /// Why not.
        why: &'static str,
    },
    /// Content that is not what was asked for.
    #[error("{registry} has sent something else than was asked for: {actual} instead of {expected}")]
    Digest {
        /// Who.
        registry: String,
        /// What was asked for.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// Content of another length.
    #[error("{registry} has sent {actual} bytes of {digest} instead of {expected}")]
    Size {
        /// Who.
        registry: String,
        /// Of what.
        digest: Digest,
        /// What its manifest says.
        expected: u64,
        /// What came, or was promised.
        actual: u64,
    },
    /// A document that is too long.
    #[error("{registry} has sent a document of more than {limit} bytes")]
    TooLarge {
        /// Who.
        registry: String,
        /// The limit.
        limit: u64,
    },
    /// `--pull never` and nothing kept.
    #[error("{0} is not kept here, and with --pull never no registry is asked")]
    NotKept(Box<Name>),
    /// There is no place for what arrives.
    #[error("cannot keep the download in {}", shown(.place))]
    Keep {
        /// Where.
        place: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// What is to be put there cannot be read.
    #[error("cannot read what is sent")]
    Part(#[source] io::Error),
    /// Nobody wants it any more.
    #[error("it is no longer needed")]
    Unwanted,
}

fn after(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(": {said}") }
}

fn list(before: &str, items: &[String], behind: &str) -> String {
    if items.is_empty() { String::new() } else { format!("{before}{}{behind}", items.join(", ")) }
}

impl RegistryError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            RegistryError::Unreachable { host, trouble } => trouble.hint(host),
            RegistryError::LoggedOut { registry, .. } | RegistryError::Denied { registry, .. } => {
                let registry = if registry == DOCKER { "" } else { registry };
                Some(format!("docker login {registry}").trim_end().into())
            }
            RegistryError::NotFound { nearest, name, .. } => {
                let (registry, repository) = (name.registry(), name.repository());
                Some(match nearest.first() {
                    Some(tag) => format!("did you mean docker://{registry}/{repository}:{tag}"),
                    None => format!("look up the repository's name: {registry} has no {repository} that it shows"),
                })
            }
            RegistryError::Busy { .. } => Some("wait, or log in: many registries allow more then".into()),
            RegistryError::Realm { .. } | RegistryError::Scheme { .. } => {
                Some("copy it with another tool: skopeo copy docker://NAME oci:DIRECTORY:TAG".into())
            }
            RegistryError::Foreign { why: UNASKED, .. } => Some("fetch it from there: --allow-foreign-layers".into()),
            RegistryError::NotKept(name) => Some(format!("ask the registry: --pull missing docker://{name}")),
            RegistryError::Conf(error) => error.hint(),
            RegistryError::Credentials(CredentialError::Helper { source, .. }) => source.hint(),
            RegistryError::Keep { .. } => {
                Some("make room there, or set XDG_CACHE_HOME to a folder with more room".into())
            }
            RegistryError::Name(NameError::Capitals(text)) => Some(format!("docker://{}", text.to_lowercase())),
            RegistryError::Name(_) => {
                Some("docker://[REGISTRY/]REPOSITORY[:TAG][@DIGEST], as docker pull takes it".into())
            }
            _ => None,
        }
    }

    /// Whether another try may succeed.
    pub fn may_pass(&self) -> bool {
        match self {
            RegistryError::Unreachable { trouble, .. } => trouble.may_pass(),
            RegistryError::Status { status, .. } => matches!(status, 408 | 500 | 502 | 503 | 504),
            // Somebody on the way may have changed it.
            RegistryError::Busy { .. } | RegistryError::Digest { .. } => true,
            _ => false,
        }
    }

    /// Whether it is about the way to the registry, so that another way may lead there.
    pub fn is_of_the_way(&self) -> bool {
        matches!(
            self,
            RegistryError::Unreachable { .. }
                | RegistryError::Status { .. }
                | RegistryError::Busy { .. }
                | RegistryError::NotFound { .. }
                | RegistryError::Missing { .. }
                | RegistryError::LoggedOut { .. }
                | RegistryError::Denied { .. }
                | RegistryError::Redirect { .. }
                | RegistryError::Realm { .. }
                | RegistryError::Scheme { .. }
                | RegistryError::NoScheme(_)
                | RegistryError::Token { .. }
                | RegistryError::Digest { .. }
                | RegistryError::Size { .. }
                | RegistryError::TooLarge { .. }
        )
    }
}
