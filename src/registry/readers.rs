//! All readers of what registries, token servers and files of configuration say, in one form: bytes to the text of what was
//! understood, or of why nothing was. `fuzz/` feeds them with anything.

use super::auth::parse_token;
use super::challenge;
use super::conf;
use super::credentials::look_in;
use super::daemon_conf;
use super::endpoint::complaint;
use super::fetch::begin_of;
use super::name::Name;
use super::repository::nearest_of;
use super::retry;
use super::url::Url;
use std::fmt::Debug;
use std::time::UNIX_EPOCH;

/// Its name, and itself.
pub type Reader = (&'static str, fn(&[u8]) -> String);

/// See the module.
pub const ALL: [Reader; 11] = [
    ("www-authenticate", |bytes| shown(&challenge::parse(bytes.split(|byte| *byte == b'\n')))),
    ("location", |bytes| shown(&Url::new(true, "ghcr.io", "/v2/a?b").join(&text(bytes)))),
    ("content-range", |bytes| shown(&begin_of(&text(bytes)))),
    ("retry-after", |bytes| shown(&retry::after(&text(bytes), UNIX_EPOCH))),
    ("token", |bytes| shown(&parse_token(bytes))),
    ("complaint", complaint_of),
    ("tags", |bytes| shown(&nearest_of(bytes, "latest"))),
    ("name", |bytes| shown(&Name::parse(&text(bytes)))),
    ("registries.conf", registries_conf),
    ("daemon.json", |bytes| shown(&daemon_conf::parse(bytes))),
    ("config.json", |bytes| shown(&look_in(bytes, &["ghcr.io/x".into(), "ghcr.io".into()]))),
];

fn shown(value: &impl Debug) -> String {
    format!("{value:?}")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn complaint_of(bytes: &[u8]) -> String {
    complaint(bytes)
}

/// The first line is the name of an image, what follows is the file.
fn registries_conf(bytes: &[u8]) -> String {
    let text = text(bytes);
    let (name, file) = text.split_once('\n').unwrap_or(("nginx", &text));
    match Name::parse(name) {
        Ok(name) => shown(&conf::ways_by(file, &name)),
        Err(error) => shown(&error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reader_understands_what_is_right_and_shows_no_secret() {
        let auth = r#"{"auths":{"ghcr.io":{"auth":"bWU6Y2FuYXJ5"}}}"#;
        for (name, bytes, expected) in [
            ("www-authenticate", "Bearer realm=\"x\"", "\"bearer\""),
            ("location", "/b", "\"/b\""),
            ("content-range", "bytes 100-199/200", "Some(100)"),
            ("retry-after", "7", "Some(7)"),
            ("token", r#"{"token":"t"}"#, "Ok("),
            ("complaint", r#"{"errors":[{"code":"DENIED","message":"no"}]}"#, "DENIED: no"),
            ("tags", r#"{"tags":["lates","b"]}"#, r#"["lates", "b"]"#),
            ("name", "nginx", "library/nginx"),
            ("registries.conf", "nginx\n[[registry]]\nprefix = \"docker.io\"\nlocation = \"m.example\"", "m.example"),
            ("daemon.json", r#"{"registry-mirrors":["https://m.example"]}"#, "m.example"),
            ("config.json", auth, "password: ***"),
        ] {
            let (_, read) = ALL.iter().find(|(known, _)| *known == name).unwrap();
            let said = read(bytes.as_bytes());
            assert!(said.contains(expected) && !said.contains("canary"), "{name}: {said}");
        }
    }
}
