//! What happens to a connection, in the words of whoever waits for it.

use super::site::is_loopback;
use crate::escape::{escape, os_error};
use rustls::CertificateError;
use std::fmt;
use std::io;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Nobody knows the host.
    Unknown,
    /// No connection, or one that broke.
    Broken(String),
    /// Nobody listens there.
    Closed(String),
    /// It takes too long.
    Slow,
    /// Somebody answers who may be anybody.
    Untrusted(String),
    /// It does not speak TLS.
    Plain,
    /// It does not speak HTTP.
    Odd(String),
    /// The proxy does not lead there.
    Proxy(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Unknown => f.write_str("its name cannot be resolved"),
            Trouble::Broken(why) | Trouble::Closed(why) => f.write_str(why),
            Trouble::Slow => f.write_str("it takes too long"),
            Trouble::Untrusted(why) => write!(f, "its certificate {why}"),
            Trouble::Plain => f.write_str("it does not speak TLS"),
            Trouble::Odd(why) => write!(f, "it does not speak HTTP as it should ({why})"),
            Trouble::Proxy(why) => f.write_str(why),
        }
    }
}

impl Trouble {
    /// Whether another try may succeed.
    pub fn may_pass(&self) -> bool {
        matches!(self, Trouble::Broken(_) | Trouble::Closed(_) | Trouble::Slow | Trouble::Odd(_))
    }

    /// What to do about it where `host` is.
    pub fn hint(&self, host: &str) -> Option<String> {
        Some(match self {
            Trouble::Unknown | Trouble::Slow if !is_loopback(host) => {
                "check that this machine is online, or use the cache: --pull never".into()
            }
            Trouble::Untrusted(_) => format!(
                "if it is yours, put its authority into /etc/containers/certs.d/{host}/ca.crt, or accept any certificate: --tls-verify=false"
            ),
            Trouble::Plain => "if it is meant to be without TLS: --tls-verify=false".into(),
            Trouble::Closed(_) => format!("see whether somebody answers there: curl --head http://{host}/v2/"),
            Trouble::Proxy(_) => "see HTTPS_PROXY, HTTP_PROXY and NO_PROXY: env | grep -i proxy".into(),
            _ => return None,
        })
    }
}

impl From<&io::Error> for Trouble {
    fn from(error: &io::Error) -> Trouble {
        let inner = error.get_ref();
        if let Some(inner) = inner.and_then(|inner| inner.downcast_ref::<ureq::Error>()) {
            return Trouble::from(inner);
        }
        if let Some(tls) = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return of_tls(tls);
        }
        match error.kind() {
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Trouble::Slow,
            io::ErrorKind::ConnectionRefused => Trouble::Closed(escape(os_error(error).as_bytes())),
            io::ErrorKind::UnexpectedEof => Trouble::Broken("it ends too early".into()),
            _ => Trouble::Broken(escape(os_error(error).as_bytes())),
        }
    }
}

impl From<&ureq::Error> for Trouble {
    fn from(error: &ureq::Error) -> Trouble {
        match error {
            ureq::Error::Io(error) => Trouble::from(error),
            ureq::Error::Rustls(error) => of_tls(error),
            ureq::Error::Timeout(_) | ureq::Error::BodyStalled => Trouble::Slow,
            ureq::Error::HostNotFound => Trouble::Unknown,
            ureq::Error::ConnectionFailed => Trouble::Closed("no connection".into()),
            ureq::Error::ConnectProxyFailed(why) => {
                Trouble::Proxy(format!("the proxy does not lead there ({})", escape(why.as_bytes())))
            }
            ureq::Error::InvalidProxyUrl => Trouble::Proxy("the proxy's address is invalid".into()),
            other => Trouble::Odd(escape(other.to_string().chars().take(200).collect::<String>().as_bytes())),
        }
    }
}

fn of_tls(error: &rustls::Error) -> Trouble {
    match error {
        rustls::Error::InvalidCertificate(why) => Trouble::Untrusted(certificate(why)),
        rustls::Error::NoCertificatesPresented => Trouble::Untrusted("is missing".into()),
        rustls::Error::InvalidMessage(_) => Trouble::Plain,
        other => Trouble::Odd(escape(other.to_string().as_bytes())),
    }
}

fn certificate(why: &CertificateError) -> String {
    match why {
        CertificateError::UnknownIssuer => "is not signed by an authority that this machine trusts".into(),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "has expired".into(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "is not valid yet".into(),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "is for another name".into()
        }
        CertificateError::Revoked => "was revoked".into(),
        other => format!("cannot be trusted ({})", escape(other.to_string().as_bytes())),
    }
}
