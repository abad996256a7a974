//! What a test's target is called, and where it is when a spec file names it.

use crate::source::{Input, Reference, Transport};
use std::ffi::OsStr;
use std::path::Path;

/// What says the format; longer ones before those that they end with.
const ENDINGS: [&str; 15] = [
    ".tar.gz", ".tar.zst", ".tar.xz", ".tar.bz2", ".tar.lz4", ".oci.tar", ".tar", ".oci", ".img", ".raw", ".qcow2",
    ".vmdk", ".vdi", ".vhdx", ".vhd",
];

/// A name for a target: the last part of its path without what says the format.
pub fn name_of(target: &OsStr) -> String {
    let text = target.to_string_lossy();
    let path = match text.split_once(':') {
        Some((_, rest)) if Reference::names_transport(target) => rest,
        _ => &text,
    };
    let last = path.trim_end_matches('/').rsplit('/').next().unwrap_or(path);
    let last = last.split([':', '@']).next().unwrap_or(last);
    let stem = ENDINGS.iter().find_map(|end| last.strip_suffix(end)).unwrap_or(last);
    if stem.is_empty() || stem == "-" { "image".into() } else { stem.to_owned() }
}

/// The pattern that this name alone matches.
pub fn pattern_of(name: &str) -> String {
    let special = |c: char| "*?[\\".contains(c);
    name.chars().flat_map(|c| special(c).then_some('\\').into_iter().chain([c])).collect()
}

/// A reference with its path relative to a folder. What is none is left for the one who opens it to refuse.
pub fn image_in(dir: &Path, text: &str) -> String {
    let joined = |path: &str| dir.join(path).to_string_lossy().into_owned();
    match (Reference::parse(OsStr::new(text)), text.split_once(':')) {
        (Ok(Reference { transport: Transport::Detect, input: Input::Path(_), .. }), _) => joined(text),
        (Ok(Reference { input: Input::Path(_), .. }), Some((transport, path))) => {
            format!("{transport}:{}", joined(path))
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_every_transport_are_relative_to_the_spec_file_and_names_are_not() {
        for (text, found) in [
            ("app.tar", "/spec/app.tar"),
            ("oci:layout:1", "oci:/spec/layout:1"),
            ("dir:d", "dir:/spec/d"),
            ("rootfs:tree", "rootfs:/spec/tree"),
            ("dockerfile:.", "dockerfile:/spec/."),
            ("rootfs:/abs", "rootfs:/abs"),
            ("docker-daemon:app:1", "docker-daemon:app:1"),
            ("containers-storage:app", "containers-storage:app"),
            ("containerd:docker.io/library/app:1", "containerd:docker.io/library/app:1"),
            ("-", "-"),
        ] {
            assert_eq!(image_in(Path::new("/spec"), text), found);
        }
    }

    #[test]
    fn a_names_own_pattern_matches_it_and_nothing_like_it() {
        for name in ["web", "a*b", "[x]?", "back\\slash", "ü"] {
            let pattern = pattern_of(name);
            assert!(crate::fnmatch::matches(pattern.as_bytes(), name.as_bytes()), "{name}");
        }
        assert!(!crate::fnmatch::matches(pattern_of("a*b").as_bytes(), b"axb"));
    }

    #[test]
    fn targets_have_short_names() {
        for (target, name) in [
            ("nginx.img", "nginx"),
            ("/a/b/app.tar.gz", "app"),
            ("oci:layouts/debian.oci:latest", "debian"),
            ("docker-archive:x.tar:app:1", "x"),
            ("docker-daemon:registry:5000/a/app:1", "app"),
            ("containerd:docker.io/library/app@sha256:12", "app"),
            ("rootfs:trees/debian.tar.xz", "debian"),
            ("dir/", "dir"),
            ("postgres.oci:latest", "postgres"),
            ("nginx:1.25", "nginx"),
            ("registry:5000/a/app:1", "app"),
            ("docker://registry:5000/a/app@sha256:12", "app"),
            ("disks/app.qcow2", "app"),
            ("-", "image"),
        ] {
            assert_eq!(name_of(OsStr::new(target)), name, "{target}");
        }
    }
}
