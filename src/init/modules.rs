//! Kernel modules of the initramfs: those of every boot, and those whose alias matches a device in /sys.
//!
//! A module that is missing or that the kernel refuses is a warning: the machine may do without it, and if it does
//! not, whatever is missed next says so. `modprobe.d`, options and blacklists are not supported.

use super::log;
use crate::fnmatch;
use crate::guest::spec::Module;
use nix::kmod::{ModuleInitFlags, finit_module};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;

/// What has been loaded, or tried, so far.
pub struct Loader<'a> {
    modules: &'a [Module],
    tried: BTreeSet<&'a str>,
}

impl<'a> Loader<'a> {
    /// Nothing loaded yet.
    pub fn new(modules: &'a [Module]) -> Self {
        Loader { modules, tried: BTreeSet::new() }
    }

    /// Loads the modules of every boot.
    pub fn load_always(&mut self) {
        for module in self.modules.iter().filter(|module| module.always) {
            self.load(module);
        }
    }

    /// Loads a module that no device asks for, at the moment it is needed.
    pub fn load_named(&mut self, name: &str) {
        if let Some(module) = self.modules.iter().find(|module| module.name == name) {
            self.load(module);
        }
    }

    /// Loads what matches the devices of this machine, until a pass over /sys finds nothing new: a bus driver brings
    /// devices that want drivers of their own.
    pub fn load_for_devices(&mut self) {
        loop {
            let before = self.tried.len();
            for alias in device_aliases() {
                let modules = self.modules;
                for module in modules.iter().filter(|module| wants(module, &alias)) {
                    self.load(module);
                }
            }
            if self.tried.len() == before {
                return;
            }
        }
    }

    /// Loads one module after those it depends on. Each is tried once, which also ends cycles.
    fn load(&mut self, module: &'a Module) {
        if !self.tried.insert(&module.name) {
            return;
        }
        for name in &module.depends {
            match self.modules.iter().find(|other| other.name == *name) {
                Some(other) => self.load(other),
                // Built into the kernel, or left out when the disk was made; the kernel knows better than we do.
                None => continue,
            }
        }
        if let Err(reason) = insert(module) {
            log::warning(format!("cannot load kernel module {}: {reason}", module.name));
        }
    }
}

fn insert(module: &Module) -> Result<(), String> {
    insert_file(Path::new(&module.file))
}

/// Gives a module's file to the kernel.
pub fn insert_file(path: &Path) -> Result<(), String> {
    let file = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
    match finit_module(&file, c"", ModuleInitFlags::empty()) {
        // Already there: built in, or loaded by the kernel itself.
        Ok(()) | Err(nix::errno::Errno::EEXIST) => Ok(()),
        Err(errno) => Err(errno.desc().to_owned()),
    }
}

fn wants(module: &Module, alias: &str) -> bool {
    module.aliases.iter().any(|pattern| fnmatch::matches(pattern.as_bytes(), alias.as_bytes()))
}

/// The alias of every device on every bus.
fn device_aliases() -> BTreeSet<String> {
    let buses = entries(Path::new("/sys/bus"));
    let aliases = buses.flat_map(|bus| entries(&bus.join("devices"))).filter_map(|device| alias_of(&device));
    aliases.filter(|alias| !alias.is_empty()).collect()
}

/// What a device asks for, by its folder: the file `modalias`, or, as cards of the mmc bus have it, that line of `uevent`.
fn alias_of(device: &Path) -> Option<String> {
    if let Ok(alias) = fs::read_to_string(device.join("modalias")) {
        return Some(alias.trim_end().to_owned());
    }
    let uevent = fs::read_to_string(device.join("uevent")).ok()?;
    uevent.lines().find_map(|line| line.strip_prefix("MODALIAS=")).map(str::to_owned)
}

fn entries(folder: &Path) -> impl Iterator<Item = std::path::PathBuf> + use<> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_tells_its_alias_in_a_file_of_its_own_or_among_what_udev_is_told() {
        let device = tempfile::tempdir().unwrap();
        let path = |name: &str| device.path().join(name);
        assert_eq!(alias_of(device.path()), None);
        fs::write(path("uevent"), "DRIVER=mmcblk\nMMC_TYPE=SD\nMODALIAS=mmc:block\n").unwrap();
        assert_eq!(alias_of(device.path()).unwrap(), "mmc:block");
        fs::write(path("modalias"), "pci:v00008086d00001000\n").unwrap();
        assert_eq!(alias_of(device.path()).unwrap(), "pci:v00008086d00001000");
    }

    #[test]
    fn dependencies_that_form_a_ring_end() {
        let module = |name: &str, depends: &str| Module {
            name: name.into(),
            file: "/nowhere".into(),
            depends: vec![depends.into()],
            aliases: vec![],
            always: true,
        };
        let modules = [module("a", "b"), module("b", "a")];
        let mut loader = Loader::new(&modules);
        loader.load_always();
        assert_eq!(loader.tried.len(), 2);
    }
}
