//! The network of the machine: every interface but those of [`super::cards`] up, and the first one configured, for as long as the machine runs:
//! DHCPv4 and what IPv6 routers advertise, or what was given.
//!
//! ```text
//!  lease        what is sent when (no socket, no clock)     advertised   name servers of IPv6 routers
//!  dhcp         messages as bytes                           interface    addresses and routes
//! ```
//!
//! Driven by whoever polls: at boot for a moment, or as long as `--wait-online` says, then by the event loop. IPv6 addresses and routes are made by
//! the kernel itself. Not supported: DHCPv6, DHCP on more than the first interface.

use super::advertised::{Listener, Names};
use super::dhcp::{Lease, Query, decode, encode};
use super::interface::{Interface, Interfaces, ethernet};
use super::interface6::{Interfaces6, has_address, ignore_advertisements};
use super::lease::{Dialogue, Loss, Message, Step};
use super::routes::{self, Route};
use super::{etc_files, log};
use crate::guest::network::{Card, Network, Static};
use crate::guest::spec::Init;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, setsockopt, socket, sockopt};
use std::ffi::OsString;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

/// How long a workload is held back when nobody said. A server that answers does so in milliseconds, and a client
/// that connects at once finds the network a container would have; who cannot be reached holds nothing back.
const MOMENT: Duration = Duration::from_secs(1);
/// How long for an init of the image's, beside which nothing of ours goes on.
const OWN_INIT: Duration = Duration::from_secs(8);
/// How often the link is looked for.
const LINK_PAUSE: Duration = Duration::from_millis(20);
/// How often an IPv6 address, which the kernel makes by itself, is looked for.
const ADDRESS_PAUSE: Duration = Duration::from_millis(100);
/// Most name servers that a resolver looks at (resolv.conf(5), MAXNS).
const MAX_SERVERS: usize = 3;

/// Whether there is an interface to configure.
pub fn is_there(cards: &[Card]) -> bool {
    !uplinks(cards).is_empty()
}

/// Every interface but the cards that have a configuration of their own.
fn uplinks(cards: &[Card]) -> Vec<Interface> {
    ethernet().into_iter().filter(|interface| cards.iter().all(|card| card.mac != interface.mac)).collect()
}

/// How long [`Uplink::settle`] may take: what was asked for in seconds, or what suits who comes next.
pub fn patience(asked: Option<u32>, next: Init) -> Duration {
    let usual = if next == Init::Image { OWN_INIT } else { MOMENT };
    asked.map_or(usual, |seconds| Duration::from_secs(seconds.into()))
}

/// Brings the network up without waiting for anybody. What it returns has to be served for as long as the machine
/// runs.
pub fn begin(network: &Network, cards: &[Card], hostname: &str) -> Option<Uplink> {
    let interfaces = match Interfaces::open() {
        Ok(interfaces) => interfaces,
        Err(errno) => {
            log::warning(format!("no network in this kernel: {}", errno.desc()));
            return None;
        }
    };
    bring_up(&interfaces, "lo");
    if *network == Network::None {
        return None;
    }
    let found = uplinks(cards);
    if let Network::Static(_) = network {
        found.iter().for_each(ignore_advertisements);
    }
    // Before the interfaces are up, or the first advertisement could be missed.
    let advertisements = Listener::open().map_err(|error| log::warning(format!("cannot hear IPv6 routers: {error}")));
    found.iter().for_each(|interface| bring_up(&interfaces, &interface.name));
    match network {
        Network::Static(fixed) => {
            configure(fixed, found.first(), &interfaces, hostname);
            None
        }
        _ => {
            let mut uplink = Uplink::new(found, interfaces, advertisements.ok(), hostname)?;
            // What is sent before there is a link is lost.
            if uplink.interface().has_link() {
                uplink.tick();
            }
            Some(uplink)
        }
    }
}

fn bring_up(interfaces: &Interfaces, name: &str) {
    if let Err(errno) = interfaces.up(name) {
        log::warning(format!("cannot bring up {name}: {}", errno.desc()));
    }
}

/// What was given, and nothing else.
fn configure(fixed: &Static, interface: Option<&Interface>, interfaces: &Interfaces, hostname: &str) {
    etc_files::write_resolv_conf(&fixed.dns.iter().map(IpAddr::to_string).collect::<Vec<_>>(), &fixed.search);
    let Some(interface) = interface else {
        return log::warning("there is no network interface for the given addresses");
    };
    etc_files::write_hosts(hostname, fixed.addresses.first().map(|own| own.address));
    let sixes = Interfaces6::open();
    let with_sixes = |action: &dyn Fn(&Interfaces6) -> nix::Result<()>| sixes.as_ref().map_err(|e| *e).and_then(action);
    let mut fours = 0;
    for own in &fixed.addresses {
        let result = match own.address {
            IpAddr::V4(address) => {
                // A second address belongs to an alias of the interface.
                let name = if fours == 0 { interface.name.clone() } else { format!("{}:{fours}", interface.name) };
                fours += 1;
                interfaces.set_address(&name, address, own.prefix)
            }
            IpAddr::V6(address) => with_sixes(&|sixes| sixes.add_address(interface, address, own.prefix)),
        };
        match result {
            Ok(()) => log::info(format!("{} has {}/{}", interface.name, own.address, own.prefix)),
            Err(errno) => log::warning(format!("cannot set the address {}: {}", own.address, errno.desc())),
        }
    }
    for gateway in &fixed.gateways {
        let beside = fixed.is_beside(gateway);
        let result = match *gateway {
            IpAddr::V4(gateway) => {
                let neighbour: Route = (gateway, 32, Ipv4Addr::UNSPECIFIED);
                let default: Route = (Ipv4Addr::UNSPECIFIED, 0, gateway);
                let routes = [beside.then_some(neighbour), Some(default)];
                routes.into_iter().flatten().try_for_each(|route| interfaces.add_route(&interface.name, route))
            }
            IpAddr::V6(gateway) => with_sixes(&|sixes| {
                if beside {
                    sixes.add_neighbour(interface, gateway)?;
                }
                sixes.add_default_route(interface, gateway)
            }),
        };
        if let Err(errno) = result {
            log::warning(format!("cannot set the gateway {gateway}: {}", errno.desc()));
        }
    }
}

/// The first interface, kept configured.
pub struct Uplink {
    /// All of them; the first is the one.
    all: Vec<Interface>,
    interfaces: Interfaces,
    socket: UdpSocket,
    dialogue: Dialogue,
    /// The lease that the interface follows.
    lease: Option<Lease>,
    /// The largest packet of the card itself, in bytes.
    mtu: Option<u16>,
    advertisements: Option<Listener>,
    names: Names,
    hostname: String,
}

impl Uplink {
    /// `None` when there is no interface.
    fn new(
        all: Vec<Interface>,
        interfaces: Interfaces,
        advertisements: Option<Listener>,
        hostname: &str,
    ) -> Option<Uplink> {
        let first = all.first()?;
        let socket = match open_socket(&first.name) {
            Ok(socket) => socket,
            Err(error) => {
                log::warning(format!("cannot configure {}: {error}", first.name));
                return None;
            }
        };
        let dialogue = Dialogue::new(transaction(first.mac), Instant::now());
        let (names, hostname) = (Names::default(), hostname.to_owned());
        let mtu = first.mtu();
        Some(Uplink { all, interfaces, socket, dialogue, lease: None, mtu, advertisements, names, hostname })
    }

    fn interface(&self) -> &Interface {
        &self.all[0]
    }

    /// The descriptors to poll for reading.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        [Some(self.socket.as_fd()), self.advertisements.as_ref().map(AsFd::as_fd)].into_iter().flatten()
    }

    /// When [`Uplink::tick`] wants to be called.
    pub fn deadline(&self) -> Instant {
        let names = self.names.deadline();
        names.map_or(self.dialogue.deadline(), |names| names.min(self.dialogue.deadline()))
    }

    /// Drives the client until it has an address or the time is over; after that it goes on beside the workload. On a
    /// network with IPv6 alone that one's address will do, once a server of the other had its moment.
    pub fn settle(&mut self, limit: Duration) {
        let begun = Instant::now();
        let end = begun + limit;
        if !self.wait_for_link(end) {
            return log::warning(format!("{} has no link; going on without an address", self.interface().name));
        }
        self.readable();
        self.tick();
        while self.lease.is_none() {
            let now = Instant::now();
            if now >= begun + MOMENT && has_address(self.interface()) {
                return log::info(format!("{} has an IPv6 address, and no DHCP answer so far", self.interface().name));
            }
            if now >= end {
                let waited = limit.as_secs();
                let name = &self.interface().name;
                return log::warning(format!("no DHCP answer on {name} so far; going on after {waited} s"));
            }
            let wake = self.deadline().min(end).min(now + ADDRESS_PAUSE);
            let pause = wake.saturating_duration_since(now) + Duration::from_millis(1);
            let mut fds: Vec<PollFd> = self.fds().map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
            _ = poll(&mut fds, PollTimeout::try_from(pause).unwrap_or(PollTimeout::MAX));
            self.readable();
            self.tick();
        }
    }

    /// Whether there is a link, at the latest at `end`.
    fn wait_for_link(&self, end: Instant) -> bool {
        while !self.interface().has_link() {
            if Instant::now() >= end {
                return false;
            }
            std::thread::sleep(LINK_PAUSE);
        }
        true
    }

    /// Takes the answers that have come.
    pub fn readable(&mut self) {
        let mut buffer = [0u8; 1500];
        for _ in 0..16 {
            let Ok((length, _)) = self.socket.recv_from(&mut buffer) else { break };
            if let Some(answer) = decode(&buffer[..length], self.dialogue.xid(), self.interface().mac) {
                let steps = self.dialogue.answered(answer, Instant::now());
                self.follow(steps);
            }
        }
        let heard = self.advertisements.as_ref().map(Listener::receive).unwrap_or_default();
        let mut changed = false;
        for advertised in heard {
            changed |= self.names.hear(advertised, Instant::now());
        }
        if changed {
            self.write_names();
        }
    }

    /// Does what it is time for.
    pub fn tick(&mut self) {
        let now = Instant::now();
        let steps = self.dialogue.tick(now);
        self.follow(steps);
        if self.names.tick(now) {
            self.write_names();
        }
    }

    fn follow(&mut self, steps: Vec<Step>) {
        for step in steps {
            match step {
                Step::Send(message) => self.send(&message),
                Step::Bind(lease) => self.bind(&lease),
                Step::Release(loss) => self.release(loss),
            }
        }
    }

    fn send(&self, message: &Message) {
        let Message { kind, secs, current, requested, server, to } = *message;
        let (xid, mac, hostname) = (self.dialogue.xid(), self.interface().mac, self.hostname.as_str());
        let query = Query { kind, xid, secs, mac, current, requested, server, hostname };
        // A send that fails is a message that got lost: the next one comes.
        _ = self.socket.send_to(&encode(&query), SocketAddrV4::new(to, 67));
    }

    fn bind(&mut self, lease: &Lease) {
        self.configure(lease);
        self.lease = Some(lease.clone());
        self.write_names();
        etc_files::write_hosts(&self.hostname, Some(lease.address.into()));
    }

    /// Makes the interface what the lease says: all of it, or what is different from the lease before.
    fn configure(&self, lease: &Lease) {
        let name = &self.interface().name;
        let warn = |what: &str, result: nix::Result<()>| {
            if let Err(errno) = result {
                log::warning(format!("cannot set {what} of {name}: {}", errno.desc()));
            }
        };
        if let Some(mtu) = lease.mtu.or(self.mtu).filter(|mtu| self.interface().mtu() != Some(*mtu)) {
            warn("the packet size", self.interfaces.set_mtu(name, mtu));
        }
        let own = |lease: &Lease| (lease.address, lease.prefix);
        let same_address = self.lease.as_ref().filter(|before| own(before) == own(lease));
        if same_address.is_none() {
            log::info(format!("{name} has {}/{}", lease.address, lease.prefix));
            if self.lease.is_some() {
                // Without its address the interface loses all its routes.
                warn("the address", self.interfaces.set_address(name, Ipv4Addr::UNSPECIFIED, 0));
            }
            warn("the address", self.interfaces.set_address(name, lease.address, lease.prefix));
        }
        let (gone, new) = routes::change(&same_address.map(routes::of).unwrap_or_default(), &routes::of(lease));
        for route in gone {
            warn("a route", self.interfaces.remove_route(name, route));
        }
        for route in new {
            warn("a route", self.interfaces.add_route(name, route));
        }
    }

    fn release(&mut self, loss: Loss) {
        let name = &self.interface().name;
        log::warning(match loss {
            Loss::Refused => format!("the DHCP server refused an address on {name}"),
            Loss::Expired => format!("the address of {name} has expired"),
        });
        if self.lease.is_some() {
            _ = self.interfaces.set_address(name, Ipv4Addr::UNSPECIFIED, 0);
        }
        self.lease = None;
    }

    /// The lease's name servers and domains, then the advertised ones.
    fn write_names(&self) {
        let lease = self.dialogue.lease();
        let mut servers: Vec<String> =
            lease.map(|lease| lease.dns.iter().map(Ipv4Addr::to_string).collect()).unwrap_or_default();
        servers.extend(self.names.servers().map(|(address, interface)| {
            let scope = self.all.iter().find(|own| own.index == interface).filter(|_| address.is_unicast_link_local());
            scope.map_or(address.to_string(), |scope| format!("{address}%{}", scope.name))
        }));
        servers.truncate(MAX_SERVERS);
        let mut search: Vec<String> = lease.map(|lease| lease.search.clone()).unwrap_or_default();
        for domain in self.names.domains() {
            if !search.iter().any(|known| known == domain) {
                search.push(domain.to_owned());
            }
        }
        etc_files::write_resolv_conf(&servers, &search);
    }
}

/// Where a client's transactions begin.
fn transaction(mac: [u8; 6]) -> u32 {
    let mut bytes = [0u8; 4];
    // SAFETY: the buffer is as long as it says. GRND_NONBLOCK: a boot never waits for entropy here.
    if unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), 4, libc::GRND_NONBLOCK) } != 4 {
        bytes = [mac[2] ^ mac[3], mac[3], mac[4], mac[5]];
    }
    u32::from_ne_bytes(bytes)
}

/// A socket on port 68 that sends and receives on this interface only, also before there is an address.
fn open_socket(interface: &str) -> io::Result<UdpSocket> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let client = socket(AddressFamily::Inet, SockType::Datagram, flags, None)?;
    setsockopt(&client, sockopt::ReuseAddr, &true)?;
    setsockopt(&client, sockopt::Broadcast, &true)?;
    setsockopt(&client, sockopt::BindToDevice, &OsString::from(interface))?;
    bind(client.as_raw_fd(), &SockaddrIn::new(0, 0, 0, 0, 68))?;
    Ok(client.into())
}
