//! A server from a distribution's package, in layers with whiteouts: a page comes through the forwarded port.

use crate::{e2e, e2e_disk, tools};
use e2e::{Bench, Kernel, PATIENCE, Running, image, sha256};
use nix::sys::signal::Signal;
use std::net::TcpListener;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn a_page_under_bios() {
    serves_under("bios");
}

#[test]
fn a_page_under_uefi() {
    serves_under("uefi");
}

fn serves_under(firmware: &str) {
    let bench = Bench::new(Kernel::Cloud);
    let disk = bench.build(image("nginx.oci"), "nginx.img", &[]);
    e2e_disk::check(&disk);
    let before = sha256(&disk);

    let port = free_port();
    let forward = format!("{port}:80");
    let mut running =
        Running::start(&mut bench.run_command(&disk, &["--firmware", firmware, "--cpus", "2", "-p", &forward]));
    let page = fetch(&mut running, &format!("http://127.0.0.1:{port}/"));
    running.signal(Signal::SIGTERM);
    let ran = running.finish().expect_status(0);

    assert_eq!(
        page.as_deref(),
        Some("a page from the layer above nginx\n"),
        "it said:\n{}\n{}",
        ran.text(),
        ran.stderr
    );
    assert!(ran.text().contains("\"GET / HTTP/1.1\" 200"), "the access log is on standard output:\n{}", ran.text());
    assert_eq!(sha256(&disk), before, "run wrote to the disk without --write");
}

/// A port nothing listens on at this moment.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The page as curl gets it, asked for until the machine answers or ends.
pub fn fetch(running: &mut Running, url: &str) -> Option<String> {
    let started = Instant::now();
    while started.elapsed() < PATIENCE && !running.is_over() {
        let curl =
            tools::run(Command::new("curl").args(["--silent", "--fail", "--noproxy", "*", "--max-time", "5", url]));
        if curl.status.success() {
            return Some(String::from_utf8_lossy(&curl.stdout).into_owned());
        }
        thread::sleep(Duration::from_millis(200));
    }
    None
}
