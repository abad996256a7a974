//! The command line as a user meets it: help, wrong usage, sentences and hints, what goes where. Nothing boots here.

use crate::e2e;
use crate::images::ImageBuilder;
use e2e::{Bench, Kernel, Ran, image, run, run_with_input, sha256, tagged};
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

fn said(bench: &Bench, arguments: &[&str]) -> Ran {
    run(bench.bootdisk().args(arguments))
}

/// `error:` in one line, `hint:` in another, and nothing else.
#[track_caller]
fn failed(ran: Ran, status: i32, error: &str, hint: &str) {
    let ran = ran.expect(status, "");
    let lines: Vec<&str> = ran.stderr.lines().collect();
    let [first, second] = lines[..] else { panic!("not an error and a hint:\n{}", ran.stderr) };
    assert!(first.starts_with("error: ") && first.contains(error), "no {error:?} in: {first}");
    assert!(second.starts_with("hint: ") && second.contains(hint), "no {hint:?} in: {second}");
}

#[test]
fn every_help_is_readable() {
    let bench = Bench::without_kernels();
    for words in [
        &["--help"][..],
        &["build", "--help"],
        &["run", "--help"],
        &["test", "--help"],
        &["kernel", "--help"],
        &["volume", "--help"],
        &["build", "-h"],
    ] {
        let help = said(&bench, words).expect_status(0);
        assert_eq!(help.stderr, "");
        for line in help.text().lines() {
            assert!(line.chars().count() <= 100, "{words:?}: {line}");
        }
        assert!(help.text().contains("Examples:\n") || words[0] == "kernel", "{words:?}");
    }
    for command in ["add", "list", "show", "check", "remove", "default"] {
        said(&bench, &["kernel", command, "--help"]).expect_status(0);
    }
}

#[test]
fn wrong_usage_has_status_2_or_that_of_what_is_no_workloads() {
    let bench = Bench::without_kernels();
    for (words, about) in [
        (&["--nope"][..], "--nope"),
        (&["build", "x"], "--output"),
        (&["build", "x", "-o"], "--output"),
        (&["build", "x", "-o", "y", "--size", "big"], "not a size"),
        (&["run", "x", "--net", "static:10.0.2.20"], "not ADDRESS/PREFIX"),
        (&["build", "x", "-o", "y", "--modules", "z"], "--kernel"),
        (&["run"], "TARGET"),
        (&["run", "x", "-p", "80:"], "no port of the guest is named: 80:"),
        (&["run", "x", "-p", "localhost:80:80"], "not an IP address: localhost"),
        (&["run", "x", "-v", "/a:b"], "invalid mount path: b: mount path must be absolute"),
        (&["run", "x", "--volumes-from", "y"], "no option --volumes-from: a volume is an ext4 file system"),
        (&["build", "x", "--tag", "y"], "no option --tag: another program builds from a Dockerfile"),
        (&["pull", "x"], "no command pull: an image is pulled when it is used"),
        (&["run", "x", "--net", "host"], "no network host: "),
        (&["run", "x", "--ulimit", "nofile=2:1"], "the soft limit is above the hard one"),
        (&["run", "x", "-p", "99999:80"], "99999"),
        (&["run", "x", "--timeout", "soon"], "not a time"),
        (&["run", "x", "-m", "much"], "size of memory"),
        (&["run", "x", "-m", "1m"], "between 32m"),
        (&["run", "x", "--cpus", "0"], "--cpus"),
        (&["exec", "web"], "COMMAND"),
        (&["test", "x", "--http", "/missing=404"], "http-status 404:/missing"),
        (&["test", "x", "--exec", "sh -c 'exit 3'=3"], "exec-status 3:sh -c 'exit 3'"),
        (&["kernel", "remove"], "KERNEL"),
    ] {
        let of_machine = ["run", "exec", "test"].contains(&words[0]);
        let ran = said(&bench, words).expect(if of_machine { 125 } else { 2 }, "");
        assert!(ran.stderr.starts_with("error: ") && ran.stderr.contains(about), "{words:?}: {}", ran.stderr);
    }
}

#[test]
fn what_cannot_be_run_is_told_with_a_remedy() {
    let bench = Bench::new(Kernel::Cloud);
    let junk = bench.path("junk");
    fs::write(&junk, b"neither\n".repeat(1000)).unwrap();
    let run_it = |what: &Path, options: &[&str]| bench.run(what, options);
    failed(run_it(&junk, &[]), 125, "junk: an image or a disk is needed, but this is text", "docker save");
    let hello = image("hello-c.oci");
    failed(run_it(&hello, &["--write"]), 125, "--write needs a disk", "bootdisk build");
    failed(run_it(Path::new("-"), &["-i"]), 125, "standard input cannot be", "omit -i");
    failed(run_it(&hello, &["--kernel", "no-such"]), 125, "no such kernel in the store: no-such", "kernel list");
    failed(run_it(&hello, &["--kernel", "/no/such"]), 125, "no such kernel: /no/such", "kernel list");
    let bare = Bench::without_kernels();
    failed(bare.run(&hello, &[]), 125, "no default kernel for x86_64", "bootdisk kernel add");

    let disk = bench.build(&hello, "hello.img", &[]);
    failed(run_it(&disk, &["--esp-size", "64M"]), 125, "--esp-size is for building a disk", "omit --esp-size");
    failed(run_it(&disk, &["--size", "1M"]), 125, "cannot be made smaller than it is", "omit --size");
    failed(run_it(&disk, &["--init", "image"]), 125, "--init is for building a disk", "omit --init");
    failed(run_it(&disk, &["-t", "-i"]), 125, "standard input is not a terminal", "omit -t");

    // The ESP's own file system, and then both partition tables.
    let file = OpenOptions::new().write(true).open(&disk).unwrap();
    file.write_all_at(&[0xff; 512], 2 << 20).unwrap();
    failed(run_it(&disk, &["--firmware", "direct"]), 125, "EFI System Partition", "build it again");
    file.write_all_at(&[0xff; 128], 1024).unwrap();
    let end = file.metadata().unwrap().len();
    file.write_all_at(&[0xff; 128], end - 33 * 512).unwrap();
    failed(run_it(&disk, &[]), 125, "partition table", "build it again");
}

#[test]
fn what_comes_through_a_pipe_is_read_once() {
    let bench = Bench::new(Kernel::Cloud);
    let archive = fs::read(image("hello-c.docker.tar")).unwrap();
    let with_input = |arguments: &[&str]| run_with_input(bench.bootdisk().args(arguments), archive.clone());
    let matrix = format!("kernel={},default", Kernel::Cloud.release());
    let ran = with_input(&["test", "-", "--dry-run", "--matrix", &matrix]).expect_status(0);
    assert_eq!(ran.text().matches("# image kernel=").count(), 2, "{}", ran.text());
    let ran = with_input(&["inspect", "-", "--diff", "-"]).expect_status(0);
    assert!(ran.text().contains("userland: identical"), "{}", ran.text());

    let disk = bench.path("disk.img");
    let out = disk.to_str().unwrap();
    let ran = run_with_input(bench.bootdisk().args(["build", "-", "-o", out, "--env-file", "-"]), b"A=1".to_vec());
    failed(ran, 1, "a stream, and was already read as the ", "save it to a file first");
    let ran = with_input(&["run", "-i", image("hello-c.oci").to_str().unwrap(), "--env-file", "/dev/stdin"]);
    let told = ran.expect(125, "").stderr;
    assert!(told.contains("NUL byte") || told.contains("UTF-8") || told.contains("already"), "{told}");
    let ran = with_input(&["build", image("hello-c.oci").to_str().unwrap(), "-o", out, "--kernel", "-"]);
    failed(ran, 1, "a kernel is needed, but this is standard input: -", "save it to a file first");
    failed(with_input(&["kernel", "add", "-"]), 1, "but this is standard input: -", "save it to a file first");
    assert!(!disk.exists());
}

#[test]
fn without_a_default_kernel_it_is_said_where_one_comes_from() {
    let bench = Bench::without_kernels();
    for words in [&["kernel", "default"][..], &["kernel", "show"], &["kernel", "show", "default"]] {
        failed(said(&bench, words), 1, "no default kernel", "bootdisk kernel fetch gets Debian's; or");
    }
    let build = |image: &Path, platform: &str| {
        let out = bench.path("disk.img");
        run(bench.bootdisk().arg("build").arg(image).arg("-o").arg(out).args(["--platform", platform, "-q"]))
    };
    failed(build(&image("hello-c.oci"), "linux/amd64"), 1, "no default kernel for x86_64", "bootdisk kernel add");
    failed(
        build(&image("debian-arm64.oci"), "linux/arm64"),
        1,
        "no default kernel for aarch64",
        "bootdisk kernel fetch --arch aarch64",
    );
    // Nobody is sent for a kernel that no disk can be made with.
    let archive = bench.path("riscv64.tar");
    fs::write(&archive, ImageBuilder::new().platform("linux/riscv64").docker_legacy()).unwrap();
    let ran = build(&archive, "linux/riscv64").expect(1, "");
    assert_eq!(ran.stderr, "error: cannot make a disk for riscv64\n");
}

#[test]
fn a_size_that_is_too_small_names_one_that_does() {
    let bench = Bench::new(Kernel::Cloud);
    let disk = bench.path("hello.img");
    let build = |options: &[&str]| {
        run(bench.bootdisk().args(["build", "-q"]).arg(image("hello-c.oci")).arg("-o").arg(&disk).args(options))
    };
    for (option, small) in [("--size", "64M"), ("--size", "64K"), ("--esp-size", "1M"), ("--esp-size", "34M")] {
        let ran = build(&[option, small]);
        if ran.status == Some(0) {
            // Cloud kernel and initramfs do fit 34 MiB.
            assert_eq!((option, small), ("--esp-size", "34M"));
            continue;
        }
        let ran = ran.expect(1, "");
        let hint = ran.stderr.lines().find_map(|line| line.strip_prefix("hint: ")).unwrap_or_default();
        let size = hint.split([' ', ',']).find(|word| word.ends_with('M')).unwrap_or_else(|| panic!("{}", ran.stderr));
        let again = build(&[option, size]).expect(0, "");
        assert_eq!(again.stderr, "", "{option} {small}: {hint}");
        fs::remove_file(&disk).unwrap();
    }
}

#[test]
fn progress_is_lines_where_there_is_no_terminal() {
    let bench = Bench::new(Kernel::Cloud);
    let build = |options: &[&str]| {
        let disk = bench.path("hello.img");
        run(bench.bootdisk().arg("build").arg(image("hello-c.oci")).arg("-o").arg(disk).args(options)).expect(0, "")
    };
    for how in ["auto", "plain"] {
        let text = build(&["--progress", how]).stderr;
        assert!(text.starts_with("reading 1 layer, ") && text.contains("bootable\n"), "{text}");
        assert!(!text.contains(['\r', '\x1b']), "{text:?}");
    }
    let text = build(&["--progress", "none"]).stderr;
    assert!(!text.contains("reading") && text.contains("bootable\n"), "{text}");
    assert_eq!(build(&["--quiet"]).stderr, "");
}

#[test]
fn a_reader_that_goes_away_is_no_failure_to_talk_about() {
    let bench = Bench::new(Kernel::Cloud);
    for words in [&["kernel", "list"][..], &["kernel", "show"], &["completions", "bash"], &["--help"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = bench.bootdisk().args(words).stdout(writer).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{words:?}");
        assert!(matches!(output.status.code(), Some(0 | 141)), "{words:?}: {}", output.status);
    }
    // A full disk is one.
    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = bench.bootdisk().args(["kernel", "list"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_shell_completes_commands_options_kernels_and_images() {
    let bench = Bench::new(Kernel::Cloud);
    let release = Kernel::Cloud.release();
    for words in [
        &["kernel", "show", "6"][..],
        &["kernel", "remove", "6"],
        &["kernel", "default", "6"],
        &["kernel", "set", "x.img", "6"],
        &["build", "x", "--kernel", "6"],
        &["run", "--kernel", "6"],
    ] {
        assert_eq!(bench.completed(words), [&*release], "{words:?}");
    }
    for (words, one) in [
        (&["ins"][..], "inspect"),
        (&["run", "--read"], "--read-only"),
        (&["run", "docker-d"], "docker-daemon:"),
        (&["build", "roo"], "rootfs:"),
        (&["inspect", "oci-"], "oci-archive:"),
        (&["run", "x", "--firmware", "ue"], "uefi"),
    ] {
        assert_eq!(bench.completed(words), [one], "{words:?}");
    }
    assert_eq!(Bench::without_kernels().completed(&["kernel", "remove", "6"]), [""], "a store that is not there");
    for shell in ["zsh", "fish"] {
        let script = said(&bench, &["completions", shell]).expect_status(0).text();
        assert!(script.contains("BOOTDISK_COMPLETE"), "{script}");
    }
}

#[test]
fn a_man_page_of_every_command_is_written_for_packages() {
    let bench = Bench::without_kernels();
    let folder = bench.path("man");
    said(&bench, &["man", folder.to_str().unwrap()]).expect(0, "");
    for (page, text) in
        [("bootdisk.1", "SYNOPSIS"), ("bootdisk-run.1", "\\-\\-publish"), ("bootdisk-kernel-set.1", "\\-\\-keep")]
    {
        let written = fs::read_to_string(folder.join(page)).unwrap();
        assert!(written.contains(text) && written.contains(".TH"), "{page}: {written}");
    }
}

#[test]
fn a_command_that_will_not_start_is_warned_about() {
    let bench = Bench::new(Kernel::Cloud);
    for (tag, warning) in [
        ("exit7", None),
        ("missing", Some("warning: the command is not in the image: ")),
        ("not-executable", Some("warning: the command is not executable: ")),
        ("no-command", Some("warning: the image names no command to start")),
    ] {
        let disk = bench.path("probe.img");
        let mut command = bench.bootdisk();
        command.arg("build").arg(tagged("probe.oci", tag)).arg("-o").arg(disk).args(["--progress", "none"]);
        let text = run(&mut command).expect(0, "").stderr;
        let found = text.lines().find(|line| line.starts_with("warning: "));
        assert_eq!(found.is_some(), warning.is_some(), "{tag}: {text}");
        assert!(found.is_none_or(|line| line.starts_with(warning.unwrap())), "{tag}: {text}");
    }
}

#[test]
fn how_an_image_is_packed_leaves_no_trace() {
    let bench = Bench::new(Kernel::Cloud);
    let first = sha256(&bench.build(image("hello-c.oci"), "layout.img", &[]));
    for packed in ["hello-c.oci.tar", "hello-c.docker.tar", "hello-c.docker.tar.zst"] {
        assert_eq!(sha256(&bench.build(image(packed), "other.img", &[])), first, "{packed}");
    }
}
