//! The text about disks and kernels.

use super::page::Page;
use super::units::{count, size};
use crate::inspect::model::{Disk, Fact, Kernel, Owner, Range, Unified};

/// Columns of the map.
const MAP: usize = 64;

/// Table, map, partitions, loader entries, kernels and initial RAM disks.
pub fn disk(page: &mut Page, disk: &Disk) {
    page.row("size", &format!("{} ({} bytes)", size(disk.size), disk.size));
    if let Some(form) = &disk.form {
        page.row("kept as", form);
    }
    let id = disk.id.as_ref().map(|id| format!(", {id}")).unwrap_or_default();
    page.row("table", &format!("{}{id}", disk.table));
    disk.table_notes.iter().for_each(|note| page.row("", note));
    disk.firmware.iter().for_each(|fact| page.fact("starts under", fact));
    if let Some(added) = &disk.added {
        page.row("added", &added.words());
        page.evidence(&added.layer);
    }
    for verity in &disk.verity {
        let over =
            verity.data_partition.map_or_else(|| "no partition".to_owned(), |number| format!("partition {number}"));
        let whole = match (&verity.fault, verity.verified) {
            (Some(fault), _) => format!("NOT as it was built: {fault}"),
            (None, Some(true)) => "every block of it is as it was built".to_owned(),
            (None, _) => "nothing says its root hash".to_owned(),
        };
        page.row("dm-verity", &format!("partition {} over {over}: {whole}", verity.partition));
        page.row("root hash", &verity.root_hash);
        page.evidence(&format!("{} blocks of {} bytes, {}", verity.data_blocks, verity.block_size, verity.algorithm));
        page.evidence(&format!("salt {}", verity.salt));
    }
    map(page, disk);
    for partition in &disk.partitions {
        let number =
            if partition.number == 0 { "whole disk".to_owned() } else { format!("partition {}", partition.number) };
        let named = partition.name.as_ref().map(|name| format!(" \"{name}\"")).unwrap_or_default();
        page.row(&number, &format!("{}{named}: {}, {}", partition.r#type, size(partition.length), partition.content));
        for usage in &partition.usage {
            page.evidence(&format!("{:>10}  {}", size(usage.bytes), usage.what));
        }
    }
    for entry in &disk.entries {
        page.section("boot entry");
        page.fact("format", &Fact::new(&entry.format, &entry.evidence));
        for (label, value) in [("title", &entry.title), ("kernel", &entry.linux), ("options", &entry.options)] {
            value.iter().for_each(|value| page.row(label, value));
        }
        entry.initrd.iter().for_each(|path| page.row("initramfs", path));
    }
    disk.kernels.iter().for_each(|found| {
        page.section("kernel");
        kernel(page, found, false);
    });
    for initramfs in &disk.initramfs {
        page.section("initramfs");
        page.row("from", &initramfs.evidence);
        page.row(
            "size",
            &format!("{}, {}, {}", size(initramfs.size), count(initramfs.files, "file"), initramfs.packing.join(" + ")),
        );
        initramfs.init.iter().for_each(|init| page.row("starts", init));
        if !initramfs.modules.is_empty() {
            page.row("modules", &format!("{}: {}", initramfs.modules.len(), initramfs.modules.join(" ")));
        }
        if let Some(spec) = &initramfs.boot_spec {
            let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            for (label, pointer) in [
                ("root", "/root/partuuid"),
                ("who runs it", "/init"),
                ("entrypoint", "/process/entrypoint"),
                ("cmd", "/process/cmd"),
            ] {
                spec.pointer(pointer).iter().for_each(|value| page.row(label, &text(value)));
            }
            if let Some(settings) = spec.get("settings") {
                page.row("settings", &at_start(settings));
            }
        }
        initramfs.note.iter().for_each(|note| page.row("note", note));
    }
}

/// Where the machine looks for settings at its start.
fn at_start(settings: &serde_json::Value) -> String {
    let ways = settings["ways"].as_array().into_iter().flatten().filter_map(|way| way.as_str());
    match settings["read"].as_bool() {
        Some(true) => format!("at start, from {}", ways.collect::<Vec<_>>().join(", ")),
        _ => "none at start (--no-settings)".to_owned(),
    }
}

/// The letter of an owner in the map.
fn letter(owner: Owner) -> char {
    match owner {
        Owner::Firmware => 'F',
        Owner::BootStage => 'B',
        Owner::Loader => 'L',
        Owner::Kernel => 'K',
        Owner::Initramfs => 'I',
        Owner::Userland => 'U',
        Owner::Metadata => 'm',
        Owner::Files => 'o',
        Owner::Free => '.',
        Owner::Unknown => '?',
    }
}

/// Every column is so many bytes of the disk, and shows who has most of them; of what is nowhere the most, the letter
/// is in the legend with its bytes.
fn map(page: &mut Page, disk: &Disk) {
    if disk.map.is_empty() || disk.size == 0 {
        return;
    }
    page.section("map");
    let columns = columns(&disk.map, disk.size, MAP);
    let row: String = columns.iter().map(|owner| letter(*owner)).collect();
    page.line(&format!("  [{row}]"));
    page.line(&format!("  one column is {}", size(disk.size / MAP as u64)));
    for owner in Owner::ALL {
        let bytes: u64 = disk.map.iter().filter(|range| range.owner == owner).map(|range| range.length).sum();
        if bytes > 0 {
            page.line(&format!("  {}  {:>10}  {}", letter(owner), size(bytes), owner.name()));
        }
    }
}

/// Who has most of each of `count` equal parts of the disk. What is small and not free has precedence over what is
/// free, so that a part with something in it does not look empty.
pub fn columns(map: &[Range], disk: u64, count: usize) -> Vec<Owner> {
    let mut shares = vec![[0u64; Owner::ALL.len()]; count];
    let edge = |i: usize| (u128::from(disk) * i as u128 / count as u128) as u64;
    for range in map {
        let end = range.offset.saturating_add(range.length).min(disk);
        let first = (u128::from(range.offset.min(disk)) * count as u128 / u128::from(disk.max(1))) as usize;
        for (i, share) in shares.iter_mut().enumerate().skip(first) {
            let (from, to) = (range.offset.max(edge(i)), end.min(edge(i + 1)));
            if from >= end {
                break;
            }
            share[range.owner as usize] += to.saturating_sub(from);
        }
    }
    let owner = |shares: &[u64; Owner::ALL.len()]| {
        let used = Owner::ALL.iter().filter(|owner| !matches!(owner, Owner::Free | Owner::Unknown));
        let most = used.max_by_key(|owner| shares[**owner as usize]).copied().unwrap_or(Owner::Unknown);
        let part: u64 = shares.iter().sum();
        match shares[most as usize] {
            0 if shares[Owner::Unknown as usize] > 0 => Owner::Unknown,
            bytes if bytes == 0 || bytes < part / 64 => Owner::Free,
            _ => most,
        }
    };
    let mut columns: Vec<Owner> = shares.iter().map(owner).collect();
    Owner::ALL.iter().filter(|owner| !matches!(owner, Owner::Free | Owner::Unknown)).for_each(|owner| {
        show(*owner, &shares, &mut columns);
    });
    columns
}

/// Gives an owner that has the most of no part the one in which it has the most bytes, unless that is all another owner
/// has to be seen by: a userland of two megabytes is on the disk as well.
fn show(owner: Owner, shares: &[[u64; Owner::ALL.len()]], columns: &mut [Owner]) {
    if columns.contains(&owner) {
        return;
    }
    let lone = |columns: &[Owner], at: usize| {
        !matches!(columns[at], Owner::Free | Owner::Unknown)
            && columns.iter().filter(|has| **has == columns[at]).count() == 1
    };
    let fitting = (0..columns.len()).filter(|at| shares[*at][owner as usize] > 0 && !lone(columns, *at));
    // Of equal parts the first: a tie says nothing about where it is.
    if let Some(at) = fitting.rev().max_by_key(|at| shares[*at][owner as usize]) {
        columns[at] = owner;
    }
}

/// A kernel. `alone` is for a report about nothing else, where every check is told.
pub fn kernel(page: &mut Page, kernel: &Kernel, alone: bool) {
    page.row("from", &kernel.evidence);
    page.row("release", &kernel.release);
    page.row("architecture", &kernel.architecture);
    kernel.banner.iter().for_each(|banner| page.row("built", banner));
    let protocol = kernel.protocol.as_ref().map(|protocol| format!(", boot protocol {protocol}")).unwrap_or_default();
    let packed = kernel.compression.as_ref().map(|packed| format!(", {packed} inside")).unwrap_or_default();
    let stub = if kernel.efi_stub { ", EFI program" } else { "" };
    page.row("format", &format!("{}, {}{protocol}{packed}{stub}", kernel.format, size(kernel.size)));
    page.row("sha256", &kernel.sha256);
    match (&kernel.config, kernel.options) {
        (Some(config), Some((yes, module))) => {
            page.fact("configuration", &Fact::new(format!("{yes} built in, {module} as modules"), config));
        }
        _ => page.row("configuration", "not known"),
    }
    kernel.modules.iter().for_each(|modules| page.row("modules", &modules.to_string()));
    if !kernel.buses.is_empty() {
        page.row("boots from", &kernel.buses.join(" "));
    }
    if !kernel.boots_on.is_empty() {
        page.row("boots on", &kernel.boots_on);
    }
    kernel.unified.iter().for_each(|found| unified(page, found));
    if alone {
        page.section("does it boot our disks?");
        page.row("verdict", &kernel.boots);
    }
    for check in kernel.checks.iter().filter(|_| alone) {
        page.row(&check.verdict, &format!("{} {}", check.option, check.detail));
        page.evidence(&check.why);
    }
}

/// The unified kernel image around a kernel.
fn unified(page: &mut Page, unified: &Unified) {
    page.section("unified kernel image");
    page.row("size", &format!("{} ({} bytes)", size(unified.size), unified.size));
    page.row("sha256", &unified.sha256);
    unified.stub.iter().for_each(|stub| page.row("stub", stub));
    page.row("signed", if unified.signed { "yes" } else { "no" });
    unified.pcr11.iter().for_each(|pcr| page.row("TPM's PCR 11", &format!("sha256 {}", pcr.sha256)));
    for section in &unified.sections {
        page.row(&section.name, &format!("{}, sha256 {}", size(section.size), section.sha256));
        section.text.iter().flat_map(|text| text.lines()).for_each(|line| page.evidence(line));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(ranges: &[(u64, u64, Owner)], disk: u64, count: usize) -> String {
        let range = |&(offset, length, owner): &(u64, u64, Owner)| Range {
            offset,
            length,
            owner,
            what: String::new(),
            partition: None,
        };
        columns(&ranges.iter().map(range).collect::<Vec<_>>(), disk, count).into_iter().map(letter).collect()
    }

    #[test]
    fn whoever_has_bytes_has_a_column_however_small_it_is() {
        use Owner::{Free, Kernel, Metadata, Userland};
        for (ranges, map) in [
            (vec![(0, 50, Kernel), (50, 50, Userland)], "KKKKKUUUUU"),
            // Two bytes beside the eight of the file system's own, as busybox is on its disk.
            (vec![(0, 50, Kernel), (50, 18, Metadata), (68, 2, Userland), (70, 30, Free)], "KKKKKmU..."),
            (vec![(0, 50, Kernel), (50, 8, Metadata), (58, 2, Userland), (60, 40, Free)], "KKKKKm...."),
            (vec![(0, 50, Free), (50, 1, Userland), (51, 49, Free)], ".....U...."),
        ] {
            assert_eq!(shown(&ranges, 100, 10), map, "{ranges:?}");
        }
    }
}
