//! One way to a repository: requests under `/v2/`, with or without TLS, with whatever the registry wants to see.
//!
//! Specification: OCI distribution-spec 1.1.

use super::auth::Auth;
use super::challenge;
use super::conf::Way;
use super::error::RegistryError;
use super::http::{Answer, Ask, Http};
use super::name::Name;
use super::retry;
use super::secret::Secret;
use super::trouble::Trouble;
use super::url::Url;
use crate::escape::escape;
use serde::Deserialize;
use std::sync::OnceLock;
use std::time::SystemTime;
use ureq::http::header::WWW_AUTHENTICATE;

/// Most characters of what a server says that are shown.
const SHOWN: usize = 300;

/// See the module.
#[derive(Debug)]
pub struct Endpoint {
    way: Way,
    http: Http,
    auth: Auth,
    /// Whether it speaks TLS, once that is known.
    secure: OnceLock<bool>,
}

/// What servers send with a status that is no success.
#[derive(Deserialize)]
struct Complaints {
    #[serde(default)]
    errors: Vec<Complaint>,
}

#[derive(Deserialize)]
struct Complaint {
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    message: Option<String>,
}

/// One request to an address, with what it wants to see.
type Request<'a> = dyn Fn(&Http, &Url, Option<Secret>) -> Result<Answer, RegistryError> + 'a;

/// Statuses of an answer that has what was asked for.
const CONTENT: [u16; 2] = [200, 206];

impl Endpoint {
    /// Not asked yet. `verify` is whether its certificate counts; as the way has it when nobody says. `actions` is what is
    /// to be done there, as a token's scope has it.
    pub fn new(way: Way, verify: Option<bool>, actions: &'static str) -> Endpoint {
        let insecure = !verify.unwrap_or(!way.insecure);
        let (http, auth) = (Http::new(!insecure), Auth::new(&way.registry, &way.repository, actions));
        Endpoint { way: Way { insecure, ..way }, http, auth, secure: OnceLock::new() }
    }

    /// Host and port.
    pub fn authority(&self) -> &str {
        &self.way.authority
    }

    /// Its name in messages, escaped.
    pub fn shown(&self) -> String {
        escape(self.way.registry.as_bytes())
    }

    /// Asks for something below `/v2/REPOSITORY/`; the answer is a success. Not tried again.
    pub fn get(&self, path: &str, ask: &Ask<'_>, name: &Name) -> Result<Answer, RegistryError> {
        let get = |http: &Http, url: &Url, authorization| http.get(url, &Ask { authorization, ..ask.clone() });
        self.ask(path, &get, name, &CONTENT)
    }

    /// Sends a request; the answer has one of the statuses that are taken. Not tried again.
    pub fn ask(&self, path: &str, request: &Request<'_>, name: &Name, taken: &[u16]) -> Result<Answer, RegistryError> {
        let refused = self.auth.authorization();
        let answer = self.send(path, request)?;
        if answer.status != 401 || !self.is_own(&answer.url) {
            return self.judged(answer, path, name, taken);
        }
        let headers = answer.headers().get_all(WWW_AUTHENTICATE).iter();
        let challenges = challenge::parse(headers.map(|header| header.as_bytes()));
        match self.auth.answer(&self.http, &answer.url, &challenges, refused.as_ref())? {
            true => self.judged(self.send(path, request)?, path, name, taken),
            false => self.judged(answer, path, name, taken),
        }
    }

    /// Sends one more request to where the registry has sent us, which learns who we are if that is the registry itself.
    pub fn follow(
        &self,
        url: &Url,
        request: &Request<'_>,
        name: &Name,
        taken: &[u16],
    ) -> Result<Answer, RegistryError> {
        let authorization = self.auth.authorization().filter(|_| self.is_own(url));
        self.judged(request(&self.http, url, authorization)?, &url.path, name, taken)
    }

    fn send(&self, path: &str, request: &Request<'_>) -> Result<Answer, RegistryError> {
        let path = format!("/v2/{}/{path}", self.way.repository);
        let send =
            |secure| request(&self.http, &Url::new(secure, &self.way.authority, &path), self.auth.authorization());
        if let Some(&secure) = self.secure.get() {
            return send(secure);
        }
        let (secure, result) = match send(true) {
            Err(error) if self.way.insecure && may_be_plain(&error) => match send(false) {
                Ok(answer) => (false, Ok(answer)),
                // What went wrong at first says more, unless that was the missing TLS.
                Err(plain) if is_plain(&error) || !is_silence(&plain) => (false, Err(plain)),
                Err(_) => return Err(error),
            },
            result => (true, result),
        };
        if result.is_ok() {
            _ = self.secure.set(secure);
        }
        result
    }

    /// Whether the registry itself has answered. Nobody else it sends us to learns who we are.
    fn is_own(&self, url: &Url) -> bool {
        Url::new(url.secure, &self.way.authority, "/").has_origin_of(url) && self.secure.get() == Some(&url.secure)
    }

    /// A success, or what else it means.
    fn judged(&self, answer: Answer, path: &str, name: &Name, taken: &[u16]) -> Result<Answer, RegistryError> {
        let (status, name) = (answer.status, Box::new(name.clone()));
        let registry = self.shown();
        match status {
            status if taken.contains(&status) => Ok(answer),
            400.. if !self.is_own(&answer.url) && status != 429 => {
                let registry = escape(answer.url.authority.as_bytes());
                Err(RegistryError::Status { registry, status, said: self.said(answer) })
            }
            401 | 403 => {
                let (looked, logged_in) = self.auth.looked();
                let said = self.said(answer);
                Err(match logged_in || status == 403 && looked.is_empty() {
                    true => RegistryError::Denied { name, registry, said },
                    false => RegistryError::LoggedOut { name, registry, looked },
                })
            }
            404 => Err(match path.rsplit('/').next().map(str::parse) {
                Some(Ok(digest)) => RegistryError::Missing { name, registry, digest },
                _ => RegistryError::NotFound { name, registry, nearest: Vec::new() },
            }),
            429 => {
                let wait = answer.header("retry-after").and_then(|header| retry::after(header, SystemTime::now()));
                Err(RegistryError::Busy { registry, wait })
            }
            _ => Err(RegistryError::Status { registry, status, said: self.said(answer) }),
        }
    }

    /// What a server says of its refusal, fit to be shown.
    fn said(&self, answer: Answer) -> String {
        let text = complaint(&answer.explanation());
        let text: String = self.auth.hide(&text).chars().take(SHOWN).collect();
        escape(text.as_bytes())
    }
}

/// The first complaint of a body, or the body itself where it has another form.
pub fn complaint(body: &[u8]) -> String {
    match serde_json::from_slice::<Complaints>(body) {
        Ok(said) => said.errors.first().map(Complaint::text).unwrap_or_default(),
        Err(_) => String::from_utf8_lossy(body).trim().to_owned(),
    }
}

impl Complaint {
    fn text(&self) -> String {
        let parts = [&self.code, &self.message].map(|part| part.clone().unwrap_or_default());
        parts.iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>().join(": ")
    }
}

/// Whether the other side may be one that does not speak TLS.
fn may_be_plain(error: &RegistryError) -> bool {
    let broken = matches!(
        error,
        RegistryError::Unreachable { trouble: Trouble::Broken(_) | Trouble::Closed(_) | Trouble::Odd(_), .. }
    );
    broken || is_plain(error)
}

/// Whether nobody has answered at all.
fn is_silence(error: &RegistryError) -> bool {
    matches!(error, RegistryError::Unreachable { .. })
}

fn is_plain(error: &RegistryError) -> bool {
    matches!(error, RegistryError::Unreachable { trouble: Trouble::Plain, .. })
}
