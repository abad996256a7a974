//! A disk in the form that was asked for, beside its place until it is whole.

use super::{Event, Observer, Writing};
use crate::forms::{self, Counted, Form, Source};
use crate::output::scratch_dir;
use crate::publish::PartialFile;
use anyhow::{Context, Result, ensure};
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Mutex, PoisonError};
use std::thread::{Builder, scope};
use std::time::Duration;

/// Between two words about how far it is.
const TICK: Duration = Duration::from_millis(100);

/// Writes `source` in the form of `writing`. Nothing has the name `path` yet.
///
/// # Errors
/// When it cannot be read or written, or reads back as another disk where that is looked at.
pub fn write_form(source: &dyn Source, path: &Path, writing: &Writing, observe: Observer<'_>) -> Result<PartialFile> {
    let file = PartialFile::create(path, 0)?;
    let bytes = data_of(source)?;
    let write = |source: &dyn Source| forms::write(writing.form, source, &file, writing.threads);
    let length = measured(source, Event::Disk { what: "writing the disk", bytes }, observe, write)?;
    file.set_size(length)?;
    if writing.verify {
        let written = file.file().try_clone().context("cannot open the disk again")?;
        let compare = |source: &dyn Source| {
            forms::open(written).map_err(Into::into).and_then(|written| forms::is_same(source, &*written))
        };
        let same = measured(source, Event::Disk { what: "reading the disk back", bytes }, observe, compare);
        ensure!(same.context("the disk differs from what was written")?, "the disk differs from what was written");
    }
    Ok(file)
}

/// A raw copy of a disk in a form, read through that: it goes with its last handle.
///
/// # Errors
/// When it cannot be read, or there is no room for the copy.
pub fn raw_copy(disk: &File) -> Result<File> {
    let copy = tempfile::tempfile_in(scratch_dir()).context("cannot make a temporary file")?;
    let source = forms::open(disk.try_clone().context("cannot open the disk again")?)?;
    copy.set_len(forms::write(Form::Raw, &*source, &copy, 1)?)?;
    Ok(copy)
}

/// Does `work` on a thread of its own, and tells how many of the bytes that are no holes it has read.
///
/// # Panics
/// When `work` does.
pub fn measured<T: Send>(
    source: &dyn Source,
    begin: Event<'_>,
    observe: Observer<'_>,
    work: impl FnOnce(&dyn Source) -> T + Send,
) -> T {
    observe(begin);
    let counted = Counted::of(source);
    let work = Mutex::new(Some(work));
    let run = || work.lock().unwrap_or_else(PoisonError::into_inner).take().map(|work| work(&counted));
    let (done, over) = channel::<()>();
    let worker = || {
        // However it ends, this ends with it.
        let _done = done;
        run()
    };
    let result = scope(|scope| {
        let Ok(thread) = Builder::new().name("form".into()).spawn_scoped(scope, worker) else { return run() };
        while over.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
            observe(Event::Read { bytes: counted.bytes() });
        }
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    result.expect("it is taken once")
}

/// Bytes of a disk that are in no hole.
pub fn data_of(source: &dyn Source) -> io::Result<u64> {
    let (mut bytes, mut at) = (0, 0);
    while let Some(range) = source.data(at)? {
        bytes += range.end - range.start;
        at = range.end;
    }
    Ok(bytes)
}
