//! Disks that somebody changed or damaged: every command gives a right answer or one sentence, at once. Nothing boots
//! here.

use crate::{e2e, e2e_disk, tools};
use e2e::{Bench, Kernel, Ran, image, run};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// No command may take longer, on a busy machine and in a debug build.
const TIME: Duration = Duration::from_secs(60);
/// Where the ESP begins.
const ESP: u64 = 4096 * 512;

fn disk(bench: &Bench) -> PathBuf {
    bench.build(image("hello-c.docker.tar"), "disk.img", &[])
}

fn copy(disk: &Path, name: &str) -> (PathBuf, File) {
    let to = disk.with_file_name(name);
    tools::stdout(Command::new("cp").arg("--sparse=always").arg(disk).arg(&to));
    let file = File::options().read(true).write(true).open(&to).unwrap();
    (to, file)
}

fn bytes(file: &File, at: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, at).unwrap();
    bytes
}

/// `run`, `test` and `kernel set` with this disk, without a QEMU that could start.
fn commands(bench: &Bench, disk: &Path) -> Vec<(String, Ran)> {
    let words: [&[&str]; 3] = [
        &["run", "--accel", "tcg", "--qemu", "/bin/false", "--firmware", "direct"],
        &["test", "--accel", "tcg", "--qemu", "/bin/false", "--firmware", "bios"],
        &["kernel", "set"],
    ];
    let with = |words: &&[&str]| {
        let mut command = bench.bootdisk();
        command.args(*words).arg(disk);
        if words.contains(&"set") {
            command.arg("default");
        }
        (words.join(" "), run(&mut command))
    };
    words.iter().map(with).collect()
}

/// Each of them says what is wrong, and `inspect` goes on reading.
#[track_caller]
fn each_says(bench: &Bench, disk: &Path, what: &str, word: &str) {
    for (words, ran) in commands(bench, disk) {
        let said = ran.text() + &ran.stderr;
        assert!(!matches!(ran.status, None | Some(0 | 101)), "{what}, {words}: {:?}\n{said}", ran.status);
        assert!(!said.contains("panicked"), "{what}, {words}: {said}");
        assert!(said.contains(word) || words.starts_with("test"), "{what}, {words}: no {word:?} in: {said}");
        assert!(ran.took < TIME, "{what}, {words}: {:?}", ran.took);
    }
    let ran = run(bench.bootdisk().arg("inspect").arg(disk)).expect_status(0);
    // Its lines are as long as a page is wide.
    let said = ran.text().split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains(word) && ran.took < TIME, "{what}, inspect: no {word:?} in: {said}");
}

/// CRC-32, as the table has it.
fn crc(bytes: &[u8]) -> [u8; 4] {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum().to_le_bytes()
}

/// Writes both copies of the table anew, with `count` entries of `size` bytes.
fn retable(file: &File, size: u32, count: u32) {
    let old = bytes(file, 1024, 3 * 128);
    let mut entries = vec![0; (u64::from(size) * u64::from(count)).min(16 << 10) as usize];
    for (entry, place) in old.chunks(128).zip(entries.chunks_mut(size.clamp(1, 16 << 10) as usize)) {
        let room = entry.len().min(place.len());
        place[..room].copy_from_slice(&entry[..room]);
    }
    let end = file.metadata().unwrap().len() - 512;
    for at in [512, end] {
        let mut header = bytes(file, at, 92);
        header[80..84].copy_from_slice(&count.to_le_bytes());
        header[84..88].copy_from_slice(&size.to_le_bytes());
        header[88..92].copy_from_slice(&crc(&entries));
        header[16..20].fill(0);
        let sum = crc(&header);
        header[16..20].copy_from_slice(&sum);
        let place = u64::from_le_bytes(header[72..80].try_into().unwrap()) * 512;
        file.write_all_at(&header, at).unwrap();
        file.write_all_at(&entries, place).unwrap();
    }
}

#[test]
fn a_table_with_entries_of_another_size_is_told_by_every_command() {
    let bench = Bench::new(Kernel::Cloud);
    let disk = disk(&bench);
    for (size, count, word) in [
        (256, 64, "entries of 256 bytes"),
        (512, 32, "entries of 512 bytes"),
        (0, 128, "entries of 0 bytes"),
        (64, 128, "entries of 64 bytes"),
        (127, 128, "entries of 127 bytes"),
        (u32::MAX, 128, "entries of 4294967295 bytes"),
        (128, u32::MAX, "4294967295 entries"),
    ] {
        let (strange, file) = copy(&disk, "strange.img");
        retable(&file, size, count);
        each_says(&bench, &strange, &format!("{count} entries of {size}"), word);
    }
}

#[test]
fn folders_on_the_esp_that_are_rings_end() {
    let bench = Bench::new(Kernel::Cloud);
    let (strange, file) = copy(&disk(&bench), "ring.img");
    let boot = bytes(&file, ESP, 512);
    let reserved = u64::from(u16::from_le_bytes([boot[14], boot[15]])) * 512;
    let per_fat = u64::from(u32::from_le_bytes(boot[36..40].try_into().unwrap())) * 512;
    // The root folder's only cluster leads to itself, and has no end mark.
    for fat in 0..2 {
        file.write_all_at(&[2, 0, 0, 0], ESP + reserved + fat * per_fat + 8).unwrap();
    }
    file.write_all_at(&vec![0xe5; usize::from(boot[13]) * 512], ESP + reserved + 2 * per_fat).unwrap();
    each_says(&bench, &strange, "a ring", "the root folder go on behind its end");
}

/// A user's own entry in columns, and a second `options` line in ours.
#[test]
fn entries_mean_to_every_command_what_they_mean_to_systemd_boot() {
    let bench = Bench::new(Kernel::Cloud);
    let disk = disk(&bench);
    let esp = format!("{}@@{ESP}", disk.display());
    let put = |name: &str, text: &str| {
        let source = bench.path("entry");
        std::fs::write(&source, text).unwrap();
        let path = format!("::/loader/entries/{name}");
        tools::stdout(Command::new("mcopy").args(["-o", "-i", &esp]).arg(&source).arg(path));
    };
    let ours = || tools::stdout(Command::new("mtype").args(["-i", &esp, "::/loader/entries/bootdisk.conf"]));
    put("mine.conf", "title      Mine\nlinux      /bootdisk/linux\ninitrd     /bootdisk/initrd\noptions    quiet\n");
    put("bootdisk.conf", &(ours() + "options panic=7\n"));

    let dry = run(bench.bootdisk().args(["test", "--dry-run", "--accel", "tcg", "--firmware", "direct"]).arg(&disk));
    assert!(dry.text().contains("panic=7"), "direct boot: {}", dry.text());
    let inspected = run(bench.bootdisk().arg("inspect").arg(&disk)).expect_status(0).text();
    assert!(inspected.contains("panic=7"), "inspect: {inspected}");

    let set = run(bench.bootdisk().args(["kernel", "set"]).arg(&disk).arg("default")).expect(0, "");
    assert!(!set.stderr.contains("warning"), "{}", set.stderr);
    assert!(ours().contains("options panic=7\n"), "{}", ours());
    let files = || tools::stdout(Command::new("mdir").args(["-b", "-i", &esp, "::/bootdisk"]));
    for name in ["/linux\n", "/initrd\n", "/linux2\n", "/initrd2\n"] {
        assert!(files().contains(name), "{name}: {}", files());
    }
    // One that is not understood keeps everything, and is named.
    put("mine.conf", "title Mine\nkernel /bootdisk/linux\n");
    let set = run(bench.bootdisk().args(["kernel", "set"]).arg(&disk).arg("default")).expect(0, "");
    assert!(set.stderr.contains("warning: ") && set.stderr.contains("mine.conf"), "{}", set.stderr);
    assert!(files().contains("/linux\n") && files().contains("/linux3\n"), "{}", files());
    e2e_disk::check(&disk);
}
