//! Container images made in code, in every form the tools of the field write them.
//!
//! ```text
//!  TarBuilder ──▶ layer tar ──▶ ImageBuilder ──▶ docker_legacy()   archive of docker save before version 25
//!                                           ├──▶ docker25()       archive of docker save from version 25 on
//!                                           ├──▶ oci_files()      an OCI layout as (path, bytes)
//!                                           ├──▶ oci_archive()    the same as one tar
//!                                           └──▶ write_oci(dir)   the same as a directory
//! ```
//!
//! Nothing here is checked: an `ImageBuilder` writes what it is told, so that tests can tell it nonsense.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::io::Write;
use std::path::Path;

/// `sha256:` and the digest of `bytes` in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{:x}", Sha256::digest(bytes))
}

/// How a layer's tar becomes a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pack {
    /// The tar itself.
    Plain,
    /// One gzip member.
    Gzip,
    /// As many gzip members, of about equal shares of the tar.
    GzipMembers(usize),
    /// One zstd frame.
    Zstd,
    /// A skippable frame, then as many zstd frames, then a skippable frame.
    ZstdFrames(usize),
}

impl Pack {
    /// The blob.
    pub fn pack(self, tar: &[u8]) -> Vec<u8> {
        match self {
            Pack::Plain => tar.to_vec(),
            Pack::Gzip => gzip(tar),
            Pack::GzipMembers(n) => shares(tar, n).flat_map(gzip).collect(),
            Pack::Zstd => zstd::encode_all(tar, 3).unwrap(),
            Pack::ZstdFrames(n) => {
                let skippable = [0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, b's', b'k', b'i', b'p'];
                let frames = shares(tar, n).flat_map(|part| zstd::encode_all(part, 3).unwrap());
                skippable.into_iter().chain(frames).chain(skippable).collect()
            }
        }
    }

    /// The media type of an OCI layer packed this way.
    pub fn media_type(self) -> &'static str {
        match self {
            Pack::Plain => "application/vnd.oci.image.layer.v1.tar",
            Pack::Gzip | Pack::GzipMembers(_) => "application/vnd.oci.image.layer.v1.tar+gzip",
            Pack::Zstd | Pack::ZstdFrames(_) => "application/vnd.oci.image.layer.v1.tar+zstd",
        }
    }
}

/// One gzip member.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn shares(bytes: &[u8], n: usize) -> impl Iterator<Item = &[u8]> {
    (0..n).map(move |i| &bytes[bytes.len() * i / n..bytes.len() * (i + 1) / n])
}

/// A small tar: GNU headers, owner 0:0, time 0 unless a method says otherwise.
#[derive(Default)]
pub struct TarBuilder {
    bytes: Vec<u8>,
}

impl TarBuilder {
    /// An archive without members.
    pub fn new() -> Self {
        Self::default()
    }

    /// Any member: the header is changed by `edit` before its checksum is made.
    pub fn member(
        mut self,
        path: &str,
        kind: tar::EntryType,
        data: &[u8],
        edit: impl FnOnce(&mut tar::Header),
    ) -> Self {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(if kind.is_dir() { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(data.len() as u64);
        edit(&mut header);
        let mut builder = tar::Builder::new(Vec::new());
        builder.append_data(&mut header, path, data).unwrap();
        let mut member = builder.into_inner().unwrap();
        // Without the end marker: more members follow.
        member.truncate(member.len() - 1024);
        self.bytes.append(&mut member);
        self
    }

    /// A regular file.
    pub fn file(self, path: &str, mode: u32, data: &[u8]) -> Self {
        self.member(path, tar::EntryType::Regular, data, |header| header.set_mode(mode))
    }

    /// A directory.
    pub fn dir(self, path: &str, mode: u32) -> Self {
        self.member(path, tar::EntryType::Directory, b"", |header| header.set_mode(mode))
    }

    /// A symbolic link.
    pub fn symlink(self, path: &str, target: &str) -> Self {
        self.member(path, tar::EntryType::Symlink, b"", |header| {
            header.set_mode(0o777);
            header.set_link_name_literal(target).unwrap();
        })
    }

    /// A hard link to another member.
    pub fn hard_link(self, path: &str, target: &str) -> Self {
        self.member(path, tar::EntryType::Link, b"", |header| header.set_link_name_literal(target).unwrap())
    }

    /// The whiteout of `path`.
    pub fn whiteout(self, path: &str) -> Self {
        let (dir, name) = path.rsplit_once('/').map_or(("", path), |(dir, name)| (dir, name));
        let path = if dir.is_empty() { format!(".wh.{name}") } else { format!("{dir}/.wh.{name}") };
        self.file(&path, 0o644, b"")
    }

    /// The marker that makes directory `path` opaque.
    pub fn opaque(self, path: &str) -> Self {
        self.file(&format!("{path}/.wh..wh..opq"), 0o644, b"")
    }

    /// The archive, with its end marker.
    pub fn build(mut self) -> Vec<u8> {
        self.bytes.extend_from_slice(&[0; 1024]);
        self.bytes
    }
}

/// A layer of regular files as stargz-snapshotter's estargz has it, made to its specification, as no tool for it is packaged:
/// each file is a gzip member of its own, then comes a table of contents, which is a file as well, then where that is.
pub fn estargz(files: &[(&str, &[u8])]) -> Layer {
    let (mut tar, mut blob, mut entries) = (Vec::new(), Vec::new(), Vec::new());
    for (path, data) in files {
        let member = TarBuilder::new().file(path, 0o644, data).bytes;
        entries.push(json!({
            "name": path, "type": "reg", "size": data.len(), "mode": 0o644, "offset": blob.len(), "digest": sha256(data),
            "chunkDigest": sha256(data),
        }));
        blob.extend(gzip(&member));
        tar.extend(member);
    }
    let contents = serde_json::to_vec(&json!({ "version": 1, "entries": entries })).unwrap();
    let contents = TarBuilder::new().file("stargz.index.json", 0o644, &contents).build();
    let place = format!("{:016x}STARGZ", blob.len());
    blob.extend(gzip(&contents));
    // A member without content: its extra field is called SG, its one block is stored and empty.
    blob.extend([0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, 26, 0, b'S', b'G', 22, 0]);
    blob.extend(place.bytes().chain([1, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0]));
    tar.extend(contents);
    Layer { tar, blob, media_type: Pack::Gzip.media_type().into() }
}

/// A layer of an image to be.
#[derive(Clone, Debug)]
pub struct Layer {
    /// The uncompressed tar.
    pub tar: Vec<u8>,
    /// What is stored.
    pub blob: Vec<u8>,
    /// The type its OCI descriptor has.
    pub media_type: String,
}

/// An image to be: `linux/amd64`, without layers and with an empty configuration at first.
#[derive(Clone, Debug)]
pub struct ImageBuilder {
    /// Lowest first.
    pub layers: Vec<Layer>,
    /// The whole configuration file but for `rootfs`, which [`ImageBuilder::config_json`] adds when it is missing.
    pub config: Value,
    /// `name:tag` of docker archives; what follows the last `:` is the OCI reference name.
    pub tags: Vec<String>,
}

impl Default for ImageBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl ImageBuilder {
    /// No layers, nothing to run, no name.
    pub fn new() -> Self {
        let config = json!({ "architecture": "amd64", "os": "linux", "config": {} });
        ImageBuilder { layers: Vec::new(), config, tags: Vec::new() }
    }

    /// Adds a layer as a gzip blob.
    pub fn layer(self, tar: Vec<u8>) -> Self {
        self.packed_layer(tar, Pack::Gzip)
    }

    /// Adds a layer.
    pub fn packed_layer(mut self, tar: Vec<u8>, pack: Pack) -> Self {
        self.layers.push(Layer { blob: pack.pack(&tar), media_type: pack.media_type().into(), tar });
        self
    }

    /// Sets a field of `config`: `Cmd`, `Env`, `User`, …
    pub fn set(mut self, field: &str, value: Value) -> Self {
        self.config["config"][field] = value;
        self
    }

    /// Sets `Cmd`.
    pub fn cmd(self, words: &[&str]) -> Self {
        self.set("Cmd", json!(words))
    }

    /// Sets the platform, `os/architecture[/variant]`.
    pub fn platform(mut self, platform: &str) -> Self {
        let mut parts = platform.split('/');
        self.config["os"] = json!(parts.next());
        self.config["architecture"] = json!(parts.next());
        if let Some(variant) = parts.next() {
            self.config["variant"] = json!(variant);
        }
        self
    }

    /// Adds a name, `name:tag`.
    pub fn tag(mut self, tag: &str) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// Digests of the uncompressed layers.
    pub fn diff_ids(&self) -> Vec<String> {
        self.layers.iter().map(|layer| sha256(&layer.tar)).collect()
    }

    /// The configuration file.
    pub fn config_json(&self) -> Vec<u8> {
        let mut config = self.config.clone();
        if config.get("rootfs").is_none() {
            config["rootfs"] = json!({ "type": "layers", "diff_ids": self.diff_ids() });
        }
        serde_json::to_vec(&config).unwrap()
    }

    /// The OCI manifest.
    pub fn manifest(&self) -> Value {
        let config = self.config_json();
        let layers: Vec<_> = self.layers.iter().map(|layer| descriptor(&layer.media_type, &layer.blob)).collect();
        json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
            "layers": layers,
        })
    }

    /// Descriptors of this image for an index: one for each tag, or one without a name.
    pub fn index_entries(&self) -> Vec<Value> {
        let manifest = serde_json::to_vec(&self.manifest()).unwrap();
        let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
        entry["platform"] = json!({ "os": self.config["os"], "architecture": self.config["architecture"] });
        if let Some(variant) = self.config.get("variant") {
            entry["platform"]["variant"] = variant.clone();
        }
        if self.tags.is_empty() {
            return vec![entry];
        }
        let named = self.tags.iter().map(|tag| {
            let mut entry = entry.clone();
            let name = tag.rsplit_once(':').map_or(tag.as_str(), |(_, name)| name);
            entry["annotations"] = json!({ "org.opencontainers.image.ref.name": name });
            entry
        });
        named.collect()
    }

    /// Blobs of the image as files of an OCI layout: layers, configuration, manifest.
    pub fn oci_blobs(&self) -> Vec<(String, Vec<u8>)> {
        let mut files: Vec<_> = self.layers.iter().map(|layer| (blob_path(&layer.blob), layer.blob.clone())).collect();
        let config = self.config_json();
        files.push((blob_path(&config), config));
        let manifest = serde_json::to_vec(&self.manifest()).unwrap();
        files.push((blob_path(&manifest), manifest));
        files.sort();
        files.dedup();
        files
    }

    /// The OCI layout as (path, bytes).
    pub fn oci_files(&self) -> Vec<(String, Vec<u8>)> {
        oci_layout(&[self])
    }

    /// The OCI layout as one tar.
    pub fn oci_archive(&self) -> Vec<u8> {
        archive(&self.oci_files())
    }

    /// Writes the OCI layout into a directory, which is made when it is missing.
    pub fn write_oci(&self, dir: &Path) {
        write_files(dir, &self.oci_files());
    }

    /// What `docker save` wrote before version 25: `<id>/layer.tar`, uncompressed, and `manifest.json` last.
    pub fn docker_legacy(&self) -> Vec<u8> {
        docker_legacy(&[self])
    }

    /// What `docker save` writes from version 25 on: an OCI layout and `manifest.json` in one archive, layers
    /// uncompressed.
    pub fn docker25(&self) -> Vec<u8> {
        let mut plain = self.clone();
        for layer in &mut plain.layers {
            layer.blob = layer.tar.clone();
            layer.media_type = Pack::Plain.media_type().into();
        }
        let mut files = plain.oci_files();
        let layers: Vec<_> = plain.layers.iter().map(|layer| blob_path(&layer.blob)).collect();
        let config = blob_path(&plain.config_json());
        let manifest = json!([{ "Config": config, "RepoTags": plain.tags, "Layers": layers }]);
        files.push(("manifest.json".into(), serde_json::to_vec(&manifest).unwrap()));
        archive(&files)
    }
}

/// The OCI layout of several images as (path, bytes).
pub fn oci_layout(images: &[&ImageBuilder]) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = images.iter().flat_map(|image| image.oci_blobs()).collect();
    files.sort();
    files.dedup();
    let entries: Vec<_> = images.iter().flat_map(|image| image.index_entries()).collect();
    let index =
        json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": entries });
    files.push(("index.json".into(), serde_json::to_vec(&index).unwrap()));
    files.push(("oci-layout".into(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()));
    files
}

/// The legacy archive of several images.
pub fn docker_legacy(images: &[&ImageBuilder]) -> Vec<u8> {
    let mut files = Vec::new();
    let mut manifest = Vec::new();
    for image in images {
        let mut layers = Vec::new();
        for layer in &image.layers {
            // Version 1 identifiers are 64 hexadecimal digits that are no digest of anything in the archive.
            let id = &sha256(format!("id of {} in {}", sha256(&layer.tar), layers.len()).as_bytes())[7..];
            files.push((format!("{id}/VERSION"), b"1.0".to_vec()));
            files.push((format!("{id}/layer.tar"), layer.tar.clone()));
            layers.push(format!("{id}/layer.tar"));
        }
        let config = image.config_json();
        let name = format!("{}.json", &sha256(&config)[7..]);
        files.push((name.clone(), config));
        manifest.push(json!({ "Config": name, "RepoTags": image.tags, "Layers": layers }));
    }
    files.push(("manifest.json".into(), serde_json::to_vec(&manifest).unwrap()));
    files.push(("repositories".into(), b"{}".to_vec()));
    archive(&files)
}

/// A descriptor of `bytes`.
pub fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": sha256(bytes), "size": bytes.len() })
}

/// Where an OCI layout keeps `bytes`.
pub fn blob_path(bytes: &[u8]) -> String {
    format!("blobs/sha256/{}", &sha256(bytes)[7..])
}

/// A tar of these regular files, in this order.
pub fn archive(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    files.iter().fold(TarBuilder::new(), |tar, (path, bytes)| tar.file(path, 0o644, bytes)).build()
}

/// Writes these files below `dir`.
pub fn write_files(dir: &Path, files: &[(String, Vec<u8>)]) {
    for (path, bytes) in files {
        let path = dir.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}
