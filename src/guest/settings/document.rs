//! The document: its keys, and the settings that it comes to.
//!
//! ```json
//! {
//!   "version": 1,
//!   "command": ["serve", "--port", "80"],
//!   "env": {"LEVEL": "debug", "OLD": null},
//!   "hostname": "web1",
//!   "network": "static:10.0.2.50/24,gateway=10.0.2.2",
//!   "files": [{"path": "/etc/app.conf", "text": "answer = 42\n", "mode": "0640", "owner": "www-data"}],
//!   "credentials": {"db.password": {"base64": "aHVudGVyMg=="}},
//!   "ssh_keys": {"root": ["ssh-ed25519 AAAA... me"]}
//! }
//! ```
//!
//! `docs/settings.schema.json` is the same for other programs.

use super::check;
use super::tree::{Value, from_json, quoted};
use super::{MAX_BYTES, VERSION, base64};
use crate::guest::channel::Overrides;
use crate::guest::network::Network;
use std::fmt;

/// The keys of the document.
pub const KEYS: [&str; 11] = [
    "version",
    "entrypoint",
    "command",
    "env",
    "user",
    "workdir",
    "hostname",
    "network",
    "files",
    "credentials",
    "ssh_keys",
];
/// The keys of a file.
pub const KEYS_OF_A_FILE: [&str; 5] = ["path", "text", "base64", "mode", "owner"];

/// Most files, credentials and users with keys: each is a mount or a file of its own.
const MAX_ITEMS: usize = 256;

/// What a document says. What it does not name stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Replaces the entrypoint and clears the command.
    pub entrypoint: Option<Vec<String>>,
    /// Replaces the command.
    pub command: Option<Vec<String>>,
    /// Variables in the document's order; one without a value is taken away.
    pub env: Vec<(String, Option<Content>)>,
    /// Who the workload is, as `--user` has it.
    pub user: Option<String>,
    /// Its working folder, an absolute path.
    pub workdir: Option<String>,
    /// The machine's name.
    pub hostname: Option<String>,
    /// How the network is configured.
    pub network: Option<Network>,
    /// Files that the workload finds. No path stands twice, and none is below another.
    pub files: Vec<File>,
    /// Credentials, as systemd has them.
    pub credentials: Vec<Credential>,
    /// Lines of users' authorized_keys.
    pub ssh_keys: Vec<(String, Vec<String>)>,
}

/// Bytes that may be secret: they are never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Content(pub Vec<u8>);

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// A file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Where it is in the image: an absolute path without `.` and `..`.
    pub path: String,
    /// What is in it.
    pub content: Content,
    /// Its mode, at most 0777.
    pub mode: u32,
    /// `USER[:GROUP]`, to be looked up in the image.
    pub owner: String,
}

/// A credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// Its file's name.
    pub name: String,
    /// What is in it.
    pub content: Content,
}

/// Reads a document. The error is one line: where, and what is wrong there.
pub fn read(bytes: &[u8]) -> Result<Settings, String> {
    if bytes.len() > MAX_BYTES {
        return Err(format!("more than {MAX_BYTES} bytes"));
    }
    let document = from_json(bytes)?;
    let Some(fields) = document.map() else { return Err("the document is no object".into()) };
    // First of all: of another version nothing else is known.
    match document.get("version") {
        Some(Value::Number(VERSION)) => {}
        Some(_) => return Err(format!("version: only {VERSION} is known")),
        None => return Err(format!("no version; write \"version\": {VERSION}")),
    }
    let mut settings = Settings::default();
    for (name, value) in fields {
        settings.take(name, value)?;
    }
    Ok(settings)
}

impl Settings {
    fn take(&mut self, name: &str, value: &Value) -> Result<(), String> {
        let checked = |check: fn(&str) -> Result<(), &'static str>| checked_text(value, name, check).map(Some);
        match name {
            "version" => {}
            "entrypoint" => self.entrypoint = Some(words(value, name)?),
            "command" => self.command = Some(words(value, name)?),
            "env" => self.env = variables(value, name)?,
            "user" => self.user = checked(check::owner)?,
            "workdir" => self.workdir = checked(|text| if text == "/" { Ok(()) } else { check::path(text) })?,
            "hostname" => {
                self.hostname = checked(|text| if check::host_name(text) { Ok(()) } else { Err("is no host name") })?;
            }
            "network" => {
                let network = text(value, name)?.parse().map_err(|reason: String| at(name, &bounded(&reason)))?;
                self.network = Some(network);
            }
            "files" => self.files = files(value, name)?,
            "credentials" => self.credentials = credentials(value, name)?,
            "ssh_keys" => self.ssh_keys = keys(value, name)?,
            other => return Err(format!("unknown key: {}", quoted(other))),
        }
        Ok(())
    }

    /// What it changes in a boot specification.
    pub fn overrides(&self) -> Overrides {
        let entry = |(name, value): &(String, Option<Content>)| match value {
            Some(value) => format!("{name}={}", String::from_utf8_lossy(&value.0)),
            None => name.clone(),
        };
        Overrides {
            entrypoint: self.entrypoint.clone(),
            cmd: self.command.clone(),
            env: self.env.iter().map(entry).collect(),
            user: self.user.clone(),
            working_dir: self.workdir.clone(),
            hostname: self.hostname.clone(),
            network: self.network.clone(),
            ..Overrides::default()
        }
    }

    /// What it sets, in words for a log: `hostname, 2 variables, 1 file`.
    pub fn summary(&self) -> String {
        let named = [
            ("entrypoint", self.entrypoint.is_some()),
            ("command", self.command.is_some()),
            ("user", self.user.is_some()),
            ("workdir", self.workdir.is_some()),
            ("hostname", self.hostname.is_some()),
            ("network", self.network.is_some()),
        ];
        let keys = self.ssh_keys.iter().map(|(_, lines)| lines.len()).sum();
        let counted = [
            ("variable", self.env.len()),
            ("file", self.files.len()),
            ("credential", self.credentials.len()),
            ("SSH key", keys),
        ];
        let named = named.into_iter().filter(|(_, there)| *there).map(|(name, _)| name.to_owned());
        let plural = |number| if number == 1 { "" } else { "s" };
        let counted = counted.into_iter().filter(|(_, number)| *number > 0);
        let all: Vec<String> =
            named.chain(counted.map(|(what, number)| format!("{number} {what}{}", plural(number)))).collect();
        if all.is_empty() { "nothing".to_owned() } else { all.join(", ") }
    }
}

fn at(place: &str, reason: &str) -> String {
    format!("{place}: {reason}")
}

/// A reason that may quote what was given: its beginning.
fn bounded(reason: &str) -> String {
    reason.chars().take(160).collect()
}

fn text<'a>(value: &'a Value, place: &str) -> Result<&'a str, String> {
    value.text().ok_or_else(|| at(place, "is no text"))
}

fn checked_text(value: &Value, place: &str, check: fn(&str) -> Result<(), &'static str>) -> Result<String, String> {
    let text = text(value, place)?;
    check(text).map_err(|reason| at(place, reason))?;
    Ok(text.to_owned())
}

fn list<'a>(value: &'a Value, place: &str) -> Result<&'a [Value], String> {
    value.list().ok_or_else(|| at(place, "is no list"))
}

/// The fields of an object, each with its place.
fn fields<'a>(value: &'a Value, place: &str, most: usize) -> Result<Vec<(&'a str, String, &'a Value)>, String> {
    let fields = value.map().ok_or_else(|| at(place, "is no object"))?;
    if fields.len() > most {
        return Err(at(place, &format!("more than {most}")));
    }
    Ok(fields.iter().map(|(name, value)| (name.as_str(), format!("{place}.{}", quoted(name)), value)).collect())
}

fn words(value: &Value, place: &str) -> Result<Vec<String>, String> {
    let items = list(value, place)?.iter().enumerate();
    items.map(|(number, item)| checked_text(item, &format!("{place}[{number}]"), check::word)).collect()
}

fn variables(value: &Value, place: &str) -> Result<Vec<(String, Option<Content>)>, String> {
    let one = |(name, place, value): (&str, String, &Value)| {
        check::variable(name).map_err(|reason| at(&place, reason))?;
        let value = match value {
            Value::Null => None,
            Value::Text(text) if text.len() + name.len() >= check::MAX_WORD => {
                return Err(at(&place, "is longer than the kernel takes, 131071 bytes with its name"));
            }
            Value::Text(text) => {
                check::word(text).map_err(|reason| at(&place, reason))?;
                Some(Content(text.clone().into_bytes()))
            }
            _ => return Err(at(&place, "is neither text nor null")),
        };
        Ok((name.to_owned(), value))
    };
    fields(value, place, usize::MAX)?.into_iter().map(one).collect()
}

fn files(value: &Value, place: &str) -> Result<Vec<File>, String> {
    let items = list(value, place)?;
    if items.len() > MAX_ITEMS {
        return Err(at(place, &format!("more than {MAX_ITEMS}")));
    }
    let read = |(number, item): (usize, &Value)| file(item, &format!("{place}[{number}]"));
    let files = items.iter().enumerate().map(read).collect::<Result<Vec<File>, String>>()?;
    let mut paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
    paths.sort_unstable();
    for (number, path) in paths.iter().enumerate() {
        let below =
            |other: &&str| other.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        if paths[number + 1..].iter().any(below) {
            return Err(at(place, &format!("two files with one path, or one below the other: {}", quoted(path))));
        }
    }
    Ok(files)
}

fn file(value: &Value, place: &str) -> Result<File, String> {
    for (name, place, _) in fields(value, place, usize::MAX)? {
        if !KEYS_OF_A_FILE.contains(&name) {
            return Err(format!("unknown key: {place}"));
        }
    }
    let Some(path) = value.get("path") else { return Err(at(place, "has no path")) };
    let path = checked_text(path, &format!("{place}.path"), check::place)?;
    let mode = value.get("mode").map(|mode| {
        let place = format!("{place}.mode");
        check::mode(text(mode, &place)?).map_err(|reason| at(&place, reason))
    });
    let owner = value.get("owner").map(|owner| checked_text(owner, &format!("{place}.owner"), check::owner));
    Ok(File {
        path,
        content: content(value, place)?,
        mode: mode.unwrap_or(Ok(0o644))?,
        owner: owner.unwrap_or_else(|| Ok("0:0".to_owned()))?,
    })
}

fn credentials(value: &Value, place: &str) -> Result<Vec<Credential>, String> {
    let one = |(name, place, value): (&str, String, &Value)| {
        if !check::credential_name(name) {
            return Err(at(&place, "is no credential's name"));
        }
        if name == super::CREDENTIAL {
            return Err(at(&place, "is the document itself"));
        }
        if let Some((_, place, _)) =
            fields(value, &place, usize::MAX)?.into_iter().find(|(name, ..)| !matches!(*name, "text" | "base64"))
        {
            return Err(format!("unknown key: {place}"));
        }
        Ok(Credential { name: name.to_owned(), content: content(value, &place)? })
    };
    fields(value, place, MAX_ITEMS)?.into_iter().map(one).collect()
}

/// `text` or `base64` of an object.
fn content(value: &Value, place: &str) -> Result<Content, String> {
    match (value.get("text"), value.get("base64")) {
        (Some(given), None) => text(given, &format!("{place}.text")).map(|text| Content(text.as_bytes().to_vec())),
        (None, Some(given)) => {
            let place = format!("{place}.base64");
            let bytes = base64::decode(text(given, &place)?);
            bytes.map(Content).ok_or_else(|| at(&place, "is no base64"))
        }
        _ => Err(at(place, "has not one of text and base64")),
    }
}

fn keys(value: &Value, place: &str) -> Result<Vec<(String, Vec<String>)>, String> {
    let one = |(name, place, value): (&str, String, &Value)| {
        check::user(name).map_err(|reason| at(&place, reason))?;
        let lines = list(value, &place)?.iter().enumerate();
        let lines = lines.map(|(number, line)| checked_text(line, &format!("{place}[{number}]"), check::key));
        Ok((name.to_owned(), lines.collect::<Result<Vec<String>, String>>()?))
    };
    fields(value, place, MAX_ITEMS)?.into_iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version_1(rest: &str) -> String {
        format!(r#"{{"version": 1, {rest}}}"#)
    }

    #[test]
    fn a_whole_document_is_read_and_becomes_overrides() {
        let document = version_1(
            r#""entrypoint": ["/bin/sh", "-c"], "command": ["env", ""], "env": {"B": "2=3", "A": "", "OLD": null},
               "user": "www:33", "workdir": "/srv", "hostname": "web-1", "network": "static:10.0.2.50/24",
               "files": [{"path": "/etc/a", "text": "x\n"}, {"path": "/etc/ab", "base64": "AAE=", "mode": "0400", "owner": "www"}],
               "credentials": {"db": {"base64": "aHVudGVy"}, "x": {"text": ""}},
               "ssh_keys": {"root": ["ssh-ed25519 AAAA", "ssh-rsa BBBB"]}"#,
        );
        let settings = read(document.as_bytes()).unwrap();
        assert_eq!(settings.files[0].mode, 0o644);
        assert_eq!((settings.files[0].owner.as_str(), settings.files[1].owner.as_str()), ("0:0", "www"));
        assert_eq!(
            settings.files[1],
            File { path: "/etc/ab".into(), content: Content(vec![0, 1]), mode: 0o400, owner: "www".into() }
        );
        assert_eq!(settings.credentials[0], Credential { name: "db".into(), content: Content(b"hunter".to_vec()) });
        let overrides = settings.overrides();
        assert_eq!(overrides.env, ["B=2=3", "A=", "OLD"]);
        assert_eq!(overrides.entrypoint.unwrap(), ["/bin/sh", "-c"]);
        assert_eq!(overrides.cmd.unwrap(), ["env", ""]);
        assert_eq!(overrides.network.unwrap(), "static:10.0.2.50/24".parse().unwrap());
        assert_eq!(
            settings.summary(),
            "entrypoint, command, user, workdir, hostname, network, 3 variables, 2 files, 2 credentials, 2 SSH keys"
        );
        let shown = format!("{settings:?}");
        assert!(!shown.contains("104, 117") && !shown.contains("2=3") && shown.contains("6 bytes"), "{shown}");
    }

    #[test]
    fn the_least_document_changes_nothing() {
        let settings = read(br#"{"version": 1}"#).unwrap();
        assert_eq!((settings.clone(), settings.summary().as_str()), (Settings::default(), "nothing"));
        assert_eq!(settings.overrides(), Overrides::default());
        assert_eq!(read(version_1(r#""env": {"A": "1"}"#).as_bytes()).unwrap().summary(), "1 variable");
    }

    #[test]
    fn any_fault_refuses_all_of_it_with_its_place_and_never_a_value() {
        let long = "s3cret".repeat(30_000);
        for (rest, error) in [
            (r#""hostnam": "s3cret""#, "unknown key: hostnam"),
            (r#""hostname": "a b s3cret""#, "hostname: is no host name"),
            (r#""hostname": 7"#, "hostname: is no text"),
            (r#""command": "s3cret""#, "command: is no list"),
            (r#""command": ["a", ["s3cret"]]"#, "command[1]: is no text"),
            (r#""command": ["\u0000s3cret"]"#, "command[0]: has a zero byte"),
            (r#""env": ["A=s3cret"]"#, "env: is no object"),
            (r#""env": {"A": 1}"#, "env.A: is neither text nor null"),
            (r#""env": {"": "s3cret"}"#, "env.: is empty"),
            (r#""env": {"A=s": "s3cret"}"#, "env.A=s: is no variable's name"),
            (r#""env": {"A": "\u0000s3cret"}"#, "env.A: has a zero byte"),
            (
                &format!(r#""env": {{"A": "{long}"}}"#),
                "env.A: is longer than the kernel takes, 131071 bytes with its name",
            ),
            (r#""env": {"A": "s3cret", "A": null}"#, "given twice: A"),
            (r#""env": {}, "env": {}"#, "given twice: env"),
            (r#""user": "a:b:c""#, "user: is not USER or USER:GROUP"),
            (r#""workdir": "srv""#, "workdir: is no absolute path"),
            (r#""network": "wifi""#, "network: not dhcp, none or static:ADDRESS/PREFIX"),
            (r#""network": {"dhcp": true}"#, "network: is no text"),
            (r#""files": {}"#, "files: is no list"),
            (r#""files": ["/a"]"#, "files[0]: is no object"),
            (r#""files": [{"text": ""}]"#, "files[0]: has no path"),
            (r#""files": [{"path": "/a"}]"#, "files[0]: has not one of text and base64"),
            (r#""files": [{"path": "/a", "text": "", "base64": ""}]"#, "files[0]: has not one of text and base64"),
            (r#""files": [{"path": "/a", "base64": "s3cret!"}]"#, "files[0].base64: is no base64"),
            (r#""files": [{"path": "/a/../b", "text": ""}]"#, "files[0].path: has an empty name, . or .. in it"),
            (r#""files": [{"path": "/a", "text": "", "mode": 420}]"#, "files[0].mode: is no text"),
            (r#""files": [{"path": "/a", "text": "", "mode": "4755"}]"#, "files[0].mode: is not a mode like 0640"),
            (r#""files": [{"path": "/a", "text": "", "own": "x"}]"#, "unknown key: files[0].own"),
            (
                r#""files": [{"path": "/a", "text": ""}, {"path": "/a", "text": ""}]"#,
                "files: two files with one path, or one below the other: /a",
            ),
            (
                r#""files": [{"path": "/a/b", "text": ""}, {"path": "/a.b", "text": ""}, {"path": "/a", "text": ""}]"#,
                "files: two files with one path, or one below the other: /a",
            ),
            (r#""credentials": {"a/b": {"text": "s3cret"}}"#, "credentials.a/b: is no credential's name"),
            (
                r#""credentials": {"bootdisk.settings": {"text": ""}}"#,
                "credentials.bootdisk.settings: is the document itself",
            ),
            (r#""credentials": {"a": "s3cret"}"#, "credentials.a: is no object"),
            (r#""credentials": {"a": {"txt": "s3cret"}}"#, "unknown key: credentials.a.txt"),
            (r#""credentials": {"a": {}}"#, "credentials.a: has not one of text and base64"),
            (r#""ssh_keys": {"root": "s3cret"}"#, "ssh_keys.root: is no list"),
            (r#""ssh_keys": {"root": ["a\nb"]}"#, "ssh_keys.root[0]: is no line of authorized_keys"),
            (r#""ssh_keys": {"a:b": []}"#, "ssh_keys.a:b: is no user"),
        ] {
            // What comes in front of the fault must not count either.
            let document = version_1(rest);
            let found = read(document.as_bytes()).err().unwrap_or_default();
            let found =
                if found.starts_with("line 1, column ") { found.split_once(": ").unwrap().1 } else { found.as_str() };
            assert_eq!(found, error, "{rest:.80}");
            assert!(!found.contains("s3cret") && found.len() < 200 && !found.contains('\n'));
        }
    }

    #[test]
    fn another_version_and_other_kinds_of_documents_are_refused() {
        for (document, error) in [
            ("{}", "no version; write \"version\": 1"),
            (r#"{"version": 2, "new": {}}"#, "version: only 1 is known"),
            (r#"{"version": "1"}"#, "version: only 1 is known"),
            ("[]", "the document is no object"),
            ("null", "the document is no object"),
            ("#cloud-config\n", "line 1, column 1: expected value"),
        ] {
            assert_eq!(read(document.as_bytes()).unwrap_err(), error, "{document}");
        }
        assert_eq!(read(&vec![b' '; MAX_BYTES + 1]).unwrap_err(), "more than 1048576 bytes");
        let many: String = (0..257).map(|n| format!(r#"{{"path": "/{n}", "text": ""}},"#)).collect();
        let error = read(version_1(&format!(r#""files": [{}]"#, many.trim_end_matches(','))).as_bytes()).unwrap_err();
        assert_eq!(error, "files: more than 256");
    }

    #[test]
    fn the_published_schema_has_the_keys_that_are_read() {
        let schema: serde_json::Value =
            serde_json::from_str(include_str!("../../../docs/settings.schema.json")).expect("JSON");
        let keys = |schema: &serde_json::Value| {
            let mut keys: Vec<String> = schema["properties"].as_object().expect("keys").keys().cloned().collect();
            keys.sort();
            keys
        };
        let sorted = |keys: &[&str]| {
            let mut keys: Vec<String> = keys.iter().map(|&key| key.to_owned()).collect();
            keys.sort();
            keys
        };
        assert_eq!(keys(&schema), sorted(&KEYS));
        assert_eq!(keys(&schema["properties"]["files"]["items"]), sorted(&KEYS_OF_A_FILE));
        let credential = &schema["properties"]["credentials"]["additionalProperties"];
        assert_eq!(keys(credential), ["base64", "text"]);
        // Each key of the list is one that is read, of whatever kind.
        for key in KEYS {
            let read = read(format!(r#"{{"version": 1, "{key}": [0]}}"#).as_bytes());
            assert!(!read.unwrap_err().starts_with("unknown key"), "{key}");
        }
    }
}
