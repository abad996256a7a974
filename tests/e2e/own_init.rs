//! An image whose own init becomes PID 1 (`--init image`): its console is what there is to see and to type on, the
//! machine's power-off is its end, and it is asked to stop. The caretaker beside it starts processes and copies files.

use crate::machines::{Ends, exec, run_detached, wait_until};
use crate::{archive, e2e};
use archive::{Layer, write_docker_archive};
use e2e::{Bench, Kernel, PATIENCE, Running, run, run_with_input};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// What busybox's init starts first. It does what it is told on the console.
const RC: &str = r#"#!/bin/sh
echo "process 1 is $(cat /proc/1/comm) in $(cat /proc/1/cmdline | tr '\0' ' ')"
echo ready
while read word; do case "$word" in
kill) kill -9 -1; echo killed ;;
off) echo going; poweroff -f ;;
modules) echo "has $(cat /lib/modules/*/modules.dep | grep -c :) modules"
    echo "machine $(cat /etc/machine-id)"; poweroff -f ;;
panic) echo c >/proc/sysrq-trigger ;;
button)
    event=$(grep -A5 'Name="Power Button"' /proc/bus/input/devices | grep -o 'event[0-9]*')
    echo waiting; dd if=/dev/input/$event bs=24 count=1 >/dev/null 2>&1; echo pressed; poweroff -f ;;
esac; done
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

/// A `run` whose console goes to a file.
struct Console {
    child: Child,
    output: PathBuf,
    started: Instant,
}

impl Console {
    fn of(bench: &Bench, name: &str, what: impl AsRef<std::ffi::OsStr>, stdin: Option<std::io::PipeReader>) -> Console {
        let output = bench.path(name);
        let mut command = bench.run_command(what, if stdin.is_some() { &["-i"] } else { &[] });
        command.stdin(stdin.map_or(Stdio::null(), Stdio::from));
        let child = command.stdout(File::create(&output).unwrap()).stderr(Stdio::inherit()).spawn().unwrap();
        Console { child, output, started: Instant::now() }
    }

    fn said(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.output).unwrap()).into_owned()
    }

    #[track_caller]
    fn wait_for(&mut self, text: &str) {
        while !self.said().contains(text) {
            let ended = self.child.try_wait().unwrap().is_some();
            if (ended && !self.said().contains(text)) || self.started.elapsed() > PATIENCE {
                let _ = self.child.kill();
                panic!("no {text:?}; it said:\n{}", self.said());
            }
            sleep(Duration::from_millis(50));
        }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    #[track_caller]
    fn ends_well(&mut self) {
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{}", self.said());
    }
}

/// How many processes there are of the caretaker's name.
const CARETAKERS: &str = "cat /proc/[0-9]*/cmdline | tr '\\0' '\\n' | grep -c '^@bootdisk$'";

#[test]
fn it_is_entered_until_it_kills_what_it_does_not_know_and_a_signal_presses_its_power_button() {
    let bench = Bench::new(Kernel::Cloud);
    let health = ["--health-cmd", "grep -q init /proc/1/comm", "--health-interval", "100ms"];
    let environment = ["--init", "image", "--env", "A=of the image", "--env", "container=docker"];
    let disk = disk(&bench, &[&environment[..], &health].concat());
    let (stdin, mut typed) = std::io::pipe().unwrap();
    let mut console = Console::of(&bench, "output", &disk, Some(stdin));
    console.wait_for("ready");
    let listed = || run(bench.bootdisk().arg("ps")).expect_status(0).text();
    while !listed().contains("  healthy") {
        assert!(console.started.elapsed() < PATIENCE, "{}", listed());
    }
    let script = format!("{CARETAKERS}; echo $A $B $container $(cat /proc/1/comm) $PWD; cat; exit 7");
    let options = ["-i", "--env", "B=and of exec", "--workdir", "/etc"];
    let mut entered = exec(&bench, &options, &["sh", "-c", &script]);
    run_with_input(&mut entered, b"typed".to_vec()).expect(7, "1\nof the image and of exec init /etc\ntyped");
    run(&mut exec(&bench, &[], &["nothing"])).expect(127, "");
    fs::write(bench.path("file"), "copied").unwrap();
    let copy = |from: &str, to: &str| run(bench.bootdisk().args(["cp", "-q", from, to])).expect_status(0);
    let name = listed().lines().nth(1).unwrap().split(' ').next().unwrap().to_owned();
    copy(bench.path("file").to_str().unwrap(), &format!("{name}:/etc/copy"));
    copy(&format!("{name}:/etc/copy"), bench.path("back").to_str().unwrap());
    assert_eq!(fs::read_to_string(bench.path("back")).unwrap(), "copied");

    // One that runs hears of it, and so does one that comes later.
    let mut waits = exec(&bench, &["-i"], &["sh", "-c", "cat; exit 1", "waits"]);
    let running = Running::start(waits.stdin(Stdio::piped()));
    let until_there = "until cat /proc/[0-9]*/cmdline | tr '\\0' '\\n' | grep -q '^waits$'; do :; done";
    run(&mut exec(&bench, &[], &["sh", "-c", until_there])).expect_status(0);
    typed.write_all(b"kill\n").unwrap();
    console.wait_for("killed");
    for lost in [running.finish(), run(&mut exec(&bench, &[], &["true"]))] {
        assert_eq!(lost.status, Some(125), "{}", lost.stderr);
        let sentence = format!("error: in {name}: the machine's own init ended @bootdisk, ");
        assert!(lost.stderr.starts_with(&sentence) && lost.stderr.contains("hint: "), "{}", lost.stderr);
    }
    assert!(!listed().contains("  healthy"), "{}", listed());

    typed.write_all(b"button\n").unwrap();
    console.wait_for("waiting");
    console.signal(Signal::SIGTERM);
    console.wait_for("pressed");
    console.ends_well();

    let mut test = bench.bootdisk();
    test.args(["test", "--accel", "tcg", "--exec", "grep -q init /proc/1/comm"]).arg(&disk);
    run(&mut test).expect_status(0);
}

/// The table of the machine that an image was made from. Only what the last two name is here.
const FOREIGN_FSTAB: &str = "UUID=0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0 / ext4 errors=remount-ro 0 1
UUID=ABCD-1234 /boot/efi vfat umask=0077 0 1
/dev/sda5 none swap sw 0 0
LABEL=data /data ext4 defaults 0 2
/dev/vda3 /mnt/again ext4 defaults 0 2
tmpfs /srv tmpfs defaults 0 0
";

/// There is a login on the serial console, and nothing is left to be started.
const IS_UP: &str = r#"[ "$(systemctl is-active serial-getty@ttyS0)" = active ] && mountpoint -q /srv \
    && [ -z "$(systemctl list-jobs --no-legend)" ]"#;

/// Says how things are then.
const CHECK: &str = r#"echo "container: $(systemd-detect-virt --container)"
echo "state: $(systemctl is-system-running), failed: $(systemctl --failed --no-legend | wc -l)"
echo "timeouts: $(journalctl -b --no-pager | grep -c Timed.out.waiting)"
echo "again: $(findmnt -no SOURCE /mnt/again), generated: $(ls -d /run/systemd/generator*/boot* 2>/dev/null | wc -l)"
echo "exec: in $(cat /proc/self/cgroup), on $(tty)"
echo "credentials: $(systemd-creds --system cat doc) $(systemd-creds --system cat given) $(ls /run/credentials/@system | wc -l)"
echo "settings: $(cat /etc/from.settings) on $(hostname), $(stat -f -c %T /etc/from.settings)"
cat /etc/fstab; echo added >> /etc/fstab"#;

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
    fs::create_dir_all(tree.join("etc")).unwrap();
    fs::write(tree.join("etc/fstab"), FOREIGN_FSTAB).unwrap();
    shell(
        "tar --owner 0 --group 0 -C tree -cf layer.tar .
        umoci raw add-layer --image systemd.oci:latest layer.tar
        umoci config --image systemd.oci:latest --config.env container=podman",
    );
    let _ends = Ends(&bench);
    // systemd reads credentials of the firmware itself, and gets those of the document beside them.
    let document = r#"{"version": 1, "hostname": "set", "credentials": {"doc": {"text": "of the document"}},
        "files": [{"path": "/etc/from.settings", "text": "settings"}]}"#;
    fs::write(bench.path("settings.json"), document).unwrap();
    let given = "--qemu-arg=type=11,value=io.systemd.credential:given=given";
    let fw_cfg = format!(
        "--qemu-arg=name=opt/io.systemd.credentials/bootdisk.settings,file={}",
        bench.path("settings.json").display()
    );
    let options = ["-q", "--qemu-arg=-smbios", given, "--qemu-arg=-fw_cfg", &fw_cfg];
    run_detached(&bench, "system", &layout, &options, &[]);
    let follows = Running::start(bench.bootdisk().args(["logs", "-f", "system"]));
    wait_until(&bench, "system", IS_UP);
    run(&mut exec(&bench, &["system"], &["sh", "-c", CARETAKERS])).expect(0, "1\n");
    let text = run(&mut exec(&bench, &["-t", "system"], &["sh", "-c", CHECK])).text();
    let found = ["container: none", "state: running, failed: 0", "timeouts: 0", "again: /dev/vda3, generated: 0"];
    let beside = ["exec: in 0::/init.scope, on /dev/pts/0"];
    let settings = ["credentials: of the document given 2", "settings: settings on set, ramfs"];
    let table = ["# not here: /dev/sda5 none swap sw 0 0", "# by mount: /dev/vda3 /mnt/again ext4 defaults 0 2"];
    let mut lines = found.into_iter().chain(beside).chain(settings).chain(table);
    assert!(lines.all(|line| text.contains(line)), "{text}");
    assert!(text.contains("tmpfs /srv tmpfs defaults 0 0") && text.contains("Read-only file system"), "{text}");

    // What is left running is no reason to wait for a minute and a half.
    let left = Running::start(&mut exec(&bench, &["-t", "system"], &["bash"]));
    run(&mut exec(&bench, &["system"], &["sh", "-c", "echo marked >/dev/console"])).expect_status(0);
    let asked = Instant::now();
    run(bench.bootdisk().args(["stop", "system"])).expect(0, "");
    assert!(asked.elapsed() < Duration::from_secs(60), "{:?}", asked.elapsed());
    _ = left.finish();
    let log = follows.finish().expect_status(0);
    assert!(log.text().contains("marked") && !log.text().contains("excluded from killing"), "{}", log.text());
    let ended = run(bench.bootdisk().args(["ps", "-a"])).expect_status(0).text();
    assert!(ended.contains("ended 0"), "{ended}");
}

/// Debian's other inits. Their tables have logins on screens alone, and nothing of theirs hears a power button.
#[test]
fn sysvinit_and_openrc_have_a_login_on_the_console_and_end_when_they_are_asked_to() {
    let bench = Bench::new(Kernel::Cloud);
    for name in ["sysvinit.oci", "openrc.oci"] {
        let mut console = Console::of(&bench, name, e2e::image(name), None);
        console.wait_for(" login: ");
        run(&mut exec(&bench, &[], &["sh", "-c", CARETAKERS])).expect(0, "1\n");
        console.signal(Signal::SIGTERM);
        console.ends_well();
        // It was switched off, and not restarted.
        assert!(console.said().contains("Power down"), "{name}: {}", console.said());
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
