//! A workload's health and its restarts, as `ps` tells them while the machine runs.

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

/// Dies five times, each time with another status and 100,000 bytes written. What it leaves is not there the next time,
/// but for what is in its root.
const MORTAL: &str = r#"
    n=$(($(cat /lives 2>/dev/null) + 1)); echo $n > /lives
    echo "life $n of process $$ on $(hostname): $(ls /dev/shm /dev/mqueue /sys/fs/cgroup | grep left)"
    head -c 100000 /dev/zero >&2
    touch /dev/shm/left /dev/mqueue/left; mkdir /sys/fs/cgroup/left; hostname left; sleep 1000 &
    [ $n -gt 5 ] || exit $n
    until [ -e /tmp/die ]; do sleep 0.1; done
    exit 9"#;

#[test]
fn ps_tells_of_each_life_and_of_the_health_that_the_images_check_finds() {
    let bench = Bench::new(Kernel::Cloud);
    let _ends = Ends(&bench);
    let check = "cat /tmp/says; test -e /tmp/well";
    let image = busybox::image()
        .set("Healthcheck", json!({"Test": ["CMD-SHELL", check], "Interval": 200_000_000, "Retries": 3}))
        .oci_archive();
    std::fs::write(bench.path("checked.tar"), image).unwrap();
    let options = ["--health-retries", "2", "--restart", "on-failure:5", "--hostname", "mortal"];
    run_detached(&bench, "box", bench.path("checked.tar"), &options, &["sh", "-c", MORTAL]);
    let ill = wait_for(&bench, "the sixth life, and a check that fails", |machine| {
        machine["restarts"] == 5 && machine["state"] == "running" && machine["health"] == "unhealthy"
    });
    let last = ill["health_log"].as_array().unwrap().last().unwrap();
    assert_eq!(last["exit_code"], 1, "{ill}");
    assert_eq!(last["output"], "cat: can't open '/tmp/says': No such file or directory\n", "{ill}");
    run(&mut exec(&bench, &[], &["sh", "-c", "printf 'a\\033b' > /tmp/says; touch /tmp/well"])).expect(0, "");
    let health = |wanted: &'static str| move |machine: &Value| machine["health"] == wanted;
    let well = wait_for(&bench, "a check that succeeds", health("healthy"));
    let log = well["health_log"].as_array().unwrap();
    assert!((1..=5).contains(&log.len()), "{well}");
    assert_eq!((&log.last().unwrap()["exit_code"], &log.last().unwrap()["output"]), (&0.into(), &"a\u{1b}b".into()));
    let table = run(bench.bootdisk().arg("ps")).expect_status(0).text();
    assert!(table.contains(" HEALTH ") && table.contains("  healthy  5"), "{table}");
    run(&mut exec(&bench, &[], &["rm", "/tmp/well"])).expect(0, "");
    wait_for(&bench, "a check that fails again", health("unhealthy"));
    // A check that fails ends nothing, and the sixth death is the machine's end.
    run(&mut exec(&bench, &[], &["touch", "/tmp/die"])).expect(0, "");
    let logs = run(bench.bootdisk().args(["logs", "-f", "box"])).expect_status(0);
    let lives: String = (1..=6).map(|n| format!("life {n} of process 1 on mortal: \n")).collect();
    assert_eq!(logs.text(), lives);
    let (zeros, said): (String, String) = logs.stderr.chars().partition(|c| *c == '\0');
    let told = |(n, pause)| format!("workload exited with status {n}, started again in {pause} s (restart {n} of 5)\n");
    let deaths: String = (1..=5).zip(["0.1", "0.2", "0.4", "0.8", "1.6"]).map(told).collect();
    assert_eq!((zeros.len(), said), (600_000, deaths));
    assert_eq!(machines(&bench, &["-a"])[0]["exit_status"], 9);
}

/// A policy is for a command: who builds a disk for an own init is warned, and who runs one is told before it boots.
#[test]
fn an_own_init_gets_no_restart_policy() {
    let bench = Bench::new(Kernel::Cloud);
    let says = "the image's own init runs the machine, and restart policies are for a command: always";
    let (image, disk) = (busybox::archive(&bench.path("")), bench.path("own.img"));
    let mut build = bench.bootdisk();
    build.args(["build", "--restart", "always"]).arg(image).arg("-o").arg(&disk).arg("/sbin/init");
    let built = run(&mut build).expect(0, "");
    assert!(built.stderr.contains(says), "{}", built.stderr);
    let refused = bench.run(&disk, &["--restart", "always"]).expect(125, "");
    assert!(refused.stderr.starts_with(&format!("error: {says}\nhint: omit --restart")), "{}", refused.stderr);
}
