//! `bootdisk test` with tests that start from a snapshot: the same state in each, and a boot where there is none.

use crate::busybox;
use crate::e2e::{Bench, Kernel, run};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const DEFAULTS: &str = "[defaults]\nmemory = '192m'\ntimeout = '200s'\nboot-timeout = '180s'\n";
/// Ends with status 0 where it is the first of its kind in this machine.
const COUNT: &str = "sh -c 'echo x >>/tmp/count; test $(wc -l </tmp/count) = 1'";
/// When the machine would have booted if it had not stood still since, by its own clock.
const BOOTED: &str = "sh -c 'echo $(( $(date +%s) - $(cut -d. -f1 /proc/uptime) ))'";
const RANDOM: &str = "cat /proc/sys/kernel/random/uuid";

/// A server: three tests at one point, and two at a later one.
fn served(image: &Path) -> String {
    let image = image.display();
    let machine = format!(
        r#"image = "{image}"
command = "sh -c 'mkdir /tmp/www; echo page >/tmp/www/name; echo the beginning; sleep 2; touch /tmp/late; exec httpd -f -p 8080 -h /tmp/www'"
"#
    );
    let healthy = format!(
        "{machine}snapshot = true\nhealth-cmd = 'wget -q -O /dev/null http://127.0.0.1:8080/name'\nhealth-interval = '300ms'\nhealth-retries = 100\n"
    );
    let later = format!("{machine}snapshot = 'test -f /tmp/late'\n");
    format!(
        r#"
[[test]]
name = "web"
{healthy}http = ":8080/name"
expect = "the beginning"
exec = ["{COUNT}", "{BOOTED}", "{RANDOM}"]

[[test]]
name = "slow"
{healthy}tcp = 8080
exec = ["{COUNT}", "sleep 4", "{RANDOM}"]

[[test]]
name = "last"
{healthy}healthy = true
exec = ["{COUNT}", "{BOOTED}", "{RANDOM}"]

[[test]]
name = "late"
{later}exec = ["test -f /tmp/late", "{COUNT}"]

[[test]]
name = "later"
{later}exec = ["{COUNT}", "test -f /tmp/late"]
http = ":8080/name"
"#
    )
}

/// Two whose workload ends before their point is reached.
fn in_vain(image: &Path) -> String {
    let image = image.display();
    let one = |name: &str| {
        format!(
            "[[test]]\nname = '{name}'\nimage = '{image}'\nsnapshot = 'test -f /never'\ncommand = \"sh -c 'sleep 1; exit 3'\"\nexit-code = 3\n"
        )
    };
    format!("{}{}", one("vain"), one("in-vain"))
}

fn test_command(bench: &Bench, spec: &Path) -> Command {
    let mut command = bench.bootdisk();
    command.args(["test", "--accel", "tcg", "--spec"]).arg(spec);
    command
}

fn spec(bench: &Bench, tests: &str) -> PathBuf {
    let path = bench.path("smoke.toml");
    fs::write(&path, format!("{DEFAULTS}{tests}")).unwrap();
    path
}

fn named<'a>(document: &'a Value, name: &str) -> &'a Value {
    document["tests"].as_array().unwrap().iter().find(|one| one["name"] == name).unwrap()
}

/// The last line of the command that a test has run.
fn said(test: &Value, command: &str) -> String {
    let wanted = format!("exec {command}");
    let all = test["expectations"].as_array().unwrap();
    let one = all.iter().find(|one| one["expectation"] == *wanted).unwrap_or_else(|| panic!("{wanted}: {test:#}"));
    let seen = one["seen"].as_str().unwrap();
    seen.rsplit_once("its last line: ").unwrap_or_else(|| panic!("{seen}")).1.to_owned()
}

#[test]
fn every_test_of_a_snapshot_begins_in_the_same_state() {
    let bench = Bench::new(Kernel::Cloud);
    let image = busybox::archive(bench.path("image").parent().unwrap());
    let whole = spec(&bench, &format!("{}{}", served(&image), in_vain(&image)));
    // One after the other, so that the machine of the last has stood still while the slow one ran.
    let ran = run(test_command(&bench, &whole).args(["--json", "-j1"]));
    let document: Value = serde_json::from_slice(&ran.stdout).unwrap();
    let schema: Value = serde_json::from_str(include_str!("../../docs/smoke.schema.json")).unwrap();
    assert_eq!(crate::schema::complaint(&schema, &schema, &document, ""), None, "{document:#}");
    assert_eq!(ran.status, Some(0), "{document:#}\n{}", ran.stderr);
    for (name, point) in [
        ("web", "healthy"),
        ("slow", "healthy"),
        ("last", "healthy"),
        ("late", "exec test -f /tmp/late"),
        ("later", "exec test -f /tmp/late"),
    ] {
        let test = named(&document, name);
        assert!(test["snapshot"]["point"] == point && test["snapshot"]["took"].as_f64() > Some(0.0), "{test:#}");
        let phases = test["phases"].as_object().unwrap();
        assert!(phases["ready"].as_f64() >= phases["restored"].as_f64(), "{test:#}");
        for absent in ["console", "loader", "kernel", "pid1", "workload"] {
            assert!(!phases.contains_key(absent), "what was not in this machine has no time: {test:#}");
        }
    }
    let booted = |name| said(named(&document, name), BOOTED).parse::<i64>().unwrap();
    assert!(booted("last") >= booted("web") + 3, "the clock goes on while the machine stands still: {document:#}");
    let random: BTreeSet<String> = ["web", "slow", "last"].map(|name| said(named(&document, name), RANDOM)).into();
    assert_eq!(random.len(), 3, "{document:#}");

    for name in ["vain", "in-vain"] {
        let test = named(&document, name);
        assert!(test["snapshot"].is_null() && test["phases"]["kernel"].is_number(), "{test:#}");
    }
    let warnings: Vec<String> =
        ran.stderr.lines().filter(|line| line.starts_with("warning:")).map(str::to_owned).collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].starts_with("warning: vain: no snapshot (exec test -f /never): "), "{warnings:?}");
    assert!(warnings[0].ends_with("its tests boot"), "{warnings:?}");

    let table = run(test_command(&bench, &whole).args(["--filter", "web", "--repeat", "3"]));
    let text = table.text();
    assert_eq!(table.status, Some(0), "{text}");
    assert_eq!(text.matches("  restore ").count(), 3, "{text}");
    assert!(text.contains("\nsnapshot: 3 tests at healthy, made in "), "{text}");
}
