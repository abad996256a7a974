//! `bootdisk export`: what another program needs to start a disk, made for this disk.
//!
//! Texts go to standard output, boot files to a folder. The disk is only read.

mod kubevirt;
mod libvirt;
mod machine;

use super::stdio;
use super::target::Target;
use crate::boot::existing::{BootFiles, Existing};
use crate::publish::Document;
use anyhow::{Context, Result};
use clap::{ArgGroup, ValueEnum};
use machine::Machine;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The end of the help.
const EXAMPLES: &str = "\
Examples:
  bootdisk export app.qcow2 --libvirt >app.xml && virsh define app.xml
  bootdisk export app.qcow2 --libvirt --accel tcg    Where there is no KVM
  bootdisk export app.qcow2 --kubevirt registry.example/app:1 | kubectl apply -f -
  bootdisk export app.img --boot-files app.boot      For Firecracker, cloud-hypervisor, vfkit";

/// Arguments of `bootdisk export`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES, group = ArgGroup::new("what").required(true))]
pub struct Args {
    /// Disk in any form
    disk: PathBuf,
    /// Print a domain of libvirt
    #[arg(long, group = "what")]
    libvirt: bool,
    /// What runs the domain's processor
    #[arg(long, value_name = "HOW", default_value = "kvm", requires = "libvirt")]
    accel: Accel,
    /// Print a VirtualMachine of KubeVirt, whose containerDisk is the image of this name
    #[arg(long, value_name = "IMAGE", group = "what")]
    kubevirt: Option<String>,
    /// Write kernel, initramfs and cmdline to a folder, for programs that start a kernel directly
    #[arg(long, value_name = "DIR", group = "what")]
    boot_files: Option<PathBuf>,
}

/// What runs the processor of a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Accel {
    /// The host's, through Linux
    Kvm,
    /// The host's, through macOS
    Hvf,
    /// QEMU's own translator, where there is neither
    Tcg,
}

/// Prints or writes what was asked for.
pub fn run(args: &Args) -> Result<ExitCode> {
    let shown = crate::escape::path(&args.disk);
    let export = || -> Result<()> {
        let raw = Target::raw(&args.disk)?;
        let disk = Existing::open(&raw.path())?;
        if let Some(folder) = &args.boot_files {
            return write_boot_files(folder, &disk.boot_files()?);
        }
        let machine = Machine::of(&args.disk, &disk)?;
        let text = match &args.kubevirt {
            Some(image) => kubevirt::render(&machine, image),
            None => libvirt::render(&machine, args.accel),
        };
        Ok(stdio::data(text.as_bytes())?)
    };
    export().with_context(|| format!("cannot export {shown}"))?;
    Ok(ExitCode::SUCCESS)
}

/// Kernel, initramfs and command line, each whole or as it was before.
fn write_boot_files(folder: &Path, files: &BootFiles) -> Result<()> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder {}", crate::escape::path(folder)))?;
    let line = format!("{}\n", files.command_line);
    for (name, bytes) in
        [("kernel", &files.kernel[..]), ("initramfs", &files.initramfs()), ("cmdline", line.as_bytes())]
    {
        Document::at(&folder.join(name))?.write(bytes)?;
    }
    Ok(())
}
