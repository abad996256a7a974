//! What container runtimes put into a root file system, and their exports have: empty files to mount upon.
//!
//! ```text
//!  docker export    .dockerenv   etc/hosts etc/resolv.conf etc/hostname dev/console   proc/ sys/ dev/pts/ dev/shm/ etc/mtab
//!  podman export    run/.containerenv   etc/hosts etc/resolv.conf etc/hostname
//! ```
//!
//! Where the first file of a line is there, the empty files and the devices are a runtime's and no image's. The folders
//! and the link stay: most images have them as well. Without that file they are the tree's own.
//!
//! moby, daemon/initlayer/setup_unix.go.

use crate::layer::EntryKind;
use crate::rootfs::Attrs;
use std::collections::BTreeMap;

/// Files that say that a runtime was here.
const MARKS: [&[u8]; 2] = [b".dockerenv", b"run/.containerenv"];
/// Files that runtimes make where there are none.
const MADE: [&[u8]; 4] = [b"etc/hosts", b"etc/resolv.conf", b"etc/hostname", b"dev/console"];

/// A member without a body.
pub type Member = (Vec<u8>, Attrs, EntryKind);

/// Members that wait for the end: only then it is known whose they are.
#[derive(Default)]
pub struct Extras {
    held: BTreeMap<Vec<u8>, (Attrs, EntryKind)>,
    marks: Vec<Vec<u8>>,
}

impl Extras {
    /// Holds a member back that may be a runtime's; whether it does. A later one of the same name takes its place.
    pub fn hold(&mut self, path: &[u8], attrs: &Attrs, kind: &EntryKind) -> bool {
        self.held.remove(path);
        let is_empty = *kind == EntryKind::File { size: 0 };
        let is_device = matches!(kind, EntryKind::CharDevice { .. } | EntryKind::BlockDevice { .. });
        if is_empty && MARKS.contains(&path) {
            self.marks.push(path.to_vec());
            return true;
        }
        let holds = is_empty && MADE.contains(&path) || is_device && path.starts_with(b"dev/");
        if holds {
            self.held.insert(path.to_vec(), (attrs.clone(), kind.clone()));
        }
        holds
    }

    /// Gives a member back that another is a name of.
    pub fn take_back(&mut self, path: &[u8]) -> Option<Member> {
        let path = path.strip_prefix(b"./").unwrap_or(path);
        self.held.remove_entry(path).map(|(path, (attrs, kind))| (path, attrs, kind))
    }

    /// Names of what is a runtime's, and members of the tree's own.
    pub fn settle(self) -> (Vec<Vec<u8>>, Vec<Member>) {
        if self.marks.is_empty() {
            let own = self.held.into_iter().map(|(path, (attrs, kind))| (path, attrs, kind));
            return (Vec::new(), own.collect());
        }
        (self.marks.into_iter().chain(self.held.into_keys()).collect(), Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_files_are_a_runtimes_only_where_one_was() {
        let empty = EntryKind::File { size: 0 };
        let device = EntryKind::CharDevice { major: 1, minor: 3 };
        for (mark, others) in [(Some(".dockerenv"), 0), (Some("run/.containerenv"), 0), (None, 3)] {
            let mut extras = Extras::default();
            let mut hold = |path: &str, kind: &EntryKind| extras.hold(path.as_bytes(), &Attrs::default(), kind);
            assert!(hold("etc/hosts", &empty) && hold("etc/resolv.conf", &empty) && hold("dev/null", &device));
            assert!(mark.is_none_or(|mark| hold(mark, &empty)));
            assert!(!hold("etc/hostname", &EntryKind::File { size: 3 }) && !hold("srv/null", &device));
            let (left_out, own) = extras.settle();
            assert_eq!((left_out.len(), own.len()), (if mark.is_some() { 4 } else { 0 }, others), "{mark:?}");
        }
    }

    #[test]
    fn what_comes_later_under_the_same_name_counts() {
        let mut extras = Extras::default();
        assert!(extras.hold(b"etc/hosts", &Attrs::default(), &EntryKind::File { size: 0 }));
        assert!(!extras.hold(b"etc/hosts", &Attrs::default(), &EntryKind::File { size: 1 }));
        assert!(extras.settle().1.is_empty());
    }

    #[test]
    fn what_has_another_name_is_given_back_before_it() {
        let mut extras = Extras::default();
        extras.hold(b"etc/hosts", &Attrs::default(), &EntryKind::File { size: 0 });
        assert!(extras.take_back(b"./etc/hosts").is_some() && extras.take_back(b"etc/hosts").is_none());
    }
}
