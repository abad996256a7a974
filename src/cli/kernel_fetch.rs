//! `bootdisk kernel fetch`: a kernel from Debian's archive, for people without apt, and systemd-boot with its stub where there is none.

use super::kernel_added::write_added;
use super::options::Global;
use super::progress::Progress;
use super::{env, size, stdio};
use crate::arch::{Arch, Architecture};
use crate::boot::loader::Program;
use crate::convert::Event;
use crate::kernel::store::Added;
use crate::kernel::{Given, Store};
use crate::mirror;
use crate::own_folder;
use crate::publish::Document;
use anyhow::{Context, Result, anyhow};
use clap::Args;
use std::io::Write;
use std::path::PathBuf;

/// The end of the help.
const EXAMPLES: &str = "\
Examples:
  bootdisk kernel fetch                          Debian's kernel for virtual machines, 26 MB
  bootdisk kernel fetch debian                   With every driver Debian has, 70 MB
  bootdisk kernel fetch --arch aarch64           For disks of another architecture
  bootdisk kernel fetch rt --suite trixie --mirror http://ftp.de.debian.org/debian

The archive's signature is verified by gpgv, with Debian's keys: those that this system's apt sources name, those of the
package debian-archive-keyring, or --keyring. Nothing is installed. On a system without systemd-boot its package comes
too, for disks that boot under UEFI.";

/// Arguments of `bootdisk kernel fetch`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Fetch {
    /// debian-cloud, for virtual machines; debian, with every driver; or a flavour of Debian's, such as rt
    #[arg(value_name = "FLAVOUR", default_value = "debian-cloud")]
    flavour: String,
    /// Architecture of the kernel [default: this machine's]
    #[arg(long, value_name = "ARCH")]
    arch: Option<String>,
    /// Address of the archive [default: that of this system's apt sources, or http://deb.debian.org/debian]
    #[arg(long, value_name = "URL")]
    mirror: Option<String>,
    /// Release of Debian [default: that of this system's apt sources, or stable]
    #[arg(long, value_name = "SUITE")]
    suite: Option<String>,
    /// OpenPGP keys that the archive must be signed with [default: Debian's]
    #[arg(long, value_name = "FILE")]
    keyring: Option<PathBuf>,
}

/// Fetches the kernel and adds it to the store.
pub fn run(global: &Global, args: &Fetch, store: &Store, out: &mut dyn Write) -> Result<()> {
    let mut progress = Progress::new(global);
    let added = fetch(args, store, &mut progress);
    progress.show(Event::Done);
    let Done { added, loaders, signer } =
        added.with_context(|| format!("cannot get {}", crate::escape::escape(args.flavour.as_bytes())))?;
    write_added(&added, out)?;
    for loader in loaders {
        writeln!(out, "{loader}")?;
    }
    if !global.quiet {
        stdio::say(&format!("verified: the archive is signed by {signer}\n"));
    }
    Ok(())
}

/// What was fetched.
struct Done {
    added: Added,
    /// What the files of systemd-boot that were missing are called.
    loaders: Vec<&'static str>,
    signer: String,
}

fn fetch(args: &Fetch, store: &Store, progress: &mut Progress) -> Result<Done> {
    let arch = args.arch.as_deref().unwrap_or(std::env::consts::ARCH);
    let arch = Arch::from_name(arch)
        .ok_or_else(|| anyhow!("not an architecture: {}", crate::escape::escape(arch.as_bytes())))?;
    let name = mirror::package_of(&args.flavour, arch)?;
    let archive = mirror::of_host(args.mirror.as_deref(), args.suite.as_deref(), args.keyring.as_deref())?;
    progress.show(Event::Step(&format!("asking {archive}")));
    let mut last = String::new();
    let observe = &mut |what: &str, _, total| {
        if last != what {
            last = what.to_owned();
            progress.show(Event::Step(&format!("fetching {what}, {}", size::render(total))));
        }
    };
    let loaders = env::loaders()?;
    let architecture = Architecture::try_from(arch).ok();
    let lacks = |program: &Program| architecture.is_some_and(|one| program.find(one, Some(&loaders)).is_none());
    let missing: Vec<Program> = [Program::Loader, Program::Stub].into_iter().filter(lacks).collect();
    let fetched = mirror::fetch(&archive, &name, arch, !missing.is_empty(), observe)?;
    let given = Given { files: &fetched.files, modules: None, config: None, keys: None };
    let added = store.add_given(&given, &mut |count, bytes| progress.modules(count, bytes));
    let added = added.with_context(|| format!("cannot add {}", fetched.names.join(", ")))?;
    let mut kept = Vec::new();
    if let (Some(architecture), Some(package)) = (architecture, &fetched.loader) {
        own_folder::make(&loaders)?;
        for program in missing {
            // Packages of old releases have no stub, which few need.
            if program == Program::Stub && program.in_package(architecture, package)?.is_none() {
                continue;
            }
            let bytes = program.open(architecture, Some(package), None)?;
            Document::at(&loaders.join(program.file_name(architecture)))?.write(&bytes)?;
            kept.push(program.file_name(architecture));
        }
    }
    Ok(Done { added, loaders: kept, signer: fetched.signer.clone() })
}
