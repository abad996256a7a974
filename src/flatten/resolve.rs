//! From a path to a directory, through symbolic links, without leaving the root and without making anything.
//!
//! A component that is not there is remembered as missing: a `..` behind it takes it back, and what is left missing
//! at the end can be made. Nothing is recursive: the components still to come are a stack of texts, the path at the
//! bottom and the targets of links above it.

use super::error::Refusal;
use crate::rootfs::{InodeId, Kind, Tree};
use std::ops::Range;

/// Symbolic links followed on one way; containerd and securejoin stop there too.
const MAX_SYMLINKS: u32 = 255;

/// One component of a resolved path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A directory.
    Directory(InodeId),
    /// No directory has this name (a range of [`Walk::name`]); there may be a file of this name.
    Missing {
        /// The name.
        name: Range<usize>,
        /// Whether the name comes out of a symbolic link and not out of the path itself.
        through_link: bool,
    },
}

/// A walk, and the buffers it uses again for the next one.
#[derive(Default)]
pub struct Walk {
    /// The way from the root, without the root.
    pub steps: Vec<Step>,
    /// Path and link targets whose components are still to come, one behind the other.
    texts: Vec<u8>,
    /// Where each text's rest is in `texts`.
    rests: Vec<Range<usize>>,
    names: Vec<u8>,
    /// Components taken from links so far, over all walks.
    link_steps: u64,
    /// The lowest layer that made a symbolic link on this way.
    pub link_layer: Option<u32>,
}

impl Walk {
    /// Walks a path from the root and leaves the way in `steps`.
    ///
    /// # Errors
    /// Too many symbolic links on this way, or more than `max_link_steps` components out of links in all.
    pub fn go<B>(&mut self, tree: &Tree<B>, path: &[u8], max_link_steps: u64) -> Result<(), Refusal> {
        self.steps.clear();
        self.link_layer = None;
        self.names.clear();
        self.texts.clear();
        self.texts.extend_from_slice(path);
        self.rests.clear();
        self.rests.push(0..path.len());
        let mut symlinks = 0;
        while let Some(name) = self.next_name() {
            let through_link = self.rests.len() > 1;
            if through_link {
                self.link_steps += 1;
                if self.link_steps > max_link_steps {
                    return Err(Refusal::LinkSteps(max_link_steps));
                }
            }
            match &self.texts[name.clone()] {
                b"" | b"." => {}
                b".." => _ = self.steps.pop(),
                _ => {
                    if let Some(target) = self.step(tree, name, through_link) {
                        symlinks += 1;
                        if symlinks > MAX_SYMLINKS {
                            return Err(Refusal::TooManySymlinks(MAX_SYMLINKS));
                        }
                        self.follow(target);
                    }
                }
            }
        }
        Ok(())
    }

    /// The directory at the end of the way, if it is there.
    pub fn found(&self) -> Option<InodeId> {
        match self.steps.last() {
            None => Some(InodeId(0)),
            Some(Step::Directory(dir)) => Some(*dir),
            Some(Step::Missing { .. }) => None,
        }
    }

    /// The name of a missing step.
    pub fn name(&self, range: &Range<usize>) -> &[u8] {
        &self.names[range.clone()]
    }

    /// Takes the next component off the topmost text that has one.
    fn next_name(&mut self) -> Option<Range<usize>> {
        loop {
            let rest = self.rests.last_mut()?;
            if rest.start == rest.end {
                // The path itself stays, so that what follows a link at its end still counts as out of a link.
                if self.rests.len() == 1 {
                    return None;
                }
                self.texts.truncate(self.rests.pop()?.start);
                continue;
            }
            let text = &self.texts[rest.clone()];
            let length = text.iter().position(|&b| b == b'/').unwrap_or(text.len());
            let name = rest.start..rest.start + length;
            rest.start = (name.end + 1).min(rest.end);
            return Some(name);
        }
    }

    /// One component further; a symbolic link's target if that is what is there.
    fn step<'t, B>(&mut self, tree: &'t Tree<B>, name: Range<usize>, through_link: bool) -> Option<&'t [u8]> {
        let name = &self.texts[name];
        let dir = match self.steps.last() {
            None => Some(Tree::<B>::ROOT),
            Some(Step::Directory(dir)) => Some(*dir),
            Some(Step::Missing { .. }) => None,
        };
        let there = dir.and_then(|dir| tree.entry(dir, name));
        match there.map(|entry| (entry, tree.target(entry))).map(|(entry, id)| (entry, id, &tree.inode(id).kind)) {
            Some((_, id, Kind::Directory(_))) => self.steps.push(Step::Directory(id)),
            Some((entry, _, Kind::Symlink(target))) => {
                let layer = tree.layer(entry);
                self.link_layer = Some(self.link_layer.map_or(layer, |lowest| lowest.min(layer)));
                return Some(target);
            }
            _ => {
                let start = self.names.len();
                self.names.extend_from_slice(name);
                self.steps.push(Step::Missing { name: start..self.names.len(), through_link });
            }
        }
        None
    }

    fn follow(&mut self, target: &[u8]) {
        if target.starts_with(b"/") {
            self.steps.clear();
        }
        let start = self.texts.len();
        self.texts.extend_from_slice(target);
        self.rests.push(start..self.texts.len());
    }
}
