//! `bootdisk inspect` against other tools' word: every figure is theirs too, an image and its own disk have one
//! userland, disks made by others are read, and nothing an image holds does more than change the report.
//!
//! Golden reports are in `tests/golden/`; `BOOTDISK_BLESS=1` writes them anew, for a human to read before they go in.

use crate::support::e2e::{Bench, Kernel, Ran, image, peak_memory, run, with_peak_memory};
use crate::support::e2e_disk::{Slice, extract, partition};
use crate::support::images::{ImageBuilder, TarBuilder};
use crate::support::{e2e, e2e_disk, schema, tools};
use bootdisk::contents::body::{Body, Looker};
use bootdisk::contents::installed::installed;
use bootdisk::contents::of_image;
use bootdisk::source::{self, Reference, Select};
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A static program that every machine with the tests has.
const BUSYBOX: &str = "/bin/busybox";

fn inspect(bench: &Bench, subject: impl AsRef<OsStr>, options: &[&str]) -> Ran {
    run(bench.bootdisk().arg("inspect").arg(subject).args(options))
}

#[track_caller]
fn report(bench: &Bench, subject: impl AsRef<OsStr>) -> Value {
    let ran = inspect(bench, subject, &["--json"]).expect_status(0);
    let value: Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(against_schema(&value), None);
    value
}

fn against_schema(value: &Value) -> Option<String> {
    let schema: Value = serde_json::from_str(include_str!("../../docs/inspect.schema.json")).unwrap();
    schema::complaint(&schema, &schema, value, "")
}

/// What differs from run to run or from one build of the images to the next, replaced by words.
fn normalised(text: &str, subject: &str) -> String {
    let mut out = String::new();
    for line in text.replace(subject, "SUBJECT").replace(&Kernel::Cloud.release(), "RELEASE").lines() {
        let mut words: Vec<String> = line.split(' ').map(normal_word).collect();
        // Mebibytes are the kernel's.
        for i in 1..words.len() {
            if words[i].trim_matches(['(', ')', ',']) == "MiB" {
                words[i - 1] = "N".into();
            }
        }
        out.push_str(words.join(" ").trim_end());
        out.push('\n');
    }
    out
}

fn normal_word(word: &str) -> String {
    if let Some((before, hex)) = word.split_once("sha256:")
        && hex.len() == 64
    {
        return format!("{before}sha256:DIGEST");
    }
    let is_time = word.len() >= 20 && word.ends_with('Z') && word.as_bytes()[4] == b'-' && word.contains('T');
    if is_time { "TIME".to_owned() } else { word.to_owned() }
}

#[track_caller]
fn golden(name: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("BOOTDISK_BLESS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, actual).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(actual, expected, "{} is not what is printed now", path.display());
}

/// Lines that a report of an image must have, whatever the versions of its packages.
#[track_caller]
fn has_lines(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.lines().any(|found| found.trim() == *line || found.contains(line)), "no {line:?} in:\n{text}");
    }
}

#[test]
fn golden_reports() {
    let bench = Bench::new(Kernel::Cloud);
    let hello = image("hello-c.oci");
    let text = inspect(&bench, &hello, &[]).expect_status(0).text();
    assert!(text.starts_with("one static executable, no distribution, no shell; asks for Linux 3.2.0 or later\n"));
    // How large a compiler makes it is the compiler's business.
    let lines: Vec<&str> = text.lines().filter(|line| !line.contains(" KiB")).collect();
    golden("inspect-hello.txt", &normalised(&(lines.join("\n") + "\n"), hello.to_str().unwrap()));

    let made = bench.path("made.oci");
    made_image().write_oci(&made);
    let text = inspect(&bench, &made, &[]).expect_status(0).text();
    golden("inspect-made.txt", &normalised(&text, made.to_str().unwrap()));
    let layer = inspect(&bench, &made, &["--tree", "--layer", "2"]).expect_status(0).text();
    golden("inspect-made-layer-2.txt", &layer);

    let with_kernel = bench.path("system.oci");
    system_image().write_oci(&with_kernel);
    let text = inspect(&bench, &with_kernel, &[]).expect_status(0).text();
    golden("inspect-system.txt", &normalised(&text, with_kernel.to_str().unwrap()));

    let debian = inspect(&bench, image("debian.oci"), &[]).expect_status(0).text();
    has_lines(
        &debian,
        &[
            "a whole Debian GNU/Linux 12 (bookworm) userland, no kernel",
            "distribution    Debian GNU/Linux 12 (bookworm)  /usr/lib/os-release",
            "C library       glibc 2.36  /usr/lib/x86_64-linux-gnu/libc.so.6",
            "shells          sh (dash)  /bin/sh -> /usr/bin/dash",
            "loader          /lib64/ld-linux-x86-64.so.2",
            "asks for        Linux 3.2.0 or later, x86_64",
        ],
    );
    let nginx = inspect(&bench, image("nginx.oci"), &[]).expect_status(0).text();
    has_lines(
        &nginx,
        &["starts          nginx -g 'daemon off;'", "is              /usr/sbin/nginx", "PATH has it in /usr/sbin"],
    );
    let busybox = bench.path("busybox.oci");
    busybox_image().write_oci(&busybox);
    let busybox = inspect(&bench, &busybox, &[]).expect_status(0).text();
    has_lines(
        &busybox,
        &["a busybox userland of 2 files, no distribution, a shell", "sh (busybox)  /bin/sh -> /bin/busybox"],
    );
    for text in [debian, nginx, busybox] {
        // A label and one long word: a digest, a path.
        let is_one_word = |line: &&str| line.split_whitespace().count() <= 2 || line.contains('/');
        let wide = text.lines().find(|line| line.chars().count() > 80 && !is_one_word(line));
        assert_eq!(wide, None, "a line of more than 80 columns");
        assert!(!text.contains('\x1b'), "colour without a terminal");
    }
}

/// Three layers by hand: something added, changed, removed, hidden; a script that starts a missing program.
fn made_image() -> ImageBuilder {
    let first = TarBuilder::new()
        .dir("etc", 0o755)
        .file("etc/alpine-release", 0o644, b"3.18.4\n")
        .file(
            "etc/passwd",
            0o644,
            b"root:x:0:0::/root:/bin/ash\ntoor:x:0:0::/:/sbin/nologin\napp:x:1000:1000::/:/bin/sh\n",
        )
        .dir("lib/apk/db", 0o755)
        .file("lib/apk/db/installed", 0o644, b"P:musl\nV:1.2.4-r2\n\nP:app\nV:1\n\n")
        .dir("usr/local/bin", 0o755)
        .file("usr/local/bin/start", 0o755, b"#!/usr/bin/env python3\n")
        .file("usr/bin/python3.11", 0o755, b"not really")
        .file("big", 0o644, &[7; 100_000]);
    let second = TarBuilder::new()
        .file("etc/passwd", 0o666, b"root:x:0:0::/root:/bin/ash\n")
        .file("su", 0o4755, b"x")
        .member("dev/console", tar::EntryType::Char, b"", |header| {
            header.set_device_major(5).unwrap();
            header.set_device_minor(1).unwrap();
        })
        .file("root/.ssh/id_rsa", 0o600, b"secret")
        .whiteout("big");
    let third = TarBuilder::new().dir("etc", 0o700).file("tmp/x", 0o644, b"");
    let mut image = ImageBuilder::new()
        .layer(first.build())
        .layer(second.build())
        .layer(third.build())
        .cmd(&["start", "two words"])
        .set("Env", json!(["PATH=/usr/local/bin:/bin", "API_TOKEN=abc"]));
    image.config["history"] = json!([
        { "created_by": "ADD rootfs.tar /" }, { "created_by": "ENV API_TOKEN=abc", "empty_layer": true },
        { "created_by": "RUN something" }, { "comment": "by hand" },
    ]);
    image
}

fn busybox_image() -> ImageBuilder {
    let busybox = fs::read(BUSYBOX).unwrap();
    let tar =
        TarBuilder::new().file("bin/busybox", 0o755, &busybox).symlink("bin/sh", "busybox").file("x", 0o644, b"x");
    ImageBuilder::new().layer(tar.build()).cmd(&["sh"])
}

/// A userland with systemd and a kernel of its own, as far as a report looks at them.
fn system_image() -> ImageBuilder {
    let kernel = tools::run(
        Command::new("sh")
            .arg("-c")
            .arg("dpkg-deb --fsys-tarfile \"$0\" | tar xO --wildcards './boot/vmlinuz-*'")
            .arg(Kernel::Cloud.package()),
    );
    assert!(kernel.status.success() && kernel.stdout.len() > 1 << 20);
    let release = Kernel::Cloud.release();
    let tar = TarBuilder::new()
        .file(
            "usr/lib/os-release",
            0o644,
            b"ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID=\"12\"\n",
        )
        .symlink("etc/os-release", "../usr/lib/os-release")
        .file("var/lib/dpkg/status", 0o644, b"Package: systemd\nStatus: install ok installed\nVersion: 252\n\n")
        .file("usr/bin/bash", 0o755, b"x")
        .symlink("bin", "usr/bin")
        .file("usr/lib/systemd/systemd", 0o755, b"x")
        .symlink("sbin/init", "../usr/lib/systemd/systemd")
        .symlink("lib", "usr/lib")
        .file("usr/lib/modules/6.1/kernel/a.ko", 0o644, b"x")
        .file("usr/lib/modules/6.1/kernel/b.ko.xz", 0o644, b"x")
        .file("boot/grub/grub.cfg", 0o644, b"menuentry 'x' {\n}\n")
        .file(&format!("boot/vmlinuz-{release}"), 0o644, &kernel.stdout);
    ImageBuilder::new().layer(tar.build()).cmd(&["/sbin/init"])
}

#[test]
fn every_figure_is_what_other_tools_say() {
    let bench = Bench::new(Kernel::Cloud);
    let nginx = image("nginx.oci");
    let found = report(&bench, &nginx);
    layers_are_skopeos_and_tars(&found, &nginx);

    let disk = bench.build(&nginx, "nginx.img", &[]);
    let of_disk = report(&bench, &disk);
    assert_eq!(of_disk["userland"], found["userland"], "one userland, read from layers and from ext4");
    assert_eq!(of_disk["command"], found["command"]);
    partitions_are_sgdisks(&of_disk, &disk);
    map_has_every_byte_once(&of_disk);

    let root = bench.path("root.ext4");
    extract(&disk, partition(&disk, 3), &root);
    packages_are_dpkgs(&bench, &found, &root);
    programs_are_readelfs(&bench, &found, &root);
    usage_is_dumpe2fss(&of_disk["disk"]["partitions"][2], &root);
    kernel_is_the_packages(&bench);
}

fn layers_are_skopeos_and_tars(found: &Value, layout: &Path) {
    let reference = format!("oci:{}:latest", layout.display());
    let raw = tools::stdout(Command::new("skopeo").args(["inspect", "--raw"]).arg(reference));
    let skopeo: Value = serde_json::from_str(&raw).unwrap();
    let theirs: Vec<_> = skopeo["layers"].as_array().unwrap().iter().map(|l| (&l["digest"], &l["size"])).collect();
    let layers = found["layers"]["layers"].as_array().unwrap();
    let ours: Vec<_> = layers.iter().map(|layer| (&layer["digest"], &layer["stored"])).collect();
    assert_eq!(ours, theirs);
    for layer in layers {
        let blob = layout.join("blobs").join(layer["digest"].as_str().unwrap().replace(':', "/"));
        let list = tools::stdout(Command::new("tar").args(["--list", "--verbose", "--gzip", "--file"]).arg(blob));
        let sizes =
            list.lines().filter(|line| line.starts_with('-')).map(|line| line.split_whitespace().nth(2).unwrap());
        let bytes: u64 = sizes.map(|size| size.parse::<u64>().unwrap()).sum();
        assert_eq!(layer["entries"], list.lines().count(), "members of layer {}", layer["number"]);
        assert_eq!(layer["bytes"], bytes, "bytes of layer {}", layer["number"]);
    }
    let all = |field: &str| layers.iter().map(|layer| layer[field].as_u64().unwrap()).sum::<u64>();
    let names: u64 =
        ["files", "directories", "symlinks", "others"].iter().map(|f| found["userland"][f].as_u64().unwrap()).sum();
    // Two names of one file are two names added, and the root is none.
    assert!(all("added") - all("removed") >= names - 1);
    assert_eq!(all("bytes") - all("hidden"), found["userland"]["bytes"].as_u64().unwrap());
}

fn partitions_are_sgdisks(found: &Value, disk: &Path) {
    for part in found["disk"]["partitions"].as_array().unwrap() {
        let number = part["number"].as_u64().unwrap() as u32;
        let Slice { start, length } = partition(disk, number);
        assert_eq!((part["offset"].as_u64(), part["length"].as_u64()), (Some(start), Some(length)));
        let guid = e2e_disk::guid(disk, number, "Partition unique GUID");
        assert_eq!(part["guid"].as_str().unwrap().to_uppercase(), guid);
        let kind = e2e_disk::guid(disk, number, "Partition GUID code");
        assert_eq!(part["type_id"].as_str().unwrap().to_uppercase(), kind);
    }
}

fn map_has_every_byte_once(found: &Value) {
    let map = found["disk"]["map"].as_array().unwrap();
    let mut at = 0;
    for range in map {
        assert_eq!(range["offset"], at, "{range}");
        at += range["length"].as_u64().unwrap();
    }
    assert_eq!(found["disk"]["size"], at);
}

/// dpkg-query is asked about the status file that debugfs gets out of the root partition.
fn packages_are_dpkgs(bench: &Bench, found: &Value, root: &Path) {
    let admin = bench.path("dpkg");
    fs::create_dir_all(&admin).unwrap();
    dump(root, "/var/lib/dpkg/status", &admin.join("status"));
    let list = tools::stdout(Command::new("dpkg-query").arg("--admindir").arg(&admin).args([
        "--show",
        "--showformat",
        "${db:Status-Status}\\n",
    ]));
    let installed = list.lines().filter(|line| *line == "installed").count();
    assert!(installed > 50);
    assert_eq!(found["userland"]["packages"][0]["installed"], installed);
    assert_eq!(found["userland"]["packages"][0]["others"], list.lines().count() - installed);
}

fn dump(root: &Path, path: &str, to: &Path) {
    tools::stdout(Command::new("debugfs").arg("-R").arg(format!("dump {path} {}", to.display())).arg(root));
    assert!(to.metadata().unwrap().len() > 0, "debugfs finds {path}");
}

fn programs_are_readelfs(bench: &Bench, found: &Value, root: &Path) {
    let program = bench.path("nginx");
    dump(root, found["command"]["path"].as_str().unwrap(), &program);
    let readelf = |option: &str| tools::stdout(Command::new("readelf").arg(option).arg(&program).env("LC_ALL", "C"));
    let needed: Vec<String> = readelf("-d")
        .lines()
        .filter(|l| l.contains("(NEEDED)"))
        .map(|l| l.split(['[', ']']).nth(1).unwrap().into())
        .collect();
    assert_eq!(found["command"]["elf"]["needed"], json!(needed));
    let notes = readelf("-n");
    let abi = notes.lines().find_map(|line| line.split("ABI: ").nth(1)).unwrap();
    assert_eq!(found["command"]["asks"]["linux"], abi);
    assert!(
        readelf("-l").contains(&format!("interpreter: {}]", found["command"]["elf"]["interpreter"].as_str().unwrap()))
    );
    for library in found["command"]["libraries"].as_array().unwrap() {
        let path = library["path"].as_str().unwrap_or_else(|| panic!("{library} is missing, and nginx runs"));
        let stat = tools::stdout(Command::new("debugfs").arg("-R").arg(format!("stat {path}")).arg(root));
        assert!(stat.contains("Type: regular"), "{path}: {stat}");
    }
}

fn usage_is_dumpe2fss(found: &Value, root: &Path) {
    let header = tools::stdout(Command::new("dumpe2fs").arg("-h").arg(root).env("LC_ALL", "C"));
    let number = |name: &str| -> u64 {
        let line = header.lines().find(|line| line.starts_with(name)).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    let bytes = |what: &str| {
        let usage = found["usage"].as_array().unwrap().iter().find(|usage| usage["what"] == what);
        usage.map_or(0, |usage| usage["bytes"].as_u64().unwrap())
    };
    assert_eq!(bytes("free"), number("Free blocks:") * number("Block size:"));
    let all: u64 = found["usage"].as_array().unwrap().iter().map(|usage| usage["bytes"].as_u64().unwrap()).sum();
    assert_eq!(found["length"], all);
}

fn kernel_is_the_packages(bench: &Bench) {
    let package = Kernel::Cloud.package();
    let found = report(bench, &package);
    let config = tools::run(
        Command::new("sh")
            .arg("-c")
            .arg("dpkg-deb --fsys-tarfile \"$0\" | tar xO --wildcards './boot/config-*'")
            .arg(&package),
    );
    let config = String::from_utf8(config.stdout).unwrap();
    let count = |end: &str| config.lines().filter(|line| line.starts_with("CONFIG_") && line.ends_with(end)).count();
    let kernel = &found["kernel"];
    assert_eq!(kernel["options"], json!([count("=y"), count("=m")]));
    assert_eq!(kernel["release"], Kernel::Cloud.release());
    assert_eq!(kernel["boots"], "yes");
    let checks = kernel["checks"].as_array().unwrap();
    assert!(checks.len() > 30 && checks.iter().all(|check| !check["why"].as_str().unwrap().is_empty()));
}

#[test]
fn an_image_and_its_own_disk_have_one_userland() {
    let bench = Bench::new(Kernel::Cloud);
    let zoo = image("zoo.oci");
    let disk = bench.build(&zoo, "zoo.img", &[]);
    let text = inspect(&bench, &zoo, &["--diff", disk.to_str().unwrap()]).expect_status(0).text();
    assert!(text.contains("userland: identical (") && text.contains("kernel: different\n"), "{text}");
    // The kernel counts only when asked for, and what could not be compared is told from what differs.
    inspect(&bench, &zoo, &["--diff", disk.to_str().unwrap(), "--diff-all"]).expect_status(1);
    inspect(&bench, &disk, &["--diff", disk.to_str().unwrap(), "--diff-all"]).expect_status(0);
    inspect(&bench, &zoo, &["--diff", "no-such.img"]).expect_status(2);
    inspect(&bench, "no-such.img", &[]).expect_status(1);
    let found = compared(&bench, &zoo, &disk);
    assert_eq!(
        (&found["userland_identical"], &found["kernel"][0]["b"]),
        (&json!(true), &json!(Kernel::Cloud.release()))
    );
    assert_eq!(found["userland"], json!([]));

    let page = bench.path("diff.html");
    inspect(&bench, &zoo, &["--diff", disk.to_str().unwrap(), "--html", page.to_str().unwrap()]).expect(0, "");
    assert_eq!(tidy(&page), "");
    let heading = "One userland, a kernel on one side only";
    assert!(fs::read_to_string(&page).unwrap().contains(heading), "the page says {heading:?}");

    // A file system alone is a disk too; debugfs changes it, and every change is found.
    let root = bench.path("root.ext4");
    extract(&disk, partition(&disk, 3), &root);
    assert_eq!(compared(&bench, &zoo, &root)["userland_identical"], true);
    let change = |command: &str| tools::stdout(Command::new("debugfs").args(["-w", "-R", command]).arg(&root));
    change("set_inode_field /probe mode 0100700");
    change("rm /zoo/all-hole");
    change("symlink /zoo/new /target");
    let found = compared(&bench, &zoo, &root);
    assert_eq!(found["userland_identical"], false);
    let items: Vec<String> = found["paths"]["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| {
            let what: Vec<&str> = item["what"].as_array().unwrap().iter().map(|w| w.as_str().unwrap()).collect();
            format!("{} {} {}", item["mark"].as_str().unwrap(), item["path"].as_str().unwrap(), what.join(","))
        })
        .collect();
    for expected in ["~ /probe mode", "- /zoo/all-hole ", "+ /zoo/new "] {
        assert!(items.iter().any(|item| item == expected), "{expected:?} in {items:?}");
    }

    // Two packings of one image are one userland, and two kernels are two.
    let twice = compared(&bench, image("nginx.oci"), image("nginx-zstd.oci"));
    assert_eq!((&twice["userland_identical"], &twice["kernel_identical"]), (&json!(true), &json!(null)));
}

/// A comparison as JSON; its exit status says what it says.
#[track_caller]
fn compared(bench: &Bench, a: impl AsRef<OsStr>, b: impl AsRef<OsStr>) -> Value {
    let ran = run(bench.bootdisk().arg("inspect").arg(a).arg("--diff").arg(b).arg("--json"));
    let value: Value = serde_json::from_slice(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    assert_eq!(against_schema(&value), None);
    let same = value["userland_identical"] == true;
    ran.expect_status(if same { 0 } else { 1 });
    value
}

#[test]
fn listings_are_what_coreutils_say() {
    let bench = Bench::without_kernels();
    let zoo = image("zoo.oci");
    let lines = inspect(&bench, &zoo, &["--files", "jsonl"]).expect_status(0).text();
    let files: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let file = |path: &str| files.iter().find(|file| file["path"] == path).unwrap_or_else(|| panic!("no {path}"));
    let text = bench.path("yes");
    for size in [0, 1, 4097, 1_048_576] {
        let made = format!("yes {size} | head -c {size} > '{}'", text.display());
        tools::stdout(Command::new("sh").arg("-c").arg(made));
        assert_eq!(file(&format!("/zoo/size-{size}"))["sha256"], e2e::sha256(&text), "{size}");
    }
    assert_eq!(file("/zoo/far-away")["device"], json!([300, 70000]));
    assert_eq!(file("/zoo/other/link-3")["hard_link_to"], "/zoo/link-1");
    assert_eq!(file("/zoo/before-1970")["mtime_nanos"], 123_456_789);

    let mtree = inspect(&bench, &zoo, &["--files", "mtree"]).expect_status(0).text();
    assert_eq!(mtree.lines().count(), files.len() + 1);
    assert!(mtree.lines().any(|line| line.starts_with("./zoo/new\\012line type=file ")), "names are quoted");
    let tree = inspect(&bench, &zoo, &["--tree"]).expect_status(0).text();
    assert_eq!(tree.lines().count(), files.len());
    assert_eq!(inspect(&bench, &zoo, &["--tree", "--depth", "1"]).expect_status(0).text().lines().count(), 3);
    let wrong = inspect(&bench, &zoo, &["--tree", "--layer", "9"]).expect_status(1);
    assert!(wrong.stderr.contains("error: the image has only 2 layers: 9\nhint: "), "{}", wrong.stderr);
}

#[test]
fn disks_made_by_others_are_read() {
    let bench = Bench::without_kernels();
    let root = bench.path("tree");
    for folder in ["etc", "bin", "sbin", "boot/grub", "usr/lib"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    fs::write(root.join("usr/lib/os-release"), "ID=other\nPRETTY_NAME=\"Made by hand\"\n").unwrap();
    fs::write(root.join("boot/grub/grub.cfg"), "menuentry 'by hand' {\n linux /vmlinuz root=/dev/vda2\n}\n").unwrap();
    fs::copy(BUSYBOX, root.join("bin/busybox")).unwrap();
    std::os::unix::fs::symlink("../bin/busybox", root.join("sbin/init")).unwrap();
    std::os::unix::fs::symlink("busybox", root.join("bin/sh")).unwrap();
    fs::hard_link(root.join("bin/busybox"), root.join("bin/twin")).unwrap();
    fs::write(root.join("hole"), "").unwrap();
    fs::File::options().write(true).open(root.join("hole")).unwrap().set_len(40 << 20).unwrap();

    let gpt = gpt_disk(&bench, &root);
    let found = report(&bench, &gpt);
    partitions_are_sgdisks(&found, &gpt);
    map_has_every_byte_once(&found);
    let release = Kernel::Cloud.release();
    assert_eq!(found["verdict"], format!("a disk: Linux {release}, a Made by hand userland, no package manager"));
    assert_eq!(found["disk"]["kernels"][0]["release"], release);
    assert_eq!(found["disk"]["entries"][0]["title"], "By hand");
    assert_eq!(found["disk"]["entries"][1]["evidence"], "partition 2: /boot/grub/grub.cfg");
    assert_eq!(found["disk"]["initramfs"][0]["modules"], json!(["virtio_blk"]));
    assert_eq!(found["disk"]["firmware"][0]["evidence"], "partition 1: EFI/BOOT/BOOTX64.EFI");
    assert_eq!(found["userland"]["files"], 4);
    assert_eq!(found["command"]["path"], "/bin/busybox");
    let fs2 = bench.path("two.ext4");
    extract(&gpt, partition(&gpt, 2), &fs2);
    usage_is_dumpe2fss(&found["disk"]["partitions"][1], &fs2);

    // Whatever is damaged is said, and the rest is read.
    damage(&gpt, 512 + 20);
    let found = report(&bench, &gpt);
    assert!(
        found["disk"]["table_notes"][0].as_str().unwrap().contains("its copy is read"),
        "{}",
        found["disk"]["table_notes"]
    );
    assert_eq!(found["userland"]["files"], 4);
    damage(&gpt, partition_offset(&found, 1) + 1024 + 4);
    let found = report(&bench, &gpt);
    assert_eq!(found["userland"], json!(null));
    assert!(found["notes"][0].as_str().unwrap().contains("wrong checksum of the superblock"), "{}", found["notes"]);

    let grub = grub_disk(&bench, &root);
    let found = report(&bench, &grub);
    map_has_every_byte_once(&found);
    assert_eq!(
        found["verdict"],
        format!("a disk: Linux {release}, a bootable userland with its own kernel and init: Made by hand")
    );
    assert_eq!(found["disk"]["firmware"][0], json!({"value": "BIOS", "evidence": "GRUB in the first 440 bytes"}));
    assert_eq!(found["disk"]["entries"][0]["title"], "by hand");
    assert_eq!(found["disk"]["entries"][0]["options"], "root=/dev/vda2 console=ttyS0");
    assert!(found["userland"]["kernels"][0].to_string().contains("/boot/vmlinuz-hand"), "{}", found["userland"]);

    let mbr = mbr_disk(&bench, &root);
    let found = report(&bench, &mbr);
    map_has_every_byte_once(&found);
    assert_eq!(found["disk"]["table"], "mbr");
    let numbers: Vec<_> =
        found["disk"]["partitions"].as_array().unwrap().iter().map(|p| p["number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [1, 5]);
    assert_eq!(found["userland"]["distribution"]["name"], "Made by hand");
    let page = bench.path("mbr.html");
    inspect(&bench, &mbr, &["--html", page.to_str().unwrap()]).expect(0, "");
    assert_eq!(tidy(&page), "");
}

fn partition_offset(found: &Value, index: usize) -> u64 {
    found["disk"]["partitions"][index]["offset"].as_u64().unwrap()
}

fn damage(disk: &Path, at: u64) {
    let file = fs::File::options().read(true).write(true).open(disk).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[!byte[0]], at).unwrap();
}

fn shell(bench: &Bench, script: &str, arguments: &[&OsStr]) {
    tools::stdout(Command::new("sh").args(["-euc", script, "sh"]).args(arguments).current_dir(bench.path("")));
}

/// As a distribution's cloud image: ESP with systemd-boot, a root with mke2fs's own choice of features.
fn gpt_disk(bench: &Bench, root: &Path) -> PathBuf {
    let disk = bench.path("gpt.img");
    let script = "
        truncate -s 160M gpt.img
        sgdisk --new 1:2048:+64M --typecode 1:ef00 --new 2:0:+80M --typecode 2:8300 --change-name 2:'my root' gpt.img
        dpkg-deb --fsys-tarfile \"$2\" | tar xO --wildcards './boot/vmlinuz-*' > vmlinuz
        mkdir -p ram/lib && touch ram/lib/virtio-blk.ko.xz && (cd ram && find . | cpio --quiet -o -H newc | gzip) > ram.img
        printf 'title By hand\\nlinux /vmlinuz\\ninitrd /ram.img\\noptions root=LABEL=x quiet\\n' > entry.conf
        truncate -s 64M esp.img && mkfs.vfat -F 32 -n HAND esp.img
        mmd -i esp.img ::/EFI ::/EFI/BOOT ::/loader ::/loader/entries
        mcopy -i esp.img /usr/lib/systemd/boot/efi/systemd-bootx64.efi ::/EFI/BOOT/BOOTX64.EFI
        mcopy -i esp.img entry.conf ::/loader/entries/hand.conf
        mcopy -i esp.img vmlinuz ram.img ::/
        dd if=esp.img of=gpt.img bs=1M seek=1 conv=notrunc status=none
        truncate -s 80M root.img && mke2fs -q -t ext4 -L x -d \"$1\" root.img
        dd if=root.img of=gpt.img bs=1M seek=65 conv=notrunc status=none";
    shell(bench, script, &[root.as_os_str(), Kernel::Cloud.package().as_os_str()]);
    disk
}

/// As Debian's own images for BIOS: GRUB in a partition of its own, the kernel in the root.
fn grub_disk(bench: &Bench, root: &Path) -> PathBuf {
    let disk = bench.path("grub.img");
    let script = "
        cp -a \"$1\" grub-tree
        cp vmlinuz grub-tree/boot/vmlinuz-hand
        cat >grub-tree/boot/grub/grub.cfg <<-'CFG'
        set timeout=0
        menuentry 'by hand' {
          linux /boot/vmlinuz-hand root=/dev/vda2 console=ttyS0
        }
CFG
        grub-mkimage -O i386-pc -o core.img -p '(hd0,gpt2)/boot/grub' biosdisk part_gpt ext2 linux normal
        truncate -s 100M grub.img
        sgdisk --new 1:2048:+1M --typecode 1:ef02 --new 2:0:0 --typecode 2:8300 grub.img
        dd if=/usr/lib/grub/i386-pc/boot.img of=grub.img bs=440 count=1 conv=notrunc status=none
        dd if=core.img of=grub.img bs=512 seek=2048 conv=notrunc status=none
        truncate -s 97M grub-root.img && mke2fs -q -t ext4 -d grub-tree grub-root.img
        dd if=grub-root.img of=grub.img bs=1M seek=2 conv=notrunc status=none";
    shell(bench, script, &[root.as_os_str()]);
    // Where boot.img finds core.img, and core.img's first sector the rest of it.
    let file = fs::File::options().write(true).open(&disk).unwrap();
    file.write_all_at(&2048u64.to_le_bytes(), 92).unwrap();
    file.write_all_at(&2049u64.to_le_bytes(), 2048 * 512 + 500).unwrap();
    disk
}

/// As an old installer would: no checksums, blocks of 1 KiB, a logical partition that nobody formatted.
fn mbr_disk(bench: &Bench, root: &Path) -> PathBuf {
    let disk = bench.path("mbr.img");
    let script = "
        truncate -s 96M mbr.img
        printf 'label: dos\\n2048,131072,L,*\\n133120,,E\\n135168,,L\\n' | sfdisk --quiet mbr.img
        truncate -s 64M old.img
        mke2fs -q -t ext4 -b 1024 -O ^metadata_csum,^64bit,uninit_bg -d \"$1\" old.img
        dd if=old.img of=mbr.img bs=1M seek=1 conv=notrunc status=none";
    shell(bench, script, &[root.as_os_str()]);
    disk
}

/// Databases that rpm and pacman write themselves, counted by them and by us; dpkg's is that of a real image, above.
#[test]
fn packages_are_what_rpm_and_pacman_count() {
    let bench = Bench::without_kernels();
    let script = "
        mkdir -p tree
        for name in one two three four five; do
            printf '%s\\n' \"Name: $name\" 'Version: 1' 'Release: 1' 'Summary: x' 'License: MIT' 'BuildArch: noarch' \\
                %description x %files >$name.spec
            rpmbuild -bb --quiet --define \"_topdir $PWD/top\" $name.spec
        done
        rpm --root \"$PWD/tree\" --dbpath /var/lib/rpm -i --nodeps --justdb --nosignature top/RPMS/noarch/*.rpm
        mkdir -p tree/var/lib/pacman
        for name in one two three; do
            mkdir -p pkg && echo $name >pkg/$name
            printf '%s\\n' \"pkgname = $name\" 'pkgver = 1-1' 'arch = any' 'size = 1' >pkg/.PKGINFO
            tar --zstd -C pkg -cf $name-1-1-any.pkg.tar.zst .PKGINFO $name
        done
        printf '[options]\\nArchitecture = auto\\nSigLevel = Never\\nLocalFileSigLevel = Never\\n' >pacman.conf
        pacman() { command pacman --config pacman.conf --root tree --dbpath tree/var/lib/pacman --cachedir . \"$@\"; }
        pacman -U --noconfirm ./*.pkg.tar.zst
        pacman -R --noconfirm two
        rpm --root \"$PWD/tree\" --dbpath /var/lib/rpm -qa | wc -l >counts
        pacman -Q | wc -l >>counts
        rpm --root \"$PWD/tree\" --dbpath /var/lib/rpm -qa --qf '%{NAME} %{VERSION}-%{RELEASE} %{ARCH}\\n' >names
        pacman -Q | sed 's/$/ any/' >>names
        tar -C tree -cf tree.tar .";
    shell(&bench, script, &[]);
    assert_eq!(fs::read_to_string(bench.path("counts")).unwrap(), "5\n2\n");
    let layout = bench.path("packages.oci");
    let packages = |layer: Vec<u8>| {
        ImageBuilder::new().layer(layer).cmd(&["/x"]).write_oci(&layout);
        let found = report(&bench, &layout);
        _ = fs::remove_dir_all(&layout);
        found["userland"]["packages"].clone()
    };
    let tree = || fs::read(bench.path("tree.tar")).unwrap();
    let found = packages(tree());
    let counted = |manager: &str| found.as_array().unwrap().iter().find(|one| one["manager"] == manager).unwrap();
    assert_eq!((&counted("rpm")["installed"], &counted("rpm")["doubt"]), (&json!(5), &json!(null)), "{found}");
    assert_eq!(counted("pacman")["installed"], 2, "{found}");

    // Each by its name, version and architecture, as the two programs say.
    ImageBuilder::new().layer(tree()).cmd(&["/x"]).write_oci(&layout);
    let opened = source::open(&Reference::parse(layout.as_os_str()).unwrap(), &Select::default()).unwrap();
    let tree_of_image = of_image::tree(&opened, &mut Looker::for_packages()).unwrap();
    let all = installed(&tree_of_image, &|body: &Body, _| body.content.as_ref()?.text.clone());
    let mut names: Vec<String> = all
        .packages
        .iter()
        .map(|one| format!("{} {} {}", one.name, one.version, one.arch.as_deref().unwrap_or_default()))
        .collect();
    names.sort();
    let expected = fs::read_to_string(bench.path("names")).unwrap();
    let mut expected: Vec<&str> = expected.lines().collect();
    expected.sort_unstable();
    assert_eq!((names, all.doubts.len()), (expected.into_iter().map(str::to_owned).collect(), 0));
    fs::remove_dir_all(&layout).unwrap();

    // A writer that was killed: what it did last is in the log beside the file.
    fs::write(bench.path("tree/var/lib/rpm/rpmdb.sqlite-wal"), "not empty").unwrap();
    shell(&bench, "tar -C tree -cf tree.tar .", &[]);
    let found = packages(tree());
    assert_eq!(found[0]["doubt"], "its write-ahead log was not read", "{found}");
}

#[test]
fn hostile_images_change_nothing_but_the_report() {
    let bench = Bench::without_kernels();
    let full = std::env::var_os("BOOTDISK_TEST_FULL").is_some();
    let (large, many) = if full { (1usize << 30, 5_000_000) } else { (80 << 20, 700_000) };
    let evil = "\x1b]0;title\x07\x1b[2J\u{202e}<script>alert(1)</script>";
    let mut wild = fs::read(BUSYBOX).unwrap();
    // Its program headers are said to be far outside the file.
    wild[32..40].fill(0xff);
    let mut os_release = format!("PRETTY_NAME=\"{evil}\"\nID='{evil}'\n").into_bytes();
    os_release.resize(large, b'x');
    let mut status = Vec::new();
    for i in 0..many {
        status.extend_from_slice(format!("Package: p{i}\nStatus: install ok installed\nVersion: {i}\nDescription: long\n of many lines and no end of it at all, such as a hundred bytes\n\n").as_bytes());
    }
    let tar = TarBuilder::new()
        .file("etc/os-release", 0o644, &os_release)
        .file("var/lib/dpkg/status", 0o644, &status)
        .file("wild", 0o4755, &wild)
        .file(&format!("bin/{}.key", evil.replace('/', "_")), 0o666, b"x")
        .file("etc/passwd", 0o644, format!("{evil}:x:0:0::/:/bin/sh\n").as_bytes())
        .symlink("ring", "ring");
    drop((os_release, status));
    let mut image =
        ImageBuilder::new().layer(tar.build()).cmd(&["/wild", evil]).set("Env", json!([format!("X={evil}")]));
    image.config["history"] = json!([{ "created_by": evil }]);
    let layout = bench.path("evil.oci");
    image.write_oci(&layout);
    drop(image);

    let peak = bench.path("peak");
    let mut command = bench.bootdisk();
    command.arg("inspect").arg(&layout).arg("--json");
    let ran = run(&mut with_peak_memory(&command, &peak)).expect_status(0);
    assert!(peak_memory(&peak) < 256 << 20, "{} bytes of memory", peak_memory(&peak));
    let found: Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(against_schema(&found), None);
    assert!(found["command"]["elf"]["damage"].is_string(), "{}", found["command"]);
    assert!(found["userland"]["packages"][0]["installed"].as_u64().unwrap() > 100_000);
    assert_eq!(found["userland"]["packages"][0]["doubt"], "only its first 64 MiB were read");
    let page = bench.path("evil.html");
    inspect(&bench, &layout, &["--html", page.to_str().unwrap()]).expect(0, "");
    let text = inspect(&bench, &layout, &[]).expect_status(0).text();
    let tree = inspect(&bench, &layout, &["--tree"]).expect_status(0).text();
    let html = fs::read_to_string(&page).unwrap();
    for output in [&text, &tree, &ran.text(), &html] {
        assert!(output.contains("\\x1b") || output.contains("\\\\x1b"), "it is shown, and harmless");
        let bad = output.chars().find(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}');
        assert_eq!(bad, None);
    }
    assert!(!html.contains("<script"));
    assert_eq!(tidy(&page), "");
}

/// What the HTML checker says.
fn tidy(page: &Path) -> String {
    let output =
        tools::run(Command::new("tidy").args(["-quiet", "-errors", "-utf8", "--show-warnings", "yes"]).arg(page));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    // Elements newer than this checker's list.
    said.lines().filter(|line| !line.contains("proprietary")).map(|line| format!("{line}\n")).collect()
}

#[test]
fn checkers_notice_damage() {
    let bench = Bench::without_kernels();
    let page = bench.path("page.html");
    inspect(&bench, image("hello-c.oci"), &["--html", page.to_str().unwrap()]).expect(0, "");
    assert_eq!(tidy(&page), "");
    let html = fs::read_to_string(&page).unwrap();
    fs::write(&page, html.replacen("</section>", "", 1).replacen("</dd>", "</b>", 1)).unwrap();
    assert_ne!(tidy(&page), "");

    let mut value = report(&bench, image("hello-c.oci"));
    value["userland"]["files"] = json!("one");
    assert_eq!(against_schema(&value).as_deref(), Some("/userland/files: \"one\" is no integer"));
    value["userland"]["files"] = json!(1);
    value["kind"] = json!("cloud");
    assert!(against_schema(&value).is_some());
    value["kind"] = json!("image");
    assert_eq!(against_schema(&value), None);
    value.as_object_mut().unwrap().remove("verdict");
    assert!(against_schema(&value).is_some());
}

#[test]
fn what_cannot_be_inspected_is_refused_with_a_hint() {
    let bench = Bench::without_kernels();
    let qcow = bench.path("x.qcow2");
    fs::write(&qcow, [&b"QFI\xfb"[..], &[0; 100_000]].concat()).unwrap();
    let zeros = bench.path("zeros");
    fs::write(&zeros, [0; 100_000]).unwrap();
    fs::create_dir(bench.path("empty")).unwrap();
    for (path, said) in [
        (qcow, "has another version than 2 and 3, which is not supported"),
        (
            zeros,
            "an image, a disk or a kernel is needed, but this is nothing but zeros\nhint: images come from docker save",
        ),
        (bench.path("empty"), "but this is an empty folder\nhint: an OCI layout has an index.json"),
        (bench.path("nothing"), "no such file or directory"),
        ("no-such-image.tar".into(), "no such file or directory"),
    ] {
        let ran = inspect(&bench, &path, &[]).expect_status(1);
        assert!(ran.stderr.contains(said), "{}", ran.stderr);
        assert!(ran.stdout.is_empty());
    }
}
