//! A program in QEMU's place tries every call that names an address, and the kernel is the one that asks.

use super::super::machine::{MachineOptions, Nic, Reach};
use super::super::spawn::{Confined, Process};
use super::{around, watch};
use crate::arch::Architecture;
use std::ffi::OsString;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

/// Each try with what came of it, one a line on standard error. The arguments are the servers' ports (TCP and UDP, IPv4
/// and IPv6), a socket's path, and a port that is forwarded.
const TRIES: &str = r#"
import ctypes, errno, select, socket, sys
tcp4, tcp6, udp4, udp6 = map(int, sys.argv[1:5])
path, forwarded = sys.argv[5], int(sys.argv[6])
V4, V6, TCP, UDP = socket.AF_INET, socket.AF_INET6, socket.SOCK_STREAM, socket.SOCK_DGRAM

def connect(family, kind, *address):
    with socket.socket(family, kind) as s:
        s.setblocking(kind == UDP or family == socket.AF_UNIX)
        if s.connect_ex(address if family != socket.AF_UNIX else address[0]) == errno.ECONNREFUSED:
            raise ConnectionRefusedError

def send(family, how, *address):
    with socket.socket(family, UDP) as s:
        how(s, address)

def sendto(s, address):
    s.sendto(b"x", address)

def sendmsg(s, address):
    s.sendmsg([b"x"], [], 0, address)

def sendmmsg(s, address):
    name = ctypes.create_string_buffer(
        socket.AF_INET.to_bytes(2, sys.byteorder) + address[1].to_bytes(2, "big") + socket.inet_aton(address[0]) + bytes(8))
    body = ctypes.create_string_buffer(b"x")
    class Iov(ctypes.Structure):
        _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]
    class Msg(ctypes.Structure):
        _fields_ = [("name", ctypes.c_void_p), ("namelen", ctypes.c_uint32), ("iov", ctypes.POINTER(Iov)),
                    ("iovlen", ctypes.c_size_t), ("control", ctypes.c_void_p), ("controllen", ctypes.c_size_t),
                    ("flags", ctypes.c_int), ("sent", ctypes.c_uint)]
    part = Iov(ctypes.addressof(body), 1)
    message = Msg(ctypes.addressof(name), 16, ctypes.pointer(part), 1, None, 0, 0, 0)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.sendmmsg(s.fileno(), ctypes.byref(message), 1, 0) != 1:
        raise OSError(ctypes.get_errno(), "sendmmsg")

def attempt(name, call, *arguments):
    try:
        call(*arguments)
        result = "goes on"
    except ConnectionRefusedError:
        result = "refused"
    except OSError as error:
        result = "goes on" if error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH) else str(error)
    print(name, result, sep=": ", file=sys.stderr)

attempt("tcp 127.0.0.1", connect, V4, TCP, "127.0.0.1", tcp4)
attempt("tcp 127.9.9.9", connect, V4, TCP, "127.9.9.9", tcp4)
attempt("tcp 0.0.0.0", connect, V4, TCP, "0.0.0.0", tcp4)
attempt("tcp ::1", connect, V6, TCP, "::1", tcp6)
attempt("tcp ::ffff:127.0.0.1", connect, V6, TCP, "::ffff:127.0.0.1", tcp4)
attempt("tcp ::", connect, V6, TCP, "::", tcp6)
attempt("udp connect", connect, V4, UDP, "127.0.0.1", udp4)
for how in sendto, sendmsg, sendmmsg:
    attempt("udp " + how.__name__, send, V4, how, "127.0.0.1", udp4)
attempt("udp ::1", send, V6, sendto, "::1", udp6)
attempt("udp flags", send, V4, lambda s, to: s.sendto(b"x", socket.MSG_DONTWAIT, to), "127.0.0.1", udp4)

attempt("unix", connect, socket.AF_UNIX, TCP, path)
attempt("outside tcp", connect, V4, TCP, "192.0.2.77", 9)
attempt("outside udp", send, V4, sendto, "192.0.2.77", 9)
attempt("outside udp 6", send, V6, sendto, "2001:db8::77", 9)
one, other = socket.socketpair()
one.sendall(b"x")
attempt("pair", lambda: other.recv(1))

server = socket.socket(V4, UDP)
server.bind(("127.0.0.1", forwarded))
print("listens", file=sys.stderr)
# As QEMU does: it reads what is there.
select.select([server], [], [])
request, client = server.recvfrom(100)
attempt("answer", lambda: server.sendto(b"answer", client))
attempt("another", lambda: server.sendto(b"x", ("127.0.0.1", udp4)))
other = socket.socket(V4, UDP)
attempt("from elsewhere", lambda: other.sendto(b"x", client))
"#;

/// The tries' first part that a fence refuses; the rest goes on.
const REFUSED: usize = 12;

struct Servers {
    tcp: [TcpListener; 2],
    udp: [UdpSocket; 2],
    forwarded: u16,
    folder: tempfile::TempDir,
    _unix: UnixListener,
}

fn servers() -> Servers {
    let folder = tempfile::tempdir().unwrap();
    Servers {
        tcp: ["0.0.0.0:0", "[::1]:0"].map(|at| TcpListener::bind(at).unwrap()),
        udp: ["127.0.0.1:0", "[::1]:0"].map(|at| UdpSocket::bind(at).unwrap()),
        forwarded: UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port(),
        _unix: UnixListener::bind(folder.path().join("socket")).unwrap(),
        folder,
    }
}

/// Runs the tries in a machine's place; returns what they say, and why there was no fence, if there was none.
fn tries(reach: Reach, servers: &Servers) -> (String, Option<String>) {
    let mut machine = MachineOptions { reach, ..MachineOptions::new(Architecture::X86_64, "unused".into()) };
    machine.forwards = vec![format!("{0}:{0}/udp", servers.forwarded).parse().unwrap()];
    let ports = servers.tcp.iter().map(|server| server.local_addr()).chain(servers.udp.iter().map(|s| s.local_addr()));
    let ports = ports.map(|address| address.unwrap().port().to_string());
    let socket = servers.folder.path().join("socket").display().to_string();
    let args = ["-c".into(), TRIES.into()].into_iter().chain(ports).chain([socket, servers.forwarded.to_string()]);
    let args: Vec<OsString> = args.map(OsString::from).collect();
    let (gate, fence) = around(&machine, &[]).unwrap().unzip();
    let mut process =
        Process::start_confined(Confined { gate, ..Confined::default() }, Path::new("/usr/bin/python3"), &args, &[])
            .unwrap();
    let fence = fence.map(|fence| fence.watch(process.id()).unwrap());
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let mut answers = Vec::new();
    let mut hear = || {
        let mut bytes = [0; 16];
        answers.extend(client.recv(&mut bytes).map(|length| bytes[..length].to_vec()));
    };
    while process.ended().unwrap().is_none() {
        // Until it listens, this comes to nothing.
        _ = client.send_to(b"request", ("127.0.0.1", servers.forwarded));
        hear();
    }
    hear();
    let said = process.complaint().replace("; ", "\n");
    assert!(answers.iter().any(|answer| answer == b"answer"), "{said}");
    (said, fence.and_then(|fence| fence.gap().map(str::to_owned)))
}

#[test]
fn every_call_that_names_a_loopback_address_is_refused_and_every_other_goes_on() {
    let (said, gap) = tries(Reach::Outside, &servers());
    assert_eq!(gap, None);
    let lines: Vec<&str> = said.lines().collect();
    let (refused, rest) = lines.split_at(REFUSED);
    assert!(refused.iter().all(|line| line.ends_with(": refused")), "{said}");
    let expected = "unix: goes on\noutside tcp: goes on\noutside udp: goes on\noutside udp 6: goes on\npair: goes on\n\
        listens\nanswer: goes on\nanother: refused\nfrom elsewhere: refused";
    assert_eq!(rest.join("\n"), expected);
}

#[test]
fn without_a_fence_the_same_calls_reach_the_host() {
    let (said, gap) = tries(Reach::Host, &servers());
    assert_eq!(gap, None);
    assert!(!said.contains("refused") && said.lines().count() > REFUSED, "{said}");
}

/// A thread that is watched itself cannot have another watched.
#[test]
fn where_no_fence_can_be_had_the_machine_runs_and_the_reason_is_told() {
    let (said, gap) = std::thread::spawn(|| {
        // The next one goes by.
        let others: Vec<i32> = (512..600).collect();
        let (gate, _unwatched) = watch::prepare(&[], &others).unwrap();
        gate.close();
        let machine = MachineOptions::new(Architecture::X86_64, "unused".into());
        let (gate, fence) = around(&machine, &[]).unwrap().unzip();
        let args = ["-c", "echo runs >&2"].map(OsString::from);
        let mut process =
            Process::start_confined(Confined { gate, ..Confined::default() }, Path::new("/bin/sh"), &args, &[])
                .unwrap();
        let fence = fence.unwrap().watch(process.id()).unwrap();
        while process.ended().unwrap().is_none() {
            std::thread::yield_now();
        }
        (process.complaint(), fence.gap().map(str::to_owned))
    })
    .join()
    .unwrap();
    assert_eq!(said, "runs");
    assert_eq!(gap.unwrap(), "no seccomp notifications on this host: device or resource busy");
}

#[test]
fn a_machine_that_needs_no_fence_has_none() {
    let machine = || MachineOptions::new(Architecture::X86_64, "unused".into());
    for (machine, fenced) in [
        (machine(), true),
        (MachineOptions { network: Some(Nic::E1000), ..machine() }, true),
        (MachineOptions { network: None, ..machine() }, false),
        (MachineOptions { reach: Reach::Host, ..machine() }, false),
        (MachineOptions { reach: Reach::Nothing, ..machine() }, false),
    ] {
        assert_eq!(around(&machine, &[]).unwrap().is_some(), fenced, "{machine:?}");
    }
}
