//! Folders and files of the host in a machine, and volumes that outlive it.

use crate::e2e::{Bench, Kernel, PATIENCE, Ran, image, run};
use crate::{busybox, tools};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// `HOST:PATH` with what follows.
fn at(host: &Path, rest: &str) -> String {
    format!("{}:{rest}", host.display())
}

/// `bootdisk exec NAME sh -c SCRIPT`.
fn shell(bench: &Bench, name: &str, script: &str) -> Ran {
    run(bench.bootdisk().args(["exec", name, "sh", "-c", script]))
}

#[track_caller]
fn start(bench: &Bench, name: &str, what: &Path, options: &[&str]) {
    let mut command = bench.run_command(what, &["-q", "-d", "--name", name]);
    run(command.args(options).args(["--", "sleep", "10000"])).expect(0, &format!("{name}\n"));
}

/// Processes that have this text among their arguments.
fn processes(text: &str) -> Vec<String> {
    let named = fs::read_dir("/proc").unwrap().flatten().filter(|entry| {
        let words = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let text = text.as_bytes();
        words.windows(text.len()).any(|window| window == text)
    });
    named.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

/// The daemons that a process has started.
fn daemons_of(parent: i32) -> Vec<i32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is_daemon = |pid: &i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.contains("(virtiofsd)") && stat.rsplit(") ").next().unwrap().split(' ').nth(1) == Some(&parent.to_string())
    };
    pids.filter(is_daemon).collect()
}

#[track_caller]
fn wait_until(what: &str, mut is_true: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_true() {
        assert!(begin.elapsed() < PATIENCE, "{what}");
        sleep(Duration::from_millis(20));
    }
}

/// A folder with a file, a link that leads out of it, and beside it what the link leads to.
fn folder(bench: &Bench, name: &str) -> PathBuf {
    let path = bench.path(name);
    fs::create_dir(&path).unwrap();
    fs::write(path.join("hello"), "from the host\n").unwrap();
    fs::write(bench.path("secret"), "secret\n").unwrap();
    symlink(bench.path("secret"), path.join("absolute")).unwrap();
    symlink("../secret", path.join("relative")).unwrap();
    path
}

#[test]
fn a_folder_of_the_host_is_live_both_ways_and_nothing_else_of_the_host_is_there() {
    let bench = Bench::new(Kernel::Cloud);
    let image = busybox::archive(&bench.path(""));
    let (shared, read) = (folder(&bench, "shared, 1"), bench.path("read"));
    fs::create_dir(&read).unwrap();
    fs::write(read.join("hello"), "read me\n").unwrap();
    let (one, two) = (bench.path("one"), bench.path("two"));
    fs::write(&one, "one\n").unwrap();
    fs::write(&two, "two\n").unwrap();
    let options = [
        ["-v", &at(&shared, "/shared")],
        ["-v", &at(&read, "/deep/read:ro")],
        ["-v", &at(&one, "/etc/one:ro")],
        ["-v", &at(&two, "/two")],
        ["-v", &at(&bench.path("made/here"), "/shared/below")],
    ];
    start(&bench, "sharing", &image, &options.concat());

    let script = "cat /shared/hello /deep/read/hello /etc/one /two && mkdir -p /shared/sub && \
        echo guest > /shared/sub/new && chmod 640 /shared/sub/new && chown 12:34 /shared/sub/new && \
        ln -s new /shared/sub/link && mv /shared/sub/new /shared/sub/moved && echo more >> /two && \
        for i in $(seq 200); do echo $i > /shared/sub/$i || exit 1; done && touch /shared/below/file";
    shell(&bench, "sharing", script).expect(0, "from the host\nread me\none\ntwo\n");
    let moved = fs::metadata(shared.join("sub/moved")).unwrap();
    assert_eq!((moved.mode() & 0o777, moved.uid(), moved.gid()), (0o640, 12, 34));
    assert_eq!(fs::read_to_string(shared.join("sub/moved")).unwrap(), "guest\n");
    assert_eq!(fs::read_dir(shared.join("sub")).unwrap().count(), 202);
    assert_eq!(fs::read_to_string(&two).unwrap(), "two\nmore\n");
    assert!(bench.path("made/here/file").is_file());

    // What the host changes is seen.
    fs::write(shared.join("hello"), "changed by the host\n").unwrap();
    fs::write(shared.join("later"), "later\n").unwrap();
    let seen = "until grep -q changed /shared/hello && [ -e /shared/later ]; do sleep 0.1; done; cat /shared/later";
    shell(&bench, "sharing", seen).expect(0, "later\n");

    // Neither by a link nor by a name does anything lead out, and read-only is the host's word too.
    for script in [
        "cat /shared/absolute",
        "cat /shared/relative",
        "echo x > /deep/read/new",
        "rm /deep/read/hello",
        "mount -o remount,rw,bind /deep/read && echo x > /deep/read/new",
        "echo x > /etc/one",
    ] {
        let ran = shell(&bench, "sharing", script).expect_status(1);
        assert!(!ran.text().contains("secret"), "{script}: {}", ran.text());
    }
    assert_eq!(fs::read_to_string(&one).unwrap(), "one\n");
    assert_eq!(fs::read_dir(&read).unwrap().count(), 1);

    let listed = run(bench.bootdisk().args(["ps", "--json"])).expect_status(0).text();
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let pid = listed[0]["pid"].as_i64().unwrap() as i32;
    // A daemon that dies is told, although only errors are wanted here.
    let daemon = *daemons_of(pid).last().unwrap();
    // It may have a child that does the work.
    nix::sys::signal::killpg(nix::unistd::Pid::from_raw(daemon), nix::sys::signal::Signal::SIGKILL).unwrap();
    wait_until("the daemon's end is not told", || {
        run(bench.bootdisk().args(["logs", "sharing"])).stderr.contains("error: virtiofsd for ")
    });

    // The others end with the machine, also when nobody is left to end them.
    let text = shared.to_str().unwrap().replace(',', "\\,");
    assert!(!processes(&text).is_empty());
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    wait_until("virtiofsd is left", || processes(&text).is_empty());
}

#[test]
fn without_a_daemon_a_folder_and_a_file_are_copies_and_one_line_says_so() {
    let bench = Bench::new(Kernel::Cloud);
    let image = busybox::archive(&bench.path(""));
    let shared = folder(&bench, "shared");
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o751)).unwrap();
    let mount = format!("type=bind,src={},dst=/one", shared.join("hello").display());
    let script = "cat /shared/hello /one; stat -c %a /shared; cat /shared/absolute; echo x > /shared/x; echo y > /one; \
        readlink /shared/relative; echo t > /mem/t && cat /mem/t";
    let mut command = bench.run_command(&image, &["-v", &at(&shared, "/shared"), "--mount", &mount]);
    command.args(["--mount", "type=tmpfs,dst=/mem"]).env("BOOTDISK_VIRTIOFSD", "/nonexistent");
    let ran = run(command.args(["--", "sh", "-c", script]));
    let ran = ran.expect(0, "from the host\nfrom the host\n751\n../secret\nt\n");
    let notes: Vec<&str> = ran.stderr.lines().filter(|line| line.starts_with("note: ")).collect();
    let copy =
        |path: &Path| format!("note: {} is a read-only copy in the machine: no virtiofsd on this host", path.display());
    assert_eq!(notes, [copy(&shared), copy(&shared.join("hello"))], "{}", ran.stderr);
    assert_eq!(ran.stderr.matches("Read-only file system").count(), 2, "{}", ran.stderr);
}

#[test]
fn a_volume_begins_with_the_images_files_and_outlives_images_and_kernels() {
    let bench = Bench::new(Kernel::Cloud);
    let archive = busybox::archive(&bench.path(""));
    // A store of its own: that of the kernels is other tests' too.
    let home = bench.path("volumes-home");
    let kernels = |kernel: Kernel| kernel.package().display().to_string();
    let at_home = |mut command: Command| {
        command.env("XDG_DATA_HOME", &home);
        command
    };
    let first = bench.build(&archive, "first.img", &[]);
    let mut begin = at_home(bench.run_command(&first, &["-q", "-d", "--name", "keeps", "--volumes", "keep"]));
    begin.args(["-v", "data:/twice", "--volume-size", "64M", "--", "sleep", "10000"]);
    run(&mut begin).expect(0, "keeps\n");
    let script = "md5sum < /library/book; cat /twice/a; echo kept > /twice/kept; chown 12:34 /twice/kept; df -k /twice | tail -n 1";
    let seen = shell(&bench, "keeps", script).expect_status(0).text();
    let sum = tools::stdout(Command::new("sh").args(["-c", "head -c 9437184 /dev/zero | tr '\\0' b | md5sum"]));
    assert!(seen.starts_with(&format!("{sum}one file\n")), "{seen}");

    // One machine has it.
    let volume = |words: &[&str]| {
        let mut command = at_home(bench.bootdisk());
        command.arg("volume").args(words);
        run(&mut command)
    };
    let mut second = at_home(bench.run_command(&first, &["-v", "data:/x"]));
    let refused = run(second.args(["--", "true"])).expect_status(125);
    assert!(refused.stderr.contains("volume is in use by another machine: data"), "{}", refused.stderr);
    volume(&["remove", "data"]).expect_status(1);
    let listed: serde_json::Value = serde_json::from_str(&volume(&["list", "--json"]).expect_status(0).text()).unwrap();
    let names: Vec<(&str, bool)> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["name"].as_str().unwrap(), one["in_use"].as_bool().unwrap()))
        .collect();
    assert_eq!(names, [("data", true), ("keeps-library", true), ("keeps-volume", true)]);
    run(bench.bootdisk().args(["stop", "keeps"])).expect_status(0);
    let path = volume(&["path", "data"]).expect_status(0).text();
    wait_until("the volume stays in use", || !volume(&["list", "--json"]).text().contains("\"in_use\": true"));
    tools::stdout(Command::new("e2fsck").args(["-fn", path.trim_end()]));

    // Another image, another kernel, and more room.
    let generic = kernels(Kernel::Generic);
    let mut again = at_home(bench.run_command(image("debian.oci"), &["--kernel", &generic, "-v", "data:/srv"]));
    again.args([
        "--volume-size",
        "1G",
        "--",
        "sh",
        "-c",
        "cat /srv/a /srv/kept; stat -c %u:%g /srv/kept; df -k /srv | tail -n 1",
    ]);
    let seen = run(&mut again).expect_status(0).text();
    let (files, room) = seen.split_once("12:34\n").unwrap();
    assert_eq!(files, "one file\nkept\n");
    let size: u64 = room.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(size > 900 << 10, "{room}");
    tools::stdout(Command::new("e2fsck").args(["-fn", path.trim_end()]));
    volume(&["remove", "data", "keeps-library", "keeps-volume"]).expect(0, "data\nkeeps-library\nkeeps-volume\n");
    volume(&["list"]).expect(0, "     SIZE      TAKES  IN USE  NAME\n");
}
