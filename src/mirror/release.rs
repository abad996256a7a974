//! The Release file: the names of a suite, how long it is valid, and the digests of its lists.

use super::fields::value;
use std::time::{SystemTime, UNIX_EPOCH};

/// A file of the suite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Below the suite.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256 in hexadecimal.
    pub sha256: String,
}

/// A Release file that was verified.
#[derive(Clone, Debug)]
pub struct Release {
    names: Vec<String>,
    valid_until: Option<String>,
    /// Lists can be fetched by their digest, so that an update of the mirror does not disturb.
    pub by_hash: bool,
    files: Vec<Listed>,
}

impl Release {
    /// `None` when it lists no files.
    pub fn read(text: &str) -> Option<Release> {
        let files: Vec<Listed> = value(text, "SHA256")?.lines().filter_map(listed).collect();
        Some(Release {
            names: ["Codename", "Suite"].iter().filter_map(|name| value(text, name)).map(str::to_owned).collect(),
            valid_until: value(text, "Valid-Until").map(str::to_owned),
            by_hash: value(text, "Acquire-By-Hash") == Some("yes"),
            files: (!files.is_empty()).then_some(files)?,
        })
    }

    /// Whether it belongs to this suite, by codename or suite name.
    pub fn is_of(&self, suite: &str) -> bool {
        self.names.iter().any(|name| name == suite)
    }

    /// Its own name.
    pub fn name(&self) -> String {
        self.names.first().map_or("a suite without a name".into(), |name| name.chars().take(80).collect())
    }

    /// The date on which it expired, if it did. A date that cannot be read counts as expired.
    pub fn has_expired(&self, now: SystemTime) -> Option<String> {
        let until = self.valid_until.as_ref()?;
        let parser = jiff::fmt::rfc2822::DateTimeParser::new().relaxed_weekday(true);
        let date = parser.parse_timestamp(until.replace("UTC", "+0000")).ok();
        let now = now.duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs() as i64);
        let is_valid = date.is_some_and(|date| date.as_second() >= now);
        (!is_valid).then(|| crate::escape::escape(until.chars().take(80).collect::<String>().as_bytes()))
    }

    /// A file that it lists.
    pub fn file(&self, path: &str) -> Option<&Listed> {
        self.files.iter().find(|file| file.path == path)
    }
}

fn listed(line: &str) -> Option<Listed> {
    let mut words = line.split_ascii_whitespace();
    let (sha256, size, path) = (words.next()?, words.next()?, words.next()?);
    let is_digest = sha256.len() == 64 && sha256.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    is_digest.then_some(Listed { path: path.to_owned(), size: size.parse().ok()?, sha256: sha256.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_release_is_read_and_ends() {
        let digest = "a".repeat(64);
        let text = format!(
            "Suite: stable\nCodename: bookworm\nValid-Until: Sat, 11 Jul 2026 10:16:37 UTC\nAcquire-By-Hash: yes\n\
             MD5Sum:\n 0 1 main/x\nSHA256:\n {digest} 12 main/binary-amd64/Packages.xz\n junk\n {digest} x y\n"
        );
        let release = Release::read(&text).unwrap();
        assert!(release.is_of("stable") && release.is_of("bookworm") && !release.is_of("trixie") && release.by_hash);
        assert_eq!(release.files.len(), 1);
        assert_eq!(release.file("main/binary-amd64/Packages.xz").unwrap().size, 12);
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(release.has_expired(at(1_783_764_997)), None);
        assert_eq!(release.has_expired(at(1_783_764_998)).as_deref(), Some("Sat, 11 Jul 2026 10:16:37 UTC"));
        let odd = Release::read(&text.replace("Sat, 11 Jul 2026 10:16:37 UTC", "tomorrow")).unwrap();
        assert!(odd.has_expired(at(0)).is_some());
        let for_ever = Release::read(&text.replace("Valid-Until", "Other")).unwrap();
        assert_eq!(for_ever.has_expired(at(1 << 40)), None);
        assert!(Release::read("Suite: stable\n").is_none());
    }
}
