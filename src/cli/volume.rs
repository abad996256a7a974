//! `bootdisk volume`: the volumes that outlive machines.

use super::{mounts, size, stdio};
use crate::escape;
use crate::volumes::{Entry, Store};
use anyhow::Result;
use clap::Subcommand;
use serde_json::{Value, json};
use std::process::ExitCode;

/// The end of the help.
const EXAMPLES: &str = "\
Examples:
  bootdisk run db.img -v data:/var/lib/db              Made when it is missing, and kept
  bootdisk volume create data --size 20G               In another size than 10G
  bootdisk run db.img -v data:/srv --volume-size 40G   It grows, and the file system in it
  bootdisk volume list
  e2fsck -fn \"$(bootdisk volume path data)\"            It is one ext4 file system in one file

A new volume begins with what the image has in its place. One machine has it at a time. It takes as much
room on this host as is in it.";

/// Arguments of `bootdisk volume`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct VolumeArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List the volumes
    #[command(alias = "ls")]
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Make a volume, and print its name; one that is there stays as it is
    Create {
        /// A letter or digit, then letters, digits, _, . and -
        name: String,
        /// Bytes, or with K, M, G, T [default: 10G]
        #[arg(long, value_name = "SIZE", value_parser = size::parse)]
        size: Option<u64>,
    },
    /// Remove volumes and what is in them
    #[command(alias = "rm")]
    Remove {
        /// Their names
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
    /// Print where a volume is
    Path {
        /// Its name
        name: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

/// Does what is asked for.
pub fn run(args: &VolumeArgs) -> Result<ExitCode> {
    let store = mounts::store()?;
    let text = match &args.command {
        Command::List { json: true } => escape::json(&store.list()?.iter().map(as_json).collect::<Vec<_>>())?,
        Command::List { json: false } => table(&store.list()?),
        Command::Create { name, size } => {
            store.create(name, *size)?;
            format!("{name}\n")
        }
        Command::Remove { names } => return remove(&store, names),
        Command::Path { name, json } => path(&store.entry(name)?, *json)?,
    };
    stdio::data(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// Each by itself; the first that fails is the error.
fn remove(store: &Store, names: &[String]) -> Result<ExitCode> {
    let mut first = None;
    for name in names {
        match store.remove(name) {
            Ok(()) => stdio::data(format!("{name}\n").as_bytes())?,
            Err(error) => first = first.or(Some(error)),
        }
    }
    first.map_or(Ok(ExitCode::SUCCESS), |error| Err(error.into()))
}

fn path(entry: &Entry, json: bool) -> Result<String> {
    Ok(match json {
        true => escape::json(&as_json(entry))?,
        false => format!("{}\n", escape::path(&entry.path)),
    })
}

fn as_json(entry: &Entry) -> Value {
    let Entry { name, path, size, allocated, in_use } = entry;
    json!({
        "name": name, "path": path.to_string_lossy(), "size": size, "allocated": allocated, "in_use": in_use,
    })
}

fn table(entries: &[Entry]) -> String {
    let mut text = format!("{:>9}  {:>9}  {:<6}  NAME\n", "SIZE", "TAKES", "IN USE");
    for entry in entries {
        let (is, takes) = (size::render(entry.size), size::render(entry.allocated));
        let used = if entry.in_use { "yes" } else { "no" };
        text.push_str(&format!("{is:>9}  {takes:>9}  {used:<6}  {}\n", entry.name));
    }
    text
}
