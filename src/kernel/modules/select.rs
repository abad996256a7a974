//! The modules of an initramfs: what is wanted and all that it depends on, each after what it needs.
//!
//! A dependency is a name in `depends` or `softdep pre` of a module's `.modinfo`. A soft dependency may also be an
//! alias (`crypto-crc32c`); it is looked up among the modules that are taken anyway and the built-in ones, which is
//! where those of the wanted modules are. Optional: a soft dependency that nothing provides is left out.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::ModuleTree;
use super::tree::unpacked_path;
use super::wanted::{Drivers, Policy, wanted_on};
use crate::guest::spec;
use crate::kernel::bootfile::sha256;
use crate::kernel::modinfo::{self, Modinfo, normal_name};
use crate::kernel::{Bundle, KernelError};

/// A module that goes into the initramfs.
#[derive(Clone, Debug)]
pub struct Selected {
    /// As the boot specification lists it. `file` is its path in the initramfs.
    pub spec: spec::Module,
    /// Bytes of it, uncompressed.
    pub size: u64,
    /// SHA-256 of these, in hexadecimal: the module's share in a disk's identity. Known at once for a stored one.
    pub sha256: String,
    /// Where the tree has it.
    path: String,
    /// What was read; `None` of a stored one that the store knows enough of.
    bytes: Option<Vec<u8>>,
}

/// What [`select`] chose.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// In loading order.
    pub modules: Vec<Selected>,
    /// Wanted modules that this kernel has neither as modules nor built in.
    pub absent: Vec<&'static str>,
    /// What is odd: a module that a taken one needs and that is nowhere.
    pub warnings: Vec<String>,
}

impl Selection {
    /// Bytes of all modules.
    pub fn total(&self) -> u64 {
        self.modules.iter().map(|module| module.size).sum()
    }

    /// The bytes of each, uncompressed, out of the bundle that it was chosen from.
    pub fn read(&self, bundle: &Bundle) -> Result<Vec<Cow<'_, [u8]>>, KernelError> {
        let left: Vec<&str> =
            self.modules.iter().filter(|module| module.bytes.is_none()).map(|module| &*module.path).collect();
        let mut read = bundle.modules.as_ref().map_or(Ok(Vec::new()), |tree| tree.read(&left))?.into_iter();
        let all = self.modules.iter().map(|module| match &module.bytes {
            Some(bytes) => Cow::Borrowed(&bytes[..]),
            None => Cow::Owned(read.next().unwrap_or_default()),
        });
        Ok(all.collect())
    }

    /// The list for the boot specification.
    pub fn specs(&self) -> Vec<spec::Module> {
        self.modules.iter().map(|module| module.spec.clone()).collect()
    }
}

/// A module that may be taken.
struct Read {
    path: String,
    info: Modinfo,
    size: u64,
    bytes: Option<Vec<u8>>,
}

/// Chooses the modules of `bundle` that an initramfs needs. A bundle without modules gives an empty selection.
pub fn select(bundle: &Bundle) -> Result<Selection, KernelError> {
    select_for(bundle, Drivers::Vm, false)
}

/// The same for a disk that is for these machines, with or without a verified root.
pub fn select_for(bundle: &Bundle, drivers: Drivers, verity: bool) -> Result<Selection, KernelError> {
    let Some(tree) = &bundle.modules else { return Ok(Selection::default()) };
    let builtin = tree.builtin_names();
    let mut selection = Selection::default();
    let mut roots = Vec::new();
    for wanted in wanted_on(bundle.arch, drivers, verity) {
        if tree.path(wanted.name).is_some() {
            roots.push(wanted.name);
        } else if !builtin.contains(wanted.name)
            && wanted_on(bundle.arch, Drivers::Vm, false).any(|usual| usual == wanted)
        {
            selection.absent.push(wanted.name);
        }
    }
    let mut read = closure(tree, &bundle.release, &roots)?;
    let resolver = Resolver::new(&read, builtin);
    let mut taken = BTreeSet::new();
    for name in order(&roots, &read, &resolver) {
        let Some(Read { path, info, size, bytes }) = read.remove(&name) else { continue };
        for lost in resolver.lost(&info) {
            let text = format!("module {name} needs {lost}, which is not among this kernel's modules");
            selection.warnings.push(crate::escape::escape(text.as_bytes()));
        }
        let mut depends = resolver.before(&name, &info);
        // Where a cycle was cut, the first of it is loaded without the last.
        depends.retain(|name| taken.contains(name));
        let always = wanted_on(bundle.arch, drivers, verity)
            .any(|wanted| wanted.name == name && wanted.policy == Policy::Always);
        let file = format!("/lib/modules/{}/{}", bundle.release, unpacked_path(&path));
        taken.insert(name.clone());
        let spec = spec::Module { name, file, depends, aliases: info.aliases, always };
        let stored = tree.stored_sha256(&path).map(str::to_owned);
        let sha256 = stored.unwrap_or_else(|| sha256(bytes.as_deref().unwrap_or_default()));
        selection.modules.push(Selected { spec, size, sha256, path, bytes });
    }
    Ok(selection)
}

/// Finds out about `roots` and, round by round, what they depend on. Read is what the store does not know.
fn closure(tree: &ModuleTree, release: &str, roots: &[&str]) -> Result<BTreeMap<String, Read>, KernelError> {
    let mut read = BTreeMap::new();
    let mut next: BTreeSet<String> = roots.iter().map(|&name| name.to_owned()).collect();
    while !next.is_empty() {
        let paths: Vec<(&String, &str)> = next.iter().filter_map(|name| Some((name, tree.path(name)?))).collect();
        let unknown: Vec<&str> =
            paths.iter().map(|(_, path)| *path).filter(|path| tree.stored_facts(path).is_none()).collect();
        let mut bytes = tree.read(&unknown)?.into_iter();
        let mut found = BTreeSet::new();
        for (name, path) in paths {
            let bad =
                |reason: modinfo::Invalid| KernelError::Module { reason: reason.to_string(), path: path.to_string() };
            let (info, size, bytes) = match tree.stored_facts(path) {
                Some(facts) => (facts.info.clone(), facts.size, None),
                None => {
                    let bytes = bytes.next().unwrap_or_default();
                    (modinfo::parse(&bytes).map_err(bad)?, bytes.len() as u64, Some(bytes))
                }
            };
            if let Some(modules) = info.release.as_ref().filter(|other| *other != release) {
                return Err(KernelError::OtherRelease { modules: modules.clone(), kernel: release.to_owned() });
            }
            found.extend(info.depends.iter().chain(&info.softdep_pre).cloned());
            read.insert(name.clone(), Read { path: path.to_string(), info, size, bytes });
        }
        next = found.into_iter().filter(|name| !read.contains_key(name) && tree.path(name).is_some()).collect();
    }
    Ok(read)
}

/// Turns the names in dependencies into names of modules that are taken.
struct Resolver<'a> {
    read: BTreeSet<String>,
    aliases: BTreeMap<String, Vec<String>>,
    builtin: &'a BTreeSet<String>,
}

impl<'a> Resolver<'a> {
    fn new(read: &BTreeMap<String, Read>, builtin: &'a BTreeSet<String>) -> Resolver<'a> {
        let mut aliases = BTreeMap::<String, Vec<String>>::new();
        for (name, module) in read {
            // Device patterns are for PID 1; only plain names can be a soft dependency.
            for alias in module.info.aliases.iter().filter(|alias| !alias.contains(['*', '?', '['])) {
                aliases.entry(normal_name(alias)).or_default().push(name.clone());
            }
        }
        Resolver { read: read.keys().cloned().collect(), aliases, builtin }
    }

    /// Names in `depends` that are nowhere.
    fn lost<'i>(&self, info: &'i Modinfo) -> impl Iterator<Item = &'i String> {
        info.depends.iter().filter(|name| !self.read.contains(*name) && !self.builtin.contains(*name))
    }

    /// Names of the taken modules that must be loaded before the module `of`.
    fn before(&self, of: &str, info: &Modinfo) -> Vec<String> {
        let hard = info.depends.iter().filter(|name| self.read.contains(*name));
        let soft = info.softdep_pre.iter().filter_map(|name| self.soft(name));
        let mut seen = BTreeSet::from([of]);
        hard.chain(soft).filter(|name| seen.insert(name.as_str())).cloned().collect()
    }

    /// The taken module that a soft dependency means; none when it is built in or nowhere.
    fn soft<'n>(&'n self, name: &'n String) -> Option<&'n String> {
        if self.read.contains(name) {
            return Some(name);
        }
        if self.builtin.contains(name) {
            return None;
        }
        let choices = self.aliases.get(name)?;
        // A hardware variant of an algorithm refuses to load on a machine without the hardware, so it is only the
        // generic one that others may wait for.
        choices.iter().find(|module| module.ends_with("_generic")).or(choices.first())
    }
}

/// The roots and what they need, depth first: dependencies before what needs them. A cycle, which depmod would
/// refuse, is cut where it closes.
fn order(roots: &[&str], read: &BTreeMap<String, Read>, resolver: &Resolver<'_>) -> Vec<String> {
    let (mut entered, mut out) = (BTreeSet::new(), Vec::new());
    // An explicit stack: chains of dependencies are as long as whoever made the modules likes.
    let mut stack: Vec<(String, bool)> = roots.iter().rev().map(|&root| (root.to_owned(), false)).collect();
    while let Some((name, done)) = stack.pop() {
        if done {
            out.push(name);
        } else if let Some(module) = read.get(&name)
            && entered.insert(name.clone())
        {
            let before = resolver.before(&name, &module.info);
            stack.push((name, true));
            stack.extend(before.into_iter().rev().map(|name| (name, false)));
        }
    }
    out
}
