//! Whether the merged tree has the command an image starts, told while a disk is built.
//!
//! PID 1 decides when it starts the workload, as a container runtime does: by the workload's PATH, in its working
//! directory, through symbolic links inside the root. This looks the same way at the tree, where there are no bodies
//! and no mounts, and so it only warns: a volume or a later option may bring what is missing here.
//!
//! Not looked at: the user (a name needs /etc/passwd's body), an interpreter or a dynamic loader (they are in bodies).

use crate::escape::escape;
use crate::guest::own_init::{PLACES, is_init};
use crate::guest::spec::{DEFAULT_PATH, Init, Process};
use crate::rootfs::tree::Inode;
use crate::rootfs::{InodeId, Kind, Tree};

/// Symbolic links the kernel follows on one way (path_resolution(7)).
const MAX_SYMLINKS: u32 = 40;
/// Components looked at in all; a command that takes more is not judged.
const MAX_STEPS: u32 = 1 << 20;

/// What will keep the workload from starting, as far as the tree tells: one sentence, lower case, in printable text.
pub fn doubt<B>(tree: &Tree<B>, process: &Process, init: Init) -> Option<String> {
    let mut look = Look { tree, working_dir: &process.working_dir, steps: 0 };
    let command = process.entrypoint.iter().chain(&process.cmd).next();
    match (init.settle(process), command) {
        (Init::Image, command) => {
            let found = PLACES.iter().any(|path| look.resolve(path.as_bytes()).is_some());
            // A command that is an init itself may be anywhere.
            let own = command
                .filter(|command| is_init(command))
                .is_some_and(|command| look.doubt(command, &process.env).is_none());
            (!found && !own).then(|| format!("the image has no init of its own, at none of: {}", PLACES.join(", ")))
        }
        (_, None) => Some("the image names no command to start; `run IMAGE -- COMMAND` gives one".into()),
        (_, Some(command)) => look.doubt(command, &process.env),
    }
}

/// The last `PATH` of the environment.
fn search_path(env: &[String]) -> &str {
    env.iter().rev().find_map(|entry| entry.strip_prefix("PATH=")).unwrap_or(DEFAULT_PATH)
}

/// A look at the tree that ends in bounded time.
struct Look<'a, B> {
    tree: &'a Tree<B>,
    working_dir: &'a str,
    steps: u32,
}

impl<'a, B> Look<'a, B> {
    /// What is wrong with a command that is a path, or a name to be found by PATH.
    fn doubt(&mut self, command: &str, env: &[String]) -> Option<String> {
        let shown = escape(command.as_bytes());
        if command.is_empty() {
            return Some("the image's command is an empty string".into());
        }
        if command.contains('/') {
            return match self.inode(command) {
                _ if self.steps > MAX_STEPS => None,
                None => Some(format!("the command is not in the image: {shown}")),
                Some(inode) if inode.is_directory() => Some(format!("the command is a directory: {shown}")),
                Some(inode) if inode.attrs.mode & 0o111 == 0 => Some(format!("the command is not executable: {shown}")),
                Some(_) => None,
            };
        }
        let path = search_path(env);
        let found = path.split(':').filter(|_| !path.is_empty()).any(|folder| {
            let folder = if folder.is_empty() { "." } else { folder };
            let inode = self.inode(&format!("{folder}/{command}"));
            inode.is_some_and(|inode| !inode.is_directory() && inode.attrs.mode & 0o111 != 0)
        });
        let known = found || self.steps > MAX_STEPS;
        (!known).then(|| format!("the command is nowhere in the image's PATH ({}): {shown}", escape(path.as_bytes())))
    }

    /// What a path names, seen from the working directory.
    fn inode(&mut self, path: &str) -> Option<&'a Inode<B>> {
        let id = match path.starts_with('/') {
            true => self.resolve(path.as_bytes()),
            false => self.resolve(format!("{}/{path}", self.working_dir).as_bytes()),
        };
        id.map(|id| self.tree.inode(id))
    }

    /// Where a path leads from the root, through symbolic links and never above it. `None` when it leads nowhere.
    fn resolve(&mut self, path: &[u8]) -> Option<InodeId> {
        let tree = self.tree;
        let mut way = vec![Tree::<B>::ROOT];
        // Components still to come, the next one last.
        let mut rest: Vec<&[u8]> = components(path).collect();
        let mut links = 0;
        while let Some(name) = rest.pop() {
            self.steps += 1;
            if self.steps > MAX_STEPS {
                return None;
            }
            if name == b".." {
                way.truncate(way.len().saturating_sub(1).max(1));
                continue;
            }
            let here = *way.last()?;
            if !tree.inode(here).is_directory() {
                return None;
            }
            let next = tree.lookup(here, name)?;
            let Kind::Symlink(target) = &tree.inode(next).kind else {
                way.push(next);
                continue;
            };
            links += 1;
            if links > MAX_SYMLINKS {
                return None;
            }
            if target.starts_with(b"/") {
                way.truncate(1);
            }
            rest.extend(components(target));
        }
        way.pop()
    }
}

/// The names of a path from the last to the first; `.` and empty ones are none.
fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.rsplit(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rootfs::Attrs;

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
        assert_eq!(doubt(&tree(&deep), &process(&["x"], &long, ""), Init::Container), None);
    }
}
