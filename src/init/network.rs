//! The network of the machine: every interface up, DHCPv4 on the first one that answers, for as long as it runs.
//!
//! The client is a value with a descriptor and a deadline, driven by whoever polls: at boot for a bounded time, then
//! by the event loop. RFC 2131 section 4.4, without INIT-REBOOT, DECLINE and address probing.

use super::dhcp::{Lease, Query, Type, decode, encode};
use super::interface::{Interface, Interfaces, ethernet};
use super::{etc_files, log};
use crate::guest::spec::Network;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd};
use std::time::{Duration, Instant};

/// How long the boot waits for an address. Afterwards the client goes on beside the workload.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long a network card may take to find its link. Without one nobody can answer.
const LINK_PATIENCE: Duration = Duration::from_secs(3);
/// How often the link is looked for.
const LINK_PAUSE: Duration = Duration::from_millis(20);
/// First pause between two tries; doubled up to [`LONGEST_PAUSE`]. Shorter than RFC 2131 has it, as the workload waits.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(32);

/// Brings the network up. The client is there when an interface is.
pub fn start(network: &Network, hostname: &str) -> Option<Client> {
    let interfaces = match Interfaces::open() {
        Ok(interfaces) => interfaces,
        Err(errno) => {
            log::warning(format!("no network in this kernel: {}", errno.desc()));
            return None;
        }
    };
    if let Err(errno) = interfaces.up("lo") {
        log::warning(format!("cannot bring up lo: {}", errno.desc()));
    }
    if *network == Network::None {
        return None;
    }
    let found = ethernet();
    for interface in &found {
        if let Err(errno) = interfaces.up(&interface.name) {
            log::warning(format!("cannot bring up {}: {}", interface.name, errno.desc()));
        }
    }
    let first = found.into_iter().next()?;
    let name = first.name.clone();
    match Client::new(first, interfaces, hostname.to_owned()) {
        Ok(mut client) => {
            client.wait(PATIENCE);
            Some(client)
        }
        Err(error) => {
            log::warning(format!("cannot configure {name}: {error}"));
            None
        }
    }
}

/// A DHCP client on one interface.
pub struct Client {
    interface: Interface,
    interfaces: Interfaces,
    socket: UdpSocket,
    hostname: String,
    xid: u32,
    begun: Instant,
    state: State,
    /// When to send (again).
    deadline: Instant,
    pause: Duration,
}

enum State {
    /// Looking for a server.
    Selecting,
    /// Asked for what was offered.
    Requesting(Lease),
    /// Has an address; the instant is when it came.
    Bound(Lease, Instant),
}

impl Client {
    fn new(interface: Interface, interfaces: Interfaces, hostname: String) -> io::Result<Client> {
        let socket = open_socket(&interface.name)?;
        let now = Instant::now();
        let mut client = Client {
            interface,
            interfaces,
            socket,
            hostname,
            xid: 0,
            begun: now,
            state: State::Selecting,
            deadline: now,
            pause: FIRST_PAUSE,
        };
        client.begin();
        Ok(client)
    }

    /// The descriptor to poll for reading.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// When [`Client::tick`] wants to be called.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The address, if there is one.
    pub fn address(&self) -> Option<Ipv4Addr> {
        match &self.state {
            State::Bound(lease, _) => Some(lease.address),
            _ => None,
        }
    }

    /// Drives the client until it has an address or the time is over.
    fn wait(&mut self, limit: Duration) {
        if !self.wait_for_link() {
            return log::warning(format!("{} has no link; going on without an address", self.interface.name));
        }
        let end = Instant::now() + limit;
        while self.address().is_none() {
            let now = Instant::now();
            if now >= end {
                log::warning(format!("no DHCP answer on {} so far; going on", self.interface.name));
                return;
            }
            let pause = self.deadline.min(end).saturating_duration_since(now) + Duration::from_millis(1);
            let mut fds = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
            _ = poll(&mut fds, PollTimeout::try_from(pause).unwrap_or(PollTimeout::MAX));
            self.readable();
            self.tick();
        }
    }

    /// What was sent before there was a link is lost: it is sent again at once.
    fn wait_for_link(&mut self) -> bool {
        if self.interface.has_link() {
            return true;
        }
        let end = Instant::now() + LINK_PATIENCE;
        while Instant::now() < end {
            std::thread::sleep(LINK_PAUSE);
            if self.interface.has_link() {
                self.begin();
                return true;
            }
        }
        false
    }

    /// Takes the answers that have come.
    pub fn readable(&mut self) {
        let mut buffer = [0u8; 1500];
        for _ in 0..16 {
            let Ok((length, _)) = self.socket.recv_from(&mut buffer) else { return };
            if let Some(answer) = decode(&buffer[..length], self.xid, self.interface.mac) {
                self.answered(answer.kind, answer.lease);
            }
        }
    }

    fn answered(&mut self, kind: Type, lease: Lease) {
        match (kind, &self.state) {
            (Type::Offer, State::Selecting) => {
                self.state = State::Requesting(lease);
                self.pause = FIRST_PAUSE;
                self.send();
            }
            (Type::Ack, State::Requesting(_)) => {
                log::info(format!("{} has {}/{}", self.interface.name, lease.address, lease.prefix));
                self.bind(lease);
            }
            (Type::Ack, State::Bound(..)) => self.bind(lease),
            (Type::Nak, State::Requesting(_) | State::Bound(..)) => {
                log::warning(format!("the DHCP server refused an address on {}", self.interface.name));
                self.release();
                self.begin();
            }
            _ => {}
        }
    }

    /// Sends again, renews or gives up, if it is time for that.
    pub fn tick(&mut self) {
        let now = Instant::now();
        if now < self.deadline {
            return;
        }
        match &self.state {
            State::Bound(lease, since) if now >= *since + Duration::from_secs(lease.seconds.into()) => {
                log::warning(format!("the address of {} has expired", self.interface.name));
                self.release();
                self.begin();
            }
            State::Requesting(_) if self.pause > LONGEST_PAUSE / 4 => self.begin(),
            _ => self.send(),
        }
    }

    fn begin(&mut self) {
        self.state = State::Selecting;
        self.xid = self.new_xid();
        self.begun = Instant::now();
        self.pause = FIRST_PAUSE;
        self.send();
    }

    /// Different for every machine and every round; it needs to be no secret.
    fn new_xid(&self) -> u32 {
        let mut bytes = [0u8; 4];
        // SAFETY: the buffer is as long as it says. GRND_NONBLOCK: a boot never waits for entropy here.
        if unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), 4, libc::GRND_NONBLOCK) } != 4 {
            let mac = self.interface.mac;
            bytes = [mac[2] ^ mac[3], mac[3], mac[4], mac[5]];
        }
        u32::from_ne_bytes(bytes).wrapping_add(self.xid)
    }

    fn send(&mut self) {
        let now = Instant::now();
        let mut query = Query {
            kind: Type::Request,
            xid: self.xid,
            secs: now.duration_since(self.begun).as_secs().min(65_535) as u16,
            mac: self.interface.mac,
            current: Ipv4Addr::UNSPECIFIED,
            requested: None,
            server: None,
            hostname: &self.hostname,
        };
        let mut to = Ipv4Addr::BROADCAST;
        let mut again = now + self.pause;
        match &self.state {
            State::Selecting => query.kind = Type::Discover,
            State::Requesting(lease) => {
                query.requested = Some(lease.address);
                query.server = lease.server;
            }
            State::Bound(lease, since) => {
                query.current = lease.address;
                let rebinding = *since + Duration::from_secs(lease.rebind_after.into());
                if let (Some(server), true) = (lease.server, now < rebinding) {
                    to = server;
                }
                // Half of what is left, but not more often than once a minute (RFC 2131, section 4.4.5).
                let end = *since + Duration::from_secs(lease.seconds.into());
                let left = if now < rebinding { rebinding } else { end }.saturating_duration_since(now);
                again = (now + (left / 2).max(Duration::from_secs(60))).min(end.max(now + FIRST_PAUSE));
            }
        }
        // A send that fails is a message that got lost: the next one comes.
        _ = self.socket.send_to(&encode(&query), SocketAddrV4::new(to, 67));
        self.deadline = again;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    fn bind(&mut self, lease: Lease) {
        let previous = self.address();
        if previous != Some(lease.address) {
            self.configure(&lease);
        }
        etc_files::write_resolv_conf(&lease.dns, &lease.search);
        etc_files::write_hosts(&self.hostname, Some(lease.address));
        let now = Instant::now();
        self.deadline = now + Duration::from_secs(lease.renew_after.into());
        self.begun = now;
        self.state = State::Bound(lease, now);
    }

    fn configure(&self, lease: &Lease) {
        let name = &self.interface.name;
        let warn = |what: &str, result: nix::Result<()>| {
            if let Err(errno) = result {
                log::warning(format!("cannot set {what} of {name}: {}", errno.desc()));
            }
        };
        if let Some(mtu) = lease.mtu {
            warn("the packet size", self.interfaces.set_mtu(name, mtu));
        }
        warn("the address", self.interfaces.set_address(name, lease.address, lease.prefix));
        for (to, prefix, gateway) in &lease.routes {
            warn("a route", self.interfaces.add_route(name, *to, *prefix, *gateway));
        }
    }

    fn release(&mut self) {
        if self.address().is_some() {
            _ = self.interfaces.set_address(&self.interface.name, Ipv4Addr::UNSPECIFIED, 0);
        }
    }
}

/// A socket on port 68 that sends and receives on this interface only, also before there is an address.
fn open_socket(interface: &str) -> io::Result<UdpSocket> {
    let flags = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: no memory is involved; the descriptor is new and becomes the socket's own.
    let fd = unsafe { libc::socket(libc::AF_INET, flags, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    let socket = unsafe { UdpSocket::from_raw_fd(fd) };
    let one: i32 = 1;
    set_option(&socket, libc::SO_REUSEADDR, &one.to_ne_bytes())?;
    set_option(&socket, libc::SO_BROADCAST, &one.to_ne_bytes())?;
    set_option(&socket, libc::SO_BINDTODEVICE, interface.as_bytes())?;
    let address = libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: 68u16.to_be(),
        sin_addr: libc::in_addr { s_addr: 0 },
        sin_zero: [0; 8],
    };
    let size = size_of::<libc::sockaddr_in>() as libc::socklen_t;
    // SAFETY: the address is as long as it says.
    match unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), size) } {
        0 => Ok(socket),
        _ => Err(io::Error::last_os_error()),
    }
}

fn set_option(socket: &UdpSocket, option: i32, value: &[u8]) -> io::Result<()> {
    let length = value.len() as libc::socklen_t;
    // SAFETY: the value is as long as it says.
    let done = unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, value.as_ptr().cast(), length) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
