//! The configuration a kernel carries in itself (Kconfig `IKCONFIG`), found in the kernel that a boot file holds.
//!
//! ```text
//! payload (gzip, xz, zstd or lz4) ─▶ vmlinux or Image: ... "IKCFG_ST" gzip(.config) "IKCFG_ED" ...
//! ```
//!
//! The payload is searched as it is decompressed and never held. Not supported: payloads packed with LZMA, LZO and
//! bzip2, whose configuration stays unknown. Specification: Linux kernel/configs.c, scripts/extract-ikconfig.

use std::io::{self, Read};

use super::config;
use super::image::{self, Image};
use crate::formats::bzimage::Payload;
use crate::formats::{lz4, unpack};

/// What stands before the packed configuration.
const START: &[u8; 8] = b"IKCFG_ST";
/// What stands after it.
const END: &[u8; 8] = b"IKCFG_ED";
/// Longest packed configuration, in bytes.
const MAX_PACKED: usize = 1 << 20;
/// Longest vmlinux searched, in bytes.
const MAX_VMLINUX: u64 = 1 << 30;

/// A reader of the kernel in a boot file, as it will lie in memory; `None` when it is packed in a way that is not read.
/// The kernel's build appends the unpacked length to some formats, which their readers may report as damage at the end.
pub fn vmlinux<'a>(boot_file: &'a [u8], image: &Image) -> Option<Box<dyn Read + 'a>> {
    let Some((offset, length)) = image.packed else { return Some(Box::new(boot_file)) };
    let start = usize::try_from(offset).ok()?;
    let payload = boot_file.get(start..start.checked_add(usize::try_from(length).ok()?)?)?;
    match Payload::of(payload) {
        Payload::Gzip | Payload::Xz | Payload::Zstd | Payload::Bzip2 => unpack::reader(payload).ok(),
        Payload::Lz4 => Some(Box::new(lz4::Decoder::new(payload)?)),
        _ => None,
    }
}

/// The configuration inside a boot file; `None` when it has none, or is packed in a way that is not read.
pub fn find(boot_file: &[u8], image: &Image) -> Option<Vec<u8>> {
    let packed = search(vmlinux(boot_file, image)?.take(MAX_VMLINUX))?;
    let text = unpack::read_bounded(flate2::read::GzDecoder::new(packed.as_slice()), config::MAX).ok()??;
    text.starts_with(b"#").then_some(text)
}

/// The release in the banner of the kernel in a boot file.
pub fn release(boot_file: &[u8], image: &Image) -> Option<String> {
    if image.packed.is_none() {
        return image::banner_release(boot_file);
    }
    let mut reader = vmlinux(boot_file, image)?.take(MAX_VMLINUX);
    let (mut window, mut chunk) = (Vec::new(), vec![0; 256 << 10]);
    loop {
        match reader.read(&mut chunk) {
            Ok(0) => return None,
            Ok(n) => window.extend_from_slice(&chunk[..n]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return None,
        }
        if let Some(release) = image::banner_release(&window) {
            return Some(release);
        }
        // A banner may be split between two reads.
        _ = window.drain(..window.len().saturating_sub(512));
    }
}

/// The bytes between the two marks. What follows the compressed stream in a payload (its length, padding) may be
/// taken for damage by a decoder, so an error is an end.
fn search(mut vmlinux: impl Read) -> Option<Vec<u8>> {
    let mut window = Vec::new();
    let mut chunk = vec![0; 256 << 10];
    let mut found = false;
    loop {
        let n = match vmlinux.read(&mut chunk) {
            Ok(0) => return None,
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return None,
        };
        window.extend_from_slice(&chunk[..n]);
        if !found {
            match image::find(&window, START) {
                Some(at) => {
                    window.drain(..at + START.len());
                    found = true;
                }
                // A mark may be split between two reads.
                None => _ = window.drain(..window.len().saturating_sub(START.len() - 1)),
            }
        }
        if found {
            if let Some(end) = image::find(&window, END) {
                window.truncate(end);
                return Some(window);
            }
            if window.len() > MAX_PACKED {
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::bzimage;
    use std::io::Write;

    fn vmlinux() -> Vec<u8> {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        gzip.write_all(b"# Linux\nCONFIG_EXT4_FS=y\n").unwrap();
        let mut bytes = vec![b'I'; 300_000];
        bytes.extend_from_slice(START);
        bytes.extend_from_slice(&gzip.finish().unwrap());
        bytes.extend_from_slice(END);
        bytes.extend_from_slice(&[0; 70_000]);
        bytes
    }

    fn bzimage_with(payload: &[u8]) -> Vec<u8> {
        let mut image = bzimage::tests::sample("6.1.0");
        image.truncate(3072);
        image[0x1f4..0x1f8].copy_from_slice(&(payload.len() as u32 / 16 + 1).to_le_bytes());
        image[0x24c..0x250].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        image.extend_from_slice(payload);
        image.resize(image.len() + 16, 0);
        image
    }

    fn found(payload: &[u8]) -> Option<Vec<u8>> {
        let image = bzimage_with(payload);
        let facts = image::recognise(&image[..3072], image.len() as u64, |_| payload.to_vec()).unwrap();
        find(&image, &facts)
    }

    #[test]
    fn it_is_found_in_each_kind_of_payload_with_a_length_behind_it() {
        let text = b"# Linux\nCONFIG_EXT4_FS=y\n".to_vec();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&vmlinux()).unwrap();
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 0);
        xz.write_all(&vmlinux()).unwrap();
        for mut payload in [gzip.finish().unwrap(), xz.finish().unwrap(), zstd::encode_all(&vmlinux()[..], 3).unwrap()]
        {
            // The kernel's build appends the unpacked length to formats that do not carry it.
            payload.extend_from_slice(&(vmlinux().len() as u32).to_le_bytes());
            assert_eq!(found(&payload), Some(text.clone()));
        }
    }

    #[test]
    fn a_kernel_without_it_has_none() {
        assert_eq!(found(&zstd::encode_all(&[7u8; 5000][..], 3).unwrap()), None);
        assert_eq!(found(b"not packed at all, certainly not"), None);
    }
}
