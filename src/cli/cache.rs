//! `bootdisk cache`: layers and disks that are kept for later runs.

use super::ps::age;
use super::report::{FAILED, WithHint};
use super::{env, size, stdio};
use crate::cache::blobs::{self, BlobCache};
use crate::cache::{DiskCache, Entry, Kept, Pruned, prune};
use crate::escape;
use crate::own_folder::within;
use anyhow::Result;
use clap::Subcommand;
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

/// The end of the help.
const EXAMPLES: &str = "\
Examples:
  bootdisk cache list
  bootdisk cache prune --max 4G      What was unused for longest goes until the rest fits
  bootdisk cache prune               Everything that no machine uses goes
  bootdisk cache check               Is everything still what it was?

Layers take at most 8 GiB and disks 16 GiB by themselves. A build or a machine that uses something keeps it, whatever is
pruned meanwhile.";

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
    },
    /// Compare everything with what it was, and remove what is damaged
    Check,
    /// Print where it is
    Path,
}

/// Something that is kept.
enum One {
    Blob(blobs::Blob),
    Disk(Entry),
}

struct Caches {
    blobs: BlobCache,
    disks: DiskCache,
}

/// Does what is asked for.
pub fn run(args: &CacheArgs) -> Result<ExitCode> {
    let place = within(&env::xdg("XDG_CACHE_HOME", ".cache")?, "bootdisk")?;
    if let Command::Path = args.command {
        stdio::data(format!("{}\n", escape::path(&place)).as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    let caches =
        Caches { blobs: BlobCache::open(within(&place, "blobs")?)?, disks: DiskCache::open(within(&place, "disks")?)? };
    match args.command {
        Command::List { json } => caches.list(json),
        Command::Prune { max } => caches.prune(max.unwrap_or(0)),
        Command::Check => caches.check(),
        Command::Path => Ok(ExitCode::SUCCESS),
    }
}

impl Kept for One {
    fn bytes(&self) -> u64 {
        match self {
            One::Blob(blob) => blob.bytes,
            One::Disk(disk) => disk.bytes,
        }
    }

    fn used(&self) -> SystemTime {
        match self {
            One::Blob(blob) => blob.used,
            One::Disk(disk) => disk.used,
        }
    }
}

impl One {
    fn kind(&self) -> &'static str {
        match self {
            One::Blob(blob) if blob.is_part => "part",
            One::Blob(_) => "blob",
            One::Disk(_) => "disk",
        }
    }

    fn path(&self) -> &PathBuf {
        match self {
            One::Blob(blob) => &blob.path,
            One::Disk(disk) => &disk.path,
        }
    }

    fn name(&self) -> String {
        match self {
            One::Blob(blob) => blob.digest.as_ref().map(ToString::to_string).unwrap_or_default(),
            One::Disk(disk) => disk.key.clone(),
        }
    }
}

impl Caches {
    /// Everything, the last used first.
    fn all(&self) -> Vec<One> {
        let blobs = self.blobs.list().into_iter().map(One::Blob);
        let mut all: Vec<One> = blobs.chain(self.disks.list().into_iter().map(One::Disk)).collect();
        all.sort_by_key(|kept| std::cmp::Reverse(kept.used()));
        all
    }

    fn list(&self, as_json: bool) -> Result<ExitCode> {
        let (all, tags) = (self.all(), self.blobs.tags());
        let names = |kept: &One| -> Vec<String> {
            let digest = kept.name();
            tags.iter().filter(|tag| tag.digest == digest).map(|tag| escape::escape(tag.name.as_bytes())).collect()
        };
        let text = match as_json {
            true => escape::json(&all.iter().map(|kept| object(kept, &names(kept))).collect::<Vec<_>>())?,
            false => table(&all, &names),
        };
        stdio::data(text.as_bytes())?;
        Ok(ExitCode::SUCCESS)
    }

    fn prune(&self, max: u64) -> Result<ExitCode> {
        let all = self.all();
        let count = all.len();
        let Pruned { gone, bytes, left } = prune(all, max, |kept| self.remove(kept));
        self.blobs.forget_tags();
        stdio::say(&format!("removed {gone} of {count}, {}; {} stay\n", size::render(bytes), size::render(left)));
        Ok(ExitCode::SUCCESS)
    }

    fn remove(&self, kept: &One) -> bool {
        match kept {
            One::Blob(blob) => blob.remove(),
            One::Disk(disk) => self.disks.remove(&disk.path),
        }
    }

    fn check(&self) -> Result<ExitCode> {
        let all = self.all();
        let mut damaged = 0;
        for kept in &all {
            let is_whole = match kept {
                One::Blob(blob) => blob.is_part || blob.is_whole(),
                One::Disk(disk) => disk.is_whole(),
            };
            if is_whole {
                continue;
            }
            damaged += 1;
            let shown = escape::path(kept.path());
            stdio::data(format!("{shown}\n").as_bytes())?;
            if !self.remove(kept) {
                let hint = "stop the machine that runs from it, and check again: bootdisk ps".into();
                return Err(WithHint { message: format!("damaged, and in use: {shown}"), hint }.into());
            }
        }
        self.blobs.forget_tags();
        stdio::say(&format!("{} of {} are whole\n", all.len() - damaged, all.len()));
        Ok(if damaged == 0 { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
    }
}

fn object(kept: &One, names: &[String]) -> serde_json::Value {
    let used = kept.used().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    json!({
        "kind": kept.kind(), "name": kept.name(), "images": names, "bytes": kept.bytes(), "used": used,
        "path": kept.path().to_string_lossy(),
    })
}

fn table(all: &[One], names: &dyn Fn(&One) -> Vec<String>) -> String {
    let now = SystemTime::now();
    let mut text = format!("{:<4}  {:>9}  {:>5}  NAME\n", "KIND", "SIZE", "USED");
    for kept in all {
        let used = age(now.duration_since(kept.used()).unwrap_or_default().as_secs());
        let images = names(kept);
        let name = if images.is_empty() { kept.name().chars().take(32).collect() } else { images.join(" ") };
        text.push_str(&format!("{:<4}  {:>9}  {used:>5}  {name}\n", kept.kind(), size::render(kept.bytes())));
    }
    let total = all.iter().map(One::bytes).sum();
    text.push_str(&format!("{:<4}  {:>9}\n", "all", size::render(total)));
    text
}
