//! Two reports compared: what differs in kernel and in userland.
//!
//! Userlands are compared name by name, with attributes and digests; what they say about themselves comes on top, for
//! people. Neither the layers of an image nor the place of a disk's blocks makes a difference.

use super::model::{Comparison, DIFF_SCHEMA, Difference, Disk, Kernel, Partition, Report, Side, VERSION};
use crate::added::Record;
use crate::contents::Root;
use crate::contents::compare::paths_beside;
use crate::escape::escape;
use crate::kernel::Bundle;
use crate::kernel::config::line;
use serde_json::Value;
use std::collections::BTreeMap;

/// Most options listed.
const LISTED: usize = 200;
/// Longest value shown, in characters.
const LONGEST: usize = 200;

/// One of the two: its report, and what can be compared closely.
pub struct Of<'a> {
    /// The report.
    pub report: &'a Report,
    /// Its userland, read with digests.
    pub tree: Option<&'a Root>,
    /// The kernel, when it was given by itself.
    pub bundle: Option<&'a Bundle>,
}

/// Compares.
pub fn compare(a: &Of<'_>, b: &Of<'_>) -> Comparison {
    let side = |of: &Of<'_>| Side {
        name: of.report.name.clone(),
        kind: of.report.kind,
        verdict: of.report.verdict.clone(),
        kernel: kernels_of(of).first().map(|kernel| kernel.release.clone()),
        userland: of.tree.is_some(),
        added: added(of).cloned(),
    };
    let kernel = kernels(a, b);
    let have_kernels = kernel_facts(a).is_some() || kernel_facts(b).is_some();
    let trees = a.tree.zip(b.tree);
    let explained = |mark: char, path: &[u8]| explained(a, b, mark, path);
    let paths = trees.map(|(a, b)| paths_beside(a, b, &explained)).unwrap_or_default();
    let userland = if trees.is_some() { userlands(a.report, b.report) } else { Vec::new() };
    let identical = paths.is_empty();
    let notes = a.report.notes.iter().map(|note| ("a", note)).chain(b.report.notes.iter().map(|note| ("b", note)));
    Comparison {
        schema: DIFF_SCHEMA,
        version: VERSION,
        a: side(a),
        b: side(b),
        kernel_identical: have_kernels.then_some(kernel.is_empty()),
        userland_identical: trees.map(|_| identical),
        kernel,
        disk: partitions(a.report, b.report),
        userland,
        paths,
        notes: notes.map(|(which, note)| format!("{which}: {note}")).collect(),
    }
}

/// The layer that a build has added to one side.
fn added<'a>(of: &Of<'a>) -> Option<&'a Record> {
    of.report.disk.as_ref()?.added.as_ref()
}

/// Whether the layer of a side that has the name is why it differs.
fn explained(a: &Of<'_>, b: &Of<'_>, mark: char, path: &[u8]) -> bool {
    let sides = match mark {
        '-' => [added(a), None],
        '+' => [None, added(b)],
        _ => [added(a), added(b)],
    };
    // The record is printable text already.
    sides.into_iter().flatten().any(|added| added.explains(escape(path).as_bytes(), mark != '~'))
}

/// The kernels of one side, the one it boots by default first.
fn kernels_of<'a>(of: &Of<'a>) -> Vec<&'a Kernel> {
    let disk = of.report.disk.iter().flat_map(|disk| &disk.kernels);
    of.report.kernel.iter().chain(disk).collect()
}

/// The kernel that one side boots by default, as values by name; `None` when it has none.
fn kernel_facts(of: &Of<'_>) -> Option<BTreeMap<String, String>> {
    let kernel = *kernels_of(of).first()?;
    let mut facts = BTreeMap::new();
    let mut add = |name: &str, value: String| _ = facts.insert(name.to_owned(), value);
    add("release", kernel.release.clone());
    add("architecture", kernel.architecture.clone());
    add("size", kernel.size.to_string());
    add("sha256", kernel.sha256.clone());
    kernel.protocol.iter().for_each(|protocol| add("boot protocol", protocol.clone()));
    add("EFI program", kernel.efi_stub.to_string());
    kernel.compression.iter().for_each(|packed| add("compression", packed.clone()));
    kernel.modules.iter().for_each(|modules| add("modules", modules.to_string()));
    let entries = of.report.disk.iter().flat_map(|disk| &disk.entries);
    let options = entries.map(|entry| entry.options.clone()).next().flatten();
    options.into_iter().for_each(|options| add("command line", options));
    Some(facts)
}

/// Kernels beside the default that only one of the two has, by their digests.
fn others(a: &Of<'_>, b: &Of<'_>) -> Vec<Difference> {
    let (all_a, all_b) = (kernels_of(a), kernels_of(b));
    let missing = |from: &[&Kernel], there: &[&Kernel]| -> Vec<String> {
        let beside = from.iter().skip(1);
        let alone = beside.filter(|kernel| there.iter().all(|other| other.sha256 != kernel.sha256));
        alone.map(|kernel| kernel.release.clone()).collect()
    };
    let what = "another kernel";
    let only_a = missing(&all_a, &all_b).into_iter().map(|release| only(what, Some(&release), None));
    let only_b = missing(&all_b, &all_a).into_iter().map(|release| only(what, None, Some(&release)));
    only_a.chain(only_b).collect()
}

fn kernels(a: &Of<'_>, b: &Of<'_>) -> Vec<Difference> {
    let (of_a, of_b) = match (kernel_facts(a), kernel_facts(b)) {
        (None, None) => return Vec::new(),
        (None, Some(facts)) => return vec![only("kernel", None, facts.get("release"))],
        (Some(facts), None) => return vec![only("kernel", facts.get("release"), None)],
        (Some(a), Some(b)) => (a, b),
    };
    let mut differences = by_name(&of_a, &of_b);
    differences.extend(others(a, b));
    if let Some((a, b)) = a.bundle.zip(b.bundle) {
        differences.extend(options(a, b));
    }
    differences
}

fn only(what: &str, a: Option<&String>, b: Option<&String>) -> Difference {
    let unnamed = |value: Option<&String>| value.cloned();
    Difference { what: what.to_owned(), a: unnamed(a), b: unnamed(b) }
}

fn by_name(a: &BTreeMap<String, String>, b: &BTreeMap<String, String>) -> Vec<Difference> {
    let mut names: Vec<&String> = a.keys().chain(b.keys()).collect();
    names.sort();
    names.dedup();
    let differ = names.into_iter().filter(|name| a.get(*name) != b.get(*name));
    differ.map(|name| only(name, a.get(name), b.get(name))).collect()
}

/// Partitions that are not the same, of two disks; of anything else nothing.
fn partitions(a: &Report, b: &Report) -> Vec<Difference> {
    let (Some(a), Some(b)) = (&a.disk, &b.disk) else { return Vec::new() };
    let facts = |disk: &Disk| -> BTreeMap<String, String> {
        let table = [("size".to_owned(), disk.size.to_string()), ("table".to_owned(), disk.table.clone())];
        let id = disk.id.iter().map(|id| ("identifier".to_owned(), id.clone()));
        let partitions = disk.partitions.iter().map(|partition| {
            let Partition { offset, length, type_id, .. } = partition;
            let guid = partition.guid.as_deref().unwrap_or("none");
            (format!("partition {}", partition.number), format!("{type_id}, {guid}, {length} bytes at {offset}"))
        });
        table.into_iter().chain(id).chain(partitions).collect()
    };
    by_name(&facts(a), &facts(b))
}

/// Options that the two configurations set differently.
fn options(a: &Bundle, b: &Bundle) -> Vec<Difference> {
    let (Some(a), Some(b)) = (&a.config, &b.config) else { return Vec::new() };
    let of = |text: &str| -> BTreeMap<String, String> {
        let set = text.lines().filter(|text| line(text).is_some()).filter_map(|line| line.split_once('='));
        set.map(|(name, value)| (escape(name.as_bytes()), escape(value.as_bytes()))).collect()
    };
    let mut differences = by_name(&of(a.text()), &of(b.text()));
    let more = differences.len().saturating_sub(LISTED);
    differences.truncate(LISTED);
    if more > 0 {
        differences.push(Difference { what: format!("and {more} more options"), a: None, b: None });
    }
    differences
}

/// What the two say about themselves, field by field.
fn userlands(a: &Report, b: &Report) -> Vec<Difference> {
    let fields = |report: &Report| -> BTreeMap<String, String> {
        let mut fields = BTreeMap::new();
        if let Some(Value::Object(object)) = report.userland.as_ref().and_then(|u| serde_json::to_value(u).ok()) {
            let wanted = object.into_iter().filter(|(name, _)| name != "sizes");
            fields.extend(wanted.map(|(name, value)| (name.replace('_', " "), brief(&value))));
        }
        if let Some(command) = &report.command {
            fields.insert("command".into(), command.words.join(" "));
            fields.insert("program".into(), command.path.clone().unwrap_or_default());
        }
        fields
    };
    by_name(&fields(a), &fields(b))
}

/// A value in a few words: the values of facts, without their evidence.
fn brief(value: &Value) -> String {
    let text = match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(brief).collect::<Vec<_>>().join(", "),
        Value::Object(fields) => match (fields.get("value"), fields.get("name"), fields.get("manager")) {
            (Some(value), ..) | (_, Some(value), _) => brief(value),
            (_, _, Some(manager)) => {
                format!("{} {}", brief(manager), fields.get("installed").map(brief).unwrap_or_default())
            }
            _ => fields.get("count").map_or_else(|| value.to_string(), brief),
        },
        other => other.to_string(),
    };
    crate::shorten::fit(&text, LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contents::paths::tests::tree;
    use crate::inspect::model::Kind as Subject;

    fn of<'a>(report: &'a Report, tree: &'a Root) -> Of<'a> {
        Of { report, tree: Some(tree), bundle: None }
    }

    #[test]
    fn names_that_differ_are_told_with_what() {
        let report = Report::new(Subject::Image, "x");
        let a = tree(&["same", "only-a", "kind", "link -> x"]);
        let b = tree(&["same", "only-b", "kind/", "link -> y"]);
        let found = compare(&of(&report, &a), &of(&report, &b));
        assert_eq!(found.userland_identical, Some(false));
        let items: Vec<String> = found
            .paths
            .items
            .iter()
            .map(|item| format!("{} {} {}", item.mark, item.path, item.what.join(",")))
            .collect();
        assert_eq!(items, ["~ /kind file / directory", "~ /link target", "- /only-a ", "+ /only-b "]);
        assert_eq!(compare(&of(&report, &a), &of(&report, &a)).userland_identical, Some(true));
    }
}
