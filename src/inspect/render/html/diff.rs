//! A comparison as a page: both verdicts, then what differs in the kernel and in the userland, name by name.

use super::{code, list, page, section, table, text};
use crate::added::Record;
use crate::contents::compare::PathDifferences;
use crate::inspect::model::{Comparison, Difference, Side};
use crate::inspect::render::diff::heading;
use crate::inspect::render::units::count;

/// The whole page.
pub fn render(found: &Comparison) -> String {
    let heading = heading(found);
    let title = format!("{} and {}", found.a.name, found.b.name);
    let mut body = String::new();
    let rows = [("a", &found.a), ("b", &found.b)];
    let rows: Vec<Vec<String>> =
        rows.iter().map(|(mark, side)| vec![(*mark).to_owned(), code(&side.name), text(&described(side))]).collect();
    section(&mut body, "Compared", &table("The two", &["", "Name", "What it is"], &rows));
    let verdict = |identical: Option<bool>, none: &str| match identical {
        None => format!("<p class=\"verdict\">{none}</p>\n"),
        Some(true) => "<p class=\"verdict yes\">identical</p>\n".to_owned(),
        Some(false) => "<p class=\"verdict perhaps\">different</p>\n".to_owned(),
    };
    let kernel = verdict(found.kernel_identical, "neither has one") + &differences("Of the kernel", &found.kernel);
    section(&mut body, "Kernel", &kernel);
    if !found.disk.is_empty() {
        section(&mut body, "Disk", &differences("Of table and partitions", &found.disk));
    }
    let mut userland = verdict(found.userland_identical, "not compared: one side has no readable userland");
    if found.userland_identical.is_some() {
        userland += &format!("<p>{} compared.</p>\n", count(found.paths.compared, "name"));
    }
    userland += &differences("What the userland says about itself", &found.userland);
    userland += &paths(&found.paths);
    section(&mut body, "Userland", &userland);
    if !found.notes.is_empty() {
        section(&mut body, "Notes", &list(found.notes.iter().map(|note| text(note))));
    }
    page(&title, &format!("Comparison {} {}", code(&found.a.name), code(&found.b.name)), &heading, &body)
}

/// What a side is, and what was added to it.
fn described(side: &Side) -> String {
    let added = side.added.iter().map(Record::words);
    std::iter::once(side.verdict.clone()).chain(added).collect::<Vec<_>>().join("; ")
}

fn differences(caption: &str, all: &[Difference]) -> String {
    let value = |value: &Option<String>| value.as_deref().map_or("none".to_owned(), code);
    let row = |one: &Difference| match (&one.a, &one.b) {
        // A sentence of its own.
        (None, None) => vec![text(&one.what), String::new(), String::new()],
        (a, b) => vec![text(&one.what), value(a), value(b)],
    };
    if all.is_empty() {
        return String::new();
    }
    table(caption, &["What", "a", "b"], &all.iter().map(row).collect::<Vec<_>>())
}

fn paths(paths: &PathDifferences) -> String {
    let all = paths.count();
    if all == 0 {
        return String::new();
    }
    let word = |mark: char| match mark {
        '-' => "only in a",
        '+' => "only in b",
        _ => "changed",
    };
    let row = |item: &crate::contents::compare::PathDifference| {
        vec![word(item.mark).to_owned(), code(&item.path), text(&item.what.join(", "))]
    };
    let mut out =
        format!("<p>{} only in a, {} only in b, {} changed.</p>\n", paths.only_a, paths.only_b, paths.changed);
    out += &table("Names that differ", &["How", "Name", "In what"], &paths.items.iter().map(row).collect::<Vec<_>>());
    let more = all.saturating_sub(paths.items.len() as u64);
    if more > 0 {
        out += &format!("<p>And {more} more.</p>\n");
    }
    out
}
