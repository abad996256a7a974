//! Every path as a running kernel sees it, against the same image unpacked by umoci: types, permissions, owners, links,
//! times to the nanosecond, contents, devices, extended attributes.

use crate::{e2e, e2e_disk};
use e2e::{Bench, Kernel, image};
use std::fs;

#[test]
fn one_of_everything() {
    agrees("zoo.oci", "zoo.expected");
}

#[test]
fn a_distribution_with_a_server_and_removals() {
    agrees("nginx-probe.oci", "nginx.expected");
}

/// The image's command lists its own tree; the list must be the one its umoci twin gave.
fn agrees(name: &str, expected: &str) {
    let bench = Bench::new(Kernel::Cloud);
    let disk = bench.build(image(name), "disk.img", &[]);
    e2e_disk::check(&disk);
    let listed = bench.run(&disk, &[]).expect_status(0).text();
    let expected = fs::read_to_string(image(expected)).unwrap();
    assert!(expected.lines().count() > 1000, "the list of {name} is short");
    compare(&without_places_of_work(&expected), &without_places_of_work(&listed));
}

/// A list without `/` and `/etc`, where the guest makes mount points and name service files, which changes their times,
/// and without the link at `/etc/mtab` that it makes as runtimes do.
fn without_places_of_work(list: &str) -> String {
    list.lines()
        .filter(|line| !line.ends_with(" /") && !line.ends_with(" /etc"))
        .filter(|line| !line.ends_with(" /etc/mtab -> /proc/mounts"))
        .map(|line| format!("{line}\n"))
        .collect()
}

/// Fails with the first lines that are on one side only.
fn compare(expected: &str, listed: &str) {
    let missing: Vec<&str> = difference(expected, listed);
    let extra: Vec<&str> = difference(listed, expected);
    assert!(
        missing.is_empty() && extra.is_empty(),
        "{} lines are missing, such as:\n{}\n{} are too many, such as:\n{}",
        missing.len(),
        missing[..missing.len().min(5)].join("\n"),
        extra.len(),
        extra[..extra.len().min(5)].join("\n"),
    );
    assert_eq!(expected.len(), listed.len(), "a line occurs more than once");
}

fn difference<'a>(left: &'a str, right: &str) -> Vec<&'a str> {
    let right: std::collections::HashSet<&str> = right.lines().collect();
    left.lines().filter(|line| !right.contains(line)).collect()
}

#[test]
#[should_panic(expected = "1 lines are missing")]
fn a_changed_line_is_seen() {
    compare("100644 0:0 /a\n100644 0:0 /b\n", "100644 0:0 /a\n100644 0:1 /b\n");
}
