//! An image whose own init becomes PID 1 (`--init image`): its console is what there is to see and to type on, the
//! machine's power-off is its end, and its power button asks it to stop.

use crate::{archive, e2e};
use archive::{Layer, write_docker_archive};
use e2e::{Bench, Kernel, PATIENCE, run_with_input};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// What busybox's init starts first. It does what it is told on the console.
const RC: &str = r#"#!/bin/sh
echo "process 1 is $(cat /proc/1/comm) in $(cat /proc/1/cmdline | tr '\0' ' ')"
echo ready
read word
case "$word" in
off) echo going; poweroff -f ;;
modules) echo "has $(cat /lib/modules/*/modules.dep | grep -c :) modules"
    echo "machine $(cat /etc/machine-id)"; poweroff -f ;;
panic) echo c >/proc/sysrq-trigger ;;
button)
    event=$(grep -A5 'Name="Power Button"' /proc/bus/input/devices | grep -o 'event[0-9]*')
    echo waiting; dd if=/dev/input/$event bs=24 count=1 >/dev/null 2>&1; echo pressed; poweroff -f ;;
esac
"#;

/// A userland of busybox alone, with `init` as its init.
fn userland(path: &Path) {
    let mut layer = tar::Builder::new(Vec::new());
    let mut file = |name: &str, mode: u32, bytes: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(mode);
        layer.append_data(&mut header, name, bytes).unwrap();
    };
    file("bin/busybox", 0o755, &fs::read("/bin/busybox").expect("busybox-static is missing; run scripts/test"));
    file("etc/rc", 0o755, RC.as_bytes());
    file("etc/inittab", 0o644, b"::sysinit:/etc/rc\n");
    for applet in ["bin/sh", "bin/cat", "bin/tr", "bin/grep", "bin/dd", "bin/poweroff", "sbin/init"] {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        header.set_mode(0o777);
        layer.append_link(&mut header, applet, "/bin/busybox").unwrap();
    }
    write_docker_archive(path, &[Layer::plain(layer.into_inner().unwrap())]);
}

fn disk(bench: &Bench, options: &[&str]) -> PathBuf {
    let image = bench.path("own.tar");
    userland(&image);
    bench.build(&image, "own.img", options)
}

#[test]
fn its_console_is_the_output_and_power_off_its_end() {
    let bench = Bench::new(Kernel::Cloud);
    // An init as the command is the image's own.
    let disk = disk(&bench, &["--", "/sbin/init"]);
    bench.run_other(&disk, &[], &["/bin/sh", "-c", "echo no init; exit 3"]).expect(3, "no init\n");
    let ran = run_with_input(&mut bench.run_command(&disk, &["-i"]), b"off\n".to_vec()).expect_status(0);
    let text = ran.text();
    assert!(text.contains("process 1 is init in ") && text.contains("\r\nready\r\n"), "{text}");
    assert!(text.contains("going\r\n"), "{text}");
    assert_eq!(ran.stderr, "");

    // A panic after the hand-over is no end that anybody wanted.
    let ran = run_with_input(&mut bench.run_command(&disk, &["-i"]), b"panic\n".to_vec()).expect_status(125);
    assert!(ran.stderr.starts_with("error: the guest's kernel panicked"), "{}", ran.stderr);
}

#[test]
fn it_has_the_kernels_modules_and_a_machine_id_where_they_were_asked_for() {
    let bench = Bench::new(Kernel::Cloud);
    let disk = disk(&bench, &["--guest-modules", "all", "--identity", "one", "--", "/sbin/init"]);
    let ran = run_with_input(&mut bench.run_command(&disk, &["-i"]), b"modules\n".to_vec()).expect_status(0);
    let text = ran.text();
    let count = text.split_once("has ").and_then(|(_, rest)| rest.split_once(" modules")).expect(&text).0;
    assert!(count.parse::<u32>().unwrap() > 500, "{text}");
    let id = text.split_once("machine ").and_then(|(_, rest)| rest.lines().next()).expect(&text).trim_end();
    assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{text}");
}

#[test]
fn a_signal_presses_its_power_button() {
    let bench = Bench::new(Kernel::Cloud);
    let output = bench.path("output");
    let mut command = bench.run_command(disk(&bench, &["--init", "image"]), &["-i"]);
    let (stdin, mut typed) = std::io::pipe().unwrap();
    std::io::Write::write_all(&mut typed, b"button\n").unwrap();
    command.stdin(stdin).stdout(File::create(&output).unwrap()).stderr(Stdio::inherit());
    let mut child = command.spawn().unwrap();
    let said = || String::from_utf8_lossy(&fs::read(&output).unwrap()).into_owned();
    let started = Instant::now();
    let pid = Pid::from_raw(child.id() as i32);
    let mut wait_for = |what: &dyn Fn() -> bool| {
        while !what() {
            let ended = child.try_wait().unwrap().is_some();
            if (ended && !what()) || started.elapsed() > PATIENCE {
                let _ = child.kill();
                panic!("nothing came of it; it said:\n{}", said());
            }
            sleep(Duration::from_millis(50));
        }
    };
    wait_for(&|| said().contains("waiting"));
    kill(pid, Signal::SIGTERM).unwrap();
    wait_for(&|| said().contains("pressed"));
    assert_eq!(child.wait().unwrap().code(), Some(0), "{}", said());
}

/// The table of the machine that an image was made from. Only what the last two name is here.
const FOREIGN_FSTAB: &str = "UUID=0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0 / ext4 errors=remount-ro 0 1
UUID=ABCD-1234 /boot/efi vfat umask=0077 0 1
/dev/sda5 none swap sw 0 0
LABEL=data /data ext4 defaults 0 2
/dev/vda3 /mnt/again ext4 defaults 0 2
tmpfs /srv tmpfs defaults 0 0
";

/// Says how things are once there is a login on the serial console, and ends the machine.
const CHECK: &str = r#"[Service]
ExecStart=/bin/sh -c 'until [ "$(systemctl is-active serial-getty@ttyS0)" = active ] && mountpoint -q /srv; do sleep 0.2; done; \
{ echo "container: $(systemd-detect-virt --container)"; echo "failed: $(systemctl --failed --no-legend | wc -l)"; \
echo "waiting: $(systemctl list-jobs --no-legend | grep -c device)"; \
echo "timeouts: $(journalctl -b --no-pager | grep -c Timed.out.waiting)"; \
echo "again: $(findmnt -no SOURCE /mnt/again), generated: $(ls -d /run/systemd/generator*/boot* | wc -l)"; cat /etc/fstab; echo added >> /etc/fstab; } >/dev/console 2>&1; \
systemctl poweroff'
"#;

/// A real systemd without udev, whose environment says that it is in a container, with the table of another machine: a
/// minute and a half for each of these, and an emergency shell, if it were believed.
#[test]
fn systemd_comes_up_whatever_its_image_knows_of_other_machines() {
    let bench = Bench::new(Kernel::Cloud);
    let layout = bench.path("systemd.oci");
    let shell = |script: &str| {
        let mut command = std::process::Command::new("sh");
        e2e::run(command.args(["-ec", script]).current_dir(layout.parent().unwrap())).expect_status(0)
    };
    shell(&format!("cp -r '{}' systemd.oci", e2e::image("systemd.oci").display()));
    let tree = bench.path("tree");
    let units = tree.join("etc/systemd/system");
    fs::create_dir_all(units.join("multi-user.target.wants")).unwrap();
    fs::write(units.join("check.service"), CHECK).unwrap();
    std::os::unix::fs::symlink("../check.service", units.join("multi-user.target.wants/check.service")).unwrap();
    fs::write(tree.join("etc/fstab"), FOREIGN_FSTAB).unwrap();
    shell(
        "tar --owner 0 --group 0 -C tree -cf layer.tar .
        umoci raw add-layer --image systemd.oci:latest layer.tar
        umoci config --image systemd.oci:latest --config.env container=podman",
    );
    let ran = bench.run(&layout, &["--timeout", "240s"]).expect_status(0);
    let text = ran.text();
    let found = ["container: none", "failed: 0", "waiting: 0", "timeouts: 0", "again: /dev/vda3, generated: 0"];
    let table = ["# not here: /dev/sda5 none swap sw 0 0", "# by mount: /dev/vda3 /mnt/again ext4 defaults 0 2"];
    let mut lines = found.into_iter().chain(table);
    assert!(lines.all(|line| text.contains(line)), "{text}");
    assert!(text.contains("tmpfs /srv tmpfs defaults 0 0") && text.contains("Read-only file system"), "{text}");
}

/// Debian's other inits. Their tables have logins on screens alone, and nothing of theirs hears a power button.
#[test]
fn sysvinit_and_openrc_have_a_login_on_the_console_and_end_when_they_are_asked_to() {
    let bench = Bench::new(Kernel::Cloud);
    for name in ["sysvinit.oci", "openrc.oci"] {
        let output = bench.path(name);
        let mut command = bench.run_command(e2e::image(name), &[]);
        let mut child = command.stdout(File::create(&output).unwrap()).spawn().unwrap();
        let said = || String::from_utf8_lossy(&fs::read(&output).unwrap()).into_owned();
        let started = Instant::now();
        while !said().contains(" login: ") {
            let ended = child.try_wait().unwrap().is_some();
            if ended || started.elapsed() > PATIENCE {
                _ = child.kill();
                panic!("{name}: no login; it said:\n{}", said());
            }
            sleep(Duration::from_millis(50));
        }
        kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{name}: {}", said());
    }
}

#[test]
fn an_image_without_an_init_says_so() {
    let bench = Bench::new(Kernel::Cloud);
    let image = e2e::image("hello-c.oci");
    let mut build = bench.bootdisk();
    let disk = bench.path("none.img");
    build.arg("build").arg(image).arg("-o").arg(&disk).args(["--init", "image"]);
    let built = e2e::run(&mut build).expect(0, "");
    assert!(built.stderr.contains("warning: the image has no init of its own"), "{}", built.stderr);
    let ran = bench.run(&disk, &[]).expect(125, "");
    assert!(ran.stderr.contains("error: the image has no init of its own"), "{}", ran.stderr);
}
