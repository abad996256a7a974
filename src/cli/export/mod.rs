//! `bootdisk export`: what another program needs to start a disk, made for this disk.
//!
//! Texts go to standard output, boot files to a folder. The disk is only read.

mod kubevirt;
mod libvirt;
mod machine;

use super::signing;
use super::stdio;
use super::target::Target;
use crate::boot::existing::{BootFiles, Existing};
use crate::publish::Document;
use crate::qemu;
use anyhow::{Context, Result};
use clap::{ArgGroup, ValueEnum};
use machine::{Machine, SecureBoot};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The end of the help.
const EXAMPLES: &str = "\
Examples:
  bootdisk export app.qcow2 --libvirt >app.xml && virsh define app.xml
  bootdisk export app.qcow2 --libvirt --accel tcg    Where there is no KVM
  bootdisk export app.qcow2 --kubevirt registry.example/app:1 | kubectl apply -f -
  bootdisk export app.img --uefi-vars app.vars && bootdisk export app.img --libvirt --secure-boot app.vars
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
    /// Write a file of OVMF's or AAVMF's variables in which a signed disk's certificate is the only key
    #[arg(long, value_name = "FILE", group = "what")]
    uefi_vars: Option<PathBuf>,
    /// Print a domain that starts only what is signed; its variables are a copy of this file, which --uefi-vars wrote
    #[arg(long, value_name = "FILE", requires = "libvirt")]
    secure_boot: Option<PathBuf>,
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
        if let Some(path) = &args.uefi_vars {
            let document = Document::at(path)?;
            let variables = qemu::firmware::variables(disk.architecture()?, &signing::keys(None, &disk)?)?;
            return Ok(document.write(&variables)?);
        }
        let mut machine = Machine::of(&args.disk, &disk)?;
        if let Some(variables) = &args.secure_boot {
            machine.secure_boot = Some(secure_boot(&disk, variables)?);
        }
        let text = match &args.kubevirt {
            Some(image) => kubevirt::render(&machine, image),
            None => libvirt::render(&machine, args.accel),
        };
        Ok(stdio::data(text.as_bytes())?)
    };
    export().with_context(|| format!("cannot export {shown}"))?;
    Ok(ExitCode::SUCCESS)
}

/// What a domain with Secure Boot has.
fn secure_boot(disk: &Existing, variables: &Path) -> Result<SecureBoot> {
    // It is refused here rather than by the firmware.
    signing::keys(None, disk)?;
    let (code, _) = qemu::firmware::paths(disk.architecture()?, true)?;
    let absolute = std::path::absolute(variables).context("cannot find the folder of the variables")?;
    let text =
        |path: PathBuf| path.to_str().map(str::to_owned).context("its path is no text, which other programs want");
    Ok(SecureBoot { code: text(code)?, variables: text(absolute)? })
}

/// Kernel, initramfs and command line, each whole or as it was before.
fn write_boot_files(folder: &Path, files: &BootFiles) -> Result<()> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder {}", crate::escape::path(folder)))?;
    let line = format!("{}\n", files.command_line);
    for (name, bytes) in
        [("kernel", &files.read_kernel()?[..]), ("initramfs", &files.read_initramfs()?), ("cmdline", line.as_bytes())]
    {
        Document::at(&folder.join(name))?.write(bytes)?;
    }
    Ok(())
}
