//! A workload's health, as `ps` tells it while the machine runs.

use crate::busybox;
use crate::e2e::{Bench, Kernel, run};
use crate::machines::{Ends, SOON, exec, machines, run_detached};
use serde_json::{Value, json};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Waits until `ps` says this of the one machine.
#[track_caller]
fn wait_for(bench: &Bench, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let started = Instant::now();
    loop {
        let listed = machines(bench, &[]);
        if let Some(machine) = listed.first().filter(|machine| wanted(machine)) {
            return machine.clone();
        }
        assert!(started.elapsed() < SOON, "{what}: {listed:?}");
        sleep(Duration::from_millis(50));
    }
}

#[test]
fn ps_tells_the_health_that_the_images_check_finds() {
    let bench = Bench::new(Kernel::Cloud);
    let _ends = Ends(&bench);
    let check = "cat /tmp/says; test -e /tmp/well";
    let image = busybox::image()
        .set("Healthcheck", json!({"Test": ["CMD-SHELL", check], "Interval": 200_000_000, "Retries": 3}))
        .oci_archive();
    std::fs::write(bench.path("checked.tar"), image).unwrap();
    run_detached(&bench, "box", bench.path("checked.tar"), &["--health-retries", "2"], &["sleep", "100000"]);
    let health = |wanted: &'static str| move |machine: &Value| machine["health"] == wanted;
    let ill = wait_for(&bench, "a check that fails", health("unhealthy"));
    let last = ill["health_log"].as_array().unwrap().last().unwrap();
    assert_eq!(last["exit_code"], 1, "{ill}");
    assert_eq!(last["output"], "cat: can't open '/tmp/says': No such file or directory\n", "{ill}");
    run(&mut exec(&bench, &[], &["sh", "-c", "printf 'a\\033b' > /tmp/says; touch /tmp/well"])).expect(0, "");
    let well = wait_for(&bench, "a check that succeeds", health("healthy"));
    let log = well["health_log"].as_array().unwrap();
    assert!((1..=5).contains(&log.len()), "{well}");
    assert_eq!((&log.last().unwrap()["exit_code"], &log.last().unwrap()["output"]), (&0.into(), &"a\u{1b}b".into()));
    let table = run(bench.bootdisk().arg("ps")).expect_status(0).text();
    assert!(table.contains(" HEALTH ") && table.contains("  healthy"), "{table}");
    run(&mut exec(&bench, &[], &["rm", "/tmp/well"])).expect(0, "");
    wait_for(&bench, "a check that fails again", health("unhealthy"));
    // What fails is told and nothing more: the machine runs, and ends as it is asked to.
    run(bench.bootdisk().args(["stop", "--timeout", "0"])).expect(0, "");
    assert_eq!(machines(&bench, &["-a"])[0]["exit_status"], 137);
}
