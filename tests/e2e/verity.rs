//! `build --verity`: a root that the kernel verifies block by block, whole and damaged.

use crate::{e2e, e2e_disk};
use bootdisk::ext4::read::FileSystem;
use e2e::{Bench, Kernel, image, sha256};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file that nothing needs, and one beside it.
const DAMAGED: &str = "/usr/share/common-licenses/GPL-3";
const WHOLE: &str = "/usr/share/common-licenses/GPL-2";

/// First byte of a file's body on the disk.
fn body(disk: &Path, path: &str) -> u64 {
    let (file, root) = (File::open(disk).unwrap(), e2e_disk::partition(disk, e2e_disk::ROOT).start);
    let fs = FileSystem::open(&file, root).unwrap();
    let inode = path.split('/').filter(|name| !name.is_empty()).fold(2, |folder, name| {
        let names = fs.names(&fs.inode(folder).unwrap()).unwrap();
        names.into_iter().find(|entry| entry.name == name.as_bytes()).unwrap_or_else(|| panic!("{path}")).inode
    });
    root + fs.mappings(&fs.inode(inode).unwrap()).unwrap()[0].start * fs.block_bytes()
}

/// A copy of the disk with one bit changed.
fn flipped(disk: &Path, at: u64, to: &Path) -> PathBuf {
    fs::copy(disk, to).unwrap();
    let (file, mut byte) = (File::options().read(true).write(true).open(to).unwrap(), [0]);
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
    to.to_owned()
}

fn refused(bench: &Bench, words: &[&str], says: &str) {
    let ran = e2e::run(bench.bootdisk().args(words));
    assert!(ran.status != Some(0) && ran.stderr.contains(says), "{words:?}: {}", ran.stderr);
}

#[test]
fn a_verified_root_runs_as_any_other_and_tells_a_changed_block() {
    let bench = Bench::new(Kernel::Cloud);
    let options = ["--verity", "--verify", "--firmware", "uefi", "--esp-size", "auto"];
    let disk = bench.build(image("debian.oci"), "disk.img", &options);
    let json: serde_json::Value = {
        let said = e2e::run(bench.bootdisk().args(["inspect", "--json"]).arg(&disk)).expect_status(0).text();
        serde_json::from_str(&said).unwrap()
    };
    let verity = &json["disk"]["verity"][0];
    assert_eq!(verity["verified"], true, "{verity}");
    let hash = verity["root_hash"].as_str().unwrap();
    let guids: Vec<String> = json["disk"]["partitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["guid"].as_str().unwrap().replace('-', ""))
        .collect();
    assert_eq!(guids[guids.len() - 2..].concat(), hash, "the partitions' GUIDs are the root hash");
    // What says so elsewhere.
    let [data, hashes] = ["data", "hashes"].map(|name| bench.path(name));
    e2e_disk::extract(&disk, e2e_disk::partition(&disk, e2e_disk::ROOT), &data);
    e2e_disk::extract(&disk, e2e_disk::partition(&disk, e2e_disk::ROOT + 1), &hashes);
    let judged = |hash: &str| {
        let path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap());
        Command::new("/usr/bin/env")
            .args(["veritysetup", "verify"])
            .args([&data, &hashes])
            .arg(hash)
            .env("PATH", path)
            .status()
            .unwrap()
    };
    assert!(judged(hash).success() && !judged(&"0".repeat(64)).success());
    e2e_disk::check(&disk);

    let before = sha256(&disk);
    let script = format!(
        "set -e; grep -q 'overlay / overlay' /proc/mounts; cat /sys/block/dm-0/dm/name; grep -o 'roothash=[0-9a-f]*' /proc/cmdline
         grep -qx 'CRYPT-VERITY-{}-root' /sys/block/dm-0/dm/uuid; cat /sys/block/dm-0/ro
         echo changed >/etc/hostname-of-mine; echo changed >>{DAMAGED}; rm {WHOLE}; cat /etc/hostname-of-mine; echo kept >/data/kept",
        verity["uuid"].as_str().unwrap().replace('-', "")
    );
    let volume = ["--firmware", "direct", "--volume", "verity-test:/data"];
    bench.run_other(&disk, &volume, &["sh", "-c", &script]).expect(0, &format!("root\nroothash={hash}\n1\nchanged\n"));
    assert_eq!(sha256(&disk), before, "no write reaches the disk");

    let damaged = flipped(&disk, body(&disk, DAMAGED) + 100, &bench.path("damaged.img"));
    let said = e2e::run(bench.bootdisk().arg("inspect").arg(&damaged)).expect_status(0).text();
    let words = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("NOT as it was built: data block "), "{said}");
    let script =
        format!("cat /data/kept; cat {DAMAGED}; echo status $?; sha256sum <{WHOLE}; ls / >/dev/null && echo fine");
    let ran = bench.run_other(&damaged, &volume, &["sh", "-c", &script]).expect_status(0);
    let whole = bench.path("whole");
    fs::write(
        &whole,
        Command::new("debugfs").args(["-R", &format!("cat {WHOLE}")]).arg(&data).output().unwrap().stdout,
    )
    .unwrap();
    assert!(fs::metadata(&whole).unwrap().len() > 10_000);
    let digest = sha256(&whole);
    assert_eq!(ran.text(), format!("kept\nstatus 1\n{digest}  -\nfine\n"));
    assert!(ran.stderr.contains("Input/output error"), "{}", ran.stderr);
    let line = ran.stderr.lines().find(|line| line.contains("device-mapper: verity: "));
    let line = line.unwrap_or_else(|| panic!("{}", ran.stderr));
    assert!(
        line.starts_with("note: the console says that the root is not as it was built: ")
            && line.ends_with(" is corrupted")
    );

    let (disk, image) = (disk.display().to_string(), image("hello-c.oci").display().to_string());
    refused(&bench, &["run", &disk, "--write"], "the disk's root is verified (dm-verity): --write would change it");
    refused(&bench, &["run", &disk, "--size", "4G"], "--size would change it");
    let build = ["build", &image, "-o", &disk];
    for (more, says) in [
        (
            &["--verity", "--size", "1G"][..],
            "a verified root is never written to and does not grow: it has no use for --size",
        ),
        (&["--verity", "--free", "1G"], "it has no use for --free"),
        (&["--verity", "--guest-modules", "all"], "a partition that --verity does not verify"),
        (&["--verity", "--cmdline", "a roothash=00"], "--cmdline has roothash=, which --verity writes itself"),
        (&["--on-corruption", "panic"], "--verity"),
    ] {
        refused(&bench, &[&build[..], more].concat(), says);
    }
}

/// Every file of the userland with its digest; what cannot be read is left out.
fn files(bench: &Bench, disk: &Path) -> (Option<i32>, BTreeSet<String>) {
    let script = "find / -xdev -type f -exec sha256sum {} + 2>/dev/null; true";
    let ran = bench.run_other(disk, &["--firmware", "direct", "--timeout", "10m"], &["sh", "-c", script]);
    (ran.status, ran.text().lines().map(str::to_owned).collect())
}

#[test]
#[ignore = "boots Debian two dozen times and reads all of it each time: a quarter of an hour"]
fn no_changed_bit_is_ever_read_as_if_it_were_none() {
    let bench = Bench::new(Kernel::Cloud);
    let disk = bench.build(image("debian.oci"), "disk.img", &["--verity", "--firmware", "uefi", "--esp-size", "auto"]);
    let (status, expected) = files(&bench, &disk);
    assert!(status == Some(0) && expected.len() > 5000, "{status:?} {}", expected.len());
    let [root, hashes] = [e2e_disk::ROOT, e2e_disk::ROOT + 1].map(|number| e2e_disk::partition(&disk, number));
    let mut places = vec![hashes.start + 72, hashes.start + 100, hashes.start + 4096 + 5, hashes.start + 3 * 4096 + 7];
    // Any numbers, the same each time.
    let mut number = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..20 {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        places.push(root.start + (number >> 16) % (hashes.start + hashes.length - root.start));
    }
    let (mut failed, mut missed) = (0, 0);
    for at in places {
        let damaged = flipped(&disk, at, &bench.path("damaged.img"));
        let (status, found) = files(&bench, &damaged);
        let wrong: Vec<_> = found.difference(&expected).collect();
        assert!(wrong.is_empty(), "byte {at}: {wrong:?}");
        failed += u32::from(status != Some(0));
        missed += u32::from(found.len() < expected.len());
        println!("byte {at}: status {status:?}, {} of {} files", found.len(), expected.len());
    }
    println!("{failed} did not start, {missed} had files that cannot be read");
    assert!(missed > 4);
}
