//! What a layer is put on: the names of an image, and the few texts of it that are edited.

use super::AddError;
use crate::contents::of_image;
use crate::contents::paths;
use crate::escape::escape;
use crate::image::Image;
use crate::rootfs::{Attrs, BodySink, InodeId, Kind, Tree};
use std::io;

/// Longest text that is edited, in bytes.
pub const MAX_TEXT: u64 = 1 << 20;
/// Most bytes of all texts that are kept: many files of an image may have these names.
const MAX_KEPT: u64 = 64 << 20;
/// Names of files that are kept, wherever they are: which of them is meant is known when all layers have been read.
const KEPT: [&[u8]; 4] = [b"passwd", b"group", b"shadow", b"authorized_keys"];

/// An image that was read.
pub struct Base {
    tree: Tree<Text>,
}

/// A body, if it is kept.
#[derive(Clone, Debug, Default)]
pub struct Text(Option<Box<[u8]>>);

/// Where a path leads.
#[derive(Debug, PartialEq, Eq)]
pub struct Place {
    /// The path without links, `.` and `..`, and without a slash at either end; empty for the root.
    pub path: Vec<u8>,
    /// What is there.
    pub there: Option<InodeId>,
}

impl Base {
    /// Reads all layers.
    ///
    /// # Errors
    /// As every reading of an image.
    pub fn read(image: &Image) -> Result<Base, AddError> {
        Ok(Base { tree: of_image::tree(image, &mut Keeper::default())? })
    }

    /// Where an absolute path leads, through the links of the image. A link at its end that leads nowhere is a name like
    /// any other.
    ///
    /// # Errors
    /// When it leads through a file.
    pub fn place(&self, path: &[u8]) -> Result<Place, AddError> {
        let names: Vec<&[u8]> = path.split(|&byte| byte == b'/').filter(|name| !name.is_empty()).collect();
        for known in (0..=names.len()).rev() {
            let Some(found) = paths::resolve(&self.tree, &names[..known].join(&b'/')) else { continue };
            let rest = &names[known..];
            let mut path = found.path[1..].to_vec();
            if !rest.is_empty() && !self.is_folder(found.inode) {
                let shown = escape(&found.path);
                let message = format!("{shown} is a file in the image, and nothing can be put into it");
                return Err(AddError::refused(
                    message,
                    "choose another destination; see bootdisk inspect IMAGE --tree",
                ));
            }
            for name in rest {
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(name);
            }
            return Ok(Place { path, there: rest.is_empty().then_some(found.inode) });
        }
        Ok(Place { path: names.join(&b'/'), there: None })
    }

    /// The name `name` in a folder, one step further and through no link but one to a folder.
    pub fn below(&self, folder: &Place, name: &[u8]) -> Place {
        let path = if folder.path.is_empty() { name.to_vec() } else { [&folder.path[..], b"/", name].concat() };
        let Some(there) = folder.there.and_then(|folder| self.tree.lookup(folder, name)) else {
            return Place { path, there: None };
        };
        let led = matches!(self.tree.inode(there).kind, Kind::Symlink(_)).then(|| paths::resolve(&self.tree, &path));
        match led.flatten().filter(|found| self.is_folder(found.inode)) {
            Some(found) => Place { path: found.path[1..].to_vec(), there: Some(found.inode) },
            None => Place { path, there: Some(there) },
        }
    }

    /// Whether a folder is there.
    pub fn is_folder(&self, inode: InodeId) -> bool {
        self.tree.inode(inode).is_directory()
    }

    /// Whether a file may replace it: an ordinary file, or a link.
    pub fn is_replaceable(&self, inode: InodeId) -> bool {
        matches!(self.tree.inode(inode).kind, Kind::File { .. } | Kind::Symlink(_))
    }

    /// Whether something is at one of these paths.
    pub fn has_any(&self, paths: &[&str]) -> bool {
        paths.iter().any(|path| paths::resolve(&self.tree, path.as_bytes()).is_some())
    }

    /// A text and its attributes; `None` where nothing is.
    ///
    /// # Errors
    /// When it is no file, or a long one.
    pub fn text(&self, place: &Place) -> Result<Option<(Attrs, Vec<u8>)>, AddError> {
        let Some(there) = place.there else { return Ok(None) };
        let inode = self.tree.inode(there);
        let refused = |why: &str| {
            let message = format!("/{} {why}", escape(&place.path));
            AddError::refused(message, "give the image an ordinary file there: --copy-in FILE:PATH replaces it")
        };
        match &inode.kind {
            Kind::File { size: 0, .. } => Ok(Some((inode.attrs.clone(), Vec::new()))),
            Kind::File { body: Text(Some(text)), .. } => Ok(Some((inode.attrs.clone(), text.to_vec()))),
            Kind::File { .. } => Err(refused(
                "of the image cannot be edited: it is longer than 1 MiB, or leads to a file of another name",
            )),
            _ => Err(refused("is no file in the image")),
        }
    }
}

/// Keeps the bodies that are wanted.
#[derive(Default)]
struct Keeper {
    wanted: bool,
    buffer: Vec<u8>,
    kept: u64,
}

impl BodySink for Keeper {
    type Body = Text;

    fn announce(&mut self, path: &[u8], _: &Attrs) {
        self.wanted = KEPT.contains(&paths::file_name(path));
    }

    fn begin(&mut self, size: u64) -> io::Result<()> {
        self.buffer.clear();
        self.wanted &= size <= MAX_TEXT && self.kept + size <= MAX_KEPT;
        Ok(())
    }

    fn write(&mut self, data: &[u8]) -> io::Result<()> {
        if self.wanted {
            self.buffer.extend_from_slice(data);
        }
        Ok(())
    }

    fn hole(&mut self, length: u64) -> io::Result<()> {
        if self.wanted {
            self.buffer.resize(self.buffer.len() + length as usize, 0);
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<Text> {
        self.kept += self.buffer.len() as u64;
        Ok(Text(std::mem::take(&mut self.wanted).then(|| self.buffer.as_slice().into())))
    }

    fn abandon(&mut self) {
        self.wanted = false;
    }

    fn discard(&mut self, body: Text) {
        self.kept -= body.0.map_or(0, |text| text.len() as u64);
    }
}
