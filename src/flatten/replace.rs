//! Making names and taking them away.

use super::path::{self, Escape};
use super::resolve::Step;
use super::{Applier, Refusal, implied_directory};
use crate::layer::WarningKind;
use crate::rootfs::tree::EntryId;
use crate::rootfs::{Attrs, BodySink, InodeId, Kind, Tree};

impl<S: BodySink> Applier<'_, S> {
    /// A directory entry: merges with a directory, replaces anything else.
    pub(super) fn directory(&mut self, dir: InodeId, name: &[u8], attrs: Attrs, path: &[u8]) -> Result<(), Refusal> {
        if let Some(old) = self.tree.entry(dir, name) {
            let target = self.tree.target(old);
            if self.tree.inode(target).is_directory() {
                self.check_text(xattr_bytes(&attrs))?;
                if self.tree.layer(old) != self.layer && self.tree.inode(target).attrs != attrs {
                    self.stats.changed_directories += 1;
                }
                self.tree.set_attrs(target, attrs);
                self.tree.set_layer(old, self.layer);
                return Ok(());
            }
        }
        self.note_deleted_before(dir, name, path);
        self.make_room(dir, name, path);
        self.insert(dir, name, attrs, Kind::directory())?;
        Ok(())
    }

    /// One more name for the file at `target`.
    pub(super) fn hard_link(&mut self, dir: InodeId, name: &[u8], target: &[u8], path: &[u8]) -> Result<(), Refusal> {
        let found = self.link_target(target)?;
        if let Some(old) = self.tree.entry(dir, name) {
            if old == found {
                return Err(Refusal::LinkToItself);
            }
            if self.tree.target(old) == self.tree.target(found) {
                self.tree.set_layer(old, self.layer);
                return Ok(());
            }
            self.make_room(dir, name, path);
        }
        // Again, since what made room may have been a directory with the target in it.
        let inode = self.link_target(target).map(|entry| self.tree.target(entry))?;
        let limit = self.limits.links;
        if self.tree.inode(inode).names() >= limit {
            return Err(Refusal::Links(limit));
        }
        self.check_name(name.len())?;
        self.tree.link(dir, name, inode, self.layer)?;
        Ok(())
    }

    fn link_target(&mut self, target: &[u8]) -> Result<EntryId, Refusal> {
        let to_directory = || Refusal::LinkToDirectory(target.to_vec());
        let path = path::clean(target, Escape::Clamp).ok_or(Refusal::LeavesImage)?;
        let (parent, name) = path.split().ok_or_else(to_directory)?;
        let dir = self.existing_directory(parent)?;
        let entry = dir.and_then(|dir| self.tree.entry(dir, name));
        let entry = entry.ok_or_else(|| Refusal::LinkTargetMissing(target.to_vec()))?;
        match self.tree.inode(self.tree.target(entry)).is_directory() {
            true => Err(to_directory()),
            false => Ok(entry),
        }
    }

    /// Makes what the last walk found missing and returns the directory at its end.
    pub(super) fn make_missing(&mut self) -> Result<InodeId, Refusal> {
        let mut dir = Tree::<S::Body>::ROOT;
        let steps = std::mem::take(&mut self.walk.steps);
        for step in &steps {
            dir = match step {
                Step::Directory(next) => *next,
                Step::Missing { name, through_link } => {
                    let name = self.walk.name(name).to_vec();
                    if *through_link && self.tree.entry(dir, &name).is_some() {
                        return Err(Refusal::NotADirectory);
                    }
                    self.note_deleted_before(dir, &name, &name);
                    self.make_room(dir, &name, &name);
                    self.insert(dir, &name, implied_directory(), Kind::directory())?
                }
            };
        }
        self.walk.steps = steps;
        Ok(dir)
    }

    /// Frees a name.
    pub(super) fn make_room(&mut self, dir: InodeId, name: &[u8], path: &[u8]) {
        if let Some(old) = self.tree.entry(dir, name) {
            if self.tree.layer(old) == self.layer {
                self.warnings.add(WarningKind::Duplicate, path);
                self.stats.repeated += 1;
            } else {
                self.stats.replaced += 1;
            }
            self.remove(old);
        }
    }

    /// A new inode under a free name, within the limits.
    pub(super) fn insert(
        &mut self,
        dir: InodeId,
        name: &[u8],
        attrs: Attrs,
        kind: Kind<S::Body>,
    ) -> Result<InodeId, Refusal> {
        let is_directory = matches!(kind, Kind::Directory(_));
        let target = if let Kind::Symlink(target) = &kind { target.len() } else { 0 };
        self.check_name(name.len() + target + xattr_bytes(&attrs))?;
        let id = self.tree.insert(dir, name, attrs, kind, self.layer)?;
        if is_directory {
            self.set_clean(id);
        }
        Ok(id)
    }

    fn check_name(&self, text_bytes: usize) -> Result<(), Refusal> {
        match self.limits.names {
            limit if self.tree.entry_count() >= limit => Err(Refusal::Names(limit)),
            _ => self.check_text(text_bytes),
        }
    }

    fn check_text(&self, more: usize) -> Result<(), Refusal> {
        match self.limits.text_bytes {
            limit if self.tree.text_bytes() + more as u64 > limit => Err(Refusal::TextBytes(limit)),
            _ => Ok(()),
        }
    }

    /// Removes an entry and everything below it, deepest first. Bodies without a name left go back to the sink.
    pub(super) fn remove(&mut self, entry: EntryId) {
        let mut way = vec![entry];
        while let Some(&entry) = way.last() {
            let target = self.tree.target(entry);
            if let Some(child) = self.tree.first_child(target) {
                way.push(child);
                continue;
            }
            way.pop();
            self.stats.removed += 1;
            if matches!(self.tree.inode(target).kind, Kind::Directory(_) | Kind::Symlink(_)) {
                self.last_parent = None;
            }
            if let Some(inode) = self.tree.unlink(entry)
                && let Kind::File { body, .. } = inode.kind
            {
                self.sink.discard(body);
            }
        }
    }
}

fn xattr_bytes(attrs: &Attrs) -> usize {
    attrs.xattrs.iter().flatten().map(|(name, value)| name.len() + value.len()).sum()
}
