//! What was odd in a layer and was accepted: counted, with the first few examples of each kind.
//!
//! An image can be odd in a million places; this stays small.

use crate::escape::escape;
use std::collections::BTreeMap;
use std::fmt;

/// Examples kept of each kind.
pub const EXAMPLES: usize = 3;
/// Bytes of one example before escaping.
const EXAMPLE_BYTES: usize = 200;

/// A kind of oddity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WarningKind {
    /// A member type that nobody defined; POSIX says to read it as a regular file.
    UnknownType,
    /// A PAX record this reader does not know.
    UnknownRecord,
    /// A text ACL that names users or groups without their numbers: dropped.
    AclWithoutIds,
    /// A time that the file system cannot hold: the nearest one it can.
    TimeClamped,
    /// The same path twice in one layer: the last one counts.
    Duplicate,
    /// A whiteout that is neither a regular file nor a directory: taken as a whiteout.
    WhiteoutType,
    /// A directory whose name looks like a whiteout: kept under that name.
    WhiteoutDirectory,
    /// Files AUFS keeps for itself: dropped.
    Aufs,
    /// A device 0/0 or an overlay attribute, which overlayfs keeps for itself: kept.
    Overlay,
    /// A symbolic link named `..` or nothing: dropped.
    RootLink,
    /// Other attributes for the root directory than a container's has: not taken.
    RootAttributes,
    /// A PAX record for all members that names none of them: nobody's.
    GlobalRecord,
    /// A name below a symbolic link of a lower layer: it is put where that leads.
    ThroughLowerLink,
    /// A layer has a name and deletes it: its own stays, and nothing of lower layers.
    DeletedAndThere,
    /// An opaque marker at the root: everything of lower layers is gone.
    OpaqueRoot,
}

impl WarningKind {
    /// What it is, for people: "path twice in one layer, the last one counts".
    pub fn text(self) -> &'static str {
        match self {
            WarningKind::UnknownType => "unknown member type, read as a regular file",
            WarningKind::UnknownRecord => "unknown PAX record, ignored",
            WarningKind::AclWithoutIds => "access control list without numeric ids, dropped",
            WarningKind::TimeClamped => "time out of the file system's range, clamped",
            WarningKind::Duplicate => "path twice in one layer, the last one counts",
            WarningKind::WhiteoutType => "whiteout that is not a regular file",
            WarningKind::WhiteoutDirectory => "directory named like a whiteout, kept",
            WarningKind::Aufs => "AUFS bookkeeping in the layer, dropped",
            WarningKind::Overlay => "overlayfs bookkeeping in the layer, kept as it is",
            WarningKind::RootLink => "symbolic link in place of the root directory, dropped",
            WarningKind::RootAttributes => {
                "attributes for the root directory, which stays 0755 and root's as in a container"
            }
            WarningKind::GlobalRecord => "PAX record for all members, ignored as container runtimes do",
            WarningKind::ThroughLowerLink => {
                "files below a lower layer's symbolic link, which is followed; Docker and containerd put a directory in its place"
            }
            WarningKind::DeletedAndThere => {
                "name that its layer deletes too, kept without what lower layers have; Docker and containerd differ"
            }
            WarningKind::OpaqueRoot => {
                "lower layers deleted by a marker at a layer's root, which Docker and containerd ignore"
            }
        }
    }
}

/// The warnings of any number of layers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Warnings {
    kinds: BTreeMap<WarningKind, (u64, Vec<String>)>,
}

impl Warnings {
    /// Counts one; `example` is raw image text and is escaped and cut here.
    pub fn add(&mut self, kind: WarningKind, example: &[u8]) {
        let (count, examples) = self.kinds.entry(kind).or_default();
        *count += 1;
        if examples.len() < EXAMPLES {
            let cut = &example[..example.len().min(EXAMPLE_BYTES)];
            let dots = if cut.len() < example.len() { "…" } else { "" };
            let text = format!("{}{dots}", escape(cut));
            if !examples.contains(&text) {
                examples.push(text);
            }
        }
    }

    /// How often this kind was met.
    pub fn count(&self, kind: WarningKind) -> u64 {
        self.kinds.get(&kind).map_or(0, |(count, _)| *count)
    }

    /// Whether there were none.
    pub fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }

    /// Every kind that was met, its count and its first examples (escaped), in a fixed order.
    pub fn iter(&self) -> impl Iterator<Item = (WarningKind, u64, &[String])> {
        self.kinds.iter().map(|(&kind, (count, examples))| (kind, *count, examples.as_slice()))
    }
}

/// One line for each kind.
impl fmt::Display for Warnings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (kind, count, examples)) in self.iter().enumerate() {
            let more = if count > examples.len() as u64 { format!(" ({count} in all)") } else { String::new() };
            let newline = if i > 0 { "\n" } else { "" };
            write!(f, "{newline}{}{more}: {}", kind.text(), examples.join(", "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_warnings_stay_small() {
        let mut warnings = Warnings::default();
        for i in 0..1_000_000u32 {
            warnings.add(WarningKind::Duplicate, format!("file{i}\x1b").as_bytes());
        }
        warnings.add(WarningKind::Overlay, &[b'x'; 5000]);
        assert_eq!(warnings.count(WarningKind::Duplicate), 1_000_000);
        let text = warnings.to_string();
        assert!(text.len() < 600, "{text}");
        assert!(text.contains("(1000000 in all): file0\\x1b, file1\\x1b, file2\\x1b\n"), "{text}");
    }
}
