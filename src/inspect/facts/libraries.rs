//! Which libraries a program needs and where the dynamic loader would find them: ld.so(8), and musl's rules.
//!
//! glibc looks into the `DT_RPATH` of who needs it, of who loaded that, and so on up to the program (of nobody, when who
//! needs it has a `DT_RUNPATH`), `LD_LIBRARY_PATH`, the `DT_RUNPATH` of who needs it alone, the folders of
//! `/etc/ld.so.conf` (whose cache is not read), its own folders. musl looks into `LD_LIBRARY_PATH`, both kinds of run path
//! of all of them, its own folders. A library of another class or machine is passed over, as loaders do. Not known here:
//! `LD_PRELOAD`, what a program loads by itself, `hwcaps` folders, `$LIB` and `$PLATFORM`.

use super::{shown, text};
use crate::contents::Root;
use crate::contents::paths::{self, Found, file_name};
use crate::formats::elf;
use crate::guest::spec::Process;
use crate::inspect::model::Library;
use crate::rootfs::Kind;
use std::collections::{HashSet, VecDeque};

/// Most libraries followed; the largest programs have some hundred.
const MAX: usize = 1024;
/// Most folders searched for one.
const MAX_FOLDERS: usize = 256;
/// Most places looked at for all libraries together; beyond it the list ends.
const MAX_LOOKS: usize = 1 << 14;
/// Most files of ld.so.conf and what it includes: an include may name itself.
const MAX_CONFIGURATIONS: usize = 64;

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

/// An ELF file that was loaded: the program, or a library of it.
struct Object<'a> {
    found: Found,
    facts: &'a elf::Facts,
    run_path: Vec<Vec<u8>>,
    /// Which object asked for it first; `None` for the program.
    needed_by: Option<usize>,
}

/// Follows what `program` needs, and what that needs.
pub fn find(tree: &Root, process: &Process, path: &Found, program: &elf::Facts, loader: Option<&Found>) -> Needed {
    let mut needed = Needed::default();
    let mut met = HashSet::new();
    let mut search = Search::new(tree, process, path, program);
    needed.found.extend(loader.cloned());
    let mut objects =
        vec![Object { found: path.clone(), facts: program, run_path: run_path(program, &path.path), needed_by: None }];
    let mut queue: VecDeque<(&[u8], usize)> = program.needed.iter().map(|name| (&name[..], 0)).collect();
    while let Some((name, by)) = queue.pop_front() {
        if met.len() >= MAX || search.looks >= MAX_LOOKS || !met.insert(name) {
            continue;
        }
        // The loader is a library too, under its own name.
        let itself = program.interpreter.as_deref().map(file_name) == Some(name);
        let place = match loader.filter(|_| itself || (search.musl && is_libc_of_musl(name))) {
            Some(loader) => Some((loader.path.clone(), loader.clone())),
            None => search.find(name, &objects, by),
        };
        needed.list.push(Library {
            name: shown(name),
            path: place.as_ref().map(|(_, found)| shown(&found.path)),
            needed_by: shown(&objects[by].found.path),
        });
        let Some((place, found)) = place else { continue };
        if let Some(facts) = facts(tree, &found) {
            queue.extend(facts.needed.iter().map(|name| (&name[..], objects.len())));
            // `$ORIGIN` of a library is where the loader opened it, links in that path and all.
            let run_path = run_path(facts, &place);
            objects.push(Object { found: found.clone(), facts, run_path, needed_by: Some(by) });
        }
        needed.found.push(found);
    }
    needed
}

/// musl's loader is its C library, under each of these names (ldso/dynlink.c).
fn is_libc_of_musl(name: &[u8]) -> bool {
    name == b"libc.so" || name.starts_with(b"libc.musl-")
}

/// Where to look, besides run paths.
struct Search<'a> {
    tree: &'a Root,
    program: &'a elf::Facts,
    /// The loader is musl's.
    musl: bool,
    environment: Vec<Vec<u8>>,
    system: Vec<Vec<u8>>,
    /// Places looked at so far.
    looks: usize,
}

impl<'a> Search<'a> {
    fn new(tree: &'a Root, process: &Process, path: &Found, program: &'a elf::Facts) -> Search<'a> {
        let environment = process.env.iter().rev().find_map(|entry| entry.strip_prefix("LD_LIBRARY_PATH="));
        let environment = environment.filter(|_| !is_secure(tree, process, path));
        let loader = program.interpreter.as_deref().map(file_name).unwrap_or_default();
        Search {
            tree,
            program,
            musl: loader.starts_with(b"ld-musl-"),
            environment: environment.map(|path| split(path.as_bytes())).unwrap_or_default(),
            system: system(tree, program),
            looks: 0,
        }
    }

    /// The path under which the loader opens a library, and where that leads.
    fn find(&mut self, name: &[u8], objects: &[Object], by: usize) -> Option<(Vec<u8>, Found)> {
        let (tree, program) = (self.tree, self.program);
        let fits = |found: &Found| {
            facts(tree, found).is_some_and(|facts| (facts.bits, facts.machine) == (program.bits, program.machine))
        };
        if name.contains(&b'/') {
            return paths::resolve(tree, name).filter(fits).map(|found| (name.to_vec(), found));
        }
        let mut looks = 0;
        let folders = self.folders(objects, by).into_iter().take(MAX_FOLDERS);
        let found =
            folders.map(|folder| [folder, &b"/"[..], name].concat()).inspect(|_| looks += 1).find_map(|place| {
                let found = paths::resolve(tree, &place).filter(fits)?;
                Some((place, found))
            });
        self.looks += looks;
        found
    }

    /// The folders in the order of the search, for a library that the object `by` needs.
    fn folders<'b>(&'b self, objects: &'b [Object], by: usize) -> Vec<&'b [u8]> {
        let own = &objects[by];
        let chain = std::iter::successors(Some(own), |object| object.needed_by.map(|index| &objects[index]));
        let has_own_alone = !own.facts.run_path_is_inherited && own.facts.run_path.is_some();
        let counts = |object: &&Object| self.musl || (!has_own_alone && object.facts.run_path_is_inherited);
        let inherited = chain.filter(counts).flat_map(|object| &object.run_path).take(MAX_FOLDERS);
        let own_alone = own.run_path.iter().filter(|_| !self.musl && has_own_alone);
        let environment = self.environment.iter();
        let before: Vec<&Vec<u8>> =
            if self.musl { environment.chain(inherited).collect() } else { inherited.chain(environment).collect() };
        before.into_iter().chain(own_alone).chain(&self.system).map(Vec::as_slice).collect()
    }
}

/// The kernel tells the loader that the program gains rights by its set-id bits (`AT_SECURE`), and the environment does
/// not count. root gains nothing by a file of root's.
fn is_secure(tree: &Root, process: &Process, path: &Found) -> bool {
    let attrs = &tree.inode(path.inode).attrs;
    let (user, group) = process.user.split_once(':').unwrap_or((&process.user, ""));
    let is_root = |name: &str| matches!(name, "" | "0" | "root");
    let gains_user = attrs.mode & 0o4000 != 0 && !(is_root(user) && attrs.uid == 0);
    let gains_group = attrs.mode & 0o2000 != 0 && !(is_root(user) && is_root(group) && attrs.gid == 0);
    gains_user || gains_group
}

fn split(path: &[u8]) -> Vec<Vec<u8>> {
    let folders = path.split(|byte| matches!(byte, b':' | b';' | b'\n')).filter(|folder| !folder.is_empty());
    folders.map(<[u8]>::to_vec).take(MAX_FOLDERS).collect()
}

/// The run path with `$ORIGIN` put in. `path` is where the file was opened.
fn run_path(facts: &elf::Facts, path: &[u8]) -> Vec<Vec<u8>> {
    let origin = path[..path.len() - file_name(path).len()].strip_suffix(b"/").unwrap_or_default();
    let folders = split(facts.run_path.as_deref().unwrap_or_default()).into_iter();
    folders.map(|folder| put_in(&put_in(&folder, b"${ORIGIN}", origin), b"$ORIGIN", origin)).collect()
}

/// `text` with the first `word` replaced.
fn put_in(text: &[u8], word: &[u8], value: &[u8]) -> Vec<u8> {
    match text.windows(word.len()).position(|window| window == word) {
        Some(at) => [&text[..at], value, &text[at + word.len()..]].concat(),
        None => text.to_vec(),
    }
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
    configured(tree, &mut folders);
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
fn configured(tree: &Root, folders: &mut Vec<Vec<u8>>) {
    let mut todo = VecDeque::from([b"/etc/ld.so.conf".to_vec()]);
    let mut met = HashSet::new();
    while let Some(path) = todo.pop_front() {
        let Some((text, path)) = text(tree, &path) else { continue };
        if met.len() >= MAX_CONFIGURATIONS || !met.insert(path) {
            continue;
        }
        for line in text.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii) {
            match line.strip_prefix(b"include ") {
                Some(pattern) if todo.len() < MAX_FOLDERS => todo.extend(included(tree, pattern.trim_ascii())),
                None if line.starts_with(b"/") && folders.len() < MAX_FOLDERS => folders.push(line.to_vec()),
                _ => {}
            }
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
