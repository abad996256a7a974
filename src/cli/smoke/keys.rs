//! Keys of a spec file, as words of the command line: `http = ["/", "/a"]` is `--http=/ --http=/a`. One definition says
//! what a key is called, how often it may be given and what its values are.
//!
//! Layers are put over each other (the file's defaults, a test, the command line): what may be given several times adds
//! up, anything else is replaced. So are the matrix and the command, each of which is one thing with several words.

use super::machines::AfterText;
use super::settings::Settings;
use crate::source::Reference;
use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory, Parser, parser::ValueSource};
use std::any::TypeId;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use toml::de::DeValue;

/// What a test of a spec file can say.
#[derive(Parser, Debug)]
#[command(no_binary_name = true, disable_help_flag = true)]
pub struct Keys {
    /// Name in reports and of logs [default: the file's name without its extension]
    #[arg(long)]
    pub name: Option<String>,
    /// Image to test, as for build; a path in it is relative to the spec file
    #[arg(long)]
    pub image: Option<String>,
    /// Disk to test, relative to the spec file
    #[arg(long)]
    pub disk: Option<PathBuf>,
    /// What a machine of several starts after: NAME, once that one is healthy (with a HEALTHCHECK), has ended with its
    /// exit-code (with that key) or has started; NAME:CMD, once the command succeeds there
    #[arg(long, value_name = "NAME[:CMD]")]
    pub after: Vec<AfterText>,
    /// Let a machine of several reach what this host reaches, and not only the others
    #[arg(long)]
    pub outside: bool,
    #[command(flatten)]
    pub settings: Settings,
}

/// A key with its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    key: String,
    /// Line of the spec file, 0 for the command line.
    pub line: usize,
    words: Vec<OsString>,
}

impl Given {
    /// What it is called.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// As words of a command line.
    pub fn words(&self) -> &[OsString] {
        &self.words
    }
}

/// Why a key or its value is none, without its place.
type Refusal = String;

/// The definition of all keys.
pub struct Definition(Command);

impl Definition {
    /// As clap has it.
    pub fn new() -> Definition {
        let mut command = Keys::command();
        command.build();
        Definition(command)
    }

    /// Every key, `command` for what stands behind `--`.
    pub fn keys(&self) -> impl Iterator<Item = (&str, &Arg)> {
        self.0.get_arguments().map(|arg| (arg.get_long().unwrap_or("command"), arg))
    }

    fn find(&self, key: &str) -> Option<&Arg> {
        self.keys().find(|(known, _)| *known == key).map(|(_, arg)| arg)
    }

    /// A key of a spec file in the folder `dir`.
    pub fn given(&self, key: &str, line: usize, value: &DeValue<'_>, dir: &Path) -> Result<Given, Refusal> {
        let arg = self.find(key).ok_or_else(|| unknown(key))?;
        let words = match scalars(value)
            .ok_or_else(|| format!("{key} is neither a text, nor a number, nor a list of them"))?
        {
            Scalars::Truth(truth) if stands_alone(arg) => {
                truth.then(|| format!("--{key}").into()).into_iter().collect()
            }
            Scalars::Truth(_) => return Err(format!("{key} needs a value, not true or false")),
            Scalars::Texts(_) if is_flag(arg) => return Err(format!("{key} is true or false")),
            Scalars::Texts(texts) if key == "command" => words_of_command(value, texts)?,
            Scalars::Texts(texts) if texts.len() != 1 && !repeats(arg) => return Err(format!("{key} takes one value")),
            Scalars::Texts(texts) => {
                texts.iter().map(|text| format!("--{key}={}", relative_to(dir, key, arg, text)).into()).collect()
            }
        };
        Ok(Given { key: key.to_owned(), line, words })
    }

    /// What the command line of `test` says of all tests.
    pub fn of_command_line(&self, matches: &ArgMatches) -> Vec<Given> {
        let given = |(key, arg): (&str, &Arg)| {
            let id = arg.get_id().as_str();
            // Name, image and disk are keys alone.
            let known = matches.try_contains_id(id).is_ok();
            if !known || matches.value_source(id) != Some(ValueSource::CommandLine) {
                return None;
            }
            let word = |value: &std::ffi::OsStr| match key {
                "command" => value.to_owned(),
                _ => [OsString::from(format!("--{key}=")), value.to_owned()].into_iter().collect(),
            };
            let words = match is_flag(arg) {
                true => vec![format!("--{key}").into()],
                false => matches.get_raw(id).into_iter().flatten().map(word).collect(),
            };
            Some(Given { key: key.to_owned(), line: 0, words })
        };
        self.keys().filter_map(given).collect()
    }

    /// Layers over each other, the later over the earlier.
    pub fn merge(&self, layers: &[&[Given]]) -> Vec<Given> {
        let mut merged: Vec<Given> = Vec::new();
        for one in layers.iter().copied().flatten() {
            let adds = self.find(&one.key).is_some_and(repeats) && !["matrix", "command"].contains(&one.key.as_str());
            if !adds {
                merged.retain(|other| other.key != one.key);
            }
            merged.push(one.clone());
        }
        // What follows `--` ends the options.
        merged.sort_by_key(|one| one.key == "command");
        merged
    }

    /// Reads the values; what is wrong, with its line where one key alone is.
    pub fn read(&self, given: &[Given]) -> Result<Keys, (usize, Refusal)> {
        read(given).map_err(|error| {
            let one = given.iter().find_map(|one| Some((one.line, read(std::slice::from_ref(one)).err()?)));
            one.map_or_else(|| (0, said(&error)), |(line, error)| (line, said(&error)))
        })
    }
}

fn read(given: &[Given]) -> Result<Keys, clap::Error> {
    let command = given.iter().any(|one| one.key == "command" && !one.words.is_empty());
    let (options, rest): (Vec<&Given>, Vec<&Given>) = given.iter().partition(|one| one.key != "command");
    let words = |given: Vec<&Given>| given.into_iter().flat_map(|one| one.words.clone()).collect::<Vec<_>>();
    let end = command.then(|| OsString::from("--"));
    Keys::try_parse_from(words(options).into_iter().chain(end).chain(words(rest)))
}

/// What clap says, in one line.
fn said(error: &clap::Error) -> String {
    let text = error.to_string();
    let lines = text.lines().map(str::trim).take_while(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join(" ").trim_start_matches("error: ").to_owned()
}

/// Of a key that there is not, with the nearest that there is.
fn unknown(key: &str) -> Refusal {
    let error = Keys::try_parse_from([format!("--{key}")]).err();
    let nearest = error.as_ref().and_then(|error| error.get(ContextKind::SuggestedArg));
    let key = crate::escape::escape(key.as_bytes());
    match nearest {
        Some(ContextValue::String(known)) => {
            format!("unknown key {key}; a similar one is {}", known.trim_start_matches("--"))
        }
        _ => format!("unknown key {key}"),
    }
}

enum Scalars {
    Truth(bool),
    Texts(Vec<String>),
}

/// A list of one is as good as the one. `None` for tables, dates and lists of lists.
fn scalars(value: &DeValue<'_>) -> Option<Scalars> {
    let text = |value: &DeValue<'_>| match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Float(number) => Some(number.to_string()),
        _ => None,
    };
    match value {
        DeValue::Boolean(truth) => Some(Scalars::Truth(*truth)),
        DeValue::Array(list) => list.iter().map(|one| text(one.get_ref())).collect::<Option<_>>().map(Scalars::Texts),
        one => Some(Scalars::Texts(vec![text(one)?])),
    }
}

/// A command in one text is words as in a shell, as for `exec`.
fn words_of_command(value: &DeValue<'_>, texts: Vec<String>) -> Result<Vec<OsString>, Refusal> {
    let words = match value.is_array() {
        true => Some(texts),
        false => shlex::split(&texts.concat()),
    };
    words.map(|words| words.into_iter().map(OsString::from).collect()).ok_or_else(|| "command has an open quote".into())
}

fn is_flag(arg: &Arg) -> bool {
    !arg.get_action().takes_values()
}

/// Whether it means something without a value.
fn stands_alone(arg: &Arg) -> bool {
    is_flag(arg) || arg.get_num_args().is_some_and(|range| range.min_values() == 0)
}

fn repeats(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append)
}

/// A value with its path, if it is one, relative to the folder of the spec file.
fn relative_to(dir: &Path, key: &str, arg: &Arg, text: &str) -> String {
    let joined = |text: &str| dir.join(text).to_string_lossy().into_owned();
    let kernel = |name: &str| match () {
        // An image that holds one, which may be in a registry.
        () if Reference::names_transport(OsStr::new(name)) => super::names::image_in(dir, name),
        () if is_file_of(dir, name) => joined(name),
        () => name.to_owned(),
    };
    match (key, text.split_once('=')) {
        ("image", _) => super::names::image_in(dir, text),
        ("kernel", _) => kernel(text),
        // What is mounted: only a path that says so is one.
        ("volume", _) if text.starts_with('.') => joined(text),
        // The source comes first.
        ("copy-in", _) => joined(text),
        ("ssh-key" | "password", _) => match text.split_once(':').filter(|(user, _)| !user.contains('/')) {
            Some((user, file)) => format!("{user}:{}", joined(file)),
            None if key == "ssh-key" => joined(text),
            None => text.to_owned(),
        },
        ("credential", Some((name, file))) => format!("{name}={}", joined(file)),
        ("matrix", Some(("kernel", names))) => {
            format!("kernel={}", names.split(',').map(kernel).collect::<Vec<_>>().join(","))
        }
        _ if arg.get_value_parser().type_id() == TypeId::of::<PathBuf>() => joined(text),
        _ => text.to_owned(),
    }
}

/// A kernel may be a name in the store, `image` or `host`: those have no slash, and no file of theirs is beside the spec.
fn is_file_of(dir: &Path, name: &str) -> bool {
    !name.is_empty() && (name.contains('/') || dir.join(name).exists())
}
