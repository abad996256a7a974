//! `bootdisk test` with several machines in one test: their network, their order, and whose fault it is.

use crate::busybox;
use crate::e2e::{Bench, Kernel, PATIENCE, Running, image, run, tagged};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// A database that makes its files for the first time, emulated.
const MINUTES: Duration = Duration::from_secs(1000);

const DEFAULTS: &str = "[defaults]\nmemory = '192m'\ntimeout = '200s'\nboot-timeout = '180s'\n";

/// Three machines: a job that ends, a server that gets outside, and a client of it that does not.
fn three(image: &Path, port: u16) -> String {
    let image = image.display();
    format!(
        r#"
[[test]]
name = "three"
reject = "no such thing"

[[test.machine]]
name = "client"
image = "{image}"
command = ["sleep", "1000"]
after = ["web", "web:test -f /tmp/www/name", "job"]
exec = [
    "ping -c 1 -w 20 web",
    "ping -c 1 -w 20 client",
    "sh -c 'wget -q -O - http://web:8080/name | grep -x web'",
    "sh -c 'ip address | grep 10.113.0.1/24'",
    """sh -c 'if ip route | grep default; then exit 9; fi
        ip route add default via 10.0.2.2
        said=$(nc -w 3 10.0.2.2 {port} </dev/null)
        ip route del default
        test -z "$said"'""",
]
exec-status = "1:nc -w 3 192.0.2.1 80"

[[test.machine]]
name = "web"
image = "{image}"
outside = true
command = "sh -c 'mkdir /tmp/www; hostname >/tmp/www/name; echo serving; exec httpd -f -p 8080 -h /tmp/www'"
health-cmd = "wget -q -O /dev/null http://127.0.0.1:8080/name"
health-interval = "500ms"
http = ":8080/name"
exec = ["sh -c 'nc -w 20 10.0.2.2 {port} </dev/null | grep greeting'", "ping -c 1 -w 20 client"]

[[test.machine]]
name = "job"
image = "{image}"
command = "sh -c 'echo done by a job'"
exit-code = 0
"#
    )
}

/// A database that never gets healthy; one that ends.
fn two_that_fail(image: &Path) -> String {
    let image = image.display();
    let app = format!("[[test.machine]]\nname = \"app\"\nimage = \"{image}\"\ncommand = [\"sleep\", \"1000\"]\n");
    format!(
        r#"
[[test]]
name = "ill"

[[test.machine]]
name = "db"
image = "{image}"
command = "sh -c 'echo the last words of a database; sleep 1000'"
health-cmd = "false"
health-interval = "300ms"
health-retries = 2

{app}after = "db"
http = ":80/"

[[test]]
name = "ends"

[[test.machine]]
name = "db"
image = "{image}"
command = "sh -c 'sleep 1; echo out of disk space; exit 3'"

{app}exec = "false"
"#
    )
}

/// Greets whoever connects to a loopback address of this host, and counts.
fn greeter() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, greeted) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
    let count = greeted.clone();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            count.fetch_add(1, Ordering::SeqCst);
            _ = (&client).write_all(b"greeting\n");
        }
    });
    (port, greeted)
}

fn test_command(bench: &Bench, spec: &Path) -> Command {
    let mut command = bench.bootdisk();
    command.args(["test", "--accel", "tcg", "--json", "--spec"]).arg(spec);
    command
}

fn spec(bench: &Bench, tests: &[String]) -> PathBuf {
    let path = bench.path("smoke.toml");
    fs::write(&path, format!("{DEFAULTS}{}", tests.concat())).unwrap();
    path
}

fn named<'a>(list: &'a Value, name: &str) -> &'a Value {
    let found = list.as_array().unwrap().iter().find(|one| one["name"] == name);
    found.unwrap_or_else(|| panic!("no {name}: {list:#}"))
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect()
}

#[track_caller]
fn read(stdout: &[u8]) -> Value {
    let document = serde_json::from_slice(stdout).unwrap();
    let schema: Value = serde_json::from_str(include_str!("../../docs/smoke.schema.json")).unwrap();
    assert_eq!(crate::schema::complaint(&schema, &schema, &document, ""), None, "{document:#}");
    document
}

#[test]
fn machines_of_a_test_see_each_other_and_nothing_else() {
    let bench = Bench::new(Kernel::Cloud);
    let image = busybox::archive(bench.path("image").parent().unwrap());
    let (port, greeted) = greeter();
    let (spec, logs, timeline) = (spec(&bench, &[three(&image, port)]), bench.path("logs"), bench.path("boots.svg"));
    let mut command = test_command(&bench, &spec);
    command.args(["--host-loopback", "--log-dir"]).arg(&logs).arg("--timeline").arg(&timeline);
    let ran = run(&mut command);
    let document = read(&ran.stdout);
    assert_eq!(ran.status, Some(0), "{document:#}");
    let test = named(&document["tests"], "three");
    assert!(texts(&test["reasons"]).is_empty() && test["verdict"] == "passed", "{test:#}");
    assert!(greeted.load(Ordering::SeqCst) > 0, "web got outside");
    for name in ["client", "web", "job"] {
        assert_eq!(named(&test["machines"], name)["verdict"], "passed", "{test:#}");
    }
    let expected: Vec<&str> =
        test["expectations"].as_array().unwrap().iter().map(|one| one["expectation"].as_str().unwrap()).collect();
    for one in ["web: healthy", "web: http :8080/name", "job: exit-code 0", "web: exec test -f /tmp/www/name"] {
        assert!(expected.contains(&one), "{one}: {expected:?}");
    }

    // What one waits for was there before it started.
    let of = |name: &str| named(&test["machines"], name);
    let since = |name: &str| of(name)["since"].as_f64().unwrap();
    let held = |name: &str, expectation: &str| {
        let all = of(name)["expectations"].as_array().unwrap();
        since(name) + all.iter().find(|one| one["expectation"] == expectation).unwrap()["at"].as_f64().unwrap()
    };
    assert!(since("client") > held("web", "healthy") && since("client") > held("job", "exit-code 0"), "{test:#}");

    let log = |name: &str| fs::read_to_string(logs.join(name)).unwrap();
    assert_eq!(
        (log("three.web.stdout.log"), log("three.job.stdout.log")),
        ("serving\n".into(), "done by a job\n".into())
    );
    let together = log("three.machines.log");
    for line in
        [" web    stdout: serving", " job    stdout: done by a job", " client event: PID 1: eth1 has 10.113.0.1/24"]
    {
        assert!(together.lines().any(|other| other.ends_with(line)), "{line}: {together}");
    }
    let picture = fs::read_to_string(timeline).unwrap();
    assert!(["three: client", "three: web", "three: job"].iter().all(|name| picture.contains(name)), "{picture}");
}

#[test]
fn a_verdict_names_the_machine_that_is_to_blame() {
    let bench = Bench::new(Kernel::Cloud);
    let image = busybox::archive(bench.path("image").parent().unwrap());
    let both = spec(&bench, &[two_that_fail(&image)]);
    let ran = run(&mut test_command(&bench, &both));
    let document = read(&ran.stdout);
    assert_eq!(ran.status, Some(1), "{document:#}");
    let ill = named(&document["tests"], "ill");
    let reasons = texts(&ill["reasons"]);
    assert!(reasons[0].starts_with("db: healthy: 2 checks in a row failed") && reasons.len() == 1, "{ill:#}");
    assert!(texts(&ill["last_lines"]).contains(&"db: the last words of a database"), "{ill:#}");
    let app = named(&ill["machines"], "app");
    assert_eq!(texts(&app["reasons"]), ["not started: it waits for db: healthy"]);
    let ends = named(&document["tests"], "ends");
    assert_eq!(texts(&ends["reasons"]), ["db: running until the test is over: it ended with status 3"], "{ends:#}");
    assert!(texts(&ends["last_lines"]).contains(&"db: out of disk space"), "{ends:#}");

    // A machine that is killed, once both run.
    let app = "[[test.machine]]\nname = \"app\"\ncommand = [\"sleep\", \"1000\"]\nafter = \"db\"\nexec = \"false\"\n";
    let db = "[[test]]\nname = \"killed\"\n[[test.machine]]\nname = \"db\"\ncommand = [\"sleep\", \"1000\"]\n";
    let with = |text: &str| format!("{text}image = \"{}\"\n", image.display());
    let (killed, logs) = (spec(&bench, &[with(db), with(app)]), bench.path("logs"));
    let running = Running::start(test_command(&bench, &killed).arg("--log-dir").arg(&logs));
    wait_for(&logs.join("killed.app.events.log"), "WorkloadStarted", PATIENCE);
    kill(qemu_of(&logs.join("killed.db.events.log")), Signal::SIGKILL).unwrap();
    let app = qemu_of(&logs.join("killed.app.events.log"));
    let ran = running.finish();
    let document = read(&ran.stdout);
    assert_eq!(ran.status, Some(125), "{document:#}");
    let test = named(&document["tests"], "killed");
    assert_eq!((&test["verdict"], texts(&test["reasons"]).len()), (&"qemu-gone".into(), 1), "{test:#}");
    assert!(texts(&test["reasons"])[0].starts_with("db: "), "{test:#}");
    assert_eq!(kill(app, None), Err(nix::errno::Errno::ESRCH), "nothing is left");
}

/// An order at the shop is a row in the database, and the shop gets nowhere else.
#[test]
#[ignore = "its images are made only when they are named"]
fn an_order_at_the_shop_is_a_row_in_the_database() {
    let bench = Bench::new(Kernel::Cloud);
    let shop = format!(
        r#"
[[test]]
name = "shop"
timeout = "900s"

[[test.machine]]
name = "db"
image = "{}"
memory = "512m"
health-cmd = "pg_isready -q -h 127.0.0.1"
health-interval = "1s"
health-retries = 600
exec = "sh -c 'psql -Atc \"select item from orders\" | grep -x tea'"

[[test.machine]]
name = "app"
image = "{}"
memory = "512m"
after = "db"
http = [":5000/order/tea", ":5000/"]
exec = """python3 -c 'import errno, socket
raise SystemExit(socket.socket().connect_ex(("192.0.2.1", 80)) != errno.ENETUNREACH)'"""
"#,
        tagged("postgres.oci", "latest"),
        image("shop.oci").display()
    );
    let whole = spec(&bench, std::slice::from_ref(&shop));
    let ran = Running::start(&mut test_command(&bench, &whole)).finish_within(MINUTES);
    let document = read(&ran.stdout);
    assert_eq!(ran.status, Some(0), "{document:#}");

    let (never, logs) = (spec(&bench, &[format!("{shop}expect = 'what nobody says'\n")]), bench.path("logs"));
    let running = Running::start(test_command(&bench, &never).arg("--log-dir").arg(&logs));
    wait_for(&logs.join("shop.app.events.log"), "WorkloadStarted", MINUTES);
    kill(qemu_of(&logs.join("shop.db.events.log")), Signal::SIGKILL).unwrap();
    let ran = running.finish_within(MINUTES);
    let document = read(&ran.stdout);
    let reasons = texts(&document["tests"][0]["reasons"]);
    assert!(ran.status == Some(125) && reasons.len() == 1 && reasons[0].starts_with("db: "), "{document:#}");
}

/// Waits until a log has this text.
#[track_caller]
fn wait_for(log: &Path, text: &str, patience: Duration) {
    let begun = Instant::now();
    while !fs::read_to_string(log).is_ok_and(|all| all.contains(text)) {
        assert!(begun.elapsed() < patience, "no {text} in {}", log.display());
        thread::sleep(Duration::from_millis(50));
    }
}

/// The process in a line like `Started { pid: 4711, accel: Tcg }`.
fn qemu_of(log: &Path) -> Pid {
    let text = fs::read_to_string(log).unwrap();
    let digits = text.split_once("Started { pid: ").unwrap_or_else(|| panic!("{text}")).1;
    Pid::from_raw(digits.split(',').next().unwrap().parse().unwrap())
}
