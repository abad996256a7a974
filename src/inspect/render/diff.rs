//! The text of a comparison.

use super::page::Page;
use super::units::count;
use crate::contents::compare::PathDifferences;
use crate::inspect::model::{Comparison, Difference};
use crate::shorten::fit;

/// Longest value on a line.
const VALUE: usize = 56;

/// What of the two is one and what is two, as far as each has it.
pub fn heading(found: &Comparison) -> String {
    let of = |what: &str, a: bool, b: bool, identical: Option<bool>| match (a, b, identical) {
        (false, false, _) => None,
        (true, true, Some(true)) => Some(format!("one {what}")),
        (true, true, _) => Some(format!("two {what}s")),
        _ => Some(format!("a {what} on one side only")),
    };
    let userland = of("userland", found.a.userland, found.b.userland, found.userland_identical);
    let kernel = of("kernel", found.a.kernel.is_some(), found.b.kernel.is_some(), found.kernel_identical);
    let text = [userland, kernel].into_iter().flatten().collect::<Vec<_>>().join(", ");
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => "Neither has a userland or a kernel".to_owned(),
    }
}

/// The whole comparison.
pub fn render(found: &Comparison, colour: bool) -> String {
    let mut page = Page::new(colour);
    for (mark, side) in [("a", &found.a), ("b", &found.b)] {
        page.row(mark, &format!("{}: {}", side.name, side.verdict));
        side.added.iter().for_each(|added| page.row("", &added.words()));
    }
    let paths = &found.paths;
    match found.kernel_identical {
        None => page.line("kernel: neither has one"),
        Some(true) => page.line("kernel: identical"),
        Some(false) => page.line("kernel: different"),
    }
    found.kernel.iter().for_each(|difference| self::difference(&mut page, difference));
    if !found.disk.is_empty() {
        page.line("disk: different");
        found.disk.iter().for_each(|difference| self::difference(&mut page, difference));
    }
    match found.userland_identical {
        None => page.line("userland: not compared, one side has no readable userland"),
        Some(true) => page.line(&format!("userland: identical ({} compared)", count(paths.compared, "name"))),
        Some(false) => page.line(&format!(
            "userland: different ({} only in a, {} only in b, {} changed, {} compared){}",
            paths.only_a,
            paths.only_b,
            paths.changed,
            paths.compared,
            by_added(paths)
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

/// How many of the differences an added layer explains.
fn by_added(paths: &PathDifferences) -> String {
    match paths.added {
        0 => String::new(),
        added if added == paths.count() => ", by what bootdisk added and nothing else".to_owned(),
        added => format!(", {added} of them by what bootdisk added"),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::model::{DIFF_SCHEMA, Kind, Side, VERSION};

    /// `1` it is the same on both sides, `2` it differs, `a` only the first has one, `-` neither.
    fn comparison(userland: char, kernel: char) -> Comparison {
        let side = |first: bool| Side {
            name: String::new(),
            kind: Kind::Disk,
            verdict: String::new(),
            kernel: (kernel != '-' && (first || kernel != 'a')).then(|| "6.1".to_owned()),
            userland: userland != '-' && (first || userland != 'a'),
            added: None,
        };
        let identical = |state: char| matches!(state, '1' | '2').then_some(state == '1');
        Comparison {
            schema: DIFF_SCHEMA,
            version: VERSION,
            a: side(true),
            b: side(false),
            kernel_identical: if kernel == 'a' { Some(false) } else { identical(kernel) },
            userland_identical: identical(userland),
            kernel: Vec::new(),
            disk: Vec::new(),
            userland: Vec::new(),
            paths: PathDifferences::default(),
            notes: Vec::new(),
        }
    }

    #[test]
    fn the_heading_says_what_each_side_has() {
        for (userland, kernel, wanted) in [
            ('1', '1', "One userland, one kernel"),
            ('1', '2', "One userland, two kernels"),
            ('1', 'a', "One userland, a kernel on one side only"),
            ('1', '-', "One userland"),
            ('2', '1', "Two userlands, one kernel"),
            ('2', '2', "Two userlands, two kernels"),
            ('2', 'a', "Two userlands, a kernel on one side only"),
            ('2', '-', "Two userlands"),
            ('a', '1', "A userland on one side only, one kernel"),
            ('a', 'a', "A userland on one side only, a kernel on one side only"),
            ('-', '1', "One kernel"),
            ('-', '2', "Two kernels"),
            ('-', '-', "Neither has a userland or a kernel"),
        ] {
            assert_eq!(heading(&comparison(userland, kernel)), wanted);
        }
    }
}
