//! Who we are to one repository: the header `Authorization`, made when the registry first asks for it.
//!
//! ```text
//!  registry ── 401, WWW-Authenticate: Bearer realm, service ──▶ us
//!  us ── GET realm?service&scope, the name and password if there are any ──▶ token server ── token ──▶ us
//!  us ── POST realm, an identity token ──▶ token server ── token ──▶ us
//!  registry ── 401, Basic ──▶ us: name and password as they are
//! ```
//!
//! A token server gets nothing where it is not of the registry's owner, or has no TLS where the registry has.
//!
//! Specification: distribution, "Token Authentication Specification" and "OAuth2 Token Authentication".

use super::challenge::Challenge;
use super::credentials::{self, Credential, Search};
use super::error::RegistryError;
use super::http::{Answer, Ask, Http};
use super::secret::{self, Secret};
use super::site::{belong_together, is_loopback, may_lead_to};
use super::url::Url;
use crate::percent::encoded;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Largest answer of a token server, in bytes.
const MAX: u64 = 1 << 20;
/// Who asks.
const CLIENT: &str = "bootdisk";

/// See the module.
#[derive(Debug)]
pub struct Auth {
    registry: String,
    repository: String,
    /// What is to be done there, as a token's scope has it.
    actions: &'static str,
    state: Mutex<State>,
}

/// Actions of a scope.
pub const PULL: &str = "pull";
pub const PUSH: &str = "pull,push";

#[derive(Debug, Default)]
struct State {
    authorization: Option<Secret>,
    search: Option<Search>,
    /// All that was sent to anybody.
    told: Vec<Secret>,
}

#[derive(Deserialize)]
struct Token {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
}

impl Auth {
    /// Nobody, until the registry asks.
    pub fn new(registry: &str, repository: &str, actions: &'static str) -> Auth {
        Auth { registry: registry.into(), repository: repository.into(), actions, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is shown to the registry.
    pub fn authorization(&self) -> Option<Secret> {
        self.state().authorization.clone()
    }

    /// Where credentials were looked for, and whether there were any.
    pub fn looked(&self) -> (Vec<PathBuf>, bool) {
        let state = self.state();
        let search = state.search.as_ref();
        search.map_or_else(Default::default, |search| (search.looked.clone(), search.found.is_some()))
    }

    /// A text of somebody's without what we have told them.
    pub fn hide(&self, text: &str) -> String {
        secret::without(text, &self.state().told)
    }

    /// Gets what a registry wants to see after it has refused `refused`. Whether there is anything new to show it.
    pub fn answer(
        &self,
        http: &Http,
        at: &Url,
        challenges: &[Challenge],
        refused: Option<&Secret>,
    ) -> Result<bool, RegistryError> {
        let mut state = self.state();
        if state.authorization.as_ref() != refused {
            // Another thread has got it meanwhile.
            return Ok(true);
        }
        if state.search.is_none() {
            state.search = Some(credentials::search(&self.registry, &self.repository)?);
        }
        let credential = state.search.as_ref().and_then(|search| search.found.clone());
        state.told.extend(credential.iter().flat_map(texts));
        let bearer = challenges.iter().find(|challenge| challenge.scheme == "bearer");
        let basic = challenges.iter().any(|challenge| challenge.scheme == "basic");
        let authorization = match (bearer, basic, &credential) {
            (_, _, Some(Credential::Bearer(token))) => Some(bearer_header(token.reveal())),
            (Some(challenge), ..) => self.token(http, at, challenge, credential.as_ref(), &mut state)?,
            (None, true, Some(Credential::Login { user, password })) => Some(basic_header(user, password)),
            (None, true, _) => None,
            (None, false, _) => return Err(self.unknown(challenges)),
        };
        let is_new = authorization.is_some() && authorization.as_ref() != refused;
        state.told.extend(authorization.iter().flat_map(|header| [header.clone(), value_of(header)]));
        state.authorization = authorization;
        Ok(is_new)
    }

    fn unknown(&self, challenges: &[Challenge]) -> RegistryError {
        let schemes: Vec<&str> = challenges.iter().map(|challenge| challenge.scheme.as_str()).collect();
        if schemes.is_empty() {
            return RegistryError::NoScheme(self.registry.clone());
        }
        let scheme = schemes.join(", ");
        RegistryError::Scheme { registry: self.registry.clone(), scheme: scheme.chars().take(100).collect() }
    }

    /// Asks a token server. `None` when it refuses.
    fn token(
        &self,
        http: &Http,
        at: &Url,
        challenge: &Challenge,
        credential: Option<&Credential>,
        state: &mut State,
    ) -> Result<Option<Secret>, RegistryError> {
        let realm = self.realm(at, challenge, credential.is_some())?;
        let scope = format!("repository:{}:{}", self.repository, self.actions);
        let service = challenge.get("service");
        let answer = match credential {
            Some(Credential::Identity(token)) => {
                let service = service.unwrap_or_default();
                let form =
                    [("grant_type", "refresh_token"), ("service", service), ("client_id", CLIENT), ("scope", &scope)];
                let form: Vec<_> = form.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
                http.post(&realm, &format!("{}&refresh_token={}", form.join("&"), encoded(token.reveal())))?
            }
            login => {
                let service = service.map(|service| ("service", service));
                let params: Vec<_> = service.into_iter().chain([("scope", scope.as_str())]).collect();
                let authorization = match login {
                    Some(Credential::Login { user, password }) => Some(basic_header(user, password)),
                    _ => None,
                };
                state.told.extend(authorization.iter().flat_map(|header| [header.clone(), value_of(header)]));
                http.get(&realm.with_query(&params), &Ask { authorization, ..Ask::default() })?
            }
        };
        read_token(answer)
    }

    /// The token server, if it may be asked.
    fn realm(&self, at: &Url, challenge: &Challenge, has_secrets: bool) -> Result<Url, RegistryError> {
        let text = challenge.get("realm").unwrap_or_default();
        let refused = |why| {
            let realm = text.chars().take(200).collect();
            Err(RegistryError::Realm { registry: self.registry.clone(), realm, why })
        };
        let Some(realm) = Url::parse(text) else { return refused("that is no address of HTTP") };
        let own_machine = is_loopback(&at.authority) && is_loopback(&realm.authority);
        match () {
            () if !may_lead_to(&at.authority, &realm.authority) => refused("that is this machine's own"),
            () if at.secure && !realm.secure => refused("that is without TLS"),
            () if has_secrets && !belong_together(&at.authority, &realm.authority) => {
                refused("that is not where this password belongs")
            }
            () if has_secrets && !realm.secure && !own_machine && !realm.has_origin_of(at) => {
                refused("that is without TLS")
            }
            () => Ok(realm),
        }
    }
}

/// A token server's answer. `None` when it refuses.
fn read_token(answer: Answer) -> Result<Option<Secret>, RegistryError> {
    let (host, status) = (answer.url.authority.clone(), answer.status);
    let none = |why| Err(RegistryError::Token { host: host.clone(), why });
    match status {
        200 => {}
        400 | 401 | 403 | 404 => return Ok(None),
        429 => return Err(RegistryError::Busy { registry: host, wait: None }),
        _ => return Err(RegistryError::Status { registry: host, status, said: String::new() }),
    }
    parse_token(&answer.document(MAX)?).map_or_else(none, |token| Ok(Some(bearer_header(&token))))
}

/// The token of an answer, or why there is none.
pub fn parse_token(text: &[u8]) -> Result<String, &'static str> {
    let token: Token = serde_json::from_slice(text).map_err(|_| "its answer is no JSON with a token")?;
    let token = token.token.filter(|token| !token.is_empty()).or(token.access_token).unwrap_or_default();
    let is_one = !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic());
    is_one.then_some(token).ok_or("its token is empty, or no token")
}

fn bearer_header(token: &str) -> Secret {
    Secret::new(format!("Bearer {token}"))
}

fn basic_header(user: &str, password: &Secret) -> Secret {
    Secret::new(format!("Basic {}", STANDARD.encode(format!("{user}:{}", password.reveal()))))
}

/// A header's value without its scheme.
fn value_of(header: &Secret) -> Secret {
    Secret::new(header.reveal().split_once(' ').map_or("", |(_, value)| value))
}

fn texts(credential: &Credential) -> Vec<Secret> {
    match credential {
        Credential::Login { password: secret, .. } | Credential::Identity(secret) | Credential::Bearer(secret) => {
            vec![secret.clone(), Secret::new(encoded(secret.reveal()))]
        }
    }
}
