//! Unified kernel images: EFI programs with a kernel in a section.
//!
//! Only the kernel is taken. Their initramfs looks for another root file system, and their command line names it; what
//! stands in their place here is the same as for every kernel.
//!
//! Specification: UAPI.5 Unified Kernel Image.

use std::io::{self, Read, Seek, SeekFrom};

use super::input::Input;
use super::{KernelError, bootfile, image};
use crate::formats::{bzimage, pe, unpack};

/// The section with the kernel.
pub(super) const LINUX: &[u8] = b".linux";

/// The kernel in a file; `None` when it has none, or ends before its end.
pub(super) fn kernel(input: &Input) -> Result<Option<Vec<u8>>, KernelError> {
    let Some(place) = pe::place(&input.start(bzimage::SETUP_MAX as u64)?, LINUX) else { return Ok(None) };
    let (start, length) = (place.start as u64, place.len() as u64);
    if length > bootfile::MAX {
        let name = super::error::shown(input.path());
        return Err(KernelError::TooLarge { what: "kernel", limit: bootfile::MAX, name });
    }
    let read = || {
        let mut reader = input.reader();
        reader.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        reader.take(length).read_to_end(&mut bytes)?;
        if (bytes.len() as u64) < length { Ok(None) } else { unpacked(bytes).map(Some) }
    };
    read().map_err(KernelError::io("read", input.path()))
}

/// The kernel in a file's bytes; `None` when they are no unified kernel image.
pub(super) fn kernel_in(file: &[u8]) -> io::Result<Option<Vec<u8>>> {
    match pe::section(file, LINUX) {
        // A kernel with an EFI stub is such a program too, and has no such section.
        Some(kernel) => unpacked(kernel.to_vec()).map(Some),
        None => Ok(None),
    }
}

/// An `Image` of arm64 may be packed in its section.
fn unpacked(bytes: Vec<u8>) -> io::Result<Vec<u8>> {
    let prefix = &bytes[..bytes.len().min(bzimage::SETUP_MAX)];
    if image::recognise(prefix, bytes.len() as u64, |_| Vec::new()).is_ok() {
        return Ok(bytes);
    }
    let unpacked = unpack::reader(bytes.as_slice()).and_then(|reader| unpack::read_bounded(reader, bootfile::MAX))?;
    Ok(unpacked.unwrap_or(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_kernel_inside_is_left_alone() {
        assert_eq!(kernel_in(b"").unwrap(), None);
        assert_eq!(kernel_in(&[b'M'; 400]).unwrap(), None);
    }
}
