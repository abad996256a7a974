//! The arguments of a build as they were given, for its statement.
//!
//! Left out: what decides nothing of the disk. Values of variables are never told, and neither is a password in an address: who
//! reads a statement need not be who may read the disk. Files are told by their paths, and not by what is in them.

use super::Cli;
use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, CommandFactory};
use serde_json::{Map, Value, json};
use std::ffi::OsStr;

/// Arguments that decide nothing of the disk, or have a place of their own.
const LEFT_OUT: [&str; 13] = [
    "image",
    "command",
    "output",
    "no_sync",
    "verify",
    "json",
    "threads",
    "quiet",
    "progress",
    "sbom",
    "provenance",
    "no_cache",
    "pull",
];

/// Image, options and command.
pub fn parameters(given: &ArgMatches, image: &OsStr) -> Value {
    let cli = Cli::command();
    let build = cli.find_subcommand("build").into_iter();
    let mut options = Map::new();
    for argument in build.flat_map(|build| build.get_arguments()) {
        let id = argument.get_id().as_str();
        if LEFT_OUT.contains(&id) || !is_given(given, id) {
            continue;
        }
        let name = argument.get_long().map_or_else(|| id.to_owned(), |long| format!("--{long}"));
        let mut values = values(given, id).map(|value| told(id, &value)).collect::<Vec<_>>();
        let value = match argument.get_action() {
            ArgAction::Append => json!(values),
            action if action.takes_values() && values.len() == 1 => json!(values.remove(0)),
            action if action.takes_values() => json!(values),
            _ => json!(true),
        };
        options.insert(name, value);
    }
    let mut parameters = json!({ "image": without_credentials(&image.to_string_lossy()), "options": options });
    if is_given(given, "command") {
        parameters["command"] = values(given, "command").collect();
    }
    parameters
}

fn is_given(given: &ArgMatches, id: &str) -> bool {
    given.try_contains_id(id).unwrap_or(false) && given.value_source(id) == Some(ValueSource::CommandLine)
}

fn values(given: &ArgMatches, id: &str) -> impl Iterator<Item = String> {
    given.get_raw(id).into_iter().flatten().map(|value| value.to_string_lossy().into_owned())
}

/// What is told of an option's value.
fn told(id: &str, value: &str) -> String {
    match id {
        "env" => value.split('=').next().unwrap_or_default().to_owned(),
        _ => without_credentials(value),
    }
}

/// An address without the user and password before its host (RFC 3986, 3.2.1). Text that is no address stays.
pub fn without_credentials(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    // The host has no @, and a digest behind the name has no place there.
    let host = rest[..end].rfind('@').filter(|at| !rest[..end][at + 1..].starts_with("sha"));
    host.map_or_else(|| text.to_owned(), |at| format!("{scheme}://{}", &rest[at + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lose_their_credentials_and_nothing_else() {
        for (given, told) in [
            ("docker://me:secret@host:5000/app:1", "docker://host:5000/app:1"),
            ("https://token@host/x?y=a@b", "https://host/x?y=a@b"),
            ("docker://app@sha256:00", "docker://app@sha256:00"),
            ("docker://host/app@sha256:00", "docker://host/app@sha256:00"),
            ("app.tar:name@x", "app.tar:name@x"),
            ("oci:layout:tag", "oci:layout:tag"),
        ] {
            assert_eq!(without_credentials(given), told, "{given}");
        }
    }

    #[test]
    fn options_are_told_as_given_without_what_is_secret() {
        let words = [
            "bootdisk",
            "build",
            "app.tar",
            "-o",
            "x.img",
            "--env",
            "TOKEN=secret",
            "-e",
            "HOME",
            "--size",
            "2G",
            "--password",
            "root:hash",
            "--read-only",
            "--firmware",
            "uefi,bios",
            "--no-sync",
            "--",
            "sh",
            "-c",
            "a b",
        ];
        let matches = Cli::command().try_get_matches_from(words).unwrap();
        let (_, given) = matches.subcommand().unwrap();
        let expected = json!({
            "image": "app.tar",
            "options": {
                "--env": ["TOKEN", "HOME"],
                "--size": "2G",
                "--password": ["root:hash"],
                "--read-only": true,
                "--firmware": ["uefi", "bios"],
            },
            "command": ["sh", "-c", "a b"],
        });
        assert_eq!(parameters(given, OsStr::new("app.tar")), expected);
    }
}
