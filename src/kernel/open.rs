//! How a bundle is put together from files: a boot file alone, a package, a directory.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::bootfile;
use super::error::shown;
use super::image::{self, Image};
use super::modules::tree::{Builtin, Sink, Storage, bounded, keep, module_name};
use super::modules::{ModuleTree, wanted};
use super::{BootFile, Bundle, Config, KernelError, bzimage, config, ikconfig, is_release, package, unpack};

/// Where modules directories are, in a package or below a root directory.
const MODULE_ROOTS: [&str; 2] = ["lib/modules/", "usr/lib/modules/"];

/// See [`Bundle::open`]. When `path` is a package, every module also goes to `sink` as it comes by.
pub(super) fn open(path: &Path, modules: Option<&Path>, sink: Option<&mut Sink<'_>>) -> Result<Bundle, KernelError> {
    let facts = fs::metadata(path).map_err(KernelError::io("open", path))?;
    let mut bundle = if facts.is_dir() {
        open_directory(path)?
    } else if package::is_package(&first_bytes(path, 8)?) {
        open_package(path, sink)?
    } else {
        open_boot_file(path)?
    };
    bundle.replace_modules(modules)?;
    Ok(bundle)
}

fn first_bytes(path: &Path, length: u64) -> Result<Vec<u8>, KernelError> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(KernelError::io("open", path))?;
    file.take(length).read_to_end(&mut bytes).map_err(KernelError::io("read", path))?;
    Ok(bytes)
}

fn read_file(path: &Path, limit: u64, what: &'static str) -> Result<Vec<u8>, KernelError> {
    let file = File::open(path).map_err(KernelError::io("open", path))?;
    let bytes = unpack::read_bounded(file, limit).map_err(KernelError::io("read", path))?;
    bytes.ok_or_else(|| KernelError::TooLarge { what, limit, name: shown(path) })
}

/// A configuration in a file of its own.
pub(super) fn read_config(path: &Path) -> Result<Config, KernelError> {
    Ok(Config::new(shown(path), &read_file(path, config::MAX, "configuration")?))
}

/// What is put together: a bundle without modules.
fn assemble(boot: Vec<u8>, config: Option<Config>, path: &Path) -> Result<Bundle, KernelError> {
    let boot = BootFile::Memory(boot);
    let image = recognise(&boot, path)?;
    let BootFile::Memory(bytes) = &boot else { unreachable!("made two lines above") };
    let banner = || image::banner_release(bytes).unwrap_or_else(|| "unknown".to_owned());
    let release = image.release.clone().unwrap_or_else(banner);
    let inside = || {
        let text = ikconfig::find(bytes, image.bzimage.as_ref()?)?;
        Some(Config::new("IKCONFIG in the kernel", &text))
    };
    let config = config.or_else(inside);
    Ok(Bundle { arch: image.arch, image, release, config, modules: None, origin: shown(path), boot })
}

/// What a boot file is, from its first bytes.
pub(super) fn recognise(boot: &BootFile, path: &Path) -> Result<Image, KernelError> {
    let prefix = boot.prefix(bzimage::SETUP_MAX)?;
    let payload_start = |at| boot.range(at, 16).unwrap_or_default();
    image::recognise(&prefix, boot.size(), payload_start).map_err(|no| KernelError::NotAKernel {
        found: no.found,
        hint: no.hint,
        path: path.to_owned(),
    })
}

fn open_boot_file(path: &Path) -> Result<Bundle, KernelError> {
    // Looked at before it is read: what is no kernel may be as large as a disk.
    let length = fs::metadata(path).map_err(KernelError::io("read", path))?.len();
    let prefix = first_bytes(path, bzimage::SETUP_MAX as u64)?;
    image::recognise(&prefix, length, |_| Vec::new()).map_err(|no| KernelError::NotAKernel {
        found: no.found,
        hint: no.hint,
        path: path.to_owned(),
    })?;
    let boot = read_file(path, bootfile::MAX, "kernel")?;
    let config = config_beside(path, &boot)?;
    assemble(boot, config, path)
}

/// `config-RELEASE` beside the boot file, or for `vmlinuz-X` also `config-X`.
fn config_beside(path: &Path, boot: &[u8]) -> Result<Option<Config>, KernelError> {
    let Some(dir) = path.parent() else { return Ok(None) };
    let prefix = &boot[..boot.len().min(bzimage::SETUP_MAX)];
    let release = bzimage::parse(prefix, boot.len() as u64).ok().map(|facts| facts.release().to_owned());
    let suffix = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.split_once('-'));
    for name in release.iter().map(String::as_str).chain(suffix.map(|(_, suffix)| suffix)) {
        let candidate = dir.join(format!("config-{name}"));
        if candidate.is_file() {
            return Ok(Some(read_config(&candidate)?));
        }
    }
    Ok(None)
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
    let mut bundle = open_boot_file(kernel)?;
    if bundle.config.is_none() && dir.join("config").is_file() {
        bundle.config = Some(read_config(&dir.join("config"))?);
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
        let named = ["vmlinuz", "bzImage", "Image"]
            .iter()
            .any(|stem| name.strip_prefix(stem).is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '.'])));
        if named && entry.path().is_file() {
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

/// What a package holds, as far as it was read.
#[derive(Default)]
struct Parts {
    kernels: Vec<(String, Vec<u8>)>,
    configs: BTreeMap<String, Vec<u8>>,
    /// Prefix of the modules directory within the package, with a slash at its end.
    modules: Option<String>,
    builtin: Builtin,
    paths: Vec<String>,
    kept: BTreeMap<String, Vec<u8>>,
    kept_bytes: u64,
}

fn open_package(path: &Path, mut sink: Option<&mut Sink<'_>>) -> Result<Bundle, KernelError> {
    let mut parts = Parts::default();
    let control = package::scan(path, &mut |entry, body| parts.take(path, entry, body, &mut sink))?;
    let (name, boot) = match parts.kernels.len() {
        1 => parts.kernels.remove(0),
        0 => {
            let real = control.real_kernel().map(str::to_owned);
            return Err(match real {
                Some(_) => KernelError::Metapackage { package: control.package, real, path: path.to_owned() },
                None => KernelError::package(path, format!("it holds no kernel, it is {}", word(&control.package))),
            });
        }
        _ => {
            let names: Vec<String> = parts.kernels.iter().map(|(name, _)| word(name)).collect();
            return Err(KernelError::SeveralKernels { names: names.join(", "), path: path.to_owned() });
        }
    };
    let suffix = name.rsplit('/').next().and_then(|file| file.split_once('-')).map(|(_, suffix)| suffix);
    let config_name = match suffix {
        Some(suffix) => format!("boot/config-{suffix}"),
        None => name.replace("vmlinuz", "config"),
    };
    let config = parts.configs.get(&config_name).map(|text| Config::new(word(&config_name), text));
    let mut bundle = assemble(boot, config, path)?;
    bundle.origin = format!("{} {} ({})", word(&control.package), word(&control.version), shown(path));
    if let Some(prefix) = parts.modules {
        let release = prefix.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        if release != bundle.release {
            return Err(KernelError::OtherRelease { modules: release.to_owned(), kernel: bundle.release });
        }
        let storage = Storage::Package { file: path.to_owned(), prefix, kept: parts.kept };
        bundle.modules = Some(ModuleTree::new(parts.paths, parts.builtin, storage));
    }
    Ok(bundle)
}

impl Parts {
    /// Looks at one file of the package and keeps what a boot may need of it.
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
        let file = in_modules.map_or(entry.path.strip_prefix("boot/"), |(_, file)| Some(file)).unwrap_or_default();
        if file.starts_with("vmlinuz") && !file.contains('/') {
            // Two are an error already: a third adds nothing but memory.
            if self.kernels.len() < 2 {
                self.kernels.push((entry.path.clone(), limited(body, bootfile::MAX, "kernel")?));
            }
            return Ok(());
        }
        if (file == "config" || file.starts_with("config-")) && self.configs.len() < 8 {
            self.configs.insert(entry.path.clone(), limited(body, config::MAX, "configuration")?);
            return Ok(());
        }
        let Some((prefix, file)) = in_modules else { return Ok(()) };
        if *self.modules.get_or_insert_with(|| prefix.to_owned()) != prefix {
            return Err(KernelError::package(
                package,
                format!("it has modules of several kernels, also {}", word(prefix)),
            ));
        }
        if self.builtin.take(file, &mut *body).map_err(bad)? {
            return Ok(());
        }
        let Some(name) = module_name(file) else { return Ok(()) };
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

/// Splits `lib/modules/RELEASE/FILE` into the prefix up to and with the slash before FILE, and FILE.
fn module_file(path: &str) -> Option<(&str, &str)> {
    let root = MODULE_ROOTS.iter().find(|root| path.starts_with(**root))?;
    let (release, file) = path[root.len()..].split_once('/')?;
    is_release(release).then_some((&path[..path.len() - file.len()], file))
}

fn word(text: &str) -> String {
    crate::escape::escape(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::module_file;

    #[test]
    fn module_paths_are_split_behind_the_release() {
        assert_eq!(module_file("lib/modules/6.1/kernel/x.ko"), Some(("lib/modules/6.1/", "kernel/x.ko")));
        assert_eq!(module_file("usr/lib/modules/6.1/vmlinuz"), Some(("usr/lib/modules/6.1/", "vmlinuz")));
        assert_eq!(module_file("lib/modules/x"), None);
        assert_eq!(module_file("boot/vmlinuz"), None);
    }
}
