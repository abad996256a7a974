//! `--guest-modules all`: depmod's files without depmod, and a Debian userland with kmod and iptables that uses them.

use crate::{e2e, e2e_disk, small_kernel, tools};
use e2e::{Bench, Kernel, image, run};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Number of the modules' partition, and of the root's behind it.
const MODULES: u32 = 3;
const ROOT: u32 = 4;

/// Packages of the host that the image gets: modprobe and iptables, and the libraries that minbase lacks.
const PACKAGES: [&str; 10] = [
    "kmod",
    "libkmod2",
    "libssl3",
    "iptables",
    "libxtables12",
    "libip4tc2",
    "libip6tc2",
    "libnftnl11",
    "libmnl0",
    "libnetfilter-conntrack3",
];

/// Debian's minbase with kmod and iptables, by umoci.
fn debian_with_kmod(bench: &Bench) -> String {
    let (files, layout) = (bench.path("files"), bench.path("kmod.oci"));
    for package in PACKAGES.into_iter().chain(["libnfnetlink0"]) {
        let listed = tools::stdout(Command::new("dpkg").args(["-L", package]));
        for path in listed.lines().map(Path::new).filter(|path| !path.is_dir()) {
            // The image's /bin, /sbin and /lib are links into /usr, as the host's are.
            let inside = path.strip_prefix("/").unwrap();
            let old = ["bin", "sbin", "lib"].iter().any(|folder| inside.starts_with(folder));
            let target = files.join(if old { Path::new("usr").join(inside) } else { inside.to_owned() });
            fs::create_dir_all(target.parent().unwrap()).unwrap();
            tools::stdout(Command::new("cp").arg("-a").arg(path).arg(target));
        }
    }
    // Which of its two forms iptables is, is a link that no package has.
    for (name, to) in [("iptables", "xtables-nft-multi"), ("iptables-legacy", "xtables-legacy-multi")] {
        let _ = fs::remove_file(files.join("usr/sbin").join(name));
        std::os::unix::fs::symlink(to, files.join("usr/sbin").join(name)).unwrap();
    }
    tools::stdout(Command::new("cp").arg("-r").arg(image("debian.oci")).arg(&layout));
    let index: serde_json::Value = serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
    let tag = index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"].as_str().unwrap();
    let name = format!("{}:{tag}", layout.display());
    tools::stdout(Command::new("umoci").args(["insert", "--image", &name]).arg(&files).arg("/"));
    format!("oci:{name}")
}

fn sorted(text: &str) -> BTreeSet<&str> {
    text.lines().collect()
}

/// What depmod makes of the same modules is what is on the disk, byte for byte where depmod has an order.
fn compare_with_depmod(bench: &Bench, modules: &Path) {
    let release = Kernel::Cloud.release();
    let ours = bench.path("ours");
    tools::stdout(Command::new("debugfs").args([
        "-R",
        &format!("rdump / {}", prepared(&ours)),
        &modules.to_string_lossy(),
    ]));
    let base = bench.path("base");
    let theirs = base.join("lib/modules").join(&release);
    fs::create_dir_all(theirs.parent().unwrap()).unwrap();
    let package = small_kernel::unpacked("cloud").join("lib/modules").join(&release);
    tools::stdout(Command::new("cp").arg("-r").arg(&package).arg(&theirs));
    tools::stdout(Command::new("depmod").arg("-b").arg(&base).arg(&release));
    tools::stdout(Command::new("diff").arg("-r").arg(ours.join("kernel")).arg(theirs.join("kernel")));
    let exact = [
        "modules.alias",
        "modules.alias.bin",
        "modules.builtin",
        "modules.builtin.bin",
        "modules.builtin.alias.bin",
        "modules.builtin.modinfo",
        "modules.devname",
        "modules.order",
        "modules.softdep",
        "modules.symbols.bin",
    ];
    let differ = |name: &&str| fs::read(ours.join(name)).unwrap() != fs::read(theirs.join(name)).unwrap();
    let different: Vec<&str> = exact.into_iter().filter(differ).collect();
    assert!(different.is_empty(), "{different:?}");
    let text = |at: &Path, name: &str| fs::read_to_string(at.join(name)).unwrap();
    // depmod goes through symbols as its hash table has them.
    let (a, b) = (text(&ours, "modules.symbols"), text(&theirs, "modules.symbols"));
    assert_eq!(sorted(&a), sorted(&b));
    // What a module needs may be said in more than one order.
    let needs = |text: &str| -> Vec<(String, BTreeSet<String>)> {
        let line = |line: &str| {
            let (path, needed) = line.split_once(':').unwrap();
            (path.to_owned(), needed.split_whitespace().map(str::to_owned).collect())
        };
        text.lines().map(line).collect()
    };
    let (a, b) = (text(&ours, "modules.dep"), text(&theirs, "modules.dep"));
    assert_eq!(needs(&a), needs(&b));
}

fn prepared(folder: &Path) -> String {
    fs::create_dir_all(folder).unwrap();
    folder.display().to_string()
}

/// modprobe by name and by alias; iptables in both of its forms, of which one starts modprobe and the other leaves it to
/// the kernel; a file system that only the kernel asks for. The image's modprobe is not where the kernel starts its own.
const USE_THEM: &str = "set -e
cd /lib/modules/$(uname -r)
modprobe dummy
grep -q ^dummy /proc/modules
modprobe fs-btrfs
grep -q ^btrfs /proc/modules
iptables-legacy -t nat -L -n | grep -c ^Chain
iptables -t nat -A POSTROUTING -o dummy0 -j MASQUERADE
iptables -t nat -S | tail -n 1
if grep -q ^xfs /proc/modules; then exit 8; fi
mount -t xfs none /mnt 2>/dev/null || grep -o ^xfs /proc/modules
touch x 2>/dev/null || echo read-only";

const USED: &str = "4\n-A POSTROUTING -o dummy0 -j MASQUERADE\nxfs\nread-only\n";

#[test]
fn the_userland_has_every_module_and_the_root_has_nothing_of_it() {
    let bench = Bench::new(Kernel::Cloud);
    let debian = debian_with_kmod(&bench);
    let plain = bench.build(&debian, "plain.img", &[]);
    let disk = bench.build(&debian, "disk.img", &["--guest-modules", "all"]);
    let extracted = |disk: &Path, number: u32, name: &str| {
        let to = bench.path(name);
        e2e_disk::extract(disk, e2e_disk::partition(disk, number), &to);
        to
    };
    let roots = [extracted(&plain, e2e_disk::ROOT, "plain.ext4"), extracted(&disk, ROOT, "root.ext4")];
    assert_eq!(e2e::sha256(&roots[0]), e2e::sha256(&roots[1]), "the root partition knows nothing of modules");
    let modules = extracted(&disk, MODULES, "modules.ext4");
    for partition in [&modules, &roots[1]] {
        assert_eq!(e2e_disk::e2fsck_complaint(partition), None);
    }
    tools::stdout(Command::new("sgdisk").arg("-v").arg(&disk));
    compare_with_depmod(&bench, &modules);

    // The store and the package give one disk, and a second build the same.
    let package = Kernel::Cloud.package();
    let again = bench.build(&debian, "again.img", &["--guest-modules", "all", "--kernel", package.to_str().unwrap()]);
    assert_eq!(e2e::sha256(&disk), e2e::sha256(&again));

    for options in [
        &["--firmware", "bios"][..],
        &["--firmware", "uefi"],
        &["--firmware", "direct", "--read-only"],
        &["--firmware", "direct", "--ephemeral"],
    ] {
        bench.run_other(&disk, options, &["sh", "-c", USE_THEM]).expect(0, USED);
    }
    // The root behind the modules grows as any does, and they stay what they are.
    let size = ["sh", "-c", "df --output=size -B1G / | tail -n 1; modprobe dummy && grep -c ^dummy /proc/modules"];
    let grown = bench.run_other(&disk, &["--firmware", "direct", "--size", "9G"], &size).expect_status(0).text();
    assert_eq!(grown.split_whitespace().collect::<Vec<_>>(), ["9", "1"]);
    // Without the option there is no module but those of the boot.
    let ran = bench.run_other(&plain, &["--firmware", "direct"], &["modprobe", "dummy"]);
    assert_eq!(ran.status, Some(1), "{}", ran.stderr);

    let before = e2e::sha256(&disk);
    let refused = run(bench.bootdisk().args(["kernel", "set"]).arg(&disk).arg(&package)).expect_status(1);
    assert!(refused.stderr.contains("in a partition of its own"), "{}", refused.stderr);
    assert!(refused.stderr.contains("hint: build the disk again"), "{}", refused.stderr);
    assert_eq!(e2e::sha256(&disk), before);
}
