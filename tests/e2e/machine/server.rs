//! redis from Debian's package, as its own user with a volume: a write survives the power button.

use crate::e2e::{Bench, Kernel, PATIENCE, Running, image};
use crate::e2e_disk;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

#[test]
fn redis_has_after_the_power_button_what_was_written_before() {
    let bench = Bench::new(Kernel::Cloud);
    let disk = bench.build(image("redis.oci"), "redis.img", &[]);
    let power_off = |running: Running, monitor: &Path| {
        press_power_button(monitor);
        let ran = running.finish().expect_status(0);
        assert!(ran.text().contains("Received SIGTERM scheduling shutdown"), "{}", ran.text());
    };

    let (mut running, port, monitor) = start(&bench, &disk);
    assert_eq!(ask(&mut running, port, "GET greeting"), "$-1");
    assert_eq!(ask(&mut running, port, "SET greeting hello"), "+OK");
    power_off(running, &monitor.path().join("qmp"));
    e2e_disk::check(&disk);

    let (mut running, port, monitor) = start(&bench, &disk);
    assert_eq!(ask(&mut running, port, "GET greeting"), "$5\r\nhello");
    power_off(running, &monitor.path().join("qmp"));

    let text = bench.run_other(&disk, &[], &["sh", "-c", "id -un; stat -c %U /data /data/*"]).expect_status(0).text();
    assert!(text.lines().count() >= 3 && text.lines().all(|owner| owner == "redis"), "{text}");
}

/// The machine with a forwarded port, and a monitor of its own in a folder with a short path.
fn start(bench: &Bench, disk: &Path) -> (Running, u16, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let forward = format!("{port}:6379");
    let monitor = format!("--qemu-arg=unix:{},server=on,wait=off", folder.path().join("qmp").display());
    let options = ["--write", "-p", &forward, "--qemu-arg=-qmp", &monitor];
    (Running::start(&mut bench.run_command(disk, &options)), port, folder)
}

/// One command and its answer without the last line's end. The server is asked until it is there.
fn ask(running: &mut Running, port: u16, command: &str) -> String {
    let started = Instant::now();
    while started.elapsed() < PATIENCE && !running.is_over() {
        if let Ok(answer) = try_ask(port, command)
            && answer.ends_with("\r\n")
            && !answer.starts_with("-LOADING")
        {
            return answer.trim_end().to_owned();
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    panic!("redis does not answer to {command}");
}

fn try_ask(port: u16, command: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    // QUIT ends the connection, and so the answer.
    stream.write_all(format!("{command}\r\nQUIT\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let first = answer.strip_suffix("+OK\r\n").ok_or(std::io::ErrorKind::UnexpectedEof)?;
    Ok(first.to_owned())
}

/// `system_powerdown` of the QEMU Machine Protocol: the ACPI power button.
pub fn press_power_button(monitor: &Path) {
    let mut socket = UnixStream::connect(monitor).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    assert!(read_line(&mut socket).contains("QMP"));
    for command in ["qmp_capabilities", "system_powerdown"] {
        socket.write_all(format!("{{\"execute\":\"{command}\"}}\n").as_bytes()).unwrap();
        // Events may come before the answer.
        while !read_line(&mut socket).contains("return") {}
    }
}

fn read_line(socket: &mut UnixStream) -> String {
    let (mut line, mut byte) = (Vec::new(), [0]);
    while byte[0] != b'\n' {
        assert_eq!(socket.read(&mut byte).unwrap(), 1, "the monitor is gone");
        line.push(byte[0]);
    }
    String::from_utf8_lossy(&line).into_owned()
}
