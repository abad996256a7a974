//! Files of a disk that does not run, by our own reader of ext4: of the root partition, or of a file system without a table.

use crate::boot::existing::Existing;
use crate::cli::convert;
use crate::cli::report::WithHint;
use crate::cli::target::Target;
use crate::copy::take::split;
use crate::copy::{Kind, Record, Sink};
use crate::disk::gpt::Role;
use crate::escape::escape;
use crate::ext4::read::{FileSystem, Inode, Kind as What, Mapping, ReadError};
use crate::recognise::{self, Kind as Recognised};
use anyhow::{Context, Result, anyhow, bail};
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Inode number of the root folder.
const ROOT: u32 = 2;
/// Links followed on one way, as the kernel does.
const MAX_LINKS: usize = 40;
/// Names of all folders together; a damaged disk may name a folder in itself.
const MAX_NAMES: u64 = 1 << 24;

/// Gives a sink everything at a path of a disk.
///
/// # Errors
/// When the disk has no root that can be read, or nothing there, or the sink fails.
pub fn take(disk: &Path, path: &[u8], follow: bool, sink: &mut dyn Sink, note: &mut dyn FnMut(&str)) -> Result<()> {
    let raw = Target::raw(disk)?;
    let place = raw.path();
    // Nobody writes to it meanwhile.
    drop(convert::open(&place)?);
    let file = File::open(&place).with_context(|| format!("cannot open disk {}", crate::escape::path(&place)))?;
    let start = match recognise::path(&place)? {
        Recognised::FileSystem(_) => 0,
        _ => {
            let disk = Existing::open(&place)?;
            let root = disk.partitions().iter().find(|partition| partition.role == Some(Role::Root));
            root.ok_or_else(|| anyhow!("no root partition on disk {}", crate::escape::path(&place)))?.offset
        }
    };
    let fs = FileSystem::open(&file, start).map_err(|error| unreadable(disk, start, error))?;
    let (rest, preface, followed) = split(path);
    let inode = resolve(&fs, rest, follow || followed)
        .and_then(|found| match followed && found.kind != What::Directory {
            true => Err(anyhow!("not a directory")),
            false => Ok(found),
        })
        .with_context(|| format!("cannot copy {}", escape(path)))?;
    sink.begin(&preface)?;
    let mut walk = Walk { fs: &fs, sink, note, links: HashMap::new(), names: 0 };
    walk.everything(inode)?;
    Ok(walk.sink.end()?)
}

fn unreadable(disk: &Path, start: u64, error: ReadError) -> anyhow::Error {
    let shown = crate::escape::path(disk);
    if !matches!(error, ReadError::Journal) {
        return anyhow::Error::from(error).context(format!("cannot read disk {shown}"));
    }
    let path = crate::qemu::paste::quote(disk.as_os_str());
    let hint = match start {
        0 => format!("e2fsck -p {path}"),
        _ => format!("bootdisk run --write {path} -- true"),
    };
    WithHint { message: format!("cannot read disk {shown}: {}", crate::escape::chain(&error)), hint }.into()
}

/// The inode at a path from the root down.
fn resolve(fs: &FileSystem<'_>, path: &[u8], follow: bool) -> Result<Inode> {
    let mut way = vec![fs.inode(ROOT)?];
    let mut links = 0;
    let mut todo: Vec<Vec<u8>> = path.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec).collect();
    while let Some(name) = todo.pop() {
        match &name[..] {
            b"" | b"." => continue,
            b".." => {
                if way.len() > 1 {
                    way.pop();
                }
                continue;
            }
            _ => {}
        }
        let here = way.last().context("the root is there")?;
        if here.kind != What::Directory {
            bail!("not a directory");
        }
        let found = fs.names(here)?.into_iter().find(|entry| entry.name == name);
        let inode = fs.inode(found.ok_or_else(|| anyhow!("no such file or directory"))?.inode)?;
        let is_last = todo.iter().all(|name| name.is_empty());
        if inode.kind != What::Symlink || (is_last && !follow) {
            way.push(inode);
            continue;
        }
        links += 1;
        if links > MAX_LINKS {
            bail!("too many symbolic links");
        }
        let target = fs.target(&inode)?;
        if target.first() == Some(&b'/') {
            way.truncate(1);
        }
        todo.extend(target.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec));
    }
    way.pop().context("the root is there")
}

struct Walk<'a, 'f> {
    fs: &'a FileSystem<'f>,
    sink: &'a mut dyn Sink,
    note: &'a mut dyn FnMut(&str),
    links: HashMap<u32, Vec<u8>>,
    names: u64,
}

impl Walk<'_, '_> {
    fn everything(&mut self, root: Inode) -> Result<()> {
        let mut folders = HashSet::new();
        let mut todo = vec![(root, Vec::new())];
        while let Some((inode, path)) = todo.pop() {
            if inode.kind == What::Directory && !folders.insert(inode.number) {
                bail!("the disk is damaged: a folder is in two places: {}", escape(&path));
            }
            self.names += 1;
            if self.names > MAX_NAMES {
                bail!("the disk has more names than are copied");
            }
            self.one(&inode, &path).with_context(|| format!("cannot copy {}", escape(&path)))?;
            if inode.kind != What::Directory {
                continue;
            }
            let mut names = self.fs.names(&inode)?;
            names.sort_unstable_by(|one, other| other.name.cmp(&one.name));
            for name in names {
                let below = if path.is_empty() { name.name } else { [&path[..], b"/", &name.name].concat() };
                todo.push((self.fs.inode(name.inode)?, below));
            }
        }
        Ok(())
    }

    fn one(&mut self, inode: &Inode, path: &[u8]) -> Result<()> {
        let Some(kind) = self.kind(inode, path)? else {
            (self.note)(&format!("a socket is left out: {}", escape(path)));
            return Ok(());
        };
        let attributes = self.fs.attributes(inode)?;
        let capability = attributes.into_iter().find(|(name, _)| name == b"security.capability");
        let record = Record {
            path: path.to_vec(),
            mode: inode.mode.into(),
            uid: inode.uid,
            gid: inode.gid,
            mtime: (inode.mtime.secs, inode.mtime.nanos),
            capability: capability.map(|(_, value)| value).unwrap_or_default(),
            kind,
        };
        match record.kind {
            Kind::File(_) => {
                let mappings = self.fs.mappings(inode)?;
                self.sink.put(&record, &mut Body { fs: self.fs, inode, mappings, at: 0 })?;
            }
            _ => self.sink.put(&record, &mut io::empty())?,
        }
        Ok(())
    }

    /// `None` for a socket.
    fn kind(&mut self, inode: &Inode, path: &[u8]) -> Result<Option<Kind>> {
        if !matches!(inode.kind, What::Directory | What::Socket) && inode.links > 1 {
            if let Some(first) = self.links.get(&inode.number) {
                return Ok(Some(Kind::HardLink(first.clone())));
            }
            self.links.insert(inode.number, path.to_vec());
        }
        Ok(Some(match inode.kind {
            What::Directory => Kind::Directory,
            What::File => Kind::File(inode.size),
            What::Symlink => Kind::Symlink(self.fs.target(inode)?),
            What::Fifo => Kind::Fifo,
            What::CharDevice { major, minor } => Kind::Character(major, minor),
            What::BlockDevice { major, minor } => Kind::Block(major, minor),
            What::Socket => return Ok(None),
        }))
    }
}

/// A file's bytes, front to back.
struct Body<'a, 'f> {
    fs: &'a FileSystem<'f>,
    inode: &'a Inode,
    mappings: Vec<Mapping>,
    at: u64,
}

impl Read for Body<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = (self.inode.size - self.at).min(buffer.len() as u64) as usize;
        let read = self.fs.read_mapped(self.inode, &self.mappings, self.at, &mut buffer[..length]);
        read.map_err(io::Error::other)?;
        self.at += length as u64;
        Ok(length)
    }
}
