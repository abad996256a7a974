//! Which file names which: modules put together to a crate, paths followed to the file that has what they mean.
//!
//! What a folder's `mod.rs` passes on (`pub use`) is followed to the file it comes from. A folder's `mod.rs` is its
//! front: what a file takes from those above it in its own folders is no arrow.

use super::source::{self, Module};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Re-exports that are followed one after another.
const MOST_STEPS: u32 = 16;

/// Texts of source files by their path below `src`.
pub type Texts = BTreeMap<String, String>;

/// For each file those it names, and the path by which it does.
pub type Arrows = BTreeMap<String, BTreeMap<String, String>>;

/// All source files of the crate.
pub fn texts() -> Texts {
    let mut texts = Texts::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", &mut texts);
    texts
}

fn collect(folder: &Path, below: &str, texts: &mut Texts) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let name = format!("{below}{}", entry.file_name().into_string().unwrap());
        if entry.file_type().unwrap().is_dir() {
            collect(&entry.path(), &format!("{name}/"), texts);
        } else if name.ends_with(".rs") {
            texts.insert(name, fs::read_to_string(entry.path()).unwrap());
        }
    }
}

/// Where a path leads.
#[derive(Clone, Debug)]
enum Place {
    Module(Vec<String>),
    /// Something in a module.
    Item(Vec<String>),
}

/// The crate's modules.
pub struct House {
    modules: BTreeMap<Vec<String>, Module>,
    files: BTreeMap<Vec<String>, String>,
}

impl House {
    pub fn of(texts: &Texts) -> House {
        let mut all = BTreeMap::new();
        for (file, text) in texts {
            let modules = source::modules(module_of(file), text).into_iter();
            all.extend(modules.map(|module| (module.path.clone(), (module, file.clone()))));
        }
        let mut house = House { modules: BTreeMap::new(), files: BTreeMap::new() };
        // Each comes after the one it is in.
        for (path, (module, file)) in all {
            if house.declares(&path) {
                house.modules.insert(path.clone(), module);
                house.files.insert(path, file);
            }
        }
        house
    }

    /// Whether a module is the root of a crate, or is declared by the one that it is in: those for tests alone are not.
    fn declares(&self, path: &[String]) -> bool {
        let Some((name, around)) = path.split_last().filter(|_| path[0] != PROGRAM) else { return true };
        self.modules.get(around).is_some_and(|around| around.children.contains(name))
    }

    /// Who names whom.
    pub fn arrows(&self) -> Arrows {
        let mut arrows = Arrows::new();
        for module in self.modules.values() {
            let from = &self.files[&module.path];
            for path in named(module) {
                let Some(to) = self.file_of(module, path).filter(|to| to != from && !is_front_of(to, from)) else {
                    continue;
                };
                arrows.entry(from.clone()).or_default().entry(to).or_insert_with(|| path.join("::"));
            }
        }
        arrows
    }

    /// Which of these crates each file names.
    pub fn crates(&self, known: &BTreeSet<String>) -> BTreeMap<String, BTreeSet<String>> {
        let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for module in self.modules.values() {
            let foreign = named(module).filter(|path| known.contains(&path[0]) && !self.is_ours(module, path));
            for path in foreign {
                found.entry(path[0].clone()).or_default().insert(self.files[&module.path].clone());
            }
        }
        found
    }

    fn file_of(&self, module: &Module, path: &[String]) -> Option<String> {
        let (Place::Module(found) | Place::Item(found)) = self.follow(module, path, 0)?;
        self.files.get(&found).cloned()
    }

    /// Whether the first name of a path is a module or an import, and so no crate.
    fn is_ours(&self, module: &Module, path: &[String]) -> bool {
        let brings = |module: &Module| {
            module
                .imports
                .iter()
                .any(|import| import.name == path[0] && import.path != path[..1] && import.path != path)
        };
        let around = module.path.split_last().and_then(|(_, around)| self.modules.get(around));
        let through =
            around.filter(|_| module.imports.iter().any(|import| import.name == "*" && import.path == ["super"]));
        [Some(module), through].into_iter().flatten().any(|module| module.children.contains(&path[0]) || brings(module))
    }

    /// Where a path in a module leads; `None` out of the crate.
    fn follow(&self, module: &Module, path: &[String], steps: u32) -> Option<Place> {
        let (first, rest) = path.split_first()?;
        if steps > MOST_STEPS {
            return None;
        }
        match first.as_str() {
            "crate" => self.descend(vec![], rest, steps),
            "bootdisk" if module.path.first().is_some_and(|name| name == PROGRAM) => self.descend(vec![], rest, steps),
            "self" => self.descend(module.path.clone(), rest, steps),
            "super" => self.descend(module.path.split_last()?.1.to_vec(), rest, steps),
            name if module.children.contains(name) => self.descend(module.path.clone(), path, steps),
            name => {
                let other = |path: &[String]| path.first().is_some_and(|first| first != name);
                let import = module.imports.iter().find(|import| import.name == name && other(&import.path))?;
                match self.follow(module, &import.path, steps + 1)? {
                    Place::Module(found) => self.descend(found, rest, steps + 1),
                    item => Some(item),
                }
            }
        }
    }

    /// Where a path leads from the module at `here`.
    fn descend(&self, mut here: Vec<String>, path: &[String], steps: u32) -> Option<Place> {
        for (at, name) in path.iter().enumerate() {
            let module = self.modules.get(&here)?;
            if name == "super" {
                here.pop();
            } else if module.children.contains(name) {
                here.push(name.clone());
            } else if let Some(import) = module.imports.iter().find(|import| import.name == *name) {
                return match self.follow(module, &import.path, steps + 1)? {
                    Place::Module(found) => self.descend(found, &path[at + 1..], steps + 1),
                    item => Some(item),
                };
            } else {
                return Some(Place::Item(here));
            }
        }
        Some(Place::Module(here))
    }
}

/// The first part of the paths of programs, which are crates of their own.
const PROGRAM: &str = "<program>";

fn module_of(file: &str) -> Vec<String> {
    let stem = file.strip_suffix(".rs").unwrap_or(file);
    let parts = stem.strip_suffix("/mod").unwrap_or(stem).split('/').map(str::to_owned);
    match file {
        "lib.rs" => Vec::new(),
        _ if stem == "main" || stem.ends_with("/main") => [PROGRAM.to_owned()].into_iter().chain(parts).collect(),
        _ => parts.collect(),
    }
}

fn named(module: &Module) -> impl Iterator<Item = &[String]> {
    module
        .imports
        .iter()
        .map(|import| &import.path)
        .chain(&module.paths)
        .map(Vec::as_slice)
        .filter(|path| !path.is_empty())
}

/// Whether a file is the front of a folder that the other is in; the crate's is `lib.rs`.
fn is_front_of(front: &str, file: &str) -> bool {
    front == "lib.rs" || front.strip_suffix("mod.rs").is_some_and(|folder| file.starts_with(folder))
}

/// Files that lead back to themselves, each with the ways out of it that do.
pub fn circles(arrows: &Arrows) -> Vec<String> {
    let reached: BTreeMap<&String, BTreeSet<&String>> = arrows.keys().map(|file| (file, reach(arrows, file))).collect();
    let leads = |from: &String, to: &String| reached.get(from).is_some_and(|reached| reached.contains(to));
    let both = arrows.iter().flat_map(|(from, to)| to.iter().map(move |(to, path)| (from, to, path)));
    both.filter(|(from, to, _)| leads(to, from)).map(|(from, to, path)| format!("{from} -> {to} ({path})")).collect()
}

fn reach<'a>(arrows: &'a Arrows, from: &'a String) -> BTreeSet<&'a String> {
    let (mut reached, mut waiting) = (BTreeSet::new(), vec![from]);
    while let Some(file) = waiting.pop() {
        let next = arrows.get(file).into_iter().flat_map(BTreeMap::keys);
        waiting.extend(next.filter(|next| reached.insert(*next)));
    }
    reached
}

/// The room a file is in: the first folder of its path, or itself.
pub fn room(file: &str) -> &str {
    let first = file.split('/').next().unwrap_or(file);
    first.strip_suffix(".rs").unwrap_or(first)
}
