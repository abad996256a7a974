//! What depmod(8) makes of a modules directory: the lists and indexes that modprobe looks names up in. No package
//! carries them; a distribution's scripts run depmod on the installed machine.
//!
//! | file | for | what leads where |
//! |---|---|---|
//! | `modules.dep`, `.bin` | BusyBox, kmod | a module to its file and those it needs, all of them, nearest first |
//! | `modules.alias`, `.bin` | BusyBox, kmod | a pattern of a device or a name to the module |
//! | `modules.symbols`, `.bin` | BusyBox, kmod | `symbol:NAME` to the module that exports it |
//! | `modules.softdep` | kmod | what should be loaded before and after |
//! | `modules.devname` | systemd, udev | device nodes whose opening loads a module |
//! | `modules.builtin.bin`, `modules.builtin.alias.bin` | kmod | names that are in the kernel itself |
//!
//! Not supported: depmod.d(5), weak updates, modules that need each other (depmod refuses them; here each is the
//! other's dependency). Text and binary forms are those of kmod 30: `man 5 modules.dep`, kmod's tools/depmod.c.

mod index;

use super::modinfo::{Modinfo, normal_name};
use super::modules::module_name;
use super::modules::tree::Builtin;
use index::Index;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// One module of the directory.
#[derive(Clone, Debug)]
pub struct Module {
    /// Path below the modules directory.
    pub path: String,
    /// What it says about itself.
    pub info: Modinfo,
    /// Names of the symbols that it exports.
    pub symbols: Vec<String>,
}

/// The files depmod would make for these modules, by name. Deterministic, and in the order of `builtin.order`, which
/// decides who comes first where several modules drive one device.
pub fn files(modules: &[Module], builtin: &Builtin) -> BTreeMap<&'static str, Vec<u8>> {
    let modules = Sorted::new(modules, builtin);
    let mut files = BTreeMap::new();
    dependencies(&modules, &mut files);
    aliases(&modules, &mut files);
    symbols(&modules, &mut files);
    files.insert("modules.softdep", softdeps(&modules).into_bytes());
    files.insert("modules.devname", device_names(&modules).into_bytes());
    built_in(builtin, &mut files);
    files
}

/// The modules with their names, in order of priority.
struct Sorted<'a>(Vec<(String, &'a Module)>);

impl<'a> Sorted<'a> {
    fn new(modules: &'a [Module], builtin: &Builtin) -> Sorted<'a> {
        let order = String::from_utf8_lossy(&builtin.order);
        // Packed modules stand in the list as they were built, unpacked.
        let places: BTreeMap<&str, usize> = order.lines().enumerate().map(|(place, path)| (path, place)).collect();
        let mut sorted: Vec<_> =
            modules.iter().filter_map(|module| Some((module_name(&module.path)?, module))).collect();
        sorted.sort_by_key(|(_, module)| (places.get(&*module.path).copied().unwrap_or(usize::MAX), &module.path));
        Sorted(sorted)
    }

    fn iter(&self) -> impl Iterator<Item = (u32, &str, &'a Module)> {
        (0..).zip(&self.0).map(|(place, (name, module))| (place, name.as_str(), *module))
    }
}

fn dependencies(modules: &Sorted<'_>, files: &mut BTreeMap<&'static str, Vec<u8>>) {
    let by_name: BTreeMap<&str, &Module> = modules.iter().map(|(_, name, module)| (name, module)).collect();
    let (mut text, mut index) = (String::new(), Index::default());
    for (place, name, module) in modules.iter() {
        let mut line = format!("{}:", module.path);
        for needed in all_needed(name, &by_name) {
            _ = write!(line, " {}", by_name[needed].path);
        }
        index.insert(name, &line, place);
        text += &line;
        text.push('\n');
    }
    files.insert("modules.dep", text.into_bytes());
    files.insert("modules.dep.bin", index.encode());
}

/// All that a module needs: each before what it needs itself, as modprobe loads from the last to the first.
fn all_needed<'a>(name: &'a str, by_name: &BTreeMap<&'a str, &'a Module>) -> Vec<&'a str> {
    let mut entered = BTreeSet::new();
    let mut order = Vec::new();
    // An explicit stack, as chains are as long as whoever made the modules likes.
    let mut stack = vec![(name, false)];
    while let Some((name, done)) = stack.pop() {
        if done {
            order.push(name);
        } else if let Some((name, module)) = by_name.get_key_value(name)
            && entered.insert(*name)
        {
            stack.push((name, true));
            stack.extend(module.info.depends.iter().rev().map(|needed| (needed.as_str(), false)));
        }
    }
    order.pop();
    order.reverse();
    order
}

fn aliases(modules: &Sorted<'_>, files: &mut BTreeMap<&'static str, Vec<u8>>) {
    let mut text = String::from("# Aliases extracted from modules themselves.\n");
    let mut index = Index::default();
    for (place, name, module) in modules.iter() {
        for alias in &module.info.aliases {
            _ = writeln!(text, "alias {alias} {name}");
            if let Some(alias) = normal_alias(alias) {
                index.insert(&alias, name, place);
            }
        }
    }
    files.insert("modules.alias", text.into_bytes());
    files.insert("modules.alias.bin", index.encode());
}

fn symbols(modules: &Sorted<'_>, files: &mut BTreeMap<&'static str, Vec<u8>>) {
    let mut text = String::from("# Aliases for symbols, used by symbol_request().\n");
    let mut index = Index::default();
    for (place, name, module) in modules.iter() {
        for symbol in &module.symbols {
            _ = writeln!(text, "alias symbol:{symbol} {name}");
            index.insert(&format!("symbol:{symbol}"), name, place);
        }
    }
    files.insert("modules.symbols", text.into_bytes());
    files.insert("modules.symbols.bin", index.encode());
}

fn softdeps(modules: &Sorted<'_>) -> String {
    let mut text = String::from("# Soft dependencies extracted from modules themselves.\n");
    for (_, name, module) in modules.iter() {
        for softdep in &module.info.softdeps {
            _ = writeln!(text, "softdep {name} {softdep}");
        }
    }
    text
}

/// Modules that say both a node's name (`devname:net/tun`) and its numbers (`char-major-10-200`).
fn device_names(modules: &Sorted<'_>) -> String {
    let mut text = String::from("# Device nodes to trigger on-demand module loading.\n");
    for (_, name, module) in modules.iter() {
        let aliases = || module.info.aliases.iter();
        let node = aliases().filter_map(|alias| alias.strip_prefix("devname:")).next_back();
        let numbers = aliases().rev().find_map(|alias| {
            let (kind, rest) = match alias.strip_prefix("char-major-") {
                Some(rest) => ('c', rest),
                None => ('b', alias.strip_prefix("block-major-")?),
            };
            let (major, minor) = rest.split_once('-')?;
            Some((kind, major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
        });
        if let (Some(node), Some((kind, major, minor))) = (node, numbers) {
            _ = writeln!(text, "{name} {node} {kind}{major}:{minor}");
        }
    }
    text
}

fn built_in(builtin: &Builtin, files: &mut BTreeMap<&'static str, Vec<u8>>) {
    let list = String::from_utf8_lossy(&builtin.list);
    let mut names = Index::default();
    list.lines().filter_map(module_name).for_each(|name| names.insert(&name, "", 0));
    files.insert("modules.builtin.bin", names.encode());
    let mut aliases = Index::default();
    for field in builtin.modinfo.split(|&byte| byte == 0).filter_map(|field| std::str::from_utf8(field).ok()) {
        let Some((key, alias)) = field.split_once('=') else { continue };
        if let (Some(name), Some(alias)) = (key.strip_suffix(".alias"), normal_alias(alias)) {
            aliases.insert(&alias, name, 0);
        }
    }
    files.insert("modules.builtin.alias.bin", aliases.encode());
    for (name, bytes) in builtin.files() {
        files.insert(name, bytes.to_vec());
    }
}

/// An alias as kmod looks it up: `-` is `_` but in `[a-f]`. A bracket without its other is no pattern.
fn normal_alias(alias: &str) -> Option<String> {
    let mut normal = String::with_capacity(alias.len());
    let mut rest = alias;
    while let Some(at) = rest.find(['[', ']']) {
        let (before, bracket) = rest.split_at(at);
        let length = bracket.starts_with('[').then(|| bracket.find(']'))?? + 1;
        normal += &normal_name(before);
        normal += &bracket[..length];
        rest = &bracket[length..];
    }
    Some(normal + &normal_name(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(path: &str, depends: &[&str], aliases: &[&str]) -> Module {
        let words = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect();
        let info = Modinfo { depends: words(depends), aliases: words(aliases), ..Modinfo::default() };
        Module { path: path.to_owned(), info, symbols: vec![format!("{}_init", module_name(path).unwrap())] }
    }

    fn text(files: &BTreeMap<&'static str, Vec<u8>>, name: &str) -> String {
        String::from_utf8(files[name].clone()).unwrap()
    }

    #[test]
    fn a_module_comes_before_what_it_needs_and_rings_end() {
        let modules = [
            module("kernel/a.ko", &["b", "c", "gone"], &[]),
            module("kernel/b-x/b.ko", &["c"], &[]),
            module("kernel/c.ko", &[], &["net-pf-10", "pci:v[0-9]-*"]),
            module("kernel/ring.ko", &["other"], &["devname:net/tun", "char-major-10-200"]),
            module("kernel/other.ko", &["ring"], &[]),
        ];
        let builtin = Builtin { order: b"kernel/c.ko\nkernel/a.ko\n".to_vec(), ..Builtin::default() };
        let files = files(&modules, &builtin);
        assert_eq!(
            text(&files, "modules.dep"),
            "kernel/c.ko:\nkernel/a.ko: kernel/b-x/b.ko kernel/c.ko\nkernel/b-x/b.ko: kernel/c.ko\n\
             kernel/other.ko: kernel/ring.ko\nkernel/ring.ko: kernel/other.ko\n"
        );
        assert!(text(&files, "modules.alias").ends_with(
            "\nalias net-pf-10 c\nalias pci:v[0-9]-* c\n\
             alias devname:net/tun ring\nalias char-major-10-200 ring\n"
        ));
        assert!(text(&files, "modules.devname").ends_with("\nring net/tun c10:200\n"));
        assert!(text(&files, "modules.symbols").contains("\nalias symbol:a_init a\n"));
    }

    #[test]
    fn hyphens_of_aliases_become_underscores_outside_of_brackets() {
        assert_eq!(normal_alias("net-pf-10").as_deref(), Some("net_pf_10"));
        assert_eq!(normal_alias("a-b[0-9]c-d[x-z]-").as_deref(), Some("a_b[0-9]c_d[x-z]_"));
        assert_eq!((normal_alias("a[0-9"), normal_alias("a]b[0]")), (None, None));
    }
}
