//! A disk's map as pictures, its partitions, and what boots it.

use super::{Rows, code, key, list, section, table, text};
use crate::inspect::model::{Check, Disk, Kernel, Owner, Partition, Range, Unified};
use crate::inspect::render::disk::columns;
use crate::inspect::render::units::{count, size};

/// Columns of a picture.
const COLUMNS: usize = 500;
/// Ranges in the table; the pictures have them all.
const LISTED: usize = 200;

/// Everything about a disk.
pub fn disk(page: &mut String, disk: &Disk) {
    section(page, "Map", &map(disk));
    let mut rows = Rows::default();
    rows.add("Size", &format!("{} ({} bytes)", size(disk.size), disk.size));
    if let Some(form) = &disk.form {
        rows.add("Kept as", form);
    }
    rows.add("Table", &format!("{} {}", text(&disk.table), disk.id.as_deref().map(code).unwrap_or_default()));
    rows.facts("Starts under", &disk.firmware);
    for verity in &disk.verity {
        let whole = match (&verity.fault, verity.verified) {
            (Some(fault), _) => format!("not as it was built: {fault}"),
            (None, Some(true)) => "every block is as it was built".to_owned(),
            (None, _) => "nothing says its root hash".to_owned(),
        };
        _ = rows.add("dm-verity", &text(&format!("partition {}: {whole}", verity.partition)));
        _ = rows.add("Root hash", &text(&verity.root_hash));
    }
    disk.added.iter().for_each(|added| _ = rows.add("Added", &text(&added.words())));
    if !disk.table_notes.is_empty() {
        rows.add("Odd", &disk.table_notes.iter().map(|note| text(note)).collect::<Vec<_>>().join("<br>"));
    }
    section(page, "Disk", &(rows.finish() + &partitions(disk)));
    for entry in &disk.entries {
        let mut rows = Rows::default();
        rows.add(
            "Format",
            &format!("{} <span class=\"evidence\">{}</span>", text(&entry.format), code(&entry.evidence)),
        );
        for (label, value) in [("Title", &entry.title), ("Kernel", &entry.linux), ("Command line", &entry.options)] {
            value.iter().for_each(|value| _ = rows.add(label, &code(value)));
        }
        entry.initrd.iter().for_each(|path| _ = rows.add("Initramfs", &code(path)));
        section(page, "Boot entry", &rows.finish());
    }
    disk.kernels.iter().for_each(|found| {
        section(page, "Kernel", &kernel(found, false));
        found.unified.iter().for_each(|found| section(page, "Unified kernel image", &unified(found)));
    });
    for initramfs in &disk.initramfs {
        let mut rows = Rows::default();
        rows.add("From", &code(&initramfs.evidence));
        let packing = text(&initramfs.packing.join(" + "));
        rows.add("Size", &format!("{}, {}, {packing}", size(initramfs.size), count(initramfs.files, "file")));
        initramfs.init.iter().for_each(|init| _ = rows.add("Starts", &code(init)));
        initramfs.note.iter().for_each(|note| _ = rows.add("Note", &text(note)));
        if !initramfs.modules.is_empty() {
            rows.add(&format!("{} modules", initramfs.modules.len()), &text(&initramfs.modules.join(", ")));
        }
        let mut inner = rows.finish();
        if let Some(spec) = initramfs.boot_spec.as_ref().and_then(|spec| serde_json::to_string_pretty(spec).ok()) {
            inner.push_str(&format!(
                "<details><summary>Boot specification</summary><pre class=\"scroll\">{}</pre></details>\n",
                code(&spec)
            ));
        }
        section(page, "Initramfs", &inner);
    }
}

/// The whole disk, then every partition, all to one scale, with a line where the userland begins.
fn map(disk: &Disk) -> String {
    let mut out = String::from("<h3>The whole disk</h3>\n");
    let edge = userland_begins(disk);
    out.push_str(&bar(&disk.map, disk.size, edge, &format!("Map of the disk, {}", size(disk.size))));
    if let Some(edge) = edge {
        out.push_str(&format!(
            "<p>Left of the line: what starts the machine, {}. Right of it: the userland, {}. All bars have one scale.</p>\n",
            size(edge),
            size(disk.size - edge)
        ));
    }
    for partition in disk.partitions.iter().filter(|partition| partition.number > 0) {
        let title = title(partition);
        out.push_str(&format!("<h3>{}</h3>\n", text(&title)));
        let within: Vec<Range> =
            disk.map.iter().filter(|range| range.partition == Some(partition.number)).cloned().collect();
        out.push_str(&bar(&within, disk.size, edge, &title));
    }
    out.push_str(&legend(&disk.map));
    let rows: Vec<Vec<String>> = disk.map.iter().take(LISTED).map(row).collect();
    let more = disk.map.len().saturating_sub(LISTED);
    let caption = match more {
        0 => "What each byte belongs to".to_owned(),
        more => format!("The first {LISTED} of {} ranges", LISTED + more),
    };
    let ranges = table(&caption, &["#First byte", "#Bytes", "Whose", "What", "Partition"], &rows);
    out.push_str(&format!("<details><summary>The map in numbers</summary>\n{ranges}</details>\n"));
    out
}

/// Where the partition with the userland begins; `None` where nothing stands before it.
fn userland_begins(disk: &Disk) -> Option<u64> {
    let number = disk.map.iter().find(|range| range.owner == Owner::Userland)?.partition?;
    let partition = disk.partitions.iter().find(|partition| partition.number == number)?;
    Some(partition.offset).filter(|offset| (1..disk.size).contains(offset))
}

fn title(partition: &Partition) -> String {
    let name = partition.name.as_ref().map(|name| format!(" \"{name}\"")).unwrap_or_default();
    format!(
        "Partition {}{name}: {}, {}, {}",
        partition.number,
        partition.r#type,
        partition.content,
        size(partition.length)
    )
}

fn row(range: &Range) -> Vec<String> {
    vec![
        range.offset.to_string(),
        range.length.to_string(),
        format!("{}{}", key(class(range.owner)), text(range.owner.name())),
        text(&range.what),
        range.partition.map(|number| number.to_string()).unwrap_or_default(),
    ]
}

/// A bar of `length` bytes to scale; neighbouring columns of one owner are one rectangle. `edge` is marked by a line.
fn bar(map: &[Range], length: u64, edge: Option<u64>, name: &str) -> String {
    let columns = columns(map, length, COLUMNS);
    let mut rects = String::new();
    let mut start = 0;
    while start < columns.len() {
        let owner = columns[start];
        let run = columns[start..].iter().take_while(|other| **other == owner).count();
        if owner != Owner::Free {
            rects.push_str(&format!(
                "<rect class=\"{}\" x=\"{start}\" y=\"0\" width=\"{run}\" height=\"10\"><title>{}</title></rect>\n",
                class(owner),
                owner.name()
            ));
        }
        start += run;
    }
    if let Some(edge) = edge {
        let x = u128::from(edge) * COLUMNS as u128 / u128::from(length.max(1));
        rects.push_str(&format!("<rect class=\"edge\" x=\"{x}\" y=\"0\" width=\"1\" height=\"10\"/>\n"));
    }
    let parts: Vec<String> =
        shares(map).into_iter().map(|(owner, bytes)| format!("{} {}", owner.name(), size(bytes))).collect();
    format!(
        "<svg class=\"bar\" viewBox=\"0 0 {COLUMNS} 10\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{}: {}\">\n{rects}</svg>\n",
        text(name),
        text(&parts.join(", "))
    )
}

fn shares(map: &[Range]) -> Vec<(Owner, u64)> {
    let bytes = |owner| map.iter().filter(|range| range.owner == owner).map(|range| range.length).sum::<u64>();
    Owner::ALL.into_iter().map(|owner| (owner, bytes(owner))).filter(|(_, bytes)| *bytes > 0).collect()
}

fn legend(map: &[Range]) -> String {
    let items = shares(map)
        .into_iter()
        .map(|(owner, bytes)| format!("<li>{}{}: {}</li>\n", key(class(owner)), owner.name(), size(bytes)));
    format!("<ul class=\"legend\">\n{}</ul>\n", items.collect::<String>())
}

/// The class of an owner, as it is called in JSON.
fn class(owner: Owner) -> &'static str {
    match owner {
        Owner::Firmware => "firmware",
        Owner::BootStage => "boot-stage",
        Owner::Loader => "loader",
        Owner::Kernel => "kernel",
        Owner::Initramfs => "initramfs",
        Owner::Userland => "userland",
        Owner::Metadata => "metadata",
        Owner::Files => "files",
        Owner::Free => "free",
        Owner::Unknown => "unknown",
    }
}

fn partitions(disk: &Disk) -> String {
    let rows: Vec<Vec<String>> = disk
        .partitions
        .iter()
        .map(|partition| {
            let usage = partition.usage.iter().map(|usage| format!("{} {}", size(usage.bytes), text(&usage.what)));
            vec![
                partition.number.to_string(),
                format!("{} {}", text(&partition.r#type), partition.name.as_deref().map(code).unwrap_or_default()),
                partition.offset.to_string(),
                size(partition.length),
                format!("{} {}", text(&partition.content), partition.label.as_deref().map(code).unwrap_or_default()),
                format!("<div class=\"lines\">{}</div>", usage.collect::<Vec<_>>().join("<br>")),
            ]
        })
        .collect();
    table("Partitions", &["#No.", "Type", "#First byte", "#Size", "Content", "Used for"], &rows)
}

fn checks(caption: &str, checks: &[&Check]) -> String {
    let row = |check: &&Check| {
        let class = if check.verdict == "unknown" { "unknown-verdict" } else { &check.verdict };
        let verdict = format!("<span class=\"verdict {}\">{}</span>", text(class), text(&check.verdict));
        vec![verdict, code(&check.option), text(&check.detail), text(&check.why)]
    };
    let rows: Vec<Vec<String>> = checks.iter().map(row).collect();
    table(caption, &["Verdict", "Option", "Found", "What it is for"], &rows)
}

/// The unified kernel image around a kernel.
pub fn unified(unified: &Unified) -> String {
    let mut rows = Rows::default();
    rows.add("Size", &size(unified.size));
    rows.add("SHA-256", &code(&unified.sha256));
    unified.stub.iter().for_each(|stub| _ = rows.add("Stub", &text(stub)));
    rows.add("Signed", if unified.signed { "yes" } else { "no" });
    unified.pcr11.iter().for_each(|pcr| _ = rows.add("TPM's PCR 11, SHA-256", &code(&pcr.sha256)));
    for section in &unified.sections {
        let lines: String = section.text.iter().flat_map(|text| text.lines()).map(|line| code(line) + "<br>").collect();
        rows.add(&section.name, &format!("{}, SHA-256 {}<br>{lines}", size(section.size), code(&section.sha256)));
    }
    rows.finish()
}

/// A kernel; `alone` tells every check, what passes last.
pub fn kernel(kernel: &Kernel, alone: bool) -> String {
    let mut rows = Rows::default();
    rows.add("Release", &code(&kernel.release));
    rows.add("From", &code(&kernel.evidence));
    rows.add("Architecture", &text(&kernel.architecture));
    kernel.banner.iter().for_each(|banner| _ = rows.add("Built", &text(banner)));
    rows.add(
        "Format",
        &format!(
            "{}, {}{}",
            text(&kernel.format),
            size(kernel.size),
            if kernel.efi_stub { ", EFI program" } else { "" }
        ),
    );
    kernel.protocol.iter().for_each(|protocol| _ = rows.add("Boot protocol", &text(protocol)));
    kernel.compression.iter().for_each(|packed| _ = rows.add("Packed with", &text(packed)));
    rows.add("SHA-256", &code(&kernel.sha256));
    let config = match (&kernel.config, kernel.options) {
        (Some(config), Some((yes, module))) => format!("{yes} built in, {module} as modules, {}", code(config)),
        _ => "not known".to_owned(),
    };
    rows.add("Configuration", &config);
    kernel.modules.iter().for_each(|modules| _ = rows.add("Modules", &modules.to_string()));
    if !kernel.buses.is_empty() {
        rows.add("Boots from", &text(&kernel.buses.join(", ")));
    }
    let mut out = rows.finish();
    if alone {
        out.push_str(&format!(
            "<p>Does it boot disks of bootdisk? <span class=\"verdict {0}\">{0}</span></p>\n",
            text(&kernel.boots)
        ));
        let (passed, rest): (Vec<&Check>, Vec<&Check>) =
            kernel.checks.iter().partition(|check| check.verdict == "pass");
        if !rest.is_empty() {
            out.push_str(&checks("What it lacks, or what is not known", &rest));
        }
        let table = checks("What it has", &passed);
        let summary = format!("{} passed", count(passed.len() as u64, "check"));
        out.push_str(&format!("<details><summary>{summary}</summary>\n{table}</details>\n"));
    } else if kernel.checks.iter().any(|check| check.verdict == "fail") {
        let failed = kernel.checks.iter().filter(|check| check.verdict == "fail");
        out.push_str(&list(failed.map(|check| format!("{} {}", code(&check.option), text(&check.detail)))));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_bars_of_a_map_have_one_scale_and_a_line_where_the_userland_begins() {
        let range = |offset, length, owner, partition| Range {
            offset,
            length,
            owner,
            what: String::new(),
            partition: Some(partition),
        };
        let partition = |number, offset, length| Partition { number, offset, length, ..Partition::default() };
        let disk = Disk {
            size: 1000,
            map: vec![range(100, 200, Owner::Kernel, 1), range(500, 400, Owner::Userland, 2)],
            partitions: vec![partition(1, 100, 200), partition(2, 500, 400)],
            ..Disk::default()
        };
        let page = map(&disk);
        let kernel = "<rect class=\"kernel\" x=\"50\" y=\"0\" width=\"100\"";
        assert_eq!(page.matches(kernel).count(), 2, "on the whole disk and of its partition: {page}");
        assert_eq!(page.matches("<rect class=\"edge\" x=\"250\"").count(), 3, "{page}");
        assert!(page.contains("Left of the line: what starts the machine, 500 B."), "{page}");
        let alone = Disk { map: vec![range(0, 400, Owner::Userland, 0)], ..disk };
        assert!(!map(&alone).contains("edge"), "a disk that is one file system has no line");
    }

    #[test]
    fn a_kernels_warning_comes_before_what_passes() {
        let check = |option: &str, verdict: &str| Check {
            option: option.into(),
            verdict: verdict.into(),
            detail: String::new(),
            why: String::new(),
        };
        let checks = vec![check("CONFIG_A", "pass"), check("CONFIG_B", "warn"), check("CONFIG_C", "pass")];
        let page = kernel(&Kernel { checks, ..Kernel::default() }, true);
        let at = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text}: {page}"));
        assert!(at("CONFIG_B") < at("<details><summary>2 checks passed") && at("<details>") < at("CONFIG_A"), "{page}");
    }
}
