//! The values of `--volume` and `--mount`, with docker's syntax and its words for what is wrong.
//!
//! Source: docker/cli, cli/compose/loader/volume.go, opts/mount.go; moby, volume/mounts/linux_parser.go.

use super::csv;
use crate::escape::escape;
use crate::volumes::name;
use std::path::{Component, Path, PathBuf};

/// One value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// Where: an absolute path without `.`, `..` and what is too many slashes.
    pub at: String,
    /// What.
    pub what: What,
    /// The workload cannot write there.
    pub read_only: bool,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A folder or file of this host; with `make` a folder is made where there is nothing.
    Host { path: PathBuf, make: bool },
    /// A volume, for this machine alone without a name; `seed` has it begin with what the image has there.
    Volume { name: Option<String>, seed: bool },
    /// A file system in memory.
    Tmpfs { options: String },
}

/// Modes that say nothing to a machine: labels of SELinux, caches of Docker Desktop, and what mounts do by themselves.
const MEANS_NOTHING: [&str; 9] =
    ["rw", "z", "Z", "cached", "delegated", "consistent", "default", "private", "rprivate"];

/// `HOST:PATH`, `NAME:PATH`, `PATH`, each with `:ro` and other modes behind it.
pub fn volume(text: &str) -> Result<Parsed, String> {
    if text.is_empty() {
        return Err("invalid empty volume spec".into());
    }
    let parts: Vec<&str> = text.split(':').collect();
    if parts.iter().any(|part| part.is_empty()) {
        return Err("empty section between colons".into());
    }
    match parts[..] {
        [at] => Ok(Parsed { at: place(at)?, what: What::Volume { name: None, seed: true }, read_only: false }),
        [source, at] => from(source, at, ""),
        [source, at, modes] => from(source, at, modes),
        _ => Err("too many colons; a path that has one is given with --mount type=bind,src=HOST,dst=PATH".into()),
    }
}

fn from(source: &str, at: &str, modes: &str) -> Result<Parsed, String> {
    let mut parsed = Parsed { at: place(at)?, what: source_of(source)?, read_only: false };
    for mode in modes.split(',').filter(|mode| !mode.is_empty()) {
        match (mode, &mut parsed.what) {
            ("ro" | "readonly", _) => parsed.read_only = true,
            ("nocopy", What::Volume { seed, .. }) => *seed = false,
            (mode, _) if MEANS_NOTHING.contains(&mode) => {}
            (mode, _) => return Err(format!("invalid mode: {}", escape(mode.as_bytes()))),
        }
    }
    Ok(parsed)
}

/// A path begins with a slash or a dot; anything else is a name.
fn source_of(source: &str) -> Result<What, String> {
    match source.as_bytes().first() {
        Some(b'/' | b'.') => Ok(What::Host { path: host(source)?, make: true }),
        Some(b'~') => Err("~ is the shell's, and only where a word begins with it; write the path".into()),
        _ => named(source),
    }
}

fn named(text: &str) -> Result<What, String> {
    name::check(text).map_err(|_| {
        format!(
            "{} includes invalid characters for a volume name, only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed, 2 to 64 of \
             them; a folder of this host begins with / or ./",
            escape(text.as_bytes())
        )
    })?;
    Ok(What::Volume { name: Some(text.to_owned()), seed: true })
}

fn host(text: &str) -> Result<PathBuf, String> {
    match text.contains('\0') {
        true => Err("a path with a NUL byte".into()),
        false => Ok(PathBuf::from(text)),
    }
}

/// Where it is mounted.
pub fn place(text: &str) -> Result<String, String> {
    if !text.starts_with('/') || text.contains('\0') {
        return Err(format!("invalid mount path: {}: mount path must be absolute", escape(text.as_bytes())));
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in Path::new(text).components() {
        match part {
            Component::Normal(name) => parts.push(name.to_str().unwrap_or_default()),
            Component::ParentDir => drop(parts.pop()),
            _ => {}
        }
    }
    match parts[..] {
        [] => Err("invalid specification: destination can't be '/'".into()),
        ["dev"] | ["sys"] => Err(format!("/{} is the machine's own; a folder in it can be mounted on", parts[0])),
        ["proc", ..] => Err(format!("{} cannot be mounted because it is inside /proc", escape(text.as_bytes()))),
        _ => Ok(format!("/{}", parts.join("/"))),
    }
}

/// The keys of `--mount`, as they come.
#[derive(Default)]
struct Fields {
    kind: Option<String>,
    source: Option<String>,
    target: Option<String>,
    read_only: bool,
    no_copy: Option<bool>,
    tmpfs: Vec<String>,
}

/// `type=bind,src=HOST,dst=PATH,ro` and its like.
pub fn mount(text: &str) -> Result<Parsed, String> {
    let mut found = Fields::default();
    for field in csv::fields(text)? {
        found.add(&field)?;
    }
    found.settle()
}

impl Fields {
    fn add(&mut self, field: &str) -> Result<(), String> {
        let shown = || escape(field.as_bytes());
        let (key, value) = field.split_once('=').map_or((field, None), |(key, value)| (key, Some(value)));
        let truth = || match value {
            None | Some("true" | "1") => Ok(true),
            Some("false" | "0") => Ok(false),
            Some(_) => Err(format!("invalid value for {key}: {}", shown())),
        };
        let key = key.to_ascii_lowercase();
        match (key.as_str(), value) {
            ("readonly" | "ro", _) => self.read_only = truth()?,
            ("volume-nocopy", _) => self.no_copy = Some(truth()?),
            (_, None) => return Err(format!("invalid field '{}' must be a key=value pair", shown())),
            ("type", Some(value)) => self.kind = Some(value.to_ascii_lowercase()),
            ("source" | "src", Some(value)) => self.source = Some(value.to_owned()),
            ("target" | "dst" | "destination", Some(value)) => self.target = Some(value.to_owned()),
            ("consistency", Some(_)) | ("bind-propagation", Some("private" | "rprivate")) => {}
            ("tmpfs-size", Some(value)) => self.tmpfs.push(format!("size={value}")),
            ("tmpfs-mode", Some(value)) => self.tmpfs.push(format!("mode={value}")),
            _ => return Err(format!("unexpected key in '{}'", shown())),
        }
        Ok(())
    }

    fn settle(self) -> Result<Parsed, String> {
        let kind = self.kind.as_deref().unwrap_or("volume");
        let invalid = |why: String| format!("invalid mount config for type \"{}\": {why}", escape(kind.as_bytes()));
        let target = self.target.ok_or_else(|| invalid("field Target must not be empty".into()))?;
        let at = place(&target).map_err(invalid)?;
        if kind != "tmpfs" && !self.tmpfs.is_empty() {
            return Err(format!("cannot mix 'tmpfs-*' options with mount type '{}'", escape(kind.as_bytes())));
        }
        if kind != "volume" && self.no_copy.is_some() {
            return Err(format!("cannot mix 'volume-*' options with mount type '{}'", escape(kind.as_bytes())));
        }
        let what = match (kind, self.source) {
            ("bind", None) => return Err(invalid("field Source must not be empty".into())),
            ("bind", Some(source)) => What::Host { path: host(&source).map_err(invalid)?, make: false },
            ("volume", None) => What::Volume { name: None, seed: self.no_copy != Some(true) },
            ("volume", Some(source)) => match named(&source).map_err(invalid)? {
                What::Volume { name, .. } => What::Volume { name, seed: self.no_copy != Some(true) },
                other => other,
            },
            ("tmpfs", None) => What::Tmpfs { options: tmpfs(self.tmpfs, self.read_only).map_err(invalid)? },
            ("tmpfs", Some(_)) => return Err(invalid("field Source must not be specified".into())),
            _ => return Err(format!("mount type unknown: {}", escape(kind.as_bytes()))),
        };
        Ok(Parsed { at, what, read_only: self.read_only })
    }
}

/// As `--tmpfs` has them.
fn tmpfs(mut options: Vec<String>, read_only: bool) -> Result<String, String> {
    options.extend(read_only.then(|| "ro".to_owned()));
    let options = options.join(",");
    crate::guest::surroundings::tmpfs_options(&options)
        .map_err(|option| format!("not an option of a tmpfs: {}", escape(option.as_bytes())))?;
    Ok(options)
}
