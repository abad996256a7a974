//! docs/specification.md says what the program does.

use bootdisk::convert::AUTOMATIC_LIMIT;
use bootdisk::flatten::Limits;
use bootdisk::image::{MAX_CONFIG, MAX_LAYERS, MAX_MANIFEST};

/// A number with commas.
fn with_commas(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().map(|group| str::from_utf8(group).unwrap()).collect();
    groups.join(",")
}

fn lacking(document: &str) -> Vec<String> {
    let limits = Limits::default();
    let mib = |bytes: u64| format!("{} MiB", bytes >> 20);
    let layer = &limits.layer;
    let headers = format!("{}, of {} each", layer.extension_headers, mib(layer.extension_bytes));
    let automatic = format!("{} GiB; `--size` makes larger ones", AUTOMATIC_LIMIT >> 30);
    let rows = [
        ("layers of an image", with_commas(MAX_LAYERS as u64)),
        ("a manifest or an index", mib(MAX_MANIFEST)),
        ("a configuration", mib(MAX_CONFIG)),
        ("names in the userland", with_commas(limits.names.into())),
        ("names, link targets and extended attributes together", mib(limits.text_bytes)),
        ("names of one file", with_commas(limits.links.into())),
        ("length of one file, holes included", format!("{} bytes", with_commas(layer.file_bytes))),
        ("extension headers before one member of a layer", headers),
        ("parts of a sparse file", with_commas(layer.sparse_entries as u64)),
        ("a disk of automatic size", automatic),
    ];
    let lines = rows.map(|(what, most)| format!("| {what} | {most} |"));
    lines.into_iter().filter(|line| !document.lines().any(|other| other == line)).collect()
}

#[test]
fn limits_in_the_document_are_the_programs() {
    let document = include_str!("../../docs/specification.md");
    assert_eq!(lacking(document), [""; 0]);
    assert_eq!(lacking(&document.replace("1,000", "1,001")), ["| layers of an image | 1,000 |"]);
}
