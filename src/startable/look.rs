//! Where a path leads in a userland, wherever that is: through symbolic links, never above the root, in bounded time.

use crate::rootfs::{InodeId, Kind, Tree};

/// Symbolic links the kernel follows on one way (path_resolution(7)).
const MAX_SYMLINKS: u32 = 40;
/// Most bytes of a file that is read: what PID 1 reads of /etc/passwd.
pub(super) const MAX_BODY: u64 = 16 << 20;

/// What a name stands for.
pub(super) struct What {
    pub(super) is_directory: bool,
    pub(super) is_executable: bool,
    /// Where it leads, if it is a symbolic link.
    pub(super) link: Option<Vec<u8>>,
}

/// A tree of names.
pub(super) trait Userland {
    /// Something in it.
    type Id: Copy;
    /// Components looked at in all; what takes more is not judged.
    const MAX_STEPS: u32;
    fn root(&self) -> Self::Id;
    /// `None` when that cannot be read.
    fn what(&self, id: Self::Id) -> Option<What>;
    /// `Err` when that cannot be read.
    fn child(&self, directory: Self::Id, name: &[u8]) -> Result<Option<Self::Id>, ()>;
    /// A file's bytes; `None` when they cannot be read.
    fn read(&self, id: Self::Id) -> Option<Vec<u8>>;
}

/// The merged tree of an image, with a way to its bodies.
pub(super) struct InTree<'a, B> {
    pub(super) tree: &'a Tree<B>,
    pub(super) read: &'a dyn Fn(&B, u64) -> Option<Vec<u8>>,
}

impl<B> Userland for InTree<'_, B> {
    type Id = InodeId;
    const MAX_STEPS: u32 = 1 << 20;

    fn root(&self) -> InodeId {
        Tree::<B>::ROOT
    }

    fn what(&self, id: InodeId) -> Option<What> {
        let inode = self.tree.inode(id);
        let link = match &inode.kind {
            Kind::Symlink(target) => Some(target.to_vec()),
            _ => None,
        };
        Some(What { is_directory: inode.is_directory(), is_executable: inode.attrs.mode & 0o111 != 0, link })
    }

    fn child(&self, directory: InodeId, name: &[u8]) -> Result<Option<InodeId>, ()> {
        Ok(self.tree.lookup(directory, name))
    }

    fn read(&self, id: InodeId) -> Option<Vec<u8>> {
        match &self.tree.inode(id).kind {
            Kind::File { size, body } if *size <= MAX_BODY => (self.read)(body, *size),
            // PID 1 takes what is no file for an empty one.
            Kind::File { .. } => None,
            _ => Some(Vec::new()),
        }
    }
}

/// A look that ends in bounded time.
pub(super) struct Look<'a, U> {
    userland: &'a U,
    working_dir: &'a str,
    steps: u32,
    unreadable: bool,
}

impl<'a, U: Userland> Look<'a, U> {
    pub(super) fn new(userland: &'a U, working_dir: &'a str) -> Self {
        Look { userland, working_dir, steps: 0, unreadable: false }
    }

    /// Nothing it said is worth anything.
    pub(super) fn gave_up(&self) -> bool {
        self.unreadable || self.steps > U::MAX_STEPS
    }

    /// What a path names, seen from the working directory.
    pub(super) fn what(&mut self, path: &str) -> Option<What> {
        let id = self.find(path)?;
        self.userland.what(id)
    }

    /// Where a path leads from the working directory.
    pub(super) fn find(&mut self, path: &str) -> Option<U::Id> {
        match path.starts_with('/') {
            true => self.resolve(path.as_bytes()),
            false => self.resolve(format!("{}/{path}", self.working_dir).as_bytes()),
        }
    }

    /// Where a path leads from the root. `None` when it leads nowhere.
    pub(super) fn resolve(&mut self, path: &[u8]) -> Option<U::Id> {
        let mut way = vec![self.userland.root()];
        // Components still to come, the next one last.
        let mut rest: Vec<Vec<u8>> = components(path);
        let mut links = 0;
        while let Some(name) = rest.pop() {
            self.steps += 1;
            if self.steps > U::MAX_STEPS {
                return None;
            }
            if name == b".." {
                way.truncate(way.len().saturating_sub(1).max(1));
                continue;
            }
            let here = *way.last()?;
            if !self.known(self.userland.what(here))?.is_directory {
                return None;
            }
            let next = self.known(self.userland.child(here, &name).ok())??;
            let Some(target) = self.known(self.userland.what(next))?.link else {
                way.push(next);
                continue;
            };
            links += 1;
            if links > MAX_SYMLINKS {
                return None;
            }
            if target.starts_with(b"/") {
                way.truncate(1);
            }
            rest.extend(components(&target));
        }
        way.pop()
    }

    fn known<T>(&mut self, found: Option<T>) -> Option<T> {
        self.unreadable |= found.is_none();
        found
    }
}

/// The names of a path from the last to the first; `.` and empty ones are none.
fn components(path: &[u8]) -> Vec<Vec<u8>> {
    let names = path.rsplit(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".");
    names.map(<[u8]>::to_vec).collect()
}
