//! The DHCP client as a value: what it sends when, what an answer changes. It has no socket and no clock.
//!
//! ```text
//!  Selecting ──offer──▶ Requesting ──ack──▶ Bound ──T1: its server──▶ … ──T2: any server──▶ … ──expired──▶ Selecting
//!      ▲                    │ nak, or no answer                                 │ nak
//!      └────────────────────┴───────────────────────────────────────────────────┘
//! ```
//!
//! RFC 2131 section 4.4, without INIT-REBOOT, DECLINE and address probing.

use super::dhcp::{Answer, Lease, Type};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// First pause between two tries; doubled up to [`LONGEST_PAUSE`]. Shorter than RFC 2131 has it, as the workload waits.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(32);
/// A lease is not asked for again more often than this (RFC 2131, section 4.4.5).
const RENEWAL_PAUSE: Duration = Duration::from_secs(60);

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A message is sent.
    Send(Message),
    /// The lease is new, or was renewed: the interface and the name servers follow it.
    Bind(Lease),
    /// The address is no longer ours.
    Release(Loss),
}

/// Why an address is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The server says so.
    Refused,
    /// Nobody has renewed it.
    Expired,
}

/// A message to a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Discover or Request.
    pub kind: Type,
    /// Seconds since this was first tried.
    pub secs: u16,
    /// Our address when it is in use, else 0.0.0.0.
    pub current: Ipv4Addr,
    /// The address of an offer.
    pub requested: Option<Ipv4Addr>,
    /// The server of an offer.
    pub server: Option<Ipv4Addr>,
    /// Where it goes: the server that gave the lease, or everybody.
    pub to: Ipv4Addr,
}

/// One client on one interface.
pub struct Dialogue {
    xid: u32,
    begun: Instant,
    state: State,
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

impl Dialogue {
    /// A client that begins at the next [`Dialogue::tick`]. `xid` is different for every machine; it is no secret.
    pub fn new(xid: u32, now: Instant) -> Dialogue {
        Dialogue { xid, begun: now, state: State::Selecting, deadline: now, pause: FIRST_PAUSE }
    }

    /// The transaction that answers belong to.
    pub fn xid(&self) -> u32 {
        self.xid
    }

    /// When [`Dialogue::tick`] wants to be called.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The lease, if there is one.
    pub fn lease(&self) -> Option<&Lease> {
        match &self.state {
            State::Bound(lease, _) => Some(lease),
            _ => None,
        }
    }

    /// Begins anew: what was sent before there was a link is lost.
    pub fn begin(&mut self, now: Instant) -> Step {
        self.state = State::Selecting;
        self.xid = self.xid.wrapping_add(0x9e37_79b9);
        self.begun = now;
        self.pause = FIRST_PAUSE;
        self.send(now)
    }

    /// Takes an answer to its transaction.
    pub fn answered(&mut self, answer: Answer, now: Instant) -> Vec<Step> {
        match (answer.kind, &self.state) {
            (Type::Offer, State::Selecting) => {
                self.state = State::Requesting(answer.lease);
                self.pause = FIRST_PAUSE;
                vec![self.send(now)]
            }
            (Type::Ack, State::Requesting(_) | State::Bound(..)) => {
                self.deadline = now + seconds(answer.lease.renew_after);
                self.state = State::Bound(answer.lease.clone(), now);
                vec![Step::Bind(answer.lease)]
            }
            (Type::Nak, State::Requesting(_) | State::Bound(..)) => {
                vec![Step::Release(Loss::Refused), self.begin(now)]
            }
            _ => Vec::new(),
        }
    }

    /// Sends, sends again, renews or gives up, if it is time for that.
    pub fn tick(&mut self, now: Instant) -> Vec<Step> {
        if now < self.deadline {
            return Vec::new();
        }
        match &self.state {
            State::Bound(lease, since) if now >= *since + seconds(lease.seconds) => {
                vec![Step::Release(Loss::Expired), self.begin(now)]
            }
            // A server that offers and does not answer after that: perhaps there is another.
            State::Requesting(_) if self.pause > LONGEST_PAUSE / 4 => vec![self.begin(now)],
            _ => vec![self.send(now)],
        }
    }

    fn send(&mut self, now: Instant) -> Step {
        let mut message = Message {
            kind: Type::Request,
            secs: 0,
            current: Ipv4Addr::UNSPECIFIED,
            requested: None,
            server: None,
            to: Ipv4Addr::BROADCAST,
        };
        let mut begun = self.begun;
        let mut again = now + self.pause;
        match &self.state {
            State::Selecting => message.kind = Type::Discover,
            State::Requesting(lease) => {
                message.requested = Some(lease.address);
                message.server = lease.server;
            }
            State::Bound(lease, since) => {
                message.current = lease.address;
                begun = *since + seconds(lease.renew_after);
                let (rebinding, end) = (*since + seconds(lease.rebind_after), *since + seconds(lease.seconds));
                if let (Some(server), true) = (lease.server, now < rebinding) {
                    message.to = server;
                }
                // Half of what is left of either time.
                let next = if now < rebinding { rebinding } else { end };
                let pause = (next.saturating_duration_since(now) / 2).max(RENEWAL_PAUSE);
                again = (now + pause).min(end).max(now + FIRST_PAUSE);
            }
        }
        message.secs = now.saturating_duration_since(begun).as_secs().min(65_535) as u16;
        self.deadline = again;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Step::Send(message)
    }
}

fn seconds(count: u32) -> Duration {
    Duration::from_secs(count.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);

    fn lease(last: u8, valid: u32) -> Lease {
        Lease {
            address: Ipv4Addr::new(10, 0, 2, last),
            prefix: 24,
            routes: vec![],
            dns: vec![],
            search: vec![],
            server: Some(SERVER),
            mtu: None,
            seconds: valid,
            renew_after: valid / 2,
            rebind_after: valid / 8 * 7,
        }
    }

    fn answer(kind: Type, lease: Lease) -> Answer {
        Answer { kind, lease }
    }

    /// A client and a clock that only moves from one deadline to the next.
    struct Simulation {
        client: Dialogue,
        start: Instant,
        now: Instant,
    }

    impl Simulation {
        fn new() -> Simulation {
            let start = Instant::now();
            Simulation { client: Dialogue::new(7, start), start, now: start }
        }

        /// With a lease that came this instant.
        fn bound(valid: u32) -> Simulation {
            let mut simulation = Simulation::new();
            simulation.next();
            simulation.answered(Type::Offer, lease(15, valid));
            assert!(matches!(simulation.answered(Type::Ack, lease(15, valid))[..], [Step::Bind(_)]));
            simulation
        }

        /// The next deadline: when it is, in milliseconds since the start, and what happens then.
        fn next(&mut self) -> (u128, Vec<Step>) {
            assert_eq!(self.client.tick(self.client.deadline() - Duration::from_nanos(1)), []);
            self.now = self.client.deadline();
            ((self.now - self.start).as_millis(), self.client.tick(self.now))
        }

        fn answered(&mut self, kind: Type, lease: Lease) -> Vec<Step> {
            self.client.answered(answer(kind, lease), self.now)
        }

        /// When messages are sent, to whom, until something else happens.
        fn sent(&mut self) -> (Vec<(u128, Ipv4Addr)>, u128, Vec<Step>) {
            let mut sent = Vec::new();
            loop {
                let (at, steps) = self.next();
                match &steps[..] {
                    [Step::Send(message)] => sent.push((at, message.to)),
                    _ => return (sent, at, steps),
                }
            }
        }
    }

    #[test]
    fn nobody_answers_and_the_pauses_grow_to_their_longest() {
        let mut simulation = Simulation::new();
        let times: Vec<u128> = (0..11).map(|_| simulation.next().0).collect();
        assert_eq!(times, [0, 250, 750, 1750, 3750, 7750, 15_750, 31_750, 63_750, 95_750, 127_750]);
    }

    #[test]
    fn an_offer_is_asked_for_from_the_server_that_made_it() {
        let mut simulation = Simulation::new();
        let (_, steps) = simulation.next();
        assert!(matches!(&steps[..], [Step::Send(Message { kind: Type::Discover, .. })]));
        let steps = simulation.answered(Type::Offer, lease(15, 3600));
        let [Step::Send(message)] = &steps[..] else { panic!("{steps:?}") };
        let expected = (Type::Request, Some(lease(15, 0).address), Some(SERVER), Ipv4Addr::UNSPECIFIED);
        assert_eq!((message.kind, message.requested, message.server, message.current), expected);
        // A second offer changes nothing any more.
        assert_eq!(simulation.answered(Type::Offer, lease(16, 3600)), []);
        // A server that is silent now is given up after a while.
        let xid = simulation.client.xid();
        let found =
            (0..12).find(|_| matches!(&simulation.next().1[..], [Step::Send(Message { kind: Type::Discover, .. })]));
        assert!(found.is_some() && simulation.client.xid() != xid);
    }

    #[test]
    fn a_lease_is_renewed_at_half_its_time_and_lives_on() {
        let mut simulation = Simulation::bound(3600);
        for round in 1..=5 {
            let (at, steps) = simulation.next();
            assert_eq!(at, round * 1_800_000);
            let [Step::Send(message)] = &steps[..] else { panic!("{steps:?}") };
            assert_eq!((message.to, message.current, message.secs), (SERVER, lease(15, 0).address, 0));
            assert_eq!((message.requested, message.server), (None, None));
            assert!(matches!(simulation.answered(Type::Ack, lease(15, 3600))[..], [Step::Bind(_)]));
        }
    }

    #[test]
    fn a_silent_server_then_any_server_then_the_end() {
        let mut simulation = Simulation::bound(3600);
        let (sent, at, steps) = simulation.sent();
        assert_eq!((at, &steps[0], steps.len()), (3_600_000, &Step::Release(Loss::Expired), 2));
        assert_eq!(simulation.client.lease(), None);
        // T1 is 1800 s and T2 3150 s.
        assert_eq!(sent[0].0, 1_800_000);
        for pair in sent.windows(2) {
            assert!(pair[1].0 - pair[0].0 >= 60_000, "{sent:?}");
        }
        for (at, to) in &sent {
            assert_eq!(*to, if *at < 3_150_000 { SERVER } else { Ipv4Addr::BROADCAST }, "{at}");
        }
        assert!(sent.len() >= 6 && sent.last().is_some_and(|last| last.1.is_broadcast()), "{sent:?}");
        // And from the beginning again.
        assert!(matches!(simulation.answered(Type::Offer, lease(20, 3600))[..], [Step::Send(_)]));
    }

    #[test]
    fn any_server_may_extend_a_lease_and_may_give_another_address() {
        let mut simulation = Simulation::bound(120);
        simulation.next();
        simulation.now += Duration::from_secs(50);
        let steps = simulation.answered(Type::Ack, lease(99, 86_400));
        assert_eq!(steps, [Step::Bind(lease(99, 86_400))]);
        assert_eq!(simulation.next().0, (60 + 50 + 43_200) * 1000);
    }

    #[test]
    fn a_refusal_takes_the_address_away_at_once() {
        let mut simulation = Simulation::bound(3600);
        simulation.next();
        let steps = simulation.answered(Type::Nak, lease(15, 60));
        assert!(matches!(&steps[..], [Step::Release(Loss::Refused), Step::Send(Message { kind: Type::Discover, .. })]));
        assert_eq!(simulation.client.lease(), None);
    }

    #[test]
    fn the_longest_lease_there_is_does_not_overflow() {
        let mut simulation = Simulation::bound(u32::MAX);
        assert_eq!(simulation.next().0, u128::from(u32::MAX / 2) * 1000);
    }
}
