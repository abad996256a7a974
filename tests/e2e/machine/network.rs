//! The network as the workload finds it: advertised, given, and without anybody who answers.

use super::{busybox, busybox_disk};
use crate::e2e::{Bench, Kernel, Running};
use std::net::{Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// IPv6 takes a second or two: an address must not be anybody else's, and routers answer when they like.
const WAIT: &str =
    "wait_for() { for i in $(seq 300); do eval \"$1\" && return; sleep 0.1; done; echo \"not in time: $1\"; }\n";

/// Sets `waited` to the seconds for which PID 1 held the workload back, by its log.
const WAITED: &str = "at() { dmesg | sed -n \"s/^\\[ *\\([0-9]*\\).*bootdisk: $1.*/\\1/p\"; }
    waited=$(($(at 'no DHCP answer') - $(at 'root file system')))\n";

#[test]
fn the_first_interface_has_both_versions_and_the_machine_its_time_and_its_entropy() {
    let bench = Bench::new(Kernel::Cloud);
    let image = busybox::archive(bench.path("image").parent().unwrap());
    let script = format!(
        "{WAIT}
        wait_for \"grep '^fec0' /proc/net/if_inet6 | grep -qv ' [4-7]. *eth0'\"
        wait_for \"ip -6 route | grep -q '^default'\"
        ip -4 addr show eth0 | grep -o 'inet [0-9./]*'
        ip -6 addr show eth0 | grep -o 'inet6 fec0:.*/64'  | cut -c1-11
        ip -4 route | grep -o '^default via [0-9.]* dev eth0'
        ip -6 route | grep -o '^default via [0-9a-f:]* dev eth0'
        grep -m 1 ^nameserver /etc/resolv.conf
        ping -c 1 -w 5 127.0.0.1 >/dev/null && ping6 -c 1 -w 5 ::1 >/dev/null && echo lo
        cat /proc/net/dev | grep -c eth
        cat /sys/class/misc/hw_random/rng_current | cut -d. -f1
        [ $(cat /proc/sys/kernel/random/entropy_avail) -ge 256 ] && head -c 8 /dev/random | wc -c
        date +%s"
    );
    let text = bench.run_other(&image, &["--wait-online"], &["sh", "-c", &script]).expect_status(0).text();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let (text, time) = text.trim_end().rsplit_once('\n').unwrap();
    let expected = "inet 10.0.2.15/24\ninet6 fec0:\ndefault via 10.0.2.2 dev eth0\ndefault via fe80::2 dev eth0\n\
        nameserver 10.0.2.3\nlo\n1\nvirtio_rng\n8";
    assert_eq!(text, expected);
    let behind = now.saturating_sub(time.parse::<u64>().unwrap());
    assert!(behind < 120, "the guest's clock is {behind} s behind");
}

#[test]
fn given_addresses_are_all_there_is_and_a_larger_overlay_is_a_larger_root() {
    let bench = Bench::new(Kernel::Cloud);
    let disk = busybox_disk(&bench, &["--net", "none"]);
    let script = format!(
        "{WAIT}
        wait_for '! ip -6 addr show eth0 | grep -q tentative'
        ip -4 addr show eth0 | grep -o 'inet [0-9./]*'
        ip -6 addr show eth0 | grep -o 'inet6 .*/[0-9]* scope global'
        ip -4 route | grep -o '^default via [0-9.]* dev eth0'
        ip -6 route | grep -o '^default via [0-9a-f:]* dev eth0'
        cat /etc/resolv.conf
        tail -n 1 /etc/hosts
        ping -c 1 -w 10 10.0.2.2 >/dev/null && echo reached
        [ $(df -k / | tail -n 1 | awk '{{print $2}}') -gt 1700000 ] && echo large
    "
    );
    let how = "static:10.0.2.77/24,fd00::77/64,192.168.7.1/24,gateway=10.0.2.2,gateway=fe80::2,dns=fd00::53,dns=10.0.2.3,search=a.example";
    let options = ["--net", how, "--size", "2G", "--hostname", "given"];
    let before = std::fs::metadata(&disk).unwrap().len();
    bench.run_other(&disk, &options, &["sh", "-c", &script]).expect(
        0,
        "inet 10.0.2.77/24\ninet 192.168.7.1/24\ninet6 fd00::77/64 scope global\ndefault via 10.0.2.2 dev eth0\n\
        default via fe80::2 dev eth0\nsearch a.example\nnameserver fd00::53\nnameserver 10.0.2.3\n10.0.2.77\tgiven\n\
        reached\nlarge\n",
    );
    assert_eq!(std::fs::metadata(&disk).unwrap().len(), before);
}

#[test]
fn a_router_that_advertises_names_is_heard_where_no_dhcp_server_is() {
    let bench = Bench::new(Kernel::Cloud);
    let image = busybox::archive(bench.path("image").parent().unwrap());
    let script = format!(
        "{WAITED}{WAIT}
        [ $waited -lt 6 ] && echo at once || echo after $waited s
        wait_for 'grep -q ^nameserver /etc/resolv.conf'
        cat /etc/resolv.conf
        wait_for \"grep -q '^20010db8' /proc/net/if_inet6\"
        ip -6 route | grep -o '^default via [0-9a-f:]* dev eth0'
        ip -4 addr show eth0 | grep -c 'inet '
        tail -n 1 /etc/hosts"
    );
    let router = Router::start();
    let card = own_card(router.here, router.machine);
    let options = [&["--hostname", "alone"][..], &strings(&card)].concat();
    bench.run_other(&image, &options, &["sh", "-c", &script]).expect(
        0,
        "at once\nsearch a.example\nnameserver 2001:db8::53\nnameserver fe80::1%eth0\ndefault via fe80::1 dev eth0\n0\n\
        127.0.1.1\talone\n",
    );
}

/// Two machines on one cable, one of them with busybox's DHCP server.
#[test]
#[ignore = "a lease lives for a minute"]
fn a_lease_is_renewed_on_the_wire_and_ends_with_its_server() {
    let bench = Bench::new(Kernel::Cloud);
    let image = busybox::archive(bench.path("image").parent().unwrap());
    let (one, other) = (free_address(), free_address());
    let machine = |here, there, net: &[&str], script: &str| {
        let netdev = format!("--qemu-arg=socket,id=own,udp={there},localaddr={here}");
        let cable = ["--nic", "none", "--qemu-arg=-netdev", &netdev, "--qemu-arg=-device"];
        let card = format!("--qemu-arg=virtio-net-pci,netdev=own,romfile=,mac=52:54:00:00:00:0{}", net.len() + 1);
        Running::start(
            bench.run_command(&image, &[&cable[..], &[&card], net].concat()).args(["--", "sh", "-c", script]),
        )
    };
    // An ack at the beginning, and one every thirty seconds.
    let server = "printf '%s\\n' 'interface eth0' 'start 10.99.0.20' 'end 10.99.0.20' 'option subnet 255.255.255.0' \
            'option lease 60' 'min_lease 10' 'lease_file /tmp/leases' 'pidfile /tmp/pid' > /tmp/conf
        : > /tmp/leases
        udhcpd -f /tmp/conf 2>&1 | while read line; do
            case $line in *'sending ACK'*) n=$((n + 1)); echo ack $n; [ $n = 4 ] && killall udhcpd ;; esac
        done";
    let client = format!(
        "{WAIT}
        address() {{ ip -4 addr show eth0 | grep -q 'inet 10.99.0.20/24 '; }}
        wait_for address; begun=$(cut -d. -f1 /proc/uptime)
        while address; do sleep 1; done
        lasted=$(($(cut -d. -f1 /proc/uptime) - begun))
        [ $lasted -ge 140 ] && [ $lasted -le 170 ] && echo in time || echo $lasted seconds"
    );
    let server = machine(one, other, &["--net", "static:10.99.0.1/24"], server);
    machine(other, one, &[], &client).finish().expect(0, "in time\n");
    server.finish().expect(0, "ack 1\nack 2\nack 3\nack 4\n");
}

#[test]
fn a_workload_that_wants_the_network_waits_for_it_and_not_for_ever() {
    let bench = Bench::new(Kernel::Cloud);
    let image = busybox::archive(bench.path("image").parent().unwrap());
    let script = format!(
        "{WAITED}
        [ $waited -ge 8 ] && echo waited || echo after $waited s
        dmesg | grep -o 'no DHCP answer on eth0 so far; going on after [0-9]* s'
        cat /etc/resolv.conf"
    );
    // A cable without anybody at its other end.
    let nobody = UdpSocket::bind("127.0.0.1:0").unwrap();
    let card = own_card(nobody.local_addr().unwrap(), free_address());
    let options = [&["--wait-online=8"][..], &strings(&card)].concat();
    bench
        .run_other(&image, &options, &["sh", "-c", &script])
        .expect(0, "waited\nno DHCP answer on eth0 so far; going on after 8 s\n");
}

/// Options for a machine whose only card has its cable's other end at `here`.
fn own_card(here: SocketAddr, machine: SocketAddr) -> [String; 6] {
    let netdev = format!("--qemu-arg=socket,id=own,udp={here},localaddr={machine}");
    let card = "--qemu-arg=virtio-net-pci,netdev=own,romfile=";
    ["--nic", "none", "--qemu-arg=-netdev", &netdev, "--qemu-arg=-device", card].map(str::to_owned)
}

fn strings(options: &[String]) -> Vec<&str> {
    options.iter().map(String::as_str).collect()
}

/// QEMU takes this port when it starts; until then it is likely to stay free.
fn free_address() -> SocketAddr {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A router at the other end of the machine's cable: it answers solicitations, and nothing else.
struct Router {
    here: SocketAddr,
    machine: SocketAddr,
    over: Arc<AtomicBool>,
}

impl Router {
    fn start() -> Router {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let router = Router { here: socket.local_addr().unwrap(), machine: free_address(), over: Arc::default() };
        let machine = router.machine;
        let over = Arc::clone(&router.over);
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        thread::spawn(move || {
            let mut frame = [0; 2048];
            while !over.load(Ordering::Relaxed) {
                let Ok(length) = socket.recv(&mut frame) else { continue };
                let is_solicitation =
                    length > 54 && frame[12..14] == [0x86, 0xdd] && frame[20] == 58 && frame[54] == 133;
                if is_solicitation {
                    // A machine that has just ended has no socket any more.
                    _ = socket.send_to(&advertisement(), machine);
                }
            }
        });
        router
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

/// A router advertisement (RFC 4861, section 4.2) in an Ethernet frame: a prefix, two name servers, a search domain.
fn advertisement() -> Vec<u8> {
    let address = |text: &str| text.parse::<Ipv6Addr>().unwrap().octets();
    let (from, to) = (address("fe80::1"), address("ff02::1"));
    let mut icmp = vec![134, 0, 0, 0, 64, 0];
    icmp.extend(1800u16.to_be_bytes());
    icmp.extend([0; 8]);
    icmp.extend([1, 1, 0x52, 0x54, 0, 0xaa, 0xbb, 0xcc]);
    icmp.extend([3, 4, 64, 0xc0]);
    icmp.extend([86_400u32, 14_400, 0].map(u32::to_be_bytes).concat());
    icmp.extend(address("2001:db8::"));
    icmp.extend([25, 5, 0, 0]);
    icmp.extend(600u32.to_be_bytes());
    icmp.extend([address("2001:db8::53"), address("fe80::1")].concat());
    icmp.extend([31, 3, 0, 0]);
    icmp.extend(600u32.to_be_bytes());
    icmp.extend(b"\x01a\x07example\0\0\0\0\0\0");
    let length = icmp.len() as u32;
    let pseudo = [&from[..], &to, &length.to_be_bytes(), &[0, 0, 0, 58], &icmp].concat();
    let mut sum: u32 =
        pseudo.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    icmp[2..4].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    let ethernet = [0x33, 0x33, 0, 0, 0, 1, 0x52, 0x54, 0, 0xaa, 0xbb, 0xcc, 0x86, 0xdd];
    let ip = [&[0x60, 0, 0, 0][..], &(length as u16).to_be_bytes(), &[58, 255], &from, &to].concat();
    [&ethernet[..], &ip, &icmp].concat()
}
