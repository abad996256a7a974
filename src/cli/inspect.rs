//! `bootdisk inspect`: what is kernel, what is userland, what is missing to boot.

use super::against;
use super::options::Global;
use super::progress::{Progress, shown_input};
use super::registry;
use super::report::{self, FAILED, WithHint};
use super::stdio;
use crate::contents::{Root, of_image, paths};
use crate::escape;
use crate::image::{Image, Platform};
use crate::inspect::model::Report;
use crate::inspect::{self, Subject, diff, image, kernel, listing, render, signatures};
use crate::kernel::{Bundle, Store};
use crate::publish::Document;
use crate::source::{Owner, Parse, Reference, Select};
use anyhow::{Context, Result};
use clap::ValueEnum;
use clap_complete::engine::ArgValueCompleter;
use serde_json::json;
use std::ffi::{OsStr, OsString};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The end of the help.
const EXAMPLES: &str = "\
Examples:
  docker save nginx | bootdisk inspect -
  bootdisk inspect nginx.img --html nginx.html    A disk, ours or anybody's, as a page
  bootdisk inspect vmlinuz-6.1                    A kernel: what it has, what it lacks
  bootdisk inspect nginx.tar --diff nginx.img     Is the disk what the image was?
  bootdisk inspect app.tar --tree --layer 3       What layer 3 did
  bootdisk inspect app.img --files mtree          Every file with its digest
  bootdisk inspect app.img --against app.intoto.json   Is the disk still what was built?
  bootdisk inspect app.efi --pcr                  What a TPM will have measured of it

Exit status of --diff and --against, as diff(1) has it: 0 the userlands are the same, 1 they differ or one side has none, 2
something could not be read. Where neither side has a userland, the kernels decide.";

/// Exit status when the two of a comparison differ.
const DIFFERENT: u8 = 1;
/// Exit status of a comparison that could not be run.
const COMPARISON_FAILED: u8 = 2;

/// The register that a stub measures into.
const PCR: u32 = 11;
/// Most levels of a tree whose paths are written out: no path of more can be given to the kernel (PATH_MAX).
const MAX_LEVELS: usize = 4096;

/// Arguments of `bootdisk inspect`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// An image as `bootdisk build` takes it, a disk, or a kernel (a file, a package, a name in the store)
    #[arg(add = ArgValueCompleter::new(super::candidates::images))]
    subject: OsString,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
    /// Write the report or the comparison as one page of HTML, and print nothing; - is standard output
    #[arg(long, value_name = "FILE", conflicts_with_all = ["json", "tree", "files"])]
    html: Option<PathBuf>,
    /// Compare with another image, disk or kernel
    #[arg(long, value_name = "OTHER", conflicts_with_all = ["tree", "files"])]
    diff: Option<OsString>,
    /// With --diff: let kernels, command lines and partition tables decide the exit status too
    #[arg(long, requires = "diff")]
    diff_all: bool,
    /// Compare a disk with what `build --provenance` wrote when it was built, or its packages with what `build --sbom` wrote;
    /// - is standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["tree", "files", "diff", "html"])]
    against: Option<PathBuf>,
    /// Print the userland's names as a tree
    #[arg(long, conflicts_with_all = ["json", "files"])]
    tree: bool,
    /// With --tree: what one layer of an image did, from 1 for the lowest
    #[arg(long, value_name = "N", requires = "tree")]
    layer: Option<u32>,
    /// With --tree: levels of directories to show
    #[arg(long, value_name = "N", requires = "tree", conflicts_with = "layer")]
    depth: Option<usize>,
    /// Print every name of the userland with its attributes and digest
    #[arg(long, value_name = "FORM", conflicts_with = "json")]
    files: Option<Form>,
    /// Print what the TPM's register 11 holds once a unified kernel image was started, for each bank; of a disk the one
    /// that it starts
    #[arg(long, conflicts_with_all = ["html", "diff", "tree", "files"])]
    pcr: bool,
    /// Platform to take from an image index, as os/arch[/variant]
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<String>,
    #[command(flatten)]
    registry: registry::Reaching,
    /// With rootfs: the owner of every file, instead of its own
    #[arg(long, value_name = "UID:GID")]
    owner: Option<Owner>,
}

impl Args {
    /// The exit status of an error.
    pub fn failed(&self) -> u8 {
        if self.diff.is_some() || self.against.is_some() { COMPARISON_FAILED } else { FAILED }
    }
}

/// A form of listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// mtree(5)
    Mtree,
    /// One JSON object a line
    Jsonl,
}

/// Something opened and read.
struct Read {
    report: Report,
    tree: Option<Root>,
    bundle: Option<Bundle>,
}

/// Prints what was asked for on standard output.
pub fn run(global: &Global, args: &Args) -> Result<ExitCode> {
    if let Some(file) = &args.against {
        let equal = against::run(&args.subject, file, args.json)?;
        return Ok(if equal { ExitCode::SUCCESS } else { ExitCode::from(DIFFERENT) });
    }
    args.registry.settle(global);
    let platform = args.platform.as_deref().map(str::parse::<Platform>).transpose()?;
    let select = Select { platform, owner: args.owner, build: None };
    if let Some(number) = args.layer {
        return one_layer(&args.subject, &select, number);
    }
    // Before the reading, which may take long.
    args.html.as_deref().map(Document::at).transpose()?;
    let hash = args.files.is_some() || args.diff.is_some();
    let progress = Progress::new(global);
    let shown = shown_input(&args.subject);
    progress.passing(&format!("reading {shown}"));
    let read = progress.reading(&shown, || read(&args.subject, Reference::parse_or_name, &select, hash))?;
    progress.clear();
    if hash {
        has_paths_to_print(&read)?;
    }
    if args.pcr {
        return measured(&read.report, args.json);
    }
    if let Some(form) = args.files {
        let form = if form == Form::Mtree { listing::Form::Mtree } else { listing::Form::JsonLines };
        return print(|out| listing::files(userland(&read)?, form, out).map_err(Into::into));
    }
    if args.tree {
        return print(|out| listing::tree(userland(&read)?, args.depth.unwrap_or(usize::MAX), out).map_err(Into::into));
    }
    if let Some(other) = &args.diff {
        let other = self::read(other, Reference::parse, &select, hash)?;
        has_paths_to_print(&other)?;
        let found = diff::compare(&of(&read), &of(&other));
        let same = if args.diff_all { found.is_same() } else { found.is_same_userland() };
        let status = if same { ExitCode::SUCCESS } else { ExitCode::from(DIFFERENT) };
        if let Some(path) = &args.html {
            return write_page(path, &render::html::render_diff(&found)).map(|_| status);
        }
        let text = if args.json {
            render::json(&found)?
        } else {
            render::diff::render(&found, report::may_colour(&io::stdout()))
        };
        return print(|out| Ok(out.write_all(text.as_bytes())?)).map(|_| status);
    }
    if let Some(path) = &args.html {
        return write_page(path, &render::html::render(&read.report));
    }
    let text = if args.json {
        render::json(&read.report)?
    } else {
        render::text::render(&read.report, report::may_colour(&io::stdout()))
    };
    print(|out| Ok(out.write_all(text.as_bytes())?))
}

/// `--pcr`, in the words and in the JSON of systemd-measure.
fn measured(report: &Report, json: bool) -> Result<ExitCode> {
    let kernels = report.kernel.iter().chain(report.disk.iter().flat_map(|disk| &disk.kernels));
    let Some(unified) = kernels.filter_map(|kernel| kernel.unified.as_ref()).next() else {
        let message = format!("no unified kernel image in {}", report.name);
        return Err(WithHint { message, hint: "give one, or a disk of bootdisk build --uki".into() }.into());
    };
    let Some(found) = &unified.pcr11 else {
        let message = format!("it is not known what the stub measures of {}", report.name);
        let hint = "known are systemd's stubs since 252, of unified kernel images that are the same on every machine";
        return Err(WithHint { message, hint: hint.into() }.into());
    };
    let banks = [("sha256", &found.sha256), ("sha384", &found.sha384), ("sha512", &found.sha512)];
    let text = match json {
        true => {
            let bank = |(bank, hash): (&str, &String)| (bank.to_owned(), json!([{ "pcr": PCR, "hash": hash }]));
            render::json(&banks.into_iter().map(bank).collect::<serde_json::Map<_, _>>())?
        }
        false => banks.into_iter().map(|(bank, hash)| format!("{PCR}:{bank}={hash}\n")).collect(),
    };
    print(|out| Ok(out.write_all(text.as_bytes())?))
}

/// Whole paths are printed and looked up: of a deep tree they are as many bytes as the square of its levels.
fn has_paths_to_print(read: &Read) -> Result<()> {
    let deepest = read.tree.as_ref().map_or(0, paths::deepest);
    if deepest <= MAX_LEVELS {
        return Ok(());
    }
    Err(WithHint {
        message: format!("names are {deepest} directories deep, at most {MAX_LEVELS} are listed: {}", read.report.name),
        hint: "--tree shows them, with --depth as far as you like".into(),
    }
    .into())
}

fn write_page(path: &Path, page: &str) -> Result<ExitCode> {
    Document::at(path)?.write(page.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn of(read: &Read) -> diff::Of<'_> {
    diff::Of { report: &read.report, tree: read.tree.as_ref(), bundle: read.bundle.as_ref() }
}

/// Opens and reads one subject; a tree comes with digests if `hash` says so.
fn read(subject: &OsStr, parse: Parse, select: &Select, hash: bool) -> Result<Read> {
    let shown = escape::path(Path::new(subject));
    let place = || format!("cannot inspect {shown}");
    let store = Store::of_user().ok();
    let opened = inspect::open(subject, parse, select, store.as_ref()).with_context(place)?;
    Ok(match opened {
        Subject::Image(found) => {
            let scan = of_image::scan(&found, usize::MAX, hash).with_context(place)?;
            Read { report: image::report(&shown, &found, &scan, store.as_ref()), tree: Some(scan.tree), bundle: None }
        }
        Subject::Disk(disk) => {
            let scan = disk.scan(&shown, hash);
            Read { report: scan.report, tree: scan.tree, bundle: None }
        }
        Subject::Kernel(bundle, unified) => {
            let mut report = kernel::report(&shown, &bundle, unified.map(|unified| *unified));
            report.programs = signatures::of_file(Path::new(subject));
            Read { report, tree: None, bundle: Some(*bundle) }
        }
        Subject::Program(path) => Read { report: signatures::report(&shown, &path), tree: None, bundle: None },
    })
}

fn userland(read: &Read) -> Result<&Root> {
    read.tree.as_ref().with_context(|| format!("no readable userland in {}", read.report.name))
}

/// `--tree --layer N`: the userland is read without the layer and with it.
fn one_layer(subject: &OsStr, select: &Select, number: u32) -> Result<ExitCode> {
    let shown = escape::path(Path::new(subject));
    let place = || format!("cannot inspect {shown}");
    let opened =
        inspect::open(subject, Reference::parse_or_name, select, Store::of_user().ok().as_ref()).with_context(place)?;
    let Subject::Image(found) = opened else {
        let message = format!("only images have layers: {shown}");
        return Err(WithHint { message, hint: "omit --layer for the whole tree".into() }.into());
    };
    let count = found.layers.len();
    if number == 0 || number as usize > count {
        let message = format!("the image has only {count} layers: {number}");
        return Err(WithHint { message, hint: "layers are counted from 1, the lowest".into() }.into());
    }
    let tree = |image: &Image, layers: usize| -> Result<Root> {
        match layers {
            0 => Ok(listing::nothing()),
            layers => Ok(of_image::scan(image, layers, false).with_context(place)?.tree),
        }
    };
    let (before, after) = (tree(&found, number as usize - 1)?, tree(&found, number as usize)?);
    print(|out| Ok(listing::layer(&before, &after, number - 1, out)?))
}

fn print(write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<ExitCode> {
    let mut out = BufWriter::with_capacity(64 << 10, stdio::stdout());
    write(&mut out)?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
