//! The house as ARCHITECTURE.md has it: which file may name which, read from the source text itself.

mod graph;
mod messages;
mod rules;
mod source;

use graph::{Arrows, House, Texts, circles, room, texts};
use rules::Room;
use std::collections::{BTreeMap, BTreeSet};

/// Which rooms each room names, with one file that does.
fn between_rooms(arrows: &Arrows) -> BTreeMap<(String, String), String> {
    let pairs = arrows.iter().flat_map(|(from, to)| to.keys().map(move |to| (from, to)));
    let other = pairs.filter(|(from, to)| room(from) != room(to));
    other.map(|(from, to)| ((room(from).into(), room(to).into()), format!("{from} -> {to}"))).collect()
}

/// What a code map does not allow, and what it allows and nobody needs.
fn against_the_map(arrows: &Arrows, map: &[Room]) -> Vec<String> {
    let allowed: BTreeSet<_> =
        map.iter().flat_map(|room| room.names.iter().map(|name| (room.name.clone(), name.clone()))).collect();
    let needed = between_rooms(arrows);
    let forbidden = needed.iter().filter(|(pair, _)| !allowed.contains(pair)).map(|(_, example)| example.clone());
    let spare = allowed.iter().filter(|pair| !needed.contains_key(pair));
    forbidden.chain(spare.map(|(from, to)| format!("{from} does not name {to}"))).collect()
}

/// Names of crates where the table has none, and entries of the table that nobody needs.
fn against_the_table(texts: &Texts, table: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let found = House::of(texts).crates(&rules::dependencies());
    let covers = |place: &String, file: &String| place == file || place.ends_with('/') && file.starts_with(place);
    let nothing = BTreeSet::new();
    let mut wrong = Vec::new();
    for name in found.keys().chain(table.keys()).collect::<BTreeSet<_>>() {
        let (files, places) = (found.get(name).unwrap_or(&nothing), table.get(name).unwrap_or(&nothing));
        let outside = files.iter().filter(|file| !places.iter().any(|place| covers(place, file)));
        wrong.extend(outside.map(|file| format!("{file} names {name}")));
        let unused = places.iter().filter(|place| !files.iter().any(|file| covers(place, file)));
        wrong.extend(unused.map(|place| format!("{place} does not name {name}")));
    }
    wrong
}

/// A house of these files.
fn made(files: &[(&str, &str)]) -> Arrows {
    House::of(&files.iter().map(|(file, text)| ((*file).to_owned(), (*text).to_owned())).collect()).arrows()
}

fn with(mut texts: Texts, file: &str, line: &str) -> Texts {
    texts.get_mut(file).unwrap_or_else(|| panic!("no file {file}")).push_str(line);
    texts
}

const NOTHING: [&str; 0] = [];

#[test]
fn no_file_leads_back_to_itself() {
    assert_eq!(circles(&House::of(&texts()).arrows()), NOTHING);
}

#[test]
fn rooms_name_the_rooms_that_the_code_map_says() {
    let map = rules::rooms();
    let rooms: BTreeSet<_> = texts().keys().map(|file| room(file).to_owned()).filter(|room| room != "lib").collect();
    assert_eq!(map.iter().map(|room| room.name.clone()).collect::<BTreeSet<_>>(), rooms);
    assert_eq!(against_the_map(&House::of(&texts()).arrows(), &map), NOTHING);
}

#[test]
fn the_code_map_has_upper_floors_first() {
    let map = rules::rooms();
    let up = |(at, room): (usize, &Room)| {
        let above = map[..=at].iter().map(|room| &room.name);
        above
            .filter(|above| room.names.contains(*above))
            .map(|above| format!("{} names {above}", room.name))
            .collect::<Vec<_>>()
    };
    assert_eq!(map.iter().enumerate().flat_map(up).collect::<Vec<_>>(), NOTHING);
}

#[test]
fn crates_are_named_where_the_table_says() {
    assert_eq!(against_the_table(&texts(), &rules::crates()), NOTHING);
}

#[test]
fn one_import_more_is_noticed() {
    let circle = with(texts(), "ext4/format.rs", "\nuse super::geometry::Geometry;\n");
    let found = circles(&House::of(&circle).arrows());
    assert!(found.iter().any(|arrow| arrow.starts_with("ext4/format.rs -> ext4/geometry.rs")), "{found:?}");

    // A path in code is as good as an import, and one in a macro is too.
    for line in ["\nfn up() { crate::cli::main(); }\n", "\nfn up() { println!(\"{:?}\", crate::cli::main()); }\n"] {
        let up = House::of(&with(texts(), "rootfs/tree.rs", line)).arrows();
        let found = against_the_map(&up, &rules::rooms());
        assert_eq!(found, ["rootfs/tree.rs -> cli/mod.rs"], "{line}");
    }

    let foreign = with(texts(), "rootfs/tree.rs", "\nuse tar::Header as Odd;\n");
    assert_eq!(against_the_table(&foreign, &rules::crates()), ["rootfs/tree.rs names tar"]);
}

#[test]
fn paths_are_followed_to_the_file_that_has_what_they_mean() {
    let lib = ("lib.rs", "mod a; mod b;");
    let leads = |b: &str| {
        let front = ("a/mod.rs", "mod deep; mod other; pub use deep::Thing; pub use other::*; pub fn own() {}");
        let rest = [("a/deep.rs", "pub struct Thing;"), ("a/other.rs", "pub struct Star;")];
        let arrows = made(&[lib, front, rest[0], rest[1], ("b.rs", b)]);
        arrows.get("b.rs").map(|to| to.keys().cloned().collect::<Vec<_>>()).unwrap_or_default().join(" ")
    };
    for (text, files) in [
        ("use crate::a::Thing;", "a/deep.rs"),
        ("use crate::a::Thing as Other;", "a/deep.rs"),
        ("use crate::a::own;", "a/mod.rs"),
        ("use crate::{a::{self, Thing}};", "a/deep.rs a/mod.rs"),
        ("use super::a; fn f() { a::Thing; }", "a/deep.rs a/mod.rs"),
        ("fn f() -> super::a::Thing { loop {} }", "a/deep.rs"),
        ("mod inner { use super::super::a::Thing; }", "a/deep.rs"),
        ("#[error(\"{}\", crate::a::own())] struct S;", "a/mod.rs"),
        ("#[cfg(test)] mod tests { use crate::a::Thing; }", ""),
        ("#[cfg(test)] use crate::a::{Thing, own};\nfn f() {}", ""),
        ("#[cfg(test)] fn f<A, B>() -> crate::a::Thing { loop {} }", ""),
        ("#[cfg(all(test, unix))] use crate::a::Thing;", ""),
        ("#[cfg(not(test))] use crate::a::Thing;", "a/deep.rs"),
        ("#[cfg(any(feature = \"b\", test))] use crate::a::Thing;", "a/deep.rs"),
        ("fn f(a: A) { a::own(); std::fs::read(\"crate::a\"); } // crate::a", ""),
        ("fn f() -> impl Iterator + use<'_> { crate::a::own() }", "a/mod.rs"),
    ] {
        assert_eq!(leads(text), files, "{text}");
    }
}

#[test]
fn a_folders_front_is_no_circle() {
    let lib = ("lib.rs", "mod a;");
    let front = ("a/mod.rs", "mod x; mod y; pub struct Own; pub use x::X;");
    assert_eq!(circles(&made(&[lib, front, ("a/x.rs", "use super::Own;"), ("a/y.rs", "use super::X;")])), NOTHING);
    let ring = made(&[lib, front, ("a/x.rs", "use super::y::Y;"), ("a/y.rs", "use super::X;")]);
    assert_eq!(circles(&ring).len(), 2, "{:?}", circles(&ring));
}
