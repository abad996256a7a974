//! A disk's map as pictures, its partitions, and what boots it.

use super::{Rows, code, key, list, section, table, text};
use crate::inspect::model::{Disk, Kernel, Owner, Partition, Range};
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
    disk.kernels.iter().for_each(|found| section(page, "Kernel", &kernel(found, false)));
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

/// The whole disk, then every partition of several, each to its own scale.
fn map(disk: &Disk) -> String {
    let mut out = String::from("<h3>The whole disk</h3>\n");
    out.push_str(&bar(&disk.map, (0, disk.size), &format!("Map of the disk, {}", size(disk.size))));
    for partition in disk.partitions.iter().filter(|partition| partition.number > 0) {
        let title = title(partition);
        out.push_str(&format!("<h3>{}</h3>\n", text(&title)));
        let within: Vec<Range> =
            disk.map.iter().filter(|range| range.partition == Some(partition.number)).cloned().collect();
        out.push_str(&bar(&within, (partition.offset, partition.length), &title));
    }
    out.push_str(&legend(&disk.map));
    let rows: Vec<Vec<String>> = disk.map.iter().take(LISTED).map(row).collect();
    let more = disk.map.len().saturating_sub(LISTED);
    let caption = match more {
        0 => "Every byte and whose it is".to_owned(),
        more => format!("The first {LISTED} of {} ranges", LISTED + more),
    };
    let ranges = table(&caption, &["#First byte", "#Bytes", "Whose", "What", "Partition"], &rows);
    out.push_str(&format!("<details><summary>The map in numbers</summary>\n{ranges}</details>\n"));
    out
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

/// A bar to scale; neighbouring columns of one owner are one rectangle.
fn bar(map: &[Range], (offset, length): (u64, u64), name: &str) -> String {
    let shifted: Vec<Range> =
        map.iter().map(|range| Range { offset: range.offset.saturating_sub(offset), ..range.clone() }).collect();
    let columns = columns(&shifted, length, COLUMNS);
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

/// A kernel; `alone` tells every check.
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
            "<p>Does it boot our disks? <span class=\"verdict {0}\">{0}</span></p>\n",
            text(&kernel.boots)
        ));
        let rows: Vec<Vec<String>> = kernel
            .checks
            .iter()
            .map(|check| {
                let class = if check.verdict == "unknown" { "unknown-verdict" } else { &check.verdict };
                let verdict = format!("<span class=\"verdict {}\">{}</span>", text(class), text(&check.verdict));
                vec![verdict, code(&check.option), text(&check.detail), text(&check.why)]
            })
            .collect();
        out.push_str(&table("What it has and lacks", &["Verdict", "Option", "Found", "What it is for"], &rows));
    } else if kernel.checks.iter().any(|check| check.verdict == "fail") {
        let failed = kernel.checks.iter().filter(|check| check.verdict == "fail");
        out.push_str(&list(failed.map(|check| format!("{} {}", code(&check.option), text(&check.detail)))));
    }
    out
}
