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

/// Writes a disk; see [`crate::forms::write`].
pub fn write(source: &dyn Source, output: &dyn Output, archive: Archive, threads: usize) -> io::Result<u64> {
    let slice = Slice::new(output, BLOCK);
    let length = write_layer(source, &slice, threads)?;
    let layer = hash::sum(&slice, length)?;
    let architecture = if Machine::of(source)?.arm { "arm64" } else { "amd64" };
    let config = format!(
        "{{\"architecture\":\"{architecture}\",\"config\":{{}},\"os\":\"linux\",\
         \"rootfs\":{{\"diff_ids\":[\"sha256:{layer}\"],\"type\":\"layers\"}}}}"
    );
    let (name, others) = match archive {
        Archive::Oci => (blob(&layer), oci(&config, &layer, length, architecture)),
        Archive::Docker => (format!("{layer}.tar"), docker(config, &layer)),
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

fn oci(config: &str, layer: &str, length: u64, architecture: &str) -> Vec<Member> {
    let described = |kind: &str, digest: &str, size: u64| {
        format!("\"mediaType\":\"application/vnd.oci.image.{kind}\",\"digest\":\"sha256:{digest}\",\"size\":{size}")
    };
    let manifest = format!(
        "{{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"config\":{{{}}},\"layers\":[{{{}}}]}}",
        described("config.v1+json", &hash::of(config), config.len() as u64),
        described("layer.v1.tar", layer, length),
    );
    let index = format!(
        "{{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.index.v1+json\",\"manifests\":[{{{},\
         \"platform\":{{\"architecture\":\"{architecture}\",\"os\":\"linux\"}}}}]}}",
        described("manifest.v1+json", &hash::of(&manifest), manifest.len() as u64),
    );
    vec![
        (blob(&hash::of(config)), config.to_owned()),
        (blob(&hash::of(&manifest)), manifest),
        ("index.json".into(), index),
        ("oci-layout".into(), "{\"imageLayoutVersion\":\"1.0.0\"}".into()),
    ]
}

fn docker(config: String, layer: &str) -> Vec<Member> {
    let name = format!("{}.json", hash::of(&config));
    let manifest = format!("[{{\"Config\":\"{name}\",\"RepoTags\":[],\"Layers\":[\"{layer}.tar\"]}}]");
    vec![(name, config), ("manifest.json".into(), manifest)]
}

fn blob(digest: &str) -> String {
    format!("blobs/sha256/{digest}")
}
