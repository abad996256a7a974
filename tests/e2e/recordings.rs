//! What a person sees who waits: recordings by script(1) of each command that takes time, and the same commands without a
//! terminal. What is waited for goes away again on a terminal, and is plain lines elsewhere.

use crate::support::debian_archive::DebianArchive;
use crate::support::registry::Registry;
use crate::{busybox, e2e, pty, tools};
use e2e::{Bench, Kernel, image, run};
use pty::CLEARED;
use regex::Regex;
use std::path::Path;
use std::process::{Command, Stdio};

/// A line without what differs from run to run: `N` for numbers, `SIZE` for sizes, `[]` for a bar, `*` for what turns.
fn golden(line: &str, home: &Path) -> String {
    let mut line = line.replace(&format!("{}/", home.to_str().unwrap().trim_end_matches('/')), "");
    for (pattern, word) in [
        (r"\x1b\[[0-9;]*[A-Za-z]", ""),
        (r"\b[0-9a-fA-F]{12,64}\b", "HEX"),
        (r"[0-9]+(\.[0-9]+)? ([KMG]iB|B)\b", "SIZE"),
        (r"\b[0-9]+[smh]\b", "LEFT"),
        (r"[0-9]+(\.[0-9]+)?", "N"),
        (r"\[[=> ]*\]", "[]"),
        (r"[\u{2800}-\u{28ff}]", "*"),
        (r" +", " "),
    ] {
        line = Regex::new(pattern).unwrap().replace_all(&line, word).into_owned();
    }
    line.trim().to_owned()
}

/// Each once, in the order in which they came.
fn distinct(lines: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen = Vec::new();
    lines.filter(|line| !line.is_empty()).for_each(|line| {
        if !seen.contains(&line) {
            seen.push(line);
        }
    });
    seen
}

/// What was on the terminal and went away, and what stayed there.
fn recorded(bench: &Bench, words: &[&str]) -> (Vec<String>, Vec<String>) {
    let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    let program = bench.bootdisk().get_program().to_str().unwrap().to_owned();
    let mut script = bench.at_home("script");
    script.args(["-qec", &format!("stty rows 24 cols 100; exec '{program}' {}", quoted.join(" ")), "/dev/null"]);
    let said = tools::stdout(script.stdin(Stdio::null()));
    let home = bench.path("");
    let (mut gone, mut stayed) = (Vec::new(), Vec::new());
    let parts: Vec<&str> = said.split(CLEARED).collect();
    for (number, part) in parts.iter().enumerate() {
        let mut lines: Vec<&str> = part.split("\r\n").collect();
        if number + 1 < parts.len() {
            gone.extend(lines.pop());
        }
        stayed.extend(lines);
    }
    let golden = |lines: Vec<&str>| distinct(lines.into_iter().map(|line| golden(line, &home)));
    (golden(gone), golden(stayed))
}

/// A command; what may be seen of it while it works; the line that stays; its lines without a terminal.
struct Row<'a> {
    words: &'a [&'a str],
    waits: &'a [&'a str],
    stays: &'a str,
    elsewhere: &'a [&'a str],
}

/// Of what may be seen something was, and nothing else. How much of it depends on how fast it went.
#[track_caller]
fn check(bench: &Bench, row: &Row<'_>) {
    let (gone, stayed) = recorded(bench, row.words);
    // Bars of several layers are drawn in any order, and what is read may be drawn beside what still arrives.
    let is_wait = |line: &str| row.waits.contains(&line);
    let are_two = |line: &str| line.match_indices(' ').any(|(at, _)| is_wait(&line[..at]) && is_wait(&line[at + 1..]));
    assert!(!gone.is_empty() && gone.iter().all(|line| is_wait(line) || are_two(line)), "{:?}: {gone:#?}", row.words);
    assert!(stayed.iter().any(|line| line == row.stays), "{:?}: {stayed:#?}", row.words);
    let mut command = bench.bootdisk();
    let said = run(command.args(row.words)).expect_status(0).stderr;
    let lines: Vec<String> = said.lines().map(|line| golden(line, &bench.path(""))).collect();
    assert_eq!(lines, row.elsewhere, "{:?}", row.words);
    // A machine without a word is in another test.
    if !["run", "test"].contains(&row.words[0]) {
        let mut quiet: Command = bench.bootdisk();
        assert_eq!(run(quiet.args(row.words).arg("-q")).expect_status(0).stderr, "", "{:?}", row.words);
    }
}

#[test]
fn a_command_that_is_waited_for_says_so_and_takes_it_away_again() {
    let bench = Bench::new(Kernel::Cloud);
    let path = |name: &str| bench.path(name).to_str().unwrap().to_owned();
    let (disk, qcow2, other) = (path("disk.img"), path("disk.qcow2"), path("other.img"));
    std::fs::copy(image("hello-c.docker.tar.gz"), path("hello.tar.gz")).unwrap();
    let (archive, package) = (path("hello.tar.gz"), Kernel::Cloud.package().to_str().unwrap().to_owned());
    let registry = Registry::open();
    busybox::image().write_oci(&bench.path("app.oci"));
    registry.push(&format!("oci:{}", path("app.oci")), "app:1", &[]);
    let name = format!("docker://{}", registry.name("app:1"));
    let debian = DebianArchive::new();
    debian.add("amd64", "linux-image-cloud-amd64", "", Some(&Kernel::Cloud.package()));
    debian.add("amd64", "systemd-boot-efi", "", None);
    debian.sign("Archive", "");
    let (archive_url, keyring) = (debian.url(), debian.path("archive.gpg").to_str().unwrap().to_owned());
    let fetch = ["kernel", "fetch", "debian-cloud", "--arch", "x86_64", "--suite", "tiny"];
    let disk_lines = [
        "[BKKKKKKKKKKKKUU.................................................]",
        "B SIZE boot stage for BIOS",
        "K SIZE kernel N.N-N-cloud-amdN (SIZE), initramfs (SIZE)",
        "U SIZE userland: N names, SIZE of files, extN",
    ];
    // Until the first layer comes there is a bar for all of them.
    let all = ["* N layer", "N layer [] SIZE/SIZE LEFT"];
    let file_system = [&all[..], &["layer N/N [] SIZE/SIZE LEFT", "* writing the file system's metadata"]].concat();
    let plain_file_system = ["reading N layer, SIZE", "layer N/N, SIZE", "writing the file system's metadata"];
    for row in [
        Row {
            words: &["build", &archive, "-o", &disk],
            waits: &[&["* reading hello.tar.gz, SIZE"], &file_system[..]].concat(),
            stays: "disk.img: SIZE, bootable",
            elsewhere: &[
                &["reading hello.tar.gz, SIZE"],
                &plain_file_system[..],
                &["disk.img: SIZE, bootable"],
                &disk_lines,
            ]
            .concat(),
        },
        Row {
            words: &["build", &name, "--pull", "always", "--no-cache", "-o", &other],
            waits: &[&["HEX [] SIZE/SIZE"], &file_system[..]].concat(),
            stays: "other.img: SIZE, bootable",
            elsewhere: &[
                &["N.N:N/app:N", "digest: shaN:HEX"],
                &plain_file_system[..],
                &["other.img: SIZE, bootable", "[BKKKKKKKKKKKKUUU................................................]"],
                &disk_lines[1..],
            ]
            .concat(),
        },
        Row {
            words: &["convert", "--verify", &disk, "-o", &qcow2],
            waits: &[
                "* writing the disk",
                "writing the disk [] SIZE/SIZE LEFT",
                "* reading the disk back",
                "reading the disk back [] SIZE/SIZE LEFT",
            ],
            stays: "disk.qcowN: a disk of SIZE, SIZE of file",
            elsewhere: &[
                "writing the disk, SIZE",
                "reading the disk back, SIZE",
                "disk.qcowN: a disk of SIZE, SIZE of file",
            ],
        },
        Row {
            words: &["kernel", "set", &qcow2, &package],
            waits: &["* writing kernel and boot files", "* writing the disk", "writing the disk [] SIZE/SIZE LEFT"],
            stays: "disk.qcowN: kernel N.N-N-cloud-amdN",
            elsewhere: &[
                "writing kernel and boot files",
                "writing the disk, SIZE",
                "disk.qcowN: kernel N.N-N-cloud-amdN",
            ],
        },
        Row {
            words: &["kernel", "add", &package],
            waits: &["* reading the kernel", "* N module, SIZE", "* N modules, SIZE"],
            stays: "HEX N.N-N-cloud-amdN (already there)",
            elsewhere: &["reading modules", "verified: MDN of the files; not verified: signatures"],
        },
        Row {
            words: &[&fetch[..], &["--mirror", &archive_url, "--keyring", &keyring]].concat(),
            waits: &[
                "* asking http://N.N:N tiny",
                "* fetching the list of packages, SIZE",
                "* fetching linux-image-cloud-amdN N, SIZE",
                "* fetching systemd-boot-efi N, SIZE",
                "* N module, SIZE",
                "* N modules, SIZE",
            ],
            stays: "HEX N.N-N-cloud-amdN (already there)",
            elsewhere: &[
                "asking http://N.N:N tiny",
                "fetching the list of packages, SIZE",
                "fetching linux-image-cloud-amdN N, SIZE",
                "reading modules",
                "verified: the archive is signed by Archive <a@example.org>, key HEX",
            ],
        },
        Row {
            words: &["inspect", &archive],
            waits: &["* reading hello.tar.gz", "* reading hello.tar.gz, SIZE"],
            stays: "userland",
            elsewhere: &["reading hello.tar.gz, SIZE"],
        },
        Row {
            words: &["run", "--accel", "tcg", &disk],
            waits: &["* booting (TCG: every instruction is emulated)"],
            stays: "Hello from OS-less container (C, Linux N.N-N-cloud-amdN on xN_N)",
            elsewhere: &[],
        },
        Row {
            words: &["test", "--accel", "tcg", &disk],
            waits: &["* N of N booting"],
            stays: "passed disk (N s)",
            elsewhere: &["N of N booting: disk", "passed disk (N s)"],
        },
    ] {
        check(&bench, &row);
    }

    let app = bench.build(format!("oci:{}", path("app.oci")), "app.img", &[]);
    let script = "trap 'sleep 1; exit 3' TERM; while :; do sleep 0.1; done";
    for number in ["one", "two"] {
        let mut machine = bench.run_command(&app, &["-d", "--name", number]);
        run(machine.args(["sh", "-c", script])).expect(0, &format!("{number}\n"));
    }
    let (gone, stayed) = recorded(&bench, &["stop", "one"]);
    assert_eq!((gone, stayed), (vec!["* waiting for one to stop".to_owned()], vec![]));
    assert_eq!(run(bench.bootdisk().args(["stop", "two"])).expect(0, "").stderr, "");
}
