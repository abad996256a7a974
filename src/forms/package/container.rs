//! A containerDisk, as KubeVirt takes it: an image from scratch whose one layer has the disk, in an archive.
//!
//! ```text
//! layer   tar: disk/ ─ disk/disk.qcow2 (0440, 107:107, packed)
//! oci     tar: blobs/sha256/LAYER ─ its configuration ─ manifest ─ index.json ─ oci-layout
//! docker  tar: LAYER.tar ─ CONFIG.json ─ manifest.json
//! ```
//!
//! The layer is the first member, as its place must be known before its digest. It is not compressed: the disk is.
//! Specifications: KubeVirt, "Disks and Volumes", containerDisk; OCI Image Format 1.1; Docker Image Specification 1.2.

use super::hash;
use super::machine::Machine;
use super::tar::{self, BLOCK, Dialect, END};
use crate::forms::{Packing, Source, qcow2};
use crate::output::{Output, Slice};
use std::io;

/// QEMU's user and group where KubeVirt runs it.
const QEMU: u32 = 107;

/// Whose archive it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Archive {
    /// An OCI layout in a tar.
    Oci,
    /// What docker load takes.
    Docker,
}

/// A containerDisk but for the bytes of its layer, which are wherever they were written to. Digests are SHA-256 in
/// hexadecimal.
#[derive(Clone, Debug)]
pub struct Image {
    /// Digest of the layer.
    pub layer: String,
    /// Bytes of the layer.
    pub length: u64,
    /// The image's configuration.
    pub config: String,
    /// Its manifest.
    pub manifest: String,
    /// What its disk is for, as Go calls it.
    pub architecture: &'static str,
}

impl Image {
    /// Writes the layer of a disk to the beginning of an empty output.
    ///
    /// # Errors
    /// When reading or writing fails.
    pub fn write(source: &dyn Source, output: &dyn Output, threads: usize) -> io::Result<Image> {
        let length = write_layer(source, output, threads)?;
        let layer = hash::sum(output, length)?;
        let architecture = if Machine::of(source)?.arm { "arm64" } else { "amd64" };
        let config = format!(
            "{{\"architecture\":\"{architecture}\",\"config\":{{}},\"os\":\"linux\",\
             \"rootfs\":{{\"diff_ids\":[\"sha256:{layer}\"],\"type\":\"layers\"}}}}"
        );
        let manifest = manifest(&config, &layer, length);
        Ok(Image { layer, length, config, manifest, architecture })
    }

    /// Digest of the configuration.
    pub fn config_digest(&self) -> String {
        hash::of(&self.config)
    }

    /// Digest of the manifest.
    pub fn digest(&self) -> String {
        hash::of(&self.manifest)
    }

    /// What an index says of it.
    pub fn descriptor(&self) -> String {
        let described = described("manifest.v1+json", &self.digest(), self.manifest.len() as u64);
        format!("{{{described},\"platform\":{{\"architecture\":\"{}\",\"os\":\"linux\"}}}}", self.architecture)
    }
}

/// The type of an index.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The type of a manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// An index of images.
pub fn index(images: &[Image]) -> String {
    let all: Vec<String> = images.iter().map(Image::descriptor).collect();
    format!("{{\"schemaVersion\":2,\"mediaType\":\"{INDEX}\",\"manifests\":[{}]}}", all.join(","))
}

/// Writes a disk; see [`crate::forms::write`].
pub fn write(source: &dyn Source, output: &dyn Output, archive: Archive, threads: usize) -> io::Result<u64> {
    let image = Image::write(source, &Slice::new(output, BLOCK), threads)?;
    let length = image.length;
    let (name, others) = match archive {
        Archive::Oci => (blob(&image.layer), oci(image)),
        Archive::Docker => (format!("{}.tar", image.layer), docker(image)),
    };
    output.write_at(0, &tar::sealed(tar::header(Dialect::Ustar, &name, length)))?;
    let mut at = BLOCK + length;
    for (name, body) in others {
        at = tar::member(output, at, &name, body.as_bytes())?;
    }
    Ok(at + END)
}

/// The layer, in whole blocks.
fn write_layer(source: &dyn Source, output: &dyn Output, threads: usize) -> io::Result<u64> {
    let folder = tar::owned(tar::header(Dialect::Ustar, "disk/", 0), b'5', 0o755, QEMU);
    output.write_at(0, &tar::sealed(folder))?;
    let body = 2 * BLOCK;
    let length = qcow2::write(source, &Slice::new(output, body), Packing::Zlib, threads)?;
    let disk = tar::owned(tar::header(Dialect::Ustar, "disk/disk.qcow2", length), b'0', 0o440, QEMU);
    output.write_at(BLOCK, &tar::sealed(disk))?;
    let end = body + length.next_multiple_of(BLOCK);
    output.write_at(end, &[0; END as usize])?;
    Ok(end + END)
}

/// A member's name and its bytes.
type Member = (String, String);

fn described(kind: &str, digest: &str, size: u64) -> String {
    format!("\"mediaType\":\"application/vnd.oci.image.{kind}\",\"digest\":\"sha256:{digest}\",\"size\":{size}")
}

fn manifest(config: &str, layer: &str, length: u64) -> String {
    format!(
        "{{\"schemaVersion\":2,\"mediaType\":\"{MANIFEST}\",\"config\":{{{}}},\"layers\":[{{{}}}]}}",
        described("config.v1+json", &hash::of(config), config.len() as u64),
        described("layer.v1.tar", layer, length),
    )
}

fn oci(image: Image) -> Vec<Member> {
    vec![
        (blob(&image.config_digest()), image.config.clone()),
        (blob(&image.digest()), image.manifest.clone()),
        ("index.json".into(), index(&[image])),
        ("oci-layout".into(), LAYOUT.into()),
    ]
}

/// The file that says that a folder is a layout.
pub const LAYOUT: &str = "{\"imageLayoutVersion\":\"1.0.0\"}";

fn docker(image: Image) -> Vec<Member> {
    let name = format!("{}.json", image.config_digest());
    let manifest = format!("[{{\"Config\":\"{name}\",\"RepoTags\":[],\"Layers\":[\"{}.tar\"]}}]", image.layer);
    vec![(name, image.config), ("manifest.json".into(), manifest)]
}

fn blob(digest: &str) -> String {
    format!("blobs/sha256/{digest}")
}
