//! Machines that are talked to while they run: exec, ps, logs and stop, detached and on a terminal.

use crate::{busybox, e2e, pty, tools};
use e2e::{Bench, Kernel, PATIENCE, Running, image, run, run_with_input, tagged};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pty::OnTerminal;
use serde_json::Value;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// What a program on a running machine may take, on a busy host.
pub const SOON: Duration = Duration::from_secs(60);

/// `bootdisk exec OPTIONS -- COMMAND`.
pub fn exec(bench: &Bench, options: &[&str], command: &[&str]) -> Command {
    let mut exec = bench.bootdisk();
    exec.arg("exec").args(options).arg("--").args(command);
    exec
}

/// The machines there are, as `ps --json` has them.
pub fn machines(bench: &Bench, options: &[&str]) -> Vec<Value> {
    let text = run(bench.bootdisk().args(["ps", "--json"]).args(options)).expect_status(0).text();
    serde_json::from_str(&text).unwrap()
}

/// Ends what is left running when a test fails.
pub struct Ends<'a>(pub &'a Bench);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        let listed = self.0.bootdisk().args(["ps", "--json"]).output();
        let machines: Vec<Value> =
            listed.ok().and_then(|out| serde_json::from_slice(&out.stdout).ok()).unwrap_or_default();
        for pid in machines.iter().filter_map(|machine| machine["pid"].as_i64()) {
            _ = kill(Pid::from_raw(pid as i32), Signal::SIGKILL);
        }
    }
}

/// `bootdisk run -d`: returns with the workload running, and nothing but the name on standard output.
#[track_caller]
pub fn run_detached(bench: &Bench, name: &str, what: impl AsRef<std::ffi::OsStr>, options: &[&str], command: &[&str]) {
    let mut run_it = bench.run_command(what, &["-d", "--name", name]);
    run_it.args(options);
    if !command.is_empty() {
        run_it.arg("--").args(command);
    }
    let ran = run(&mut run_it).expect(0, &format!("{name}\n"));
    assert_eq!(ran.stderr, "");
}

/// Waits until a process of a machine finds this true, as sh(1) does.
#[track_caller]
pub fn wait_until(bench: &Bench, machine: &str, test: &str) {
    let loop_it = format!("for i in $(seq 300); do if {test}; then exit 0; fi; sleep 0.1; done; exit 1");
    run(&mut exec(bench, &[machine], &["sh", "-c", &loop_it])).expect_status(0);
}

/// The article: nginx serves, one looks into it, and a userland without a shell has none.
#[test]
fn nginx_is_looked_into_and_a_scratch_image_has_no_shell() {
    let bench = Bench::new(Kernel::Cloud);
    let _ends = Ends(&bench);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    drop(taken);
    let published = ["-q", "-p", &format!("{port}:80"), "-p", "80", "-p", "[::1]::80", "-P"];
    run_detached(&bench, "web", image("nginx.oci"), &published, &[]);

    for command in ["exec", "stop", "logs"] {
        assert_eq!(bench.completed(&[command, "w"]), ["web"], "{command}");
    }
    let configuration = run(&mut exec(&bench, &[], &["cat", "/etc/nginx/nginx.conf"])).expect_status(0).text();
    assert!(configuration.contains("worker_connections"), "{configuration}");
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let lost = exec(&bench, &[], &["cat", "/etc/nginx/nginx.conf"]).stdout(full).output().unwrap();
    let said = String::from_utf8_lossy(&lost.stderr);
    assert_eq!(lost.status.code(), Some(125), "{said}");
    assert!(said.contains("is incomplete: standard output: no space left on device"), "{said}");
    let changed = ["--env", "A=b c", "--user", "www-data", "--workdir", "/var/www"];
    let options: Vec<&str> = changed.iter().copied().chain(["web"]).collect();
    let script = "echo \"$A $(id -un) $(pwd)\"; echo to standard error >&2; exit 5";
    let ran = run(&mut exec(&bench, &options, &["sh", "-c", script])).expect(5, "b c www-data /var/www\n");
    assert_eq!(ran.stderr, "to standard error\n");
    run(&mut exec(&bench, &["web"], &["sh", "-c", "kill -9 $$"])).expect(128 + 9, "");
    // As with docker no `--` is needed, and what is behind the command is the command's.
    let words = ["exec", "-u", "33", "web", "sh", "-c", "echo $* $(id -u); exit 6", "sh", "--env", "-u"];
    run(bench.bootdisk().args(words)).expect(6, "--env -u 33\n");

    // The port that was named, and those that were chosen: `-P` adds nothing, as the image's port is published.
    let ports: Vec<String> = serde_json::from_value(machines(&bench, &[])[0]["ports"].clone()).unwrap();
    let sockets: Vec<&str> = ports.iter().map(|port| port.strip_suffix(":80").expect(port)).collect();
    let [first, any, six] = sockets[..] else { panic!("{ports:?}") };
    assert!(first == port.to_string() && any != first && six.starts_with("[::1]:"), "{ports:?}");
    let page = |socket: String| {
        let mut socket = std::net::TcpStream::connect(socket).ok()?;
        socket.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
        let mut text = String::new();
        socket.read_to_string(&mut text).ok()?;
        text.starts_with("HTTP/1.1 200").then_some(text)
    };
    let started = Instant::now();
    for socket in [format!("127.0.0.1:{first}"), format!("127.0.0.1:{any}"), six.to_owned()] {
        while page(socket.clone()).is_none() {
            assert!(started.elapsed() < SOON, "nginx does not serve on {socket}");
            sleep(Duration::from_millis(100));
        }
    }

    // A shell in it, on a terminal.
    let mut shell = OnTerminal::start(&mut exec(&bench, &["-it", "web"], &["bash", "--norc"]), 33, 101);
    shell.wait_for("# ", SOON);
    shell.type_in("stty size; echo size of $((40 + 2))\r");
    assert!(shell.wait_for("size of 42", SOON).contains("33 101"));
    shell.resize(44, 111);
    shell.type_in("until [ \"$(stty size)\" = '44 111' ]; do sleep 0.1; done; echo resized $((1 + 1))\r");
    shell.wait_for("resized 2", SOON);
    shell.type_in("sleep 1000\r");
    shell.wait_for("sleep 1000\r\n", SOON);
    wait_until(&bench, "web", "grep -qx sleep /proc/*/comm");
    shell.type_in("\u{3}");
    shell.type_in("echo status $?; exit 4\r");
    shell.wait_for("status 130", SOON);
    assert_eq!(shell.finish(SOON), Some(4));
    assert!(shell.is_restored(), "the terminal's mode");

    // Its name is taken; the answer comes before anything is built or booted.
    let refused = bench.run(image("debian.oci"), &["--name", "web"]).expect(125, "");
    assert!(refused.stderr.starts_with("error: a machine of this name is running: web\nhint: "), "{}", refused.stderr);

    // A userland of one file beside it.
    run_detached(&bench, "hello", tagged("probe.oci", "probe"), &[], &["/probe", "sleep", "1000"]);
    let none = run(&mut exec(&bench, &["hello"], &["bash"])).expect(127, "");
    assert!(none.stderr.starts_with("error: no such file in this userland: "), "{}", none.stderr);
    assert!(none.stderr.contains(": bash\n"), "{}", none.stderr);
    run(&mut exec(&bench, &["hello"], &["/probe", "echo", "here"])).expect(0, "here\n");
    let which = run(&mut exec(&bench, &[], &["true"])).expect(125, "");
    assert!(which.stderr.contains("which machine? there are 2: web hello"), "{}", which.stderr);
    let unknown = run(&mut exec(&bench, &["wep"], &["true"])).expect(125, "");
    assert!(unknown.stderr.contains("no machine of this name: wep"), "{}", unknown.stderr);

    let table = run(bench.bootdisk().arg("ps")).expect_status(0).text();
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
    let line = table.lines().find(|line| line.starts_with("web ")).unwrap();
    assert!(line.contains(" running ") && line.contains(&format!(" {port}:80")), "{table}");
    assert_eq!(table.lines().count(), 3, "{table}");

    // Stopped the way its image says, and remembered. What runs beside the workload ends with it, and says so.
    let beside: Vec<Running> =
        (0..4).map(|_| Running::start(&mut exec(&bench, &["web"], &["sleep", "1000"]))).collect();
    wait_until(&bench, "web", "test $(grep -lx sleep /proc/[0-9]*/comm | wc -l) -ge 4");
    run(bench.bootdisk().args(["stop", "web"])).expect(0, "");
    for process in beside {
        let ended = process.finish().expect(125, "");
        assert!(
            ended.stderr.contains("the workload has ended, and every process beside it with it"),
            "{}",
            ended.stderr
        );
    }
    let names: Vec<Value> = machines(&bench, &[]).iter().map(|machine| machine["name"].clone()).collect();
    assert_eq!(names, ["hello"]);
    let ended = machines(&bench, &["-a"]).into_iter().find(|machine| machine["name"] == "web").unwrap();
    assert_eq!((&ended["state"], &ended["exit_status"]), (&"ended".into(), &0.into()));
    // The last in its grave: its workload ignores nothing, and dies of the signal.
    run(bench.bootdisk().arg("stop")).expect(0, "");
    let none = run(&mut exec(&bench, &[], &["true"])).expect(125, "");
    assert!(none.stderr.starts_with("error: no machine is running\n"), "{}", none.stderr);
}

/// Bytes that differ from place to place.
fn pattern(length: usize) -> Vec<u8> {
    let mut state = 1u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next).flatten().take(length).collect()
}

/// The workload of the next test: writes a line to each stream, and ends only when asked.
const SERVICE: &str = "
    echo ready
    echo to standard error >&2
    trap 'echo stopping; exit 9' TERM
    trap 'echo line' USR1
    while :; do sleep 0.1; done";

#[test]
fn streams_are_whole_and_a_process_goes_with_whoever_asked_for_it() {
    let bench = Bench::new(Kernel::Cloud);
    let _ends = Ends(&bench);
    // More words than one frame has: 300 KiB of environment with the machine, and as much with a process.
    let environment = |name: &str| {
        let file = bench.path(name);
        let line = |n| format!("{name}{n}={}\n", "\u{1}".repeat(100 << 10));
        std::fs::write(&file, (1..=3).map(line).collect::<String>()).unwrap();
        file.to_str().unwrap().to_owned()
    };
    run_detached(&bench, "box", image("debian.oci"), &["--env-file", &environment("A")], &["bash", "-c", SERVICE]);
    let lengths = "echo ${#A1} ${#A2} ${#A3} ${#B1} ${#B2} ${#B3}";
    run(&mut exec(&bench, &["--env-file", &environment("B"), "box"], &["bash", "-c", lengths]))
        .expect(0, "102400 102400 102400 102400 102400 102400\n");
    let much = if std::env::var_os("BOOTDISK_TEST_FULL").is_some() { 100_000_001 } else { 12_000_001 };

    // Both ways at once, byte for byte.
    let there_and_back = run_with_input(&mut exec(&bench, &["-i", "box"], &["cat"]), pattern(much)).expect_status(0);
    assert!(there_and_back.stdout == pattern(much), "{} bytes came back", there_and_back.stdout.len());
    // A reader that takes its time delays and loses nothing; meanwhile others are served.
    let mut slow = exec(&bench, &["box"], &["sh", "-c", "seq 1000000; echo done >&2"])
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    sleep(Duration::from_millis(500));
    run(&mut exec(&bench, &["box"], &["echo", "meanwhile"])).expect(0, "meanwhile\n");
    let mut numbers = String::new();
    slow.stdout.take().unwrap().read_to_string(&mut numbers).unwrap();
    assert!(slow.wait().unwrap().success());
    assert!(numbers.lines().eq((1..=1_000_000).map(|n| n.to_string())), "{} bytes", numbers.len());

    // A reader that goes away is a closed pipe in the guest.
    let mut gone = exec(&bench, &["box"], &["sh", "-c", "yes; echo \"yes ended with $?\" >&2"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    gone.stdout.take().unwrap().read_exact(&mut [0; 1000]).unwrap();
    let said = gone.wait_with_output().unwrap();
    // yes(1) ends by SIGPIPE.
    assert_eq!(String::from_utf8_lossy(&said.stderr), "yes ended with 141\n");

    // A client that is killed: SIGHUP, and the end of standard input.
    for (options, script) in [
        (&["-i", "box"][..], "trap 'echo hung up >/tmp/a; exit' HUP; touch /tmp/a0; while :; do sleep 0.1; done"),
        (&["-i", "box"][..], "trap '' HUP; touch /tmp/b0; cat >/dev/null; echo end of input >/tmp/b"),
    ] {
        let mut client = exec(&bench, options, &["bash", "-c", script]).stdin(Stdio::piped()).spawn().unwrap();
        let file = if script.contains("/tmp/a0") { "/tmp/a" } else { "/tmp/b" };
        wait_until(&bench, "box", &format!("[ -e {file}0 ]"));
        client.kill().unwrap();
        client.wait().unwrap();
        wait_until(&bench, "box", &format!("[ -s {file} ]"));
    }
    // A signal to the client is one to the process.
    let asked = Running::start(&mut exec(
        &bench,
        &["box"],
        &["bash", "-c", "trap 'exit 6' TERM; touch /tmp/c0; while :; do sleep 0.1; done"],
    ));
    wait_until(&bench, "box", "[ -e /tmp/c0 ]");
    asked.signal(Signal::SIGTERM);
    asked.finish().expect_status(6);

    logs_of_a_machine_that_ends(&bench);
}

/// The same machine: its log while it runs and after its end, and what its owner's signals mean.
fn logs_of_a_machine_that_ends(bench: &Bench) {
    let log = || run(bench.bootdisk().args(["logs", "box"])).expect_status(0);
    assert_eq!((log().text().as_str(), log().stderr.as_str()), ("ready\n", "to standard error\n"));
    let pid = machines(bench, &[])[0]["pid"].as_i64().unwrap() as i32;
    // It has no terminal that could hang up.
    kill(Pid::from_raw(pid), Signal::SIGHUP).unwrap();
    let following = Running::start(bench.bootdisk().args(["logs", "-f"]));
    run(&mut exec(bench, &["box"], &["bash", "-c", "kill -USR1 1"])).expect_status(0);
    let started = Instant::now();
    while log().text() != "ready\nline\n" {
        assert!(started.elapsed() < SOON, "{}", log().text());
        sleep(Duration::from_millis(50));
    }
    // A client that reads nothing does not hold the end up.
    let mut stuck = exec(bench, &["box"], &["yes"]).stdout(Stdio::piped()).spawn().unwrap();
    wait_until(bench, "box", "grep -qx yes /proc/*/comm");
    run(bench.bootdisk().args(["stop", "--timeout", "30"])).expect(0, "");
    following.finish().expect(0, "ready\nline\nstopping\n");
    assert_eq!(log().text(), "ready\nline\nstopping\n");
    assert_eq!(machines(bench, &["-a"])[0]["exit_status"], 9);
    drop(stuck.stdout.take());
    assert!(!stuck.wait().unwrap().success());
}

#[test]
fn a_shell_on_a_terminal_is_a_shell_and_ends_with_it() {
    let bench = Bench::new(Kernel::Cloud);
    let _ends = Ends(&bench);
    // What is typed before the machine is up waits for it.
    let mut command = bench.run_command(image("debian.oci"), &["-it", "--name", "shell"]);
    let mut shell = OnTerminal::start(command.args(["--", "bash", "--norc"]), 24, 80);
    shell.type_in("echo early $((20 + 3))\r");
    shell.wait_for("early 23", PATIENCE);
    shell.type_in("stty size; tty; echo told $((1 + 1))\r");
    assert!(shell.wait_for("told 2", SOON).contains("24 80"));
    shell.resize(50, 132);
    shell.type_in("until [ \"$(stty size)\" = '50 132' ]; do sleep 0.1; done; echo resized $((1 + 1))\r");
    shell.wait_for("resized 2", SOON);
    // Job control: stopped, listed, continued, interrupted.
    let running = "grep -qx sleep /proc/*/comm";
    shell.type_in("sleep 1000\r");
    wait_until(&bench, "shell", running);
    shell.type_in("\u{1a}");
    shell.wait_for("Stopped", SOON);
    shell.type_in("jobs | wc -l; fg\r");
    shell.wait_for("1\r\n", SOON);
    wait_until(&bench, "shell", running);
    shell.type_in("\u{3}");
    shell.type_in("echo status $?\r");
    shell.wait_for("status 130", SOON);
    let logs = run(bench.bootdisk().args(["logs", "shell"])).expect(1, "");
    assert!(logs.stderr.contains("is not detached"), "{}", logs.stderr);
    shell.type_in("exit 7\r");
    assert_eq!(shell.finish(SOON), Some(7));
    assert!(shell.is_restored(), "the terminal's mode");
    assert_eq!(machines(&bench, &["-a"]).len(), 0);

    // The window is shut: the shell gets SIGHUP, and the machine does not stay behind.
    let mut command = bench.run_command(image("debian.oci"), &["-it"]);
    let mut shell = OnTerminal::start(command.args(["--", "bash", "--norc"]), 24, 80);
    shell.wait_for("# ", PATIENCE);
    shell.hang_up();
    let started = Instant::now();
    shell.finish(SOON);
    assert!(started.elapsed() < SOON);
    assert_eq!(machines(&bench, &[]).len(), 0);
}

#[test]
fn what_a_killed_run_leaves_is_cleaned_away() {
    let bench = Bench::new(Kernel::Cloud);
    let _ends = Ends(&bench);
    // A long path: an address of a socket has 107 bytes.
    let long = bench.path(&"r".repeat(120));
    std::fs::create_dir(&long).unwrap();
    let at = |mut command: Command| {
        command.env("XDG_RUNTIME_DIR", &long);
        command
    };
    let script = "trap '' TERM; while :; do sleep 1; done";
    let mut command = at(bench.run_command(image("debian.oci"), &["--name", "gone", "--console"]));
    let mut child = command.args(["--", "sh", "-c", script]).stderr(Stdio::null()).spawn().unwrap();
    let folder = long.join("bootdisk/machines/gone");
    let started = Instant::now();
    while !folder.join("socket").exists() {
        assert!(started.elapsed() < PATIENCE);
        sleep(Duration::from_millis(20));
    }
    // It boots yet, and the process waits for the workload.
    run(&mut at(exec(&bench, &["gone"], &["echo", "there"]))).expect(0, "there\n");
    let qemu = qemu_of(child.id());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(folder.exists());
    let none = run(&mut at(exec(&bench, &["gone"], &["true"]))).expect(125, "");
    assert!(none.stderr.contains("no machine of this name: gone"), "{}", none.stderr);
    assert!(!folder.exists());
    let started = Instant::now();
    while Path::new(&format!("/proc/{qemu}")).exists() {
        assert!(started.elapsed() < SOON, "QEMU has outlived its bootdisk");
        sleep(Duration::from_millis(20));
    }
    // A detached machine that cannot start its workload says so where it was called.
    let mut command = at(bench.run_command(tagged("probe.oci", "missing"), &["-d", "--name", "never"]));
    let ran = run(&mut command).expect(127, "");
    assert!(ran.stderr.starts_with("error: "), "{}", ran.stderr);
    assert!(!long.join("bootdisk/machines/never").exists());
}

/// The process that is a child of this one and a QEMU.
fn qemu_of(parent: u32) -> u32 {
    let is_child = |pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let (name, rest) = stat.rsplit_once(')').unwrap_or_default();
        name.contains("qemu") && rest.split_whitespace().nth(1) == Some(&parent.to_string())
    };
    let pids =
        std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    pids.into_iter().find(is_child).expect("no QEMU runs")
}

/// `cp` in and out, as docker has it: files, folders, a tar, links, owners, and what is refused; and out of the disk that
/// the machine was started from.
#[test]
fn files_are_copied_into_and_out_of_a_machine_and_out_of_a_disk() {
    let bench = Bench::new(Kernel::Cloud);
    let _ends = Ends(&bench);
    let disk = bench.build(busybox::archive(&bench.path("")), "box.qcow2", &[]);
    run_detached(&bench, "box", &disk, &[], &["sleep", "100000"]);
    let copy = |options: &[&str], from: &str, to: &str| {
        let mut copy = bench.bootdisk();
        copy.arg("cp").args(options).arg(from).arg(to).current_dir(bench.path(""));
        copy
    };
    let in_machine = |script: &str| run(&mut exec(&bench, &["box"], &["sh", "-c", script])).expect_status(0).text();
    let here = |path: &str| std::fs::read(bench.path(path)).unwrap();
    let tree = bench.path("tree");
    std::fs::create_dir_all(tree.join("a")).unwrap();
    std::fs::write(tree.join("a/file"), vec![b'x'; 5 << 20]).unwrap();
    std::fs::hard_link(tree.join("a/file"), tree.join("twin")).unwrap();
    std::os::unix::fs::symlink("a/file", tree.join("link")).unwrap();
    std::os::unix::fs::chown(tree.join("a/file"), Some(7), Some(8)).unwrap();

    // In: a folder by its name, its contents alone, a file under a new name; owners as docker leaves them.
    let said = run(&mut copy(&[], "tree", "box:/tmp")).expect(0, "").stderr;
    assert_eq!(said, "5.0 MiB copied to box:/tmp\n");
    run(&mut copy(&["-q", "-a"], "tree/.", "box:/new")).expect(0, "");
    run(&mut copy(&["-q"], "tree/a/file", "box:tmp/other")).expect(0, "");
    let facts = "cd /tmp/tree; stat -c '%u:%g %h %s' a/file twin; readlink link; stat -c %u:%g /new/a/file; wc -c </tmp/other; ls -A /tmp /new";
    assert_eq!(
        in_machine(facts),
        "7:8 2 5242880\n7:8 2 5242880\na/file\n7:8\n5242880\n/new:\na\nlink\ntwin\n\n/tmp:\nother\ntree\n"
    );
    // Out: a file, a folder into one that is there, through a link, into a tar; what the guest has is what comes.
    run(&mut copy(&["-q"], "box:/data/numbers", "numbers")).expect(0, "");
    assert!(here("numbers") == busybox::numbers());
    std::fs::create_dir(bench.path("out")).unwrap();
    run(&mut copy(&["-q"], "box:/tmp/tree", "out")).expect(0, "");
    assert!(here("out/tree/twin") == here("tree/a/file") && bench.path("out/tree/link").is_symlink());
    run(&mut copy(&["-q", "-L"], "box:/tmp/tree/link", "out/followed")).expect(0, "");
    assert!(here("out/followed") == here("tree/a/file") && !bench.path("out/followed").is_symlink());
    let tar = run(&mut copy(&["-q"], "box:/tmp/tree", "-")).expect_status(0);
    std::fs::write(bench.path("t.tar"), &tar.stdout).unwrap();
    let listed = tools::stdout(Command::new("tar").arg("-tf").arg(bench.path("t.tar")));
    assert_eq!(listed, "tree/\ntree/a/\ntree/a/file\ntree/link\ntree/twin\n");
    // A tar of another program goes in, packed too.
    let packed =
        Command::new("tar").args(["-cz", "-C", "tree", "."]).current_dir(bench.path("")).output().unwrap().stdout;
    run_with_input(&mut copy(&["-q"], "-", "box:/data"), packed).expect(0, "");
    assert_eq!(in_machine("cd /data; cmp a/file /tmp/other && readlink link"), "a/file\n");

    // All of the machine but what its kernel makes up, which ends.
    let all = run(&mut copy(&["-q"], "box:/", "all")).expect(0, "").stderr;
    assert!(all.contains("note: what the kernel shows there is left out: /proc\n"), "{all}");
    assert!(
        here("all/tmp/other") == here("tree/a/file")
            && std::fs::read_dir(bench.path("all/proc")).unwrap().next().is_none()
    );

    // What is wrong is said once, and leaves nothing.
    for (from, to, words) in [
        ("", "box:/tmp", "an empty path is none"),
        ("box:/data/numbers", "", "an empty path is none"),
        ("box:/nope", "x", "in box: cannot copy /nope: no such file or directory"),
        ("nope", "box:/tmp", "cannot copy nope: no such file or directory"),
        ("numbers", "box:/no/such/", "in box: cannot copy to /no/such/: no such directory"),
        ("tree", "box:/tmp/other", "in box: cannot copy to /tmp/other: a folder does not go into a file"),
        ("box:/tmp/tree", "numbers", "cannot copy to numbers: a folder does not go into a file"),
        ("box:/tmp", "other:/tmp", "hint: bootdisk cp ONE:PATH - | bootdisk cp - OTHER:FOLDER"),
        ("numbers", "other", "hint: bootdisk ps lists the machines"),
        ("numbers", "other:/tmp", "other"),
        ("numbers", "box.qcow2:/tmp", "a disk that does not run is only read"),
    ] {
        let ran = run(&mut copy(&["-q"], from, to)).expect(1, "");
        assert!(ran.stderr.contains(words), "{from} {to}: {}", ran.stderr);
    }
    assert!(!bench.path("x").exists() && here("numbers") == busybox::numbers());
    let left = in_machine("find / -xdev -name '.bootdisk*'");
    assert_eq!(left, "");

    // Out of the disk, in its form: what the image has, and nothing of what the machine wrote.
    run(&mut copy(&["-q"], "box.qcow2:/twice/.", "twice")).expect(0, "");
    let (one, other) =
        (std::fs::metadata(bench.path("twice/a")).unwrap(), std::fs::metadata(bench.path("twice/b")).unwrap());
    assert_eq!((one.ino(), one.nlink(), here("twice/a")), (other.ino(), 2, b"one file\n".to_vec()));
    tools::stdout(
        Command::new("mke2fs").args(["-q", "-t", "ext4", "-d"]).args([&tree, &bench.path("fs.img")]).arg("16M"),
    );
    run(&mut copy(&["-q"], "fs.img:/a/file", "from-fs")).expect(0, "");
    assert!(here("from-fs") == here("tree/a/file"));
    run(&mut copy(&["-q"], "box.qcow2:bin/sh", "sh")).expect(0, "");
    assert_eq!(std::fs::read_link(bench.path("sh")).unwrap(), Path::new("busybox"));
    let absent = run(&mut copy(&["-q"], "box.qcow2:/tmp/tree", "absent")).expect(1, "").stderr;
    assert!(absent.contains("cannot copy /tmp/tree: no such file or directory"), "{absent}");
}
