//! A whole distribution as userland: Debian as mmdebstrap makes it, packed as an image.

use crate::provenance::packages;
use crate::{e2e, e2e_disk};
use e2e::{Bench, Kernel, image, sha256};

#[test]
fn a_shell_sees_its_machine() {
    let bench = Bench::new(Kernel::Cloud);
    let list = bench.path("debian.cdx.json");
    let disk = bench.build(image("debian.oci"), "debian.img", &["--sbom", list.to_str().unwrap()]);
    let listed = packages(&serde_json::from_slice(&std::fs::read(list).unwrap()).unwrap());
    e2e_disk::check(&disk);
    for firmware in ["bios", "uefi"] {
        println!("{firmware}");
        let query = "dpkg-query -W -f '${db:Status-Status} ${Package} ${Version} ${Architecture}\\n'";
        let command = ["bash", "-c", &format!("cat /etc/os-release; id; mount; {query}")];
        let text = bench.run_other(&disk, &["--firmware", firmware], &command).expect_status(0).text();
        for line in [
            "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n",
            "uid=0(root) gid=0(root) groups=0(root)",
            " on / type ext4 (rw",
            " on /proc type proc (",
            " on /sys type sysfs (",
            " on /dev type ",
            " on /dev/pts type devpts (",
            " on /dev/shm type tmpfs (",
        ] {
            assert!(text.contains(line), "no {line:?} in:\n{text}");
        }
        let installed = text.lines().filter_map(|line| line.strip_prefix("installed ")).map(str::to_owned).collect();
        assert_eq!(listed, installed, "what --sbom lists is what dpkg has in the machine");
    }
}

#[test]
fn users_and_groups_are_the_images_own() {
    let bench = Bench::new(Kernel::Cloud);
    let disk = bench.build(image("debian.oci"), "debian.img", &[]);
    bench
        .run_other(&disk, &["--user", "www-data"], &["id"])
        .expect(0, "uid=33(www-data) gid=33(www-data) groups=33(www-data)\n");
    bench.run_other(&disk, &["--user", "33:mail"], &["id"]).expect(0, "uid=33(www-data) gid=8(mail) groups=8(mail)\n");
    bench.run_other(&disk, &["--user", "nobody-of-this-name"], &["id"]).expect(125, "");
}

#[test]
fn a_shell_is_a_first_process_that_reaps() {
    let bench = Bench::new(Kernel::Cloud);
    // The orphan's parent is gone before it ends; whoever is first in the namespace inherits it.
    let script = "echo $$; (sleep 0.2 &); wait; hostname >/dev/null && getent hosts localhost >/dev/null && exit 3";
    bench.run_other(image("debian.oci"), &[], &["sh", "-c", script]).expect(3, "1\n");
}

#[test]
fn the_network_is_configured() {
    let bench = Bench::new(Kernel::Cloud);
    let script = r#"
        grep -c ^nameserver /etc/resolv.conf
        # The kernel updates it behind the carrier's change, once a second at most.
        for _ in $(seq 20); do grep -qx up /sys/class/net/*/operstate && break; sleep 0.1; done
        cat /sys/class/net/*/operstate | grep -cx up
        awk '$2 == "00000000"' /proc/net/route | wc -l
        grep -cw "$(hostname)" /etc/hosts
    "#;
    let text =
        bench.run_other(image("debian.oci"), &["--wait-online"], &["bash", "-c", script]).expect_status(0).text();
    let counts: Vec<u32> = text.lines().map(|line| line.parse().unwrap()).collect();
    assert!(
        counts.len() == 4 && counts.iter().all(|&count| count >= 1),
        "name servers, links up, default routes, own name in hosts:\n{text}"
    );
}

#[test]
fn a_disk_is_written_only_when_asked_for() {
    let bench = Bench::new(Kernel::Cloud);
    let disk = bench.build(image("debian.oci"), "debian.img", &[]);
    let before = sha256(&disk);
    let note = ["sh", "-c", "cat /note; date >/note"];

    bench.run_other(&disk, &[], &note).expect(0, "");
    assert_eq!(sha256(&disk), before, "run wrote to the disk without --write");

    let script = ["sh", "-c", "echo kept >/note"];
    bench.run_other(&disk, &["--write"], &script).expect(0, "");
    assert_ne!(sha256(&disk), before, "--write wrote nothing");
    e2e_disk::check(&disk);
    bench.run_other(&disk, &[], &["cat", "/note"]).expect(0, "kept\n");
}

#[test]
fn one_disk_under_another_kernel() {
    let bench = Bench::new(Kernel::Generic);
    let text = bench.run_other(image("debian.oci"), &[], &["uname", "-r"]).expect_status(0).text();
    assert_eq!(text.trim_end(), Kernel::Generic.release());
}
