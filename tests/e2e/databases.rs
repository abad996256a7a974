//! A database on a volume: what it has acknowledged is there whatever happens to machines, images and kernels.

use crate::e2e::{Bench, Kernel, Ran, Running, run, tagged};
use crate::tools;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::path::PathBuf;
use std::process::Command;

const PLACE: &str = "/var/lib/postgresql/data";
/// Hard ends of the machine.
const ENDS: usize = 50;

struct Database {
    bench: Bench,
    home: PathBuf,
}

impl Database {
    fn bootdisk(&self, mut command: Command) -> Command {
        command.env("XDG_DATA_HOME", &self.home);
        command
    }

    fn machine(&self, name: &str, image: &str, options: &[&str]) -> Command {
        let kernel = Kernel::Cloud.package().display().to_string();
        let volume = format!("rows:{PLACE}");
        let mut command = self.bench.run_command(image, &["-q", "-d", "--name", name, "--kernel", &kernel]);
        command.args(["-v", &volume]).args(options);
        self.bootdisk(command)
    }

    /// Starts it, and waits until it answers.
    #[track_caller]
    fn start(&self, image: &str, options: &[&str]) {
        run(&mut self.machine("db", image, options)).expect(0, "db\n");
        self.shell("until psql -qc 'select 1' >/dev/null 2>&1; do sleep 0.2; done").expect_status(0);
    }

    fn exec(&self, script: &str) -> Command {
        // Debian's own psql in front of it is a script that takes its time.
        let script = format!("PATH=$(echo /usr/lib/postgresql/*/bin):$PATH; {script}");
        let mut command = self.bench.bootdisk();
        command.args(["exec", "db", "sh", "-c", &script]);
        command
    }

    fn shell(&self, script: &str) -> Ran {
        run(&mut self.exec(script))
    }

    /// As a power cut: QEMU goes with the process that started it.
    fn end_hard(&self) {
        let listed = run(self.bench.bootdisk().args(["ps", "--json"])).expect_status(0).text();
        let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
        let pid = i32::try_from(listed[0]["pid"].as_i64().unwrap()).unwrap();
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    }

    fn volume(&self, words: &[&str]) -> Ran {
        let mut command = self.bootdisk(self.bench.bootdisk());
        run(command.arg("volume").args(words))
    }

    /// The volume's file, when no machine has it any more.
    fn file(&self) -> String {
        while self.volume(&["list", "--json"]).text().contains("\"in_use\": true") {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        self.volume(&["path", "rows"]).expect_status(0).text().trim_end().to_owned()
    }
}

#[test]
#[ignore = "fifty boots of a database take minutes"]
fn a_database_on_a_volume_keeps_every_row_that_it_has_acknowledged() {
    let bench = Bench::new(Kernel::Cloud);
    let home = bench.path("home");
    let database = Database { bench, home };
    let (first, newer) = (tagged("postgres.oci", "latest"), tagged("postgres.oci", "newer"));
    database.start(&first, &["--volume-size", "1G"]);
    database.shell("psql -qc 'create table t (n int primary key)'").expect(0, "");
    let mut acknowledged = 0;
    for end in 0..ENDS {
        let insert = format!(
            "n={}; while psql -qAtc \"insert into t values ($n) returning n\"; do n=$((n + 1)); done",
            acknowledged + 1
        );
        let writer = Running::start(&mut database.exec(&insert));
        let until = acknowledged + 1 + end % 5;
        let wait = format!("until [ $(psql -qAtc 'select count(*) from t') -ge {until} ]; do :; done");
        database.shell(&wait).expect(0, "");
        database.end_hard();
        let written = writer.finish();
        let last = written.text().lines().last().and_then(|line| line.parse().ok());
        let said: usize = last.unwrap_or(acknowledged);
        database.file();
        database.start(&first, &[]);
        let rows = database.shell("psql -qAtc 'select n from t order by n'").expect_status(0).text();
        let rows: Vec<usize> = rows.lines().map(|line| line.parse().unwrap()).collect();
        // The last one may have been written and not acknowledged.
        assert!(rows.len() == said || rows.len() == said + 1, "{said} acknowledged, {rows:?}");
        assert!(rows.iter().copied().eq(1..=rows.len()), "{rows:?}");
        acknowledged = rows.len();
    }

    let second = run(&mut database.machine("second", &newer, &[])).expect_status(125);
    assert!(second.stderr.contains("volume is in use by another machine: rows"), "{}", second.stderr);
    run(database.bench.bootdisk().args(["stop", "-t", "60", "db"])).expect_status(0);
    tools::stdout(Command::new("e2fsck").args(["-fn", &database.file()]));

    // Another image, and ten times the room.
    database.start(&newer, &["--volume-size", "10G"]);
    let script =
        format!("cat /etc/release-of-this-image; psql -qAtc 'select count(*) from t'; df -k {PLACE} | tail -n 1");
    let seen = database.shell(&script).expect_status(0).text();
    let room = seen.strip_prefix(&format!("newer\n{acknowledged}\n")).unwrap_or_else(|| panic!("{seen}"));
    let size: u64 = room.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(size > 9 << 20, "{room}");
    run(database.bench.bootdisk().args(["stop", "-t", "60", "db"])).expect_status(0);
    tools::stdout(Command::new("e2fsck").args(["-fn", &database.file()]));
}
