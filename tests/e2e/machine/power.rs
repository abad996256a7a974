//! One disk booted again and again, its machine killed in the middle of half of the boots: every next boot comes up,
//! and what was synced is there.

use super::{Random, busybox_disk, lose_power};
use crate::e2e::{Bench, Kernel, PATIENCE};
use crate::e2e_disk;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

/// Counts on from the last number in the log. Each number is on the disk before it is said; files come and go beside
/// it. `STEPS` numbers, or without end.
const WRITER: &str = "
    touch /volume/log
    awk 'NR != $1 { print \"line\", NR, \"is\", $0 }' /volume/log
    n=$(wc -l < /volume/log)
    echo begin $n
    end=$((n + ${STEPS:-1000000}))
    while [ $n -lt $end ]; do
        n=$((n + 1))
        head -c $((n % 7 * 9000)) /data/numbers > /volume/file-$((n % 5))
        mkdir -p /volume/folder-$((n % 3)); mv /volume/file-$((n % 5)) /volume/folder-$((n % 3))/
        echo $n >> /volume/log
        sync /volume/log
        echo synced $n
    done
";

#[test]
fn every_boot_after_a_hard_kill_comes_up_and_has_what_was_synced() {
    let boots = if std::env::var_os("BOOTDISK_TEST_FULL").is_some() { 100 } else { 10 };
    let mut random = Random::seeded();
    let bench = Bench::new(Kernel::Cloud);
    let disk = busybox_disk(&bench, &[]);
    let mut known = 0;
    for boot in 0..boots {
        let is_killed = boot % 2 == 0;
        let mut machine = Machine::start(&bench, &disk, if is_killed { "" } else { "9" });
        let begun = machine.begin();
        assert!(begun >= known, "boot {boot}: {begun} lines, and {known} were synced");
        known = begun;
        if is_killed {
            // At least one number has been synced in this boot, and then it is any moment.
            known = machine.next_synced().expect("a first number");
            thread::sleep(Duration::from_millis(random.below(1500)));
            machine.lose_power();
        }
        while let Some(number) = machine.next_synced() {
            known = number;
        }
        machine.end(if is_killed { 125 } else { 0 });
    }
    e2e_disk::check(&disk);

    // A root that is not to be written, on a disk that lost its power: it is as whole.
    let mut machine = Machine::start(&bench, &disk, "");
    machine.begin();
    known = machine.next_synced().expect("a first number");
    machine.lose_power();
    machine.end(125);
    assert!(e2e_disk::complaint(&disk).is_some(), "a machine that lost its power leaves a clean disk");
    let script = "awk 'NR != $1' /volume/log; wc -l < /volume/log";
    let options = ["--write", "--ephemeral", "--nic", "none", "--firmware", "direct"];
    let text = bench.run_other(&disk, &options, &["sh", "-c", script]).expect_status(0).text();
    assert!(text.trim().parse::<u64>().is_ok_and(|lines| lines >= known), "{text}, and {known} were synced");
}

/// A running `bootdisk run` and the lines of its workload.
struct Machine {
    run: Child,
    lines: Receiver<String>,
}

impl Machine {
    fn start(bench: &Bench, disk: &Path, steps: &str) -> Machine {
        let steps = format!("STEPS={steps}");
        let options =
            ["--write", "--nic", "none", "--firmware", "direct", "--cpus", "1", "-m", "256m", "--env", &steps];
        let mut command = bench.run_command(disk, &options);
        let mut run = command.args(["--", "sh", "-c", WRITER]).stdout(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = channel();
        let stdout = BufReader::new(run.stdout.take().unwrap());
        thread::spawn(move || stdout.lines().map_while(Result::ok).for_each(|line| _ = sender.send(line)));
        Machine { run, lines }
    }

    fn next_line(&self) -> Option<String> {
        self.lines.recv_timeout(PATIENCE).ok()
    }

    /// How many lines the log has.
    fn begin(&self) -> u64 {
        let line = self.next_line().expect("the machine comes up");
        line.strip_prefix("begin ").and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("the log: {line}"))
    }

    /// The next number that is on the disk; `None` when the machine has ended.
    fn next_synced(&self) -> Option<u64> {
        let line = self.next_line()?;
        Some(line.strip_prefix("synced ").and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("{line}")))
    }

    /// SIGKILL for QEMU.
    fn lose_power(&self) {
        assert!(lose_power(&self.run), "bootdisk's QEMU is not there");
    }

    fn end(&mut self, status: i32) {
        assert_eq!(self.run.wait().unwrap().code(), Some(status));
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        _ = self.run.kill();
        _ = self.run.wait();
    }
}
