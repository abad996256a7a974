//! `bootdisk kernel set`: another kernel on a disk that exists.

use super::options::{Global, KernelKeys};
use super::plan;
use super::progress::Progress;
use super::registry::Reaching;
use crate::arch::Arch;
use crate::boot::existing::Existing;
use crate::convert::Event;
use crate::swap;
use anyhow::{Context, Result};
use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use std::ffi::OsString;
use std::path::PathBuf;

/// Arguments of `bootdisk kernel set`.
#[derive(Debug, Args)]
pub struct Set {
    /// The disk, which no machine may be using
    #[arg(value_name = "DISK")]
    disk: PathBuf,
    /// A kernel, as `--kernel` of build takes it
    #[arg(value_name = "KERNEL", add = ArgValueCompleter::new(super::candidates::kernels))]
    kernel: OsString,
    /// Modules of a kernel given as a file
    #[arg(long, value_name = "DIR")]
    modules: Option<PathBuf>,
    #[command(flatten)]
    keys: KernelKeys,
    /// Keep the previous kernel as a second entry of UEFI's boot menu
    #[arg(long)]
    keep: bool,
    /// Set even a kernel that cannot boot this disk
    #[arg(long)]
    no_preflight: bool,
}

/// Opens the kernel and puts it on the disk.
pub fn run(global: &Global, set: &Set) -> Result<()> {
    Reaching::default().settle(global);
    let mut progress = Progress::new(global);
    let shown = crate::escape::path(&set.disk);
    // Only a default depends on the disk.
    let arch = (set.kernel == "default").then(|| Existing::open(&set.disk)?.architecture()).transpose();
    let arch = arch
        .with_context(|| format!("cannot set the kernel of {shown}"))?
        .and_then(|arch| Arch::from_name(arch.name()));
    let meant = plan::Meant { image: None, arch };
    let bundle = plan::named_kernel(&set.kernel, set.modules.as_deref(), &set.keys, meant)?;
    let options = swap::Options { keep: set.keep, preflight: !set.no_preflight };
    let done = swap::set_kernel(&set.disk, &bundle, &options, &mut |event| progress.show(event));
    progress.show(Event::Done);
    done.with_context(|| format!("cannot set the kernel of {shown}"))?;
    if !global.quiet {
        super::stdio::say(&format!("{shown}: kernel {}\n", crate::escape::escape(bundle.release.as_bytes())));
    }
    Ok(())
}
