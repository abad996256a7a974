//! Boot files on FAT partitions, and boot menus in the userland: loader entries, kernels, initial RAM disks.

use super::default::Pattern;
use super::table::{self, Entry};
use super::{Reading, entries};
use crate::contents::Root;
use crate::contents::body::Body;
use crate::contents::paths;
use crate::escape::{escape, printable};
use crate::formats::fat::{File, Volume, Walk};
use crate::formats::{ReadAt, pe};
use crate::inspect::model::{Fact, Kernel, LoaderEntry, Owner, Usage};
use crate::inspect::{initramfs, kernel, unified};
use crate::rootfs::Kind;
use std::collections::BTreeMap;

/// Path of systemd-boot's configuration.
const CONFIG_PATH: &str = "loader/loader.conf";
/// Longest configuration of a boot loader.
const MAX_TEXT: u64 = 1 << 20;
/// Longest kernel or initial RAM disk read.
const MAX_FILE: u64 = 256 << 20;
/// Most of each that are read.
const MAX_READ: usize = 8;
/// Most entries kept.
const MAX_ENTRIES: usize = 64;

impl Reading<'_> {
    /// A FAT partition: its files on the map, and what of them boots.
    pub(super) fn fat(&mut self, index: usize, entry: &Entry) {
        let volume = match Volume::open(&*self.disk.source, entry.offset, entry.length) {
            Ok(volume) => volume,
            Err(error) => return self.note(entry, &error),
        };
        let partition = &mut self.found.partitions[index];
        partition.content = format!("FAT{}", volume.bits());
        partition.label = Some(escape(volume.label())).filter(|label| !label.is_empty());
        partition.uuid = Some(format!("{:04X}-{:04X}", volume.id() >> 16, volume.id() & 0xffff));
        let walk = volume.walk();
        let note = |fault| format!("partition {}: the FAT volume is damaged: {fault}", entry.number);
        self.report.notes.extend(walk.faults.iter().map(note));
        let mut offered = self.offered(&volume, &walk, entry);
        let default = default_entry(&volume, &walk);
        let is_default = |entry: &LoaderEntry| default.as_ref().is_some_and(|wanted| wanted.matches(&entry.evidence));
        // What is started without anybody choosing comes first, in the report and in the headline.
        offered.sort_by_key(|entry| !is_default(entry));
        let owners = owners(&walk, &offered);
        self.draw_fat(index, entry, (&volume, &walk), &owners);
        self.boot_files((&volume, &walk), entry, &owners, &offered);
        self.signatures(&volume, &walk, entry);
        self.found.entries.extend(offered);
        self.found.entries.truncate(MAX_ENTRIES);
        if table::is_esp(&entry.type_id)
            && let Some(file) = walk.files.iter().find(|file| is_efi_default(&file.path))
        {
            let evidence = format!("partition {}: {}", entry.number, escape(file.path.as_bytes()));
            self.found.firmware.push(Fact::new("UEFI", evidence));
        }
    }

    /// What loaders offer, by their configuration files.
    fn offered(&self, volume: &Volume<impl ReadAt>, walk: &Walk, entry: &Entry) -> Vec<LoaderEntry> {
        let mut offered = Vec::new();
        for file in walk.files.iter().filter(|file| !file.entry.is_directory) {
            if offered.len() >= MAX_ENTRIES {
                break;
            }
            let path = file.path.to_ascii_lowercase();
            let name = path.rsplit('/').next().unwrap_or_default();
            let evidence = format!("partition {}: {}", entry.number, escape(file.path.as_bytes()));
            let text = || volume.read(&file.entry, MAX_TEXT).unwrap_or_default();
            if path.starts_with("loader/entries/") && path.ends_with(".conf") {
                offered.push(entries::boot_loader_specification(&text(), &evidence));
            } else if name == "grub.cfg" {
                offered.extend(entries::grub(&text(), &evidence));
            } else if matches!(name, "syslinux.cfg" | "extlinux.conf") {
                offered.extend(entries::syslinux(&text(), &evidence));
            } else if (path.starts_with("efi/linux/") && path.ends_with(".efi") || is_efi_default(&path))
                && u64::from(file.entry.size) <= MAX_FILE
            {
                let bytes = volume.read(&file.entry, MAX_FILE).unwrap_or_default();
                let section = |name: &[u8]| pe::text(&bytes, name).map(escape);
                if pe::section(&bytes, b".linux").is_some() {
                    offered.push(LoaderEntry {
                        format: "unified kernel image".into(),
                        evidence,
                        title: section(b".uname"),
                        linux: Some(format!("/{}", escape(file.path.as_bytes()))),
                        initrd: Vec::new(),
                        options: section(b".cmdline"),
                    });
                }
            }
        }
        offered
    }

    fn draw_fat(
        &mut self,
        index: usize,
        entry: &Entry,
        (volume, walk): (&Volume<impl ReadAt>, &Walk),
        owners: &BTreeMap<&str, Owner>,
    ) {
        let number = Some(entry.number);
        self.map.claim((entry.offset, entry.length), Owner::Free, "behind the FAT volume", number);
        self.map.claim((entry.offset, volume.head()), Owner::Metadata, "FAT metadata", number);
        let mut usage: BTreeMap<Owner, u64> = BTreeMap::from([(Owner::Metadata, volume.head())]);
        let free = volume.free_places();
        free.iter().for_each(|place| self.map.claim(*place, Owner::Free, "free in FAT", number));
        *usage.entry(Owner::Free).or_default() += free.iter().map(|(_, length)| length).sum::<u64>();
        for place in &walk.root {
            self.map.claim(*place, Owner::Metadata, "FAT directory", number);
            *usage.entry(Owner::Metadata).or_default() += place.1;
        }
        for file in &walk.files {
            let (owner, what) = match owners.get(file.path.as_str()) {
                _ if file.entry.is_directory => (Owner::Metadata, "FAT directory".to_owned()),
                owner => (owner.copied().unwrap_or(Owner::Files), escape(file.path.as_bytes())),
            };
            file.places.iter().for_each(|place| self.map.claim(*place, owner, &what, number));
            *usage.entry(owner).or_default() += file.places.iter().map(|(_, length)| length).sum::<u64>();
        }
        let usage = usage.into_iter().filter(|(_, bytes)| *bytes > 0);
        self.found.partitions[index].usage =
            usage.map(|(owner, bytes)| Usage { owner, what: owner.name().to_owned(), bytes }).collect();
    }

    /// Reads kernels and initial RAM disks.
    fn boot_files(
        &mut self,
        (volume, walk): (&Volume<impl ReadAt>, &Walk),
        entry: &Entry,
        owners: &BTreeMap<&str, Owner>,
        offered: &[LoaderEntry],
    ) {
        let readable = |file: &&File| !file.entry.is_directory && u64::from(file.entry.size) <= MAX_FILE;
        let mut files: Vec<&File> = walk.files.iter().filter(readable).collect();
        let ranks = ranks(walk, offered);
        files.sort_by_key(|file| ranks.get(file.path.as_str()).copied().unwrap_or(usize::MAX));
        for file in files {
            let owner = owners.get(file.path.as_str());
            let evidence = format!("partition {}: {}", entry.number, escape(file.path.as_bytes()));
            let read = |what: &str, notes: &mut Vec<String>| match volume.read(&file.entry, MAX_FILE) {
                Ok(bytes) => Some(bytes),
                Err(error) => {
                    notes.push(format!("the {what} cannot be read, {error}: {evidence}"));
                    None
                }
            };
            match owner {
                Some(Owner::Kernel) if self.found.kernels.len() < MAX_READ => {
                    let Some(bytes) = read("kernel", &mut self.report.notes) else { continue };
                    let inside = pe::section(&bytes, b".linux").map(<[u8]>::to_vec);
                    let initrd = inside.is_some().then(|| pe::section(&bytes, b".initrd")).flatten();
                    if let Some(initrd) = initrd {
                        self.initramfs(initrd, &format!("{evidence}, section .initrd"));
                    }
                    let unified = inside.is_some().then(|| unified::facts(&bytes)).flatten();
                    match kernel::found(inside.unwrap_or(bytes), &evidence) {
                        // What it has as modules is not beside it: only the disk's own words tell where it boots.
                        Ok(bundle) => self.found.kernels.push(Kernel {
                            boots_on: String::new(),
                            unified,
                            ..kernel::facts(&bundle, &evidence)
                        }),
                        Err(error) => self.report.notes.push(printable(&error.to_string())),
                    }
                }
                Some(Owner::Initramfs) if self.found.initramfs.len() < MAX_READ => {
                    if let Some(bytes) = read("initramfs", &mut self.report.notes) {
                        self.initramfs(&bytes, &evidence);
                    }
                }
                _ => {}
            }
        }
    }

    fn initramfs(&mut self, bytes: &[u8], evidence: &str) {
        let (found, spec) = initramfs::read(bytes, bytes.len() as u64, evidence);
        if let Some(spec) = spec.filter(|_| self.spec.is_none()) {
            self.found.added = spec.added.map(|added| added.printable());
            self.spec = Some(spec.boot);
        }
        self.found.initramfs.push(found);
    }

    /// Boot menus in the userland itself.
    pub(super) fn entries_in(&mut self, tree: &Root, entry: &Entry) {
        for path in ["/boot/grub/grub.cfg", "/boot/grub2/grub.cfg", "/boot/extlinux/extlinux.conf"] {
            let Some(found) = paths::resolve(tree, path.as_bytes()) else { continue };
            let Kind::File { body: Body { content: Some(content), .. }, .. } = &tree.inode(found.inode).kind else {
                continue;
            };
            let Some(text) = &content.text else { continue };
            let evidence = format!("partition {}: {path}", entry.number);
            let offered =
                if path.contains("grub") { entries::grub(text, &evidence) } else { entries::syslinux(text, &evidence) };
            self.found.entries.extend(offered);
            self.found.entries.truncate(MAX_ENTRIES);
        }
    }
}

/// Where firmware looks on a disk it does not know.
fn is_efi_default(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    path.starts_with("efi/boot/boot") && path.ends_with(".efi")
}

/// The `default` of systemd-boot's configuration: the last such line counts (loader.conf(5)).
fn default_entry(volume: &Volume<impl ReadAt>, walk: &Walk) -> Option<Pattern> {
    let file = walk.find(CONFIG_PATH)?;
    let text = volume.read(&file.entry, MAX_TEXT).ok()?;
    Pattern::of_config(&text)
}

/// The first entry that names each file.
fn ranks<'v>(walk: &'v Walk, offered: &[LoaderEntry]) -> BTreeMap<&'v str, usize> {
    let mut ranks = BTreeMap::new();
    for (rank, entry) in offered.iter().enumerate() {
        for file in entry.linux.iter().chain(&entry.initrd).filter_map(|path| walk.find(path)) {
            ranks.entry(file.path.as_str()).or_insert(rank);
        }
    }
    ranks
}

/// Whose the files of a volume are: what entries name, then what names and folders tell.
fn owners<'v>(walk: &'v Walk, offered: &[LoaderEntry]) -> BTreeMap<&'v str, Owner> {
    let mut owners = BTreeMap::new();
    for file in walk.files.iter().filter(|file| !file.entry.is_directory) {
        if let Some(owner) = by_name(file) {
            owners.insert(file.path.as_str(), owner);
        }
    }
    for entry in offered {
        let linux = entry.linux.iter().map(|path| (path, Owner::Kernel));
        for (path, owner) in linux.chain(entry.initrd.iter().map(|path| (path, Owner::Initramfs))) {
            if let Some(file) = walk.find(path) {
                owners.insert(file.path.as_str(), owner);
            }
        }
    }
    owners
}

fn by_name(file: &File) -> Option<Owner> {
    let path = file.path.to_ascii_lowercase();
    let name = path.rsplit('/').next().unwrap_or_default();
    let starts = |stems: &[&str]| stems.iter().any(|stem| name.starts_with(stem));
    if path.starts_with("efi/linux/") || starts(&["vmlinuz", "bzimage"]) || name == "linux" {
        Some(Owner::Kernel)
    } else if starts(&["initrd", "initramfs"]) {
        Some(Owner::Initramfs)
    } else if name.ends_with(".efi")
        || path.starts_with("loader/")
        || path.starts_with("grub")
        || name == "grub.cfg"
        || path.contains("syslinux")
    {
        Some(Owner::Loader)
    } else {
        None
    }
}
