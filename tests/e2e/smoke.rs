//! `bootdisk test`: every kind of expectation, held and not held; every way a machine fails; what is left behind.

use crate::{e2e, images, schema, tools};
use e2e::{Bench, Kernel, Ran, Running, image, run, tagged};
use images::{ImageBuilder, TarBuilder};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// `bootdisk test --accel tcg --json ARGUMENTS`, to be started.
fn test_command(bench: &Bench, arguments: &[&str]) -> Command {
    let mut command = bench.bootdisk();
    command.args(["test", "--accel", "tcg", "--json"]);
    if !arguments.contains(&"--timeout") {
        command.args(["--timeout", "200s"]);
    }
    command.args(arguments);
    command
}

/// Makes the tests; the exit status and the document.
#[track_caller]
fn tested(bench: &Bench, arguments: &[&str]) -> (i32, Value) {
    read(run(&mut test_command(bench, arguments)))
}

#[track_caller]
fn read(ran: Ran) -> (i32, Value) {
    let document = serde_json::from_slice(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    let status = ran.status.unwrap_or_else(|| panic!("{ran:?}"));
    check_schema(&document);
    assert_eq!(document["status"], status, "{document:#}");
    (status, document)
}

/// The document against the schema that is published.
#[track_caller]
pub(crate) fn check_schema(document: &Value) {
    let schema: Value = serde_json::from_str(include_str!("../../docs/smoke.schema.json")).unwrap();
    assert_eq!(schema::complaint(&schema, &schema, document, ""), None, "{document:#}");
}

/// The report of a test by its name.
#[track_caller]
fn report<'a>(document: &'a Value, name: &str) -> &'a Value {
    let reports = document["tests"].as_array().unwrap();
    reports.iter().find(|report| report["name"] == name).unwrap_or_else(|| panic!("no {name}: {document:#}"))
}

/// The verdict, and that each of these texts is in one of the reasons.
#[track_caller]
fn expect(document: &Value, name: &str, verdict: &str, reasons: &[&str]) {
    let report = report(document, name);
    assert_eq!(report["verdict"], verdict, "{report:#}");
    let given: Vec<&str> = report["reasons"].as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect();
    for reason in reasons {
        assert!(given.iter().any(|one| one.contains(reason)), "no {reason:?} in {report:#}");
    }
}

#[test]
fn the_schema_check_sees_what_does_not_conform() {
    let schema = json!({"type": "object", "required": ["a"], "additionalProperties": false,
        "properties": {"a": {"type": ["string", "null"]}, "b": {"type": "array", "items": {"enum": ["x"]}}}});
    let complaint = |value: &Value| schema::complaint(&schema, &schema, value, "");
    assert_eq!(complaint(&json!({"a": null, "b": ["x"]})), None);
    for bad in [json!({}), json!({"a": 1}), json!({"a": "", "c": 1}), json!({"a": "", "b": ["y"]}), json!([])] {
        assert!(complaint(&bad).is_some(), "{bad}");
    }
}

/// Eight boots of images that end by themselves, from one spec file.
#[test]
fn what_ends_by_itself_is_judged_by_its_end() {
    let bench = Bench::new(Kernel::Cloud);
    let spec =
        |name: &str, image: String, rest: &str| format!("[[test]]\nname = {name:?}\nimage = {image:?}\n{rest}\n\n");
    let hello = || image("hello-c.oci").display().to_string();
    let all: String = [
        spec(
            "held",
            hello(),
            "expect = ['Hello from OS-less']\nexpect-regex = ['^Hello .* x86_64\\)$']\nreject = ['nowhere']\nexit-code = 0",
        ),
        spec("assumed", hello(), ""),
        spec("absent", hello(), "expect = ['is not there']\nexpect-regex = ['^never$']"),
        spec("status", tagged("probe.oci", "exit7"), "exit-code = 3"),
        spec("rejected", hello(), "reject-regex = ['OS-less +container']\nexit-code = 0"),
        spec("missing", tagged("probe.oci", "missing"), ""),
        spec("signal", tagged("probe.oci", "sigsegv"), "exit-code = 139"),
        spec("command", tagged("probe.oci", "probe"), "command = ['/probe', 'exit', '9']\nexit-code = 9"),
    ]
    .concat();
    let file = bench.path("smoke.toml");
    fs::write(&file, all).unwrap();
    let (status, document) = tested(&bench, &["--spec", file.to_str().unwrap()]);
    assert_eq!(status, 1, "{document:#}");

    expect(&document, "held", "passed", &[]);
    let held = &report(&document, "held");
    assert_eq!(held["expectations"].as_array().unwrap().len(), 4);
    assert!(held["expectations"].as_array().unwrap().iter().all(|one| one["held"] == true), "{held:#}");
    let at = |name: &str| held["phases"][name].as_f64().unwrap_or_else(|| panic!("no {name}: {held:#}"));
    assert!(
        at("loader") < at("kernel")
            && at("kernel") < at("pid1")
            && at("pid1") <= at("workload")
            && at("workload") <= at("ready"),
        "{held:#}"
    );

    expect(&document, "assumed", "passed", &[]);
    assert!(report(&document, "assumed")["assumed"].as_str().unwrap().contains("no HEALTHCHECK"));
    expect(
        &document,
        "absent",
        "failed",
        &[
            "expect \"is not there\": not found; the workload ended: it ended with status 0",
            "expect-regex /^never$/: not found",
        ],
    );
    let last = report(&document, "absent")["last_lines"].to_string();
    assert!(last.contains("Hello from OS-less container"), "{last}");
    expect(&document, "status", "failed", &["exit-code 3: it ended with status 7"]);
    expect(&document, "rejected", "rejected", &["found: Hello from OS-less container"]);
    expect(&document, "missing", "not-started", &["status 127", "/no/such/program"]);
    expect(&document, "signal", "passed", &[]);
    expect(&document, "command", "passed", &[]);
    assert_eq!(document["counts"], json!({"passed": 4, "failed": 4, "error": 0, "skipped": 0, "flaky": 0}));
}

/// A server that waits, with its health check: an image made here around the tests' probe.
fn waiting(bench: &Bench, name: &str, check: &[&str]) -> PathBuf {
    let probe = bench.path("probe");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/images/probe.c");
    tools::stdout(Command::new("gcc").args(["-O2", "-static", "-s", "-o"]).arg(&probe).arg(source));
    let tar = TarBuilder::new().file("probe", 0o755, &fs::read(&probe).unwrap()).build();
    let image = ImageBuilder::new().layer(tar).cmd(&["/probe", "sleep", "1000"]);
    let image = image.set("Healthcheck", json!({"Test": check, "Interval": 1_000_000_000, "Retries": 2}));
    let dir = bench.path(name);
    image.write_oci(&dir);
    dir
}

#[test]
fn health_is_asked_as_the_image_says() {
    let bench = Bench::new(Kernel::Cloud);
    let well = waiting(&bench, "well.oci", &["CMD", "/probe", "exit", "0"]);
    let (status, document) = tested(&bench, &[well.to_str().unwrap()]);
    assert_eq!(status, 0, "{document:#}");
    assert_eq!(report(&document, "well")["expectations"][0]["expectation"], "healthy");

    let ill = waiting(&bench, "ill.oci", &["CMD", "/probe", "exit", "5"]);
    let (status, document) = tested(&bench, &[ill.to_str().unwrap(), "--exec-status", "5:/probe exit 5"]);
    assert_eq!(status, 0, "an expectation that is given is all there is: {document:#}");
    let (status, document) = tested(&bench, &[ill.to_str().unwrap(), "--healthy", "--exec-status", "5:/probe exit 5"]);
    assert_eq!(status, 1);
    expect(&document, "ill", "failed", &["healthy: 2 checks in a row failed, the last: it ended with status 5"]);
}

#[test]
fn nginx_answers_under_both_firmwares_and_on_two_buses() {
    let bench = Bench::new(Kernel::Cloud);
    let disk = bench.build(image("nginx.oci"), "nginx.img", &[]);
    let before = e2e::sha256(&disk);
    let junit = bench.path("report.xml");
    let arguments = ["--http", "/", "--http-status", "404:80/missing", "--tcp", "80", "--exec", "nginx -t"];
    let matrix = ["--matrix", "firmware=bios,uefi", "bus=virtio,nvme,ahci"];
    let mut command = test_command(&bench, &arguments);
    let timeline = bench.path("boots.svg");
    command.arg(&disk).args(matrix).arg("--junit").arg(&junit).arg("--timeline").arg(&timeline);
    let (status, document) = read(run(&mut command));
    assert_eq!(status, 0, "{document:#}");
    assert_eq!(
        document["counts"],
        json!({"passed": 4, "failed": 0, "error": 0, "skipped": 2, "flaky": 0}),
        "{document:#}"
    );
    for report in document["tests"].as_array().unwrap() {
        let skipped = report["combination"].as_str().unwrap().ends_with("bus=ahci");
        assert_eq!(report["verdict"] == "skipped", skipped, "{report:#}");
        assert!(!skipped || report["reasons"][0].as_str().unwrap().starts_with("no driver"), "{report:#}");
    }
    check_junit(&junit, &["tests=\"6\"", "failures=\"0\"", "skipped=\"2\"", "name=\"firmware=uefi bus=nvme\""]);
    check_timeline(&timeline, &document);
    assert_eq!(e2e::sha256(&disk), before, "a tested disk is never written to");

    let refused = ["--http", "/missing", "--tcp", "81", "--exec", "nginx -T -c /nowhere", "--timeout", "50s"];
    let mut command = test_command(&bench, &refused);
    let (status, document) = read(run(command.arg(&disk).arg("--junit").arg(&junit)));
    assert_eq!(status, 124, "{document:#}");
    let reasons = ["http /missing: status 404", "tcp 81: the connection was refused", "it ended with status 1"];
    expect(&document, "nginx", "timeout", &reasons);
    check_junit(&junit, &["failures=\"1\"", "type=\"timeout\""]);
}

/// A workload that listens in every way there is, says a line in two pieces, and fails when it is asked to.
const SERVER: &str = r#"
#include <arpa/inet.h>
#include <linux/filter.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A filter that drops every packet: the kernel answers nobody. It is there before the first who could ask. */
static struct sock_filter drop = { BPF_RET | BPF_K, 0, 0, 0 };
static const struct sock_fprog silent = { 1, &drop };

static int listener(int port, const struct sock_fprog *filter) {
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port) };
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (filter && setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, filter, sizeof *filter))
        exit(7);
    if (bind(fd, (void *)&at, sizeof at) || listen(fd, 8))
        exit(9);
    return fd;
}

/* Answers until the end of days: a close, a reset, or a page that is not there. */
static void serve(int fd, char how) {
    for (;;) {
        char request[4096];
        struct linger reset = { 1, 0 };
        int client = accept(fd, NULL, NULL);
        if (how == 'r')
            setsockopt(client, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        if (how == 'h') {
            static const char page[] = "HTTP/1.0 404 no\r\nContent-Length: 0\r\n\r\n";
            if (read(client, request, sizeof request) < 0 || write(client, page, sizeof page - 1) < 0)
                exit(8);
        }
        close(client);
    }
}

int main(int argc, char **argv) {
    if (argc > 1 && !strcmp(argv[1], "sleep"))
        pause();
    if (argc > 1)
        return 3;
    listener(7004, NULL);
    listener(7005, &silent);
    for (int i = 0; i < 3; i++) {
        int fd = listener(7001 + i, NULL);
        if (!fork())
            serve(fd, "crh"[i]);
    }
    write(1, "ready", 5);
    sleep(1);
    write(1, "-not-yet\n", 9);
    pause();
}
"#;

/// The image of [`SERVER`], which exposes two ports that nobody listens on.
fn server(bench: &Bench) -> PathBuf {
    let (source, program) = (bench.path("server.c"), bench.path("server"));
    fs::write(&source, SERVER).unwrap();
    tools::stdout(Command::new("gcc").args(["-w", "-O2", "-static", "-s", "-o"]).arg(&program).arg(source));
    let tar = TarBuilder::new().file("server", 0o755, &fs::read(&program).unwrap()).build();
    let image = ImageBuilder::new().layer(tar).cmd(&["/server"]);
    let dir = bench.path("server.oci");
    image.set("ExposedPorts", json!({"8080/tcp": {}, "8443/tcp": {}})).write_oci(&dir);
    dir
}

/// One boot of what holds, one of what does not.
#[test]
fn a_connection_a_status_and_a_line_are_what_they_are() {
    let bench = Bench::new(Kernel::Cloud);
    let image = server(&bench);
    let image = image.to_str().unwrap();
    // Accepted: and closed, and reset, and answered, and left waiting.
    let held = ["--tcp", "7001", "--tcp", "7002", "--tcp", "7003", "--tcp", "7004"];
    let statuses = ["--http-status", "404:7003/?id=200", "--exec-status", "3:/server of=x count=1"];
    let lines = ["--expect-regex", "^ready-not-yet$", "--reject-regex", "ready$"];
    let (status, document) = tested(&bench, &[&[image], &held[..], &statuses[..], &lines[..]].concat());
    assert_eq!(status, 0, "{document:#}");

    let not = ["--tcp", "7005", "--tcp", "7006", "--http", ":7003/?id=404", "--http", "/", "--timeout", "60s"];
    let commands = ["--exec", "/server of=x count=3", "--exec", "/server sleep"];
    let (status, document) = tested(&bench, &[&[image], &not[..], &commands[..]].concat());
    assert_eq!(status, 124, "{document:#}");
    let reasons = [
        "tcp 7005: the guest did not answer the connection",
        "tcp 7006: the connection was refused",
        "http :7003/?id=404: status 404",
        "port 80 was asked, as none was given and the image exposes 8080, 8443",
        "exec /server of=x count=3: it ended with status 3",
        "exec /server sleep: the command has not ended",
    ];
    expect(&document, "server", "timeout", &reasons);
    let last = report(&document, "server")["last_lines"].to_string();
    assert!(last.contains("ready-not-yet") && !last.contains("SeaBIOS"), "{last}");
}

/// Nothing of this boots.
#[test]
fn what_is_asked_for_and_cannot_be_made_is_no_success() {
    let bench = Bench::new(Kernel::Cloud);
    let hello = image("hello-c.oci");
    let disk = bench.build(&hello, "hello.img", &["--firmware", "uefi"]);
    let spec = bench.path("smoke.toml");
    let one = |name: &str, matrix: &str| format!("[[test]]\nname = '{name}'\ndisk = 'hello.img'\nmatrix = {matrix}\n");
    let junit = bench.path("report.xml");
    let on = |arguments: &[&str]| {
        let mut command = test_command(&bench, arguments);
        run(command.arg(&disk).arg("--junit").arg(&junit))
    };
    for (arguments, reason) in [
        (
            &["--bus", "ahci", "--http", "/", "--firmware", "uefi"][..],
            "no driver: the disk's kernel does not drive ahci",
        ),
        (&["--nic", "e1000"], "no driver: the disk's kernel does not drive e1000"),
        (&["--firmware", "bios"], "the disk has no boot stage for BIOS"),
        (&["--nic", "none", "--tcp", "80"], "no network card: tcp 80 cannot be asked"),
        (&["--healthy"], "healthy was asked for, and the image has no HEALTHCHECK"),
        (&["--matrix=bus=ahci"], "does not drive ahci; no combination of the matrix can be made"),
        (&["--matrix=firmware=bios", "--matrix=nic=none,virtio"], "no combination of the matrix can be made"),
    ] {
        let (status, document) = read(on(arguments));
        assert_eq!(status, 125, "{arguments:?}: {document:#}");
        expect(&document, "hello", "error", &[reason]);
        assert_eq!(document["counts"]["skipped"], 0, "{document:#}");
        check_junit(&junit, &["failures=\"0\"", "skipped=\"0\"", "type=\"error\""]);
    }
    fs::write(&spec, one("a", "'bus=ahci'") + &one("b", "['nic=e1000', 'bus=virtio']")).unwrap();
    let table = bench.bootdisk().args(["test", "--spec"]).arg(&spec).output().unwrap();
    assert_eq!(table.status.code(), Some(125));
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.ends_with("\n0 passed, 2 could not be run\n"), "{table}");
}

/// Against the schema that CI systems check with, and a few texts.
#[track_caller]
pub(crate) fn check_junit(path: &Path, texts: &[&str]) {
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/junit.xsd");
    let mut lint = Command::new("xmllint");
    tools::stdout(lint.args(["--noout", "--schema"]).arg(schema).arg(path).stderr(std::process::Stdio::null()));
    let text = fs::read_to_string(path).unwrap();
    for wanted in texts {
        assert!(text.contains(wanted), "no {wanted} in {text}");
    }
}

/// The picture has for every boot the times of the document, and says of the others that there was none.
fn check_timeline(path: &Path, document: &Value) {
    tools::stdout(Command::new("xmllint").arg("--noout").arg(path));
    let svg = fs::read_to_string(path).unwrap();
    for report in document["tests"].as_array().unwrap() {
        let combination = report["combination"].as_str().unwrap();
        let start = format!("nginx  {combination}, {}: ", report["verdict"].as_str().unwrap());
        let said = svg.split(&start).nth(1).and_then(|rest| rest.split(". ").next()).expect(&start);
        match ["loader", "workload", "end"].map(|name| report["phases"][name].as_f64()) {
            [Some(loader), Some(workload), Some(end)] => {
                assert!(said.starts_with(&format!("firmware {loader:.1} s, loader ")), "{start}{said}");
                assert!(said.ends_with(&format!(" s, workload {:.1} s", end - workload)), "{start}{said}");
            }
            _ => assert_eq!(said, "the machine was not started", "{start}"),
        }
    }
}

#[test]
fn the_junit_check_sees_what_is_wrong() {
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/junit.xsd");
    let dir = tempfile::tempdir().unwrap();
    for (text, good) in [
        ("<testsuites><testsuite name='x' tests='0' failures='0' errors='0'/></testsuites>", true),
        ("<testsuites><testsuite name='x' tests='many' failures='0' errors='0'/></testsuites>", false),
        ("<testsuites><test/></testsuites>", false),
    ] {
        let path = dir.path().join("x.xml");
        fs::write(&path, text).unwrap();
        let output = Command::new("xmllint").args(["--noout", "--schema"]).arg(&schema).arg(&path).output();
        assert_eq!(output.expect("xmllint; scripts/test installs it").status.success(), good, "{text}");
    }
}

/// A panic, a PID 1 without a root, a boot that hangs in silence: each with its own verdict.
#[test]
fn broken_machines_are_told_apart() {
    let bench = Bench::new(Kernel::Cloud);
    let archive = image("hello-c.oci");
    let panic = bench.build(&archive, "panic.img", &["--cmdline", "rdinit=/none root=/dev/none"]);
    let logs = bench.path("logs");
    let keep = ["--log-dir", logs.to_str().unwrap()];
    let (status, document) = tested(&bench, &[&[panic.to_str().unwrap(), "--expect", "Hello"], &keep[..]].concat());
    assert_eq!(status, 1);
    expect(&document, "panic", "panic", &["Kernel panic - not syncing"]);
    told_in_time(&document, &logs, "panic", "Panic");

    let disk = bench.build(&archive, "rootless.img", &[]);
    tools::stdout(Command::new("sgdisk").args(["-u", "3:R"]).arg(&disk));
    let (status, document) = tested(&bench, &[&[disk.to_str().unwrap(), "--expect", "Hello"], &keep[..]].concat());
    assert_eq!(status, 1);
    expect(&document, "rootless", "pid1", &["root"]);
    told_in_time(&document, &logs, "rootless", "PID 1:");

    let silent = bench.build(&archive, "silent.img", &[]);
    // A boot sector that jumps to itself.
    fs::File::options().write(true).open(&silent).unwrap().write_all_at(&[0xeb, 0xfe], 0).unwrap();
    let begun = Instant::now();
    let display = [&["--boot-timeout", "4s", "--display"], &keep[..]].concat();
    let (status, document) = tested(&bench, &[&[silent.to_str().unwrap()], &display[..]].concat());
    assert_eq!(status, 1);
    expect(&document, "silent", "silent", &["said nothing within 4.0 s"]);
    let last = report(&document, "silent")["last_lines"].to_string();
    assert!(last.contains("Booting from 0000:7c00"), "the firmware was the last to speak: {last}");
    assert!(fs::read_to_string(logs.join("silent.firmware.log")).unwrap().contains("SeaBIOS"));
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    let screen = report(&document, "silent")["screen"].as_str().unwrap().to_owned();
    assert_eq!(Path::new(&screen), logs.join("silent.screen.png"));
    // SeaBIOS has written on it: some of it is neither the background nor all the same.
    assert!(colours(Path::new(&screen)) > 1, "{screen} is blank");
}

/// A test is over less than 3 seconds after the last event of this kind: what is promised, not what is usual (hundredths).
#[track_caller]
fn told_in_time(document: &Value, logs: &Path, name: &str, event: &str) {
    let events = fs::read_to_string(logs.join(format!("{name}.events.log"))).unwrap();
    let line = events.lines().rfind(|line| line.contains(event)).unwrap_or_else(|| panic!("no {event} in {events}"));
    let at: f64 = line.split_whitespace().next().unwrap().parse().unwrap();
    let end = report(document, name)["phases"]["end"].as_f64().unwrap();
    assert!((0.0..3.0).contains(&(end - at)), "{name} ended at {end}, {event} came at {at}");
}

/// Different bytes in a picture's lines, by Python's zlib: 1 when it is of one colour.
#[track_caller]
fn colours(png: &Path) -> usize {
    let script = "
import struct, sys, zlib
data = open(sys.argv[1], 'rb').read()
assert data[:8] == b'\\x89PNG\\r\\n\\x1a\\n', 'not a PNG'
at, body = 8, b''
while at < len(data):
    length, kind = struct.unpack('>I4s', data[at:at + 8])
    chunk = data[at + 8:at + 8 + length]
    assert zlib.crc32(kind + chunk) == struct.unpack('>I', data[at + 8 + length:at + 12 + length])[0], 'damaged'
    if kind == b'IHDR':
        width, height, depth, colour = struct.unpack('>IIBB', chunk[:10])
        assert depth == 8 and colour == 2, 'not three bytes a pixel'
    if kind == b'IDAT':
        body += chunk
    at += 12 + length
lines = zlib.decompress(body)
assert len(lines) == height * (width * 3 + 1), 'cut short'
print(len(set(lines)))";
    tools::stdout(Command::new("python3").args(["-c", script]).arg(png)).trim().parse().unwrap()
}

/// One image and a matrix of kernels: a disk for each, each kernel's own drivers, and an error for the one that is none.
#[test]
fn a_matrix_of_kernels_builds_a_disk_for_each() {
    let bench = Bench::new(Kernel::Cloud);
    let (cloud, generic) = (Kernel::Cloud.package(), Kernel::Generic.package());
    let kernels = format!("kernel={},{},/nowhere", cloud.display(), generic.display());
    let hello = image("hello-c.oci");
    let arguments = [hello.to_str().unwrap(), "--expect-regex", "Linux [0-9.-]+-amd64", "--matrix", &kernels];
    let (status, document) = tested(&bench, &[&arguments[..], &["bus=ahci"]].concat());
    assert_eq!(status, 125, "{document:#}");
    let reports = document["tests"].as_array().unwrap();
    let of = |kernel: &Path| {
        let place = format!("kernel={} bus=ahci", kernel.display());
        let found = reports.iter().find(|report| report["combination"] == place);
        let report = found.unwrap_or_else(|| panic!("no {place}: {document:#}"));
        (report["verdict"].as_str().unwrap(), report["reasons"].to_string())
    };
    assert_eq!(of(&generic).0, "passed", "{document:#}");
    assert_eq!(of(&cloud).0, "skipped", "the cloud kernel has no AHCI: {document:#}");
    let (verdict, reasons) = of(Path::new("/nowhere"));
    assert!(verdict == "error" && reasons.contains("no such kernel: /nowhere"), "{document:#}");
    assert_eq!(
        document["counts"],
        json!({"passed": 1, "failed": 0, "error": 1, "skipped": 1, "flaky": 0}),
        "{document:#}"
    );
}

/// The QEMU that a program started.
fn qemu_of(parent: u32) -> Option<Pid> {
    let stat = |path: PathBuf| {
        let text = fs::read_to_string(path.join("stat")).ok()?;
        let (pid, rest) = text.split_once(' ')?;
        let (name, rest) = rest.rsplit_once(')')?;
        let ppid: u32 = rest.split_whitespace().nth(1)?.parse().ok()?;
        (ppid == parent && name.contains("qemu")).then(|| Pid::from_raw(pid.parse().unwrap()))
    };
    fs::read_dir("/proc").unwrap().filter_map(|entry| stat(entry.ok()?.path())).next()
}

/// A test of a workload that sleeps, once its machine has begun, and with its logs in `logs`. Before that its QEMU is one
/// that did not start, or that was only asked what it can do.
fn sleeping(bench: &Bench, scratch: &Path, logs: &Path) -> (Running, Pid) {
    let disk = bench.build(tagged("probe.oci", "probe"), "probe.img", &[]);
    let begun = logs.join("probe.events.log");
    _ = fs::remove_file(&begun);
    let mut command = test_command(bench, &["--exit-code", "0", "--log-dir", logs.to_str().unwrap()]);
    command.arg(disk).env("TMPDIR", scratch).args(["--", "/probe", "sleep", "1000"]);
    let running = Running::start(&mut command);
    let deadline = Instant::now() + e2e::PATIENCE;
    while !fs::read_to_string(&begun).unwrap_or_default().contains("Started {") {
        assert!(Instant::now() < deadline, "no machine began");
        std::thread::sleep(Duration::from_millis(20));
    }
    let qemu = qemu_of(running.id()).expect("a machine that began has a QEMU");
    (running, qemu)
}

#[test]
fn nothing_is_left_of_a_test_that_is_killed_or_whose_qemu_is() {
    let bench = Bench::new(Kernel::Cloud);
    let (scratch, logs) = (tempfile::tempdir().unwrap(), bench.path("logs"));
    let (running, qemu) = sleeping(&bench, scratch.path(), &logs);
    kill(qemu, Signal::SIGKILL).unwrap();
    let killed = Instant::now();
    let ran = running.finish();
    assert!(killed.elapsed() < Duration::from_secs(3), "{:?}", killed.elapsed());
    let (status, document) = read(ran);
    assert_eq!(status, 125, "{document:#}");
    assert_eq!(document["tests"][0]["verdict"], "qemu-gone", "{document:#}");

    for (signal, status) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143), (Signal::SIGHUP, 129)] {
        let (running, qemu) = sleeping(&bench, scratch.path(), &logs);
        running.signal(signal);
        let (ended, document) = read(running.finish());
        assert_eq!((ended, document["tests"][0]["verdict"].as_str()), (status, Some("interrupted")), "{document:#}");
        assert!(kill(qemu, None).is_err(), "QEMU is still there");
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0, "temporary files are left");
    }
}

#[test]
fn people_get_a_table_and_a_command_line() {
    let bench = Bench::new(Kernel::Cloud);
    let disk = bench.build(image("hello-c.oci"), "hello.img", &[]);
    let logs = bench.path("logs");
    let mut command = bench.bootdisk();
    command.args(["test", "--accel", "tcg", "--expect", "Hello from", "--log-dir"]).arg(&logs).arg(&disk);
    let ran = run(&mut command).expect_status(0);
    let text = ran.text();
    assert!(text.lines().any(|line| line.starts_with("hello") && line.contains("passed")), "{text}");
    assert!(text.ends_with("\n1 passed\n"), "{text}");
    assert!(ran.stderr.contains("passed hello"), "{}", ran.stderr);
    let log = fs::read_to_string(logs.join("hello.stdout.log")).unwrap();
    assert!(log.starts_with("Hello from OS-less"), "{log}");
    assert!(fs::read_to_string(logs.join("hello.events.log")).unwrap().contains("WorkloadStarted"));

    // A name that a shell would take apart, and a direct boot, whose files the script copies out of the disk.
    let odd = bench.path("it's $dir.img");
    fs::rename(&disk, &odd).unwrap();
    let mut command = bench.bootdisk();
    command.args(["test", "--accel", "tcg", "--dry-run", "--qemu-arg=-no-reboot"]).arg(&odd);
    let script = run(command.args(["--matrix", "firmware=bios,direct"])).expect_status(0).text();
    let scratch = bench.path("scratch");
    fs::create_dir(&scratch).unwrap();
    let mut shell = Command::new("timeout");
    let pasted = shell.args(["200", "sh", "-c", &script]).env("TMPDIR", &scratch).output().unwrap();
    assert_eq!(fs::read_dir(&scratch).unwrap().count(), 0, "the script's folders go with their machines");
    let console = String::from_utf8_lossy(&pasted.stdout);
    let boots = console.matches("Hello from OS-less").count();
    assert_eq!(boots, 2, "{script}\n{console}\n{}", String::from_utf8_lossy(&pasted.stderr));
}
