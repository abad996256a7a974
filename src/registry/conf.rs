//! Ways to a registry as `registries.conf` has them: mirrors, other places, registries without TLS, blocked ones.
//!
//! ```text
//!  [[registry]]
//!  prefix = "docker.io/library"     what it is about; without one its location
//!  location = "mirror.example/hub"  where that is
//!  insecure = true                  no TLS, or a certificate of anybody's
//!  blocked = true
//!  mirror-by-digest-only = true
//!  [[registry.mirror]]              asked first, in this order
//!  location = "localhost:5000"
//!  pull-from-mirror = "all"         or digest-only, tag-only
//! ```
//!
//! The file is `$CONTAINERS_REGISTRIES_CONF`, else the user's, else the system's; the drop-ins beside it (`*.conf` in
//! `registries.conf.d`) add to it. Where they say nothing of Docker's registry, the mirrors of Docker's daemon count. Not
//! supported: short names (they are Docker's) and files of version 1.
//!
//! Specification: containers-registries.conf(5).

use super::conf_error::ConfError;
use super::daemon_conf;
use super::name::{DOCKER, Name};
use super::places;
use super::site::{host, is_loopback};
use super::url::Url;
use serde::Deserialize;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Largest file that is read, in bytes.
const MAX: u64 = 1 << 20;

/// Where Docker's own registry answers.
const DOCKER_HOST: &str = "registry-1.docker.io";

/// One way to an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// Host and port.
    pub authority: String,
    /// The repository there.
    pub repository: String,
    /// The registry whose credentials count.
    pub registry: String,
    /// Whether it may do without TLS, or with anybody's certificate.
    pub insecure: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct File {
    registry: Vec<Entry>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Entry {
    prefix: String,
    location: String,
    insecure: bool,
    blocked: bool,
    mirror_by_digest_only: bool,
    mirror: Vec<Mirror>,
    #[serde(skip)]
    path: PathBuf,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Mirror {
    location: String,
    insecure: bool,
    pull_from_mirror: String,
}

/// The ways to an image, in the order in which they are tried.
///
/// # Errors
/// When a file cannot be used, or the registry is blocked.
pub fn ways(name: &Name) -> Result<Vec<Way>, ConfError> {
    let mut entries = Vec::new();
    for path in files() {
        read(&path, &mut entries)?;
    }
    let own = ways_of(name, &entries)?;
    match name.registry() == DOCKER && !is_covered(name, &entries) {
        true => Ok(daemon_conf::mirrors()?.iter().map(|mirror| mirror_way(mirror, name)).chain(own).collect()),
        false => Ok(own),
    }
}

/// A mirror of Docker's registry, which has the same names.
fn mirror_way(mirror: &Url, name: &Name) -> Way {
    way(&format!("{}/{}", mirror.authority, name.repository()), !mirror.secure)
}

fn is_covered(name: &Name, entries: &[Entry]) -> bool {
    let whole = format!("{}/{}", name.registry(), name.repository());
    entries.iter().any(|entry| entry.covers(&whole).is_some())
}

fn files() -> Vec<PathBuf> {
    let user = places::config().map(|dir| dir.join("containers/registries.conf"));
    let named = places::named("CONTAINERS_REGISTRIES_CONF");
    let main = named.clone().or_else(|| user.clone().filter(|path| path.exists()));
    let system = PathBuf::from("/etc/containers/registries.conf");
    let folders = match named {
        Some(_) => vec![],
        None => [Some(system.clone()), user].into_iter().flatten().map(|path| path.with_extension("conf.d")).collect(),
    };
    [main.unwrap_or(system)].into_iter().chain(folders.iter().flat_map(|folder| drop_ins(folder))).collect()
}

fn drop_ins(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut found: Vec<_> = entries.filter(|path| path.extension().is_some_and(|end| end == "conf")).collect();
    found.sort();
    found
}

/// Adds what a file says; what a later file says of a prefix counts.
fn read(path: &Path, entries: &mut Vec<Entry>) -> Result<(), ConfError> {
    let failed = |source| ConfError::Read { path: path.to_owned(), source };
    let text = match fs::metadata(path) {
        Ok(facts) if facts.len() <= MAX => fs::read_to_string(path).map_err(failed)?,
        Ok(_) => return Err(ConfError::Form { path: path.into(), why: format!("it has more than {MAX} bytes") }),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    add(path, &text, entries)
}

fn add(path: &Path, text: &str, entries: &mut Vec<Entry>) -> Result<(), ConfError> {
    let parsed: Result<File, toml::de::Error> = toml::from_str(text);
    let parsed = parsed.map_err(|error| ConfError::Form { path: path.into(), why: error.message().into() })?;
    for mut entry in parsed.registry {
        entry.path = path.to_owned();
        entries.retain(|other| other.key() != entry.key());
        entries.push(entry);
    }
    Ok(())
}

/// The ways that a file alone leads to an image.
pub fn ways_by(text: &str, name: &Name) -> Result<Vec<Way>, ConfError> {
    let mut entries = Vec::new();
    add(Path::new("registries.conf"), text, &mut entries)?;
    ways_of(name, &entries)
}

impl Entry {
    fn key(&self) -> &str {
        if self.prefix.is_empty() { &self.location } else { &self.prefix }
    }

    /// How much of a name it is about, in bytes.
    fn covers(&self, name: &str) -> Option<usize> {
        let key = self.key();
        if let Some(parent) = key.strip_prefix("*.") {
            let host = host(name.split('/').next()?);
            return host.strip_suffix(parent).is_some_and(|rest| rest.ends_with('.')).then_some(host.len());
        }
        let rest = name.strip_prefix(key).filter(|_| !key.is_empty())?;
        (rest.is_empty() || rest.starts_with(['/', ':', '@'])).then_some(key.len())
    }
}

fn ways_of(name: &Name, entries: &[Entry]) -> Result<Vec<Way>, ConfError> {
    let whole = format!("{}/{}", name.registry(), name.repository());
    let covering = entries.iter().filter_map(|entry| Some((entry.covers(&whole)?, entry)));
    let Some((length, entry)) = covering.max_by_key(|(length, _)| *length) else {
        return Ok(vec![way(&whole, false)]);
    };
    if entry.blocked {
        return Err(ConfError::Blocked { prefix: entry.key().into(), path: entry.path.clone() });
    }
    let rest = &whole[length..];
    let mirrors = entry.mirror.iter().filter(|mirror| !mirror.location.is_empty());
    let mirrors = mirrors.filter(|mirror| match mirror.pull_from_mirror.as_str() {
        "digest-only" => name.digest().is_some(),
        "tag-only" => name.digest().is_none(),
        _ => !entry.mirror_by_digest_only || name.digest().is_some(),
    });
    let mut ways: Vec<Way> =
        mirrors.map(|mirror| way(&format!("{}{rest}", mirror.location), mirror.insecure)).collect();
    let place = if entry.location.is_empty() || entry.key().starts_with("*.") && entry.location == entry.key() {
        whole.clone()
    } else {
        format!("{}{rest}", entry.location)
    };
    ways.push(way(&place, entry.insecure));
    Ok(ways)
}

fn way(whole: &str, insecure: bool) -> Way {
    let (registry, repository) = whole.split_once('/').unwrap_or((whole, ""));
    Way {
        authority: if registry == DOCKER { DOCKER_HOST } else { registry }.to_owned(),
        repository: repository.to_owned(),
        registry: registry.to_owned(),
        insecure: insecure || is_loopback(registry),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ways_in(text: &str, name: &str) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        let mut entries = Vec::new();
        if let Err(error) = read(file.path(), &mut entries) {
            return crate::escape::chain(&error).replace(&file.path().display().to_string(), "FILE");
        }
        let shown = |way: &Way| format!("{}{}/{}", if way.insecure { "!" } else { "" }, way.authority, way.repository);
        match ways_of(&Name::parse(name).unwrap(), &entries) {
            Ok(ways) => ways.iter().map(shown).collect::<Vec<_>>().join(" "),
            Err(error) => error.to_string().replace(&file.path().display().to_string(), "FILE"),
        }
    }

    const MIRRORS: &str = r#"
        unqualified-search-registries = ["example.com"]
        [[registry]]
        location = "docker.io"
        [[registry.mirror]]
        location = "mirror.example:5000/hub"
        insecure = true
        [[registry.mirror]]
        location = "second.example"
        pull-from-mirror = "digest-only"
        [[registry]]
        prefix = "docker.io/secret"
        blocked = true
        [[registry]]
        prefix = "old.example/team"
        location = "new.example/archive"
        [[registry]]
        prefix = "*.internal"
        insecure = true
    "#;

    #[test]
    fn the_ways_to_an_image() {
        let pinned = "nginx@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        for (name, expected) in [
            ("nginx", "!mirror.example:5000/hub/library/nginx registry-1.docker.io/library/nginx"),
            (
                pinned,
                "!mirror.example:5000/hub/library/nginx second.example/library/nginx registry-1.docker.io/library/nginx",
            ),
            ("docker.io/secret/x", "docker.io/secret is blocked in FILE"),
            ("docker.io/secrets/x", "!mirror.example:5000/hub/secrets/x registry-1.docker.io/secrets/x"),
            ("old.example/team/app", "new.example/archive/app"),
            ("old.example/teams/app", "old.example/teams/app"),
            ("a.internal/app", "!a.internal/app"),
            ("internal.org/app", "internal.org/app"),
            ("localhost:5000/app", "!localhost:5000/app"),
            ("ghcr.io/x/y", "ghcr.io/x/y"),
        ] {
            assert_eq!(ways_in(MIRRORS, name), expected, "{name}");
        }
        assert_eq!(ways_in("", "nginx"), "registry-1.docker.io/library/nginx");
    }

    #[test]
    fn a_file_that_is_none_is_named() {
        for text in ["[[registry]", "registry = 1", "[[registry]]\ninsecure = \"yes\""] {
            let said = ways_in(text, "nginx");
            assert!(said.starts_with("cannot read FILE: ") && !said.contains('\n'), "{said}");
        }
    }
}
