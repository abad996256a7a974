//! What a smoke test expects, as values; how each is written on the command line and in a spec file.
//!
//! ```text
//! --expect TEXT                     on the console, on standard output or on standard error
//! --expect-regex RE                 as above, `^` and `$` at the ends of lines
//! --reject TEXT, --reject-regex RE  must not come before everything else holds
//! --exit-code N                     the workload's exit status
//! --tcp PORT                        a connection into the guest is accepted
//! --http [:PORT]/PATH               GET answers with status 200
//! --http-status N:[PORT]/PATH       GET answers with status N
//! --exec CMD                        a process beside the workload ends with status 0; words as in a shell
//! --exec-status N:CMD               it ends with status N
//! --healthy                         the image's own HEALTHCHECK
//! ```
//!
//! A status stands before what it is expected of: behind it, it could be a part of a query or of a word.

use super::pattern::Pattern;
use std::borrow::Cow;
use std::fmt;

/// One thing that must hold.
#[derive(Clone, Debug)]
pub enum Expectation {
    /// Text that must come.
    Output(Pattern),
    /// Text that must not come.
    Reject(Pattern),
    /// The workload's exit status.
    ExitCode(u8),
    /// A TCP port of the guest that accepts.
    Tcp(u16),
    /// An HTTP answer.
    Http(Http),
    /// A process beside the workload.
    Exec(Exec),
    /// The image's health check.
    Healthy,
    /// The workload's start: of a machine among others of which nothing else is expected.
    Started,
}

/// A GET request and the status its answer must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// Port in the guest; the image's only exposed TCP port, or 80, when absent.
    pub port: Option<u16>,
    /// Path and query, with its leading slash.
    pub path: String,
    /// Status, 100 to 599.
    pub status: u16,
}

/// A command and the status it must end with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exec {
    /// At least one word.
    pub command: Vec<String>,
    /// Exit status, 128 + N for signal N.
    pub status: u8,
}

/// Why text is not an expectation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpectError {
    /// Not a port.
    #[error("port is not a number from 1 to 65535: {0}")]
    Port(String),
    /// No path.
    #[error("HTTP expectation is not [:PORT]/PATH: {0}")]
    Http(String),
    /// No status, or none that HTTP has.
    #[error("expected status is not N:[PORT]/PATH with N from 100 to 599: {0}")]
    HttpStatus(String),
    /// Not a command.
    #[error("command has no words, or an open quote: {0}")]
    Command(String),
    /// No status before a command.
    #[error("expected status is not N:CMD with N from 0 to 255: {0}")]
    ExecStatus(String),
    /// A status behind what it is expected of.
    #[error(
        "a status goes before what it is expected of, {option} {new}; where `={status}` belongs to it, {option} {same}: {text}"
    )]
    StatusBehind {
        /// The option for it.
        option: &'static str,
        /// The number.
        status: u16,
        /// With the status in front.
        new: String,
        /// What it would be if the number were a part of it.
        same: String,
        /// As it was written.
        text: String,
    },
}

impl Http {
    /// `[:PORT]/PATH`, to be answered with 200.
    ///
    /// # Errors
    /// When it is not that, or ends with what looks like a status.
    pub fn parse(text: &str) -> Result<Http, ExpectError> {
        let http = Http::with(text, text, 200).ok_or_else(|| ExpectError::Http(text.to_owned()))??;
        match status_behind(&http.path).filter(|_| http.looks_like_a_status()) {
            None => Ok(http),
            Some((rest, status)) => Err(ExpectError::StatusBehind {
                option: "http-status",
                status,
                new: Http { path: rest.to_owned(), status, ..http.clone() }.numbered(),
                same: http.numbered(),
                text: text.to_owned(),
            }),
        }
    }

    /// `N:[PORT]/PATH`; the port may have its colon here too.
    ///
    /// # Errors
    /// When it is not that.
    pub fn parse_status(text: &str) -> Result<Http, ExpectError> {
        let refuse = || ExpectError::HttpStatus(text.to_owned());
        let (status, rest) = leading_status(text).ok_or_else(refuse)?;
        let legal = (100..=599).contains(&status);
        let rest = if rest.starts_with([':', '/']) { rest.to_owned() } else { format!(":{rest}") };
        Http::with(text, &rest, status).filter(|_| legal).ok_or_else(refuse)?
    }

    /// Of `[:PORT]/PATH`; `whole` is what an error about the port shows. `None` when it is not of that shape.
    fn with(whole: &str, text: &str, status: u16) -> Option<Result<Http, ExpectError>> {
        let (port, path) = text.split_at(text.find('/')?);
        if path.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
            return None;
        }
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => Ok(None),
            None => return None,
            Some(port) => parse_port(port).map(Some).map_err(|_| ExpectError::Port(whole.to_owned())),
        };
        Some(port.map(|port| Http { port, path: path.to_owned(), status }))
    }

    /// `/missing=404`; a number in a query is the query's.
    fn looks_like_a_status(&self) -> bool {
        let status = status_behind(&self.path);
        !self.path.contains('?') && status.is_some_and(|(_, status)| (100..=599).contains(&status))
    }

    fn numbered(&self) -> String {
        let port = self.port.map(|port| port.to_string()).unwrap_or_default();
        format!("{}:{port}{}", self.status, self.path)
    }
}

impl Exec {
    /// A command that ends with 0.
    ///
    /// # Errors
    /// When it has no words, or ends with what can only be a status.
    pub fn parse(text: &str) -> Result<Exec, ExpectError> {
        let exec = Exec::with(text, text, 0)?;
        match status_behind(text).filter(|(rest, _)| exec.looks_like_a_status(rest)) {
            None => Ok(exec),
            Some((rest, status)) => Err(ExpectError::StatusBehind {
                option: "exec-status",
                status,
                new: format!("{status}:{rest}"),
                same: format!("0:{text}"),
                text: text.to_owned(),
            }),
        }
    }

    /// `N:CMD`.
    ///
    /// # Errors
    /// When it is not that.
    pub fn parse_status(text: &str) -> Result<Exec, ExpectError> {
        let found = leading_status(text).and_then(|(status, rest)| Some((u8::try_from(status).ok()?, rest)));
        let (status, line) = found.ok_or_else(|| ExpectError::ExecStatus(text.to_owned()))?;
        Exec::with(text, line, status)
    }

    fn with(whole: &str, line: &str, status: u8) -> Result<Exec, ExpectError> {
        let command = shlex::split(line).filter(|words| !words.is_empty());
        Ok(Exec { command: command.ok_or_else(|| ExpectError::Command(whole.to_owned()))?, status })
    }

    /// Behind a closing quote (`sh -c 'exit 3'=3`), a number (`exit 5=5`) or the program (`false=1`) nobody writes
    /// `=N` for another reason. `count=1` and `A=1` are words as any other.
    fn looks_like_a_status(&self, rest: &str) -> bool {
        let last = self.command.last().and_then(|word| word.rsplit_once('=')).map_or("", |(name, _)| name);
        let number = !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit());
        number || rest.ends_with(['\'', '"']) || self.command.len() == 1
    }
}

/// `TEXT=NUMBER` as its two parts, the number of at most three digits.
fn status_behind(text: &str) -> Option<(&str, u16)> {
    let (rest, digits) = text.rsplit_once('=')?;
    Some((rest, three_digits(digits)?))
}

/// `NUMBER:TEXT` as its two parts.
fn leading_status(text: &str) -> Option<(u16, &str)> {
    let (digits, rest) = text.split_once(':')?;
    Some((three_digits(digits)?, rest))
}

fn three_digits(text: &str) -> Option<u16> {
    let digits = matches!(text.len(), 1..=3) && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

/// A port number.
///
/// # Errors
/// When it is not one from 1 to 65535, in digits alone.
pub fn parse_port(text: &str) -> Result<u16, ExpectError> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let port = text.parse().ok().filter(|&port: &u16| digits && port != 0);
    port.ok_or_else(|| ExpectError::Port(text.to_owned()))
}

impl Expectation {
    /// Whether it is settled by the machine's going on, as opposed to its end.
    pub fn is_positive(&self) -> bool {
        !matches!(self, Expectation::Reject(_))
    }
}

impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expectation::Output(pattern) => write!(f, "expect{pattern}"),
            Expectation::Reject(pattern) => write!(f, "reject{pattern}"),
            Expectation::ExitCode(code) => write!(f, "exit-code {code}"),
            Expectation::Tcp(port) => write!(f, "tcp {port}"),
            Expectation::Http(http) => write!(f, "{http}"),
            Expectation::Exec(exec) => write!(f, "{exec}"),
            Expectation::Healthy => f.write_str("healthy"),
            Expectation::Started => f.write_str("started"),
        }
    }
}

impl fmt::Display for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            _ if self.status != 200 || self.looks_like_a_status() => write!(f, "http-status {}", self.numbered()),
            Some(port) => write!(f, "http :{port}{}", self.path),
            None => write!(f, "http {}", self.path),
        }
    }
}

impl fmt::Display for Exec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.command.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
        match self.status {
            0 if Exec::parse(&line).is_ok() => write!(f, "exec {line}"),
            status => write!(f, "exec-status {status}:{line}"),
        }
    }
}

/// A word as people write it for a shell: quoted only where it has to be.
fn quoted(word: &str) -> Cow<'_, str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"%+,-./:=@_".contains(&byte);
    match !word.is_empty() && word.bytes().all(plain) {
        true => word.into(),
        false => shlex::try_quote(word).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_at_the_end_of_a_request_is_the_requests() {
        let http = |port, path: &str, status| Http { port, path: path.into(), status };
        for (text, expected) in [
            ("/", http(None, "/", 200)),
            ("/a?b=c", http(None, "/a?b=c", 200)),
            ("/?id=404", http(None, "/?id=404", 200)),
            ("/a?b=12=404", http(None, "/a?b=12=404", 200)),
            ("/a=1234", http(None, "/a=1234", 200)),
            ("/page=12", http(None, "/page=12", 200)),
            (":8080/x", http(Some(8080), "/x", 200)),
        ] {
            assert_eq!(Http::parse(text), Ok(expected), "{text}");
        }
        for (text, expected) in [
            ("404:/missing", http(None, "/missing", 404)),
            ("301:8080/x", http(Some(8080), "/x", 301)),
            ("301::8080/x", http(Some(8080), "/x", 301)),
            ("200:/missing=404", http(None, "/missing=404", 200)),
            ("503:/?a=1&b=200", http(None, "/?a=1&b=200", 503)),
        ] {
            assert_eq!(Http::parse_status(text), Ok(expected), "{text}");
        }
        for bad in ["", "x", "example.org/", ":0/", ":x/", "/a b", "404:/x"] {
            assert!(Http::parse(bad).is_err(), "{bad}");
        }
        for bad in ["", "/", "404", "404:", "99:/", "600:/", "0404:/", ":404:/", "404:x/", "404:0/", "+404:/"] {
            assert!(Http::parse_status(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_number_at_the_end_of_a_command_is_the_commands() {
        let exec = |words: &[&str], status| Exec { command: words.iter().map(|&w| w.into()).collect(), status };
        for (text, expected) in [
            ("nginx -t", exec(&["nginx", "-t"], 0)),
            ("dd if=/dev/zero of=/dev/null count=1", exec(&["dd", "if=/dev/zero", "of=/dev/null", "count=1"], 0)),
            ("env A=1", exec(&["env", "A=1"], 0)),
            ("tail --lines=3", exec(&["tail", "--lines=3"], 0)),
            ("sh -c 'exit 0'", exec(&["sh", "-c", "exit 0"], 0)),
        ] {
            assert_eq!(Exec::parse(text), Ok(expected), "{text}");
        }
        for (text, expected) in [
            ("3:sh -c 'exit 3'", exec(&["sh", "-c", "exit 3"], 3)),
            ("0:false=1", exec(&["false=1"], 0)),
            ("139:a:b", exec(&["a:b"], 139)),
        ] {
            assert_eq!(Exec::parse_status(text), Ok(expected), "{text}");
        }
        for bad in ["", "  ", "'open"] {
            assert!(Exec::parse(bad).is_err(), "{bad}");
        }
        for bad in ["", "x", "3:", "256:x", "-1:x", "3: ", "3:'open"] {
            assert!(Exec::parse_status(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_status_behind_is_answered_with_how_to_write_it() {
        let http = |text| Http::parse(text).unwrap_err().to_string();
        let exec = |text| Exec::parse(text).unwrap_err().to_string();
        for (said, wanted) in [
            (http("/missing=404"), ["http-status 404:/missing;", "http-status 200:/missing=404:"]),
            (http(":8080/=200"), ["http-status 200:8080/;", "http-status 200:8080/=200:"]),
            (exec("sh -c 'exit 3'=3"), ["exec-status 3:sh -c 'exit 3';", "exec-status 0:sh -c 'exit 3'=3:"]),
            (exec("/probe exit 5=5"), ["exec-status 5:/probe exit 5;", "exec-status 0:/probe exit 5=5:"]),
            (exec("/bin/false=1"), ["exec-status 1:/bin/false;", "exec-status 0:/bin/false=1:"]),
        ] {
            assert!(wanted.iter().all(|text| said.contains(text)), "{said}");
        }
    }

    #[test]
    fn an_expectation_shows_as_it_is_written() {
        let shown = |e: Expectation| e.to_string();
        assert_eq!(shown(Expectation::Reject(Pattern::text("a\u{1b}").unwrap())), "reject \"a\\u{1b}\"");
        assert_eq!(shown(Expectation::Output(Pattern::regex("a$").unwrap())), "expect-regex /a$/");
        for text in [":81/x", "/", "/?id=404"] {
            assert_eq!(shown(Expectation::Http(Http::parse(text).unwrap())), format!("http {text}"));
        }
        for text in ["404:/x", "301:81/x", "200:/x=404"] {
            assert_eq!(shown(Expectation::Http(Http::parse_status(text).unwrap())), format!("http-status {text}"));
        }
        for text in ["sh -c 'a b'", "dd count=1"] {
            assert_eq!(shown(Expectation::Exec(Exec::parse(text).unwrap())), format!("exec {text}"));
        }
        for text in ["3:sh -c 'a b'", "0:false=1"] {
            assert_eq!(shown(Expectation::Exec(Exec::parse_status(text).unwrap())), format!("exec-status {text}"));
        }
    }
}
