//! How far a guest gets: not to this host's loopback addresses, whatever it tries, and everywhere else as before.
//!
//! ```text
//!  network namespace "host"                        network namespace "outside"
//!    lo    127.0.0.0/8, ::1: services               10.77.0.2, fd77::2: services, a name server
//!    bootdisk, QEMU ──── veth 10.77.0.1, fd77::1 ──────┘
//! ```
//!
//! Both namespaces are the test's own, so that no service and no name server of the real host is in the way.

use super::busybox;
use crate::e2e::{Bench, Kernel, Ran, Running};
use crate::images::TarBuilder;
use crate::tools;
use nix::sched::{CloneFlags, unshare};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// In the machine: TCP, UDP.
const FORWARDS: [&str; 4] = ["-p", "127.0.0.1:7001:7001", "-p", "127.0.0.1:7002:7002/udp"];

/// Says `reached` to everybody who connects.
fn serve_tcp(address: &str) {
    let listener = TcpListener::bind((address, 7000)).unwrap();
    thread::spawn(move || listener.incoming().flatten().for_each(|mut client| _ = client.write_all(b"reached")));
}

/// Says `reached` to every datagram, and keeps them.
fn serve_udp(address: &str) -> Arc<Mutex<Vec<String>>> {
    let socket = UdpSocket::bind((address, 7000)).unwrap();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&heard);
    thread::spawn(move || {
        let mut bytes = [0; 512];
        while let Ok((length, client)) = socket.recv_from(&mut bytes) {
            keep.lock().unwrap().push(String::from_utf8_lossy(&bytes[..length]).into_owned());
            _ = socket.send_to(b"reached", client);
        }
    });
    heard
}

/// A name server (RFC 1035) that knows one address for every name.
fn serve_names(address: &str, known: [u8; 4]) {
    let socket = UdpSocket::bind((address, 53)).unwrap();
    thread::spawn(move || {
        let mut query = [0; 512];
        while let Ok((length, client)) = socket.recv_from(&mut query) {
            let Some(end) = query[12..length].iter().position(|&byte| byte == 0).map(|at| 12 + at + 5) else {
                continue;
            };
            let wants_v4 = query[end - 4..end - 2] == [0, 1];
            let mut answer = query[..end].to_vec();
            answer[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, wants_v4.into(), 0, 0, 0, 0]);
            if wants_v4 {
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
                answer.extend(known);
            }
            _ = socket.send_to(&answer, client);
        }
    });
}

/// Two namespaces, of which the calling thread is in the host's.
struct World {
    /// Datagrams that came to the host's loopback addresses.
    heard: [Arc<Mutex<Vec<String>>>; 2],
    outside: Child,
}

impl World {
    fn new() -> World {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let outside = Command::new("sleep").arg("infinity").stdin(Stdio::null()).spawn().unwrap();
        ip("link set lo up");
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        ip("link set lo up");
        ip(&format!("link add here type veth peer name there netns {}", outside.id()));
        ip("addr add 10.77.0.1/24 dev here");
        ip("addr add fd77::1/64 dev here nodad");
        ip("link set here up");
        let world = World { heard: ["127.0.0.1", "::1"].map(serve_udp), outside };
        // On every address of the host, and so on every loopback address.
        serve_tcp("0.0.0.0");
        serve_tcp("::1");
        serve_names("127.0.0.53", [192, 0, 2, 53]);
        world.serve_outside();
        world
    }

    fn serve_outside(&self) {
        let namespace = std::fs::File::open(format!("/proc/{}/ns/net", self.outside.id())).unwrap();
        let inside = move || {
            nix::sched::setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
            ip("addr add 10.77.0.2/24 dev there");
            ip("addr add fd77::2/64 dev there nodad");
            ip("link set there up");
            serve_tcp("10.77.0.2");
            serve_tcp("fd77::2");
            serve_udp("10.77.0.2");
            serve_names("10.77.0.2", [192, 0, 2, 77]);
        };
        thread::spawn(inside).join().unwrap();
    }

    /// A program of this home where resolv.conf(5) names this server.
    fn command(&self, bench: &Bench, name_server: &str) -> Command {
        let file = bench.path("resolv.conf");
        std::fs::write(&file, format!("nameserver {name_server}\n")).unwrap();
        let script = "mount --bind \"$1\" /etc/resolv.conf && shift && exec \"$@\"";
        let mut command = bench.at_home("unshare");
        command.args(["--mount", "sh", "-c", script, "sh"]).arg(file).arg(bench.bootdisk().get_program());
        command
    }

    /// What has come by UDP to the host's loopback addresses since the last time.
    fn heard(&self) -> Vec<String> {
        let mut all: Vec<String> =
            self.heard.iter().flat_map(|heard| std::mem::take(&mut *heard.lock().unwrap())).collect();
        all.sort();
        all
    }
}

impl Drop for World {
    fn drop(&mut self) {
        _ = self.outside.kill();
        _ = self.outside.wait();
    }
}

fn ip(arguments: &str) {
    tools::stdout(Command::new("ip").args(arguments.split(' ')));
}

/// Busybox, and a program for what it has no words for.
fn image(bench: &Bench) -> PathBuf {
    let program = bench.path("intruder");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/intruder.c");
    tools::stdout(Command::new("gcc").args(["-static", "-O1", "-o"]).arg(&program).arg(source));
    let layer = TarBuilder::new().file("bin/intruder", 0o755, &std::fs::read(program).unwrap()).build();
    let path = bench.path("intruder.oci.tar");
    std::fs::write(&path, busybox::image().layer(layer).oci_archive()).unwrap();
    path
}

fn run(mut command: Command, what: &str, options: &[&str], image: &Path, script: &str) -> Running {
    command.args([what, "--accel", "tcg", "--cpus", "1"]).args(options).arg(image).args(["--", "sh", "-c", script]);
    Running::start(&mut command)
}

/// Asks a forwarded TCP port until it answers, or the machine is over.
fn ask_tcp(port: u16, running: &mut Running) -> String {
    let mut answer = String::new();
    while answer.is_empty() && !running.is_over() {
        if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) {
            // QEMU takes the connection before the guest does.
            _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
            _ = stream.read_to_string(&mut answer);
        }
        thread::sleep(Duration::from_millis(50));
    }
    answer
}

/// The same by UDP.
fn ask_udp(port: u16, running: &mut Running) -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let mut bytes = [0; 64];
    while !running.is_over() {
        _ = socket.send_to(b"request", ("127.0.0.1", port));
        if let Ok(length) = socket.recv(&mut bytes) {
            return String::from_utf8_lossy(&bytes[..length]).into_owned();
        }
    }
    String::new()
}

/// In namespaces of its own: on a thread of its own.
fn in_a_world<T: Send + 'static>(test: impl FnOnce(World) -> T + Send + 'static) -> T {
    thread::spawn(|| test(World::new())).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Every address by which a guest could get to the host's loopback: the gateway, the name server, any other of QEMU's
/// own network, a forwarded port from inside, 127.0.0.5 itself put on the wire; by TCP and UDP, IPv4 and IPv6.
const TRIES: &str = "
    ip route add 10.0.2.200 via 10.0.2.2
    for address in 10.0.2.2 10.0.2.3 10.0.2.200; do intruder tcp $address 7000; done
    intruder tcp 10.0.2.2 7001
    intruder tcp fec0::2 7000 patient; intruder tcp fec0::3 7000
    ip route del local 127.0.0.0/8 dev lo table local
    ip route add 127.0.0.5 via 10.0.2.2
    echo 1 > /proc/sys/net/ipv4/conf/eth0/route_localnet
    intruder tcp 127.0.0.5 7000
    for address in 10.0.2.2 10.0.2.3 10.0.2.200 127.0.0.5 fec0::2 fec0::3; do intruder udp $address 7000 $address; done
";

#[test]
fn a_guest_reaches_the_outside_and_names_and_nothing_on_the_hosts_loopback() {
    in_a_world(|world| {
        let bench = Bench::new(Kernel::Cloud);
        let image = image(&bench);
        let script = format!(
            "nc -ll -p 7001 -e echo forwarded & intruder serve 7002 10.0.2.2 7000
            {TRIES}
            nslookup any.test | grep -o 'Address: 192.*'
            nslookup any.test 10.77.0.2 | grep -o 'Address: 192.*'
            intruder tcp 10.77.0.2 7000; intruder tcp fd77::2 7000 patient; intruder ask 10.77.0.2 7000
            intruder tcp 10.77.0.1 7000"
        );
        let options = [&FORWARDS[..], &["--wait-online"]].concat();
        let mut running = run(world.command(&bench, "127.0.0.53"), "run", &options, &image, &script);
        assert_eq!(ask_tcp(7001, &mut running), "forwarded\n");
        assert_eq!(ask_udp(7002, &mut running), "answered");
        let text = running.finish().expect_status(0).text();
        let lines: Vec<&str> = text.lines().collect();
        let (tries, rest) = lines[1..].split_at(7);
        let fails =
            |line: &&str| ["Connection refused", "Network is unreachable"].iter().any(|end| line.ends_with(end));
        assert!(lines[0] == "served" && tries.iter().all(fails), "{text}");
        // The same guest has a network all the same.
        let expected = "Address: 192.0.2.53\nAddress: 192.0.2.77\ntcp 10.77.0.2: reached\ntcp fd77::2: reached\n\
            udp 10.77.0.2: reached\ntcp 10.77.0.1: reached";
        assert_eq!(rest.join("\n"), expected);
        // The datagrams went before what was reached.
        assert_eq!(world.heard(), [""; 0]);

        // Asked for, the same tries lead there.
        let script = format!("{TRIES} intruder ask 10.0.2.2 7000; sleep 1000");
        let reached = ["tcp 10.0.2.2", "tcp fec0::2", "udp 10.0.2.2"].map(|what| format!("--expect={what}: reached"));
        let reached: Vec<&str> = reached.iter().map(String::as_str).collect();
        let options = [&["--host-loopback", "--wait-online"][..], &reached].concat();
        let ran: Ran = run(world.command(&bench, "10.77.0.2"), "test", &options, &image, &script).finish();
        ran.expect_status(0);
        let heard = world.heard();
        for address in ["10.0.2.2", "fec0::2"] {
            assert!(heard.iter().any(|text| text == address), "{address} in {heard:?}");
        }
    });
}

#[test]
fn a_machine_without_a_network_reaches_nothing_even_where_the_guest_brings_up_the_card() {
    in_a_world(|world| {
        let bench = Bench::new(Kernel::Cloud);
        let disk = bench.build(image(&bench), "disk.img", &["--net", "none"]);
        let script = "
            ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0; ip route add default via 10.0.2.2
            ip addr add fec0::15/64 dev eth0; ip route add fd77::/64 via fec0::2
            while grep -q '^fec0.* [4-7c-f]. *eth0' /proc/net/if_inet6; do sleep 0.1; done
            for address in 10.0.2.2 10.0.2.3 10.77.0.2 fec0::2 fd77::2; do
                intruder tcp $address 7000 | grep -o reached
                intruder udp $address 7000 $address
            done
            nc -ll -p 7001 -e echo forwarded & nc -l -p 7002 -e echo over; echo done";
        let options = ["-p", "127.0.0.1:7001:7001", "-p", "127.0.0.1:7002:7002"];
        let mut running = run(world.command(&bench, "10.77.0.2"), "run", &options, &disk, script);
        assert_eq!(ask_tcp(7001, &mut running), "forwarded\n");
        ask_tcp(7002, &mut running);
        let ran = running.finish();
        ran.expect(0, "done\n");
        assert_eq!(world.heard(), [""; 0]);
    });
}
