//! Settings that a machine gets at its start: fw_cfg, SMBIOS, a cloud's disk, the host; what wins, and what is refused.

use crate::support::guest::*;
use crate::support::tools;
use bootdisk::guest::channel::{Outcome, Overrides};
use bootdisk::guest::settings::at_start::AtStart;
use bootdisk::guest::spec::BootSpec;
use std::fs;
use std::path::Path;
use std::process::Command;

/// A specification whose machine looks for settings.
fn looking(command: &[&str]) -> BootSpec {
    BootSpec { settings: Some(AtStart { read: true, ways: vec![] }), ..spec(command) }
}

/// Options for a file in fw_cfg.
fn fw_cfg(name: &str, file: &Path) -> [String; 2] {
    ["-fw_cfg".into(), format!("name=opt/io.systemd.credentials/{name},file={}", file.display())]
}

/// Options for a string of SMBIOS.
fn smbios(folder: &Path, number: usize, string: &str) -> [String; 2] {
    let file = folder.join(format!("smbios-{number}"));
    fs::write(&file, string).unwrap();
    ["-smbios".into(), format!("type=11,path={}", file.display())]
}

/// Options for one more disk.
fn disk(file: &Path) -> [String; 4] {
    let drive = format!("if=none,id=cloud,format=raw,read-only=on,file={}", file.display());
    ["-drive".into(), drive, "-device".into(), "virtio-blk-pci,drive=cloud".into()]
}

const SHOW: &str = r#"
    echo "A=$A B=$B C=${C-none} in $PWD as $(id -u)"
    echo "name $(cat /proc/sys/kernel/hostname) $(cat /etc/hostname)"
    echo "address $(ifconfig eth0 | grep -o 'addr:[0-9][0-9.]*')"
    stat -c '%n %a %u %g' /etc/app.conf /etc/app.d/secret /run/credentials/@system "$CREDENTIALS_DIRECTORY"/*
    cat /etc/app.conf
    for name in db token from.smbios; do echo "$name $(cat "$CREDENTIALS_DIRECTORY/$name")"; done
    echo "fs $(stat -f -c %T "$CREDENTIALS_DIRECTORY" /etc/app.d/secret | sort -u | tr '\n' ' ')"
    echo changed 2>/dev/null > /etc/app.conf || echo read-only
"#;

const KEYS: &str = "stat -c '%n %a %u' /root/.ssh /root/.ssh/authorized_keys; cat /root/.ssh/authorized_keys; \
                    cat /run/credentials/@system/db; env | grep CREDENTIALS";

#[test]
fn a_machine_has_what_document_cloud_and_host_say_in_this_order_and_its_disk_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let cloud = folder.path().join("cloud");
    fs::create_dir(&cloud).unwrap();
    let files = [
        ("meta-data", "instance-id: i-7\nlocal-hostname: cloud-name\npublic-keys:\n- ssh-ed25519 CLOUD\n"),
        ("network-config", "version: 2\nethernets:\n  eth0:\n    addresses: [10.0.2.77/24]\n    gateway4: 10.0.2.2\n"),
        ("user-data", "#cloud-config\nhostname: never\n"),
    ];
    files.iter().for_each(|(name, text)| fs::write(cloud.join(name), text).unwrap());
    let iso = folder.path().join("cloud.iso");
    let mut maker = Command::new("xorriso");
    maker.args(["-as", "mkisofs", "-quiet", "-V", "cidata", "-J", "-r", "-o"]).arg(&iso).arg(&cloud);
    tools::stdout(&mut maker);
    let document = serde_json::json!({
        "version": 1, "command": ["/bin/sh", "-c", SHOW], "env": {"A": "document", "B": "document", "C": null},
        "user": "www", "workdir": "/srv/app", "hostname": "web-1",
        "files": [
            {"path": "/etc/app.conf", "text": "answer = 42\n"},
            {"path": "/etc/app.d/secret", "text": "s3cret-of-a-file\n", "mode": "0400", "owner": "www:extra"},
        ],
        "credentials": {"db": {"text": "s3cret-of-the-document"}},
        "ssh_keys": {"root": ["ssh-ed25519 DOCUMENT"]},
    });
    let token = folder.path().join("token");
    fs::write(&token, "first").unwrap();
    let userland = Userland::busybox();
    userland.write("etc/app.conf", "answer = 41\n", 0o600);
    let root = userland.disk();
    let mut built = looking(&["/bin/false"]);
    built.process.env = vec!["C=built".into(), "A=built".into()];
    let mut boot = Boot::new(built, &root);
    boot.keep = true;
    boot.welcome.overrides = Overrides { env: vec!["B=host".into()], ..Overrides::default() };
    boot.extra.extend(fw_cfg("token", &token));
    boot.extra.extend(smbios(folder.path(), 0, &format!("io.systemd.credential:bootdisk.settings={document}")));
    boot.extra.extend(smbios(folder.path(), 1, "io.systemd.credential.binary:from.smbios=czNjcmV0"));
    boot.extra.extend(smbios(folder.path(), 2, "io.systemd.credential:token=second"));
    boot.extra.extend(disk(&iso));
    let mut session = boot.start();
    session.finish();
    assert_eq!(session.outcome(), Outcome::Exited(0), "{}", session.describe());
    let wanted = "\
A=document B=host C=none in /srv/app as 33
name web-1 web-1
address addr:10.0.2.77
/etc/app.conf 644 0 0
/etc/app.d/secret 400 33 44
/run/credentials/@system 500 33 33
/run/credentials/@system/db 400 33 33
/run/credentials/@system/from.smbios 400 33 33
/run/credentials/@system/token 400 33 33
answer = 42
db s3cret-of-the-document
token first
from.smbios s3cret
fs ramfs 
read-only
";
    assert_eq!(session.stdout(), wanted, "{}", session.describe());
    let said = |text: &str| session.logs.iter().any(|log| log.text == text);
    for line in [
        "settings from SMBIOS: command, user, workdir, hostname, 3 variables, 2 files, 1 credential, 1 SSH key",
        "settings from the cloud disk /dev/vdb, instance i-7: hostname, network, 1 SSH key",
        "user-data is for cloud-init, and this image has none that is started",
    ] {
        assert!(said(line), "{line}: {}", session.describe());
    }
    assert_eq!(session.warnings(), Vec::<&str>::new());
    let logged = format!("{:?} {}", session.logs, session.console());
    assert!(!logged.contains("s3cret"), "{logged}");
    // What lies on the disk is what the image had, and empty places.
    for (text, is_there) in [("s3cret", false), ("answer = 42", false), ("ssh-ed25519", false), ("answer = 41", true)] {
        let found = Command::new("grep").args(["-qaF", text]).arg(&root.path).status().unwrap();
        assert_eq!(found.success(), is_there, "{text}");
    }

    // A process beside the workload is told of the credentials, and root's keys are the image's and all that were given.
    let userland = Userland::busybox();
    fs::create_dir_all(userland.path("root/.ssh")).unwrap();
    userland.write("root/.ssh/authorized_keys", "ssh-ed25519 IMAGE", 0o644);
    let root = userland.disk();
    let mut boot = Boot::new(looking(&["/bin/sh", "-c", "sleep 1000"]), &root);
    let keys = folder.path().join("keys");
    fs::write(&keys, "# a comment\nssh-ed25519 CREDENTIAL\n").unwrap();
    let document =
        r#"{"version": 1, "credentials": {"db": {"text": "x\n"}}, "ssh_keys": {"root": ["ssh-ed25519 DOCUMENT"]}}"#;
    fs::write(&token, document).unwrap();
    boot.extra.extend(fw_cfg("bootdisk.settings", &token));
    boot.extra.extend(fw_cfg("ssh.authorized_keys.root", &keys));
    boot.extra.extend(disk(&iso));
    let mut session = boot.start();
    session.until("the workload", |session| session.started.contains(&0));
    let command = strings(&["/bin/sh", "-c", KEYS]);
    let (outcome, shown) = session.exec(1, bootdisk::guest::spec::Process { cmd: command, ..Default::default() });
    assert_eq!(outcome, Outcome::Exited(0), "{}", session.describe());
    let wanted = "/root/.ssh 755 0\n/root/.ssh/authorized_keys 600 0\nssh-ed25519 IMAGE\nssh-ed25519 DOCUMENT\n\
                  ssh-ed25519 CLOUD\nssh-ed25519 CREDENTIAL\nx\nCREDENTIALS_DIRECTORY=/run/credentials/@system\n";
    assert_eq!(shown, wanted, "{}", session.describe());
    session.kill();
}

#[test]
fn what_is_refused_is_a_line_and_the_machine_is_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let file = |name: &str, text: &str| {
        fs::write(at(name), text).unwrap();
        at(name)
    };
    // OpenStack's disk, on FAT, whose network nobody understands here.
    let fat = at("fat");
    fs::File::create(&fat).unwrap().set_len(2 << 20).unwrap();
    tools::stdout(Command::new("/sbin/mkfs.vfat").args(["-n", "CONFIG-2"]).arg(&fat));
    tools::stdout(Command::new("mmd").arg("-i").arg(&fat).args(["::openstack", "::openstack/latest"]));
    for (name, text) in [
        ("meta_data.json", r#"{"uuid": "u-1", "hostname": "drive", "public_keys": {}}"#),
        ("network_data.json", r#"{"links": [{"id": "b", "type": "bond"}]}"#),
    ] {
        let place = format!("::openstack/latest/{name}");
        tools::stdout(Command::new("mcopy").arg("-i").arg(&fat).arg(file(name, text)).arg(place));
    }
    let root = Userland::busybox().disk();
    let show =
        "echo $(hostname) $A; ls /run; env | grep -c CREDENTIALS; ifconfig eth0 | grep -o 'addr:[0-9][0-9.]*'; true";
    let mut built = looking(&["/bin/sh", "-c", show]);
    built.process.env = vec!["A=built".into()];
    let mut boot = Boot::new(built, &root);
    boot.extra.extend(fw_cfg("bootdisk.settings", &file("deep", &"[".repeat(100_000))));
    boot.extra.extend(fw_cfg("large", &file("large", &"x".repeat(200_000))));
    // systemd's order: the document in fw_cfg counts, and this one is not looked at.
    let second = r#"io.systemd.credential:bootdisk.settings={"version": 1, "env": {"A": "SMBIOS"}}"#;
    boot.extra.extend(smbios(folder.path(), 0, second));
    boot.extra.extend(disk(&fat));
    let session = boot.run();
    assert_eq!(session.outcome(), Outcome::Exited(0), "{}", session.describe());
    assert_eq!(session.stdout(), "drive built\n0\naddr:10.0.2.15\n", "{}", session.describe());
    assert_eq!(
        session.warnings(),
        [
            "ignored: the credential large from fw_cfg: it has 200000 bytes, and fw_cfg is read so slowly that 131072 are the limit",
            "settings from fw_cfg are ignored: line 1, column 128: recursion limit exceeded",
            "cloud disk /dev/vdb: openstack/latest/network_data.json: bonds and VLANs are not supported; the network stays as it was",
        ]
    );
    // And where settings are off, nobody looks.
    let mut off = looking(&["/bin/sh", "-c", show]);
    off.settings = Some(AtStart { read: false, ways: vec![] });
    boot.spec = BootSpec { hostname: Some("own".into()), ..off };
    let session = boot.run();
    assert_eq!(session.stdout(), "own\n0\naddr:10.0.2.15\n", "{}", session.describe());
    assert!(!session.logs.iter().any(|log| log.text.contains("settings") || log.text.contains("cloud")));
}
