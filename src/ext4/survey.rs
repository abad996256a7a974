//! One look at every inode before anything is placed: what it needs beyond its body, and whether ext4 can hold it.

use super::body::Body;
use super::directory::{Directory, Name};
use super::error::SealError;
use super::extents;
use super::format::{BLOCK, INLINE_LINK, file_type};
use super::inode::{clamp_time, device};
use super::numbering::Numbering;
use super::paths::path_of;
use super::plan::Need;
use super::warnings::Warnings;
use super::xattrs::{self, Division, Dropped, TooLarge};
use crate::escape::escape;
use crate::rootfs::tree::SYMLINK_MAX;
use crate::rootfs::{InodeId, Kind, Tree};

/// What the inodes need, in the order of their numbers; an inode that needs nothing is not listed.
pub struct Survey {
    /// The needs; behind those of the tree's inodes those of values that have inodes of their own.
    pub needs: Vec<Need>,
    /// How many such values there are.
    pub values: u32,
    /// What will be stored otherwise than the tree has it.
    pub warnings: Warnings,
}

/// Looks at every inode.
pub fn survey(tree: &Tree<Body>, numbering: &Numbering, hash_seed: [u32; 4]) -> Result<Survey, SealError> {
    let mut survey = Survey { needs: Vec::new(), values: 0, warnings: Warnings::default() };
    let mut values = Vec::new();
    for (index, &id) in numbering.order.iter().enumerate() {
        survey.warn(tree, id);
        let (mut content, mut nodes) = (0, 0);
        match &tree.inode(id).kind {
            Kind::Directory(_) => content = directory(tree, numbering, id, hash_seed)?.blocks(),
            Kind::Symlink(target) => content = link_blocks(tree, id, target.len())?,
            Kind::File { body, .. } => nodes = extents::node_blocks(extents::count(body.runs())) as u32,
            &Kind::CharDevice { major, minor } | &Kind::BlockDevice { major, minor } => {
                if device(major, minor).is_none() {
                    return Err(SealError::DeviceNumber { path: path_of(tree, id), major, minor });
                }
            }
            Kind::Fifo => {}
        }
        let division = divide(tree, id)?;
        let xattr = division.as_ref().is_some_and(Division::needs_block);
        if content > 0 || nodes > 0 || xattr {
            survey.needs.push(Need { index: index as u32, content, nodes, xattr });
        }
        values.extend(division.iter().flat_map(Division::outside).map(blocks));
    }
    survey.values = values.len() as u32;
    let places = numbering.order.len() as u32..;
    survey.needs.extend(places.zip(values).map(|(index, content)| Need { index, content, nodes: 0, xattr: false }));
    Ok(survey)
}

/// Blocks of a value.
fn blocks(value: &[u8]) -> u32 {
    (value.len() as u64).div_ceil(BLOCK) as u32
}

/// The names of a directory, sorted and divided into blocks.
pub fn directory<'t>(
    tree: &'t Tree<Body>,
    numbering: &Numbering,
    id: InodeId,
    hash_seed: [u32; 4],
) -> Result<Directory<'t>, SealError> {
    let names = tree.children(id).map(|entry| {
        let target = tree.target(entry);
        Name { name: tree.name(entry), inode: numbering.of(target), file_type: file_type_of(&tree.inode(target).kind) }
    });
    Directory::new(names, hash_seed)
        .ok_or_else(|| SealError::DirectoryTooLarge { path: path_of(tree, id), entries: tree.child_count(id) })
}

/// The attributes of an inode, divided between the inode and a block; `None` when there are none.
pub fn divide(tree: &Tree<Body>, id: InodeId) -> Result<Option<Division<'_>>, SealError> {
    let inode = tree.inode(id);
    if inode.attrs.xattrs.is_none() {
        return Ok(None);
    }
    let kept = xattrs::select(&inode.attrs.xattrs, inode.is_directory(), |_, _| ());
    let division = xattrs::divide(kept);
    division.map(Some).map_err(|why| match why {
        TooLarge::Names(bytes) => SealError::XattrsTooLarge { path: path_of(tree, id), bytes },
        TooLarge::Value(bytes) => SealError::XattrTooLarge { path: path_of(tree, id), bytes },
    })
}

fn link_blocks(tree: &Tree<Body>, id: InodeId, length: usize) -> Result<u32, SealError> {
    match length {
        1..INLINE_LINK => Ok(0),
        INLINE_LINK..=SYMLINK_MAX => Ok(1),
        _ => Err(SealError::SymlinkLength { path: path_of(tree, id), length }),
    }
}

fn file_type_of<B>(kind: &Kind<B>) -> u8 {
    match kind {
        Kind::Directory(_) => file_type::DIRECTORY,
        Kind::File { .. } => file_type::REGULAR,
        Kind::Symlink(_) => file_type::SYMLINK,
        Kind::CharDevice { .. } => file_type::CHAR,
        Kind::BlockDevice { .. } => file_type::BLOCK,
        Kind::Fifo => file_type::FIFO,
    }
}

impl Survey {
    fn warn(&mut self, tree: &Tree<Body>, id: InodeId) {
        let inode = tree.inode(id);
        if clamp_time(inode.attrs.mtime).1 {
            let secs = inode.attrs.mtime.secs;
            self.warnings.add(|| format!("time {secs} is out of ext4's range and was clamped: {}", path_of(tree, id)));
        }
        xattrs::select(&inode.attrs.xattrs, inode.is_directory(), |name, why| {
            let why = match why {
                Dropped::Name => "has a name ext4 cannot store",
                Dropped::Acl => "is no valid access control list",
            };
            self.warnings
                .add(|| format!("extended attribute {} {why} and was left out: {}", escape(name), path_of(tree, id)));
        });
    }
}
