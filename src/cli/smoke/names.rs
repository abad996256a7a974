//! What a test's target is called, and where it is when a spec file names it.

use crate::source::{Input, Reference};
use std::ffi::OsStr;
use std::path::Path;

/// A name for a target: the last part of its path without what says the format.
pub fn name_of(target: &OsStr) -> String {
    let text = target.to_string_lossy();
    let path = text.split_once(':').map_or(&*text, |(_, rest)| rest);
    let last = path.trim_end_matches('/').rsplit('/').next().unwrap_or(path);
    let last = last.split(':').next().unwrap_or(last);
    let stem = [".tar.gz", ".tar.zst", ".oci.tar", ".tar", ".oci", ".img", ".raw"];
    let stem = stem.iter().find_map(|end| last.strip_suffix(end)).unwrap_or(last);
    if stem.is_empty() || stem == "-" { "image".into() } else { stem.to_owned() }
}

/// A reference with its path relative to a folder. What is none is left for the one who opens it to refuse.
pub fn image_in(dir: &Path, text: &str) -> String {
    match Reference::parse(OsStr::new(text)) {
        Ok(Reference { input: Input::Path(_), .. }) => {}
        _ => return text.to_owned(),
    }
    let joined = |path: &str| dir.join(path).to_string_lossy().into_owned();
    match text.split_once(':') {
        Some((transport @ ("docker-archive" | "oci" | "oci-archive"), path)) => format!("{transport}:{}", joined(path)),
        _ => joined(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_have_short_names() {
        for (target, name) in [
            ("nginx.img", "nginx"),
            ("/a/b/app.tar.gz", "app"),
            ("oci:layouts/debian.oci:latest", "debian"),
            ("docker-archive:x.tar:app:1", "x"),
            ("dir/", "dir"),
            ("-", "image"),
        ] {
            assert_eq!(name_of(OsStr::new(target)), name, "{target}");
        }
    }
}
