//! What the names in an archive or a folder make of it: an image, a root file system, a package.

use super::ReadBlock;
use crate::layer::Header;
use std::collections::BTreeSet;

/// Most members of a tar that are looked at: the folders of a root file system and what a package begins with come first.
const MAX_MEMBERS: usize = 512;
/// Longest long name that is read, in bytes.
const MAX_NAME: u64 = 4096;
const BLOCK: u64 = 512;

/// What the names make of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Names {
    /// `manifest.json`, or `repositories`: an image as docker save writes it.
    Docker,
    /// `oci-layout` and `index.json`.
    Oci,
    /// What `skopeo copy REFERENCE dir:PATH` makes.
    SkopeoDir,
    /// An image, but below this folder.
    Below(String),
    /// The root of a userland.
    Root,
    /// What `docker build` takes.
    BuildContext,
    /// A kernel with what belongs to it.
    Kernel,
    /// `.PKGINFO`: a package, with its article.
    Package(&'static str),
    /// A disk, with what a program wants beside it: what such a package is called.
    Disk(&'static str),
    /// Nothing at all.
    Nothing,
    /// None of these.
    Other,
}

/// First folders of a userland. Two of them make one; an application's archive has `bin` and `lib` perhaps, and no `etc`.
const OF_ROOT: [&str; 8] = ["etc", "usr", "bin", "sbin", "var", "proc", "sys", "root"];

/// Names of the members of a tar, read a block at a time; bodies are passed over.
pub(super) fn of_tar(read: &mut ReadBlock<'_>) -> Names {
    let (mut names, mut at, mut long) = (Vec::new(), 0u64, None);
    for _ in 0..MAX_MEMBERS {
        let mut header = Header([0; BLOCK as usize]);
        if !read(at, &mut header.0) || !header.checksum_matches() {
            break;
        }
        let Some(size) = header.body_size() else { break };
        match header.typeflag() {
            b'L' if size <= MAX_NAME => {
                let mut name = vec![0; size as usize];
                long = read(at + BLOCK, &mut name).then_some(name);
            }
            b'L' | b'K' | b'x' | b'X' | b'g' => {}
            _ => names.push(long.take().unwrap_or_else(|| header.path())),
        }
        let Some(next) = size.checked_next_multiple_of(BLOCK).and_then(|size| at.checked_add(BLOCK + size)) else {
            break;
        };
        at = next;
    }
    disk_in(&names).map_or_else(|| of(names.iter().map(Vec::as_slice)), Names::Disk)
}

/// The package of a disk that has these members. Only archives are such packages, and no folders.
fn disk_in(names: &[Vec<u8>]) -> Option<&'static str> {
    let bare = |name: &'_ Vec<u8>| name.strip_prefix(b"./").unwrap_or(name).to_vec();
    let has = |wanted: &[u8]| names.iter().any(|name| bare(name) == wanted);
    match names.first().map(bare)? {
        first if first.ends_with(b".ovf") => Some("OVA"),
        first if first == b"disk.raw" => Some("GCE"),
        _ => (has(b"metadata.json") && has(b"box.img")).then_some("Vagrant"),
    }
}

/// What these names make, each a path from the top.
pub fn of<'a>(names: impl Iterator<Item = &'a [u8]>) -> Names {
    let mut found = Found::default();
    names.for_each(|name| found.take(&String::from_utf8_lossy(name)));
    found.decide()
}

/// The names that matter.
#[derive(Default)]
struct Found {
    any: bool,
    /// First parts of the names.
    tops: BTreeSet<String>,
    /// Names with folders in front of them that an image has at its top.
    below: BTreeSet<String>,
}

impl Found {
    fn take(&mut self, name: &str) {
        let parts: Vec<&str> = name.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        let (Some(&top), Some(&last)) = (parts.first(), parts.last()) else { return };
        self.any = true;
        if self.tops.len() < MAX_MEMBERS {
            self.tops.insert(top.to_owned());
        }
        let of_image = matches!(last, "manifest.json" | "oci-layout" | "index.json" | "repositories");
        if of_image && parts.len() > 1 && self.below.len() < MAX_MEMBERS {
            self.below.insert(parts.join("/"));
        }
    }

    fn has(&self, name: &str) -> bool {
        self.tops.contains(name)
    }

    fn decide(self) -> Names {
        let of_root = OF_ROOT.iter().filter(|name| self.has(name)).count();
        let is_kernel = |name: &String| ["vmlinuz", "bzImage"].iter().any(|stem| name.starts_with(stem));
        match () {
            () if !self.any => Names::Nothing,
            () if self.has(".PKGINFO") => {
                Names::Package(if self.has(".MTREE") || self.has(".BUILDINFO") { "an Arch" } else { "an Alpine" })
            }
            () if self.has("manifest.json") && self.has("version") => Names::SkopeoDir,
            () if self.has("manifest.json") => Names::Docker,
            () if self.has("oci-layout") || self.has("index.json") => Names::Oci,
            () if of_root >= 2 => Names::Root,
            // From before manifest.json.
            () if self.has("repositories") => Names::Docker,
            () if self.below().is_some() => Names::Below(self.below().unwrap_or_default()),
            () if self.has("Dockerfile") || self.has("Containerfile") => Names::BuildContext,
            () if self.tops.iter().any(is_kernel) => Names::Kernel,
            () => Names::Other,
        }
    }

    /// The folder that an image is below.
    fn below(&self) -> Option<String> {
        let has = |folder: &str, name: &str| self.below.contains(&format!("{folder}/{name}"));
        let is =
            |folder: &&str| has(folder, "oci-layout") || has(folder, "manifest.json") && has(folder, "repositories");
        let mut folders = self.below.iter().filter_map(|path| Some(path.rsplit_once('/')?.0));
        folders.find(is).map(str::to_owned)
    }
}
