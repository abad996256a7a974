//! Which libraries a program needs and where the dynamic loader would find them: ld.so(8), and musl's rules.
//!
//! In the order of the search: the run path of who needs it and of the program, `LD_LIBRARY_PATH`, the folders of
//! `/etc/ld.so.conf` (whose cache is not read), the loader's own folders. A library of another class or machine is
//! passed over, as loaders do. Not known here: `LD_PRELOAD`, what a program loads by itself, `hwcaps` folders.

use super::{Root, shown, text};
use crate::guest::spec::Process;
use crate::inspect::elf;
use crate::inspect::model::Library;
use crate::inspect::paths::{self, Found, file_name};
use crate::rootfs::Kind;
use std::collections::{HashSet, VecDeque};

/// Most libraries followed; the largest programs have some hundred.
const MAX: usize = 1024;
/// Most folders searched for one.
const MAX_FOLDERS: usize = 256;
/// Deepest include of ld.so.conf.
const MAX_INCLUDES: usize = 16;

/// The libraries of one program.
#[derive(Default)]
pub struct Needed {
    /// For the report, in the order the loader meets them.
    pub list: Vec<Library>,
    found: Vec<Found>,
}

impl Needed {
    /// The loader and the libraries that were found, with their facts.
    pub fn programs<'a>(&'a self, tree: &'a Root) -> impl Iterator<Item = (&'a Found, &'a elf::Facts)> {
        self.found.iter().filter_map(|found| Some((found, facts(tree, found)?)))
    }
}

fn facts<'a>(tree: &'a Root, found: &Found) -> Option<&'a elf::Facts> {
    match &tree.inode(found.inode).kind {
        Kind::File { body, .. } => body.content.as_ref()?.elf.as_ref(),
        _ => None,
    }
}

/// Follows what `program` needs, and what that needs.
pub fn find(tree: &Root, process: &Process, path: &Found, program: &elf::Facts, loader: Option<&Found>) -> Needed {
    let mut needed = Needed::default();
    let mut met = HashSet::new();
    let folders = Folders::new(tree, process, path, program);
    needed.found.extend(loader.cloned());
    let mut queue: VecDeque<(Vec<u8>, Found)> =
        program.needed.iter().map(|name| (name.clone(), path.clone())).collect();
    while let Some((name, by)) = queue.pop_front() {
        if met.len() >= MAX || !met.insert(name.clone()) {
            continue;
        }
        // The loader is a library too, under its own name.
        let itself = program.interpreter.as_deref().map(file_name) == Some(&name);
        let found = match loader.filter(|_| itself || is_musl_libc(program, &name)) {
            Some(loader) => Some(loader.clone()),
            None => folders.find(tree, &name, &by, program),
        };
        needed.list.push(Library {
            name: shown(&name),
            path: found.as_ref().map(|found| shown(&found.path)),
            needed_by: shown(&by.path),
        });
        let Some(found) = found else { continue };
        if let Some(facts) = facts(tree, &found) {
            queue.extend(facts.needed.iter().map(|name| (name.clone(), found.clone())));
        }
        needed.found.push(found);
    }
    needed
}

/// musl's loader is its C library, under each of these names (ldso/dynlink.c).
fn is_musl_libc(program: &elf::Facts, name: &[u8]) -> bool {
    let of_musl = program.interpreter.as_deref().is_some_and(|path| file_name(path).starts_with(b"ld-musl-"));
    of_musl && (name == b"libc.so" || name.starts_with(b"libc.musl-"))
}

/// Where to look.
struct Folders {
    program: Vec<Vec<u8>>,
    environment: Vec<Vec<u8>>,
    system: Vec<Vec<u8>>,
}

impl Folders {
    fn new(tree: &Root, process: &Process, path: &Found, program: &elf::Facts) -> Folders {
        let environment = process.env.iter().rev().find_map(|entry| entry.strip_prefix("LD_LIBRARY_PATH="));
        Folders {
            program: run_path(program, &path.path),
            environment: environment.map(|path| split(path.as_bytes())).unwrap_or_default(),
            system: system(tree, program),
        }
    }

    fn find(&self, tree: &Root, name: &[u8], by: &Found, program: &elf::Facts) -> Option<Found> {
        let fits = |found: &Found| {
            facts(tree, found).is_some_and(|facts| (facts.bits, facts.machine) == (program.bits, program.machine))
        };
        if name.contains(&b'/') {
            return paths::resolve(tree, name).filter(fits);
        }
        let own = facts(tree, by).map(|facts| run_path(facts, &by.path)).unwrap_or_default();
        let folders = own.iter().chain(&self.program).chain(&self.environment).chain(&self.system);
        let mut places = folders.take(MAX_FOLDERS).map(|folder| [folder, &b"/"[..], name].concat());
        places.find_map(|place| paths::resolve(tree, &place).filter(fits))
    }
}

fn split(path: &[u8]) -> Vec<Vec<u8>> {
    let folders = path.split(|byte| matches!(byte, b':' | b';' | b'\n')).filter(|folder| !folder.is_empty());
    folders.map(<[u8]>::to_vec).take(MAX_FOLDERS).collect()
}

/// The run path with `$ORIGIN` put in.
fn run_path(facts: &elf::Facts, path: &[u8]) -> Vec<Vec<u8>> {
    let origin = &path[..path.len() - file_name(path).len()];
    let put_in = |folder: Vec<u8>| {
        for word in [&b"$ORIGIN"[..], b"${ORIGIN}"] {
            if let Some(rest) = folder.strip_prefix(word) {
                return [origin, rest].concat();
            }
        }
        folder
    };
    split(facts.run_path.as_deref().unwrap_or_default()).into_iter().map(put_in).collect()
}

fn system(tree: &Root, program: &elf::Facts) -> Vec<Vec<u8>> {
    let loader = program.interpreter.as_deref().map(file_name).unwrap_or_default();
    if let Some(machine) = loader.strip_prefix(b"ld-musl-") {
        let machine = machine.split(|&byte| byte == b'.').next().unwrap_or_default();
        let list = [b"/etc/ld-musl-", machine, b".path"].concat();
        return match text(tree, &list) {
            Some((text, _)) => split(text),
            None => split(b"/lib:/usr/local/lib:/usr/lib"),
        };
    }
    let mut folders = Vec::new();
    configured(tree, b"/etc/ld.so.conf", 0, &mut folders);
    let triplet = match (program.machine, program.bits) {
        (62, 64) => "x86_64-linux-gnu",
        (3, _) => "i386-linux-gnu",
        (183, _) => "aarch64-linux-gnu",
        (40, _) => "arm-linux-gnueabihf",
        (243, 64) => "riscv64-linux-gnu",
        (22, _) => "s390x-linux-gnu",
        (21, _) => "powerpc64le-linux-gnu",
        _ => "",
    };
    if !triplet.is_empty() {
        folders.extend(["/lib", "/usr/lib"].map(|dir| format!("{dir}/{triplet}").into_bytes()));
    }
    folders.extend(["/lib64", "/usr/lib64", "/lib", "/usr/lib"].map(|dir| dir.as_bytes().to_vec()));
    folders
}

/// The folders of ld.so.conf and of what it includes; of a pattern only the usual `DIR/*.conf` is known.
fn configured(tree: &Root, path: &[u8], depth: usize, folders: &mut Vec<Vec<u8>>) {
    let Some((text, _)) = text(tree, path) else { return };
    for line in text.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii) {
        if folders.len() >= MAX_FOLDERS || depth >= MAX_INCLUDES {
            return;
        }
        match line.strip_prefix(b"include ") {
            Some(pattern) => {
                for included in included(tree, pattern.trim_ascii()) {
                    configured(tree, &included, depth + 1, folders);
                }
            }
            None if line.starts_with(b"/") => folders.push(line.to_vec()),
            None => {}
        }
    }
}

fn included(tree: &Root, pattern: &[u8]) -> Vec<Vec<u8>> {
    let Some(folder) = pattern.strip_suffix(b"/*.conf") else { return vec![pattern.to_vec()] };
    let folder = if folder.starts_with(b"/") { folder.to_vec() } else { [b"/etc/", folder].concat() };
    let Some(found) = paths::resolve(tree, &folder) else { return Vec::new() };
    let names = tree.children(found.inode).map(|entry| tree.name(entry)).filter(|name| name.ends_with(b".conf"));
    let mut names: Vec<Vec<u8>> = names.take(MAX_FOLDERS).map(|name| [&folder[..], b"/", name].concat()).collect();
    names.sort();
    names
}
