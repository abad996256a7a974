//! A disk, ours or anybody's: its map, what boots it, and the userland in its root file system.
//!
//! ```text
//!  table ─▶ partitions ─┬─ FAT: boot files ─▶ entries, kernels, initial RAM disks
//!                       ├─ ext4: the root's tree ─▶ the same facts as of an image
//!                       └─ anything else: named, not read
//!               every byte of all of it ─▶ map
//! ```
//!
//! A file system without a partition table is a disk too. What cannot be read is said, and never an error.

mod boot_files;
pub mod content;
mod default;
pub mod entries;
pub mod map;
mod root;
mod signatures;
pub mod table;
mod verity;
pub use super::facts;
use super::model::{self, Fact, Kind, Owner, Partition, Report, Usage};
use crate::contents::body::{Looker, left_out};
use crate::contents::{Root, of_disk, paths};
use crate::escape::{escape, printable};
use crate::ext4::read::FileSystem;
use crate::formats::ReadAt;
use crate::guest::own_init::PLACES;
use crate::guest::spec::{BootSpec, Process};
use content::Content;
use map::Map;
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use table::{Entry, Table};

/// A disk whose table was read.
pub struct Disk {
    source: Box<dyn ReadAt>,
    size: u64,
    table: Table,
    form: Option<&'static str>,
}

/// A disk that was read.
pub struct Scan {
    /// Its report, but for what a caller knows better.
    pub report: Report,
    /// The tree of its root file system.
    pub tree: Option<Root>,
}

impl Disk {
    /// Reads the table of a file or device. A file without table and without a known file system is no disk: `None`.
    pub fn open(mut file: File) -> io::Result<Option<Disk>> {
        let size = file.seek(SeekFrom::End(0))?;
        Ok(Disk::of(Box::new(file), size))
    }

    /// As [`Disk::open`], from anything of `size` bytes.
    pub fn of(source: Box<dyn ReadAt>, size: u64) -> Option<Disk> {
        let mut table = table::read(&*source, size);
        if table.kind == "none" {
            let found = content::look(&*source, 0, size);
            if matches!(found, Content::Empty | Content::Unknown) {
                return None;
            }
            table.entries.push(Entry { length: size, ..Entry::default() });
        }
        Some(Disk { source, size, table, form: None })
    }

    /// The same, as what it is kept in.
    pub fn in_form(self, form: &'static str) -> Disk {
        Disk { form: Some(form), ..self }
    }

    /// Reads all of it; with digests of every file of the root file system if `hash` says so.
    pub fn scan(&self, name: &str, hash: bool) -> Scan {
        Reading::new(self, name, hash).read()
    }
}

/// A report in the making.
struct Reading<'a> {
    disk: &'a Disk,
    report: Report,
    found: model::Disk,
    map: Map,
    looker: Looker,
    tree: Option<Root>,
    spec: Option<BootSpec>,
}

impl<'a> Reading<'a> {
    fn new(disk: &'a Disk, name: &str, hash: bool) -> Reading<'a> {
        let table = &disk.table;
        let found = model::Disk {
            size: disk.size,
            form: disk.form.map(str::to_owned),
            table: table.kind.to_owned(),
            id: table.id.clone(),
            sector: table.sector,
            table_notes: table.notes.clone(),
            ..model::Disk::default()
        };
        Reading {
            disk,
            report: Report::new(Kind::Disk, name),
            found,
            map: Map::new(disk.size),
            looker: Looker::new(hash),
            tree: None,
            spec: None,
        }
    }

    fn read(mut self) -> Scan {
        self.tables();
        let contents: Vec<Content> = self.disk.table.entries.iter().map(|entry| self.look(entry)).collect();
        for (entry, content) in self.disk.table.entries.iter().zip(&contents) {
            self.partition(entry, content);
        }
        let root = root::choose(&*self.disk.source, &self.disk.table.entries, &contents);
        for (index, content) in contents.iter().enumerate() {
            let entry = &self.disk.table.entries[index];
            match content {
                Content::Fat => self.fat(index, entry),
                Content::Ext4 => self.ext4(index, entry, root == Some(index)),
                _ => {}
            }
        }
        // Now that command lines are known.
        for (index, entry) in self.disk.table.entries.iter().enumerate() {
            self.verity(index, entry, root);
        }
        self.firmware();
        self.finish()
    }

    fn look(&self, entry: &Entry) -> Content {
        if entry.offset >= self.disk.size {
            return Content::Unknown;
        }
        content::look(&*self.disk.source, entry.offset, entry.length.min(self.disk.size - entry.offset))
    }

    fn tables(&mut self) {
        for (offset, length, what) in &self.disk.table.places {
            self.map.claim((*offset, *length), Owner::Firmware, what, None);
        }
        if let Some(code) = self.disk.table.boot_code {
            self.map.claim((0, crate::formats::mbr::BOOT_CODE as u64), Owner::BootStage, code, None);
        }
    }

    fn partition(&mut self, entry: &Entry, content: &Content) {
        let kind = match entry.type_id.as_str() {
            "" => "file system without a table".to_owned(),
            id => table::type_name(id),
        };
        let bios_boot = entry.type_id == table::BIOS_BOOT;
        let words = match content {
            Content::Ext4 => "ext4",
            Content::Fat => "FAT",
            Content::Empty => "empty",
            Content::Named(name) => name,
            Content::Unknown if bios_boot => "a boot stage",
            Content::Unknown => "not known",
        };
        let (owner, what) = match content {
            Content::Empty => (Owner::Free, "empty partition"),
            _ if bios_boot => (Owner::BootStage, "boot stage"),
            _ => (Owner::Unknown, words),
        };
        self.map.claim((entry.offset, entry.length), owner, what, Some(entry.number));
        self.found.partitions.push(Partition {
            number: entry.number,
            offset: entry.offset,
            length: entry.length,
            r#type: kind,
            type_id: entry.type_id.clone(),
            guid: entry.guid.clone(),
            name: entry.name.clone(),
            content: words.to_owned(),
            label: None,
            uuid: None,
            usage: Vec::new(),
        });
    }

    fn ext4(&mut self, index: usize, entry: &Entry, is_root: bool) {
        let fs = match FileSystem::open(&*self.disk.source, entry.offset) {
            Ok(fs) => fs,
            Err(error) => return self.note(entry, &error),
        };
        let partition = &mut self.found.partitions[index];
        partition.label = Some(escape(fs.label())).filter(|label| !label.is_empty());
        partition.uuid = Some(uuid::Uuid::from_bytes(fs.uuid()).to_string());
        let mut other = Looker::new(false);
        let looker = if is_root { &mut self.looker } else { &mut other };
        let read = match of_disk::read(&fs, looker) {
            Ok(read) => read,
            Err(error) => return self.note(entry, &error),
        };
        self.report.notes.extend(read.notes.iter().map(|note| format!("partition {}: {note}", entry.number)));
        if let Err(error) = self.draw_ext4(index, entry, &fs, read.data, is_root) {
            self.note(entry, &error);
        }
        if is_root {
            self.entries_in(&read.tree, entry);
            self.tree = Some(read.tree);
        }
    }

    /// Metadata everywhere, free blocks over it, file bodies over both.
    fn draw_ext4(
        &mut self,
        index: usize,
        entry: &Entry,
        fs: &FileSystem<'_>,
        mut data: Vec<(u64, u64)>,
        is_root: bool,
    ) -> Result<(), crate::ext4::read::ReadError> {
        let (block, number) = (fs.block_bytes(), Some(entry.number));
        let place = |(offset, length): (u64, u64)| (entry.offset.saturating_add(offset), length);
        let free: Vec<(u64, u64)> =
            fs.free_runs()?.into_iter().map(|(start, blocks)| (start * block, blocks * block)).collect();
        let (owner, what) = if is_root { (Owner::Userland, "files of the userland") } else { (Owner::Files, "files") };
        self.map.claim(place((0, fs.size())), Owner::Metadata, "ext4 metadata", number);
        free.iter().for_each(|run| self.map.claim(place(*run), Owner::Free, "free in ext4", number));
        let data = joined(&mut data);
        data.iter().for_each(|run| self.map.claim(place(*run), owner, what, number));
        let sum = |runs: &[(u64, u64)]| runs.iter().map(|(_, length)| length).sum::<u64>();
        let (files, free) = (sum(&data), sum(&free));
        let partition = &mut self.found.partitions[index];
        let rest = fs.size().saturating_sub(files + free);
        let after = entry.length.saturating_sub(fs.size());
        for (owner, what, bytes) in [
            (owner, what, files),
            (Owner::Metadata, "metadata: inodes, directories, journal, bitmaps", rest),
            (Owner::Free, "free", free),
            (Owner::Free, "behind the file system", after),
        ] {
            if bytes > 0 {
                partition.usage.push(Usage { owner, what: what.to_owned(), bytes });
            }
        }
        if after > 0 {
            self.map.claim(place((fs.size(), after)), Owner::Free, "behind the file system", number);
        }
        Ok(())
    }

    fn note(&mut self, entry: &Entry, error: &dyn std::error::Error) {
        let mut text = format!("partition {}: {error}", entry.number);
        let mut cause = error.source();
        while let Some(error) = cause {
            text.push_str(&format!(": {}", printable(&error.to_string())));
            cause = error.source();
        }
        self.report.notes.push(text);
    }

    /// What can start this disk.
    fn firmware(&mut self) {
        let stage = self.found.partitions.iter().find(|p| p.type_id == table::BIOS_BOOT && p.content != "empty");
        let active = self.disk.table.kind == "mbr" && self.disk.table.entries.iter().any(|entry| entry.active);
        if let Some(code) = self.disk.table.boot_code.filter(|_| stage.is_some() || active) {
            self.found.firmware.push(Fact::new("BIOS", format!("{code} in the first 440 bytes")));
        }
    }

    fn finish(mut self) -> Scan {
        if self.map.is_full() {
            self.report.notes.push("the map leaves out pieces, there are too many".into());
        }
        self.found.map = self.map.finish();
        // With several kernels it is not known whose words they are.
        let words = self.spec.as_ref().and_then(|spec| spec.boots_on.as_ref());
        if let ([kernel], Some(words)) = (&mut self.found.kernels[..], words) {
            kernel.boots_on = escape(words.as_bytes());
        }
        let mut releases: Vec<String> = Vec::new();
        for kernel in &self.found.kernels {
            if !releases.contains(&kernel.release) {
                releases.push(kernel.release.clone());
            }
        }
        if let Some(tree) = &self.tree {
            let (userland, attention) = facts::of(tree);
            let process = self.spec.as_ref().map_or_else(|| init_of(tree), |spec| spec.process.clone());
            let command = facts::command::find(tree, &process);
            if releases.is_empty() {
                releases = userland
                    .kernels
                    .iter()
                    .map(|fact| fact.value.split(' ').next().unwrap_or_default().into())
                    .collect();
            }
            self.report.verdict = facts::of_disk(Some((&userland, &command)), &releases, self.spec.is_some());
            self.report.attention = attention;
            if let Some(spec) = &self.spec {
                self.report.attention.extend(facts::attention::of_environment(&spec.process.env));
            }
            self.report.userland = Some(userland);
            self.report.command = Some(command);
        } else {
            self.report.verdict = facts::of_disk(None, &releases, self.spec.is_some());
        }
        self.report.notes.extend(left_out(&self.looker));
        self.report.notes.truncate(100);
        self.report.disk = Some(self.found);
        Scan { report: self.report, tree: self.tree }
    }
}

/// What a kernel starts that is told nothing else: the first init there is.
fn init_of(tree: &Root) -> Process {
    let found = PLACES.iter().find(|place| paths::resolve(tree, place.as_bytes()).is_some());
    Process { entrypoint: found.map(|place| (*place).to_owned()).into_iter().collect(), ..Process::default() }
}

/// Runs in order, those that touch together.
fn joined(runs: &mut [(u64, u64)]) -> Vec<(u64, u64)> {
    runs.sort_unstable();
    let mut out: Vec<(u64, u64)> = Vec::new();
    for &mut (start, length) in runs {
        match out.last_mut() {
            Some((last, so_far)) if *last + *so_far == start => *so_far += length,
            _ => out.push((start, length)),
        }
    }
    out
}
