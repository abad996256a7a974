//! One request and its answer: connections, redirects, and who is shown credentials on the way.
//!
//! At most [`MOST_REDIRECTS`] redirects are followed, never from https to http, and never from elsewhere to this machine
//! or its nearest network. `Authorization` goes to the server it is for and to no other that a redirect names.
//!
//! Specification: RFC 9110, sections 11 and 15.4.

use super::error::RegistryError;
use super::proxy;
use super::secret::Secret;
use super::site::may_lead_to;
use super::tls;
use super::trouble::Trouble;
use super::url::Url;
use std::io::Read;
use std::net::ToSocketAddrs;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use ureq::config::Config;
use ureq::http::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderMap, LOCATION};
use ureq::http::{Response, Uri};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Body, Proxy, RequestBuilder, SendBody};

/// Most redirects in a row.
pub const MOST_REDIRECTS: usize = 10;
/// For a connection, its encryption included.
const CONNECT: Duration = Duration::from_secs(30);
/// Without a byte in either direction.
const STALL: Duration = Duration::from_secs(60);
/// Bytes that are read at a time.
const BUFFER: usize = 256 << 10;
/// Most bytes of an answer's header.
const HEADER: usize = 128 << 10;

/// What a request has beside its address.
#[derive(Clone, Debug, Default)]
pub struct Ask<'a> {
    /// Media types that are taken.
    pub accept: Option<&'a str>,
    /// The first byte that is wanted.
    pub from: Option<u64>,
    /// The whole header `Authorization`.
    pub authorization: Option<Secret>,
}

/// An answer whose body is still to be read.
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Who has answered, after all redirects.
    pub url: Url,
    response: Response<Body>,
}

impl Answer {
    /// Its headers.
    pub fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers().get(name)?.to_str().ok()
    }

    /// Bytes of the body, if it says how many.
    pub fn length(&self) -> Option<u64> {
        self.response.body().content_length()
    }

    /// The body.
    pub fn body(self) -> impl Read {
        self.response.into_body().into_reader()
    }

    /// The body, of at most `limit` bytes.
    pub fn document(self, limit: u64) -> Result<Vec<u8>, RegistryError> {
        let (host, length) = (self.url.authority.clone(), self.length());
        let too_large = || RegistryError::TooLarge { registry: host.clone(), limit };
        if length.is_some_and(|length| length > limit) {
            return Err(too_large());
        }
        let mut bytes = Vec::new();
        let read = self.body().take(limit + 1).read_to_end(&mut bytes);
        read.map_err(|error| RegistryError::Unreachable { host: host.clone(), trouble: Trouble::from(&error) })?;
        if bytes.len() as u64 > limit { Err(too_large()) } else { Ok(bytes) }
    }

    /// The beginning of a body that explains a status.
    pub fn explanation(self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // What cannot be read explains nothing.
        _ = self.body().take(64 << 10).read_to_end(&mut bytes);
        bytes
    }
}

/// Connections to all hosts that one image leads to.
#[derive(Debug)]
pub struct Http {
    verify: bool,
    agents: Mutex<Vec<(bool, String, Agent)>>,
}

impl Http {
    /// None yet. Without `verify` whoever answers is believed.
    pub fn new(verify: bool) -> Http {
        Http { verify, agents: Mutex::default() }
    }

    /// Asks, and follows redirects.
    pub fn get(&self, url: &Url, ask: &Ask<'_>) -> Result<Answer, RegistryError> {
        let mut at = url.clone();
        for _ in 0..=MOST_REDIRECTS {
            let answer = self.get_once(&at, ask, at.has_origin_of(url))?;
            if !matches!(answer.status, 301 | 302 | 303 | 307 | 308) {
                return Ok(answer);
            }
            at = next(&at, &answer)?;
        }
        let why = "there were ten before it";
        Err(RegistryError::Redirect { from: url.authority.clone(), to: at.authority, why })
    }

    fn get_once(&self, at: &Url, ask: &Ask<'_>, is_for_it: bool) -> Result<Answer, RegistryError> {
        let mut request = self.agent(at)?.get(at.to_string());
        if let Some(accept) = ask.accept {
            request = request.header("accept", accept);
        }
        if let Some(from) = ask.from {
            request = request.header("range", format!("bytes={from}-"));
        }
        answer(at, with(request, ask.authorization.as_ref().filter(|_| is_for_it)).call())
    }

    /// Whether something is there: an answer without a body. Redirects are not followed: they are an answer as well.
    pub fn head(&self, url: &Url, authorization: Option<Secret>) -> Result<Answer, RegistryError> {
        let request = self.agent(url)?.head(url.to_string());
        answer(url, with(request, authorization.as_ref()).call())
    }

    /// Begins something. Redirects are not followed.
    pub fn begin(&self, url: &Url, authorization: Option<Secret>) -> Result<Answer, RegistryError> {
        let request = self.agent(url)?.post(url.to_string());
        answer(url, with(request, authorization.as_ref()).send_empty())
    }

    /// Puts `length` bytes of this type there. Redirects are not followed.
    pub fn put(
        &self,
        url: &Url,
        authorization: Option<Secret>,
        media_type: &str,
        (body, length): (&mut dyn Read, u64),
    ) -> Result<Answer, RegistryError> {
        let request = self.agent(url)?.put(url.to_string()).content_type(media_type);
        let request = with(request, authorization.as_ref()).header(CONTENT_LENGTH, length);
        answer(url, request.send(SendBody::from_reader(&mut { body })))
    }

    /// Sends a form. Redirects are not followed: it has secrets in it.
    pub fn post(&self, url: &Url, form: &str) -> Result<Answer, RegistryError> {
        let request = self.agent(url)?.post(url.to_string());
        answer(url, request.content_type("application/x-www-form-urlencoded").send(form))
    }

    fn agent(&self, url: &Url) -> Result<Agent, RegistryError> {
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        let found = agents.iter().find(|(secure, authority, _)| (*secure, authority) == (url.secure, &url.authority));
        if let Some((.., agent)) = found {
            return Ok(agent.clone());
        }
        let agent = self.new_agent(url)?;
        agents.push((url.secure, url.authority.clone(), agent.clone()));
        Ok(agent)
    }

    fn new_agent(&self, url: &Url) -> Result<Agent, RegistryError> {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(CONNECT))
            .timeout_per_read(Some(STALL))
            .timeout_per_write(Some(STALL))
            .input_buffer_size(BUFFER)
            .max_response_header_size(HEADER)
            .proxy(proxy_for(url)?)
            .user_agent(concat!("bootdisk/", env!("CARGO_PKG_VERSION")));
        let config = match url.secure {
            true => config.tls_config(tls::config(&url.authority, self.verify)?),
            false => config,
        };
        Ok(Agent::with_parts(config.build(), DefaultConnector::default(), System))
    }
}

fn with<B>(request: RequestBuilder<B>, authorization: Option<&Secret>) -> RequestBuilder<B> {
    match authorization {
        Some(authorization) => request.header(AUTHORIZATION, authorization.reveal()),
        None => request,
    }
}

fn proxy_for(url: &Url) -> Result<Option<Proxy>, RegistryError> {
    let Some((variable, value)) = proxy::for_host(url.secure, &url.authority) else { return Ok(None) };
    // Its value may have a password in it.
    let trouble = Trouble::Proxy(format!("{variable} is not the address of a proxy"));
    let wrong = |_| RegistryError::Unreachable { host: url.authority.clone(), trouble };
    Proxy::new(&value).map(Some).map_err(wrong)
}

fn answer(at: &Url, result: Result<Response<Body>, ureq::Error>) -> Result<Answer, RegistryError> {
    match result {
        Ok(response) => Ok(Answer { status: response.status().as_u16(), url: at.clone(), response }),
        Err(error) => Err(RegistryError::Unreachable { host: at.authority.clone(), trouble: Trouble::from(&error) }),
    }
}

/// Where an answer sends us.
pub fn next(at: &Url, answer: &Answer) -> Result<Url, RegistryError> {
    let location = answer.headers().get(LOCATION).and_then(|location| location.to_str().ok()).unwrap_or_default();
    let refused = |to: &str, why| {
        let to = to.chars().take(200).collect();
        Err(RegistryError::Redirect { from: at.authority.clone(), to, why })
    };
    let Some(to) = at.join(location) else { return refused(location, "that is no address of HTTP") };
    match objection(at, &to) {
        Some(why) => refused(&to.authority, why),
        None => Ok(to),
    }
}

/// Why nobody at `at` may send us to `to`.
fn objection(at: &Url, to: &Url) -> Option<&'static str> {
    match () {
        () if at.secure && !to.secure => Some("that is without TLS"),
        () if !may_lead_to(&at.authority, &to.authority) => Some("that is this machine's own"),
        () => None,
    }
}

/// The system's resolver, without a thread for each request.
#[derive(Debug)]
struct System;

impl Resolver for System {
    fn resolve(&self, uri: &Uri, config: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
            return Err(ureq::Error::HostNotFound);
        };
        let name = DefaultResolver::host_and_port(scheme, authority).ok_or(ureq::Error::HostNotFound)?;
        let found = name.to_socket_addrs().map_err(|_| ureq::Error::HostNotFound)?;
        let mut addresses = self.empty();
        config.ip_family().keep_wanted(found).take(16).for_each(|address| addresses.push(address));
        if addresses.is_empty() { Err(ureq::Error::HostNotFound) } else { Ok(addresses) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_redirect_leads_out_of_tls_or_into_this_machine() {
        for (at, to, is_followed) in [
            ("https://ghcr.io/x", "https://cdn.example/x", true),
            ("http://registry.lan/x", "https://cdn.example/x", true),
            ("http://registry.lan/x", "http://cdn.lan/x", true),
            ("https://ghcr.io/x", "http://ghcr.io/x", false),
            ("https://ghcr.io/x", "http://cdn.example/x", false),
            ("https://ghcr.io/x", "https://localhost/x", false),
            ("https://ghcr.io/x", "https://169.254.169.254/x", false),
            ("https://localhost:5000/x", "https://127.0.0.1:5001/x", true),
        ] {
            let url = |text| Url::parse(text).unwrap();
            assert_eq!(objection(&url(at), &url(to)).is_none(), is_followed, "{at} to {to}");
        }
    }
}
