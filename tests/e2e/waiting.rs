//! What is said while somebody waits: a line that goes away on a terminal, plain lines elsewhere, nothing with `-q`, and
//! never a word of it on standard output.

use crate::{busybox, e2e, e2e_disk, pty, schema};
use e2e::{Bench, Kernel, PATIENCE, image, run, run_with_input};
use pty::{CLEARED, OnTerminal};
use regex::Regex;
use serde_json::Value;
use std::fs;

/// Lines with `N` for every number: sizes, times and ports are no part of the wording.
fn golden(text: &str) -> Vec<String> {
    let number = Regex::new(r"[0-9]+(\.[0-9]+)?").unwrap();
    text.lines().map(|line| number.replace_all(line, "N").into_owned()).collect()
}

#[test]
fn elsewhere_than_on_a_terminal_waiting_is_plain_lines_and_quiet_is_silent() {
    let bench = Bench::new(Kernel::Cloud);
    let archive = fs::read(image("hello-c.docker.tar")).unwrap();
    let disk = bench.path("disk.img");
    let with = |words: &[&str]| {
        let mut command = bench.bootdisk();
        command.args(words).arg("-o").arg(&disk);
        run_with_input(&mut command, archive.clone()).expect(0, "").stderr
    };
    let said = golden(&with(&["build", "-"]));
    let lines = [
        "reading standard input, N KiB",
        "reading N layer, N KiB",
        "layer N/N, N KiB",
        "writing the file system's metadata",
    ];
    assert_eq!(said[..4], lines, "{said:?}");
    assert_eq!(with(&["build", "-q", "-"]), "");

    // Both streams of a run are the workload's, unless lines are asked for.
    let hello = "Hello from OS-less container (C, Linux ";
    for (options, lines) in [
        (&[][..], &[][..]),
        (&["--progress", "plain"], &["booting (TCG: every instruction is emulated)"]),
        (&["--progress", "plain", "-q"], &[]),
    ] {
        let ran = bench.run(&disk, options).expect_status(0);
        assert!(ran.text().starts_with(hello), "{options:?}: {}", ran.text());
        assert_eq!(golden(&ran.stderr), lines, "{options:?}");
    }
    let test = |options: &[&str]| {
        let mut command = bench.bootdisk();
        let ran = run(command.args(["test", "--accel", "tcg"]).args(options).arg(&disk)).expect_status(0);
        assert!(!ran.text().contains("booting"), "{}", ran.text());
        golden(&ran.stderr)
    };
    assert_eq!(test(&[]), ["N of N booting: disk", "passed disk (N s)"]);
    assert_eq!(test(&["-q"]), [""; 0]);
}

#[test]
fn on_a_terminal_the_line_goes_away_and_the_ports_and_the_way_out_are_told() {
    let bench = Bench::new(Kernel::Cloud);
    let archive = busybox::archive(bench.path("image").parent().unwrap());
    let disk = bench.path("disk.img");
    let mut shell = bench.at_home("sh");
    let program = bench.bootdisk();
    let script = r#"{ head -c 100000 "$1"; read -r line < /dev/tty; tail -c +100001 "$1"; } | "$2" build - -o "$3""#;
    shell.arg("-c").arg(script).arg("sh").arg(&archive);
    shell.arg(program.get_program()).arg(&disk);
    let mut build = OnTerminal::start(&mut shell, 24, 100);
    build.wait_for("reading standard input, ", PATIENCE);
    build.type_in("\n");
    build.wait_for(CLEARED, PATIENCE);
    build.wait_for("bootable", PATIENCE);
    assert_eq!(build.finish(PATIENCE), Some(0));

    let script = "trap 'exit 7' TERM; echo there; while :; do sleep 0.1; done";
    let mut command = bench.run_command(&disk, &["-it", "-p", "80"]);
    let mut run = OnTerminal::start(command.args(["sh", "-c", script]), 24, 100);
    run.wait_for("booting (TCG: every instruction is emulated)", PATIENCE);
    run.wait_for(CLEARED, PATIENCE);
    run.wait_for("note: port 80 is http://127.0.0.1:", PATIENCE);
    run.wait_for("note: Ctrl-] three times within a second ends the machine", PATIENCE);
    run.wait_for("there", PATIENCE);
    run.type_in("\u{1d}\u{1d}\u{1d}");
    assert_eq!(run.finish(PATIENCE), Some(7));
    assert!(run.is_restored());
}

#[test]
fn a_report_of_a_fault_has_what_is_needed_and_no_value_of_a_variable() {
    let bench = Bench::new(Kernel::Cloud);
    let disk = bench.build(busybox::archive(bench.path("image").parent().unwrap()), "disk.img", &[]);
    let report = bench.path("report.txt");
    let options = ["--debug", report.to_str().unwrap(), "--env", "TOKEN=a-secret-of-mine"];
    bench.run_other(&disk, &options, &["sh", "-c", "echo $TOKEN > /dev/kmsg; exit 3"]).expect(3, "");
    let text = fs::read_to_string(&report).unwrap();
    for words in [
        "bootdisk ",
        "QEMU ",
        "-machine q35",
        "TOKEN=…",
        "Hello(",
        "== the firmware's log\nSeaBIOS",
        "== the console\n",
        "== the end\nexit status 3",
    ] {
        assert!(text.contains(words), "no {words:?} in:\n{text}");
    }
    assert!(!text.contains("a-secret-of-mine"), "{text}");
    // What fails before there is a machine is told too.
    let missing = bench.path("missing.img");
    bench.run(&missing, &["--debug", report.to_str().unwrap()]).expect(125, "");
    let text = fs::read_to_string(&report).unwrap();
    assert!(text.contains("== the end\nerror: ") && text.contains("missing.img"), "{text}");
}

#[test]
fn a_build_is_one_document_that_other_programs_agree_with() {
    let bench = Bench::new(Kernel::Cloud);
    let disk = bench.path("disk.img");
    let image = busybox::archive(bench.path("image").parent().unwrap());
    let ran = run(bench.bootdisk().args(["build", "--json", "-q", "--user", "nobody"]).arg(image).arg("-o").arg(&disk));
    let document: Value = serde_json::from_str(&ran.expect_status(0).text()).unwrap();
    let published: Value = serde_json::from_str(include_str!("../../docs/build.schema.json")).unwrap();
    assert_eq!(schema::complaint(&published, &published, &document, ""), None, "{document:#}");
    assert_eq!(document["size"], fs::metadata(&disk).unwrap().len());
    assert_eq!(document["output"], disk.to_str().unwrap());
    for (number, role) in [(1, "bios-boot"), (e2e_disk::ESP, "esp"), (e2e_disk::ROOT, "root")] {
        let told = &document["partitions"][number as usize - 1];
        let slice = e2e_disk::partition(&disk, number);
        assert_eq!((&told["offset"], &told["bytes"]), (&slice.start.into(), &slice.length.into()), "{document:#}");
        assert_eq!(told["role"], role);
        let guid = e2e_disk::guid(&disk, number, "Partition unique GUID");
        assert_eq!(told["guid"].as_str().unwrap(), guid.to_lowercase());
    }
    assert_eq!(document["userland"]["uuid"].as_str().unwrap(), e2e_disk::root_uuid(&disk));
    assert!(document["image"]["digest"].as_str().unwrap().starts_with("sha256:"), "{document:#}");
    let warnings = document["warnings"].to_string();
    assert!(warnings.contains("no such user in the image's /etc/passwd: nobody"), "{warnings}");
}
