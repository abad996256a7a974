//! How a bundle is put together from files: a boot file alone, packages, a container image, a directory.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::bootfile;
use super::error::shown;
use super::image::{self, Format as Form, Image};
use super::modules::module_name;
use super::modules::place::{MODULE_ROOTS, module_file};
use super::modules::tree::{Builtin, Sink, Storage, bounded, keep};
use super::modules::{ModuleTree, wanted};
use super::package::{self, Facts, Source, Unpacked, is_reference};
use super::{BootFile, Bundle, Config, Input, KernelError, Keys, config, ikconfig};
use super::{release, unified};
use crate::formats::{bzimage, pe, unpack};
use crate::recognise::{self, Kind, Names, Refusal, Wanted};

/// What is given for one kernel.
#[derive(Clone, Copy, Debug, Default)]
pub struct Given<'a> {
    /// A boot file, a package, a container image or a directory that holds a kernel, told apart by content; or several
    /// that belong together: packages of which one has the kernel and others its modules, or a boot file with the
    /// directory of its modules and its configuration.
    pub files: &'a [PathBuf],
    /// `lib/modules/RELEASE`, or a directory with that or with `RELEASE` in it, instead of what the files bring.
    pub modules: Option<&'a Path>,
    /// The configuration, instead of what the files bring.
    pub config: Option<&'a Path>,
    /// Keys of which one must have signed each of the files, modules and configuration included.
    pub keys: Option<&'a Keys>,
}

impl Bundle {
    /// Opens a boot file, a package, a container image or a directory that holds a kernel, told apart by content. `modules` is
    /// `lib/modules/RELEASE`, or a directory with that or with `RELEASE` in it, and replaces what `path` brings.
    ///
    /// # Errors
    /// What is no kernel is called by its name; see [`KernelError::hint`] for the remedy.
    pub fn open(path: &Path, modules: Option<&Path>) -> Result<Bundle, KernelError> {
        Bundle::of(&Given { files: &[path.to_owned()], modules, ..Given::default() })
    }

    /// Puts together what was given.
    ///
    /// # Errors
    /// As [`Bundle::open`]; modules of another release than the kernel's are refused, and with keys what is not signed.
    pub fn of(given: &Given<'_>) -> Result<Bundle, KernelError> {
        open(given, None)
    }

    /// The kernel that the layers of an image bring, called `name` in errors. Of several: the one of `release`, or the
    /// one that `/vmlinuz` leads to, or the newest.
    ///
    /// # Errors
    /// When there is none, or none of `release`.
    pub fn of_image(image: &crate::image::Image, release: Option<&str>, name: &str) -> Result<Bundle, KernelError> {
        let path = PathBuf::from(name);
        let unpacked = Unpacked::of(image, &path)?.choose(release, &path)?;
        open_sources(vec![Source::Image(Arc::new(unpacked), path)], Parts::default(), None)
    }

    /// The files of the kernel that this machine runs.
    ///
    /// # Errors
    /// When the boot file is not where distributions put it.
    pub fn host_files() -> Result<Vec<PathBuf>, KernelError> {
        let names =
            nix::sys::utsname::uname().map_err(|errno| KernelError::io("read", "/proc/version")(errno.into()))?;
        host_files(Path::new("/"), &names.release().to_string_lossy())
    }

    /// Takes the modules in `dir` (as in [`Bundle::open`]) instead of its own; `None` changes nothing.
    pub fn replace_modules(&mut self, dir: Option<&Path>) -> Result<(), KernelError> {
        if let Some(dir) = dir {
            self.modules = Some(open_modules(dir, &self.release)?);
        }
        Ok(())
    }
}

/// Something that is given for a kernel.
enum Piece {
    Folder(PathBuf),
    /// An image that is named by its transport.
    Reference(PathBuf),
    File(Input),
}

impl Piece {
    fn open(path: &Path) -> Result<Piece, KernelError> {
        match path.metadata() {
            Ok(facts) if facts.is_dir() => Ok(Piece::Folder(path.to_owned())),
            Err(_) if is_reference(path.as_os_str()) => Ok(Piece::Reference(path.to_owned())),
            _ => Input::open(path).map(Piece::File),
        }
    }

    /// What was verified, by keys of which `signers` collects the owners.
    fn verified(self, keys: &Keys, signers: &mut Vec<String>) -> Result<Piece, KernelError> {
        match self {
            Piece::File(input) => vouched(&input, keys, signers).map(Piece::File),
            // Nobody can have signed a folder.
            Piece::Folder(path) | Piece::Reference(path) => Err(KernelError::Unsigned(path)),
        }
    }

    /// What is read through for its files, if it is that.
    fn source(&self) -> Result<Option<Source>, KernelError> {
        match self {
            Piece::Reference(path) => Source::image_at(path).map(Some),
            Piece::Folder(path) if path.join("oci-layout").is_file() => Source::image_at(path).map(Some),
            Piece::Folder(_) => Ok(None),
            Piece::File(input) => Source::of(input),
        }
    }

    fn path(&self) -> &Path {
        match self {
            Piece::Folder(path) | Piece::Reference(path) => path,
            Piece::File(input) => input.path(),
        }
    }
}

/// A copy of a file that one of the keys has signed.
fn vouched(input: &Input, keys: &Keys, signers: &mut Vec<String>) -> Result<Input, KernelError> {
    let copy = input.copied()?;
    let signer = keys.signer(&copy)?;
    if !signers.contains(&signer) {
        signers.push(signer);
    }
    Ok(copy)
}

/// See [`Bundle::of`]. Modules of packages also go to `sink`, each as it comes by, unless others are given.
pub(super) fn open(given: &Given<'_>, sink: Option<&mut Sink<'_>>) -> Result<Bundle, KernelError> {
    // Nothing is read from what nobody vouches for.
    let keys = given.keys.filter(|keys| !keys.is_empty());
    let (mut signers, mut pieces) = (Vec::new(), Vec::new());
    for path in given.files {
        refuse_at_once(path, given.files.len() > 1)?;
        let piece = Piece::open(path)?;
        pieces.push(match keys {
            Some(keys) => piece.verified(keys, &mut signers)?,
            None => piece,
        });
    }
    if let (Some(_), Some(modules)) = (keys, given.modules) {
        return Err(KernelError::Unsigned(modules.to_owned()));
    }
    let sink = sink.filter(|_| given.modules.is_none());
    let mut bundle = match pieces.as_slice() {
        [piece] => open_one(piece, keys, sink)?,
        several => open_together(several, sink)?,
    };
    bundle.replace_modules(given.modules)?;
    if let Some(path) = given.config {
        let config = Input::open(path)?;
        bundle.config = Some(match keys {
            Some(keys) => read_config(&vouched(&config, keys, &mut signers)?)?,
            None => read_config(&config)?,
        });
    }
    bundle.signed = signers.join(", ");
    Ok(bundle)
}

fn open_one(piece: &Piece, keys: Option<&Keys>, sink: Option<&mut Sink<'_>>) -> Result<Bundle, KernelError> {
    if let Some(source) = piece.source()? {
        return open_sources(vec![source], Parts::default(), sink);
    }
    match piece {
        Piece::File(input) => open_boot_file(input, keys),
        Piece::Folder(path) | Piece::Reference(path) => open_directory(path),
    }
}

/// What no kernel can be in is called by what it is; the rest is looked at closely. References have no file, and among
/// several files may be a configuration.
fn refuse_at_once(path: &Path, several: bool) -> Result<(), KernelError> {
    let kind = match recognise::path(path) {
        Ok(kind) => kind,
        Err(_) if is_reference(path.as_os_str()) => return Ok(()),
        Err(error) => return Err(KernelError::io("open", path)(error)),
    };
    let may_be = match &kind {
        Kind::Tar(names) | Kind::Folder(names) => !matches!(names, Names::SkopeoDir),
        Kind::Packed(_, inner) => {
            matches!(inner.as_deref(), None | Some(Kind::Tar(_) | Kind::Kernel(_) | Kind::Elf(_)))
        }
        Kind::Kernel(_) | Kind::UnifiedKernel | Kind::Elf(_) | Kind::Unknown => true,
        Kind::Package(package) => *package != "an apk version 3",
        Kind::Text(_) => several,
        _ => false,
    };
    match may_be {
        true => Ok(()),
        false => {
            let refusal = Refusal::new(kind, Wanted::Kernel, Some(path));
            let (found, hint) = (refusal.kind().words(), refusal.hint());
            Err(KernelError::NotAKernel { found, hint, path: path.to_owned() })
        }
    }
}

/// Packages that were split, or a boot file with its modules and configuration: told apart by content.
fn open_together(pieces: &[Piece], sink: Option<&mut Sink<'_>>) -> Result<Bundle, KernelError> {
    let (mut sources, mut parts) = (Vec::new(), Parts::default());
    let (mut modules, mut config) = (None, None);
    for piece in pieces {
        match (piece.source()?, piece) {
            (Some(source), _) => sources.push(source),
            (None, Piece::File(input)) if input.start(2)?.starts_with(b"#") => config = Some(read_config(input)?),
            (None, Piece::File(input)) => parts.kernels.push((shown(input.path()), read_boot_file(input)?)),
            (None, folder) => modules = Some(folder.path()),
        }
    }
    let mut bundle = open_sources(sources, parts, sink.filter(|_| modules.is_none()))?;
    bundle.config = config.or(bundle.config);
    bundle.replace_modules(modules)?;
    bundle.origin = pieces.iter().map(|piece| shown(piece.path())).collect::<Vec<_>>().join(", ");
    Ok(bundle)
}

/// The kernel of the machine this runs on, below `root`: boot file, modules, configuration, as far as they are there.
pub(super) fn host_files(root: &Path, release: &str) -> Result<Vec<PathBuf>, KernelError> {
    let boot = root.join("boot");
    let modules = MODULE_ROOTS.iter().map(|place| root.join(place).join(release)).find(|dir| is_modules(dir));
    let inside = modules.as_ref().map(|dir| dir.join("vmlinuz"));
    let kernel =
        [Some(boot.join(format!("vmlinuz-{release}"))), inside].into_iter().flatten().find(|file| file.is_file());
    let kernel = kernel.ok_or_else(|| KernelError::NoHostKernel { release: release.to_owned(), path: boot.clone() })?;
    let config =
        [boot.join(format!("config-{release}")), root.join("proc/config.gz")].into_iter().find(|file| file.is_file());
    let mut files = vec![kernel];
    files.extend(config);
    files.extend(modules);
    Ok(files)
}

/// A configuration in a file of its own.
fn read_config(input: &Input) -> Result<Config, KernelError> {
    let path = input.path();
    let packed = input.whole(config::MAX, "configuration")?;
    let text = unpack::reader(packed.as_slice()).and_then(|reader| unpack::read_bounded(reader, config::MAX));
    let text = text.map_err(KernelError::io("read", path))?;
    let too_large = || KernelError::TooLarge { what: "configuration", limit: config::MAX, name: shown(path) };
    Ok(Config::new(shown(path), &text.ok_or_else(too_large)?))
}

/// What is put together: a bundle without modules.
fn assemble(bytes: Vec<u8>, config: Option<Config>, path: &Path) -> Result<Bundle, KernelError> {
    let image = recognise_bytes(&bytes, path)?;
    let release = image.release.clone().or_else(|| ikconfig::release(&bytes, &image));
    if release.is_none() && image.form == Form::Vmlinux {
        let found = format!("an ELF file for {}, but not a Linux kernel", image.arch);
        let hint = Some("give the bzImage or vmlinux of a kernel's build, or its package".into());
        return Err(KernelError::NotAKernel { found, hint, path: path.to_owned() });
    }
    let inside = || Some(Config::new("IKCONFIG in the kernel", &ikconfig::find(&bytes, &image)?));
    let config = config.or_else(inside);
    Ok(Bundle {
        arch: image.arch,
        release: release.unwrap_or_else(|| "unknown".to_owned()),
        image,
        config,
        modules: None,
        origin: shown(path),
        checked: String::new(),
        signed: String::new(),
        boot: BootFile::Memory(bytes),
    })
}

fn recognise_bytes(bytes: &[u8], path: &Path) -> Result<Image, KernelError> {
    let prefix = &bytes[..bytes.len().min(bzimage::SETUP_MAX)];
    let from = |at: u64| bytes.iter().skip(at as usize).take(16).copied().collect();
    image::recognise(prefix, bytes.len() as u64, from).map_err(|no| refused(no, path))
}

fn refused(no: image::NotAKernel, path: &Path) -> KernelError {
    KernelError::NotAKernel { hint: no.hint(path), found: no.found, path: path.to_owned() }
}

/// What a boot file is, from its first bytes.
pub(super) fn recognise(boot: &BootFile, path: &Path) -> Result<Image, KernelError> {
    let prefix = boot.prefix(bzimage::SETUP_MAX)?;
    let payload_start = |at| boot.range(at, 16).unwrap_or_default();
    image::recognise(&prefix, boot.size(), payload_start).map_err(|no| refused(no, path))
}

/// A boot file, with the configuration beside it. With keys that must be signed as the file is, or it is not read.
fn open_boot_file(input: &Input, keys: Option<&Keys>) -> Result<Bundle, KernelError> {
    let boot = read_boot_file(input)?;
    let beside = config_beside(input.path(), &boot).map(|path| Input::open(&path)).transpose()?;
    let believed = match (beside, keys) {
        (Some(config), Some(keys)) => vouched(&config, keys, &mut Vec::new()).ok(),
        (beside, _) => beside,
    };
    assemble(boot, believed.map(|config| read_config(&config)).transpose()?, input.path())
}

fn read_boot_file(input: &Input) -> Result<Vec<u8>, KernelError> {
    let path = input.path();
    // Looked at before it is read: what is no kernel may be as large as a disk.
    let prefix = input.start(bzimage::SETUP_MAX as u64)?;
    match image::recognise(&prefix, input.size()?, |_| Vec::new()) {
        Ok(_) => input.whole(bootfile::MAX, "kernel"),
        Err(no) if pe::place(&prefix, unified::LINUX).is_some() => {
            unified::kernel(input)?.ok_or_else(|| refused(no, path))
        }
        // A packed `Image` or vmlinux; for anything else the first words were the right ones.
        Err(no) if is_packed_kernel(&prefix) => unpack_boot_file(input)?.ok_or_else(|| refused(no, path)),
        Err(no) => Err(refused(no, path)),
    }
}

/// Whether compressed bytes begin with a kernel.
fn is_packed_kernel(prefix: &[u8]) -> bool {
    let mut start = Vec::new();
    // What a prefix unpacks to is all there is before the error that it ends early.
    _ = unpack::reader(prefix).map(|reader| reader.take(bzimage::SETUP_MAX as u64).read_to_end(&mut start));
    start != prefix && image::recognise(&start, u64::MAX, |_| Vec::new()).is_ok()
}

fn unpack_boot_file(input: &Input) -> Result<Option<Vec<u8>>, KernelError> {
    let bytes = unpack::reader(input.reader()).and_then(|reader| unpack::read_bounded(reader, bootfile::MAX));
    bytes.map_err(KernelError::io("read", input.path()))
}

/// `config-RELEASE` beside the boot file, or for `vmlinuz-X` also `config-X`.
fn config_beside(path: &Path, boot: &[u8]) -> Option<PathBuf> {
    let dir = path.parent()?;
    let prefix = &boot[..boot.len().min(bzimage::SETUP_MAX)];
    let release = image::bzimage_header(prefix, boot.len() as u64).ok().map(|(_, release)| release);
    let suffix = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.split_once('-'));
    let names = release.iter().map(String::as_str).chain(suffix.map(|(_, suffix)| suffix));
    names.map(|name| dir.join(format!("config-{name}"))).find(|candidate| candidate.is_file())
}

fn open_directory(dir: &Path) -> Result<Bundle, KernelError> {
    let mut kernels = BTreeMap::new();
    for place in [dir.to_owned(), dir.join("boot")] {
        kernels_in(&place, &mut kernels)?;
    }
    let kernels: Vec<PathBuf> = kernels.into_values().collect();
    let [kernel] = kernels.as_slice() else {
        return Err(match kernels.as_slice() {
            [] => KernelError::NoKernel(dir.to_owned()),
            several => {
                let names: Vec<String> =
                    several.iter().map(|path| shown(path.strip_prefix(dir).unwrap_or(path))).collect();
                KernelError::SeveralKernels { names: names.join(", "), path: dir.to_owned() }
            }
        });
    };
    let mut bundle = open_boot_file(&Input::open(kernel)?, None)?;
    if bundle.config.is_none() && dir.join("config").is_file() {
        bundle.config = Some(read_config(&Input::open(&dir.join("config"))?)?);
    }
    bundle.modules = match find_modules(dir, &bundle.release) {
        Some(modules) => Some(ModuleTree::open_directory(&modules)?),
        None => None,
    };
    Ok(bundle)
}

/// Files of a directory that are named as kernels are, by what they are links to: two names of one file count once.
fn kernels_in(dir: &Path, found: &mut BTreeMap<PathBuf, PathBuf>) -> Result<(), KernelError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(KernelError::io("read", dir)(error)),
    };
    for entry in entries {
        let entry = entry.map_err(KernelError::io("read", dir))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if release::is_kernel(&name) && entry.path().is_file() {
            let real = entry.path().canonicalize().map_err(KernelError::io("read", entry.path()))?;
            // Of a file and links to it the file's own name is the one to show.
            let place = found.entry(real.clone()).or_insert_with(|| entry.path());
            if entry.path() == real {
                *place = real;
            }
        }
    }
    Ok(())
}

/// The modules directory of `release` in `dir`, if there is one.
fn find_modules(dir: &Path, release: &str) -> Option<PathBuf> {
    let below = MODULE_ROOTS.iter().map(|root| dir.join(root).join(release));
    let places =
        below.chain([dir.join("modules").join(release), dir.join(release), dir.join("modules"), dir.to_owned()]);
    places.into_iter().find(|place| is_modules(place))
}

/// Whether a directory looks like `/lib/modules/RELEASE`.
fn is_modules(dir: &Path) -> bool {
    let has_modules = || {
        let names = fs::read_dir(dir).ok()?.filter_map(Result::ok).map(|entry| entry.file_name());
        Some(names.into_iter().any(|name| name.to_str().and_then(module_name).is_some()))
    };
    dir.join("modules.builtin").is_file() || dir.join("kernel").is_dir() || has_modules().unwrap_or(false)
}

/// The modules of `release` in `dir`.
pub(super) fn open_modules(dir: &Path, release: &str) -> Result<ModuleTree, KernelError> {
    fs::read_dir(dir).map_err(KernelError::io("read", dir))?;
    let place = find_modules(dir, release)
        .ok_or_else(|| KernelError::NoModules { release: release.to_owned(), path: dir.to_owned() })?;
    ModuleTree::open_directory(&place)
}

/// What packages hold, as far as they were read.
#[derive(Default)]
pub(super) struct Parts {
    kernels: Vec<(String, Vec<u8>)>,
    configs: BTreeMap<String, Vec<u8>>,
    /// The release that the modules' directory is named after.
    modules: Option<String>,
    builtin: Builtin,
    paths: Vec<String>,
    kept: BTreeMap<String, Vec<u8>>,
    kept_bytes: u64,
}

/// Reads packages and images that belong together through, once.
pub(super) fn open_sources(
    mut sources: Vec<Source>,
    mut parts: Parts,
    mut sink: Option<&mut Sink<'_>>,
) -> Result<Bundle, KernelError> {
    let mut all = Vec::new();
    for source in &mut sources {
        let path = source.path().to_owned();
        let mut facts = source.scan(&mut |entry, body| parts.take(&path, entry, body, &mut sink))?;
        if let (true, Source::File(input)) = (facts.is_image, &*source) {
            *source = Source::image_in(input)?;
            facts = source.scan(&mut |entry, body| parts.take(&path, entry, body, &mut sink))?;
        }
        all.push(facts);
    }
    let path = sources.first().map(|source| source.path().to_owned()).unwrap_or_default();
    let (name, boot) = one_kernel(&mut parts, &all, &path)?;
    let mut bundle = assemble(boot, None, &path)?;
    bundle.config = config_of(&parts, &name, &bundle.release).or(bundle.config);
    let named = |facts: &&Facts| !facts.package.is_empty();
    let words = all.iter().filter(named).map(|facts| format!("{} {}", word(&facts.package), word(&facts.version)));
    let words = words.collect::<Vec<_>>().join(", ");
    if !words.is_empty() {
        bundle.origin = format!("{words} ({})", shown(&path));
    }
    let mut checked: Vec<&str> = all.iter().map(|facts| facts.checked).filter(|text| !text.is_empty()).collect();
    checked.dedup();
    if all.iter().all(|facts| !facts.checked.is_empty()) {
        bundle.checked = checked.join(", ");
    }
    if let Some(release) = parts.modules {
        if release != bundle.release {
            return Err(KernelError::OtherRelease { modules: release, kernel: bundle.release });
        }
        let storage = Storage::Package { sources, release, kept: parts.kept };
        bundle.modules = Some(ModuleTree::new(parts.paths, parts.builtin, storage));
    }
    Ok(bundle)
}

fn one_kernel(parts: &mut Parts, all: &[Facts], path: &Path) -> Result<(String, Vec<u8>), KernelError> {
    match parts.kernels.len() {
        1 => Ok(parts.kernels.remove(0)),
        0 => Err(match all.iter().find_map(|facts| Some((facts, facts.real_kernel()?))) {
            Some((facts, real)) => KernelError::Metapackage {
                package: facts.package.clone(),
                real: Some(real.to_owned()),
                path: path.to_owned(),
            },
            None => {
                let names = all.iter().map(|facts| facts.package.as_str()).filter(|name| !name.is_empty());
                let names: Vec<String> = names.map(word).collect();
                let what = if names.is_empty() { String::new() } else { format!(", it is {}", names.join(", ")) };
                KernelError::package(path, format!("it holds no kernel{what}"))
            }
        }),
        _ => {
            let names: Vec<String> = parts.kernels.iter().map(|(name, _)| word(name)).collect();
            Err(KernelError::SeveralKernels { names: names.join(", "), path: path.to_owned() })
        }
    }
}

/// The configuration that lies beside a kernel: under its release, under its own name's end, or in its directory.
fn config_of(parts: &Parts, kernel: &str, release: &str) -> Option<Config> {
    let (dir, file) = kernel.rsplit_once('/').unwrap_or(("", kernel));
    let suffix = file.split_once('-').map_or("", |(_, suffix)| suffix);
    let names = [format!("config-{release}"), format!("config-{suffix}"), "config".to_owned()];
    let below = |name: &String| [format!("{dir}/{name}"), format!("boot/{name}"), name.clone()];
    let name = names.iter().flat_map(below).find(|name| parts.configs.contains_key(name))?;
    Some(Config::new(word(&name), &parts.configs[&name]))
}

impl Parts {
    /// Looks at one file of a package and keeps what a boot may need of it.
    fn take(
        &mut self,
        package: &Path,
        entry: &package::tar::Entry,
        body: &mut dyn Read,
        sink: &mut Option<&mut Sink<'_>>,
    ) -> Result<(), KernelError> {
        let bad = |error: std::io::Error| KernelError::package(package, format!("{error}, in {}", word(&entry.path)));
        let limited = |body: &mut dyn Read, limit, what| {
            let bytes = unpack::read_bounded(body, limit).map_err(bad)?;
            bytes.ok_or_else(|| KernelError::TooLarge { what, limit, name: entry.path.clone() })
        };
        let in_modules = module_file(&entry.path);
        // In /boot, in the modules directory, or at the top of an archive.
        let file = in_modules.map_or(entry.path.strip_prefix("boot/").unwrap_or(&entry.path), |(_, file)| file);
        if release::is_kernel(file) {
            // Two are an error already: a third adds nothing but memory.
            if self.kernels.len() < 2 {
                let bytes = limited(body, bootfile::MAX, "kernel")?;
                let bytes = unified::kernel_in(&bytes).map_err(bad)?.unwrap_or(bytes);
                // Fedora has its kernel in two places.
                if self.kernels.iter().all(|(_, other)| *other != bytes) {
                    self.kernels.push((entry.path.clone(), bytes));
                }
            }
            return Ok(());
        }
        if (file == "config" || file.starts_with("config-")) && self.configs.len() < 8 && !file.contains('/') {
            self.configs.insert(entry.path.clone(), limited(body, config::MAX, "configuration")?);
            return Ok(());
        }
        let Some((release, file)) = in_modules else { return Ok(()) };
        if self.modules.as_ref().is_some_and(|other| other != release) && module_name(file).is_some() {
            return Err(KernelError::package(
                package,
                format!("it has modules of several kernels, also {}", word(release)),
            ));
        }
        if self.builtin.take(file, &mut *body).map_err(bad)? {
            self.modules.get_or_insert_with(|| release.to_owned());
            return Ok(());
        }
        let Some(name) = module_name(file) else { return Ok(()) };
        self.modules.get_or_insert_with(|| release.to_owned());
        let likely = wanted::is_likely(&name);
        if likely || sink.is_some() {
            let bytes = bounded(file, body)?;
            if let Some(sink) = sink {
                sink(file, &bytes)?;
            }
            if likely {
                keep(&mut self.kept_bytes, file, &bytes)?;
                self.kept.insert(file.to_owned(), bytes);
            }
        }
        self.paths.push(file.to_owned());
        Ok(())
    }
}

fn word(text: &str) -> String {
    crate::escape::escape(text.as_bytes())
}
