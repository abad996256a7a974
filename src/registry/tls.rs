//! Whom we believe to be who they say: the system's authorities, and those that `certs.d` adds for one registry.
//!
//! ```text
//!  certs.d/HOST[:PORT]/*.crt            authorities for this registry, beside the system's
//!                      *.cert, *.key    who we are to it
//! ```
//!
//! The first folder that is there counts: the user's of podman, the system's of podman, the user's of docker, the
//! system's of docker.
//!
//! Specification: containers-certs.d(5); docker, "Verify repository client with certificates".

use super::places;
use crate::escape::path as shown;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};

/// Largest certificate or key that is read, in bytes.
const MAX: u64 = 4 << 20;

/// A certificate that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// It cannot be read.
    #[error("cannot read {}", shown(.path))]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// It is none.
    #[error("no usable certificate or key in PEM: {}", shown(.0))]
    Form(PathBuf),
    /// A certificate of ours without its key.
    #[error("no key next to the certificate {}", shown(.0))]
    NoKey(PathBuf),
}

/// How connections to a host are secured. Without `verify` whoever answers is believed.
pub fn config(authority: &str, verify: bool) -> Result<TlsConfig, CertificateError> {
    let folder = folders().map(|folder| folder.join(authority)).find(|folder| folder.is_dir());
    let files = folder.as_deref().map(files).transpose()?.unwrap_or_default();
    let config = TlsConfig::builder().unversioned_rustls_crypto_provider(provider());
    let config = config.disable_verification(!verify).client_cert(identity(&files)?);
    let mut roots = if verify { system().to_vec() } else { Vec::new() };
    for path in files.iter().filter(|path| has_end(path, "crt")) {
        roots.extend(certificates(path)?.iter().map(|found| Certificate::from_der(found).to_owned()));
    }
    Ok(config.root_certs(RootCerts::new_with_certs(&roots)).build())
}

fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(ring::default_provider())))
}

/// The system's authorities. What cannot be read there is not believed, and connections say so.
fn system() -> &'static [Certificate<'static>] {
    static SYSTEM: OnceLock<Vec<Certificate<'static>>> = OnceLock::new();
    SYSTEM.get_or_init(|| {
        let found = rustls_native_certs::load_native_certs().certs;
        found.iter().map(|found| Certificate::from_der(found).to_owned()).collect()
    })
}

fn folders() -> impl Iterator<Item = PathBuf> {
    let user = places::config();
    let user = |name: &str| user.as_ref().map(|dir| dir.join(name).join("certs.d"));
    let system = |name: &str| Some(Path::new("/etc").join(name).join("certs.d"));
    [user("containers"), system("containers"), user("docker"), system("docker")].into_iter().flatten()
}

/// The files of a folder, in the order of their names.
fn files(folder: &Path) -> Result<Vec<PathBuf>, CertificateError> {
    let failed = |source| CertificateError::Read { path: folder.to_owned(), source };
    let entries = fs::read_dir(folder).map_err(failed)?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort();
    Ok(files)
}

fn has_end(path: &Path, end: &str) -> bool {
    path.extension().is_some_and(|found| found == end)
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    let failed = |source| CertificateError::Read { path: path.to_owned(), source };
    let facts = fs::metadata(path).map_err(failed)?;
    match facts.is_file() && facts.len() <= MAX {
        true => fs::read(path).map_err(failed),
        false => Err(CertificateError::Form(path.to_owned())),
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    found.ok().filter(|found| !found.is_empty()).ok_or_else(|| CertificateError::Form(path.to_owned()))
}

/// Who we are to a registry: its first certificate that has a key of the same name.
fn identity(files: &[PathBuf]) -> Result<Option<ClientCert>, CertificateError> {
    let Some(path) = files.iter().find(|path| has_end(path, "cert")) else { return Ok(None) };
    let key_path = path.with_extension("key");
    if !files.contains(&key_path) {
        return Err(CertificateError::NoKey(path.clone()));
    }
    let chain = certificates(path)?;
    let wrong = || CertificateError::Form(key_path.clone());
    let pem = read(&key_path)?;
    let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| wrong())?;
    // The connection would find out with a panic.
    CertifiedKey::from_der(chain.clone(), key, &provider()).map_err(|_| wrong())?;
    let chain: Vec<_> = chain.iter().map(|found| Certificate::from_der(found).to_owned()).collect();
    Ok(Some(ClientCert::new_with_certs(&chain, PrivateKey::from_pem(&pem).map_err(|_| wrong())?)))
}
