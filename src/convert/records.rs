//! What a build can say of itself when the disk is there: what it was made from and what is on it, by digest.

use super::facts::{made_at, rfc3339};
use super::form::{data_of, measured};
use super::{Built, Event, Observer, Plan};
use crate::added::What;
use crate::contents::installed::Installed;
use crate::contents::{body, of_image, paths};
use crate::formats::loader_info;
use crate::forms::{self, Form};
use crate::hex::hex;
use crate::image::{Digest, Image};
use crate::provenance::{Parts, Resource, sha256_of};
use crate::rootfs::Kind;
use crate::sbom::{self, Part};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::Digest as _;
use std::fs::File;
use std::io::{self, Seek};
use std::path::Path;

/// Most added files that are named one by one; the added layer's digest stands for all of them.
const MAX_ADDED: usize = 10_000;
/// Ends of package names, by which the origin of a kernel is recognised as one.
const PACKAGES: [&str; 7] = [".deb", ".rpm", ".apk", ".pkg.tar.zst", ".pkg.tar.xz", ".tar.gz", ".tar.xz"];

/// Digests of a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digested {
    /// Of the raw disk and its parts.
    pub parts: Parts,
    /// The form that it is kept in and SHA-256 of the file, where that is not raw.
    pub file: Option<(&'static str, String)>,
}

impl Digested {
    /// Reads a disk that has been written, once; and its file once more, where it is not raw.
    pub(super) fn of(file: &File, form: Form, observe: Observer<'_>) -> Result<Digested> {
        let context = || "cannot compute the disk's digests";
        let again = || file.try_clone().with_context(context);
        let disk = forms::open(again()?).with_context(context)?;
        let event = Event::Disk { what: "computing digests", bytes: data_of(&*disk).with_context(context)? };
        let parts = measured(&*disk, event, observe, Parts::read).with_context(context)?;
        let of_file = || -> Result<String> {
            let mut file = again()?;
            file.rewind()?;
            let mut hasher = sha2::Sha256::new();
            io::copy(&mut file, &mut hasher)?;
            Ok(hex(hasher.finalize()))
        };
        let file = (form != Form::Raw).then(|| of_file().with_context(context)).transpose()?;
        Ok(Digested { parts, file: file.map(|sha256| (form.name(), sha256)) })
    }
}

/// What a disk was made from.
pub struct Made {
    /// Image, layers, kernel, modules, loader, added files.
    pub from: Vec<Resource>,
    /// PID 1.
    pub pid1: Resource,
}

impl Plan {
    /// What the disk is made from; `reference` is the image as it was named, without credentials.
    ///
    /// # Errors
    /// When added files cannot be read again.
    pub fn made(&self, reference: &str) -> Result<Made> {
        let mut from = vec![self.image_resource(reference)];
        from.extend(self.layers());
        from.extend(self.added_files()?);
        let kernel = Resource::new("kernel", self.bundle.boot.sha256()).with("release", self.bundle.release.clone());
        let of_kernel = [("package", self.package()), ("signed", Some(self.bundle.signed.clone()))];
        let of_kernel =
            of_kernel.into_iter().filter_map(|(name, value)| Some((name, value.filter(|v| !v.is_empty())?)));
        from.push(of_kernel.fold(kernel, |kernel, (name, value)| kernel.with(name, value)));
        let modules = self.modules.modules.iter();
        from.extend(modules.map(|one| Resource::new(format!("kernel module {}", one.spec.name), &one.sha256)));
        from.extend(self.efi_loader.iter().map(|bytes| Resource::new("EFI loader", sha256_of(bytes))));
        from.extend(self.unified.iter().map(|unified| Resource::new("EFI stub", sha256_of(&unified.stub))));
        let pid1 = Resource::new("PID 1", hex(self.pid1.sha256)).with("version", env!("CARGO_PKG_VERSION"));
        Ok(Made { from, pid1 })
    }

    fn image_resource(&self, reference: &str) -> Resource {
        let image = &self.image;
        let digest = image.manifest_digest.as_ref().unwrap_or(&image.config_digest);
        let one = Resource { name: "image".into(), digest: Some(digest_of(digest)), ..Resource::default() };
        let one = one.with("reference", reference).with("platform", image.platform.to_string());
        one.with("configuration", image.config_digest.to_string())
    }

    /// Layers, the lowest first; the one that options added is the last.
    fn layers(&self) -> impl Iterator<Item = Resource> {
        let layers = &self.image.layers;
        let added = self.options.added.is_some();
        layers.iter().enumerate().map(move |(index, layer)| {
            let name = match added && index + 1 == layers.len() {
                true => "added layer".to_owned(),
                false => format!("layer {}", index + 1),
            };
            // Docker's older archives state none, and what is stored is the content then.
            let digest = digest_of(layer.digest.as_ref().unwrap_or(&layer.diff_id));
            let one = Resource { name, digest: Some(digest), ..Resource::default() };
            one.with("content", layer.diff_id.to_string())
        })
    }

    /// Files that were copied in, where they are on the disk. Keys and passwords are in the added layer's digest alone.
    fn added_files(&self) -> Result<Vec<Resource>> {
        let (Some(record), Some(layer)) = (&self.options.added, self.image.layers.last()) else {
            return Ok(Vec::new());
        };
        let copied: Vec<&str> = record
            .items
            .iter()
            .filter(|item| matches!(item.what, What::File { .. } | What::Folder { .. }))
            .map(|item| item.path.trim_end_matches('/'))
            .collect();
        let alone = Image { layers: vec![layer.clone()], ..self.image.clone() };
        let scan = of_image::scan(&alone, 1, true).context("cannot read what was added again")?;
        let mut found = Vec::new();
        paths::walk(&scan.tree, |path, _, id| {
            let inside = |folder: &str| {
                let rest = path.strip_prefix(folder.as_bytes());
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
            };
            if let Kind::File { size, body } = &scan.tree.inode(id).kind
                && copied.iter().any(|folder| inside(folder))
                && found.len() < MAX_ADDED
                && let Some(sha256) = body::digest(*size, body)
            {
                let name = format!("added file {}", String::from_utf8_lossy(path));
                found.push(Resource::new(name, sha256).with("bytes", *size));
            }
            true
        });
        Ok(found)
    }

    /// File names of the packages that the kernel came in, as far as its origin names such.
    fn package(&self) -> Option<String> {
        let words = self.bundle.origin.split(['/', ' ', ',', '(', ')']);
        let names: Vec<&str> = words.filter(|word| PACKAGES.iter().any(|end| word.ends_with(end))).collect();
        (!names.is_empty()).then(|| names.join(", "))
    }

    /// The list of components of a disk at `path`.
    ///
    /// # Errors
    /// None that an image could cause.
    pub fn sbom(&self, path: &Path, built: &Built) -> serde_json::Result<String> {
        let image = &self.image;
        let nothing = Installed::default();
        let digest = image.manifest_digest.as_ref().unwrap_or(&image.config_digest).to_string();
        let time = made_at(image, self.options.source_date_epoch);
        let created = (time != 0).then(|| rfc3339(time)).flatten();
        let name = image.name.as_deref().unwrap_or("image");
        sbom::render(&sbom::Facts {
            disk: &file_name(path),
            image: name,
            image_digest: &digest,
            platform: &image.platform.to_string(),
            layers: image.diff_ids().map(Digest::to_string).collect(),
            created: created.as_deref(),
            installed: built.installed.as_ref().unwrap_or(&nothing),
            parts: &self.components(),
        })
    }

    /// What is on the disk and in no package database.
    fn components(&self) -> Vec<Part> {
        let mut kernel = Part {
            id: "kernel",
            name: "linux".into(),
            version: Some(self.bundle.release.clone()),
            sha256: self.bundle.boot.sha256(),
            properties: Vec::new(),
        };
        kernel.properties.extend(self.package().map(|package| ("bootdisk:package", package)));
        let modules = self.modules.modules.iter().map(|one| ("bootdisk:module", one.spec.name.clone()));
        kernel.properties.extend(modules);
        let program = |id, name: &str, bytes: &[u8]| Part {
            id,
            name: name.into(),
            version: loader_info::version(bytes, name).map(str::to_owned),
            sha256: sha256_of(bytes),
            properties: Vec::new(),
        };
        let loader = self.efi_loader.iter().map(|bytes| program("loader", "systemd-boot", bytes));
        let stub = self.unified.iter().map(|unified| program("stub", "systemd-stub", &unified.stub));
        let pid1 = Part {
            id: "pid1",
            name: "bootdisk-init".into(),
            version: Some(env!("CARGO_PKG_VERSION").into()),
            sha256: hex(self.pid1.sha256),
            properties: Vec::new(),
        };
        [kernel].into_iter().chain(loader).chain(stub).chain([pid1]).collect()
    }

    /// Options that are no arguments and decide the disk all the same.
    pub fn surroundings(&self) -> Option<(&'static str, Value)> {
        self.options.source_date_epoch.map(|seconds| ("SOURCE_DATE_EPOCH", json!(seconds)))
    }
}

fn digest_of(digest: &Digest) -> (String, String) {
    (digest.algorithm().name().to_owned(), digest.hex().to_owned())
}

/// The last part of a path, as text.
fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
