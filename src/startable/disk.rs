//! The same look at the root partition of a disk that exists, as it is now.
//!
//! Only what decides whether anything can start is looked for, in few and small directories: a disk that was written to
//! may have any, and its machine starts faster than a large one is read. A file system that needs its journal first is
//! not judged.

use super::look::{MAX_BODY, Userland, What};
use super::{Doubt, Init, Process};
use crate::ext4::read::{FileSystem, Kind};
use crate::formats::ReadAt;

/// Inode number of the root directory.
const ROOT: u32 = 2;
/// A larger directory is not read.
const MAX_DIRECTORY: u64 = 1 << 20;

/// What will keep the workload from starting on the disk whose root file system begins at `offset`: no init where one
/// is wanted, and no such user. Commands are left to PID 1, which knows the volumes.
pub fn on_disk(disk: &dyn ReadAt, offset: u64, process: &Process, init: Init) -> Vec<Doubt> {
    let Ok(system) = FileSystem::open(disk, offset) else { return Vec::new() };
    let (userland, init) = (OnDisk(system), init.settle(process));
    let no_init = super::command(&userland, process, init).filter(|doubt| *doubt == Doubt::NoInit);
    no_init.into_iter().chain(super::whom(&userland, process, init)).collect()
}

struct OnDisk<'a>(FileSystem<'a>);

impl Userland for OnDisk<'_> {
    type Id = u32;
    const MAX_STEPS: u32 = 1000;

    fn root(&self) -> u32 {
        ROOT
    }

    fn what(&self, id: u32) -> Option<What> {
        let inode = self.0.inode(id).ok()?;
        let link = match inode.kind {
            Kind::Symlink => Some(self.0.target(&inode).ok()?),
            _ => None,
        };
        let (is_directory, is_executable) = (inode.kind == Kind::Directory, inode.mode & 0o111 != 0);
        Some(What { is_directory, is_executable, link })
    }

    fn child(&self, directory: u32, name: &[u8]) -> Result<Option<u32>, ()> {
        let inode = self.0.inode(directory).map_err(drop)?;
        if inode.size > MAX_DIRECTORY {
            return Err(());
        }
        let names = self.0.names(&inode).map_err(drop)?;
        Ok(names.iter().find(|found| found.name == name).map(|found| found.inode))
    }

    fn read(&self, id: u32) -> Option<Vec<u8>> {
        let inode = self.0.inode(id).ok()?;
        if inode.kind != Kind::File {
            return Some(Vec::new());
        }
        let mut bytes = vec![0; usize::try_from(inode.size).ok().filter(|_| inode.size <= MAX_BODY)?];
        self.0.read_file(&inode, 0, &mut bytes).ok()?;
        Some(bytes)
    }
}
