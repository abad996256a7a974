//! A finished disk in the eyes of other people's tools: sgdisk, sfdisk, fsck.fat, e2fsck, blkid.

use super::tools;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Bytes in a sector.
const SECTOR: u64 = 512;

/// A partition's place, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// First byte.
    pub start: u64,
    /// Number of bytes.
    pub length: u64,
}

/// Number of the EFI System Partition on an x86_64 disk.
pub const ESP: u32 = 2;
/// Number of the root partition on an x86_64 disk.
pub const ROOT: u32 = 3;

/// Numbers of the EFI System Partition and of the root: an aarch64 disk has no BIOS boot partition before them.
fn numbers(disk: &Path) -> (u32, u32) {
    let text = tools::stdout(Command::new("sgdisk").arg("-p").arg(disk));
    let count = text.lines().skip_while(|line| !line.starts_with("Number")).skip(1).filter(|line| !line.is_empty());
    if count.count() == 2 { (ESP - 1, ROOT - 1) } else { (ESP, ROOT) }
}

/// Where a partition is, as sgdisk reads the table.
pub fn partition(disk: &Path, number: u32) -> Slice {
    let text = tools::stdout(Command::new("sgdisk").arg("-i").arg(number.to_string()).arg(disk));
    let field = |name: &str| -> u64 {
        let line =
            text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name:?} in:\n{text}"));
        line[name.len()..].trim_start_matches(':').split_whitespace().next().unwrap().parse().unwrap()
    };
    let (first, last) = (field("First sector"), field("Last sector"));
    Slice { start: first * SECTOR, length: (last - first + 1) * SECTOR }
}

/// Type or unique GUID of a partition: `name` is a line's start in `sgdisk -i`.
pub fn guid(disk: &Path, number: u32, name: &str) -> String {
    let text = tools::stdout(Command::new("sgdisk").arg("-i").arg(number.to_string()).arg(disk));
    let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name:?} in:\n{text}"));
    line.split(": ").nth(1).unwrap().split(' ').next().unwrap().to_owned()
}

/// A partition's bytes in a file of their own, holes where they are zero; holes of the disk are not even read.
pub fn extract(disk: &Path, slice: Slice, to: &Path) {
    let mut from = File::open(disk).unwrap();
    let mut file = File::create(to).unwrap();
    let mut buffer = vec![0; 1 << 20];
    let mut at = 0;
    while let Some(data) = next_data(&from, slice.start + at).filter(|data| *data < slice.start + slice.length) {
        at = data - slice.start;
        let part = (slice.length - at).min(buffer.len() as u64) as usize;
        from.seek(SeekFrom::Start(data)).unwrap();
        from.read_exact(&mut buffer[..part]).unwrap();
        if buffer[..part].iter().any(|&byte| byte != 0) {
            file.seek(SeekFrom::Start(at)).unwrap();
            file.write_all(&buffer[..part]).unwrap();
        }
        at += part as u64;
    }
    file.set_len(slice.length).unwrap();
}

/// The first byte at or after `at` that is in no hole.
pub fn next_data(file: &File, at: u64) -> Option<u64> {
    use nix::unistd::{Whence, lseek};
    lseek(file, at as i64, Whence::SeekData).ok().map(|data| data as u64)
}

/// UUID of the root file system, as libblkid reads it.
pub fn root_uuid(disk: &Path) -> String {
    let Slice { start, length } = partition(disk, ROOT);
    let mut command = Command::new("blkid");
    command.args(["--probe", "--match-tag", "UUID", "--output", "value"]);
    command.arg("--offset").arg(start.to_string()).arg("--size").arg(length.to_string()).arg(disk);
    let uuid = tools::stdout(&mut command).trim().to_owned();
    assert_eq!(uuid.len(), 36, "blkid: {uuid:?}");
    uuid
}

/// Checks the table, the ESP and the root file system of a disk; a complaint of any tool fails the test.
#[track_caller]
pub fn check(disk: &Path) {
    if let Some(complaint) = complaint(disk) {
        panic!("{}: {complaint}", disk.display());
    }
}

/// What is wrong with a disk, in the words of the first tool that minds.
pub fn complaint(disk: &Path) -> Option<String> {
    table_complaint(disk).or_else(|| esp_complaint(disk)).or_else(|| root_complaint(disk))
}

fn table_complaint(disk: &Path) -> Option<String> {
    let sgdisk = tools::run(Command::new("sgdisk").arg("-v").arg(disk));
    let text = said(&sgdisk);
    // sgdisk repairs in memory before it verifies: then it finds no problem, and exits 0, with the damage named above.
    let repaired = ["ERROR", "Warning!", "invalid", "corrupt"].iter().any(|word| text.contains(word));
    if !sgdisk.status.success() || repaired || !text.contains("No problems found") {
        return Some(format!("sgdisk -v: {text}"));
    }
    let sfdisk = tools::run(Command::new("sfdisk").arg("--verify").arg(disk));
    let text = said(&sfdisk);
    (!sfdisk.status.success() || !text.contains("No errors detected")).then(|| format!("sfdisk --verify: {text}"))
}

fn esp_complaint(disk: &Path) -> Option<String> {
    let copy = tempfile::NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    extract(disk, partition(disk, numbers(disk).0), copy.path());
    let fsck = tools::run(Command::new("fsck.fat").arg("-n").arg(copy.path()));
    (fsck.status.code() != Some(0)).then(|| format!("fsck.fat -n: {}", said(&fsck)))
}

fn root_complaint(disk: &Path) -> Option<String> {
    let copy = tempfile::NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    extract(disk, partition(disk, numbers(disk).1), copy.path());
    e2fsck_complaint(copy.path())
}

/// `e2fsck -fn` must exit 0 and say nothing but its version, the five passes and the summary.
pub fn e2fsck_complaint(image: &Path) -> Option<String> {
    let e2fsck = tools::e2fsck(image);
    let text = said(&e2fsck);
    let is_usual = |line: &str| {
        line.starts_with("e2fsck 1.")
            || line.starts_with("Pass ")
            || (line.contains(" files (") && line.ends_with(" blocks"))
            || line.is_empty()
    };
    let passes = text.lines().filter(|line| line.starts_with("Pass ")).count();
    let unusual = text.lines().any(|line| !is_usual(line));
    (e2fsck.status.code() != Some(0) || passes != 5 || unusual).then(|| format!("e2fsck -fn: {text}"))
}

/// Everything a program said, standard output first.
fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Changes one byte of a copy of a disk.
pub fn damaged(disk: &Path, at: u64, to: &Path) -> PathBuf {
    tools::stdout(Command::new("cp").arg("--sparse=always").arg(disk).arg(to));
    let mut file = File::options().read(true).write(true).open(to).unwrap();
    let mut byte = [0];
    file.seek(SeekFrom::Start(at)).unwrap();
    file.read_exact(&mut byte).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(&[byte[0] ^ 0xff]).unwrap();
    to.to_owned()
}

/// What the serial port of a machine says that QEMU starts from a drive as other programs would, until it ends.
pub fn started_by_qemu(drive: &str, options: &[&str]) -> String {
    let mut qemu = Command::new("timeout");
    qemu.args("-k 5 300 qemu-system-x86_64 -machine q35,accel=tcg -m 512 -nodefaults".split(' '));
    qemu.args("-no-reboot -display none -serial stdio -snapshot".split(' '));
    tools::stdout(qemu.args(["-drive", drive]).args(options))
}
