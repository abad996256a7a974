//! `inspect --against`: is a disk what a statement says, or what a list of components says?

use super::records;
use super::stdio;
use crate::contents::body::Looker;
use crate::contents::installed::{Installed, installed};
use crate::contents::of_disk;
use crate::escape;
use crate::ext4::read::FileSystem;
use crate::formats::gpt;
use crate::forms::{self, Source};
use crate::inputs;
use crate::provenance::{self, Comparison, Difference};
use crate::recognise::{self, Refusal, Wanted};
use crate::sbom;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::path::Path;

/// Name of the document's schema, `docs/against.schema.json`.
const SCHEMA: &str = "org.bootdisk.inspect.against";
/// Its version.
const VERSION: u32 = 1;
/// Most packages that are told one by one.
const LISTED: usize = 100;

/// Compares; prints what was found, as JSON if asked to. Whether all is equal.
///
/// # Errors
/// When either side cannot be read.
pub fn run(disk: &OsStr, file: &Path, as_json: bool) -> Result<bool> {
    let shown = escape::path(Path::new(disk));
    let text = records::read(file, provenance::MAX_STATEMENT.max(sbom::MAX_DOCUMENT))?;
    let place = || format!("cannot compare with {}", escape::path(file));
    let found = match sbom::is_document(&text) {
        true => {
            let listed = sbom::read(&text).with_context(place)?;
            let installed = on_disk(&*open(disk)?).with_context(|| format!("cannot inspect {shown}"))?;
            let found = sbom::compare(&listed, &installed);
            of_packages(found)
        }
        false => {
            let claims = provenance::read(&text).with_context(place)?;
            let disk = open(disk)?;
            provenance::compare(&*disk, &claims).with_context(|| format!("cannot inspect {shown}"))?
        }
    };
    let text = match as_json {
        true => escape::json(&document(&found, &shown, file))?,
        false => render(&found, &shown, file),
    };
    stdio::data(text.as_bytes())?;
    Ok(found.equal)
}

/// A disk in any form.
fn open(disk: &OsStr) -> Result<Box<dyn Source>> {
    let path = Path::new(disk);
    let context = || format!("cannot inspect {}", escape::path(path));
    let kind = recognise::path(path).with_context(context)?;
    let is_disk = matches!(kind, recognise::Kind::Disk(_)) || kind.form().is_some();
    if !is_disk {
        return Err(Refusal::new(kind, Wanted::Disk, Some(path)).into());
    }
    forms::open(inputs::open(path).with_context(context)?).with_context(context)
}

/// What is installed in the first file system of a disk that says what it has.
fn on_disk(disk: &dyn Source) -> Result<Installed> {
    let table = gpt::read(disk, disk.size()).ok().context("the disk has no whole partition table (GPT)")?;
    let mut best = Installed::default();
    for partition in table.partitions() {
        let Some((offset, _)) = partition.bytes(table.sector) else { continue };
        let Ok(system) = FileSystem::open(&disk, offset) else { continue };
        let read = of_disk::read(&system, &mut Looker::for_packages())?;
        let found = installed(&read.tree, &|body, _| body.content.as_ref()?.text.clone());
        if found.packages.len() > best.packages.len() {
            best = found;
        }
    }
    Ok(best)
}

fn of_packages(found: sbom::Listed) -> Comparison {
    let sides = |urls: Vec<String>, is_missing: bool| {
        let more = urls.len().saturating_sub(LISTED);
        let one = move |url: String| {
            let (expected, found) = if is_missing { (Some(url), None) } else { (None, Some(url)) };
            Difference { what: "package".into(), expected, found }
        };
        let rest = (more > 0).then(|| Difference { what: format!("and {more} more"), expected: None, found: None });
        urls.into_iter().take(LISTED).map(one).chain(rest)
    };
    Comparison {
        equal: found.missing.is_empty() && found.more.is_empty(),
        same: vec![format!("{} packages", found.same)],
        differences: sides(found.missing, true).chain(sides(found.more, false)).collect(),
        only_grown: false,
    }
}

fn document(found: &Comparison, disk: &str, file: &Path) -> Value {
    let difference = |one: &Difference| json!({ "what": one.what, "expected": one.expected, "found": one.found });
    json!({
        "schema": SCHEMA,
        "version": VERSION,
        "disk": disk,
        "against": escape::path(file),
        "equal": found.equal,
        "only_grown": found.only_grown,
        "differences": found.differences.iter().map(difference).collect::<Vec<_>>(),
        "same": found.same,
    })
}

fn render(found: &Comparison, disk: &str, file: &Path) -> String {
    let file = escape::path(file);
    if found.equal {
        return format!("equal: {disk} is what {file} says\n");
    }
    let mut text = format!("different: {disk} is not what {file} says\n");
    for Difference { what, expected, found } in &found.differences {
        _ = match (expected, found) {
            (Some(expected), Some(found)) => {
                writeln!(text, "  {what}\n    expected  {expected}\n    found     {found}")
            }
            (Some(expected), None) => writeln!(text, "  {what}\n    expected  {expected}, and it is not there"),
            (None, Some(found)) => writeln!(text, "  {what}\n    found     {found}, and none was expected"),
            (None, None) => writeln!(text, "  {what}"),
        };
    }
    if !found.same.is_empty() {
        _ = writeln!(text, "as it was: {}", found.same.join(", "));
    }
    if found.only_grown {
        text.push_str("The disk has only grown: what was built is there, unchanged.\n");
    }
    text
}
