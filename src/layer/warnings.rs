//! What was odd in a layer and was accepted: counted, with the first few examples of each kind.
//!
//! An image can be odd in a million places; this stays small.

use crate::escape::escape;
use crate::rootfs::{Pack, Unpack};
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

/// All kinds, each at the place that its number says.
const KINDS: [WarningKind; 15] = [
    WarningKind::UnknownType,
    WarningKind::UnknownRecord,
    WarningKind::AclWithoutIds,
    WarningKind::TimeClamped,
    WarningKind::Duplicate,
    WarningKind::WhiteoutType,
    WarningKind::WhiteoutDirectory,
    WarningKind::Aufs,
    WarningKind::Overlay,
    WarningKind::RootLink,
    WarningKind::RootAttributes,
    WarningKind::GlobalRecord,
    WarningKind::ThroughLowerLink,
    WarningKind::DeletedAndThere,
    WarningKind::OpaqueRoot,
];

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

    /// Appends them as bytes, for [`Warnings::unpack`].
    pub fn pack(&self, out: &mut Pack) {
        out.count(self.kinds.len());
        for (&kind, (count, examples)) in &self.kinds {
            out.number(kind as u8);
            out.number(*count);
            out.count(examples.len());
            examples.iter().for_each(|text| out.text(text.as_bytes()));
        }
    }

    /// The warnings that were packed; `None` when the bytes are none.
    pub fn unpack(input: &mut Unpack<'_>) -> Option<Warnings> {
        let text = |input: &mut Unpack<'_>| String::from_utf8(input.text()?.to_vec()).ok();
        let kinds = input.list(|input| {
            let kind = *KINDS.get(input.small::<usize>()?)?;
            let (count, examples) = (input.number()?, input.list(text)?);
            (examples.len() <= EXAMPLES && count > 0).then_some((kind, (count, examples)))
        })?;
        Some(Warnings { kinds: kinds.into_iter().collect() })
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

    #[test]
    fn warnings_are_the_same_again_and_go_on() {
        let mut first = Warnings::default();
        for (number, &kind) in KINDS.iter().enumerate() {
            assert_eq!(kind as usize, number);
            (0..=number).for_each(|i| first.add(kind, format!("file{i}").as_bytes()));
        }
        let mut out = Pack::default();
        first.pack(&mut out);
        let mut second = Warnings::unpack(&mut Unpack(&out.0)).unwrap();
        assert_eq!(second, first);
        for warnings in [&mut first, &mut second] {
            warnings.add(WarningKind::UnknownType, b"more");
        }
        assert_eq!(second, first);
        out.0[1] = KINDS.len() as u8;
        assert!(Warnings::unpack(&mut Unpack(&out.0)).is_none());
    }
}
