//! Disks in other forms: built, converted, looked into, started.

use crate::{e2e, e2e_disk, tools};
use e2e::{Bench, Kernel, image, run, sha256};
use std::fs::File;
use std::path::Path;
use std::process::Command;

fn qemu_img(arguments: &[&str], files: &[&Path]) -> String {
    tools::stdout(Command::new("qemu-img").args(arguments).args(files))
}

/// Every form of one disk is that disk to qemu-img, looks the same inside, and comes back the same.
#[test]
fn a_disk_is_the_same_in_every_form_and_boots() {
    let bench = Bench::new(Kernel::Cloud);
    // Each file is read several times.
    let small = ["--free", "64M"];
    let raw = bench.build(image("hello-c.oci"), "raw.img", &small);
    let raw_hash = sha256(&raw);
    let convert = |from: &Path, name: &str, options: &[&str]| {
        let to = bench.path(name);
        run(bench.bootdisk().args(["convert", "-q", "--no-sync"]).arg(from).arg("-o").arg(&to).args(options))
            .expect(0, "");
        to
    };
    for (name, options, theirs) in [
        ("a.qcow2", &[][..], "qcow2"),
        ("b.qcow2", &["--compress", "zlib", "--verify"], "qcow2"),
        ("c.qcow2", &["--compress", "zstd"], "qcow2"),
        ("d.vmdk", &["--verify"], "vmdk"),
        ("e.vmdk", &["--compress", "zlib"], "vmdk"),
        ("f.vdi", &["--verify"], "vdi"),
        ("g.vhd", &["--verify"], "vpc"),
        ("h.vhd", &["--format", "vhd-fixed"], "vpc"),
        ("i.vhdx", &["--verify"], "vhdx"),
    ] {
        let disk = convert(&raw, name, options);
        let compared = qemu_img(&["compare", "-f", theirs, "-F", "raw"], &[&disk, &raw]);
        assert!(compared.contains("Images are identical"), "{name}: {compared}");
        let same = run(bench.bootdisk().arg("inspect").arg(&disk).arg("--diff").arg(&raw).arg("--diff-all"));
        assert!(same.expect_status(0).text().contains("identical"), "{name}");
        assert_eq!(sha256(&convert(&disk, "again.img", &[])), raw_hash, "{name}");
    }
    e2e_disk::check(&bench.path("again.img"));

    // What is unpacked first is compared with what other programs read by the library's own tests.
    for (name, options) in [
        ("j.img.zst", &["--verify"][..]),
        ("k.img.xz", &[]),
        ("l.gz", &[]),
        ("m.tar.gz", &["--verify"]),
        ("n.ova", &["--verify"]),
        ("o.box", &[]),
        ("p", &["--format", "gce"]),
    ] {
        let disk = convert(&raw, name, options);
        // Google's is as many GiB as it takes.
        let longer = matches!(name, "m.tar.gz" | "p");
        let same = run(bench.bootdisk().arg("inspect").arg(&disk).arg("--diff").arg(&raw).arg("--diff-all"));
        assert!(same.expect_status(i32::from(longer)).text().contains("identical"), "{name}");
        let again = convert(&disk, "again.img", &[]);
        let file = File::options().write(true).open(&again).unwrap();
        assert!(longer || file.metadata().unwrap().len() == raw.metadata().unwrap().len());
        file.set_len(raw.metadata().unwrap().len()).unwrap();
        assert_eq!(sha256(&again), raw_hash, "{name}");
    }
    let ovf = tools::stdout(Command::new("tar").arg("-xOf").arg(bench.path("n.ova")).arg("disk.ovf"));
    assert!(ovf.contains("vmw:value=\"bios\""), "{ovf}");

    // What is built in a form is what is converted to it, and what a machine is started from.
    let built =
        bench.build(image("hello-c.oci"), "built.qcow2", &[&small[..], &["--compress", "zstd", "--verify"]].concat());
    assert_eq!(sha256(&built), sha256(&bench.path("c.qcow2")));
    assert!(qemu_img(&["check", "-f", "qcow2"], &[&built]).contains("No errors"));
    let said = bench.run(&raw, &[]).text();
    bench.run(&built, &[]).expect(0, &said);
    // What is a qcow2 from its first byte on is the same disk, and has the same bytes each time.
    let grown = bench.build(image("hello-c.oci"), "grown.qcow2", &[&small[..], &["--verify"]].concat());
    let again =
        bench.build(image("hello-c.oci"), "again.qcow2", &[&small[..], &["--threads", "1", "--no-sync"]].concat());
    assert_eq!(sha256(&grown), sha256(&again));
    assert!(qemu_img(&["check", "-f", "qcow2"], &[&grown]).contains("No errors"));
    assert!(qemu_img(&["compare", "-f", "qcow2", "-F", "raw"], &[&grown, &raw]).contains("Images are identical"));
    bench.run(&grown, &[]).expect(0, &said);
    // A kernel that knows neither SATA nor an Intel card: the machine has what it does know.
    let package = bench.build(image("hello-c.oci"), "built.ova", &[]);
    let ovf = tools::stdout(Command::new("tar").arg("-xOf").arg(&package).arg("disk.ovf"));
    assert!(ovf.contains("IDE controller") && ovf.contains(">VmxNet3<"), "{ovf}");
    bench.run(&package, &["--bus", "ide"]).expect(0, &said);
    let refused = bench.run(&built, &["--write"]).expect(125, "");
    assert!(refused.stderr.contains("hint: make a disk with bootdisk convert"), "{}", refused.stderr);
}

/// QEMU's own drivers start a disk in every form that they have, under both firmwares in turn.
#[test]
#[ignore = "boots each form of a disk, which are the same bytes for a guest"]
fn other_programs_start_a_disk_in_the_forms_that_qemu_knows() {
    let bench = Bench::new(Kernel::Cloud);
    let raw = bench.build(image("hello-c.oci"), "raw.img", &[]);
    let full = std::env::var_os("BOOTDISK_TEST_FULL").is_some();
    for (name, theirs, options, uefi) in [
        ("a.qcow2", "qcow2", &["--compress", "zstd"][..], true),
        ("b.vmdk", "vmdk", &["--compress", "zlib"], false),
        ("c.vdi", "vdi", &[], false),
        ("d.vhd", "vpc", &[], false),
        ("e.vhdx", "vhdx", &[], false),
    ] {
        let disk = bench.path(name);
        run(bench.bootdisk().args(["convert", "-q", "--no-sync"]).arg(&raw).arg("-o").arg(&disk).args(options))
            .expect(0, "");
        for uefi in if full { vec![false, true] } else { vec![uefi] } {
            let drive = format!("if=virtio,format={theirs},file={}", disk.display());
            let firmware: &[&str] = if uefi { &["-bios", "/usr/share/ovmf/OVMF.fd"] } else { &[] };
            let said = e2e_disk::started_by_qemu(&drive, firmware);
            assert!(said.contains("Hello from OS-less container"), "{name}, UEFI {uefi}:\n{said}");
        }
    }
}

/// A form is read, edited and written anew, in its own kind; what a raw disk would be then, it is.
#[test]
fn another_kernel_is_set_on_a_disk_in_any_form() {
    let bench = Bench::new(Kernel::Cloud);
    let raw = bench.build(image("hello-c.oci"), "raw.img", &["--free", "8M", "--esp-size", "auto"]);
    let set = |disk: &Path, status| {
        run(bench.bootdisk().args(["kernel", "set", "-q"]).arg(disk).arg(Kernel::Cloud.package())).expect(status, "")
    };
    let forms = [
        ("a.qcow2", &["--compress", "zstd"][..]),
        ("b.qcow2", &[]),
        ("c.vmdk", &["--compress", "zlib"]),
        ("d.vhd", &["--format", "vhd-fixed"]),
        ("e.img.gz", &[]),
    ];
    let convert = |from: &Path, name: &str, options: &[&str]| {
        let to = bench.path(name);
        run(bench.bootdisk().args(["convert", "-q", "--no-sync"]).arg(from).arg("-o").arg(&to).args(options))
            .expect(0, "");
        to
    };
    forms.iter().for_each(|(name, options)| _ = convert(&raw, name, options));
    let package = convert(&raw, "f.ova", &[]);
    let before = sha256(&package);
    set(&raw, 0);
    for (name, options) in forms {
        let disk = bench.path(name);
        set(&disk, 0);
        assert_eq!(sha256(&disk), sha256(&convert(&raw, &format!("again.{name}"), options)), "{name}");
    }
    e2e_disk::check(&raw);
    let export = |name: &str, options: &[&str]| {
        run(bench.bootdisk().arg("export").arg(bench.path(name)).args(options)).expect_status(0).text()
    };
    let domain = export("a.qcow2", &["--libvirt"]);
    std::fs::write(bench.path("domain.xml"), &domain).unwrap();
    tools::stdout(Command::new("xmllint").arg("--noout").arg(bench.path("domain.xml")));
    let file = format!("<source file='{}'/>", bench.path("a.qcow2").display());
    for words in ["<os>", "type='qcow2'", "<target dev='vda' bus='virtio'/>", "<name>a</name>", &file] {
        assert!(domain.contains(words), "{words}: {domain}");
    }
    assert!(domain.starts_with("<domain type='kvm'>"), "{domain}");
    assert!(export("a.qcow2", &["--libvirt", "--accel", "tcg"]).starts_with("<domain type='qemu'>"));
    let object = export("raw.img", &["--kubevirt", "host/app:1"]);
    assert!(object.contains("containerDisk: {image: \"host/app:1\"}") && object.contains("bios: {}"), "{object}");
    let folder = bench.path("boot");
    export("raw.img", &["--boot-files", folder.to_str().unwrap()]);
    assert!(std::fs::read(folder.join("initramfs")).unwrap().starts_with(b"070701"));
    assert!(std::fs::read_to_string(folder.join("cmdline")).unwrap().contains("console="));
    let nothing = run(bench.bootdisk().arg("export").arg(&raw)).expect(2, "");
    assert!(nothing.stderr.contains("--libvirt"), "{}", nothing.stderr);
    let compressed = run(bench.bootdisk().arg("export").arg(bench.path("e.img.gz")).arg("--libvirt")).expect(1, "");
    assert!(compressed.stderr.contains("no program starts it as it is"), "{}", compressed.stderr);

    let refused = set(&package, 1);
    assert!(refused.stderr.contains("reads but does not write anew"), "{}", refused.stderr);
    assert_eq!(sha256(&package), before);
}

/// The output is the old one or the whole new one; what is no disk, and what names another file, is refused.
#[test]
fn what_cannot_be_converted_is_told_and_leaves_what_was_there() {
    let bench = Bench::without_kernels();
    let at = |name: &str| bench.path(name);
    std::fs::write(at("old.qcow2"), "old").unwrap();
    std::fs::write(at("text"), "some text\n").unwrap();
    let packing = "cd $0 && gzip -k text && tar -cf text.tar text";
    tools::stdout(Command::new("sh").args(["-ec", packing]).arg(at("text").parent().unwrap()));
    std::fs::write(at("cut.qcow2"), [&b"QFI\xfb\0\0\0\x03"[..], &[0; 40]].concat()).unwrap();
    qemu_img(&["create", "-q", "-f", "raw"], &[&at("base"), Path::new("1M")]);
    let (base, over) = (at("base"), at("over.qcow2"));
    tools::stdout(
        Command::new("qemu-img").args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"]).arg(base).arg(over),
    );
    for (name, words) in [
        ("text", "a disk is needed, but this is text"),
        ("cut.qcow2", "it is cut short: its header is behind its end"),
        ("over.qcow2", "it refers to another file (a backing file), which bootdisk does not open"),
        ("absent", "no such file or directory"),
        ("text.gz", "a disk is needed, but this is a gzip-compressed text"),
        ("text.tar", "a disk is needed, but this is a tar archive"),
    ] {
        let ran = run(bench.bootdisk().arg("convert").arg(at(name)).arg("-o").arg(at("old.qcow2"))).expect(1, "");
        assert!(ran.stderr.contains(words), "{name}: {}", ran.stderr);
        assert_eq!(std::fs::read(at("old.qcow2")).unwrap(), b"old", "{name}");
    }
    for name in ["a.qcow2.gz", "a.tar.xz", "a.vmdk.zst"] {
        let ran = run(bench.bootdisk().arg("convert").arg(at("text")).arg("-o").arg(at(name))).expect(1, "");
        assert!(ran.stderr.contains("something else, compressed"), "{name}: {}", ran.stderr);
    }
    // An output that is the input is refused as everywhere.
    let ran = run(bench.bootdisk().arg("convert").arg(at("over.qcow2")).arg("-o").arg(at("over.qcow2"))).expect(1, "");
    assert!(ran.stderr.contains("it refers to another file") || ran.stderr.contains("would replace"), "{}", ran.stderr);
}
