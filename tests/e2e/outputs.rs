//! What is written for the user: nothing of his is lost by it, and what could not be written is never called a success.

use crate::{busybox, e2e, tools};
use e2e::{Bench, Kernel, Ran, Running, image, run, sha256};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn full() -> File {
    File::options().write(true).open("/dev/full").unwrap()
}

/// `error:`, `hint:`, and nothing else.
#[track_caller]
fn refused(ran: &Ran, status: i32, words: &str, hint: &str) {
    assert_eq!(ran.status, Some(status), "{ran:?}");
    let lines: Vec<&str> = ran.stderr.lines().collect();
    let [error, told] = lines[..] else { panic!("not an error and a hint: {ran:?}") };
    assert!(error.starts_with("error: ") && error.contains(words), "no {words:?} in {error}");
    assert!(told.starts_with("hint: ") && told.contains(hint), "no {hint:?} in {told}");
}

/// A digest of every file below a folder, by name.
fn contents(folder: &Path) -> Vec<(PathBuf, String)> {
    let text = tools::stdout(Command::new("find").arg(folder).args(["-type", "f"]));
    let mut files: Vec<PathBuf> = text.lines().map(PathBuf::from).collect();
    files.sort();
    files.into_iter().map(|file| (file.clone(), sha256(&file))).collect()
}

/// Every kind of input as the output, under its own name and others: refused, and nothing has changed afterwards.
#[test]
fn no_output_takes_the_place_of_an_input() {
    let bench = Bench::new(Kernel::Cloud);
    let place = bench.path("place");
    fs::create_dir(&place).unwrap();
    let at = |name: &str| place.join(name);
    fs::copy(image("hello-c.docker.tar"), at("image")).unwrap();
    tools::stdout(Command::new("cp").arg("-r").arg(image("hello-c.oci")).arg(at("layout")));
    fs::copy(Kernel::Cloud.package(), at("kernel.deb")).unwrap();
    fs::write(at("variables"), "A=1\n").unwrap();
    fs::copy("/usr/lib/systemd/boot/efi/systemd-bootx64.efi", at("loader.efi")).unwrap();
    fs::write(at("smoke.toml"), "[[test]]\nimage = \"image\"\n").unwrap();
    fs::hard_link(at("image"), at("second")).unwrap();
    symlink("image", at("link")).unwrap();
    symlink("layout", at("same")).unwrap();
    let blob = fs::read_dir(at("layout/blobs/sha256"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .max_by_key(|path| path.metadata().unwrap().len());
    fs::hard_link(blob.unwrap(), at("blob")).unwrap();
    bench.build(at("image"), "place/disk.img", &[]);
    let before = contents(&place);
    let read = "would replace what is read";

    let kernel = at("kernel.deb").display().to_string();
    let (variables, loader) = (at("variables").display().to_string(), at("loader.efi").display().to_string());
    let with_kernel = ["--kernel", kernel.as_str()];
    let cases: [(&str, &str, &[&str]); 11] = [
        ("image", "image", &[]),
        ("image", "link", &[]),
        ("link", "image", &[]),
        ("image", "second", &[]),
        ("layout", "layout/index.json", &[]),
        ("layout", "same/new", &[]),
        ("layout", "layout/blobs/new", &[]),
        ("layout", "blob", &[]),
        ("image", "kernel.deb", &with_kernel),
        ("image", "variables", &["--env-file", &variables]),
        ("image", "loader.efi", &["--efi-loader", &loader]),
    ];
    for (input, output, options) in cases {
        let ran = run(bench.bootdisk().arg("build").arg(at(input)).arg("-o").arg(at(output)).args(options).arg("-q"));
        refused(&ran, 1, read, "another name");
    }
    let stdin = File::open(at("image")).unwrap();
    let ran = run(bench.bootdisk().args(["build", "-", "-q", "-o"]).arg(at("image")).stdin(stdin));
    refused(&ran, 1, read, "another name");
    for subject in ["image", "disk.img", "kernel.deb"] {
        let ran = run(bench.bootdisk().arg("inspect").arg(at(subject)).arg("--html").arg(at(subject)));
        refused(&ran, 1, read, "another name");
    }
    for report in ["smoke.toml", "disk.img"] {
        let mut test = bench.bootdisk();
        if report == "disk.img" {
            test.arg("test").arg(at(report));
        } else {
            test.args(["test", "--spec"]).arg(at(report));
        }
        let option = if report == "disk.img" { "--junit" } else { "--timeline" };
        refused(&run(test.arg(option).arg(at(report))), 125, read, "another name");
    }
    assert_eq!(contents(&place), before);
}

/// The lock of a machine that writes is as good as the machine.
#[test]
fn a_disk_that_is_written_to_is_not_replaced() {
    let bench = Bench::new(Kernel::Cloud);
    let disk = bench.build(image("hello-c.oci"), "disk.img", &[]);
    let before = sha256(&disk);
    let build = || run(bench.bootdisk().args(["build", "-q", "-o"]).arg(&disk).arg(image("hello-c.oci")));
    let report = |command: &[&str]| run(bench.bootdisk().args(command).arg(&disk).arg(image("hello-c.oci")));
    let lock = File::open(&disk).unwrap();
    lock.lock().unwrap();
    for ran in [build(), report(&["inspect", "--html"])] {
        refused(&ran, 1, "disk is in use", "bootdisk stop");
    }
    assert_eq!(sha256(&disk), before);
    // Who reads the old one goes on reading it; an exchange of the kernel would be seen.
    lock.unlock().unwrap();
    lock.lock_shared().unwrap();
    let set = run(bench.bootdisk().args(["kernel", "set"]).arg(&disk).arg("default")).expect_status(1);
    assert!(set.stderr.contains("disk is in use"), "{set:?}");
    build().expect(0, "");
}

#[test]
fn a_name_that_promises_another_format_is_refused() {
    let bench = Bench::without_kernels();
    for (name, words, hint) in [
        ("-", "standard output", "./-"),
        ("disk.qcow", "QCOW", "qemu-img convert -O qcow"),
        ("disk.HDD", "Parallels", "-O parallels"),
        ("disk.ovf", "whole machine", "disk.img"),
        ("disk.img.lz4", "compressed", "lz4 -q disk.img disk.img.lz4"),
        ("disk.qcow2.gz", "compressed", "give -o disk.qcow2.img"),
        ("disk.tar.xz", "compressed", "give -o disk.tar.img"),
        ("disk.iso", "CD image", "disk.img"),
    ] {
        let mut build = bench.bootdisk();
        build.current_dir(bench.path("")).args(["build", "-o", name]).arg(image("hello-c.oci"));
        refused(&run(&mut build), 1, words, hint);
        assert!(!bench.path(name).exists(), "{name}");
    }
}

/// Reports and pages go into devices and pipes, through links, and into their own file whole.
#[test]
fn a_page_is_written_where_it_is_wanted_and_nothing_is_replaced_by_it() {
    let bench = Bench::without_kernels();
    let at = |name: &str| bench.path(name);
    let inspect = |html: &OsStr| {
        let mut command = bench.bootdisk();
        command.arg("inspect").arg(image("hello-c.oci")).arg("--html").arg(html);
        command
    };
    fs::write(at("page"), "old").unwrap();
    symlink("page", at("link")).unwrap();
    run(&mut inspect(at("link").as_os_str())).expect(0, "");
    assert!(fs::symlink_metadata(at("link")).unwrap().is_symlink());
    let page = fs::read_to_string(at("page")).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") || page.starts_with("<!doctype html>"), "{}", &page[..80]);

    for own in ["/dev/stdout", "-", "/dev/fd/1", "/proc/self/fd/1"] {
        assert_eq!(run(&mut inspect(OsStr::new(own))).expect_status(0).text(), page, "{own}");
    }
    // A file that is standard output is written to, and keeps what it has.
    let out = File::options().create_new(true).append(true).open(at("out")).unwrap();
    let ran = inspect(OsStr::new("/dev/stdout")).stdout(out).status().unwrap();
    assert_eq!((ran.code(), fs::read_to_string(at("out")).unwrap()), (Some(0), page.clone()));

    tools::stdout(Command::new("mkfifo").arg(at("fifo")));
    let reader = Running::start(Command::new("cat").arg(at("fifo")));
    run(&mut inspect(at("fifo").as_os_str())).expect(0, "");
    assert_eq!(reader.finish().text(), page);
    tools::stdout(Command::new("mknod").arg(at("null")).args(["c", "1", "3"]));
    run(&mut inspect(at("null").as_os_str())).expect(0, "");
    let is_device =
        |name: &str| std::os::unix::fs::FileTypeExt::is_char_device(&fs::metadata(at(name)).unwrap().file_type());
    assert!(is_device("null"), "the device is still one");
    let failed = run(&mut inspect(OsStr::new("/dev/full"))).expect_status(1);
    assert_eq!(failed.stderr, "error: cannot write /dev/full: no space left on device\n");
    let failed = run(&mut inspect(bench.path("").as_os_str())).expect_status(1);
    assert!(failed.stderr.contains("output is a directory"), "{failed:?}");
}

/// Commands that print data, and their status when it cannot be written.
#[test]
fn data_that_cannot_be_written_is_a_failure_and_words_that_cannot_are_none() {
    let bench = Bench::new(Kernel::Cloud);
    let image = image("hello-c.oci");
    let name = image.to_str().unwrap();
    let disk = bench.build(name, "disk.img", &[]);
    let disk = disk.to_str().unwrap();
    let cases: [(&[&str], i32); 15] = [
        (&["--help"], 1),
        (&["--version"], 1),
        (&["run", "--help"], 1),
        (&["completions", "bash"], 1),
        (&["kernel", "list"], 1),
        (&["kernel", "list", "--json"], 1),
        (&["kernel", "show"], 1),
        (&["kernel", "check"], 1),
        (&["kernel", "default"], 1),
        (&["ps"], 1),
        (&["ps", "--json"], 1),
        (&["inspect", name], 1),
        (&["inspect", name, "--json"], 1),
        (&["inspect", name, "--files", "mtree"], 1),
        (&["test", "--dry-run", disk], 125),
    ];
    for (words, status) in cases {
        let out = bench.bootdisk().args(words).stdout(full()).output().unwrap();
        let said = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(status), "{words:?}: {said}");
        assert_eq!(said, "error: cannot write to standard output: no space left on device\n", "{words:?}");
        let silent = bench.bootdisk().args(words).stdout(full()).stderr(full()).status().unwrap();
        assert_eq!(silent.code(), Some(status), "{words:?}");
    }
    // What is said on standard error is nobody's data.
    let whole = sha256(Path::new(disk));
    let build = |output: &str| {
        let mut build = bench.bootdisk();
        build.args(["build", name, "--progress", "plain", "-o"]).arg(bench.path(output));
        build
    };
    assert_eq!(build("quiet.img").stdout(full()).stderr(full()).status().unwrap().code(), Some(0));
    assert_eq!(sha256(&bench.path("quiet.img")), whole);
    // Closed descriptors: what is opened next must not get their numbers.
    for closed in ["<&- >&- 2>&-", ">&-", "2>&-"] {
        let command = build("closed.img");
        let mut shell = bench.at_home("sh");
        shell.args(["-c", &format!("exec \"$@\" {closed}"), "sh"]).arg(command.get_program()).args(command.get_args());
        assert_eq!(shell.output().unwrap().status.code(), Some(0), "{closed}");
        assert_eq!(sha256(&bench.path("closed.img")), whole, "{closed}");
    }
    let usage = bench.bootdisk().arg("no-such-command").stderr(full()).status().unwrap();
    assert_eq!(usage.code(), Some(2));
}

/// A file system of this many KiB, at `folder`, for one command in a mount namespace of its own.
fn on_a_small_file_system(bench: &Bench, folder: &Path, kib: u32, command: &Command, after: &str) -> Ran {
    let script = format!("mount -t tmpfs -o size={kib}k none \"$0\" && \"$@\"; status=$?; {after}; exit $status");
    let mut shell = bench.at_home("unshare");
    shell.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script]).arg(folder);
    run(shell.arg(command.get_program()).args(command.get_args()))
}

/// One boot each for run, its standard error, and test; one more for exec.
#[test]
#[ignore = "boots again for each output that can be lost"]
fn output_of_a_machine_that_is_lost_is_never_a_success() {
    let bench = Bench::new(Kernel::Cloud);
    let much = ["sh", "-c", "seq 100000; seq 100000 >&2; echo done"];
    let disk = bench.build(busybox::archive(&bench.path("")), "disk.img", &[]);
    let with = |stdout: Stdio, stderr: Stdio| {
        let mut command = bench.run_command(&disk, &[]);
        let mut child = command.arg("--").args(much).stdout(stdout).stderr(stderr).spawn().unwrap();
        let mut said = String::new();
        if let Some(mut stderr) = child.stderr.take() {
            std::io::Read::read_to_string(&mut stderr, &mut said).unwrap();
        }
        (child.wait().unwrap().code(), said)
    };
    let (status, said) = with(full().into(), Stdio::piped());
    assert_eq!(status, Some(125), "{said}");
    let lost = "error: the workload's output is incomplete: standard output: no space left on device\n";
    assert!(said.ends_with(lost) && said.contains("\n100000\n"), "{}", &said[said.len().saturating_sub(300)..]);
    assert_eq!(with(Stdio::null(), full().into()).0, Some(125));

    let logs = bench.path("logs");
    fs::create_dir(&logs).unwrap();
    let mut test = bench.bootdisk();
    test.args(["test", "--accel", "tcg", "--log-dir"]).arg(&logs).arg(&disk).arg("--").args(much);
    let ran = on_a_small_file_system(&bench, &logs, 64, &test, "true").expect_status(125);
    let text = ran.text();
    assert!(text.contains("1 passed") && text.contains("not kept: cannot write"), "{text}");
    assert!(text.contains("no space left on device"), "{text}");
}
