//! A disk in the form that was asked for, beside its place until it is whole.

use super::{Event, Observer, Writing};
use crate::forms::{self, Source};
use crate::publish::PartialFile;
use anyhow::{Context, Result, ensure};
use std::path::Path;

/// Writes `source` in the form of `writing`. Nothing has the name `path` yet.
///
/// # Errors
/// When it cannot be read or written, or reads back as another disk where that is looked at.
pub fn write_form(source: &dyn Source, path: &Path, writing: &Writing, observe: Observer<'_>) -> Result<PartialFile> {
    observe(Event::Step("writing the disk in its form"));
    let file = PartialFile::create(path, 0)?;
    let length = forms::write(writing.form, source, &file, writing.threads)?;
    file.set_size(length)?;
    if writing.verify {
        observe(Event::Step("reading the disk back through its form"));
        let written = file.file().try_clone().context("cannot open the disk again")?;
        let same = forms::open(written).map_err(Into::into).and_then(|written| forms::is_same(source, &*written));
        ensure!(same.context("the disk differs from what was written")?, "the disk differs from what was written");
    }
    Ok(file)
}
