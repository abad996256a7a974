//! Folders and files of this host, volumes and file systems in memory: the options, and what a machine gets by them.
//!
//! The image's own volumes are folders of its disk, unless `--volumes keep` makes named ones of them.

mod csv;
mod parse;

use super::report::WithHint;
use super::size;
use crate::escape::{escape, path as shown};
use crate::fit::{self, Facts};
use crate::guest::channel::Overrides;
use crate::guest::mounts::{By, Mount, Volume, name};
use crate::image::Digest;
use crate::own_folder::within;
use crate::sharing::{Source, Wanted};
use crate::volumes::Store;
use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use parse::{Parsed, What};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// What a single file is called in the folder that holds it alone.
const FILE: &str = "file";
/// Most that one machine gets: each is a device, and QEMU's machines have places for 32.
const MOST: usize = 20;
/// Longest part of a volume's name that comes from an image's.
const BASE: usize = 24;

/// What is mounted.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Folders and volumes")]
pub struct Mounts {
    /// Mount a folder or file of this host, or a volume by its name, at PATH; PATH alone is a volume for this machine
    #[arg(long, short, value_name = "[HOST|NAME:]PATH[:ro]", value_parser = parse::volume)]
    volume: Vec<Parsed>,
    /// The same in words: type=bind|volume|tmpfs,src=HOST|NAME,dst=PATH[,ro]; a HOST that is missing is an error
    #[arg(long, value_name = "KEY=VALUE,...", value_parser = parse::mount)]
    mount: Vec<Parsed>,
    /// What the image's volumes are: folders of the disk, or volumes that are kept, named after --name or the image
    #[arg(long, value_name = "WHAT", default_value = "disk")]
    volumes: Kept,
    /// Size of each volume: of a new one [default: 10G], and of a smaller one from now on
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    volume_size: Option<u64>,
}

/// The image's own volumes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Kept {
    /// Folders of the disk
    #[default]
    Disk,
    /// Named volumes, see bootdisk volume
    Keep,
}

/// What a machine is called and made of.
pub struct Machine<'a> {
    /// Its own name.
    pub name: Option<&'a str>,
    /// Its image or disk.
    pub target: &'a OsStr,
    /// What the disk says.
    pub facts: &'a Facts,
}

impl Mounts {
    /// Whether anything outlives the machine, or is this host's.
    pub fn are_of_this_host(&self) -> bool {
        let stays = |parsed: &Parsed| !matches!(parsed.what, What::Tmpfs { .. });
        self.volumes == Kept::Keep || self.volume.iter().chain(&self.mount).any(stays)
    }

    /// What this machine gets; what PID 1 is told of it goes to `overrides`.
    pub fn settle(&self, machine: &Machine<'_>, overrides: &mut Overrides) -> Result<Vec<Wanted>> {
        let mut all: Vec<Parsed> = self.volume.iter().chain(&self.mount).cloned().collect();
        let tmpfs = overrides.surroundings.tmpfs.keys().filter_map(|at| parse::place(at).ok());
        let places: BTreeSet<String> = all.iter().map(|one| one.at.clone()).chain(tmpfs).collect();
        let own = kept(self.volumes, machine)?.into_iter().filter(|one| !places.contains(&one.at));
        all.extend(own);
        refuse_twice(&all, overrides)?;
        refuse_one_volume_twice(&all)?;
        refuse_many(&all)?;
        let by = if fit::mounts_folders(machine.facts) { By::Share } else { By::Disk };
        let mut wanted = Vec::new();
        for one in all {
            let volume = |seed| Mount {
                name: name(wanted.len()),
                by: By::Disk,
                at: one.at.clone(),
                file: None,
                read_only: one.read_only,
                volume: Some(Volume { seed }),
            };
            wanted.push(match one.what {
                What::Tmpfs { options } => {
                    overrides.surroundings.tmpfs.insert(one.at, options);
                    continue;
                }
                What::Volume { name: None, seed } => {
                    Wanted { mount: volume(seed), source: Source::Nameless(self.volume_size) }
                }
                What::Volume { name: Some(name), seed } => {
                    Wanted { mount: volume(seed), source: Source::Volume(store()?, name, self.volume_size) }
                }
                What::Host { ref path, make } => {
                    let (path, file) = host(path, make)?;
                    let mount = Mount { by, file: file.then(|| FILE.to_owned()), volume: None, ..volume(false) };
                    Wanted { mount, source: Source::Host(path) }
                }
            });
        }
        overrides.mounts = wanted.iter().map(|one| one.mount.clone()).collect();
        Ok(wanted)
    }
}

/// The user's volumes.
pub fn store() -> Result<Store> {
    Ok(Store::at(within(&super::env::xdg("XDG_DATA_HOME", ".local/share")?, "bootdisk/volumes")?))
}

/// The image's own volumes as named ones.
fn kept(what: Kept, machine: &Machine<'_>) -> Result<Vec<Parsed>> {
    let volumes = machine.facts.spec.iter().filter(|_| what == Kept::Keep).flat_map(|spec| &spec.volumes);
    let base = machine.name.map_or_else(|| base_of(machine.target), str::to_owned);
    if base.is_empty() && volumes.clone().next().is_some() {
        return Err(WithHint {
            message: "nothing here gives the image's volumes a name".into(),
            hint: "--name NAME names the machine, and its volumes NAME-…".into(),
        }
        .into());
    }
    let one = |at: &String| {
        let at = parse::place(at).ok()?;
        let name = Some(volume_name(&base, &at));
        Some(Parsed { what: What::Volume { name, seed: true }, read_only: false, at })
    };
    Ok(volumes.filter_map(one).collect())
}

/// `docker://host/db:15` is `db`, and so are `/srv/db.img` and `.` in the folder `/srv/db`.
fn base_of(target: &OsStr) -> String {
    let there = Path::new(target).canonicalize().ok();
    let text = there.as_ref().map_or(target, |path| path.as_os_str()).to_string_lossy();
    let last = text.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let last = last.split('@').next().unwrap_or_default();
    let last = last.rsplit_once(':').map_or(last, |(before, tag)| if before.is_empty() { tag } else { before });
    let name = last.split('.').next().unwrap_or_default().trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    name.chars().take(BASE).collect()
}

/// `db-var-lib-postgresql`: letters that a name cannot have become hyphens. Where another place could have the same name,
/// it ends with a part of the place's digest.
fn volume_name(base: &str, at: &str) -> String {
    const LONGEST: usize = 64;
    const DIGITS: usize = 8;
    let text = format!("{base}{}", at.replace('/', "-"));
    let legal = |c: char| if c.is_ascii_alphanumeric() || "_.".contains(c) { c } else { '-' };
    let name: String = text.trim_start_matches(|c: char| !c.is_ascii_alphanumeric()).chars().map(legal).collect();
    let is_plain = at.chars().all(|c| c == '/' || (c != '-' && legal(c) == c)) && name.chars().count() <= LONGEST;
    if is_plain {
        return name;
    }
    let digest = Digest::sha256(at.as_bytes());
    let start: String = name.chars().take(LONGEST - 1 - DIGITS).collect();
    format!("{start}-{}", &digest.hex()[..DIGITS])
}

fn refuse_twice(all: &[Parsed], overrides: &Overrides) -> Result<()> {
    let tmpfs = overrides.surroundings.tmpfs.keys().filter_map(|at| parse::place(at).ok());
    let mut seen: BTreeSet<String> = tmpfs.collect();
    match all.iter().find(|one| !seen.insert(one.at.clone())) {
        None => Ok(()),
        Some(one) => Err(WithHint {
            message: format!("duplicate mount point: {}", escape(one.at.as_bytes())),
            hint: "mount one thing there".into(),
        }
        .into()),
    }
}

/// A disk is attached once.
fn refuse_one_volume_twice(all: &[Parsed]) -> Result<()> {
    let mut seen = BTreeSet::new();
    let named = all.iter().filter_map(|one| match &one.what {
        What::Volume { name: Some(name), .. } => Some(name),
        _ => None,
    });
    match named.into_iter().find(|name| !seen.insert(*name)) {
        None => Ok(()),
        Some(name) => Err(WithHint {
            message: format!("volume is mounted at two places of one machine: {}", escape(name.as_bytes())),
            hint: "mount it once, at a folder that both are in".into(),
        }
        .into()),
    }
}

fn refuse_many(all: &[Parsed]) -> Result<()> {
    match all.iter().filter(|one| !matches!(one.what, What::Tmpfs { .. })).count() {
        ..=MOST => Ok(()),
        count => Err(WithHint {
            message: format!("a machine can have {MOST} folders and volumes, and these are {count}"),
            hint: "mount a folder that has several of them in it".into(),
        }
        .into()),
    }
}

/// Where a folder or file really is, and whether it is a file.
fn host(path: &Path, make: bool) -> Result<(PathBuf, bool)> {
    let found = match std::fs::canonicalize(path) {
        Err(error) if error.kind() == ErrorKind::NotFound && make => {
            std::fs::create_dir_all(path).with_context(|| format!("cannot make the folder {}", shown(path)))?;
            std::fs::canonicalize(path)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(WithHint {
                message: format!("bind source path does not exist: {}", shown(path)),
                hint: format!("make it first: mkdir -p {}", crate::qemu::paste::quote(path.as_os_str())),
            }
            .into());
        }
        found => found,
    };
    let found = found.with_context(|| format!("cannot mount {}", shown(path)))?;
    let facts = found.metadata().with_context(|| format!("cannot mount {}", shown(path)))?;
    match facts.is_dir() || facts.is_file() {
        true => Ok((found, facts.is_file())),
        false => Err(WithHint {
            message: format!("neither a folder nor a file, and a machine has no other use for it: {}", shown(path)),
            hint: "publish a port instead of a socket, with -p; see bootdisk run --help".into(),
        }
        .into()),
    }
}

#[cfg(test)]
mod tests;
