//! `bootdisk convert`: a disk in another form.

use super::cancel::Cancel;
use super::container::{self, Place};
use super::disk_form::{self, DiskForm};
use super::options::Global;
use super::progress::Progress;
use super::report::WithHint;
use super::size;
use super::stdio::say;
use crate::convert::{Event, Writing, write_form};
use crate::forms::{self, Form, Source};
use crate::output::scratch_dir;
use crate::recognise::{self, Kind, Refusal, Wanted};
use crate::{disk_lock, escape};
use anyhow::{Context, Result};
use nix::errno::Errno;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tempfile::TempDir;

/// What a raw copy is called.
pub const RAW: &str = "disk.img";

/// The end of the help.
const EXAMPLES: &str = "\
Examples:
  bootdisk convert app.img -o app.qcow2                    For libvirt and Proxmox
  bootdisk convert app.img -o app.qcow2 --compress zstd    Smaller; QEMU 5.1 and later
  bootdisk convert app.img -o app.vmdk --compress zlib     streamOptimized, for an OVF package
  bootdisk convert app.img -o app.vhd --format vhd-fixed   For Azure
  bootdisk convert app.img -o app.ova                      For VMware and VirtualBox
  bootdisk convert app.img -o app.tar.gz                   For Google's cloud
  bootdisk convert app.img -o oci-archive:app.tar          A containerDisk for KubeVirt
  bootdisk convert app.img -o docker://host/app:1          The same, pushed with the login of docker or podman
  bootdisk convert x86.img arm.img -o docker://host/app    One image for both architectures
  bootdisk convert app.img -o app.img.zst                  To carry it away
  bootdisk convert theirs.vhdx -o theirs.img               Raw again";

/// Arguments of `bootdisk convert`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Disk in any form: raw, qcow2, VMDK, VDI, VHD, VHDX, compressed, or in an OVA, a GCE archive or a Vagrant box
    /// (several: one for each architecture of an image)
    #[arg(required = true, value_name = "DISK")]
    disks: Vec<PathBuf>,
    /// Where to write the new disk; an existing file stays until the new one is complete. docker://[REGISTRY/]NAME[:TAG]
    /// pushes a containerDisk, oci:DIR[:TAG] puts one into an OCI layout
    #[arg(long, short, value_name = "OTHER")]
    output: PathBuf,
    #[command(flatten)]
    form: DiskForm,
    /// Do not wait until the disk is on stable storage; a power failure soon after may leave a damaged disk
    #[arg(long)]
    no_sync: bool,
    /// Read the new disk back before it gets its name, and compare it with the first
    #[arg(long)]
    verify: bool,
}

/// Writes the disk, and says on standard error what it is.
pub fn run(global: &Global, args: &Args) -> Result<ExitCode> {
    let _cancel = Cancel::on_signals().context("cannot listen for signals")?;
    if let Some(place) = Place::of(&args.output)? {
        return write_image(global, args, &place);
    }
    let (form, output) = args.form.place(&args.output)?;
    disk_form::check(form, &output)?;
    let disk = one(&args.disks)?;
    let source = opened(disk)?;
    let writing = Writing { sync: !args.no_sync, verify: args.verify, form, ..Writing::default() };
    let mut progress = Progress::new(global);
    let observe = &mut |event: Event<'_>| progress.show(event);
    let written = write_form(&*source, &output, &writing, observe)
        .with_context(|| format!("cannot convert {}", escape::path(disk)));
    observe(Event::Done);
    let file = written?;
    let length = file.file().metadata().context("cannot look at the new disk")?.len();
    if writing.sync {
        file.publish()?;
    } else {
        file.publish_unsynced()?;
    }
    if !global.quiet {
        let (output, disk) = (escape::path(&output), size::render(form.rounded(source.size())));
        say(&format!("{output}: a disk of {disk}, {} of file\n", size::render(length)));
    }
    Ok(ExitCode::SUCCESS)
}

fn opened(disk: &Path) -> Result<Box<dyn Source>> {
    open(disk).with_context(|| format!("cannot convert {}", escape::path(disk)))
}

/// The only one of them.
fn one(disks: &[PathBuf]) -> Result<&Path> {
    match disks {
        [disk] => Ok(disk),
        _ => Err(WithHint {
            message: "several disks are one image only in a registry or an OCI layout".into(),
            hint: "give -o docker://[REGISTRY/]NAME[:TAG] or -o oci:DIR[:TAG], or one disk".into(),
        }
        .into()),
    }
}

/// The same of an image that is no file.
fn write_image(global: &Global, args: &Args, place: &Place) -> Result<ExitCode> {
    if args.form.is_given() {
        return Err(WithHint {
            message: "a containerDisk has a form of its own".into(),
            hint: "omit --format and --compress".into(),
        }
        .into());
    }
    let usual = Writing::default();
    let disks = args.disks.iter().map(|disk| Ok((&**disk, opened(disk)?))).collect::<Result<Vec<_>>>()?;
    let mut progress = Progress::new(global);
    let observe = &mut |event: Event<'_>| progress.show(event);
    let made = container::write(&disks, place, usual.threads, args.verify, observe);
    observe(Event::Done);
    let made = made?;
    if !global.quiet {
        say(&format!("{}: {made}\n", escape::path(&args.output)));
    }
    Ok(ExitCode::SUCCESS)
}

/// Opens a disk to read it, which nobody writes to meanwhile.
pub fn open(path: &Path) -> Result<Box<dyn Source>> {
    let kind = recognise::path(path)?;
    match &kind {
        Kind::Disk(_) | Kind::FileSystem(_) | Kind::Iso => {}
        kind if kind.form().is_some() => {}
        _ => return Err(Refusal::new(kind, Wanted::Disk, Some(path)).into()),
    }
    open_file(crate::inputs::open(path)?)
}

/// The same of a file that is open: it may be replaced by what it becomes.
pub fn open_file(file: File) -> Result<Box<dyn Source>> {
    match disk_lock::lock(&file, false) {
        Ok(()) => {}
        Err(Errno::EWOULDBLOCK) => {
            return Err(WithHint {
                message: "a machine or another command writes to it".into(),
                hint: "bootdisk ps lists running machines, bootdisk stop ends one".into(),
            }
            .into());
        }
        Err(errno) => return Err(std::io::Error::from(errno).into()),
    }
    Ok(forms::open(file)?)
}

/// A raw copy of a disk, called [`RAW`], in a folder that goes with the value.
pub fn raw_copy(source: &dyn Source) -> Result<TempDir> {
    let dir = tempfile::tempdir_in(scratch_dir()).context("cannot make a temporary directory")?;
    let write = || {
        let file = File::options().read(true).write(true).create_new(true).open(dir.path().join(RAW))?;
        file.set_len(forms::write(Form::Raw, source, &file, 1)?)
    };
    write().context("cannot make a raw disk of it")?;
    Ok(dir)
}
