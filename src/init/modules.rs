//! Kernel modules of the initramfs: those of every boot, and those whose alias matches a device in /sys.
//!
//! A module that is missing or that the kernel refuses is a warning: the machine may do without it, and if it does
//! not, whatever is missed next says so. `modprobe.d`, options and blacklists are not supported.

use super::log;
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
    module.aliases.iter().any(|pattern| matches(pattern.as_bytes(), alias.as_bytes()))
}

/// The `modalias` of every device on every bus.
fn device_aliases() -> BTreeSet<String> {
    let mut aliases = BTreeSet::new();
    for bus in entries(Path::new("/sys/bus")) {
        for device in entries(&bus.join("devices")) {
            if let Ok(alias) = fs::read_to_string(device.join("modalias")) {
                aliases.insert(alias.trim_end().to_owned());
            }
        }
    }
    aliases.remove("");
    aliases
}

fn entries(folder: &Path) -> impl Iterator<Item = std::path::PathBuf> + use<> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}

/// Whether `text` matches a pattern of `modules.alias`: `*`, `?` and `[...]` as fnmatch(3) has them.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    // The classic two-pointer walk: on a mismatch, the last `*` swallows one byte more. Linear in practice, and never
    // exponential.
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p + 1, t));
            p += 1;
            continue;
        }
        if t == text.len() && p == pattern.len() {
            return true;
        }
        match text.get(t).and_then(|byte| one(&pattern[p..], *byte)) {
            Some(used) => {
                p += used;
                t += 1;
            }
            None => match star {
                Some((after, from)) if from < text.len() => {
                    star = Some((after, from + 1));
                    (p, t) = (after, from + 1);
                }
                _ => return false,
            },
        }
    }
}

/// How many bytes of the pattern match this one byte, if they do.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match *pattern.first()? {
        b'?' => Some(1),
        b'[' => class(pattern, byte),
        b'\\' if pattern.len() > 1 => (pattern[1] == byte).then_some(2),
        literal => (literal == byte).then_some(1),
    }
}

/// `[a-f0-9]` or `[!x]`. An unclosed bracket is a literal one.
fn class(pattern: &[u8], byte: u8) -> Option<usize> {
    let negated = matches!(pattern.get(1), Some(b'!' | b'^'));
    let first = if negated { 2 } else { 1 };
    // A `]` straight after the opening is a member.
    let Some(length) = pattern.get(first + 1..)?.iter().position(|b| *b == b']') else {
        return (byte == b'[').then_some(1);
    };
    let close = first + 1 + length;
    let members = &pattern[first..close];
    let mut at = 0;
    let mut found = false;
    while at < members.len() {
        if at + 2 < members.len() && members[at + 1] == b'-' {
            found |= (members[at]..=members[at + 2]).contains(&byte);
            at += 3;
        } else {
            found |= members[at] == byte;
            at += 1;
        }
    }
    (found != negated).then_some(close + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn glob(pattern: &str, text: &str) -> bool {
        matches(pattern.as_bytes(), text.as_bytes())
    }

    #[test]
    fn patterns_of_real_modules_match_their_devices() {
        assert!(glob("virtio:d00000002v*", "virtio:d00000002v00001AF4"));
        assert!(!glob("virtio:d00000001v*", "virtio:d00000002v00001AF4"));
        assert!(glob("pci:v00001AF4d*sv*sd*bc*sc*i*", "pci:v00001AF4d00001001sv00001AF4sd00000002bc01sc00i00"));
        assert!(glob("pci:v*d*sv*sd*bc01sc08i02*", "pci:v00001B36d00000010sv00001AF4sd00001100bc01sc08i02"));
        assert!(glob("acpi*:PNP0C0C:*", "acpi:PNP0C0C:"));
    }

    #[test]
    fn the_pattern_language_is_that_of_fnmatch() {
        assert!(glob("a[0-9]?c*", "a7xc"));
        assert!(!glob("a[0-9]c", "axc"));
        assert!(glob("a[!0-9]c", "axc"));
        assert!(glob("a[]]c", "a]c"));
        assert!(glob("[x", "[x"));
        assert!(glob("*", ""));
        assert!(!glob("?", ""));
        assert!(!glob("", "a"));
    }

    #[test]
    fn many_stars_do_not_take_for_ever() {
        let pattern = "*a".repeat(200);
        assert!(!glob(&pattern, &"a".repeat(199)));
        assert!(!glob(&format!("{pattern}b"), &"a".repeat(4000)));
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
