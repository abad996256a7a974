//! The rules, from ARCHITECTURE.md: the document is what is tested against.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// A line of the code map: a room, and the rooms that it names.
pub struct Room {
    pub name: String,
    pub names: BTreeSet<String>,
}

/// The rooms, upper floors first.
pub fn rooms() -> Vec<Room> {
    let rows = rows("## Code map");
    let room = |row: Vec<BTreeSet<String>>| {
        let name = |path: &String| super::graph::room(path.trim_start_matches("src/")).to_owned();
        let names = row.last().cloned().unwrap_or_default();
        row[0].iter().map(name).map(|name| Room { name, names: names.clone() }).collect::<Vec<_>>()
    };
    rows.into_iter().flat_map(room).collect()
}

/// For each crate the files and folders that may name it, below `src`.
pub fn crates() -> BTreeMap<String, BTreeSet<String>> {
    let rows = rows("### Crates").into_iter();
    rows.flat_map(|row| row[0].iter().map(|name| (name.clone(), row[1].clone())).collect::<Vec<_>>()).collect()
}

/// What the manifest depends on, as code names it.
pub fn dependencies() -> BTreeSet<String> {
    let text = read("Cargo.toml");
    let section = text.split("\n[").find_map(|section| section.strip_prefix("dependencies]")).unwrap();
    let lines = section.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()));
    let names = lines.filter_map(|line| line.split_once(" = ")).map(|(name, _)| name);
    // The library of `md-5` is called md5.
    names.flat_map(|name| [name.replace('-', "_"), name.replace('-', "")]).collect()
}

/// The table below a heading: for each row what stands in backticks in each of its cells.
fn rows(heading: &str) -> Vec<Vec<BTreeSet<String>>> {
    let text = read("ARCHITECTURE.md");
    let section = text.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no heading {heading}")).1;
    let table = section.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    table.skip(2).map(|row| row.trim_matches('|').split('|').map(quoted).collect()).collect()
}

fn quoted(cell: &str) -> BTreeSet<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn read(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}
