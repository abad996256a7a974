//! All modules of a kernel as a file system of their own, for `--guest-modules all`: what `/lib/modules/RELEASE` of the
//! running userland shows. The root partition has nothing of it, so that it stays the same whatever the kernel is.
//!
//! ```text
//!  kernel/...ko   every module, unpacked: any modprobe can read it
//!  modules.*      the lists of the kernel's build, and what depmod makes of them
//! ```
//!
//! ext4, as the kernel has that for the root anyway; never written to after the build, and so without free space.

use crate::ext4::{self, Body, Descriptors};
use crate::identity::Ingredients;
use crate::kernel::depmod::{self, Module};
use crate::kernel::modules::ModuleTree;
use crate::kernel::{KernelError, modinfo};
use crate::output::Output;
use crate::rootfs::{Attrs, BodySink, InodeId, Kind, Time, Tree};
use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Most bytes that the modules of one kernel may have, unpacked.
const LIMIT: u64 = 16 << 30;

/// A digest of every module and list: their share in a disk's identity.
pub fn digest(tree: &ModuleTree) -> Result<[u8; 32], KernelError> {
    let mut all = Ingredients::default();
    for (name, bytes) in tree.builtin().files() {
        all.add(name, bytes);
    }
    tree.for_each_by_name(&mut |path, bytes| {
        all.add(path, &Sha256::digest(bytes));
        Ok(())
    })?;
    Ok(all.digest())
}

/// Identifiers and time of the file system.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// Its UUID and the seed of its hashed directories.
    pub ids: [Uuid; 2],
    /// When everything in it was made, in seconds since 1970.
    pub made_at: i64,
}

/// Writes the file system at the start of `output` and returns how large it is, in bytes.
pub fn write(tree: &ModuleTree, facts: &Facts, output: &dyn Output) -> Result<u64> {
    let time = Time { secs: facts.made_at, nanos: 0 };
    let [uuid, hash_seed] = facts.ids.map(Uuid::into_bytes);
    let params = ext4::Params {
        uuid,
        hash_seed,
        label: b"modules".to_vec(),
        size: None,
        free: ext4::Free::Bytes(0),
        limit: LIMIT,
        made_at: time,
        descriptors: Descriptors::default(),
    };
    let folder = Attrs { mode: 0o755, mtime: time, ..Attrs::default() };
    let mut files = Files { writer: ext4::Writer::new(output, params), tree: Tree::new(folder.clone()), folder };
    let mut modules = Vec::new();
    tree.for_each_by_name(&mut |path, bytes| {
        let bad = |reason: String| KernelError::Module { reason, path: path.to_owned() };
        let info = modinfo::parse(bytes).map_err(|reason| bad(reason.to_string()))?;
        files.add(path, bytes).map_err(|error| bad(format!("{error:#}")))?;
        modules.push(Module { path: path.to_owned(), info, symbols: modinfo::exported(bytes) });
        Ok(())
    })?;
    for (name, bytes) in depmod::files(&modules, tree.builtin()) {
        files.add(name, &bytes)?;
    }
    let sealed = files.writer.seal(&files.tree).context("cannot write the modules' file system")?;
    Ok(sealed.size)
}

/// The tree and its bodies in the making.
struct Files<'a> {
    writer: ext4::Writer<'a>,
    tree: Tree<Body>,
    folder: Attrs,
}

impl Files<'_> {
    fn add(&mut self, path: &str, bytes: &[u8]) -> Result<()> {
        let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
        let mut at: InodeId = Tree::<Body>::ROOT;
        for folder in folders.split('/').filter(|name| !name.is_empty()) {
            at = match self.tree.lookup(at, folder.as_bytes()) {
                Some(found) => found,
                None => self.tree.insert(at, folder.as_bytes(), self.folder.clone(), Kind::directory(), 0)?,
            };
        }
        anyhow::ensure!(self.tree.inode(at).is_directory(), "a module's folder is another module");
        anyhow::ensure!(self.tree.lookup(at, name.as_bytes()).is_none(), "its path stands twice");
        self.writer.begin(bytes.len() as u64)?;
        self.writer.write(bytes)?;
        let kind = Kind::File { size: bytes.len() as u64, body: self.writer.finish()? };
        self.tree.insert(at, name.as_bytes(), Attrs { mode: 0o644, ..self.folder.clone() }, kind, 0)?;
        Ok(())
    }
}
