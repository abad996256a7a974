//! `bootdisk kernel`: the store of kernels, and what a kernel is and lacks.
//!
//! Data goes to standard output, at most 80 columns wide where it is a table; everything else to standard error.

use clap_complete::engine::ArgValueCompleter;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::slice::from_ref;

use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::json;

use super::kernel_added::write_added;
use super::kernel_fetch;
use super::kernel_set::{self, Set};
use super::options::{Global, KernelKeys, kernel_files};
use super::progress::Progress;
use super::stdio;
use crate::arch::Architecture;
use crate::convert::{Event, Firmware};
use crate::escape::{self, escape};
use crate::kernel::preflight::{Disk, Report, Verdict};
use crate::kernel::requirements::requirements;
use crate::kernel::store::{Added, Entry};
use crate::kernel::{Bundle, Given, KernelError, Keys, Packing, Store, modules, places, preflight};
use crate::shorten::fit;

/// Keeps kernels to boot disks with, and says what they lack.
#[derive(Debug, Args)]
pub struct KernelArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Add a kernel to the store; the first of an architecture becomes its default
    Add(Add),
    /// Fetch a kernel from a Debian archive, verified by the archive's signature, and add it to the store
    Fetch(kernel_fetch::Fetch),
    /// List the store
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what a kernel is
    Show(One),
    /// Check what a kernel lacks to boot a disk, and a stored one for damage
    Check(One),
    /// Put another kernel on a disk; the root partition is not touched, and an interruption leaves a disk that boots
    Set(Set),
    /// Remove a kernel from the store
    Remove {
        /// Identifier (its first digits are enough) or release
        #[arg(value_name = "KERNEL", required = true, add = ArgValueCompleter::new(super::candidates::stored_kernels))]
        kernels: Vec<String>,
    },
    /// Show the defaults, or make a kernel its architecture's default
    Default {
        /// Identifier (its first digits are enough) or release
        #[arg(value_name = "KERNEL", add = ArgValueCompleter::new(super::candidates::stored_kernels))]
        kernel: Option<String>,
    },
}

#[derive(Debug, Args)]
struct Add {
    /// A boot file, a package (.deb, .rpm, .apk, .pkg.tar.zst, tar), a container image, a directory that holds a
    /// kernel, or "host" for the running one. Several that belong together: split packages, or a boot file with the
    /// directory of its modules and its configuration
    #[arg(value_name = "KERNEL", required = true)]
    kernel: Vec<PathBuf>,
    /// Its modules: lib/modules/RELEASE, or a directory that has it
    #[arg(long, value_name = "DIR")]
    modules: Option<PathBuf>,
    /// Its configuration, if it is not beside it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    keys: KernelKeys,
}

#[derive(Debug, Args)]
struct One {
    /// A file, a package, an image or a directory; or "host"; or of the store: an identifier, a release, or "default"
    #[arg(value_name = "KERNEL", default_value = "default", add = ArgValueCompleter::new(super::candidates::kernels))]
    kernel: String,
    /// Its modules, instead of those it brings
    #[arg(long, value_name = "DIR")]
    modules: Option<PathBuf>,
    #[command(flatten)]
    keys: KernelKeys,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Does what the arguments say, in the user's store. The status is 1 when `check` found that the kernel cannot boot a
/// disk.
pub fn run(global: &Global, args: &KernelArgs) -> anyhow::Result<ExitCode> {
    let store = Store::of_user()?;
    let out = &mut stdio::stdout();
    if let Command::Set(set) = &args.command {
        kernel_set::run(global, set)?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Command::Fetch(fetch) = &args.command {
        kernel_fetch::run(global, fetch, &store, out)?;
        out.flush()?;
        return Ok(ExitCode::SUCCESS);
    }
    let Command::Add(add) = &args.command else {
        let status = run_in(&store, args, out)?;
        out.flush()?;
        return Ok(status);
    };
    let mut progress = Progress::new(global);
    progress.passing("reading the kernel");
    let mut said = Vec::new();
    let added = run_add(&store, add, &mut said, &mut |count, bytes| progress.modules(count, bytes));
    // What is on the terminal goes first.
    progress.show(Event::Done);
    out.write_all(&said)?;
    out.flush()?;
    let added = added?;
    if !global.quiet {
        added.iter().for_each(|added| stdio::say(&format!("{}\n", proof(&added.entry))));
        added.iter().filter_map(|added| other_default(&store, added)).for_each(|note| stdio::say(&note));
    }
    Ok(ExitCode::SUCCESS)
}

/// What vouches for a kernel.
fn proof(entry: &Entry) -> String {
    match (entry.signed(), entry.checked()) {
        ("", "") => "not verified: it contains no digests".to_owned(),
        ("", checked) => format!("verified: {checked}; not verified: signatures"),
        (signed, "") => format!("verified: signed by {signed}"),
        (signed, checked) => format!("verified: {checked}; signed by {signed}"),
    }
}

/// Which kernel is still taken where none is named, when a new one came beside it.
fn other_default(store: &Store, added: &Added) -> Option<String> {
    let entry = &added.entry;
    let default = store.default_id(entry.arch).ok()?.filter(|id| added.new && *id != entry.id)?;
    let default = store.find(&default).ok()?;
    let (new, id) = (escape(entry.release.as_bytes()), &entry.id[..12]);
    let release = escape(default.release.as_bytes());
    Some(format!("the default for {} is still {release}; for {new}: bootdisk kernel default {id}\n", entry.arch))
}

/// As [`run`], in a given store and to a given output, without progress.
pub fn run_in(store: &Store, args: &KernelArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    match &args.command {
        Command::Add(add) => _ = run_add(store, add, out, &mut |_, _| {})?,
        Command::Fetch(fetch) => kernel_fetch::run(&Global::silent(), fetch, store, out)?,
        Command::Set(set) => kernel_set::run(&Global::silent(), set)?,
        Command::List { json } => list(store, *json, out)?,
        Command::Show(one) => show(store, one, out)?,
        Command::Check(one) => return check(store, one, out),
        Command::Remove { kernels } => {
            for name in kernels {
                let id = store.remove_by_name(name)?;
                writeln!(out, "{}", &id[..12])?;
            }
        }
        Command::Default { kernel: Some(name) } => {
            let entry = store.find(name)?;
            store.set_default(&entry)?;
            writeln!(out, "{}  {}  {}", &entry.id[..12], entry.arch, entry.release)?;
        }
        Command::Default { kernel: None } => {
            let defaults = store.defaults()?;
            if defaults.is_empty() {
                store.find("default")?;
            }
            for entry in defaults {
                writeln!(out, "{}  {}  {}", &entry.id[..12], entry.arch, entry.release)?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn run_add(
    store: &Store,
    add: &Add,
    out: &mut dyn Write,
    observe: &mut dyn FnMut(usize, u64),
) -> anyhow::Result<Vec<Added>> {
    let names = add.kernel.iter().map(|path| shown(path)).collect::<Vec<_>>().join(", ");
    let files = match add.kernel.as_slice() {
        [path] => kernel_files(path).map(|files| files.unwrap_or_else(|| vec![path.clone()])),
        files => Ok(files.to_vec()),
    };
    let keys = add.keys.read()?;
    let mut add_all = |files: Vec<PathBuf>| match store.add_given(&given(add, keys.as_ref(), &files), observe) {
        // Several that do not belong together, and are a kernel each.
        Err(_)
            if files.len() > 1
                && files.iter().all(|file| Bundle::of(&given(add, keys.as_ref(), from_ref(file))).is_ok()) =>
        {
            files.iter().map(|file| store.add_given(&given(add, keys.as_ref(), from_ref(file)), observe)).collect()
        }
        result => result.map(|added| vec![added]),
    };
    let all = files.and_then(&mut add_all).with_context(|| format!("cannot add {names}"))?;
    for added in &all {
        write_added(added, out)?;
    }
    Ok(all)
}

fn given<'a>(add: &'a Add, keys: Option<&'a Keys>, files: &'a [PathBuf]) -> Given<'a> {
    Given { files, modules: add.modules.as_deref(), config: add.config.as_deref(), keys }
}

fn list(store: &Store, json: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    let entries = store.list()?;
    let is_default = |entry: &Entry| matches!(store.default_id(entry.arch), Ok(Some(id)) if id == entry.id);
    if json {
        let rows: Vec<_> = entries
            .iter()
            .map(|entry| match entry {
                Ok(entry) => json!({
                    "id": entry.id, "release": entry.release, "arch": entry.arch.name(), "default": is_default(entry),
                    "size": entry.size(), "modules": entry.modules(), "origin": entry.origin,
                }),
                Err(error) => json!({ "error": error.to_string() }),
            })
            .collect();
        write!(out, "{}", escape::json(&rows)?)?;
        return Ok(());
    }
    if entries.is_empty() {
        writeln!(out, "no kernels in {}", shown(store.dir()))?;
        return Ok(());
    }
    writeln!(out, "{:<14}{:<30}{:<10}{:>7}{:>10}  DEFAULT", "ID", "RELEASE", "ARCH", "MODULES", "SIZE")?;
    for entry in &entries {
        match entry {
            Ok(entry) => {
                let modules = entry.modules().map_or("none".to_owned(), |count| count.to_string());
                let mark = if is_default(entry) { "  yes" } else { "" };
                let (release, size) = (fit(&entry.release, 29), mebibytes(entry.size()));
                writeln!(
                    out,
                    "{:<14}{release:<30}{:<10}{modules:>7}{size:>10}{mark}",
                    &entry.id[..12],
                    entry.arch.name()
                )?;
            }
            Err(KernelError::Damaged { id, .. }) => writeln!(out, "{:<14}damaged", &id[..12])?,
            Err(error) => writeln!(out, "{:<14}{}", "?", fit(&error.to_string(), 64))?,
        }
    }
    Ok(())
}

/// A kernel by path if there is such a file, else from the store.
fn open(store: &Store, one: &One) -> anyhow::Result<(Bundle, Option<Entry>)> {
    let path = Path::new(&one.kernel);
    let keys = one.keys.read()?;
    let given = Given { modules: one.modules.as_deref(), keys: keys.as_ref(), ..Given::default() };
    // What has a folder in its name is none of the store, whether or not it is there.
    let missing = || one.kernel.contains('/').then(|| vec![path.to_owned()]);
    if let Some(files) = kernel_files(path)?.or_else(missing) {
        let bundle = Bundle::of(&Given { files: &files, ..given });
        return Ok((bundle.with_context(|| format!("cannot open {}", shown(path)))?, None));
    }
    one.keys.are_for_files(&one.kernel)?;
    let entry = store.find(&one.kernel)?;
    let mut bundle = entry.bundle()?;
    bundle.replace_modules(one.modules.as_deref())?;
    Ok((bundle, Some(entry)))
}

fn show(store: &Store, one: &One, out: &mut dyn Write) -> anyhow::Result<()> {
    let (bundle, entry) = open(store, one)?;
    let selection = modules::select(&bundle)?;
    let rows = facts(&bundle, entry.as_ref(), &selection);
    if one.json {
        let object: serde_json::Map<_, _> = rows.into_iter().map(|(key, _, value)| (key.to_owned(), value)).collect();
        write!(out, "{}", escape::json(&object)?)?;
        return Ok(());
    }
    for (_, label, value) in rows {
        let text = match value {
            serde_json::Value::Null => continue,
            serde_json::Value::String(text) => text,
            serde_json::Value::Bool(yes) => if yes { "yes" } else { "no" }.to_owned(),
            serde_json::Value::Array(items) => items.iter().filter_map(|i| i.as_str()).collect::<Vec<_>>().join(" "),
            other => other.to_string(),
        };
        wrapped(out, label, &text)?;
    }
    Ok(())
}

/// Key for JSON, label for people, value; what is not known is null. Text is printable already.
fn facts(
    bundle: &Bundle,
    entry: Option<&Entry>,
    selection: &modules::Selection,
) -> Vec<(&'static str, &'static str, serde_json::Value)> {
    let header = bundle.image.bzimage.as_ref();
    let taken: Vec<String> = selection.modules.iter().map(|module| escape(module.spec.name.as_bytes())).collect();
    let has_modules = bundle.modules.is_some();
    vec![
        ("id", "id", json!(entry.map(|entry| &entry.id))),
        ("release", "release", json!(bundle.release)),
        ("arch", "architecture", json!(bundle.arch.name())),
        (
            "version",
            "version",
            json!(header.and_then(|header| header.kernel_version.as_ref()).map(|text| escape(text.as_bytes()))),
        ),
        ("origin", "origin", json!(bundle.origin)),
        ("verified", "verified", json!(if bundle.checked.is_empty() { "nothing" } else { &bundle.checked })),
        ("signature", "signature", json!(if bundle.signed.is_empty() { "not verified" } else { &bundle.signed })),
        ("format", "format", json!(bundle.image.format())),
        ("size", "size", json!(bundle.boot.size())),
        ("sha256", "sha256", json!(bundle.boot.sha256())),
        ("protocol", "boot protocol", json!(header.map(|h| format!("{}.{:02}", h.version >> 8, h.version & 0xff)))),
        ("compression", "compression", json!(bundle.image.packed.map(|_| bundle.image.payload.name()))),
        ("efi_stub", "EFI stub", json!(bundle.image.efi_stub)),
        ("relocatable", "relocatable", json!(header.map(|header| header.relocatable))),
        ("pref_address", "load address", json!(header.map(|header| format!("{:#x}", header.pref_address)))),
        ("init_size", "memory at start", json!(header.map(|header| header.init_size))),
        ("cmdline_size", "command line", json!(header.map(|header| header.cmdline_size))),
        ("config", "configuration", json!(bundle.config.as_ref().map(|config| &config.origin))),
        ("modules", "modules", json!(bundle.modules.as_ref().map(|tree| tree.len()))),
        ("initramfs_modules", "initramfs has", if has_modules { json!(taken) } else { json!(null) }),
        ("initramfs_bytes", "bytes of these", if has_modules { json!(selection.total()) } else { json!(null) }),
        (
            "absent",
            "has not",
            if has_modules && !selection.absent.is_empty() { json!(selection.absent) } else { json!(null) },
        ),
    ]
}

fn check(store: &Store, one: &One, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let (bundle, entry) = open(store, one)?;
    if let Some(entry) = &entry {
        entry.check()?;
    }
    let Firmware { bios, uefi } = match Architecture::try_from(bundle.arch) {
        Ok(arch) => Firmware::all(arch),
        // What a kernel lacks is known of more architectures than there are disks for.
        Err(_) if !requirements(bundle.arch).is_empty() => Firmware { bios: false, uefi: true },
        Err(no_machine) => return Err(no_machine.into()),
    };
    let disk = Disk { arch: bundle.arch, bios, uefi, initramfs: Packing::None, verity: false };
    let report = preflight(&bundle, &disk);
    let selection = modules::select(&bundle)?;
    if one.json {
        write!(out, "{}", escape::json(&report_json(&bundle, &report))?)?;
    } else {
        write_report(&bundle, &report, out)?;
        for warning in &selection.warnings {
            writeln!(out, "warn     {warning}")?;
        }
    }
    Ok(if report.with(Verdict::Fail).next().is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn report_json(bundle: &Bundle, report: &Report) -> serde_json::Value {
    let check = |check: &crate::kernel::preflight::Check| {
        json!({
            "option": check.option, "verdict": check.verdict.name(), "why": check.why, "detail": check.detail,
        })
    };
    let checks: Vec<_> = report.checks.iter().map(check).collect();
    json!({ "release": bundle.release, "arch": bundle.arch.name(), "buses": report.buses,
        "boots_on": places::of(bundle), "checks": checks })
}

/// What did not pass, with its reason; then the buses; then the verdict.
fn write_report(bundle: &Bundle, report: &Report, out: &mut dyn Write) -> io::Result<()> {
    for check in report.checks.iter().filter(|check| check.verdict != Verdict::Pass) {
        wrapped_at(out, 9, check.verdict.name(), &format!("{} {}", check.option, check.detail))?;
        if check.verdict != Verdict::Unknown && !check.option.starts_with("bus ") {
            wrapped_at(out, 9, "", &check.why)?;
        }
    }
    let count = |verdict| report.with(verdict).count();
    let buses = if report.buses.is_empty() { "none certain".to_owned() } else { report.buses.join(" ") };
    wrapped_at(out, 9, "buses", &buses)?;
    wrapped_at(out, 9, "boots on", &places::boots_on(bundle))?;
    let lacks = match (count(Verdict::Fail), count(Verdict::Unknown)) {
        (0, 0) => "boots a disk",
        (0, _) => "may boot a disk",
        _ => "does not boot a disk",
    };
    let verdict = match Architecture::try_from(bundle.arch) {
        Ok(_) => lacks.to_owned(),
        Err(_) => format!("{lacks}, and bootdisk makes no disks for {}", bundle.arch),
    };
    let counts = format!(
        "{} pass, {} warn, {} unknown, {} fail",
        count(Verdict::Pass),
        count(Verdict::Warn),
        count(Verdict::Unknown),
        count(Verdict::Fail)
    );
    wrapped_at(out, 9, "verdict", &format!("{} {verdict} ({counts})", escape(bundle.release.as_bytes())))
}

fn wrapped(out: &mut dyn Write, label: &str, text: &str) -> io::Result<()> {
    wrapped_at(out, 16, label, text)
}

/// A label and its text, the text broken between words to 80 columns. A word that is longer stays whole: cutting a
/// digest or a path would make it useless.
fn wrapped_at(out: &mut dyn Write, indent: usize, label: &str, text: &str) -> io::Result<()> {
    let (mut line, mut first) = (String::new(), true);
    for word in text.split(' ') {
        if !line.is_empty() && indent + line.chars().count() + 1 + word.chars().count() > 80 {
            writeln!(out, "{:<indent$}{line}", if first { label } else { "" })?;
            (line, first) = (String::new(), false);
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    writeln!(out, "{:<indent$}{line}", if first { label } else { "" })
}

fn shown(path: &Path) -> String {
    escape(path.as_os_str().as_encoded_bytes())
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}
