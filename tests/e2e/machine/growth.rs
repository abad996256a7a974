//! A disk that was made larger: the next boot gives the room to the userland, and loses nothing when it is cut short.

use super::journaled::{self, Home};
use super::{Random, busybox_disk, copy, lose_power, set_size};
use crate::e2e::{Bench, Kernel, PATIENCE};
use crate::e2e_disk;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;
const SECTOR: u64 = 512;
/// Checksums of every file of the image, and the size of the root in KiB as df has it.
const LOOK: &str =
    "find /bin /etc/passwd /data /twice -xdev -type f | sort | xargs md5sum; df -k / | tail -n 1 | awk '{print $2}'";

struct Looked {
    files: String,
    /// Bytes.
    size: u64,
}

/// Boots the disk for good and looks at the userland.
fn look(bench: &Bench, disk: &Path, options: &[&str]) -> Looked {
    let text = bench.run_other(disk, options, &["sh", "-c", LOOK]).expect_status(0).text();
    let (files, size) = text.trim_end().rsplit_once('\n').unwrap();
    assert!(files.lines().count() >= 4, "{text}");
    Looked { files: files.to_owned(), size: size.trim().parse::<u64>().unwrap() * 1024 }
}

/// Nearly all of the disk is the root's: the ESP, ext4's own tables and the alignment are the rest.
fn assert_has_grown(looked: &Looked, disk: u64, before: &str) {
    let least = disk - disk / 50 - (256 << 20);
    assert!((least..disk).contains(&looked.size), "root of {} bytes on a disk of {disk}", looked.size);
    assert_eq!(looked.files, before, "the image's files");
}

#[test]
fn a_larger_disk_has_a_larger_root_after_the_next_boot() {
    let bench = Bench::new(Kernel::Cloud);
    let disk = busybox_disk(&bench, &["--size", "1G"]);
    let small = look(&bench, &disk, &["--firmware", "direct"]);
    assert!(small.size < GIB);
    let fresh = copy(&disk, "fresh.img");
    set_size(&fresh, 20 * GIB);

    // 1 GiB to 20, by the file; the table alone says no longer that all is well.
    set_size(&disk, 20 * GIB);
    assert!(e2e_disk::complaint(&disk).is_some(), "a table in the middle of a disk is no complaint");
    assert_has_grown(&look(&bench, &disk, &["--write"]), 20 * GIB, &small.files);
    e2e_disk::check(&disk);
    let grown = copy(&disk, "grown.img");

    // Power lost while it happens, in the table or in the file system, again and again.
    let mut random = Random::seeded();
    let cuts = if std::env::var_os("BOOTDISK_TEST_FULL").is_some() { 40 } else { 2 };
    let mut size = 20 * GIB;
    for cut in 0..cuts {
        size += 8 * GIB;
        set_size(&disk, size);
        cut_short(&bench, &disk, cut % 2 == 0, Duration::from_millis(random.below(400)));
    }
    // And once more, by the option.
    size += 8 * GIB;
    let option = format!("{}G", size / GIB);
    assert_has_grown(&look(&bench, &disk, &["--write", "--size", &option, "--bus", "nvme"]), size, &small.files);
    assert_eq!(std::fs::metadata(&disk).unwrap().len(), size);
    e2e_disk::check(&disk);

    // Power lost with all of the growth in the journal: the next boot replays it, and grows on from there.
    for home in [Home::Nothing, Home::Superblock, Home::SuperblockAndNumbers] {
        let journaled = halfway(&fresh, &grown);
        journaled::put(&grown, &journaled, home);
        let options = ["--write", "--size", "28G", "--firmware", "direct", "--nic", "none"];
        assert_has_grown(&look(&bench, &journaled, &options), 28 * GIB, &small.files);
        e2e_disk::check(&journaled);
    }

    // Power lost after the table and before the file system.
    let halfway = halfway(&fresh, &grown);
    assert_has_grown(&look(&bench, &halfway, &["--write"]), 20 * GIB, &small.files);
    e2e_disk::check(&halfway);

    // Power lost while the entries are in the gap before the first partition, which UEFI's firmware reads too.
    entries_on_their_way(&grown, &fresh);
    assert_has_grown(&look(&bench, &fresh, &["--write", "--firmware", "uefi"]), 20 * GIB, &small.files);
    e2e_disk::check(&fresh);
}

/// On the way the room for descriptors ends, and the kernel makes another kind of ext4 of it.
#[test]
#[ignore = "six boots, four of them cut short"]
fn a_growth_of_terabytes_is_cut_again_and_again_and_ends_where_it_should() {
    let bench = Bench::new(Kernel::Cloud);
    let full = std::env::var_os("BOOTDISK_TEST_FULL").is_some();
    let some = [("500G", 1100 * GIB, 4)];
    let many = [("1G", 100 * GIB, 20), ("1G", 2 * TIB, 20), ("9T", 10 * TIB, 20)];
    let mut random = Random::seeded();
    for &(built, size, cuts) in if full { &many[..] } else { &some } {
        let disk = busybox_disk(&bench, &["--size", built]);
        let before = look(&bench, &disk, &["--firmware", "direct"]).files;
        set_size(&disk, size);
        for cut in 0..cuts {
            let changes = 1 + random.below(30);
            assert!(cut_a_step(&bench, &disk, changes), "cut {cut} on the way to {size}, {changes} changes");
        }
        assert_has_grown(&look(&bench, &disk, &["--write", "--firmware", "direct"]), size, &before);
        e2e_disk::check(&disk);
    }
}

/// Kills the machine of a disk that grows when so many changes of its file were seen, unless it has grown by then. Whether
/// it came up: a machine that does not ends of its own accord.
fn cut_a_step(bench: &Bench, disk: &Path, mut changes: u64) -> bool {
    let options = ["--write", "--nic", "none", "--firmware", "direct"];
    let mut run = bench.run_command(disk, &options).args(["--", "true"]).stderr(Stdio::null()).spawn().unwrap();
    let root = e2e_disk::partition(disk, e2e_disk::ROOT).start;
    let file = File::open(disk).unwrap();
    let state = || (superblock_word(&file, root, 4), file.metadata().unwrap().blocks());
    let (started, mut known) = (Instant::now(), state());
    while changes > 0 && run.try_wait().unwrap().is_none() {
        assert!(started.elapsed() < PATIENCE, "the disk does not grow");
        let now = state();
        changes -= u64::from(now != known);
        known = now;
        std::thread::sleep(Duration::from_millis(1));
    }
    let is_cut = lose_power(&run);
    let status = run.wait().unwrap();
    is_cut || status.success()
}

fn superblock_word(file: &File, root: u64, at: u64) -> u32 {
    let mut bytes = [0; 4];
    file.read_exact_at(&mut bytes, root + 1024 + at).unwrap();
    u32::from_le_bytes(bytes)
}

#[test]
fn a_machine_that_is_stopped_while_its_disk_grows_has_said_how_far_it_is_and_leaves_the_disk_clean() {
    let bench = Bench::new(Kernel::Cloud);
    let disk = busybox_disk(&bench, &["--size", "1G"]);
    let options = ["--write", "--size", "10T", "--console", "--nic", "none", "--firmware", "direct"];
    let mut command = bench.run_command(&disk, &options);
    let mut run =
        command.args(["--", "echo", "started"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(run.stderr.take().unwrap()).lines().map(Result::unwrap);
    let is_progress =
        |line: &String| line.contains("the root file system grows to 10.0 TiB: ") && line.ends_with(" % done");
    assert!(lines.any(|line| is_progress(&line)), "it does not say how far it is");
    kill(Pid::from_raw(run.id() as i32), Signal::SIGTERM).unwrap();
    let said: Vec<String> = lines.collect();
    assert_eq!(run.wait().unwrap().code(), Some(128 + Signal::SIGTERM as i32), "{said:?}");
    let mut workload = String::new();
    run.stdout.take().unwrap().read_to_string(&mut workload).unwrap();
    assert_eq!(workload, "", "there is a workload");

    let root = e2e_disk::partition(&disk, e2e_disk::ROOT);
    let blocks = u64::from(superblock_word(&File::open(&disk).unwrap(), root.start, 4));
    assert!((32 * GIB..10 * TIB).contains(&(blocks * 4096)), "{blocks} blocks");
    e2e_disk::check(&disk);
}

/// Boots a disk that has grown and kills its machine: as soon as the new backup table is there, or some time after the
/// primary one refers to it.
fn cut_short(bench: &Bench, disk: &Path, in_the_table: bool, later: Duration) {
    let options = ["--write", "--nic", "none", "--firmware", "direct"];
    let mut command = bench.run_command(disk, &options);
    let mut run = command.args(["--", "sleep", "1000"]).stderr(Stdio::null()).spawn().unwrap();
    let file = File::open(disk).unwrap();
    let last = file.metadata().unwrap().len() / SECTOR - 1;
    let read = |lba: u64, at: u64| {
        let mut bytes = [0; 8];
        file.read_exact_at(&mut bytes, lba * SECTOR + at).unwrap();
        bytes
    };
    let started = Instant::now();
    while read(last, 0) != *b"EFI PART" || !(in_the_table || read(1, 32) == last.to_le_bytes()) {
        assert!(started.elapsed() < PATIENCE && run.try_wait().unwrap().is_none(), "the disk does not grow");
        std::thread::sleep(Duration::from_millis(1));
    }
    if !in_the_table {
        std::thread::sleep(later);
    }
    assert!(lose_power(&run), "bootdisk's QEMU is not there");
    run.wait().unwrap();
}

/// A copy of a disk with the table of one that has grown.
fn halfway(fresh: &Path, grown: &Path) -> PathBuf {
    let to = copy(fresh, "halfway.img");
    copy_range(grown, &to, 0, 34 * SECTOR);
    copy_range(grown, &to, 20 * GIB - 33 * SECTOR, 33 * SECTOR);
    to
}

fn copy_range(from: &Path, to: &Path, at: u64, length: u64) {
    let mut bytes = vec![0; length as usize];
    File::open(from).unwrap().read_exact_at(&mut bytes, at).unwrap();
    File::options().write(true).open(to).unwrap().write_all_at(&bytes, at).unwrap();
}

/// Gives `to` the table of `grown` as it is between two steps: entries behind their usual place, and a header that
/// says so.
fn entries_on_their_way(grown: &Path, to: &Path) {
    let mut entries = vec![0; 128 * 128];
    let mut header = vec![0; 512];
    let from = File::open(grown).unwrap();
    from.read_exact_at(&mut header, SECTOR).unwrap();
    from.read_exact_at(&mut entries, 2 * SECTOR).unwrap();
    header[40..48].copy_from_slice(&66u64.to_le_bytes());
    header[72..80].copy_from_slice(&34u64.to_le_bytes());
    header[16..20].fill(0);
    let mut crc = flate2::Crc::new();
    crc.update(&header[..92]);
    header[16..20].copy_from_slice(&crc.sum().to_le_bytes());
    let disk = File::options().write(true).open(to).unwrap();
    disk.write_all_at(&entries, 34 * SECTOR).unwrap();
    disk.write_all_at(&header, SECTOR).unwrap();
    copy_range(grown, to, 20 * GIB - 33 * SECTOR, 33 * SECTOR);
}
