//! One image in every form it is passed around in gives one root file system, and one disk layout that other people's
//! tools find nothing wrong with.

use crate::{e2e, e2e_disk, tools};
use e2e::{Bench, Kernel, image, run, run_with_input};
use std::fs;
use std::process::Command;

#[test]
fn every_form_of_an_image_is_the_same_root() {
    let bench = Bench::new(Kernel::Cloud);
    let first = bench.build(image("nginx.oci"), "first.img", &[]);
    e2e_disk::check(&first);
    let uuid = e2e_disk::root_uuid(&first);
    let tree = tree_of(&bench, "first.img");
    assert!(tree.lines().count() > 1000, "debugfs listed:\n{tree}");
    for form in
        ["nginx-zstd.oci", "nginx.oci.tar", "nginx.docker.tar", "nginx.podman.tar", "nginx.legacy.tar", "nginx.v25.tar"]
    {
        let disk = bench.build(image(form), "other.img", &[]);
        e2e_disk::check(&disk);
        assert_eq!(e2e_disk::root_uuid(&disk), uuid, "{form}");
        assert!(tree_of(&bench, "other.img") == tree, "{form} has other files");
        fs::remove_file(disk).unwrap();
    }
}

/// Mode, owner, size and name of every file, as debugfs lists them from the root partition.
fn tree_of(bench: &Bench, disk: &str) -> String {
    let root = bench.path("root.ext4");
    let disk = bench.path(disk);
    e2e_disk::extract(&disk, e2e_disk::partition(&disk, e2e_disk::ROOT), &root);
    let mut tree = String::new();
    let mut pending = vec![String::from("/")];
    while !pending.is_empty() {
        // One debugfs for all directories of a level; `-p` prints /inode/mode/uid/gid/name/size/.
        let requests: String = pending.iter().map(|path| format!("ls -p \"{path}\"\n")).collect();
        let script = bench.path("requests");
        fs::write(&script, requests).unwrap();
        let text = tools::stdout(Command::new("debugfs").arg("-f").arg(&script).arg(&root));
        let mut parents = std::mem::take(&mut pending).into_iter();
        let mut parent = String::new();
        for line in text.lines() {
            if line.starts_with("debugfs: ls") {
                parent = parents.next().expect("one answer to each request");
                continue;
            }
            let fields: Vec<&str> = line.split('/').collect();
            let [_, _, mode, uid, gid, name, size, _] = fields[..] else { continue };
            if name == "." || name == ".." {
                continue;
            }
            let path = format!("{}/{name}", parent.trim_end_matches('/'));
            tree += &format!("{mode} {uid} {gid} {size} {path}\n");
            if mode.starts_with("04") {
                pending.push(path);
            }
        }
    }
    tree
}

#[test]
fn the_table_is_what_the_specification_names() {
    let bench = Bench::new(Kernel::Cloud);
    let disk = bench.build(image("hello-c.oci"), "hello.img", &["--size", "1G"]);
    assert_eq!(fs::metadata(&disk).unwrap().len(), 1 << 30, "--size is the whole disk");
    // BIOS boot, EFI System, root for x86-64 (Discoverable Partitions Specification).
    for (number, kind) in [
        (1, "21686148-6449-6E6F-744E-656564454649"),
        (e2e_disk::ESP, "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"),
        (e2e_disk::ROOT, "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709"),
    ] {
        assert_eq!(e2e_disk::guid(&disk, number, "Partition GUID code"), kind, "partition {number}");
    }
    let [bios, esp, root] = [1, 2, 3].map(|number| e2e_disk::partition(&disk, number));
    assert!(bios.start < esp.start && esp.start < root.start, "the root is last, so that it can grow");
    for slice in [bios, esp, root] {
        assert_eq!(slice.start % (1 << 20), 0, "partitions begin at whole MiB");
    }
}

#[test]
fn the_esp_holds_loader_and_kernel() {
    let bench = Bench::new(Kernel::Cloud);
    let disk = bench.build(image("hello-c.oci"), "hello.img", &[]);
    let esp = format!("{}@@{}", disk.display(), e2e_disk::partition(&disk, e2e_disk::ESP).start);
    let listed = tools::stdout(Command::new("mdir").args(["-/", "-b", "-i", &esp, "::/"]));
    let lower = listed.to_lowercase();
    for path in ["::/efi/boot/bootx64.efi", "::/loader/loader.conf", "::/loader/entries/"] {
        assert!(lower.contains(path), "no {path} in:\n{listed}");
    }
    let conf = tools::stdout(Command::new("mtype").args(["-i", &esp, "::/loader/loader.conf"]));
    let has = |key: &str, value: &str| conf.lines().any(|line| line.split_whitespace().eq([key, value]));
    assert!(has("timeout", "0"), "{conf}");
    assert!(has("editor", "no") || has("editor", "0"), "{conf}");
    assert!(!lower.contains("random-seed"), "{listed}");
}

/// Every checker that these tests trust finds the damage it is there for.
#[test]
fn the_checkers_find_damage() {
    let bench = Bench::new(Kernel::Cloud);
    let disk = bench.build(image("hello-c.oci"), "hello.img", &[]);
    e2e_disk::check(&disk);
    let esp = e2e_disk::partition(&disk, e2e_disk::ESP);
    let root = e2e_disk::partition(&disk, e2e_disk::ROOT);
    let backup_header = fs::metadata(&disk).unwrap().len() - 512;
    for (at, tool) in [
        // Backup table header, CRC. FAT: number of FATs. ext4: superblock's inode count; a group descriptor's table.
        (backup_header + 16, "sgdisk"),
        (esp.start + 16, "fsck.fat"),
        (root.start + 1024, "e2fsck"),
        (root.start + 4096 + 8, "e2fsck"),
    ] {
        let damaged = e2e_disk::damaged(&disk, at, &bench.path("damaged.img"));
        let complaint = e2e_disk::complaint(&damaged).unwrap_or_else(|| panic!("nobody minds the damage at {at}"));
        assert!(complaint.starts_with(tool), "{at}: {complaint}");
    }
}

#[test]
fn an_archive_may_be_compressed_and_come_through_a_pipe() {
    let bench = Bench::new(Kernel::Cloud);
    let uuid = e2e_disk::root_uuid(&bench.build(image("hello-c.oci"), "plain.img", &[]));
    for form in ["hello-c.docker.tar", "hello-c.docker.tar.gz", "hello-c.docker.tar.zst", "hello-c.oci.tar"] {
        let disk = bench.build(image(form), "file.img", &[]);
        assert_eq!(e2e_disk::root_uuid(&disk), uuid, "{form}");

        let disk = bench.path("piped.img");
        let archive = fs::read(image(form)).unwrap();
        run_with_input(bench.bootdisk().args(["build", "-", "-o"]).arg(&disk), archive).expect(0, "");
        assert_eq!(e2e_disk::root_uuid(&disk), uuid, "{form} through a pipe");
    }
}

#[test]
fn an_index_gives_the_asked_for_platform() {
    let bench = Bench::new(Kernel::Cloud);
    let single = bench.build(image("hello-go.oci.tar"), "single.img", &[]);
    let chosen = bench.build(image("hello-multi.oci"), "multi.img", &["--platform", "linux/amd64"]);
    assert_eq!(e2e_disk::root_uuid(&single), e2e_disk::root_uuid(&chosen));

    let absent = bench.path("absent.img");
    let command = &mut bench.bootdisk();
    command.arg("build").arg(image("hello-multi.oci")).arg("-o").arg(&absent).args(["--platform", "linux/s390x"]);
    let refused = run(command).expect(1, "");
    assert!(refused.stderr.contains("linux/s390x"), "{}", refused.stderr);
    assert!(refused.stderr.contains("linux/arm64"), "it lists what there is: {}", refused.stderr);
    assert!(!absent.exists());
}

#[test]
fn a_transport_may_be_written_out() {
    let bench = Bench::new(Kernel::Cloud);
    let uuid = e2e_disk::root_uuid(&bench.build(image("hello-c.oci"), "plain.img", &[]));
    for (transport, name, tag) in [
        ("oci", "hello-c.oci", ":latest"),
        ("oci", "hello-c.oci", ""),
        ("oci-archive", "hello-c.oci.tar", ""),
        ("docker-archive", "hello-c.docker.tar", ""),
        ("docker-archive", "hello-c.docker.tar", ":hello:c"),
    ] {
        let reference = format!("{transport}:{}{tag}", image(name).display());
        let disk = bench.build(&reference, "named.img", &[]);
        assert_eq!(e2e_disk::root_uuid(&disk), uuid, "{reference}");
    }
}

/// As small as it can be, and with as much room as is asked for.
#[test]
fn the_smallest_disk_boots_and_room_is_what_is_asked_for() {
    let bench = Bench::new(Kernel::Cloud);
    let hello = format!("Hello from OS-less container (C, Linux {} on x86_64)\n", Kernel::Cloud.release());
    let small = bench.build(image("hello-c.oci"), "small.img", &["--size", "min", "--firmware", "bios", "--verify"]);
    let size = fs::metadata(&small).unwrap().len();
    assert!(size <= 48 << 20, "{size}");
    e2e_disk::check(&small);
    bench.run(&small, &[]).expect(0, &hello);

    let roomy = bench.build(image("hello-c.oci"), "roomy.img", &["--free", "20M", "--esp-size", "auto"]);
    run(bench.bootdisk().args(["kernel", "set", "-q"]).arg(&roomy).arg(Kernel::Cloud.package())).expect(0, "");
    e2e_disk::check(&roomy);
    let root = bench.path("roomy.ext4");
    e2e_disk::extract(&roomy, e2e_disk::partition(&roomy, e2e_disk::ROOT), &root);
    let facts = tools::stdout(Command::new("dumpe2fs").arg("-h").arg(&root));
    let free = facts.lines().find_map(|line| line.strip_prefix("Free blocks:")).unwrap().trim().parse::<u64>().unwrap();
    assert!((20 << 20..24 << 20).contains(&(free * 4096)), "{facts}");
    let refused = run(bench.bootdisk().args(["run", "--free", "1G"]).arg(&roomy)).expect(125, "");
    assert!(refused.stderr.contains("--free is for building a disk"), "{}", refused.stderr);
    let both = run(bench.bootdisk().args(["build", "x", "-o", "y", "--size", "1G", "--free", "1G"])).expect(2, "");
    assert!(both.stderr.contains("cannot be used with"), "{}", both.stderr);
}
