//! `bootdisk cache`: layers, disks and bases that are kept for later runs.

use super::ps::age;
use super::report::{FAILED, WithHint};
use super::{env, size, stdio};
use crate::cache::bases::{self, BaseCache};
use crate::cache::blobs::{self, BlobCache};
use crate::cache::{DiskCache, Entry, Kept, Pruned, prune};
use crate::convert::is_whole_base;
use crate::escape;
use crate::own_folder::within;
use anyhow::Result;
use clap::Subcommand;
use serde_json::json;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

/// The end of the help.
const EXAMPLES: &str = "\
Examples:
  bootdisk cache list
  bootdisk cache prune --max 4G      Remove what was unused for longest until the rest fits
  bootdisk cache prune               Remove everything that no machine uses
  bootdisk cache check               Compare everything with its digests
  bootdisk cache prune --json        What went: kind, name, bytes and path of each

Layers take at most 8 GiB, disks 16 GiB and bases 4 GiB by themselves. A base is what the lower layers of an image come to:
a build that has the same ones begins there. A build or a machine that uses something keeps it, whatever is pruned meanwhile.";

/// Arguments of `bootdisk cache`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct CacheArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List what is kept, the last used first
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove what was unused for longest
    Prune {
        /// Bytes that may stay, with K, M, G or T [default: 0]
        #[arg(long, value_name = "SIZE", value_parser = size::parse)]
        max: Option<u64>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Compare everything with its digests, and remove what is damaged
    Check {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Print where it is
    Path {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

/// Something that is kept.
enum One {
    Blob(blobs::Blob),
    Disk(Entry),
    Base(Entry),
}

struct Caches {
    blobs: BlobCache,
    disks: DiskCache,
    bases: BaseCache,
}

/// Does what is asked for.
pub fn run(args: &CacheArgs) -> Result<ExitCode> {
    let place = env::cache()?;
    if let Command::Path { json } = args.command {
        let text = match json {
            true => escape::json(&json!({ "path": place.to_string_lossy() }))?,
            false => format!("{}\n", escape::path(&place)),
        };
        stdio::data(text.as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    let caches = Caches {
        blobs: BlobCache::open(within(&place, "blobs")?)?,
        disks: DiskCache::open(within(&place, "disks")?)?,
        bases: BaseCache::at(within(&place, "bases")?),
    };
    match args.command {
        Command::List { json } => caches.list(json),
        Command::Prune { max, json } => caches.prune(max.unwrap_or(0), json),
        Command::Check { json } => caches.check(json),
        Command::Path { .. } => Ok(ExitCode::SUCCESS),
    }
}

impl Kept for One {
    fn bytes(&self) -> u64 {
        match self {
            One::Blob(blob) => blob.bytes,
            One::Disk(disk) => disk.bytes,
            One::Base(base) => base.bytes,
        }
    }

    fn used(&self) -> SystemTime {
        match self {
            One::Blob(blob) => blob.used,
            One::Disk(disk) => disk.used,
            One::Base(base) => base.used,
        }
    }
}

impl One {
    fn kind(&self) -> &'static str {
        match self {
            One::Blob(blob) if blob.is_part => "part",
            One::Blob(_) => "blob",
            One::Disk(_) => "disk",
            One::Base(_) => "base",
        }
    }

    fn path(&self) -> &PathBuf {
        match self {
            One::Blob(blob) => &blob.path,
            One::Disk(disk) => &disk.path,
            One::Base(base) => &base.path,
        }
    }

    fn is_whole(&self) -> bool {
        match self {
            One::Blob(blob) => blob.is_part || blob.is_whole(),
            One::Disk(disk) => disk.is_whole(),
            One::Base(base) => is_whole_base(base),
        }
    }

    fn name(&self) -> String {
        match self {
            One::Blob(blob) => blob.digest.as_ref().map(ToString::to_string).unwrap_or_default(),
            One::Disk(disk) => disk.key.clone(),
            One::Base(base) => base.key.clone(),
        }
    }
}

impl Caches {
    /// Everything, the last used first.
    fn all(&self) -> Vec<One> {
        let mut all: Vec<One> = self.blobs.list().into_iter().map(One::Blob).collect();
        all.extend(self.disks.list().into_iter().map(One::Disk));
        all.extend(self.bases.list().into_iter().map(One::Base));
        all.sort_by_key(|kept| std::cmp::Reverse(kept.used()));
        all
    }

    /// What names mean something that is kept.
    fn images(&self) -> impl Fn(&One) -> Vec<String> {
        let tags = self.blobs.tags();
        move |kept| {
            let digest = kept.name();
            tags.iter().filter(|tag| tag.digest == digest).map(|tag| tag.name.clone()).collect()
        }
    }

    fn list(&self, as_json: bool) -> Result<ExitCode> {
        let (all, images) = (self.all(), self.images());
        let text = match as_json {
            true => escape::json(&objects(&all, &images))?,
            false => table(&all, &images),
        };
        stdio::data(text.as_bytes())?;
        Ok(ExitCode::SUCCESS)
    }

    fn prune(&self, max: u64, as_json: bool) -> Result<ExitCode> {
        self.blobs.sweep();
        self.disks.sweep();
        self.bases.sweep();
        let (all, images) = (self.all(), self.images());
        let count = all.len();
        let Pruned { gone, bytes, left } = prune(all, max, |kept| self.remove(kept));
        self.blobs.forget_tags();
        if max == 0 {
            self.bases.forget_images();
        }
        match as_json {
            true => {
                let document = json!({ "removed": objects(&gone, &images), "bytes": bytes, "left": left });
                stdio::data(escape::json(&document)?.as_bytes())?;
            }
            false => {
                let (gone, bytes, left) = (gone.len(), size::render(bytes), size::render(left));
                stdio::say(&format!("removed {gone} of {count}, {bytes}; {left} stay\n"));
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    fn remove(&self, kept: &One) -> bool {
        match kept {
            One::Blob(blob) => blob.remove(),
            One::Disk(disk) => self.disks.remove(&disk.path),
            One::Base(base) => bases::remove(base),
        }
    }

    fn check(&self, as_json: bool) -> Result<ExitCode> {
        let (all, images) = (self.all(), self.images());
        let count = all.len();
        let other = all.into_iter().filter(|kept| !kept.is_whole());
        let (gone, damaged): (Vec<One>, Vec<One>) = other.partition(|kept| is_gone(kept.path()));
        let count = count - gone.len();
        let removed: Vec<bool> = damaged.iter().map(|kept| self.remove(kept)).collect();
        self.blobs.forget_tags();
        match as_json {
            true => {
                let mut objects = objects(&damaged, &images);
                objects.iter_mut().zip(&removed).for_each(|(object, removed)| object["removed"] = json!(removed));
                let document = json!({ "whole": count - damaged.len(), "damaged": objects });
                stdio::data(escape::json(&document)?.as_bytes())?;
            }
            false => {
                let paths: String = damaged.iter().map(|kept| format!("{}\n", escape::path(kept.path()))).collect();
                stdio::data(paths.as_bytes())?;
                stdio::say(&format!("{} of {count} are undamaged\n", count - damaged.len()));
            }
        }
        if let Some((kept, _)) = damaged.iter().zip(&removed).find(|(_, removed)| !**removed) {
            let (why, hint) = match kept {
                One::Disk(_) => ("in use", "bootdisk ps lists machines; stop the one that uses it, and check again"),
                _ => ("cannot be removed", "remove it by hand, or see who may write to its folder"),
            };
            let message = format!("damaged, and {why}: {}", escape::path(kept.path()));
            return Err(WithHint { message, hint: hint.into() }.into());
        }
        Ok(if damaged.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
    }
}

/// Whether somebody else has removed it meanwhile: what is not there is not damaged.
fn is_gone(path: &Path) -> bool {
    path.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

fn objects(all: &[One], images: &dyn Fn(&One) -> Vec<String>) -> Vec<serde_json::Value> {
    all.iter().map(|kept| object(kept, &images(kept))).collect()
}

fn object(kept: &One, images: &[String]) -> serde_json::Value {
    let used = kept.used().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    json!({
        "kind": kept.kind(), "name": kept.name(), "images": images, "bytes": kept.bytes(), "used": used,
        "path": kept.path().to_string_lossy(),
    })
}

fn table(all: &[One], images: &dyn Fn(&One) -> Vec<String>) -> String {
    let now = SystemTime::now();
    let mut text = format!("{:<4}  {:>9}  {:>5}  NAME\n", "KIND", "SIZE", "USED");
    for kept in all {
        let used = age(now.duration_since(kept.used()).unwrap_or_default().as_secs());
        let images = images(kept).join(" ");
        let name = if images.is_empty() { kept.name().chars().take(32).collect() } else { images };
        let name = escape::escape(name.as_bytes());
        text.push_str(&format!("{:<4}  {:>9}  {used:>5}  {name}\n", kept.kind(), size::render(kept.bytes())));
    }
    let total = all.iter().map(One::bytes).sum();
    text.push_str(&format!("{:<4}  {:>9}\n", "all", size::render(total)));
    text
}
