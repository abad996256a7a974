//! From a userland's tree to what can be said about it, each with its evidence.
//!
//! Nothing is executed and no file is opened: what is known of bodies was noted while they passed
//! ([`crate::contents::body`]). One walk over the tree serves counts, sizes, runtimes and the files worth a look.

pub mod attention;
pub mod command;
mod distribution;
mod libraries;
mod programs;
mod runtimes;
mod sizes;
mod system;
mod verdict;

pub use verdict::{of_disk, of_image};

use super::model::{Attention, Userland};
use crate::contents::body::Body;
use crate::contents::{Root, paths};
use crate::escape::escape;
use crate::rootfs::Kind;
use std::collections::HashSet;

/// Everything that is said about a userland but its command, and the files worth a look.
pub fn of(tree: &Root) -> (Userland, Vec<Attention>) {
    let mut userland = Userland::default();
    let mut sizes = sizes::Sizes::default();
    let mut runtimes = runtimes::Runtimes::default();
    let mut system = system::Walked::default();
    let mut attention = attention::Walked::default();
    let mut linked = HashSet::new();
    paths::walk(tree, |path, _, id| {
        let inode = tree.inode(id);
        let mut bytes = 0;
        let first = inode.is_directory() || inode.names() == 1 || linked.insert(id);
        match &inode.kind {
            Kind::Directory(_) => userland.directories += 1,
            Kind::Symlink(_) => userland.symlinks += 1,
            Kind::File { size, body } if first => {
                bytes = *size;
                userland.files += 1;
                userland.bytes += size;
                runtimes.file(path, inode.attrs.mode, body);
                system.file(path, body);
            }
            Kind::File { .. } => runtimes.name(path, inode.attrs.mode),
            _ => userland.others += 1,
        }
        if inode.is_directory() {
            runtimes.directory(path);
            system.directory(path);
        }
        sizes.add(path, bytes);
        attention.visit(path, inode, !first);
        true
    });
    userland.sizes = sizes.finish();
    userland.distribution = distribution::find(tree);
    userland.libc = system.libc(tree);
    userland.shells = programs::shells(tree);
    userland.packages = system.packages(tree);
    userland.init = programs::init(tree);
    userland.runtimes = runtimes.finish();
    userland.certificates = system.certificates(tree);
    userland.users = system::users(tree);
    userland.kernels = system.kernels();
    userland.modules = system.modules();
    userland.boot_loaders = system.boot_loaders();
    (userland, attention.finish())
}

/// The file at a path, through links: its body and its path without links.
fn file<'a>(tree: &'a Root, path: &[u8]) -> Option<(&'a Body, Vec<u8>)> {
    let found = paths::resolve(tree, path)?;
    match &tree.inode(found.inode).kind {
        Kind::File { body, .. } => Some((body, found.path)),
        _ => None,
    }
}

/// The text of a file that was kept, and its path without links.
fn text<'a>(tree: &'a Root, path: &[u8]) -> Option<(&'a [u8], Vec<u8>)> {
    let (body, path) = file(tree, path)?;
    Some((body.content.as_ref()?.text.as_deref()?, path))
}

/// Text of an image as one printable line, not endless.
fn shown(bytes: &[u8]) -> String {
    const LONGEST: usize = 400;
    match bytes.len() > LONGEST {
        true => format!("{}…", escape(&bytes[..LONGEST])),
        false => escape(bytes),
    }
}
