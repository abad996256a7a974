//! `bootdisk test` with many tests: parts, tries, and what is left of a suite that is interrupted.

use crate::e2e::{Bench, Kernel, Running, image, run, tagged};
use crate::smoke::check_junit;
use nix::sys::signal::Signal;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// `bootdisk test` of a file of these tests.
fn suite(bench: &Bench, text: &str, arguments: &[&str]) -> Command {
    let file = bench.path("smoke.toml");
    fs::write(&file, text).unwrap();
    let mut command = bench.bootdisk();
    command.args(["test", "--timeout", "200s", "--spec"]).arg(file).args(arguments).env("BOOTDISK_ACCEL", "tcg");
    command
}

fn document(bytes: &[u8]) -> Value {
    let document = serde_json::from_slice(bytes).unwrap();
    crate::smoke::check_schema(&document);
    document
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Sixty tests of a disk that is none: nothing boots, and every part says which tests it has.
#[test]
fn three_parts_have_each_of_sixty_tests_once() {
    let bench = Bench::without_kernels();
    let text: String = (0..60).map(|n| format!("[[test]]\nname = 't{n}'\ndisk = 'none.img'\n")).collect();
    let mut times: BTreeMap<String, u32> = BTreeMap::new();
    for part in ["1/3", "2/3", "3/3"] {
        let ran = run(&mut suite(&bench, &text, &["--json", "--shard", part]));
        let document = document(&ran.stdout);
        assert_eq!((&document["shard"]["all"], &document["shard"]["tests"]), (&60.into(), &20.into()));
        for test in document["tests"].as_array().unwrap() {
            *times.entry(test["name"].as_str().unwrap().to_owned()).or_default() += 1;
        }
    }
    assert!(times.len() == 60 && times.values().all(|times| *times == 1), "{times:?}");

    let ran = run(&mut suite(&bench, &text, &["--json", "--filter", "t5", "--filter", "t1?"]));
    assert_eq!(document(&ran.stdout)["tests"].as_array().unwrap().len(), 11);
    let ran = run(&mut suite(&bench, &text, &["--filter", "T*"])).expect_status(125);
    assert!(ran.stderr.contains("no test has a name like T*"), "{}", ran.stderr);
    let ran = run(&mut suite(&bench, &text, &["--shard", "0/3"])).expect_status(125);
    assert!(ran.stderr.contains("the first of 3 is 1/3"), "{}", ran.stderr);
}

/// The first boot finds a file in its volume missing and makes it: what fails first and passes then is the disk's doing.
#[test]
fn a_test_that_fails_first_is_flaky_in_every_report() {
    let bench = Bench::new(Kernel::Cloud);
    let again = "command = \"sh -c 'test -e /data/seen || { : >/data/seen; echo first time; exit 3; }; echo seen'\"\n";
    let text = format!(
        "[[test]]\nname = 'flaky'\nimage = '{}'\nvolume = 'seen:/data'\nretries = 2\n{again}",
        image("debian.oci").display()
    );
    let at = |name: &str| bench.path(name);
    let mut command = suite(&bench, &text, &["--json"]);
    for (option, name) in
        [("--junit", "r.xml"), ("--tap", "r.tap"), ("--html", "r.html"), ("--log-dir", "logs"), ("--timeline", "r.svg")]
    {
        command.arg(option).arg(at(name));
    }
    command.env("GITHUB_ACTIONS", "true").env("GITHUB_STEP_SUMMARY", at("summary"));
    let ran = run(command.env("GITHUB_WORKSPACE", bench.path(""))).expect_status(0);
    let document = document(&ran.stdout);
    let test = &document["tests"][0];
    assert_eq!(
        (&test["verdict"], &test["flaky"], &document["counts"]["flaky"]),
        (&"passed".into(), &true.into(), &1.into())
    );
    let before = test["before"].as_array().unwrap();
    assert_eq!((before.len(), &before[0]["verdict"]), (1, &"failed".into()), "{document:#}");
    assert_eq!(test["accelerator"], "tcg (asked for)");
    check_junit(&at("r.xml"), &["<flakyFailure type=\"failed\"", "failures=\"0\"", "hostname=\""]);
    assert!(read(&at("r.tap")).contains("ok 1 - flaky\n  ---\n"), "{}", read(&at("r.tap")));
    let page = read(&at("r.html"));
    assert!(page.contains("1 passed (1 flaky)") && page.contains("first time"), "{page}");
    assert!(read(&at("summary")).contains("| flaky |  | flaky |"), "{}", read(&at("summary")));
    assert!(ran.stderr.contains("::warning file=smoke.toml,line=1,title=flaky%3A flaky::"), "{}", ran.stderr);
    assert!(ran.stderr.contains("failed flaky (") && ran.stderr.contains("), tried again\n"), "{}", ran.stderr);
    assert!(read(&at("logs/flaky.stdout.log")).contains("first time"));
    assert!(read(&at("logs/flaky.try-2.stdout.log")).starts_with("seen"));

    // Now it passes at once; three times, one after the other, as each has the volume to itself.
    let ran = run(&mut suite(&bench, &text, &["--repeat", "3", "-j", "3"])).expect_status(0);
    assert!(ran.text().ends_with("\naccelerator: tcg (asked for)\n3 passed\n"), "{}", ran.text());
}

/// One passes, one hangs, and the time for all is up: each has its own verdict. A signal leaves no machine and no file.
#[test]
fn one_that_hangs_ends_with_the_time_for_all_or_a_signal() {
    let bench = Bench::new(Kernel::Cloud);
    let one = |name: &str, command: &str| {
        let probe = tagged("probe.oci", "probe");
        format!("[[test]]\nname = '{name}'\nimage = '{probe}'\nmemory = '128m'\ncommand = {command}\n")
    };
    let hang = "['/probe', 'sleep', '1000']";
    let text = one("fine", "['/probe', 'exit', '0']") + &one("hangs", hang) + &one("left", hang);
    let ran = run(&mut suite(&bench, &text, &["--json", "-j", "2", "--retries", "5", "--global-timeout", "60s"]));
    let document = document(&ran.expect_status(124).stdout);
    let verdicts: Vec<&str> =
        document["tests"].as_array().unwrap().iter().map(|test| test["verdict"].as_str().unwrap()).collect();
    assert_eq!(verdicts, ["passed", "timeout", "timeout"], "{document:#}");
    assert!(document["tests"][1]["again"].as_str().unwrap().contains("--filter hangs"), "{document:#}");

    let scratch = tempfile::tempdir().unwrap();
    let text: String = (0..4).map(|n| one(&format!("hangs {n}"), hang)).collect();
    let logs = bench.path("logs");
    let mut command = suite(&bench, &text, &["--json", "-j", "4", "--log-dir", logs.to_str().unwrap()]);
    let running = Running::start(command.env("TMPDIR", scratch.path()));
    let begun = |n: u32| {
        fs::read_to_string(logs.join(format!("hangs-{n}.events.log"))).unwrap_or_default().contains("WorkloadStarted")
    };
    let deadline = Instant::now() + crate::e2e::PATIENCE;
    while !(0..4).all(begun) {
        assert!(Instant::now() < deadline, "not all machines began");
        std::thread::sleep(Duration::from_millis(20));
    }
    running.signal(Signal::SIGINT);
    let ran = running.finish();
    assert_eq!(ran.status, Some(130), "{ran:?}");
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0, "temporary files are left");
}
