//! One kernel of the store: written once, then only read.
//!
//! Its identifier is the SHA-256 of a text that says what the kernel is and not where it came from:
//!
//! ```text
//! bootdisk kernel 1\nrelease R\narch A\nboot SHA\nconfig SHA|-\nbuiltin SHA\nmodinfo SHA\norder SHA\nmodule SHA PATH\n...
//! ```
//!
//! Small files (configuration, lists, what modules say) are verified by SHA-256 whenever an entry is opened; the boot file and modules by
//! checksums when they are read; [`Entry::check`] verifies the SHA-256 of everything against the identifier.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::pack::{self, AllFacts, INDEX, INFO, Pack, Packed, Writer};
use crate::arch::Arch;
use crate::formats::unpack;
use crate::inputs;
use crate::kernel::bootfile::sha256;
use crate::kernel::modules::ModuleTree;
use crate::kernel::modules::tree::{Builtin, Storage};
use crate::kernel::{BootFile, Bundle, Config, Given, KernelError, config, is_release, open};

/// The manifest's file.
const MANIFEST: &str = "manifest.json";
/// Version of the manifest this program writes.
const VERSION: u32 = 1;
/// Longest manifest and list read, in bytes.
const MAX_SMALL: u64 = 64 << 20;

/// `manifest.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Manifest {
    version: u32,
    release: String,
    arch: String,
    origin: String,
    #[serde(default)]
    checked: String,
    /// Empty when no keys were given; absent in entries of versions that took none.
    #[serde(default)]
    signed: String,
    boot: BootFacts,
    config: Option<ConfigFacts>,
    modules: Option<ModulesFacts>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct BootFacts {
    size: u64,
    sha256: String,
    crc32c: u32,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct ConfigFacts {
    origin: String,
    sha256: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct ModulesFacts {
    count: u64,
    index: String,
    /// Absent in entries of versions that read each module.
    #[serde(default)]
    info: Option<String>,
    builtin: String,
    modinfo: String,
    /// Absent in entries of versions that did not keep the list.
    #[serde(default)]
    order: Option<String>,
}

impl Manifest {
    fn text(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("strings and numbers are always JSON")
    }
}

/// An entry that was found: its manifest, read.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its identifier, 64 hexadecimal digits.
    pub id: String,
    /// `uname -r` of the kernel.
    pub release: String,
    /// What it runs on.
    pub arch: Arch,
    /// Where it came from when it was added.
    pub origin: String,
    dir: PathBuf,
    manifest: Manifest,
}

/// Writes the kernel into the empty directory `dir` and returns its identifier.
pub(super) fn write(dir: &Path, given: &Given<'_>, observe: &mut dyn FnMut(usize, u64)) -> Result<String, KernelError> {
    let mut writer = Writer::create(dir)?;
    let (mut count, mut total) = (0, 0);
    let mut add = |path: &str, bytes: &[u8]| {
        (count, total) = (count + 1, total + bytes.len() as u64);
        observe(count, total);
        writer.add(path, bytes)
    };
    // A package is read once: its modules go into the pack as they come by.
    let bundle = open::open(given, Some(&mut add))?;
    let streamed = given.modules.is_none() && bundle.modules.as_ref().is_some_and(ModuleTree::is_from_package);
    if let Some(tree) = bundle.modules.as_ref().filter(|_| !streamed) {
        tree.for_each(&mut add)?;
    }
    let (packed, facts) = writer.finish()?;

    let boot = bundle.boot.read()?;
    let mut manifest = Manifest {
        version: VERSION,
        release: bundle.release.clone(),
        arch: bundle.arch.name().to_owned(),
        origin: bundle.origin.clone(),
        checked: bundle.checked.clone(),
        signed: bundle.signed.clone(),
        boot: BootFacts { size: boot.len() as u64, sha256: sha256(&boot), crc32c: crc32c::crc32c(&boot) },
        config: None,
        modules: None,
    };
    write_file(dir, "boot", &boot)?;
    if let Some(config) = &bundle.config {
        let (origin, text) = (config.origin.clone(), config.text().as_bytes());
        manifest.config = Some(ConfigFacts { origin, sha256: write_file(dir, "config", text)? });
    }
    if let Some(tree) = &bundle.modules {
        manifest.modules = Some(ModulesFacts {
            count: packed.len() as u64,
            index: write_file(dir, INDEX, pack::index(&packed).as_bytes())?,
            info: Some(write_file(dir, INFO, &serde_json::to_vec(&facts).expect("text and numbers are always JSON"))?),
            builtin: write_file(dir, "modules.builtin", &tree.builtin().list)?,
            modinfo: write_file(dir, "modules.builtin.modinfo", &tree.builtin().modinfo)?,
            order: Some(write_file(dir, "modules.order", &tree.builtin().order)?),
        });
    }
    write_file(dir, MANIFEST, &manifest.text())?;
    Ok(identifier(&manifest, &packed))
}

/// Writes a file to the disk and returns its SHA-256.
fn write_file(dir: &Path, name: &str, bytes: &[u8]) -> Result<String, KernelError> {
    let path = dir.join(name);
    let write = || {
        let mut file = fs::File::create(&path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(KernelError::io("write", &path))?;
    Ok(sha256(bytes))
}

fn identifier(manifest: &Manifest, packed: &BTreeMap<String, Packed>) -> String {
    let config = manifest.config.as_ref().map_or("-", |config| &config.sha256);
    let mut text = format!(
        "bootdisk kernel {VERSION}\nrelease {}\narch {}\nboot {}\nconfig {config}\n",
        manifest.release, manifest.arch, manifest.boot.sha256
    );
    if let Some(modules) = &manifest.modules {
        text += &format!("builtin {}\nmodinfo {}\n", modules.builtin, modules.modinfo);
        text.extend(modules.order.iter().map(|order| format!("order {order}\n")));
        text.extend(packed.iter().map(|(path, module)| format!("module {} {path}\n", module.sha256)));
    }
    sha256(text.as_bytes())
}

impl Entry {
    /// Opens the entry `id` of the store in `store`: reads its manifest.
    pub(super) fn open(store: &Path, id: &str) -> Result<Entry, KernelError> {
        let dir = store.join(id);
        let damaged = |reason: &str| KernelError::Damaged { reason: reason.to_owned(), id: id.to_owned() };
        if !dir.is_dir() {
            return Err(KernelError::Unknown(id.to_owned()));
        }
        let text = small_file(&dir, MANIFEST).ok_or_else(|| damaged("it has no manifest"))?;
        let manifest: Manifest = serde_json::from_slice(&text).map_err(|_| damaged("its manifest is not one"))?;
        if manifest.version != VERSION {
            return Err(damaged("its manifest is of another version"));
        }
        let arch = Arch::from_name(&manifest.arch).ok_or_else(|| damaged("unknown architecture"))?;
        if !is_release(&manifest.release) {
            return Err(damaged("invalid release"));
        }
        let (release, origin) = (manifest.release.clone(), manifest.origin.clone());
        Ok(Entry { id: id.to_owned(), release, arch, origin, dir, manifest })
    }

    /// How many modules it has; `None` without a modules directory.
    pub fn modules(&self) -> Option<u64> {
        self.manifest.modules.as_ref().map(|modules| modules.count)
    }

    /// Which digests its packages carried and were right when it was added, in words; empty when none.
    pub fn checked(&self) -> &str {
        &self.manifest.checked
    }

    /// Who signed it when it was added, in words; empty when no keys were given.
    pub fn signed(&self) -> &str {
        &self.manifest.signed
    }

    /// Remembers who signed it, which digests were right and where it came from, as `other`, the same kernel, has it.
    pub(super) fn adopt_proof(&mut self, other: Entry) -> Result<(), KernelError> {
        let Manifest { origin, checked, signed, .. } = other.manifest;
        self.manifest = Manifest { origin, checked, signed, ..self.manifest.clone() };
        super::replace_file(&self.dir.join(MANIFEST), &self.manifest.text())
    }

    /// Bytes it takes in the store.
    pub fn size(&self) -> u64 {
        let files = fs::read_dir(&self.dir).into_iter().flatten().filter_map(Result::ok);
        files.filter_map(|file| file.metadata().ok()).map(|facts| facts.len()).sum()
    }

    /// The kernel. Its boot file and modules are read and verified when they are asked for.
    pub fn bundle(&self) -> Result<Bundle, KernelError> {
        let boot = BootFile::Stored {
            path: self.dir.join("boot"),
            size: self.manifest.boot.size,
            crc32c: self.manifest.boot.crc32c,
            sha256: self.manifest.boot.sha256.clone(),
            id: self.id.clone(),
        };
        let image = open::recognise(&boot, &self.dir.join("boot"))
            .map_err(|_| self.damaged("its boot file is not a kernel"))?;
        let config = match &self.manifest.config {
            Some(facts) => Some(Config::new(facts.origin.clone(), &self.verified("config", &facts.sha256)?)),
            None => None,
        };
        let modules = match &self.manifest.modules {
            Some(facts) => Some(self.open_modules(facts)?),
            None => None,
        };
        let origin = format!("store {} from {}", &self.id[..12], self.origin);
        let (checked, signed) = (self.manifest.checked.clone(), self.manifest.signed.clone());
        let release = self.release.clone();
        Ok(Bundle { boot, image, release, arch: self.arch, config, modules, origin, checked, signed })
    }

    fn open_modules(&self, facts: &ModulesFacts) -> Result<ModuleTree, KernelError> {
        let builtin = Builtin {
            list: self.verified("modules.builtin", &facts.builtin)?,
            modinfo: self.verified("modules.builtin.modinfo", &facts.modinfo)?,
            order: facts.order.as_ref().map_or(Ok(Vec::new()), |order| self.verified("modules.order", order))?,
        };
        let index =
            String::from_utf8(self.verified(INDEX, &facts.index)?).map_err(|_| self.damaged("its list is no text"))?;
        let known = match &facts.info {
            Some(sha256) => serde_json::from_slice(&self.verified(INFO, sha256)?)
                .map_err(|_| self.damaged("what is known of its modules is not that"))?,
            None => AllFacts::new(),
        };
        let pack = Pack::open(&self.dir, &self.id, &index, known)?;
        let paths = pack.modules().keys().cloned().collect();
        Ok(ModuleTree::new(paths, builtin, Storage::Pack(pack)))
    }

    /// Reads everything and compares it with the identifier.
    pub fn check(&self) -> Result<(), KernelError> {
        let bundle = self.bundle()?;
        if sha256(&bundle.boot.read()?) != self.manifest.boot.sha256 {
            return Err(self.damaged("its boot file has changed"));
        }
        let none = BTreeMap::new();
        let packed = bundle.modules.as_ref().and_then(ModuleTree::pack);
        for (path, module) in packed.map_or(&none, Pack::modules) {
            let bytes = packed.map(|pack| pack.read(path)).transpose()?.unwrap_or_default();
            if sha256(&bytes) != module.sha256 || packed.is_some_and(|pack| !pack.knows(path, &bytes)) {
                return Err(self.damaged(&format!("module {path} has changed")));
            }
        }
        if identifier(&self.manifest, packed.map_or(&none, Pack::modules)) != self.id {
            return Err(self.damaged("it does not match its identifier"));
        }
        Ok(())
    }

    fn verified(&self, name: &str, expected: &str) -> Result<Vec<u8>, KernelError> {
        let bytes = small_file(&self.dir, name).filter(|bytes| sha256(bytes) == expected);
        bytes.ok_or_else(|| self.damaged(&format!("{name} has changed")))
    }

    fn damaged(&self, reason: &str) -> KernelError {
        KernelError::Damaged { reason: crate::escape::escape(reason.as_bytes()), id: self.id.clone() }
    }
}

fn small_file(dir: &Path, name: &str) -> Option<Vec<u8>> {
    let file = inputs::open(&dir.join(name)).ok()?;
    unpack::read_bounded(file, MAX_SMALL.max(config::MAX)).ok()?
}
