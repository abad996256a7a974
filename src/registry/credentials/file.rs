//! One file of credentials: `config.json` of docker or `auth.json` of podman, which have one form.
//!
//! ```text
//!  { "auths": { "ghcr.io": { "auth": base64 of NAME:PASSWORD, "identitytoken": …, "registrytoken": … } },
//!    "credHelpers": { "ghcr.io": "pass" }, "credsStore": "secretservice" }
//! ```

use super::{Credential, CredentialError, helper};
use crate::registry::secret::Secret;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Largest file that is read, in bytes.
const MAX: u64 = 4 << 20;
/// A user of this name stands for a token.
const TOKEN_USER: &str = "<token>";

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Config {
    auths: Option<BTreeMap<String, Option<Entry>>>,
    cred_helpers: Option<BTreeMap<String, String>>,
    creds_store: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

/// The credential that a file has for the first of these keys that it knows. A file that is not there has none.
pub fn look(path: &Path, keys: &[String]) -> Result<Option<Credential>, CredentialError> {
    let Some(config) = read(path)? else { return Ok(None) };
    if let Some((name, server)) = config.helper(keys) {
        let got = helper::get(name, server);
        let got = got.map_err(|source| CredentialError::Helper { path: path.to_owned(), source })?;
        if let Some((user, secret)) = got {
            return Ok(Some(login(user, secret)));
        }
    }
    config.entry(path, keys)
}

/// What a file with this content holds itself.
pub fn look_in(text: &[u8], keys: &[String]) -> Result<Option<Credential>, CredentialError> {
    let path = Path::new("config.json");
    parse(path, text)?.map_or(Ok(None), |config| config.entry(path, keys))
}

fn read(path: &Path) -> Result<Option<Config>, CredentialError> {
    let failed = |source| CredentialError::Read { path: path.to_owned(), source };
    let mut text = Vec::new();
    match File::open(path) {
        Ok(file) => _ = file.take(MAX).read_to_end(&mut text).map_err(failed)?,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(failed(error)),
    };
    parse(path, &text)
}

fn parse(path: &Path, text: &[u8]) -> Result<Option<Config>, CredentialError> {
    if text.trim_ascii().is_empty() {
        return Ok(None);
    }
    let parsed = serde_json::from_slice(text);
    let form = |error: serde_json::Error| CredentialError::Form {
        path: path.to_owned(),
        line: error.line(),
        column: error.column(),
    };
    parsed.map(Some).map_err(form)
}

/// A key without what old programs put around it.
fn plain(key: &str) -> &str {
    let key = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let key = key.trim_end_matches('/');
    key.strip_suffix("/v1").or_else(|| key.strip_suffix("/v2")).unwrap_or(key)
}

fn login(user: String, secret: Secret) -> Credential {
    match user == TOKEN_USER {
        true => Credential::Identity(secret),
        false => Credential::Login { user, password: secret },
    }
}

impl Config {
    /// The first entry for these keys.
    fn entry(&self, path: &Path, keys: &[String]) -> Result<Option<Credential>, CredentialError> {
        let auths = self.auths.iter().flatten();
        for key in keys {
            let entry = auths.clone().find(|(name, _)| *name == key || plain(name) == plain(key));
            if let Some((name, Some(entry))) = entry
                && let Some(found) = entry.credential(path, name)?
            {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The helper for these keys, and what it knows the registry as.
    fn helper<'a>(&'a self, keys: &'a [String]) -> Option<(&'a str, &'a str)> {
        let own = self.cred_helpers.iter().flatten();
        let own = keys.iter().find_map(|key| own.clone().find(|(name, _)| plain(name) == plain(key)));
        let all = || Some((self.creds_store.as_deref()?, registry_of(keys)));
        own.map(|(server, name)| (name.as_str(), server.as_str())).or_else(all).filter(|(name, _)| !name.is_empty())
    }
}

/// What a store of all registries knows the registry of these keys as.
fn registry_of(keys: &[String]) -> &str {
    let docker = keys.iter().find(|key| key.starts_with("https://"));
    docker.or_else(|| keys.iter().rfind(|key| !key.contains('/'))).map_or("", String::as_str)
}

impl Entry {
    fn credential(&self, path: &Path, key: &str) -> Result<Option<Credential>, CredentialError> {
        let some = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        if let Some(token) = some(&self.identitytoken) {
            return Ok(Some(Credential::Identity(Secret::new(token))));
        }
        if let Some(token) = some(&self.registrytoken) {
            return Ok(Some(Credential::Bearer(Secret::new(token))));
        }
        if let Some(auth) = some(&self.auth) {
            let wrong = || CredentialError::Entry { path: path.to_owned(), key: key.to_owned() };
            let bytes = STANDARD.decode(auth.trim()).map_err(|_| wrong())?;
            let text = String::from_utf8(bytes).map_err(|_| wrong())?;
            let (user, password) = text.split_once(':').ok_or_else(wrong)?;
            return Ok(Some(login(user.into(), Secret::new(password.trim_end_matches('\0')))));
        }
        let (Some(user), Some(password)) = (some(&self.username), some(&self.password)) else { return Ok(None) };
        Ok(Some(login(user, Secret::new(password))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, keys: &[&str]) -> Result<Option<Credential>, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let keys: Vec<String> = keys.iter().map(|&key| key.to_owned()).collect();
        look(file.path(), &keys).map_err(|error| crate::escape::chain(&error))
    }

    fn user(text: &str, keys: &[&str]) -> String {
        match found(text, keys).unwrap() {
            None => "-".into(),
            Some(Credential::Login { user, password }) => format!("{user}/{}", password.reveal()),
            Some(Credential::Identity(token)) => format!("identity {}", token.reveal()),
            Some(Credential::Bearer(token)) => format!("bearer {}", token.reveal()),
        }
    }

    #[test]
    fn the_forms_of_docker_and_podman() {
        // me:pw, me:p:w, <token>:t
        for (text, expected) in [
            (r#"{"auths":{"ghcr.io":{"auth":"bWU6cHc="}}}"#, "me/pw"),
            (r#"{"auths":{"https://ghcr.io":{"auth":"bWU6cHc="}}}"#, "me/pw"),
            (r#"{"auths":{"https://ghcr.io/v2/":{"auth":"bWU6cHc="}}}"#, "me/pw"),
            (r#"{"auths":{"ghcr.io/x":{"auth":"bWU6cDp3"},"ghcr.io":{"auth":"bWU6cHc="}}}"#, "me/p:w"),
            (r#"{"auths":{"ghcr.io/other":{"auth":"bWU6cDp3"},"ghcr.io":{"auth":"bWU6cHc="}}}"#, "me/pw"),
            (r#"{"auths":{"ghcr.io":{"auth":"PHRva2VuPjp0"}}}"#, "identity t"),
            (r#"{"auths":{"ghcr.io":{"auth":"bWU6cHc=","identitytoken":"id"}}}"#, "identity id"),
            (r#"{"auths":{"ghcr.io":{"registrytoken":"r"}}}"#, "bearer r"),
            (r#"{"auths":{"ghcr.io":{"username":"u","password":"p"}}}"#, "u/p"),
            (r#"{"auths":{"ghcr.io":{}}}"#, "-"),
            (r#"{"auths":{"ghcr.io":null}}"#, "-"),
            (r#"{"auths":null,"credHelpers":null,"credsStore":""}"#, "-"),
            (r#"{"auths":{"ghcr.io.evil.org":{"auth":"bWU6cHc="}}}"#, "-"),
            ("{}", "-"),
            ("", "-"),
            (" \n", "-"),
        ] {
            assert_eq!(user(text, &["ghcr.io/x/y", "ghcr.io/x", "ghcr.io"]), expected, "{text}");
        }
        let docker = r#"{"auths":{"https://index.docker.io/v1/":{"auth":"bWU6cHc="}}}"#;
        assert_eq!(user(docker, &["docker.io", "index.docker.io"]), "me/pw");
    }

    #[test]
    fn what_is_wrong_is_told_without_what_stands_there() {
        for text in [
            r#"{"auths":{"ghcr.io":{"auth":"canary!"}}}"#,
            r#"{"auths":{"ghcr.io":{"auth":"Y2FuYXJ5"}}}"#,
            r#"{"auths":{"ghcr.io":{"auth":["canary"]}}}"#,
            r#"{"auths":"canary"}"#,
            "canary",
        ] {
            let error = found(text, &["ghcr.io"]).unwrap_err();
            assert!(!error.contains("canary") && !error.contains("Y2Fu"), "{error}");
            assert!(error.contains("credentials"), "{error}");
        }
        assert!(matches!(look(Path::new("/nowhere/config.json"), &[]), Ok(None)));
    }

    #[test]
    fn a_helper_of_the_registry_comes_before_that_for_all() {
        let config = |text: &str| serde_json::from_str::<Config>(text).unwrap();
        let keys = |keys: &[&str]| keys.iter().map(|&key| key.to_owned()).collect::<Vec<_>>();
        let both = config(r#"{"credHelpers":{"ghcr.io":"pass"},"credsStore":"desktop"}"#);
        assert_eq!(both.helper(&keys(&["ghcr.io/x", "ghcr.io"])), Some(("pass", "ghcr.io")));
        assert_eq!(both.helper(&keys(&["quay.io/x", "quay.io"])), Some(("desktop", "quay.io")));
        let docker = keys(&["docker.io/x", "docker.io", "index.docker.io", "https://index.docker.io/v1/"]);
        assert_eq!(both.helper(&docker), Some(("desktop", "https://index.docker.io/v1/")));
        assert_eq!(config("{}").helper(&docker), None);
    }
}
