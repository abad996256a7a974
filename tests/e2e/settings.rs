//! What a disk is told when it is built: files, keys and passwords, as the booted machine has them.

use crate::e2e::{self, Bench, Kernel, run, sha256};
use crate::{busybox, e2e_disk, schema};
use serde_json::Value;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// `word`, as openssl passwd -6 makes a hash of it.
const HASH: &str = "$6$example$iAWADq0A.ahwLi6dCDBKK4mx0j6lL5xN3ElKyGzkJdn9DH/BhhQrprDIq7HC2qnfXixF1f2ixxwWd5oOwxbeg/";
/// A key, and what else a line of authorized_keys has.
const KEY: &str = "from=\"10.0.0.0/8\" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGs= alice";

/// A bench with an image of busybox, and a folder of files to add.
fn bench() -> (Bench, PathBuf, PathBuf) {
    let bench = Bench::new(Kernel::Cloud);
    let folder = bench.path("files");
    files(&folder, 0o644);
    let image = busybox::archive(&folder);
    (bench, folder, image)
}

/// Writes the files to add, with these permissions.
fn files(folder: &Path, mode: u32) {
    fs::create_dir_all(folder.join("app/bin")).unwrap();
    let passwd = "root:x:0:0::/root:/bin/sh\nalice:x:1000:1000::/:/bin/sh\n";
    for (name, text) in [
        ("conf", "answer = 42\n"),
        ("app/bin/start", "#!/bin/sh\n"),
        ("passwd", passwd),
        ("hash", HASH),
        ("key.pub", KEY),
    ] {
        fs::write(folder.join(name), text).unwrap();
        fs::set_permissions(folder.join(name), Permissions::from_mode(mode)).unwrap();
    }
}

fn options(folder: &Path) -> Vec<String> {
    let at = |name: &str| format!("{}/{name}", folder.display());
    vec![
        format!("--copy-in={}:/etc/:640,7:8", at("conf")),
        format!("--copy-in={}:/opt/app", at("app")),
        format!("--copy-in={}:/etc/passwd", at("passwd")),
        "--copy-in=/usr/bin/busybox:/sbin/su:4755".to_owned(),
        format!("--ssh-key={}", at("key.pub")),
        format!("--password=root:{}", at("hash")),
    ]
}

#[test]
fn a_machine_has_what_was_added_and_its_password_lets_in() {
    let (bench, folder, image) = bench();
    let script = "stat -c '%n %a %u:%g' /etc/conf /opt/app/bin/start /root/.ssh /root/.ssh/authorized_keys; \
                  cat /etc/conf; grep -c alice /root/.ssh/authorized_keys; \
                  echo word | su alice -c '/sbin/su root -c \"id -u\"'; \
                  echo other | su alice -c '/sbin/su root -c \"id -u\"' || echo refused";
    let mut command = bench.run_command(&image, &[]);
    command.args(options(&folder)).args(["--", "sh", "-c", script]);
    let ran = run(&mut command).expect_status(0);
    let said = ran.text();
    let lines: Vec<&str> = said.lines().filter(|line| *line != "Password: ").collect();
    assert_eq!(
        lines,
        [
            "/etc/conf 640 7:8",
            "/opt/app/bin/start 644 0:0",
            "/root/.ssh 700 0:0",
            "/root/.ssh/authorized_keys 600 0:0",
            "answer = 42",
            "1",
            "0",
            "refused"
        ],
        "{}",
        ran.stderr
    );
}

#[test]
fn a_disk_says_what_was_added_and_differs_in_that_alone() {
    let (bench, folder, image) = bench();
    let plain = bench.build(&image, "plain.img", &[]);
    let options = options(&folder);
    let disk = bench.path("disk.img");
    let mut build = bench.bootdisk();
    build.arg("build").arg(&image).arg("-o").arg(&disk).args(&options).args(["--verify", "--json"]);
    let built: Value = serde_json::from_slice(&run(&mut build).expect_status(0).stdout).unwrap();
    let published: Value = serde_json::from_str(include_str!("../../docs/build.schema.json")).unwrap();
    assert_eq!(schema::complaint(&published, &published, &built, ""), None);
    assert_ne!(e2e_disk::root_uuid(&plain), e2e_disk::root_uuid(&disk));
    // The same files elsewhere, later, and with other permissions.
    let other = bench.path("other folder");
    files(&other, 0o600);
    let again = self::options(&other);
    let again = bench.build(&image, "again.img", &again.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(sha256(&disk), sha256(&again));

    let inspect = |arguments: &[&std::ffi::OsStr], status| {
        let mut command = bench.bootdisk();
        run(command.arg("inspect").args(arguments)).expect_status(status).text()
    };
    let words = "one layer added by bootdisk: /etc/conf, /opt/app (1 file), /etc/passwd, /sbin/su, an SSH key of root, the password of root";
    let set = || run(bench.bootdisk().args(["kernel", "set"]).arg(&disk).arg("default")).expect_status(0);
    for kernel in ["as built", "set anew"] {
        let text = inspect(&[disk.as_ref()], 0);
        assert!(text.split_whitespace().collect::<Vec<_>>().join(" ").contains(words), "{kernel}: {text}");
        let report: Value = serde_json::from_str(&inspect(&[disk.as_ref(), "--json".as_ref()], 0)).unwrap();
        assert_eq!(report["disk"]["added"], built["added"], "{kernel}");
        set();
    }
    let text = inspect(&[image.as_ref(), "--diff".as_ref(), disk.as_ref()], 1);
    let differing: Vec<&str> = text.lines().filter(|line| line.starts_with("  +") || line.starts_with("  ~")).collect();
    assert!(differing.len() > 5 && differing.iter().all(|line| line.contains("added by bootdisk)")), "{text}");
    assert!(text.contains(", by what bootdisk added and nothing else"), "{text}");
    assert!(inspect(&[image.as_ref(), "--diff".as_ref(), plain.as_ref()], 0).contains("userland: identical"));

    // None of what is secret is said anywhere.
    let everything = [built.to_string(), text, inspect(&[disk.as_ref(), "--json".as_ref()], 0)].concat();
    for secret in ["$6$", "AAAAC3Nz", "answer"] {
        assert!(!everything.contains(secret), "{secret}");
    }
}

#[test]
fn what_an_image_or_a_disk_cannot_have_is_refused_and_leaves_nothing() {
    let (bench, folder, image) = bench();
    let disk = bench.build(&image, "plain.img", &[]);
    let (key, out) = (format!("--ssh-key={}/key.pub", folder.display()), bench.path("out.img"));
    let hello = e2e::image("hello-c.oci");
    for (image, option, reason, hint) in [
        (&hello, "--console-login", "the image has no /bin/sh", "--copy-in /bin/busybox:/bin/sh:755"),
        (&hello, &key, "the image has no /etc/passwd, and so no user root", "--copy-in passwd:/etc/passwd"),
        (&e2e::image("sysvinit.oci"), "--console-login", "starts its own logins", "--password root:HASHFILE"),
    ] {
        let mut build = bench.bootdisk();
        build.arg("build").arg(image).arg("-o").arg(&out).arg(option);
        let said = run(&mut build).expect(1, "").stderr;
        let lines: Vec<&str> = said.lines().rev().take(2).collect();
        assert!(lines[1].starts_with("error: ") && lines[1].contains(reason), "{said}");
        assert!(lines[0].starts_with("hint: ") && lines[0].contains(hint), "{said}");
        assert!(!out.exists());
    }
    for option in ["--console-login", "--no-settings", &key] {
        let said = run(&mut bench.run_command(&disk, &[option])).expect(125, "").stderr;
        assert!(said.contains("is for building a disk, and this is one: "), "{said}");
    }
}

/// With the modules that a real disk has; and what its report says.
#[test]
fn a_cd_of_a_cloud_and_fw_cfg_are_read_unless_the_disk_was_built_to_look_at_nothing() {
    let (bench, folder, image) = bench();
    let cloud = folder.join("cloud");
    fs::create_dir_all(&cloud).unwrap();
    fs::write(cloud.join("meta-data"), "instance-id: i-1\nlocal-hostname: cloud\n").unwrap();
    let iso = bench.path("cloud.iso");
    let mut maker = std::process::Command::new("xorriso");
    maker.args(["-as", "mkisofs", "-quiet", "-V", "CIDATA", "-J", "-r", "-o"]).arg(&iso).arg(&cloud);
    run(&mut maker).expect_status(0);
    let document = bench.path("settings.json");
    fs::write(&document, r#"{"version": 1, "env": {"A": "set"}}"#).unwrap();
    let arguments = [
        "-drive".to_owned(),
        format!("if=none,id=cd,media=cdrom,format=raw,read-only=on,file={}", iso.display()),
        "-device".to_owned(),
        "virtio-scsi-pci".to_owned(),
        "-device".to_owned(),
        "scsi-cd,drive=cd".to_owned(),
        "-fw_cfg".to_owned(),
        format!("name=opt/io.systemd.credentials/bootdisk.settings,file={}", document.display()),
    ];
    let arguments = arguments.map(|argument| format!("--qemu-arg={argument}"));
    for (name, options, says, row) in [
        ("read.img", &[][..], "cloud set\n", "at start, from smbios, fw_cfg, iso9660, vfat, cdrom"),
        ("none.img", &["--no-settings", "--hostname=own"], "own unset\n", "none at start (--no-settings)"),
    ] {
        let disk = bench.build(&image, name, options);
        let mut command = bench.run_command(&disk, &[]);
        command.args(&arguments).args(["--", "sh", "-c", "echo $(hostname) ${A-unset}"]);
        run(&mut command).expect(0, says);
        let report = run(bench.bootdisk().arg("inspect").arg(&disk)).expect_status(0).text();
        assert!(report.contains(row), "{report}");
    }
    // The same by options of ours.
    let word = bench.path("word");
    fs::write(&word, "a secret\n").unwrap();
    let told = |disk: &str| {
        let mut command = bench.run_command(bench.path(disk), &[]);
        command.arg("--settings").arg(&document).arg("--cloud-init").arg(&cloud);
        command.arg(format!("--credential=db.word={}", word.display()));
        command.args(["--", "sh", "-c", "echo $(hostname) ${A-unset}; cat $CREDENTIALS_DIRECTORY/db.word"]);
        command
    };
    run(&mut told("read.img")).expect(0, "cloud set\na secret\n");
    let said = run(&mut told("none.img")).expect(125, "").stderr;
    assert!(said.contains("the disk was built with --no-settings, and reads no --settings"), "{said}");
    fs::write(&document, r#"{"version": 1, "env": {"A": "1", "A": "2"}}"#).unwrap();
    let said = run(&mut told("read.img")).expect(125, "").stderr;
    assert!(said.contains("not a settings document: ") && said.contains("hint: docs/settings.md"), "{said}");
}
