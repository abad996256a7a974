//! The same input gives the same bytes, and the root partition depends on the image alone.

use crate::{e2e, e2e_disk, tools};
use e2e::{Bench, Kernel, image, run};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Surroundings that must not reach the disk.
struct Surroundings {
    umask: &'static str,
    zone: &'static str,
    locale: &'static str,
    /// Processors its threads may use, as taskset(1) takes them.
    cpus: &'static str,
    /// `SOURCE_DATE_EPOCH`. One that is later than the image limits nothing.
    limit: Option<&'static str>,
}

const HERE: Surroundings = Surroundings { umask: "022", zone: "UTC", locale: "C", cpus: "0", limit: None };
const ELSEWHERE: Surroundings = Surroundings {
    umask: "077",
    zone: "Asia/Kathmandu",
    locale: "tr_TR.UTF-8",
    cpus: "0-1023",
    limit: Some("32503680000"),
};

/// Builds in a folder of its own with that umask, zone, locale and number of processors.
fn build_in(bench: &Bench, folder: &str, what: &Path, around: &Surroundings) -> PathBuf {
    let folder = bench.path(folder);
    std::fs::create_dir_all(&folder).unwrap();
    let program = bench.bootdisk().get_program().to_owned();
    // The shell's umask is the only way to set one without touching the other tests of this process.
    let mut command = bench.at_home("sh");
    command
        .args(["-c", "umask \"$0\" && exec \"$@\"", around.umask])
        .args(["taskset", "-c", around.cpus])
        .arg(program)
        .arg("build")
        .arg(what)
        .args(["-o", "disk.img"])
        .env("TZ", around.zone)
        .env("LANG", around.locale)
        .env("LC_ALL", around.locale)
        .envs(around.limit.map(|limit| ("SOURCE_DATE_EPOCH", limit)))
        .current_dir(&folder);
    run(&mut command).expect(0, "");
    folder.join("disk.img")
}

/// cmp(1): `None` when equal, else where they differ.
fn difference(left: &Path, right: &Path) -> Option<String> {
    let cmp = tools::run(Command::new("cmp").arg(left).arg(right));
    match cmp.status.code() {
        Some(0) => None,
        _ => Some(String::from_utf8_lossy(&cmp.stdout).into_owned() + &String::from_utf8_lossy(&cmp.stderr)),
    }
}

#[test]
fn surroundings_do_not_reach_the_disk() {
    let bench = Bench::new(Kernel::Cloud);
    for name in ["hello-c.docker.tar", "nginx.oci", "zoo.oci"] {
        let one = build_in(&bench, "one", &image(name), &HERE);
        let other = build_in(&bench, "a/second folder", &image(name), &ELSEWHERE);
        assert_eq!(difference(&one, &other), None, "{name}");
    }
}

#[test]
fn nor_does_the_number_of_threads() {
    let bench = Bench::new(Kernel::Cloud);
    for name in ["nginx.oci", "nginx-zstd.oci"] {
        let build = |threads: &str| {
            let disk = bench.path(threads);
            let mut build = bench.bootdisk();
            build.arg("build").arg(image(name)).arg("-o").arg(&disk).args(["--no-sync", "--threads", threads]);
            run(&mut build).expect(0, "");
            disk
        };
        let one = build("1");
        assert_eq!(difference(&one, &build("2")), None, "{name}");
        assert_eq!(difference(&one, &build("8")), None, "{name}");
    }
}

#[test]
fn nor_does_the_time_of_day() {
    let bench = Bench::new(Kernel::Cloud);
    let one = build_in(&bench, "one", &image("hello-c.oci"), &HERE);
    let second = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let built = second();
    while second() == built {
        std::thread::sleep(Duration::from_millis(20));
    }
    let other = build_in(&bench, "other", &image("hello-c.oci"), &HERE);
    assert_eq!(difference(&one, &other), None);
}

#[test]
fn another_image_is_another_disk() {
    let bench = Bench::new(Kernel::Cloud);
    let one = build_in(&bench, "one", &image("hello-c.oci"), &HERE);
    let other = build_in(&bench, "other", &image("hello-go.oci.tar"), &HERE);
    assert!(difference(&one, &other).is_some());
    assert_ne!(e2e_disk::root_uuid(&one), e2e_disk::root_uuid(&other));
}

/// Two kernels of very different size, and the root partitions are equal to the byte.
#[test]
fn the_root_does_not_depend_on_the_kernel() {
    let (cloud, generic) = (Bench::new(Kernel::Cloud), Bench::new(Kernel::Generic));
    for (name, options) in [
        ("hello-c.oci", &[][..]),
        ("hello-c.oci", &["--size", "1G"]),
        ("nginx.oci", &[]),
        ("nginx.oci", &["--size", "2G"]),
    ] {
        let (one, other) = (cloud.path("root-1"), cloud.path("root-2"));
        let first = cloud.build(image(name), "cloud.img", options);
        let second = generic.build(image(name), "generic.img", options);
        for (disk, root) in [(&first, &one), (&second, &other)] {
            e2e_disk::check(disk);
            e2e_disk::extract(disk, e2e_disk::partition(disk, e2e_disk::ROOT), root);
        }
        assert_eq!(difference(&one, &other), None, "{name} {options:?}");
        assert!(difference(&first, &second).is_some(), "{name}: the disks have two kernels and are equal");
    }
}

/// Identifiers of a disk in other people's eyes: its own GUID, those of three partitions, the ESP's volume id.
fn identifiers(bench: &Bench, disk: &Path) -> Vec<String> {
    let table = tools::stdout(Command::new("sgdisk").arg("-p").arg(disk));
    let own = table.lines().find(|line| line.starts_with("Disk identifier")).expect("sgdisk says it").to_owned();
    let esp = bench.path("esp");
    e2e_disk::extract(disk, e2e_disk::partition(disk, e2e_disk::ESP), &esp);
    let volume = ["--probe", "--match-tag", "UUID", "--output", "value"];
    let volume = tools::stdout(Command::new("blkid").args(volume).arg(&esp));
    let parts = (1..=3).map(|number| e2e_disk::guid(disk, number, "Partition unique GUID"));
    [own, volume].into_iter().chain(parts).collect()
}

/// One root in all of them, byte for byte, and nothing else that is the same.
#[test]
fn siblings_have_identifiers_of_their_own_and_one_root() {
    let bench = Bench::new(Kernel::Cloud);
    let image = image("hello-c.oci");
    let build = |name: &str, options: &[&str]| {
        let disk = bench.build(&image, name, options);
        e2e_disk::check(&disk);
        e2e_disk::extract(&disk, e2e_disk::partition(&disk, e2e_disk::ROOT), &bench.path(&format!("{name}.root")));
        let identifiers = identifiers(&bench, &disk);
        assert_eq!(identifiers.len(), 5);
        (disk, identifiers)
    };
    let (_, plain) = build("plain", &[]);
    let (one, named) = build("one", &["--identity", "one"]);
    let mut seen = vec![plain, named];
    for (name, text) in [("two", "two"), ("random", "random"), ("random-2", "random")] {
        let (_, identifiers) = build(name, &["--identity", text]);
        assert_eq!(difference(&bench.path("plain.root"), &bench.path(&format!("{name}.root"))), None, "{name}");
        seen.push(identifiers);
    }
    for at in 0..5 {
        let mut each: Vec<&String> = seen.iter().map(|identifiers| &identifiers[at]).collect();
        each.sort();
        each.dedup();
        assert_eq!(each.len(), seen.len(), "{seen:#?}");
    }
    let again = bench.build(&image, "again", &["--identity", "one"]);
    assert_eq!(difference(&one, &again), None);
}
