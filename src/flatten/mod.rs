//! Applying a layer to the merged tree.
//!
//! ```text
//!  entry ─▶ path cleaned ─▶ whiteout? ─▶ hide what lower layers have
//!                        └▶ parent resolved inside the root ─▶ replace or merge ─▶ body to the sink
//! ```
//!
//! Every name in the tree is stamped with the number of the layer that made it. A whiteout hides names of *lower*
//! layers only, so it makes no difference where in its layer it stands: the stamp decides, not the order.
//!
//! The rules, where the specification is silent or tools disagree:
//!
//! - The root directory is 0755 and root's, whatever an entry `./` says: containerd passes such an entry over
//!   (archive/tar.go, "resolved to root"), and with Docker it is hidden by the container's own layer.
//! - An entry replaces what is at its path; only a directory over a directory merges, and then the attributes are the
//!   new ones, extended attributes too. Whatever loses its last name gives its body back to the sink.
//! - `..` in an entry's name is resolved in the text; a name that leaves the image is refused. `..` in a link's target
//!   is resolved on the way and stops at the root, as in the running image.
//! - Parents are found through symbolic links, which start and end inside the image. A link that leads nowhere leads to
//!   directories yet to be made. A parent that the layer does not list is made: 0755, root, time 0.
//! - A file in the way of a parent becomes that directory (the layer says so); one behind a symbolic link does not.
//! - A hard link needs its target to be there already, in this layer or below. It gets a name of that very inode (a
//!   symbolic link's too); its own attributes are ignored.
//! - A whiteout of a directory keeps what this layer has put into it. If the layer did not list the directory itself,
//!   it is then one it implied: 0755, root, time 0.
//! - The same path twice: the last one counts, with a warning.
//! - Where overlayfs, on which Docker and containerd keep layers apart, shows something else than the specification says,
//!   the specification is followed with a warning: a name under a lower layer's symbolic link, a directory that its layer
//!   deletes too, an opaque marker at a layer's root.
//! - AUFS bookkeeping (`.wh..wh.*`) is dropped; `.wh..wh.plnk/*` stays until the layer's end, for links to it.
//!
//! Nothing is recursive. Time is linear in the layer's bytes plus what it removes: a directory that is known to hold
//! nothing of lower layers is never searched for it again, and steps through symbolic links are limited.
//!
//! Source: OCI image-spec `layer.md`, "Applying Changesets" and "Whiteouts".

mod error;
mod path;
mod replace;
mod resolve;
mod whiteout;

pub use error::{ApplyError, Refusal};

use crate::layer::{self, Entry, EntryKind, Reader, WarningKind, Warnings};
use crate::rootfs::{Attrs, BodySink, InodeId, Kind, Time, Tree, tree};
use path::{Cleaned, Escape};
use resolve::Walk;
use std::collections::BTreeSet;
use std::io::BufRead;
use std::ops::RangeInclusive;
use whiteout::Whiteout;

/// What a tree may come to. Refusing is better than swapping, or than a disk that no file system can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of the tar reader.
    pub layer: layer::Limits,
    /// Names in the tree; there are never more inodes than names and the root.
    pub names: u32,
    /// Bytes of all names, link targets and extended attributes.
    pub text_bytes: u64,
    /// Bytes of all files, holes included.
    pub file_bytes: u64,
    /// Names of one inode. ext4 counts to 65,000.
    pub links: u32,
    /// Path components taken from symbolic links while one layer is applied.
    pub link_steps: u64,
    /// Seconds of the times the file system can hold; others are clamped with a warning. ext4 with 256-byte inodes:
    /// 1901-12-13 to 2446-05-10.
    pub times: RangeInclusive<i64>,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            layer: layer::Limits::default(),
            names: 4 << 20,
            text_bytes: 512 << 20,
            file_bytes: 1 << 60,
            links: 65_000,
            link_steps: 20_000_000,
            times: -(1 << 31)..=(1 << 34) - (1 << 31) - 1,
        }
    }
}

/// What a layer was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LayerStats {
    /// Members of the archive.
    pub entries: u64,
    /// Whiteouts among them, opaque markers included.
    pub whiteouts: u64,
    /// Regular files among them.
    pub files: u64,
    /// Bytes of those files, holes included.
    pub file_bytes: u64,
    /// Names that were removed: whited out or replaced.
    pub removed: u64,
    /// Names among them that this layer itself had made before: the same path twice.
    pub repeated: u64,
    /// Names of lower layers that this layer has put something else in the place of; counted in `removed` too.
    pub replaced: u64,
    /// Directories of lower layers that this layer gave other attributes.
    pub changed_directories: u64,
    /// Bytes of the uncompressed layer.
    pub layer_bytes: u64,
}

/// Attributes of a directory that a layer implies without listing it.
pub fn implied_directory() -> Attrs {
    Attrs { mode: 0o755, ..Attrs::default() }
}

/// Applies the layer in `stream` (uncompressed) to `tree` as layer number `layer`, which must be higher than those
/// before. The stream is read to its end. File bodies go to `sink`.
///
/// # Errors
/// The archive is wrong, breaks a rule or goes over a limit, or the sink fails. The tree is then of no further use.
pub fn apply<S: BodySink>(
    tree: &mut Tree<S::Body>,
    layer: u32,
    stream: &mut dyn BufRead,
    sink: &mut S,
    limits: &Limits,
    warnings: &mut Warnings,
) -> Result<LayerStats, ApplyError> {
    let mut reader = Reader::new(stream, limits.layer.clone());
    let mut applier = Applier {
        tree,
        layer,
        sink,
        limits,
        warnings,
        stats: LayerStats::default(),
        walk: Walk::default(),
        last_parent: None,
        clean: Vec::new(),
        deleted: BTreeSet::new(),
    };
    while let Some(entry) = reader.next_entry(applier.warnings)? {
        applier.stats.entries += 1;
        let (name, offset) = (entry.path.clone(), entry.offset);
        applier.entry(entry, &mut reader).map_err(|stop| stop.at(name, offset))?;
    }
    applier.drop_plnk();
    Ok(LayerStats { layer_bytes: reader.offset(), ..applier.stats })
}

/// Why an entry was not applied, before its place is added.
enum Stop {
    Refused(Refusal),
    Layer(layer::Error),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Stop::Refused(refusal)
    }
}

impl From<layer::Error> for Stop {
    fn from(error: layer::Error) -> Self {
        Stop::Layer(error)
    }
}

impl Stop {
    fn at(self, entry: Vec<u8>, offset: u64) -> ApplyError {
        match self {
            Stop::Layer(error) => ApplyError::Layer(error),
            Stop::Refused(refusal) => ApplyError::Refused { entry, offset, refusal },
        }
    }
}

/// One layer on its way into the tree.
struct Applier<'a, S: BodySink> {
    tree: &'a mut Tree<S::Body>,
    layer: u32,
    sink: &'a mut S,
    limits: &'a Limits,
    warnings: &'a mut Warnings,
    stats: LayerStats,
    walk: Walk,
    /// The parent found last: entries of one directory come together. Forgotten when a directory or link goes.
    last_parent: Option<(Vec<u8>, InodeId)>,
    /// A bit for each inode: a directory without anything of lower layers in it.
    clean: Vec<u64>,
    /// Where a whiteout of this layer has taken a directory away.
    deleted: BTreeSet<(u32, Box<[u8]>)>,
}

impl<S: BodySink> Applier<'_, S> {
    fn entry(&mut self, entry: Entry, reader: &mut Reader) -> Result<(), Stop> {
        let is_link = matches!(entry.kind, EntryKind::Symlink(_));
        let path = match path::clean(&entry.path, Escape::Refuse) {
            // containerd and umoci take such a link for the root and leave the root alone.
            _ if is_link && path::is_root_by_accident(&entry.path) => {
                self.warnings.add(WarningKind::RootLink, &entry.path);
                return Ok(());
            }
            _ if entry.path.is_empty() => return Err(Refusal::NoName.into()),
            None => return Err(Refusal::LeavesImage.into()),
            Some(path) => path,
        };
        let Some((parent, name)) = path.split() else { return self.root(entry) };
        if path.is_aufs() && !self.keeps_plnk(&path, &entry.kind) {
            self.warnings.add(WarningKind::Aufs, &entry.path);
            return Ok(());
        }
        match Whiteout::parse(name)? {
            Some(whiteout) => self.whiteout(whiteout, parent, &entry),
            None => self.member(entry, parent, name, reader),
        }
    }

    /// The entry `./`. Its time is the root directory's; mode, owner and extended attributes stay those of
    /// [`implied_directory`].
    fn root(&mut self, entry: Entry) -> Result<(), Stop> {
        let EntryKind::Directory = entry.kind else { return Err(Refusal::RootNotDirectory.into()) };
        let stated = self.admit(entry.attrs, &entry.path)?;
        let kept = Attrs { mtime: stated.mtime, ..implied_directory() };
        if stated != kept {
            let Attrs { mode, uid, gid, .. } = stated;
            let more = if stated.xattrs.is_some() { ", extended attributes" } else { "" };
            self.warnings.add(WarningKind::RootAttributes, format!("{mode:04o} {uid}:{gid}{more}").as_bytes());
        }
        self.tree.set_attrs(Tree::<S::Body>::ROOT, kept);
        Ok(())
    }

    fn member(&mut self, entry: Entry, parent: &[u8], name: &[u8], reader: &mut Reader) -> Result<(), Stop> {
        tree::check_name(name).map_err(Refusal::from)?;
        let dir = self.parent(parent)?;
        let (kind, path) = (entry.kind, entry.path);
        let kind = match kind {
            EntryKind::HardLink(target) => return Ok(self.hard_link(dir, name, &target, &path)?),
            EntryKind::Directory => {
                let attrs = self.admit(entry.attrs, &path)?;
                return Ok(self.directory(dir, name, attrs, &path)?);
            }
            EntryKind::File { size } => return self.file(dir, name, size, entry.attrs, &path, reader),
            EntryKind::Symlink(target) => Kind::Symlink(target.into()),
            EntryKind::CharDevice { major, minor } => {
                if (major, minor) == (0, 0) {
                    self.warnings.add(WarningKind::Overlay, &path);
                }
                Kind::CharDevice { major, minor }
            }
            EntryKind::BlockDevice { major, minor } => Kind::BlockDevice { major, minor },
            EntryKind::Fifo => Kind::Fifo,
        };
        let mut attrs = self.admit(entry.attrs, &path)?;
        if matches!(kind, Kind::Symlink(_)) {
            // Linux knows no other mode of a symbolic link.
            attrs.mode = 0o777;
        }
        self.make_room(dir, name, &path);
        self.insert(dir, name, attrs, kind)?;
        Ok(())
    }

    fn file(
        &mut self,
        dir: InodeId,
        name: &[u8],
        size: u64,
        attrs: Attrs,
        path: &[u8],
        reader: &mut Reader,
    ) -> Result<(), Stop> {
        let attrs = self.admit(attrs, path)?;
        // Before the new body is stored, so that it may take the old one's place.
        self.make_room(dir, name, path);
        let limit = self.limits.file_bytes;
        if self.tree.file_bytes().checked_add(size).is_none_or(|total| total > limit) {
            return Err(Refusal::FileBytes(limit).into());
        }
        self.sink.announce(path, &attrs);
        let body = reader.body(self.sink)?;
        self.insert(dir, name, attrs, Kind::File { size, body })?;
        self.stats.files += 1;
        self.stats.file_bytes = self.stats.file_bytes.saturating_add(size);
        Ok(())
    }

    /// Attributes as the tree takes them: times clamped, oddities noted.
    fn admit(&mut self, mut attrs: Attrs, path: &[u8]) -> Result<Attrs, Refusal> {
        let (first, last) = (*self.limits.times.start(), *self.limits.times.end());
        if !self.limits.times.contains(&attrs.mtime.secs) {
            self.warnings.add(WarningKind::TimeClamped, path);
            attrs.mtime = Time { secs: attrs.mtime.secs.clamp(first, last), nanos: 0 };
        }
        let of_overlay = |name: &[u8]| name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.");
        if attrs.xattrs.iter().flatten().any(|(name, _)| of_overlay(name)) {
            self.warnings.add(WarningKind::Overlay, path);
        }
        Ok(attrs)
    }

    /// The directory of a new entry, made if need be.
    fn parent(&mut self, path: &[u8]) -> Result<InodeId, Refusal> {
        if let Some((last, dir)) = &self.last_parent
            && last == path
        {
            return Ok(*dir);
        }
        if path.split(|&b| b == b'/').any(|name| name.starts_with(b".wh.")) && path != path::PLNK {
            self.warnings.add(WarningKind::WhiteoutDirectory, path);
        }
        self.walk.go(self.tree, path, self.limits.link_steps)?;
        if self.walk.link_layer.is_some_and(|layer| layer < self.layer) {
            self.warnings.add(WarningKind::ThroughLowerLink, path);
        }
        let dir = self.make_missing()?;
        self.last_parent = Some((path.to_vec(), dir));
        Ok(dir)
    }

    /// The directory at a path, if there is one.
    fn existing_directory(&mut self, path: &[u8]) -> Result<Option<InodeId>, Refusal> {
        if let Some((last, dir)) = &self.last_parent
            && last == path
        {
            return Ok(Some(*dir));
        }
        self.walk.go(self.tree, path, self.limits.link_steps)?;
        Ok(self.walk.found())
    }

    fn is_clean(&self, dir: InodeId) -> bool {
        self.clean.get(dir.0 as usize / 64).is_some_and(|bits| bits & 1 << (dir.0 % 64) != 0)
    }

    fn set_clean(&mut self, dir: InodeId) {
        let index = dir.0 as usize / 64;
        if self.clean.len() <= index {
            self.clean.resize(index + 1, 0);
        }
        self.clean[index] |= 1 << (dir.0 % 64);
    }

    /// `.wh..wh.plnk` and the files in it stay while their layer is read: AUFS wrote hard links as links to them.
    fn keeps_plnk(&self, path: &Cleaned, kind: &EntryKind) -> bool {
        match kind {
            EntryKind::Directory => path.0 == path::PLNK,
            EntryKind::File { .. } => path.is_in_plnk(),
            _ => false,
        }
    }

    fn drop_plnk(&mut self) {
        if let Some(entry) = self.tree.entry(Tree::<S::Body>::ROOT, path::PLNK) {
            self.warnings.add(WarningKind::Aufs, path::PLNK);
            self.remove(entry);
        }
    }
}
