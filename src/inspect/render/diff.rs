//! The text of a comparison.

use super::text::Page;
use super::units::{count, fit};
use crate::inspect::model::{Comparison, Difference};

/// Longest value on a line.
const VALUE: usize = 56;

/// The whole comparison.
pub fn render(found: &Comparison, colour: bool) -> String {
    let mut page = Page::new(colour);
    for (mark, side) in [("a", &found.a), ("b", &found.b)] {
        page.row(mark, &format!("{}: {}", side.name, side.verdict));
    }
    let paths = &found.paths;
    match found.kernel_identical {
        None => page.line("kernel: neither has one"),
        Some(true) => page.line("kernel: identical"),
        Some(false) => page.line("kernel: different"),
    }
    found.kernel.iter().for_each(|difference| self::difference(&mut page, difference));
    match found.userland_identical {
        None => page.line("userland: not compared, one of them has none that can be read"),
        Some(true) => page.line(&format!("userland: identical ({} compared)", count(paths.compared, "name"))),
        Some(false) => page.line(&format!(
            "userland: different ({} only in a, {} only in b, {} changed, {} compared)",
            paths.only_a, paths.only_b, paths.changed, paths.compared
        )),
    }
    found.userland.iter().for_each(|difference| self::difference(&mut page, difference));
    for item in &paths.items {
        let what = if item.what.is_empty() { String::new() } else { format!("  ({})", item.what.join(", ")) };
        page.line(&format!("  {} {}{what}", item.mark, item.path));
    }
    let more = paths.count().saturating_sub(paths.items.len() as u64);
    if more > 0 {
        page.line(&format!("    and {more} more"));
    }
    found.notes.iter().for_each(|note| page.row("note", note));
    page.finish()
}

fn difference(page: &mut Page, difference: &Difference) {
    if difference.a.is_none() && difference.b.is_none() {
        return page.line(&format!("  {}", difference.what));
    }
    let shown = |value: &Option<String>| value.as_ref().map_or("none".to_owned(), |value| fit(value, VALUE));
    let (a, b) = (shown(&difference.a), shown(&difference.b));
    if a.chars().count() + b.chars().count() < VALUE {
        return page.row(&difference.what, &format!("{a} / {b}"));
    }
    page.row(&difference.what, &format!("a {a}"));
    page.row("", &format!("b {b}"));
}
