//! Words of a command line that clap cannot place by itself, put so that it can.
//!
//! A command behind an image needs no `--` (clap's `trailing_var_arg`): the first word that is neither an option nor an
//! option's value begins it. Two commands need more:
//!
//! ```text
//!  exec [OPTIONS] -- CMD       the machine is left out        becomes   exec [OPTIONS] -- -- CMD
//!  test [OPTIONS] -- CMD       and so is the image            becomes   test [OPTIONS] -- -- CMD
//!  test --matrix A=1 B=2 IMG   several values, then a word    becomes   test --matrix=A=1 --matrix=B=2 IMG
//! ```

use clap::{Arg, Command};
use std::ffi::{OsStr, OsString};

/// What stands for a machine or an image that is left out. Neither is called so.
pub const LEFT_OUT: &str = "--";

/// The words as clap is to read them. `root` has been built.
pub fn arrange(root: &Command, words: Vec<OsString>) -> Vec<OsString> {
    let Some(at) = first_word(root, &words, 1) else { return words };
    match (words[at].to_str(), words[at].to_str().and_then(|name| root.find_subcommand(name))) {
        (Some("exec"), Some(command)) => marked(command, words, at + 1),
        (Some("test"), Some(command)) => marked(command, one_axis_an_option(command, words, at + 1), at + 1),
        _ => words,
    }
}

/// Where `--` is the first word, the one that is left out before it is marked.
fn marked(command: &Command, mut words: Vec<OsString>, from: usize) -> Vec<OsString> {
    let end = options(command, &words, from).end;
    if words.get(end).is_some_and(|word| word == "--") {
        words.insert(end, LEFT_OUT.into());
    }
    words
}

/// Until the command begins, which is the second word.
fn one_axis_an_option(command: &Command, words: Vec<OsString>, from: usize) -> Vec<OsString> {
    let mut arranged = words[..from].to_vec();
    let (mut at, mut target) = (from, false);
    while let Some(word) = words.get(at) {
        match length(command, word) {
            _ if word == "--" => break,
            Some(_) if word == "--matrix" => {
                let values = words[at + 1..].iter().enumerate().take_while(|(n, value)| *n == 0 || is_axis(value));
                let values: Vec<OsString> = values.map(|(_, value)| joined(value)).collect();
                at += 1 + values.len();
                // Without any it is clap that says so.
                arranged.extend(if values.is_empty() { vec![word.clone()] } else { values });
            }
            Some(length) => {
                let end = (at + length).min(words.len());
                arranged.extend_from_slice(&words[at..end]);
                at = end;
            }
            None if target => break,
            None => {
                target = true;
                arranged.push(word.clone());
                at += 1;
            }
        }
    }
    arranged.extend_from_slice(&words[at..]);
    arranged
}

fn joined(value: &OsStr) -> OsString {
    [OsStr::new("--matrix="), value].into_iter().collect()
}

/// `bus=nvme` and not a path with `=` in it.
fn is_axis(word: &OsStr) -> bool {
    let name = word.to_str().and_then(|word| word.split_once('=')).map_or("", |(name, _)| name);
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase())
}

/// Where the first word is that is neither an option nor an option's value.
fn first_word(command: &Command, words: &[OsString], from: usize) -> Option<usize> {
    let end = options(command, words, from).end;
    words.get(end).filter(|word| *word != "--").map(|_| end)
}

/// The options from a place on, with their values.
fn options(command: &Command, words: &[OsString], from: usize) -> std::ops::Range<usize> {
    let mut at = from;
    while let Some(length) = words.get(at).filter(|word| *word != "--").and_then(|word| length(command, word)) {
        at += length;
    }
    from..at.min(words.len())
}

/// How many words an option takes, its value included; `None` for what is no option.
fn length(command: &Command, word: &OsStr) -> Option<usize> {
    let text = word.to_string_lossy();
    if let Some(long) = text.strip_prefix("--") {
        let named = |arg: &&Arg| arg.get_long_and_visible_aliases().is_some_and(|names| names.contains(&long));
        return Some(1 + usize::from(command.get_arguments().find(named).is_some_and(takes_the_next)));
    }
    let cluster = text.strip_prefix('-').filter(|cluster| !cluster.is_empty())?;
    let valued = cluster
        .char_indices()
        .find(|(_, short)| command.get_arguments().any(|arg| arg.get_short() == Some(*short) && takes_the_next(arg)));
    // The rest of the cluster is its value, or else the next word.
    Some(1 + usize::from(valued.is_some_and(|(at, short)| at + short.len_utf8() == cluster.len())))
}

fn takes_the_next(arg: &Arg) -> bool {
    arg.get_action().takes_values() && !arg.is_require_equals_set()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn arranged(line: &str) -> String {
        let mut root = super::super::Cli::command();
        root.build();
        let words = ["bootdisk"].into_iter().chain(line.split(' ')).map(OsString::from).collect();
        let words = arrange(&root, words).into_iter().skip(1).map(|word| word.into_string().unwrap());
        words.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_machine_that_is_left_out_has_a_place_and_no_word_is_lost() {
        for (line, expected) in [
            ("exec -- id", "exec -- -- id"),
            ("-q exec -it --env A=1 -- id -u", "-q exec -it --env A=1 -- -- id -u"),
            ("exec -u 0 -- -- id", "exec -u 0 -- -- -- id"),
            ("exec -itu 0 -- id", "exec -itu 0 -- -- id"),
            ("exec -iu0 -- id", "exec -iu0 -- -- id"),
            ("exec web -- id", "exec web -- id"),
            ("exec -u -- web id", "exec -u -- web id"),
            ("exec web sh -- x", "exec web sh -- x"),
            ("exec", "exec"),
            ("exec --env", "exec --env"),
            ("run -- exec -- id", "run -- exec -- id"),
            ("--progress plain exec -- id", "--progress plain exec -- -- id"),
        ] {
            assert_eq!(arranged(line), expected, "{line}");
        }
    }

    #[test]
    fn a_matrix_ends_where_its_axes_end() {
        for (line, expected) in [
            ("test --matrix bus=nvme disk.img", "test --matrix=bus=nvme disk.img"),
            ("test --matrix bus=nvme firmware=bios disk.img", "test --matrix=bus=nvme --matrix=firmware=bios disk.img"),
            ("test x --matrix bus=nvme nic=none sh -c y", "test x --matrix=bus=nvme --matrix=nic=none sh -c y"),
            ("test x --matrix disk.img", "test x --matrix=disk.img"),
            ("test x --matrix bus=nvme ./a=b", "test x --matrix=bus=nvme ./a=b"),
            ("test x --matrix=bus=nvme nic=none y", "test x --matrix=bus=nvme nic=none y"),
            ("test x --matrix", "test x --matrix"),
            ("test x sh --matrix a=b c=d", "test x sh --matrix a=b c=d"),
            ("test x -- --matrix a=b c=d", "test x -- --matrix a=b c=d"),
            ("test -m 2g x --matrix bus=usb --http /", "test -m 2g x --matrix=bus=usb --http /"),
            ("test --spec x --matrix bus=usb -- y", "test --spec x --matrix=bus=usb -- -- y"),
        ] {
            assert_eq!(arranged(line), expected, "{line}");
        }
    }

    /// The subcommand's words by its own names: the positional of this name, the command, and the ids of what was given.
    fn read(line: &str, first: &str) -> Result<(String, String, Vec<String>), String> {
        let mut root = super::super::Cli::command();
        root.build();
        let words = ["bootdisk"].into_iter().chain(line.split(' ')).map(OsString::from).collect();
        let matches = root.clone().try_get_matches_from(arrange(&root, words)).map_err(|error| error.to_string())?;
        let (_, given) = matches.subcommand().unwrap();
        let raw = |id: &str| {
            let words = given.get_raw(id).into_iter().flatten();
            words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
        };
        let on_the_line = |id: &&str| given.value_source(id) == Some(clap::parser::ValueSource::CommandLine);
        let mut ids: Vec<&str> = given.ids().map(clap::Id::as_str).filter(on_the_line).collect();
        let known = root.find_subcommand(line.split(' ').next().unwrap()).unwrap();
        let is_option = |id: &str| known.get_arguments().any(|arg| arg.get_id() == id && !arg.is_positional());
        ids.retain(|id| is_option(id));
        ids.sort_unstable();
        Ok((raw(first), raw("command"), ids.into_iter().map(|id| format!("{id}={}", raw(id))).collect()))
    }

    #[test]
    fn the_first_word_that_is_no_option_and_no_value_begins_the_command() {
        for (line, first, command, given) in [
            ("run img uname -a", "img", "uname -a", &[][..]),
            ("run img ls -la", "img", "ls -la", &[]),
            ("run img -- ls -la", "img", "ls -la", &[]),
            ("run img -p 80:80 nginx -g daemon", "img", "nginx -g daemon", &["publish=80:80"]),
            ("run img --memory 2g sh -c x --memory", "img", "sh -c x --memory", &["memory=2g"]),
            ("run img --memory=2g sh -m 1g", "img", "sh -m 1g", &["memory=2g"]),
            ("run -it --name x img sh --name y", "img", "sh --name y", &["interactive=true", "name=x", "tty=true"]),
            ("run img --wait-online sh", "img", "sh", &["wait_online=30"]),
            ("run img sh -- x", "img", "sh -- x", &[]),
            ("run img -- -- x", "img", "-- x", &[]),
            ("run img --entrypoint -x -", "img", "-", &["entrypoint=-x"]),
            ("run -- img sh -c", "img", "sh -c", &[]),
            ("run -- -img -sh", "-img", "-sh", &[]),
            ("build img -o d --size 4G sh -o e", "img", "sh -o e", &["output=d", "size=4G"]),
            ("build -o d img -- sh", "img", "sh", &["output=d"]),
            ("test img --exit-code 3 sh -c --exit-code", "img", "sh -c --exit-code", &["exit_code=3"]),
            ("test img --matrix bus=nvme nic=none sh a=b", "img", "sh a=b", &["matrix=bus=nvme nic=none"]),
            ("test --spec x -- sh -c", "--", "sh -c", &["spec=x"]),
            ("exec web id -u", "web", "id -u", &[]),
            ("exec -it web sh -it", "web", "sh -it", &["interactive=true", "tty=true"]),
            ("exec web -u 0 id -u", "web", "id -u", &["user=0"]),
            ("exec web -- id -u", "web", "id -u", &[]),
            ("exec -- id -u", "--", "id -u", &[]),
            ("exec -u 0 -- -x", "--", "-x", &["user=0"]),
        ] {
            let name = match line.split(' ').next() {
                Some("run" | "test") => "target",
                Some("build") => "image",
                _ => "machine",
            };
            let (got, words, ids) = read(line, name).expect(line);
            assert_eq!((got.as_str(), words.as_str()), (first, command), "{line}");
            assert_eq!(ids, given, "{line}");
        }
        for line in ["run img --nope sh", "run", "run img -x sh", "exec web --nope x", "build img -o"] {
            let name = if line.starts_with("build") { "image" } else { "target" };
            assert!(read(line, name).is_err(), "{line}");
        }
    }
}
