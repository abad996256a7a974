//! Whiteouts: what a layer says is gone.
//!
//! ```text
//!  .wh.NAME        NAME of lower layers is hidden
//!  .wh..wh..opq    everything lower layers have in this directory is hidden
//! ```
//!
//! Neither touches what the same layer has, wherever in the layer it stands. A marker in a directory that does not
//! exist does nothing, and makes nothing.

use super::path::OPAQUE;
use super::{Applier, Refusal, Stop, implied_directory};
use crate::layer::{Entry, EntryKind, WarningKind};
use crate::rootfs::tree::EntryId;
use crate::rootfs::{BodySink, InodeId, Tree};

const PREFIX: &[u8] = b".wh.";

/// A whiteout by its name.
pub enum Whiteout<'a> {
    /// Hides this name.
    Name(&'a [u8]),
    /// Hides all names of its directory.
    Opaque,
}

impl<'a> Whiteout<'a> {
    /// What a file name says. The names `.wh.`, `.wh..` and `.wh...` would hide nothing, the directory itself, and
    /// its parent: refused.
    pub fn parse(name: &'a [u8]) -> Result<Option<Self>, Refusal> {
        match name.strip_prefix(PREFIX) {
            None => Ok(None),
            Some(_) if name == OPAQUE => Ok(Some(Whiteout::Opaque)),
            Some(b"" | b"." | b"..") => Err(Refusal::WhiteoutName),
            Some(hidden) => Ok(Some(Whiteout::Name(hidden))),
        }
    }
}

/// A directory on the way through a subtree: its own entry, and the child to look at next.
struct Frame {
    entry: Option<EntryId>,
    next: Option<EntryId>,
}

impl<S: BodySink> Applier<'_, S> {
    /// Applies a whiteout found in the directory `parent`.
    pub(super) fn whiteout(&mut self, whiteout: Whiteout, parent: &[u8], entry: &Entry) -> Result<(), Stop> {
        self.stats.whiteouts += 1;
        if !matches!(entry.kind, EntryKind::File { .. } | EntryKind::Directory) {
            self.warnings.add(WarningKind::WhiteoutType, &entry.path);
        }
        let Some(dir) = self.existing_directory(parent)? else { return Ok(()) };
        match whiteout {
            Whiteout::Opaque => {
                if dir == Tree::<S::Body>::ROOT && self.has_lower(dir) {
                    self.warnings.add(WarningKind::OpaqueRoot, &entry.path);
                }
                self.hide_lower(dir);
            }
            Whiteout::Name(name) => {
                if let Some(hidden) = self.tree.entry(dir, name) {
                    let target = self.tree.target(hidden);
                    let is_directory = self.tree.inode(target).is_directory();
                    if is_directory {
                        self.hide_lower(target);
                    }
                    if self.tree.layer(hidden) == self.layer || (is_directory && self.tree.child_count(target) > 0) {
                        self.warnings.add(WarningKind::DeletedAndThere, &entry.path);
                    } else if is_directory {
                        self.deleted.insert((dir.0, name.into()));
                    }
                    self.settle(hidden);
                }
            }
        }
        Ok(())
    }

    fn has_lower(&self, dir: InodeId) -> bool {
        self.tree.children(dir).any(|entry| self.tree.layer(entry) != self.layer)
    }

    /// A new directory where a whiteout of this layer has taken one away: with overlayfs the lower one's contents are in it.
    pub(super) fn note_deleted_before(&mut self, dir: InodeId, name: &[u8], path: &[u8]) {
        if !self.deleted.is_empty() && self.deleted.contains(&(dir.0, name.into())) {
            self.warnings.add(WarningKind::DeletedAndThere, path);
        }
    }

    /// Removes from a directory, at any depth, what lower layers have put there.
    ///
    /// Every directory passed is marked clean, and one that is clean is not entered again: however many markers a
    /// layer has, each directory is searched once.
    fn hide_lower(&mut self, dir: InodeId) {
        if self.is_clean(dir) {
            return;
        }
        self.set_clean(dir);
        let mut way = vec![Frame { entry: None, next: self.tree.first_child(dir) }];
        while let Some(frame) = way.last_mut() {
            let Some(child) = frame.next else {
                if let Some(entry) = way.pop().and_then(|frame| frame.entry) {
                    self.settle(entry);
                }
                continue;
            };
            frame.next = self.tree.next_sibling(child);
            let target = self.tree.target(child);
            if self.tree.inode(target).is_directory() && !self.is_clean(target) {
                self.set_clean(target);
                way.push(Frame { entry: Some(child), next: self.tree.first_child(target) });
            } else {
                self.settle(child);
            }
        }
    }

    /// Hides one entry. A lower directory that still has entries, which are then this layer's, stays as one the layer
    /// implies.
    fn settle(&mut self, entry: EntryId) {
        if self.tree.layer(entry) == self.layer {
            return;
        }
        let target = self.tree.target(entry);
        if self.tree.child_count(target) > 0 {
            self.tree.set_attrs(target, implied_directory());
            self.tree.set_layer(entry, self.layer);
        } else {
            self.remove(entry);
        }
    }
}
