//! Programs a userland is known by: shells, and what can be process 1.

use super::shown;
use crate::contents::Root;
use crate::contents::paths::{self, Found};
use crate::guest::own_init::PLACES;
use crate::inspect::model::Fact;
use crate::rootfs::Kind;
use std::collections::BTreeSet;

/// Shells by name.
const SHELLS: [&str; 14] =
    ["sh", "bash", "dash", "ash", "zsh", "fish", "ksh", "mksh", "tcsh", "csh", "yash", "busybox", "toybox", "pwsh"];
/// Folders with programs, as a search path has them.
const FOLDERS: [&str; 6] = ["/bin", "/usr/bin", "/usr/local/bin", "/sbin", "/usr/sbin", "/usr/local/sbin"];
/// Small programs that are made to be process 1 of a container.
const MINDERS: [&str; 7] = ["tini", "docker-init", "catatonit", "dumb-init", "s6-svscan", "supervisord", "dinit"];

/// The shells that can be started, each once.
pub fn shells(tree: &Root) -> Vec<Fact> {
    SHELLS.iter().filter_map(|name| in_folders(tree, name)).collect()
}

/// What can be process 1: where distributions have their init, then programs made for containers.
pub fn init(tree: &Root) -> Vec<Fact> {
    let mut seen = BTreeSet::new();
    let mut facts: Vec<Fact> = PLACES
        .iter()
        .filter_map(|place| {
            let found = program(tree, place.as_bytes())?;
            seen.insert(found.path.clone()).then(|| fact(place, &found))
        })
        .collect();
    facts.extend(MINDERS.iter().filter_map(|name| in_folders(tree, name)));
    facts
}

fn in_folders(tree: &Root, name: &str) -> Option<Fact> {
    FOLDERS.iter().find_map(|folder| {
        let place = format!("{folder}/{name}");
        program(tree, place.as_bytes()).map(|found| fact(&place, &found))
    })
}

/// The executable file at a path.
fn program(tree: &Root, path: &[u8]) -> Option<Found> {
    let found = paths::resolve(tree, path)?;
    let inode = tree.inode(found.inode);
    (matches!(inode.kind, Kind::File { .. }) && inode.attrs.mode & 0o111 != 0).then_some(found)
}

/// `sh (dash)`, with `/bin/sh -> /usr/bin/dash` as evidence.
fn fact(place: &str, found: &Found) -> Fact {
    let asked = place.rsplit('/').next().unwrap_or_default();
    let real = shown(paths::file_name(&found.path));
    let value = if real == asked { real } else { format!("{asked} ({real})") };
    let evidence = match found.path == place.as_bytes() {
        true => place.to_owned(),
        false => format!("{place} -> {}", shown(&found.path)),
    };
    Fact::new(value, evidence)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contents::paths::tests::tree;

    #[test]
    fn a_shell_is_what_its_links_lead_to() {
        let tree = tree(&["bin/", "sbin/", "bin/busybox", "bin/sh -> busybox", "sbin/init -> ../bin/busybox"]);
        let shells = shells(&tree);
        assert_eq!(shells[0], Fact::new("sh (busybox)", "/bin/sh -> /bin/busybox"));
        assert_eq!(shells[1], Fact::new("busybox", "/bin/busybox"));
        assert_eq!(init(&tree), [Fact::new("init (busybox)", "/sbin/init -> /bin/busybox")]);
    }
}
