//! A guest that tries: to forge its result, to drown its host, and to write into the terminals of those who watch it.

use super::busybox;
use crate::e2e::{Bench, Kernel, run};
use crate::tools;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// An image whose own name is a terminal's order to change its title.
fn image(bench: &Bench) -> PathBuf {
    let path = bench.path("\u{1b}]0;owned\u{7}x.oci.tar");
    fs::rename(busybox::archive(bench.path("image").parent().unwrap()), &path).unwrap();
    path
}

/// A frame of the host channel that says that the workload ended with 0, as a shell's printf takes it.
fn forged_result() -> String {
    let document = r#"{"process":0,"nonce":"00000000000000000000000000000000","outcome":{"exited":0},"oom":false}"#;
    let frame = [&[0, 0, 0, 0, 7, 0, 0, 0][..], &(document.len() as u32).to_le_bytes(), document.as_bytes()].concat();
    frame.iter().map(|byte| format!("\\{byte:03o}")).collect()
}

/// What a terminal would obey: everything but text and the ends of its lines.
#[track_caller]
fn assert_harmless(what: &str, text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    let bad = text.chars().find(|&c| c.is_control() && c != '\n' || ('\u{202a}'..='\u{202e}').contains(&c));
    assert_eq!(bad, None, "{what}:\n{text:?}");
}

/// Orders to a terminal: title, clipboard, answers, 8-bit controls, a reversed line, invalid UTF-8.
const ORDERS: &str = r"\033]0;owned\007\033]52;c;b3duZWQ=\007\033[6n\033P+q544e\033\\\302\233 2J\342\200\256\377\r\b";

#[test]
fn a_workload_forges_nothing_drowns_nobody_and_orders_no_terminal() {
    let bench = Bench::new(Kernel::Cloud);
    let image = image(&bench);
    let frame = forged_result();
    // Text that looks like ours, on every way out there is; the port that PID 1 holds; a result that is the truth.
    let script = format!(
        "port=$(ls /dev/vport* | head -n 1)
        printf '{frame}'; printf '{frame}' > /dev/console; printf '{frame}' > /dev/kmsg
        (printf '{frame}' > $port) 2>/dev/null && echo the port is open
        printf '{ORDERS}' > /dev/console; printf '<0>bootdisk: {ORDERS}\\n' > /dev/kmsg
        printf 'Kernel panic - not syncing: {ORDERS}\\n---[ end Kernel panic ]---\\n' > /dev/console
        hostname \"$(printf '\\033]0;owned\\007')\"
        head -c 200000 /dev/zero > /dev/console
        head -c 30000000 /dev/zero
        echo; echo ready; read line; exit 7"
    );
    let mut command = bench.run_command(&image, &["--console", "--name", "intruder", "-i"]);
    command.args(["--", "sh", "-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stderr = child.stderr.take().unwrap();
    let said = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut stderr, &mut bytes).map(|_| bytes).unwrap()
    });
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut flood = Vec::new();
    reader.read_until(b'\n', &mut flood).unwrap();
    let zeros = flood.iter().filter(|&&byte| byte == 0).count();
    assert!(zeros >= 30_000_000 && flood.len() < 30_001_000, "{zeros} of {} bytes", flood.len());
    let mut ready = String::new();
    reader.read_line(&mut ready).unwrap();
    assert_eq!(ready, "ready\n");

    let ps = run(bench.bootdisk().args(["ps"])).expect_status(0);
    assert!(ps.text().contains("intruder") && ps.text().contains("running"), "{}", ps.text());
    assert_harmless("ps", &ps.stdout);
    let orders = "\u{1b}]0;owned\u{7}\u{202e}x";
    let none = run(bench.bootdisk().args(["exec", "intruder", "--", orders])).expect_status(127);
    assert!(none.stderr.contains("\\x1b]0;owned"), "{}", none.stderr);
    assert_harmless("exec", none.stderr.as_bytes());
    for other in [["--user", orders], ["--workdir", orders]] {
        let refused = run(bench.bootdisk().args(["exec"]).args(other).args(["intruder", "--", "true"]));
        assert_ne!(refused.status, Some(0));
        assert_harmless(other[0], refused.stderr.as_bytes());
    }
    drop(child.stdin.take());
    assert_eq!(child.wait().unwrap().code(), Some(7), "the result is the workload's own");
    let said = said.join().unwrap();
    assert!(String::from_utf8_lossy(&said).contains("owned"), "its orders are shown as text");
    assert_harmless("the console of run", &said);
}

#[test]
fn a_workload_that_takes_the_port_from_pid_1_gets_no_verdict_out_of_it() {
    let bench = Bench::new(Kernel::Cloud);
    let image = image(&bench);
    let frame = forged_result();
    // The driver is taken from PID 1 and given back: then the port is whoever opens it first.
    let script = format!(
        "printf '{ORDERS}\\n' | tee /dev/console >&2
        device=$(basename $(dirname $(dirname $(readlink -f /sys/class/virtio-ports/vport*))))
        driver=/sys/bus/virtio/drivers/virtio_console
        echo $device > $driver/unbind; echo $device > $driver/bind
        cd /sys/class/virtio-ports/vport*; mknod /tmp/port c $(tr : ' ' < dev); cd /
        exec 3> /tmp/port
        printf '{frame}' >&3
        printf '\\0\\0\\0\\0\\015\\0\\0\\0\\0\\0\\0\\0' >&3
        cat /dev/zero >&3"
    );
    let junit = bench.path("report.xml");
    let logs = bench.path("logs");
    let mut command = bench.bootdisk();
    command.args(["test", "--accel", "tcg", "--exit-code", "0", "--timeout", "100s", "--junit"]).arg(&junit);
    command.arg("--log-dir").arg(&logs).arg(&image).args(["--", "sh", "-c", &script]);
    let ran = run(&mut command);
    assert!(matches!(ran.status, Some(1 | 124 | 125)), "{:?}\n{}\n{}", ran.status, ran.text(), ran.stderr);
    assert!(!ran.text().contains("1 passed"), "{}", ran.text());
    assert_harmless("the table", &ran.stdout);
    assert_harmless("standard error", ran.stderr.as_bytes());
    let report = fs::read(&junit).unwrap();
    assert_harmless("JUnit", &report);
    tools::stdout(Command::new("xmllint").arg("--noout").arg(&junit));
    let events = fs::read_dir(&logs).unwrap().map(|entry| entry.unwrap().path());
    let events =
        events.filter(|path| path.to_string_lossy().ends_with("events.log")).map(|path| fs::read(path).unwrap());
    assert_harmless("events.log", &events.flatten().collect::<Vec<u8>>());
    println!("{}\n{}", ran.text(), ran.stderr);
}
