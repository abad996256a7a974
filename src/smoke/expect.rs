//! What a smoke test expects, as values; how each is written on the command line and in a spec file.
//!
//! ```text
//! --expect TEXT                 on the console, on standard output or on standard error
//! --expect-regex RE             as above, `^` and `$` at the ends of lines
//! --reject TEXT, --reject-regex RE   must not come before everything else holds
//! --exit-code N                 the workload's exit status
//! --tcp PORT                    a connection into the guest is accepted
//! --http [:PORT]/PATH[=STATUS]  GET answers with the status, 200 unless said
//! --exec CMD[=STATUS]           a process beside the workload ends with the status, 0 unless said; words as in a shell
//! --healthy                     the image's own HEALTHCHECK
//! ```

use regex::{Regex, RegexBuilder};
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
}

/// What is looked for in text.
#[derive(Clone, Debug)]
pub enum Pattern {
    /// These characters.
    Text(String),
    /// A regular expression.
    Regex(Regex),
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
    /// Nothing to look for.
    #[error("expected text is empty")]
    Empty,
    /// Not a regular expression.
    #[error("not a regular expression: {0}")]
    Regex(String),
    /// Not a port.
    #[error("port is not a number from 1 to 65535: {0}")]
    Port(String),
    /// No path.
    #[error("HTTP expectation is not [:PORT]/PATH[=STATUS]: {0}")]
    Http(String),
    /// Not a command.
    #[error("command has no words, or an open quote: {0}")]
    Command(String),
}

/// Largest compiled regular expression, in bytes: a pattern is input too.
const REGEX_SIZE: usize = 8 << 20;

impl Pattern {
    /// Plain text.
    ///
    /// # Errors
    /// When it is empty: that would hold at once.
    pub fn text(text: &str) -> Result<Pattern, ExpectError> {
        if text.is_empty() { Err(ExpectError::Empty) } else { Ok(Pattern::Text(text.to_owned())) }
    }

    /// A regular expression as the crate `regex` writes them, line by line.
    ///
    /// # Errors
    /// When it is none, or matches the empty text.
    pub fn regex(text: &str) -> Result<Pattern, ExpectError> {
        let regex = RegexBuilder::new(text).multi_line(true).size_limit(REGEX_SIZE).build();
        // The crate's message is a drawing of several lines; its last says what is wrong.
        let refuse = |error: regex::Error| {
            let message = error.to_string();
            ExpectError::Regex(message.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned())
        };
        let regex = regex.map_err(refuse)?;
        if regex.is_match("") { Err(ExpectError::Empty) } else { Ok(Pattern::Regex(regex)) }
    }

    /// The first match that ends after byte `from`, as a range of bytes. `from` is at a character's border.
    pub fn find(&self, text: &str, from: usize) -> Option<std::ops::Range<usize>> {
        match self {
            Pattern::Text(wanted) => text[from..].find(wanted).map(|at| from + at..from + at + wanted.len()),
            Pattern::Regex(regex) => regex.find_at(text, from).map(|found| found.range()),
        }
    }

    /// Bytes of earlier text that a match may begin in.
    pub fn reach(&self) -> usize {
        match self {
            Pattern::Text(text) => text.len() - 1,
            Pattern::Regex(_) => 16 << 10,
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pattern::Text(text) => write!(f, "{text:?}"),
            Pattern::Regex(regex) => write!(f, "/{}/", regex.as_str()),
        }
    }
}

impl std::str::FromStr for Http {
    type Err = ExpectError;

    fn from_str(text: &str) -> Result<Http, ExpectError> {
        let refuse = || ExpectError::Http(text.to_owned());
        let slash = text.find('/').ok_or_else(refuse)?;
        let port = match text[..slash].strip_prefix(':') {
            Some(port) => Some(parse_port(port)?),
            None if slash == 0 => None,
            None => return Err(refuse()),
        };
        let (path, status) = split_status(&text[slash..]);
        let status = status.unwrap_or(200);
        if !(100..=599).contains(&status) || path.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
            return Err(refuse());
        }
        Ok(Http { port, path: path.to_owned(), status })
    }
}

impl std::str::FromStr for Exec {
    type Err = ExpectError;

    fn from_str(text: &str) -> Result<Exec, ExpectError> {
        let refuse = || ExpectError::Command(text.to_owned());
        let (line, status) = split_status(text);
        let status = u8::try_from(status.unwrap_or(0)).map_err(|_| refuse())?;
        let command = shlex::split(line).filter(|words| !words.is_empty()).ok_or_else(refuse)?;
        Ok(Exec { command, status })
    }
}

/// `TEXT=NUMBER` as its two parts; a text without a number of one to three digits at its end is all text.
fn split_status(text: &str) -> (&str, Option<u16>) {
    match text.rsplit_once('=') {
        Some((rest, digits)) if matches!(digits.len(), 1..=3) && digits.bytes().all(|b| b.is_ascii_digit()) => {
            (rest, digits.parse().ok())
        }
        _ => (text, None),
    }
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
            Expectation::Output(pattern @ Pattern::Text(_)) => write!(f, "expect {pattern}"),
            Expectation::Output(pattern) => write!(f, "expect-regex {pattern}"),
            Expectation::Reject(pattern @ Pattern::Text(_)) => write!(f, "reject {pattern}"),
            Expectation::Reject(pattern) => write!(f, "reject-regex {pattern}"),
            Expectation::ExitCode(code) => write!(f, "exit-code {code}"),
            Expectation::Tcp(port) => write!(f, "tcp {port}"),
            Expectation::Http(http) => {
                f.write_str("http ")?;
                if let Some(port) = http.port {
                    write!(f, ":{port}")?;
                }
                write!(f, "{}={}", http.path, http.status)
            }
            Expectation::Exec(exec) => {
                let words = exec.command.iter().map(String::as_str);
                write!(f, "exec {}={}", shlex::try_join(words).unwrap_or_default(), exec.status)
            }
            Expectation::Healthy => f.write_str("healthy"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_commands_as_they_are_written() {
        let http = |port, path: &str, status| Ok(Http { port, path: path.into(), status });
        for (text, expected) in [
            ("/", http(None, "/", 200)),
            ("/a?b=c", http(None, "/a?b=c", 200)),
            ("/a?b=12=404", http(None, "/a?b=12", 404)),
            (":8080/x=301", http(Some(8080), "/x", 301)),
        ] {
            assert_eq!(text.parse::<Http>(), expected, "{text}");
        }
        for bad in ["", "x", "example.org/", ":0/", ":x/", "/=99", "/a b"] {
            assert!(bad.parse::<Http>().is_err(), "{bad}");
        }
        let exec = |words: &[&str], status| Ok(Exec { command: words.iter().map(|&w| w.into()).collect(), status });
        assert_eq!("nginx -t".parse::<Exec>(), exec(&["nginx", "-t"], 0));
        assert_eq!("sh -c 'exit 3'=3".parse::<Exec>(), exec(&["sh", "-c", "exit 3"], 3));
        assert_eq!("env A=1=0".parse::<Exec>(), exec(&["env", "A=1"], 0));
        for bad in ["", "  ", "'open", "x=256"] {
            assert!(bad.parse::<Exec>().is_err(), "{bad}");
        }
    }

    #[test]
    fn patterns_that_hold_for_nothing_are_refused() {
        assert_eq!(Pattern::text("").unwrap_err(), ExpectError::Empty);
        assert_eq!(Pattern::regex("x*").unwrap_err(), ExpectError::Empty);
        assert!(matches!(Pattern::regex("(").unwrap_err(), ExpectError::Regex(_)));
        assert!(Pattern::regex("(a{1000}){1000}").is_err());
    }

    #[test]
    fn an_expectation_shows_as_it_is_written() {
        let shown = |e: Expectation| e.to_string();
        assert_eq!(shown(Expectation::Http(":81/x".parse().unwrap())), "http :81/x=200");
        assert_eq!(shown(Expectation::Exec("sh -c 'a b'".parse().unwrap())), "exec sh -c 'a b'=0");
        assert_eq!(shown(Expectation::Reject(Pattern::text("a\u{1b}").unwrap())), "reject \"a\\u{1b}\"");
    }
}
