//! Registries: an image by its name.
//!
//! ```text
//!  name ─▶ ways (registries.conf) ─▶ endpoint ─▶ manifest ─▶ Descriptor ─▶ crate::source
//!              credentials ─▶ auth ─┘  http         layers ─▶ fetch ─▶ cache, and readers meanwhile
//! ```
//!
//! What is put there goes the other way: `push`, by the registry's own way and by no mirror.
//!
//! Not supported: manifests of schema 1, signatures of images, proxies for SOCKS.
//!
//! Specifications: OCI distribution-spec 1.1; distribution, "Token Authentication Specification".

mod access;
mod auth;
mod challenge;
mod conf;
mod conf_error;
mod credentials;
mod daemon_conf;
mod endpoint;
mod error;
mod fetch;
mod http;
mod keep;
mod lanes;
mod name;
mod places;
mod proxy;
mod push;
#[doc(hidden)]
pub mod readers;
mod remote;
mod repository;
mod retry;
mod secret;
mod site;
mod tls;
mod trouble;
mod url;

pub use access::{Access, Open, Policy, Teller, Told};
pub use error::RegistryError;
pub use fetch::Failed;
pub use http::{Ask, Http};
pub use name::{Name, NameError, looks_like_a_name};
pub use push::{Part, Push};
pub use remote::Remote;
pub use url::Url;
