//! Whether the workload of an image can be started, told while a disk is built and before one is booted.
//!
//! ```text
//!  look      where a path leads in a userland: in the merged tree, or in the root partition of a disk
//!  words     what the words alone say: no command, an unknown signal, an argument no kernel takes
//! ```
//!
//! PID 1 decides when it starts the workload, as a container runtime does: by the workload's PATH, in its working
//! directory, through symbolic links inside the root. This looks the same way, without mounts: a volume or a later
//! option may bring what is missing here. So a build only warns, and a run is refused only for what nothing can bring.
//!
//! Of a script the first line is looked at, as far as bodies can be read; interpreters and dynamic loaders are not.

mod disk;
mod look;
mod words;

pub use disk::on_disk;
pub use words::in_words;

use self::look::{Look, Userland};
use crate::escape::escape;
use crate::guest::own_init::{PLACES, is_init};
use crate::guest::spec::{DEFAULT_PATH, Init, Process};
use crate::guest::{script, user};
use crate::rootfs::Tree;
use thiserror::Error;

/// What will keep a workload from starting, or from stopping as it is asked to: one sentence, in printable text.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Doubt {
    /// There is nothing to start.
    #[error("the image names no command to start; `run IMAGE COMMAND` gives one")]
    NoCommand,
    /// The command is not there, or not executable.
    #[error("{0}")]
    Command(String),
    /// It is a script whose first line is not what it seems to be.
    #[error("the command {command} has {fault}")]
    Script {
        /// As it is written, printable.
        command: String,
        /// What is wrong.
        fault: String,
    },
    /// Its own init was wanted.
    #[error("the image has no init of its own, at none of: {}", PLACES.join(", "))]
    NoInit,
    /// `User` names nobody.
    #[error("{}", escape(.0.as_bytes()))]
    User(String),
    /// Stopped with SIGTERM then.
    #[error("the stop signal is not a signal, and SIGTERM will be used: {}", escape(.0.as_bytes()))]
    StopSignal(String),
    /// The kernel executes nothing with this.
    #[error("{what} of {length} bytes, and no kernel starts a command with more than {most}: {start}…")]
    TooLong {
        /// Argument or environment variable.
        what: &'static str,
        /// Its bytes.
        length: usize,
        /// The most there may be.
        most: usize,
        /// Its first characters, printable.
        start: String,
    },
    /// All of it together.
    #[error("arguments and environment of {length} bytes, and no kernel starts a command with more than {most}")]
    AllTooLong {
        /// Bytes.
        length: usize,
        /// The most there may be.
        most: usize,
    },
}

impl Doubt {
    /// The exit status of a run that nothing can save; `None` for what may turn out well.
    pub fn status(&self) -> Option<u8> {
        match self {
            Doubt::NoCommand | Doubt::NoInit | Doubt::User(_) => Some(125),
            Doubt::TooLong { .. } | Doubt::AllTooLong { .. } => Some(126),
            Doubt::Command(_) | Doubt::Script { .. } | Doubt::StopSignal(_) => None,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Doubt::NoCommand => "name a command: bootdisk run IMAGE COMMAND".into(),
            Doubt::NoInit => "install an init in the image, or start its command: --init container".into(),
            Doubt::User(_) => "name a user that the image has, or a number: --user 1000".into(),
            Doubt::TooLong { .. } | Doubt::AllTooLong { .. } => "put it into a file of the image".into(),
            Doubt::Command(_) | Doubt::Script { .. } | Doubt::StopSignal(_) => return None,
        })
    }
}

/// What will keep the workload from starting, as far as the merged tree tells. `read` gives a file's body.
pub fn doubts<B>(
    tree: &Tree<B>,
    process: &Process,
    init: Init,
    read: &dyn Fn(&B, u64) -> Option<Vec<u8>>,
) -> Vec<Doubt> {
    let userland = look::InTree { tree, read };
    let init = init.settle(process);
    let mut all: Vec<Doubt> = in_words(process, init);
    all.extend(command(&userland, process, init));
    all.extend(script(&userland, process, init));
    all.extend(whom(&userland, process, init));
    all
}

/// What is wrong with the command, or with the init that is wanted in its place.
fn command<U: Userland>(userland: &U, process: &Process, init: Init) -> Option<Doubt> {
    let mut look = Look::new(userland, &process.working_dir);
    let command = process.words().next();
    if init == Init::Image {
        let found = PLACES.iter().any(|path| look.resolve(path.as_bytes()).is_some());
        // A command that is an init itself may be anywhere.
        let own = command.filter(|command| is_init(command));
        let own = own.is_some_and(|command| doubt(&mut look, command, &process.env).is_none());
        return (!found && !own && !look.gave_up()).then_some(Doubt::NoInit);
    }
    doubt(&mut look, command?, &process.env).map(Doubt::Command)
}

/// What is wrong with the first line of the command.
fn script<U: Userland>(userland: &U, process: &Process, init: Init) -> Option<Doubt> {
    let command = process.words().next().filter(|_| init != Init::Image)?;
    let mut look = Look::new(userland, &process.working_dir);
    let path = search_path(&process.env);
    let in_path = path.split(':').filter(|_| !path.is_empty());
    let in_path = in_path.map(|folder| format!("{}/{command}", if folder.is_empty() { "." } else { folder }));
    let places: Vec<String> = if command.contains('/') { vec![command.clone()] } else { in_path.collect() };
    let found = places.iter().find_map(|place| look.find(place))?;
    let fault = script::fault(&userland.read(found)?)?;
    Some(Doubt::Script { command: escape(command.as_bytes()), fault: escape(fault.as_bytes()) })
}

/// Whether `User` names somebody. An own init starts as root whatever it says.
fn whom<U: Userland>(userland: &U, process: &Process, init: Init) -> Option<Doubt> {
    if process.user.is_empty() || init == Init::Image {
        return None;
    }
    let file = |path: &str| {
        let mut look = Look::new(userland, "/");
        let found = look.resolve(path.as_bytes());
        if look.gave_up() { None } else { found.map_or(Some(Vec::new()), |id| userland.read(id)) }
    };
    // A file that cannot be read here may well be read there.
    let (passwd, group) = (file("/etc/passwd")?, file("/etc/group")?);
    user::resolve(&process.user, &passwd, &group).err().map(Doubt::User)
}

/// The last `PATH` of the environment.
fn search_path(env: &[String]) -> &str {
    env.iter().rev().find_map(|entry| entry.strip_prefix("PATH=")).unwrap_or(DEFAULT_PATH)
}

/// What is wrong with a command that is a path, or a name to be found by PATH.
fn doubt<U: Userland>(look: &mut Look<'_, U>, command: &str, env: &[String]) -> Option<String> {
    let shown = escape(command.as_bytes());
    if command.is_empty() {
        return Some("the image's command is an empty string".into());
    }
    if command.contains('/') {
        return match look.what(command) {
            _ if look.gave_up() => None,
            None => Some(format!("the command is not in the image: {shown}")),
            Some(what) if what.is_directory => Some(format!("the command is a directory: {shown}")),
            Some(what) if !what.is_executable => Some(format!("the command is not executable: {shown}")),
            Some(_) => None,
        };
    }
    let path = search_path(env);
    let found = path.split(':').filter(|_| !path.is_empty()).any(|folder| {
        let folder = if folder.is_empty() { "." } else { folder };
        let what = look.what(&format!("{folder}/{command}"));
        what.is_some_and(|what| !what.is_directory && what.is_executable)
    });
    let known = found || look.gave_up();
    (!known).then(|| format!("the command is nowhere in the image's PATH ({}): {shown}", escape(path.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rootfs::{Attrs, Kind};

    /// The first doubt, with files whose body is all they need.
    fn doubt(tree: &Tree<()>, process: &Process, init: Init) -> Option<String> {
        doubts(tree, process, init, &|(), _| Some(Vec::new())).first().map(Doubt::to_string)
    }

    /// `NAME/` is a directory, `NAME -> TARGET` a link, `NAME` an executable and `NAME!` a file that is none.
    fn tree(entries: &[&str]) -> Tree<()> {
        let attrs = |mode| Attrs { mode, ..Attrs::default() };
        let mut tree = Tree::new(attrs(0o755));
        for entry in entries {
            let (path, kind, mode) = match entry.split_once(" -> ") {
                Some((path, target)) => (path, Kind::Symlink(target.as_bytes().into()), 0o777),
                None if entry.ends_with('/') => (entry.trim_end_matches('/'), Kind::directory(), 0o755),
                None if entry.ends_with('!') => (entry.trim_end_matches('!'), Kind::File { size: 0, body: () }, 0o644),
                None => (*entry, Kind::File { size: 0, body: () }, 0o755),
            };
            let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
            let parent = parent.split('/').filter(|name| !name.is_empty());
            let dir = parent.fold(Tree::<()>::ROOT, |dir, name| tree.lookup(dir, name.as_bytes()).unwrap());
            tree.insert(dir, name.as_bytes(), attrs(mode), kind, 0).unwrap();
        }
        tree
    }

    fn process(command: &[&str], env: &str, working_dir: &str) -> Process {
        let text = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        Process { cmd: text(command), env: text(&[env]), working_dir: working_dir.into(), ..Process::default() }
    }

    #[test]
    fn commands_that_will_start_are_not_doubted() {
        let tree = tree(&[
            "usr/",
            "usr/bin/",
            "usr/bin/busybox",
            "usr/bin/sh -> busybox",
            "bin -> usr/bin",
            "opt/",
            "opt/run",
            "opt/up -> ../../../bin/sh",
            "opt/whole -> /usr/bin/sh",
        ]);
        for (command, env, working_dir) in [
            ("/bin/sh", "X=1", ""),
            ("sh", "X=1", ""),
            ("sh", "PATH=/nowhere:/bin", ""),
            ("./run", "X=1", "/opt"),
            ("run", "PATH=", "/opt/run"),
            ("run", "PATH=:/bin", "/opt"),
            ("/opt/up", "X=1", ""),
            ("/opt/whole", "X=1", ""),
            ("../bin/sh", "X=1", "opt"),
        ] {
            let doubt = doubt(&tree, &process(&[command], env, working_dir), Init::Container);
            assert_eq!(doubt.is_some(), env == "PATH=", "{command} {env} {working_dir}: {doubt:?}");
        }
    }

    #[test]
    fn a_first_line_that_is_not_what_it_seems_is_named() {
        let attrs = Attrs { mode: 0o755, ..Attrs::default() };
        for (body, fault) in [
            (&b"#!/bin/sh\n"[..], None),
            (b"#!/bin/sh\r\n", Some("a carriage return at the end of its first line, behind the interpreter /bin/sh")),
            (b"#!/usr/bin/env sh\r\n", Some("a carriage return at the end of its first line, behind the argument sh")),
            (b"\xef\xbb\xbf#!/bin/sh\n", Some("a byte order mark before its #!, which the kernel does not accept")),
        ] {
            let mut tree: Tree<&[u8]> = Tree::new(attrs.clone());
            let kind = Kind::File { size: body.len() as u64, body };
            tree.insert(Tree::<&[u8]>::ROOT, b"run", attrs.clone(), kind, 0).unwrap();
            for (command, env) in [("/run", "A=1"), ("./run", "A=1"), ("run", "PATH=/no:/"), ("run", "PATH=:/no")] {
                let process = process(&[command], env, "/");
                let said = doubts(&tree, &process, Init::Container, &|body, _| Some(body.to_vec()));
                let expected: Vec<String> =
                    fault.iter().map(|fault| format!("the command {command} has {fault}")).collect();
                assert_eq!(said.iter().map(Doubt::to_string).collect::<Vec<_>>(), expected, "{command}");
            }
        }
    }

    #[test]
    fn what_will_not_start_is_named() {
        let tree = tree(&["bin/", "bin/data!", "loop -> loop", "gone -> /no/where", "bin/file"]);
        let said = |command: &[&str]| doubt(&tree, &process(command, "PATH=/bin", ""), Init::Container).unwrap();
        assert!(said(&[]).starts_with("the image names no command"));
        assert_eq!(said(&[""]), "the image's command is an empty string");
        assert_eq!(said(&["/bin"]), "the command is a directory: /bin");
        assert_eq!(said(&["/bin/data"]), "the command is not executable: /bin/data");
        assert_eq!(said(&["data"]), "the command is nowhere in the image's PATH (/bin): data");
        for missing in ["/loop", "/gone", "/bin/file/x", "./bin/no", "/\u{1b}[2J"] {
            let shown = escape(missing.as_bytes());
            assert_eq!(said(&[missing]), format!("the command is not in the image: {shown}"));
        }
    }

    #[test]
    fn an_image_without_an_init_is_doubted_when_its_own_is_wanted() {
        let bare = tree(&["bin/", "bin/sh"]);
        let nothing = process(&[], "X=1", "");
        assert!(doubt(&bare, &nothing, Init::Image).unwrap().contains("/sbin/init"));
        let systemd = tree(&["lib/", "lib/systemd/", "lib/systemd/systemd"]);
        assert_eq!(doubt(&systemd, &nothing, Init::Image), None);
    }

    #[test]
    fn a_hostile_path_ends_soon_and_unsaid() {
        let links: Vec<String> = (0..39).map(|n| format!("l{n} -> {}l{}", "./".repeat(2000), n + 1)).collect();
        let deep: Vec<&str> = links.iter().map(String::as_str).chain(["l39 -> .."]).collect();
        let long = format!("PATH={}", "/l0:".repeat(200_000));
        let said = doubts(&tree(&deep), &process(&["x"], &long, ""), Init::Container, &|(), _| None);
        assert!(!said.iter().any(|doubt| matches!(doubt, Doubt::Command(_))), "{said:?}");
    }

    #[test]
    fn a_user_is_looked_for_in_the_images_own_files() {
        let attrs = Attrs { mode: 0o755, ..Attrs::default() };
        let mut tree: Tree<&[u8]> = Tree::new(attrs.clone());
        let etc = tree.insert(Tree::<&[u8]>::ROOT, b"etc", attrs.clone(), Kind::directory(), 0).unwrap();
        let mut add = |name: &[u8], kind| tree.insert(etc, name, attrs.clone(), kind, 0).unwrap();
        add(b"accounts", Kind::File { size: 1, body: b"root:x:0:0::/:\nwww:x:33:33::/:\n" });
        add(b"passwd", Kind::Symlink(b"/etc/accounts".as_slice().into()));
        add(b"group", Kind::File { size: 1, body: b"root:x:0:\nadm:x:4:\n" });
        for (user, wrong) in [
            ("", None),
            ("root", None),
            ("www:adm", None),
            ("1000", None),
            ("1000:1000", None),
            ("nginx", Some("no such user in the image's /etc/passwd: nginx")),
            ("www:wheel", Some("no such group in the image's /etc/group: www:wheel")),
            ("4294967296", Some("user id out of range: 4294967296")),
            ("a\u{1b}b", Some("no such user in the image's /etc/passwd: a\\x1bb")),
        ] {
            let process = Process { user: user.into(), cmd: vec!["/etc/accounts".into()], ..Process::default() };
            let said = |init| doubts(&tree, &process, init, &|body, _| Some(body.to_vec()));
            let expected: Vec<String> = wrong.iter().map(|text| (*text).to_owned()).collect();
            assert_eq!(said(Init::Container).iter().map(Doubt::to_string).collect::<Vec<_>>(), expected, "{user}");
            assert_eq!(said(Init::Image), [Doubt::NoInit], "an init is root whatever the image says");
            assert_eq!(doubts(&tree, &process, Init::Container, &|_, _| None), [], "{user}: unreadable, so unjudged");
        }
    }
}
