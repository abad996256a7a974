//! `bootdisk build`: an image and a kernel to a disk.

use super::cancel::Cancel;
use super::disk_form::{self, DiskForm};
use super::options::{self, FirmwareChoice, Global};
use super::progress::{Progress, shown_input};
use super::records::{RecordOptions, Records};
use super::stdio::{self, say};
use super::verified::Verified;
use super::{bases, document, plan, registry, signing, summary};
use crate::convert::{Event, Layers, Writing};
use crate::kernel::Bundle;
use crate::recognise::Wanted;
use crate::source::Reference;
use anyhow::Context;
use clap_complete::engine::ArgValueCompleter;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

/// The end of the help.
const EXAMPLES: &str = "\
Examples:
  bootdisk build nginx -o nginx.img
  docker save nginx | bootdisk build - -o nginx.img
  docker save nginx | bootdisk build - -o nginx.qcow2      In another form, by its name
  bootdisk build app.tar -o app.img --size 4G --env MODE=production
  bootdisk build oci:layout:v2 -o app.img --kernel vmlinuz --modules /lib/modules/6.1.0-56-amd64
  bootdisk build debian.oci -o shell.img bash -l
  bootdisk build rootfs:bookworm/ -o bookworm.img      A folder of mmdebstrap; its /sbin/init becomes PID 1
  bootdisk build dockerfile:. -o app.img               By docker, buildah or podman, whichever is there
  bootdisk build fedora.tar -o fedora.img --init image     The image's systemd becomes PID 1
  bootdisk build nginx -o nginx.img --sbom nginx.cdx.json --provenance nginx.intoto.json";

/// Arguments of `bootdisk build`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Image: a name in a registry (nginx, docker://nginx), an archive of `docker save` or `podman save`, an OCI layout or
    /// archive, `-` for standard input, a root file system (rootfs:PATH), an image of a daemon or store
    /// (docker-daemon:NAME, containers-storage:NAME, containerd:NAME), or a folder to build one from (dockerfile:DIR)
    #[arg(add = ArgValueCompleter::new(super::candidates::images))]
    image: std::ffi::OsString,
    /// Where to write the disk; an existing file stays until the new one is complete
    #[arg(long, short, value_name = "DISK")]
    output: PathBuf,
    /// Firmware the disk boots under [default: bios,uefi; uefi where there is no BIOS, or with --verity]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    firmware: Vec<FirmwareChoice>,
    /// Do not wait until the disk is on stable storage; a power failure soon after may leave a damaged disk
    #[arg(long)]
    no_sync: bool,
    /// Read the disk back before it gets its name: its table, its boot files byte by byte, every checksum of its root, and
    /// every name, attribute and body there beside the image's
    #[arg(long)]
    verify: bool,
    /// Print one JSON document on standard output instead of the picture: what was built, from what
    #[arg(long)]
    json: bool,
    /// Layers decoded at a time, at most 4; no byte of the disk depends on it [default: one per processor]
    #[arg(long, value_name = "COUNT", hide = true)]
    threads: Option<std::num::NonZeroUsize>,
    #[command(flatten)]
    form: DiskForm,
    #[command(flatten)]
    boot_files: options::BootFiles,
    #[command(flatten)]
    records: RecordOptions,
    #[command(flatten)]
    verified: Verified,
    #[command(flatten)]
    signer: signing::Signer,
    /// When systemd-boot gives the disk's certificate to a firmware that has no keys [default: if-safe, or manual where
    /// systemd-boot is older than 253]
    #[arg(long, value_name = "WHEN", requires = "sign_cert", help_heading = "Secure Boot")]
    secure_boot_enroll: Option<signing::EnrollChoice>,
    #[command(flatten)]
    disk: options::Disk,
    #[command(flatten)]
    registry: registry::Pulling,
    #[command(flatten)]
    process: options::Process,
}

/// Builds the disk and says on standard error what is on it. `given` are the arguments as they were given.
pub fn run(global: &Global, args: &Args, given: &clap::ArgMatches) -> anyhow::Result<ExitCode> {
    let _cancel = Cancel::on_signals().context("cannot listen for signals")?;
    let (form, output) = args.form.place(&args.output)?;
    disk_form::check(form, &output)?;
    let records = Records::open(&args.records, &output, args.json)?;
    match records.is_cold() {
        true => args.registry.clone().cold().settle(global),
        false => args.registry.settle(global),
    }
    let mut progress = Progress::new(global);
    let overrides = args.process.overrides()?;
    let usual = Writing::default();
    let threads = args.threads.map_or(usual.threads, std::num::NonZeroUsize::get);
    let writing = Writing { sync: !args.no_sync, verify: args.verify, threads, form, ..records.writing() };
    let signer = args.signer.open(&mut |text| progress.show(Event::Warning(text)))?;
    let for_signed = || signing::firmware(&args.firmware, &mut |text| progress.show(Event::Warning(text)));
    let of_signed = signer.is_some().then(for_signed).transpose()?;
    let firmware = |arch, _: &Bundle| of_signed.unwrap_or_else(|| args.verified.firmware(&args.firmware, arch));
    // Of a kernel by itself neither initramfs nor command line would be signed.
    let mut boot_files = args.boot_files.clone();
    boot_files.uki |= signer.is_some();
    let open = || plan::open_image(global, &args.image, Reference::parse_or_name, &args.disk, Wanted::Image);
    let image = progress.reading(&shown_input(&args.image), open)?;
    let mut warnings = Vec::new();
    let observe = &mut |event: Event<'_>| {
        if let Event::Warning(text) = event {
            warnings.push(text.to_owned());
        }
        progress.show(event);
    };
    let image = plan::add(image, &args.image, &args.disk, &overrides, observe)?;
    // Decoding takes longest. It begins while the kernel is looked for.
    let bases = bases::of_user().filter(|_| !form.grows());
    let layers = Layers::of(&image.0, bases.as_ref(), threads);
    let signed = plan::Signed { signing: signer.map(Arc::new), enroll: args.secure_boot_enroll.map(Into::into) };
    let chosen = (&args.disk, &boot_files);
    let plan = plan::open(image, &args.image, chosen, (firmware, signed), &overrides, args.verified.policy(), observe)?;
    records.check()?;
    let built = plan.write_from(layers, &output, &writing, observe)?;
    records.write(&plan, &output, &built, &args.image, given)?;
    match args.json {
        true => stdio::data(document::render(&output, &built, &warnings)?.as_bytes())?,
        false if global.quiet => {}
        false => say(&summary::render(&output, &built)),
    }
    Ok(ExitCode::SUCCESS)
}
