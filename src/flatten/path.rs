//! Names of entries and targets of hard links as paths inside the image, by their text alone.

/// AUFS kept the true files of its hard links here.
pub const PLNK: &[u8] = b".wh..wh.plnk";
/// What AUFS's own names start with.
const AUFS: &[u8] = b".wh..wh.";
/// The opaque marker starts with it too.
pub const OPAQUE: &[u8] = b".wh..wh..opq";

/// What a `..` above the root does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escape {
    /// The path is refused: names of entries.
    Refuse,
    /// It stays at the root: targets of hard links.
    Clamp,
}

/// A path without a leading or trailing `/`, without `//`, `.` and `..`. The root is empty.
#[derive(Debug, PartialEq, Eq)]
pub struct Cleaned(pub Vec<u8>);

/// Cleans a path. `None`: it leaves the image.
pub fn clean(path: &[u8], escape: Escape) -> Option<Cleaned> {
    let mut out: Vec<u8> = Vec::with_capacity(path.len());
    for name in path.split(|&b| b == b'/') {
        match name {
            b"" | b"." => {}
            b".." if out.is_empty() => {
                if escape == Escape::Refuse {
                    return None;
                }
            }
            b".." => out.truncate(out.iter().rposition(|&b| b == b'/').unwrap_or(0)),
            name => {
                if !out.is_empty() {
                    out.push(b'/');
                }
                out.extend_from_slice(name);
            }
        }
    }
    Some(Cleaned(out))
}

impl Cleaned {
    /// Parent and name; nothing for the root.
    pub fn split(&self) -> Option<(&[u8], &[u8])> {
        match self.0.iter().rposition(|&b| b == b'/') {
            _ if self.0.is_empty() => None,
            None => Some((b"", &self.0)),
            Some(slash) => Some((&self.0[..slash], &self.0[slash + 1..])),
        }
    }

    /// Whether it is below AUFS's folder of hard linked files.
    pub fn is_in_plnk(&self) -> bool {
        self.0.strip_prefix(PLNK).is_some_and(|rest| rest.starts_with(b"/"))
    }

    /// Whether it is bookkeeping of AUFS: in one of its folders at the root, or named like its files anywhere.
    pub fn is_aufs(&self) -> bool {
        let first = self.0.split(|&b| b == b'/').next().unwrap_or(b"");
        let last = self.split().map_or(&b""[..], |(_, name)| name);
        [first, last].iter().any(|name| name.starts_with(AUFS) && *name != OPAQUE)
    }
}

/// The empty name, or `..` alone: Go's cleaning makes the root of it.
pub fn is_root_by_accident(path: &[u8]) -> bool {
    let start = path.iter().position(|&b| b != b'/').unwrap_or(path.len());
    let end = path.iter().rposition(|&b| b != b'/').map_or(start, |last| last + 1);
    path.is_empty() || &path[start..end] == b".."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_by_their_text() {
        for (path, cleaned) in [
            ("a/b", "a/b"),
            ("/abs", "abs"),
            ("./a", "a"),
            (".//b", "b"),
            ("x/../y", "y"),
            ("x/y/../../z/", "z"),
            ("..gitme", "..gitme"),
            ("a/.../b", "a/.../b"),
            ("", ""),
            ("./", ""),
            ("/", ""),
        ] {
            assert_eq!(clean(path.as_bytes(), Escape::Refuse), Some(Cleaned(cleaned.into())), "{path}");
        }
    }

    #[test]
    fn leaving_the_image_is_refused_or_clamped() {
        for (path, clamped) in [("../evil", "evil"), ("/../evil", "evil"), ("x/../../evil", "evil"), ("..", "")] {
            assert_eq!(clean(path.as_bytes(), Escape::Refuse), None, "{path}");
            assert_eq!(clean(path.as_bytes(), Escape::Clamp), Some(Cleaned(clamped.into())), "{path}");
        }
    }
}
