//! Which archive is asked: as it was named, or Debian's in the system's apt sources, or Debian's own.

use super::MirrorError;
use super::fields::value;
use crate::escape::escape;
use crate::registry::Url;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// Debian's own, which leads to a mirror nearby, and the suite that is current.
const MIRROR: &str = "http://deb.debian.org/debian";
const SUITE: &str = "stable";
/// Where systems with Debian's keys have them.
const KEYRINGS: [&str; 3] = [
    "/usr/share/keyrings/debian-archive-keyring.pgp",
    "/usr/share/keyrings/debian-archive-keyring.gpg",
    "/etc/apt/trusted.gpg.d/debian-archive-keyring.gpg",
];
/// Most bytes of a file of sources.
const MOST: u64 = 1 << 20;

/// An archive, one suite of it, and whose signature it must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archive {
    /// Its address.
    pub mirror: String,
    /// `bookworm`, `stable`.
    pub suite: String,
    /// OpenPGP keys.
    pub keyring: PathBuf,
}

impl Archive {
    /// A file of it.
    pub(super) fn at(&self, path: &str) -> Result<Url, MirrorError> {
        let text = format!("{}/{path}", self.mirror.trim_end_matches('/'));
        Url::parse(&text).ok_or_else(|| MirrorError::Address(self.mirror.chars().take(200).collect()))
    }

    /// A file of the suite.
    pub(super) fn in_suite(&self, path: &str) -> Result<Url, MirrorError> {
        self.at(&format!("dists/{}/{path}", self.suite))
    }
}

impl fmt::Display for Archive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", escape(self.mirror.as_bytes()), escape(self.suite.as_bytes()))
    }
}

/// The archive for what was given; what was not is as on this system, or Debian's.
///
/// # Errors
/// When there are no keys, or a suite has no name of one.
pub fn of_host(mirror: Option<&str>, suite: Option<&str>, keyring: Option<&Path>) -> Result<Archive, MirrorError> {
    let of_system = files().iter().filter_map(|file| read(file)).find_map(|text| debian(&text));
    let found = of_system.unwrap_or_else(|| Source { mirror: MIRROR.into(), suite: SUITE.into(), keyring: None });
    let suite = suite.map_or(found.suite, str::to_owned);
    let is_name = suite.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._/".contains(&b)) && !suite.contains("..");
    if !is_name || suite.is_empty() {
        return Err(MirrorError::Address(suite));
    }
    let keyring = match keyring {
        Some(keyring) => keyring.to_owned(),
        None => {
            let all = found.keyring.into_iter().chain(KEYRINGS.map(PathBuf::from));
            let looked_at = KEYRINGS.join(", ");
            all.into_iter().find(|path| path.is_file()).ok_or(MirrorError::NoKeyring(looked_at))?
        }
    };
    Ok(Archive { mirror: mirror.map_or(found.mirror, str::to_owned), suite, keyring })
}

/// The system's files of sources, those that apt reads.
fn files() -> Vec<PathBuf> {
    let folder = fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten().map(|entry| entry.path());
    let is_one = |path: &PathBuf| path.extension().is_some_and(|end| end == "list" || end == "sources");
    let mut all: Vec<PathBuf> = folder.filter(is_one).collect();
    all.sort();
    all.insert(0, "/etc/apt/sources.list".into());
    all
}

fn read(path: &Path) -> Option<String> {
    let file = fs::File::open(path).ok()?;
    let bytes = crate::formats::unpack::read_bounded(file, MOST).ok()??;
    String::from_utf8(bytes).ok()
}

/// A line or a stanza of a file.
#[derive(Debug, PartialEq, Eq)]
struct Source {
    mirror: String,
    suite: String,
    keyring: Option<PathBuf>,
}

/// The first source of a file that is a Debian release: not its updates, not somebody else's.
fn debian(text: &str) -> Option<Source> {
    let is_release = |suite: &&str| !suite.contains(['-', '/']);
    let is_debian = |mirror: &&str| mirror.trim_end_matches('/').ends_with("/debian") && mirror.starts_with("http");
    let of_stanza = |stanza: &str| {
        let words = |name| value(stanza, name).unwrap_or_default().split_ascii_whitespace();
        let is_binary = words("Types").any(|kind| kind == "deb") && words("Components").any(|name| name == "main");
        let is_on = !value(stanza, "Enabled").is_some_and(|on| on.eq_ignore_ascii_case("no"));
        let keyring = words("Signed-By").find(|path| path.starts_with('/')).map(PathBuf::from);
        let mirror = words("URIs").find(is_debian).filter(|_| is_binary && is_on)?;
        Some(Source { mirror: mirror.to_owned(), suite: words("Suites").find(is_release)?.to_owned(), keyring })
    };
    let of_line = |line: &str| {
        let rest = line.trim().strip_prefix("deb ")?.trim_start();
        let (options, rest) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((options, rest)) => (options, rest),
            None => ("", rest),
        };
        let words: Vec<&str> = rest.split_ascii_whitespace().collect();
        let [mirror, suite, components @ ..] = words.as_slice() else { return None };
        let is_one = is_debian(mirror) && is_release(suite) && components.contains(&"main");
        let keyring = options.split_ascii_whitespace().find_map(|option| option.strip_prefix("signed-by="));
        is_one.then(|| Source {
            mirror: (*mirror).to_owned(),
            suite: (*suite).to_owned(),
            keyring: keyring.map(PathBuf::from),
        })
    };
    text.lines().find_map(of_line).or_else(|| text.split("\n\n").find_map(of_stanza))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_debian_is_found_among_its_sources() {
        let source = |mirror: &str, suite: &str, keyring: Option<&str>| {
            Some(Source { mirror: mirror.into(), suite: suite.into(), keyring: keyring.map(PathBuf::from) })
        };
        let stanza = "# once\nTypes: deb deb-src\nURIs: http://deb.debian.org/debian\nSuites: trixie trixie-updates\n\
                      Components: main contrib\nSigned-By: /usr/share/keyrings/d.pgp\n";
        let security =
            "Types: deb\nURIs: http://deb.debian.org/debian-security\nSuites: trixie-security\nComponents: main\n";
        for (text, expected) in [
            (
                "deb http://ftp.de.debian.org/debian bookworm main\n",
                source("http://ftp.de.debian.org/debian", "bookworm", None),
            ),
            (
                "deb-src http://a/debian x main\n#deb http://b/debian x main\ndeb [arch=amd64 signed-by=/k.gpg] https://c/debian/ sid main\n",
                source("https://c/debian/", "sid", Some("/k.gpg")),
            ),
            ("deb http://deb.debian.org/debian bookworm-updates main\n", None),
            ("deb http://archive.ubuntu.com/ubuntu noble main\n", None),
            ("deb http://deb.debian.org/debian bookworm contrib\n", None),
            (
                &format!("{security}\n{stanza}"),
                source("http://deb.debian.org/debian", "trixie", Some("/usr/share/keyrings/d.pgp")),
            ),
            (&format!("{stanza}Enabled: no\n"), None),
            ("", None),
        ] {
            assert_eq!(debian(text), expected, "{text}");
        }
    }
}
