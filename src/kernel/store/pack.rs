//! The modules of a stored kernel: one file of zstd frames, and a list of what is in it.
//!
//! ```text
//! modules.pack    frame ─ frame ─ frame ─ ...              (zstd with content checksum, one a module)
//! modules.index   "SHA-256 OFFSET LENGTH PATH\n" ...       (sorted by path; SHA-256 of the unpacked module)
//! modules.info    {"PATH": {"size": ..., "info": ...}, ...} (what modules say that an initramfs may need)
//! ```
//!
//! The whole modules directory is kept, not only what an initramfs takes today. A module is read alone: opening a
//! stored kernel reads the lists and no module, and what they say decides which an initramfs has. The checksum of a frame
//! is verified with each read; the SHA-256, which is part of the kernel's identity, when the store is checked.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::inputs;
use crate::kernel::KernelError;
use crate::kernel::bootfile::sha256;
use crate::kernel::modinfo::{self, Modinfo};
use crate::kernel::modules::place::{MAX_MODULE, module_name};
use crate::kernel::modules::wanted;
use serde::{Deserialize, Serialize};

/// Name of the file with the frames.
pub const PACK: &str = "modules.pack";
/// Name of the list.
pub const INDEX: &str = "modules.index";
/// Name of the file with what modules say.
pub const INFO: &str = "modules.info";
/// Fast rather than small: adding a kernel waits for it.
const LEVEL: i32 = 1;

/// One module of a pack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// SHA-256 of the module as it was added, in hexadecimal.
    pub sha256: String,
    /// Where its frame begins, in bytes.
    pub offset: u64,
    /// Length of its frame, in bytes.
    pub length: u64,
}

/// What is known of a module without reading it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Bytes of it, unpacked.
    pub size: u64,
    /// What it says about itself.
    pub info: Modinfo,
}

impl Facts {
    /// Of a module with these bytes; `None` for one of a kind that no initramfs has, or that is packed or damaged.
    fn of(path: &str, bytes: &[u8]) -> Option<Facts> {
        let name = module_name(path).filter(|_| path.ends_with(".ko"))?;
        let info = modinfo::parse(bytes).ok().filter(|_| wanted::is_likely(&name))?;
        Some(Facts { size: bytes.len() as u64, info })
    }
}

/// The facts of modules by their paths.
pub(crate) type AllFacts = BTreeMap<String, Facts>;

/// A pack that was opened.
#[derive(Debug)]
pub struct Pack {
    file: PathBuf,
    id: String,
    modules: BTreeMap<String, Packed>,
    facts: AllFacts,
    /// Opened for the first module and kept: a build reads some fifty.
    reader: Mutex<Option<Reader>>,
}

/// The file, and what unpacks its frames.
struct Reader {
    file: File,
    length: u64,
    decompressor: zstd::bulk::Decompressor<'static>,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("file", &self.file).field("length", &self.length).finish_non_exhaustive()
    }
}

impl Reader {
    fn open(path: &Path) -> io::Result<Reader> {
        let file = inputs::open(path)?;
        let length = file.metadata()?.len();
        Ok(Reader { file, length, decompressor: zstd::bulk::Decompressor::new()? })
    }
}

impl Pack {
    /// A pack in `dir`, with the text of its list and what is known of some of its modules.
    pub(crate) fn open(dir: &Path, id: &str, index: &str, facts: AllFacts) -> Result<Pack, KernelError> {
        let modules = index.lines().map(parse_line).collect::<Option<_>>();
        let reason = || KernelError::Damaged { reason: "its list of modules is not one".into(), id: id.to_owned() };
        let modules = modules.ok_or_else(reason)?;
        Ok(Pack { file: dir.join(PACK), id: id.to_owned(), modules, facts, reader: Mutex::default() })
    }

    /// The modules by path below the modules directory.
    pub fn modules(&self) -> &BTreeMap<String, Packed> {
        &self.modules
    }

    /// What is known of the module at `path`, if anything is.
    pub(crate) fn facts(&self, path: &str) -> Option<&Facts> {
        self.facts.get(path)
    }

    /// Whether what is known of the module at `path`, which has these bytes, is right.
    pub(crate) fn knows(&self, path: &str, bytes: &[u8]) -> bool {
        self.facts(path).is_none_or(|facts| Some(facts) == Facts::of(path, bytes).as_ref())
    }

    /// A module as it was added.
    pub(crate) fn read(&self, path: &str) -> Result<Vec<u8>, KernelError> {
        let damaged = |reason: String| KernelError::Damaged { reason, id: self.id.clone() };
        let shown = crate::escape::escape(path.as_bytes());
        let changed = |_| damaged(format!("module {shown} has changed"));
        let module = self.modules.get(path).ok_or_else(|| damaged(format!("module {shown} is gone")))?;
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let reader = match &mut *reader {
            Some(reader) => reader,
            none => none.insert(Reader::open(&self.file).map_err(KernelError::io("open", &self.file))?),
        };
        if module.offset.checked_add(module.length).is_none_or(|end| end > reader.length) {
            return Err(damaged(format!("module {shown} is cut short")));
        }
        let mut frame = vec![0; module.length as usize];
        reader.file.read_exact_at(&mut frame, module.offset).map_err(changed)?;
        // Each frame says how long its content is, so that one buffer of that length takes it.
        let size = zstd::zstd_safe::get_frame_content_size(&frame).ok().flatten().filter(|size| *size <= MAX_MODULE);
        let size = size.ok_or_else(|| damaged(format!("module {shown} has changed")))?;
        reader.decompressor.decompress(&frame, size as usize).map_err(changed)
    }
}

fn parse_line(line: &str) -> Option<(String, Packed)> {
    let mut fields = line.splitn(4, ' ');
    let (sha256, offset, length) =
        (fields.next()?.to_owned(), fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((fields.next()?.to_owned(), Packed { sha256, offset, length }))
}

/// A pack that is being written.
pub(crate) struct Writer {
    output: BufWriter<File>,
    path: PathBuf,
    compressor: zstd::bulk::Compressor<'static>,
    offset: u64,
    modules: BTreeMap<String, Packed>,
    facts: AllFacts,
}

impl Writer {
    pub(crate) fn create(dir: &Path) -> Result<Writer, KernelError> {
        let path = dir.join(PACK);
        let make = || -> io::Result<_> {
            let mut compressor = zstd::bulk::Compressor::new(LEVEL)?;
            compressor.include_checksum(true)?;
            Ok((BufWriter::new(File::create(&path)?), compressor))
        };
        let (output, compressor) = make().map_err(KernelError::io("write", &path))?;
        Ok(Writer { output, path, compressor, offset: 0, modules: BTreeMap::new(), facts: AllFacts::new() })
    }

    pub(crate) fn add(&mut self, path: &str, bytes: &[u8]) -> Result<(), KernelError> {
        if path.contains('\n') || self.modules.contains_key(path) {
            let reason = "its path stands twice or has a line break".to_owned();
            return Err(KernelError::Module { reason, path: path.to_owned() });
        }
        let mut write = || {
            let frame = self.compressor.compress(bytes)?;
            self.output.write_all(&frame)?;
            Ok(frame.len() as u64)
        };
        let length = write().map_err(KernelError::io("write", &self.path))?;
        self.modules.insert(path.to_owned(), Packed { sha256: sha256(bytes), offset: self.offset, length });
        self.facts.extend(Facts::of(path, bytes).map(|facts| (path.to_owned(), facts)));
        self.offset += length;
        Ok(())
    }

    /// What was written and what is known of it, once everything is on disk.
    pub(crate) fn finish(mut self) -> Result<(BTreeMap<String, Packed>, AllFacts), KernelError> {
        let mut end = || self.output.flush().and_then(|()| self.output.get_ref().sync_all());
        end().map_err(KernelError::io("write", &self.path))?;
        Ok((self.modules, self.facts))
    }
}

/// The list of a pack as text.
pub(crate) fn index(modules: &BTreeMap<String, Packed>) -> String {
    modules.iter().map(|(path, m)| format!("{} {} {} {path}\n", m.sha256, m.offset, m.length)).collect()
}
