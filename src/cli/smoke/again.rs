//! The command that makes one test again, for a shell.

use super::Host;
use super::keys::Given;
use super::names;
use super::spec::SpecTest;
use crate::smoke::Combination;
use std::ffi::OsString;

/// `bootdisk test` with what the command line says of all tests, and this place in the matrix. Nothing where the words
/// cannot be written for a shell.
pub fn command(test: &SpecTest, said: &[Given], host: &Host, combination: &Combination) -> Option<String> {
    let mut words: Vec<OsString> = ["bootdisk", "test"].map(OsString::from).to_vec();
    match &test.place {
        None => words.push(test.target.clone()),
        Some(place) => {
            words.extend(["--spec".into(), place.file.clone().into(), "--filter".into()]);
            words.push(names::pattern_of(&test.name).into());
        }
    }
    let mut of = |key: fn(&Given) -> bool| {
        said.iter().filter(|given| key(given)).for_each(|given| words.extend(given.words().iter().cloned()));
    };
    of(|given| !["matrix", "command"].contains(&given.key()));
    let command: Vec<&Given> = said.iter().filter(|given| given.key() == "command").collect();
    words.extend(host.words());
    words.extend(combination.axes().map(|(axis, value)| format!("--matrix={}={value}", axis.name()).into()));
    if !command.is_empty() {
        words.push("--".into());
        command.iter().for_each(|given| words.extend(given.words().iter().cloned()));
    }
    let words: Vec<String> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let line = shlex::try_join(words.iter().map(String::as_str)).ok()?;
    Some(crate::escape::printable(&line))
}

#[cfg(test)]
mod tests {
    use super::super::Args;
    use super::super::keys::Definition;
    use super::super::settings::Settings;
    use super::*;
    use crate::smoke::{Matrix, Place};
    use clap::{Args as _, FromArgMatches};

    fn again(line: &[&str], place: Option<Place>, matrix: &[&str]) -> String {
        let command = Args::augment_args(clap::Command::new("test"));
        let matches = command.get_matches_from(line);
        let said = Definition::new().of_command_line(&matches);
        let args = Args::from_arg_matches(&matches).unwrap();
        let settings: Settings = args.settings.clone();
        let test = SpecTest { name: "a [b]*".into(), target: "it's.img".into(), settings, place, machines: Vec::new() };
        let combination = Matrix::parse(matrix.iter().copied()).unwrap().combinations().remove(0);
        command_of(&test, &said, &args.host, &combination)
    }

    fn command_of(test: &SpecTest, said: &[Given], host: &Host, combination: &Combination) -> String {
        command(test, said, host, combination).unwrap()
    }

    #[test]
    fn one_boot_is_made_again_with_what_was_said_of_all() {
        let line = [
            "test",
            "it's.img",
            "--http",
            "/",
            "--matrix=bus=nvme,scsi",
            "--qemu-arg=-x",
            "-j3",
            "--",
            "sh",
            "-c",
            "a b",
        ];
        assert_eq!(
            again(&line, None, &["bus=nvme"]),
            "bootdisk test \"it's.img\" '--http=/' '--qemu-arg=-x' '--matrix=bus=nvme' -- sh -c 'a b'"
        );
        let place = Place { file: "a b/smoke.toml".into(), line: 7 };
        let line = ["test", "--spec", "a b/smoke.toml", "--shard=1/3", "--timeout=7s"];
        assert_eq!(
            again(&line, Some(place), &[]),
            "bootdisk test --spec 'a b/smoke.toml' --filter \"a \\\\[b]\\\\*\" '--timeout=7s'"
        );
    }
}
