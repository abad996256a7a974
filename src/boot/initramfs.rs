//! The initramfs: the files that the kernel unpacks into its first root, as a cpio archive.
//!
//! Same input, same bytes: the order is the caller's, and each directory comes before what is in it.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io;

use crate::formats::cpio::{CHARACTER, DIRECTORY, REGULAR, Writer};
pub use crate::kernel::Packing;
use crate::kernel::modules::Selection;
use crate::large;

/// A module's place and bytes.
#[derive(Clone, Copy, Debug)]
pub struct ModuleFile<'a> {
    /// Absolute path in the initramfs.
    pub path: &'a str,
    /// Uncompressed.
    pub bytes: &'a [u8],
}

/// The modules of a selection as files of an initramfs, in its order, as are their bytes.
pub fn module_files<'a>(selection: &'a Selection, bodies: &'a [Cow<'_, [u8]>]) -> Vec<ModuleFile<'a>> {
    let modules = selection.modules.iter().zip(bodies);
    modules.map(|(module, bytes)| ModuleFile { path: &module.spec.file, bytes }).collect()
}

/// Why an archive cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum InitramfsError {
    /// A path that is not absolute, or has empty, `.` or `..` parts.
    #[error("not a path for an initramfs: {}", crate::escape::escape(.0.as_bytes()))]
    Path(String),
    /// Two files of one path.
    #[error("two files of one path in the initramfs: {}", crate::escape::escape(.0.as_bytes()))]
    Twice(String),
    /// A file of 4 GiB or more.
    #[error("too large for an initramfs: {}", crate::escape::escape(.0.as_bytes()))]
    TooLarge(String),
    /// The compressor failed.
    #[error("cannot pack the initramfs: {0}")]
    Pack(#[from] io::Error),
}

/// Writes the initramfs: PID 1 as `/init`, the boot specification, the modules, and what PID 1 needs before it can
/// mount anything.
///
/// # Errors
/// On a module path that is not clean; nothing else of the kind this program makes.
pub fn write(
    init: &[u8],
    spec: &[u8],
    modules: &[ModuleFile<'_>],
    packing: Packing,
) -> Result<Vec<u8>, InitramfsError> {
    let modules_size: usize = modules.iter().map(|module| module.bytes.len() + 512).sum();
    let writer = Writer::new(large::buffer(init.len() + spec.len() + modules_size + 8192));
    let mut archive = Archive { writer, names: BTreeSet::new() };
    for name in ["dev", "proc", "sys", "run", "tmp", "newroot"] {
        archive.directory(name)?;
    }
    // The kernel opens it as PID 1's first three descriptors, before PID 1 can mount devtmpfs.
    archive.entry("dev/console", CHARACTER | 0o600, (5, 1), &[])?;
    // Also before devtmpfs: a place for words, should the console be none.
    archive.entry("dev/null", CHARACTER | 0o666, (1, 3), &[])?;
    archive.entry("dev/kmsg", CHARACTER | 0o600, (1, 11), &[])?;
    archive.file("/init", 0o755, init)?;
    archive.file(crate::guest::spec::PATH, 0o644, spec)?;
    for module in modules {
        archive.file(module.path, 0o644, module.bytes)?;
    }
    pack(archive.writer.finish(), packing)
}

fn pack(archive: Vec<u8>, packing: Packing) -> Result<Vec<u8>, InitramfsError> {
    Ok(match packing {
        Packing::None => archive,
        Packing::Gzip => {
            // No name and no time in the header, so that the bytes depend on the archive alone.
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
            io::Write::write_all(&mut encoder, &archive)?;
            encoder.finish()?
        }
        Packing::Zstd => zstd::bulk::compress(&archive, 3)?,
    })
}

struct Archive {
    writer: Writer,
    names: BTreeSet<String>,
}

impl Archive {
    /// A file at an absolute path, with the directories above it.
    fn file(&mut self, path: &str, mode: u32, body: &[u8]) -> Result<(), InitramfsError> {
        let name = path.strip_prefix('/').unwrap_or_default();
        if name.split('/').any(|part| part.is_empty() || part == "." || part == "..") || name.contains('\0') {
            return Err(InitramfsError::Path(path.to_owned()));
        }
        let above: Vec<usize> = name.match_indices('/').map(|(at, _)| at).collect();
        for at in above {
            if !self.names.contains(&name[..at]) {
                self.directory(&name[..at])?;
            }
        }
        self.entry(name, REGULAR | mode, (0, 0), body)
    }

    fn directory(&mut self, name: &str) -> Result<(), InitramfsError> {
        self.entry(name, DIRECTORY | 0o755, (0, 0), &[])
    }

    fn entry(&mut self, name: &str, mode: u32, device: (u32, u32), body: &[u8]) -> Result<(), InitramfsError> {
        if !self.names.insert(name.to_owned()) {
            return Err(InitramfsError::Twice(name.to_owned()));
        }
        self.writer.add(name, mode, device, body).map_err(|_| InitramfsError::TooLarge(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_laid_out_as_specified() {
        let bytes = write(b"#!", b"{}", &[], Packing::None).unwrap();
        let expected = "070701000000010000".to_owned() + "41ED" + &"0".repeat(16) + "00000002" + &"0".repeat(48);
        let (header, rest) = bytes.split_at(110);
        assert_eq!(std::str::from_utf8(header).unwrap(), expected + "0000000400000000");
        assert_eq!(&rest[..6], b"dev\0\0\0");
        assert_eq!(bytes.len() % 512, 0);
        assert_eq!(bytes, write(b"#!", b"{}", &[], Packing::None).unwrap());
    }

    #[test]
    fn paths_must_be_clean_and_single() {
        let with = |paths: &[&str]| {
            let modules: Vec<ModuleFile<'_>> = paths.iter().map(|path| ModuleFile { path, bytes: b"x" }).collect();
            write(b"", b"", &modules, Packing::None).map(|_| ()).map_err(|error| error.to_string())
        };
        assert!(with(&["/lib/modules/6.1/x.ko", "/lib/modules/6.1/y.ko"]).is_ok());
        for bad in ["x", "", "/", "/a/../b", "/a//b", "/a/./b", "/a/"] {
            assert_eq!(with(&[bad]), Err(format!("not a path for an initramfs: {bad}")));
        }
        assert_eq!(with(&["/a", "/a"]), Err("two files of one path in the initramfs: a".into()));
        assert_eq!(with(&["/init"]), Err("two files of one path in the initramfs: init".into()));
    }

    #[test]
    fn packings_unpack_to_the_same_archive() {
        let plain = write(b"i", b"s", &[], Packing::None).unwrap();
        let gzip = write(b"i", b"s", &[], Packing::Gzip).unwrap();
        let zstd = write(b"i", b"s", &[], Packing::Zstd).unwrap();
        let mut unpacked = Vec::new();
        io::Read::read_to_end(&mut flate2::read::GzDecoder::new(gzip.as_slice()), &mut unpacked).unwrap();
        assert_eq!(unpacked, plain);
        assert_eq!(zstd::decode_all(zstd.as_slice()).unwrap(), plain);
        assert_eq!(gzip[4..8], [0; 4], "a gzip header without a time");
    }
}
