//! File systems under a real kernel: it finds every name and attribute, grows them online, and replays the journal.
//!
//! Debian's cloud kernel boots in QEMU without firmware or modules (NVMe and ext4 are built in) into a small static
//! program, which says on the console what it sees.

use crate::support::ext4::{Disk, GIB, check, complaints, debugfs, mode, noise, sized, with_xattrs};
use crate::support::small_kernel::{only, unpacked};
use crate::support::{ext4, tools};
use bootdisk::rootfs::Kind;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Longest time one step may take under emulation on a busy machine.
const PATIENCE: Duration = Duration::from_secs(240);

/// A kernel and an initial file system, unpacked and built in a folder.
struct Machine {
    _folder: tempfile::TempDir,
    kernel: PathBuf,
    initrd: PathBuf,
}

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let root = folder.path().join("root");
        std::fs::create_dir(&root).unwrap();
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/ext4_guest.c");
        tools::stdout(Command::new("gcc").args(["-static", "-O1", "-o"]).arg(root.join("init")).arg(source));
        let initrd = folder.path().join("initrd");
        let pack = format!("cd '{}' && echo init | cpio --quiet -o -H newc > '{}'", root.display(), initrd.display());
        tools::stdout(Command::new("sh").args(["-c", &pack]));
        let kernel = only(&unpacked("cloud").join("boot"), "vmlinuz-");
        Machine { _folder: folder, kernel, initrd }
    }

    fn start(&self, disk: &Path, step: &str) -> Child {
        let node = serde_json::json!({
            "driver": "raw", "node-name": "disk", "cache": { "no-flush": true },
            "file": { "driver": "file", "filename": disk },
        });
        Command::new("qemu-system-x86_64")
            .args(["-accel", "tcg", "-machine", "q35", "-m", "256", "-nodefaults", "-display", "none", "-no-reboot"])
            .args(["-serial", "stdio", "-blockdev", &node.to_string(), "-device", "nvme,drive=disk,serial=1"])
            .arg("-kernel")
            .arg(&self.kernel)
            .arg("-initrd")
            .arg(&self.initrd)
            .args(["-append", &format!("console=ttyS0 quiet panic=-1 rdinit=/init step={step}")])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("scripts/test installs qemu-system-x86")
    }

    /// Runs a step until the line that begins with `last`; then the machine is stopped, or has stopped itself.
    fn run(&self, disk: &Path, step: &str, last: &str) -> Vec<String> {
        let mut child = self.start(disk, step);
        let output = BufReader::new(child.stdout.take().unwrap());
        let (send, lines) = mpsc::channel();
        let reader = std::thread::spawn(move || {
            for line in output.split(b'\n').map_while(Result::ok) {
                if send.send(String::from_utf8_lossy(&line).trim_end().to_owned()).is_err() {
                    break;
                }
            }
        });
        let end = Instant::now() + PATIENCE;
        let mut seen = Vec::new();
        let reached = loop {
            match lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    let reached = line.starts_with(last);
                    seen.push(line);
                    if reached {
                        break true;
                    }
                }
                Err(_) => break false,
            }
        };
        if last.starts_with("DONE") && reached {
            // It unmounted; let it power off by itself.
            _ = lines.recv_timeout(Duration::from_secs(5));
        }
        _ = child.kill();
        _ = child.wait();
        drop(lines);
        _ = reader.join();
        assert!(reached, "step {step} did not get to {last}:\n{}", seen.join("\n"));
        let errors: Vec<&String> = seen.iter().filter(|line| line.contains("EXT4-fs error")).collect();
        assert!(errors.is_empty(), "{errors:?}");
        seen
    }
}

fn acl(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut value = 2u32.to_le_bytes().to_vec();
    for (tag, bits, id) in entries {
        value.extend([tag.to_le_bytes(), bits.to_le_bytes()].concat());
        value.extend(id.to_le_bytes());
    }
    value
}

/// Names and values.
type Attributes = Vec<(&'static str, Vec<u8>)>;

/// Attributes by file, as the guest should list them.
fn attributes() -> Vec<(&'static str, Attributes)> {
    let none = u32::MAX;
    let access =
        acl(&[(1, 6, none), (2, 7, 1000), (2, 4, 70_000), (4, 4, none), (8, 5, 9), (0x10, 7, none), (0x20, 4, none)]);
    let default = acl(&[(1, 7, none), (4, 5, none), (0x20, 5, none)]);
    let capability = [[1, 0, 0, 2, 0x0a, 0x3d].as_slice(), &[0; 14]].concat();
    let many = ["user.a", "user.bb", "user.c", "user.zz", "user.m", "trusted.t"];
    vec![
        ("cap", vec![("security.capability", capability)]),
        ("acl", vec![("system.posix_acl_access", access.clone())]),
        ("dir", vec![("system.posix_acl_access", access), ("system.posix_acl_default", default)]),
        ("big", vec![("user.big", noise(3900, 4)), ("user.empty", Vec::new())]),
        ("long", vec![("user.long", noise(20_000, 7)), ("user.more", noise(5000, 8)), ("user.z", noise(50, 9))]),
        ("many", many.into_iter().enumerate().map(|(i, name)| (name, noise(40 * i, i as u64 + 1))).collect()),
    ]
}

fn fill(build: &mut ext4::Build) {
    for (name, list) in attributes() {
        let list: Vec<(&[u8], &[u8])> = list.iter().map(|(n, v)| (n.as_bytes(), &v[..])).collect();
        let attrs = with_xattrs(&list);
        let kind = if name == "dir" { Kind::directory() } else { Kind::File { size: 0, body: Default::default() } };
        build.add(&format!("attrs/{name}"), attrs, kind);
    }
    let many = build.dir("many");
    for i in 0..100_000 {
        build.tree.insert(many, format!("name-{i:06}").as_bytes(), mode(0o644), Kind::Fifo, 0).unwrap();
    }
    let collide = build.dir("collide");
    for name in ext4::colliding_names() {
        build.tree.insert(collide, &name, mode(0o644), Kind::Fifo, 0).unwrap();
    }
    build.file("file", &noise(5 << 20, 1));
}

#[test]
fn a_kernel_finds_changes_grows_and_replays() {
    let machine = Machine::new();
    let disk = Disk::new();
    disk.write(sized(GIB), fill);

    let seen = machine.run(&disk.path, "look", "DONE");
    assert!(seen.iter().any(|line| line == "FOUND 100000"), "{seen:?}");
    let colliding = format!("LISTED {}", ext4::colliding_names().len());
    assert!(seen.contains(&colliding), "{colliding}, {seen:?}");
    let mut listed: Vec<&str> = seen.iter().filter_map(|line| line.strip_prefix("XATTR ")).collect();
    let hex = |value: &[u8]| value.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let expected = attributes();
    let mut expected: Vec<String> = expected
        .iter()
        .flat_map(|(file, list)| {
            list.iter().map(move |(name, value)| format!("{file} {name} {}", hex(value)).trim_end().to_owned())
        })
        .collect();
    listed.sort_unstable();
    expected.sort_unstable();
    assert_eq!(listed, expected);
    check(&disk.path);

    disk.file.set_len(20 * GIB).unwrap();
    let seen = machine.run(&disk.path, "grow", "DONE");
    assert!(seen.iter().any(|line| line.starts_with("GREW ")), "{seen:?}");
    check(&disk.path);
    assert!(debugfs(&disk.path, "show_super_stats -h").contains("Block count:              5242880"));

    machine.run(&disk.path, "dirty", "DIRTY");
    let (clean, lines) = complaints(&disk.path);
    assert!(!clean || !lines.is_empty(), "a machine stopped in the middle leaves a journal to replay");
    machine.run(&disk.path, "replay", "DONE");
    check(&disk.path);
}
