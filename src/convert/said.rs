//! The os-release of an image, read before its disk is made: a unified kernel image has it beside the kernel.

use crate::contents::of_image::{self, ImageError};
use crate::contents::paths;
use crate::image::Image;
use crate::rootfs::{Attrs, BodySink, Kind};
use std::io;

/// Where it is, the first that exists counts.
const PLACES: [&[u8]; 2] = [b"/etc/os-release", b"/usr/lib/os-release"];
/// What the names of files that are kept end with: which of them is meant is known when all layers have been read.
const NAME: &[u8] = b"os-release";
/// Longest that is kept, in bytes, and most bytes of all.
const LONGEST: u64 = 64 << 10;
const MAX_KEPT: u64 = 4 << 20;

/// The text; `None` where the image has none, or an odd one. Reads every layer.
///
/// # Errors
/// As every reading of an image.
pub fn of(image: &Image) -> Result<Option<Vec<u8>>, ImageError> {
    let tree = of_image::tree(image, &mut Keeper::default())?;
    let found = PLACES.iter().find_map(|path| paths::resolve(&tree, path));
    Ok(found.and_then(|found| match &tree.inode(found.inode).kind {
        Kind::File { body, .. } => body.as_deref().map(<[u8]>::to_vec),
        _ => None,
    }))
}

/// Keeps the bodies that are wanted.
#[derive(Default)]
struct Keeper {
    wanted: bool,
    buffer: Vec<u8>,
    kept: u64,
}

impl BodySink for Keeper {
    type Body = Option<Box<[u8]>>;

    fn announce(&mut self, path: &[u8], _: &Attrs) {
        self.wanted = paths::file_name(path).ends_with(NAME);
    }

    fn begin(&mut self, size: u64) -> io::Result<()> {
        self.buffer.clear();
        self.wanted &= size <= LONGEST && self.kept + size <= MAX_KEPT;
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

    fn finish(&mut self) -> io::Result<Option<Box<[u8]>>> {
        self.kept += self.buffer.len() as u64;
        Ok(std::mem::take(&mut self.wanted).then(|| self.buffer.as_slice().into()))
    }

    fn abandon(&mut self) {
        self.wanted = false;
    }

    fn discard(&mut self, body: Option<Box<[u8]>>) {
        self.kept -= body.map_or(0, |text| text.len() as u64);
    }
}
