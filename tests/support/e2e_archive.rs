//! Images written by hand: a `docker save` archive of layers given as bytes, every digest as the test wants it.

use sha2::{Digest, Sha256};
use std::fs;
use std::path::Path;

/// A layer of an archive: what is stored, and the digest of its uncompressed tar that the configuration claims.
pub struct Layer {
    /// Bytes in the archive, compressed or not.
    pub stored: Vec<u8>,
    /// `sha256:` and 64 hexadecimal digits.
    pub diff_id: String,
}

impl Layer {
    /// An uncompressed layer with its true digest.
    pub fn plain(tar: Vec<u8>) -> Layer {
        let diff_id = digest(&tar);
        Layer { stored: tar, diff_id }
    }
}

/// `sha256:` and the digest in hexadecimal.
pub fn digest(bytes: &[u8]) -> String {
    digest_of(Sha256::new_with_prefix(bytes))
}

/// The same for a hash in progress.
pub fn digest_of(hash: Sha256) -> String {
    hash.finalize().iter().fold("sha256:".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

/// Writes a `docker save` archive with these layers, lowest first, tagged `made:here`.
pub fn write_docker_archive(path: &Path, layers: &[Layer]) {
    let diff_ids: Vec<&str> = layers.iter().map(|layer| layer.diff_id.as_str()).collect();
    let config = serde_json::json!({
        "architecture": "amd64",
        "os": "linux",
        "config": { "Cmd": ["/hello"] },
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    let names: Vec<String> = (0..layers.len()).map(|number| format!("layer-{number}/layer.tar")).collect();
    let manifest = serde_json::json!([{ "Config": "config.json", "RepoTags": ["made:here"], "Layers": names }]);

    let mut archive = tar::Builder::new(fs::File::create(path).unwrap());
    append(&mut archive, "config.json", config.to_string().as_bytes());
    append(&mut archive, "manifest.json", manifest.to_string().as_bytes());
    for (name, layer) in names.iter().zip(layers) {
        append(&mut archive, name, &layer.stored);
    }
    archive.finish().unwrap();
}

fn append(archive: &mut tar::Builder<fs::File>, name: &str, content: &[u8]) {
    let mut header = tar::Header::new_ustar();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, name, content).unwrap();
}

/// One 512-byte ustar header with a name, type and size that a careful writer would refuse.
pub fn raw_header(name: &[u8], kind: u8, size: u64) -> [u8; 512] {
    let mut header = [0; 512];
    header[..name.len()].copy_from_slice(name);
    header[100..108].copy_from_slice(b"0000644\0");
    header[108..116].copy_from_slice(b"0000000\0");
    header[116..124].copy_from_slice(b"0000000\0");
    header[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    header[136..148].copy_from_slice(b"00000000000\0");
    header[156] = kind;
    header[257..265].copy_from_slice(b"ustar\x0000");
    header[148..156].copy_from_slice(b"        ");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

/// The two zero blocks that end a tar.
pub const END: [u8; 1024] = [0; 1024];
