//! Packets from the WAN, good and bad, and what the driver does with them. Where a candidate does something else on
//! purpose, that is here with the reason.

use l2xdp_tests::message::{Checksum, Message};
use l2xdp_tests::wire::Underlay;

use crate::carrier::Carrier;
use crate::session::Session;

/// One kind of packet.
pub struct Case {
    pub name: &'static str,
    pub packets: Make,
    /// What the driver does: one of these, where kernels differ.
    pub driver: &'static [Seen],
    /// What those do that do something else.
    pub others: Vec<(Carrier, Seen)>,
    /// The fast path takes them.
    pub fast: bool,
}

/// The packets for a session with a frame; none if there is no such packet for this session.
type Make = fn(&Session, &[u8]) -> Option<Vec<Vec<u8>>>;

/// What becomes of the packets: seen at the pseudowire's device, and in the session's counters.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    pub delivered: bool,
    /// The counters that move, but for those of bytes; in alphabetical order.
    pub counted: &'static [(&'static str, u64)],
}

const DELIVERED: Seen = Seen { delivered: true, counted: &[("rx_packets", 1)] };
const NOTHING: Seen = Seen { delivered: false, counted: &[] };
const BAD_COOKIE: Seen = Seen { delivered: false, counted: &[("rx_cookie_discards", 1), ("rx_errors", 1)] };
/// The session takes it, the device does not.
const NO_FRAME: Seen = Seen { delivered: false, counted: &[("rx_packets", 1)] };

const ERROR: Seen = Seen { delivered: false, counted: &[("rx_errors", 1)] };

/// All of them. Their order matters to the driver in this: a message without a number ends what one with it began.
pub fn all() -> Vec<Case> {
    let case = |name, packets, driver| Case { name, packets, driver, others: Vec::new(), fast: false };
    let taken = |name, packets| case(name, packets, &[DELIVERED]);
    let left = |name, packets| case(name, packets, &[NOTHING]);
    let not_ours = |name, packets| case(name, packets, &[BAD_COOKIE]);
    vec![
        taken("a right one", |session, frame| one(right(session, frame))).by_the_fast_path(),
        not_ours("first bit of the cookie", |session, frame| cookie(session, frame, 8, 0x80)),
        not_ours("last bit of the cookie", |session, frame| {
            cookie(session, frame, 7 + session.peer_cookie, 0x01)
        }),
        left("unknown session", |session, frame| flipped(session, frame, 4, 0x40)),
        left("control message", |session, frame| flipped(session, frame, 0, 0xc8)),
        left("version 2", |session, frame| flipped(session, frame, 1, 0x01)),
        taken("flags of version 2", |session, frame| flipped(session, frame, 0, 0x4b)),
        taken("reserved bits", |session, frame| flipped(session, frame, 3, 0xff)),
        taken("fragments", |session, frame| Some(right(session, frame).fragments().to_vec())),
        taken("IP options", options),
        taken("bytes behind the datagram", |session, frame| {
            changed(session, frame, |message| message.behind = vec![0xee; 9])
        }),
        taken("padding behind the packet", |session, frame| {
            changed(session, frame, |message| message.padding = 7)
        }),
        left("UDP length beyond the packet", |session, frame| {
            changed(session, frame, |message| message.claimed = 5)
        }),
        taken("a right checksum", |session, frame| {
            changed(session, frame, |message| message.checksum = Checksum::Right)
        }),
        left("a wrong checksum", |session, frame| {
            changed(session, frame, |message| message.checksum = Checksum::Wrong)
        }),
        taken("no checksum where it may be missing", |session, frame| no_checksum(session, frame, true)),
        left("no checksum where it must be there", |session, frame| no_checksum(session, frame, false)),
        left("a wrong checksum of the IP header", ip_checksum),
        left("a stranger's address", stranger),
        left("another port of the peer", |session, frame| {
            changed(session, frame, |message| message.from.set_port(4999))
        }),
        // Since Linux 6.11 the driver looks for the session in all tunnels. l2xdp takes a session's messages from its
        // peer alone.
        case("through another tunnel", through_sibling, &[NOTHING, DELIVERED])
            .but(Carrier::Standalone, NOTHING),
        case("13 bytes of a frame", |session, frame| one(right(session, &frame[..13])), &[NO_FRAME])
            .but(Carrier::Standalone, ERROR),
        left("13 bytes in all", |session, frame| {
            changed(session, frame, |message| message.payload.truncate(13))
        }),
        left("four bytes", |session, frame| changed(session, frame, |message| message.payload.truncate(4))),
        taken("a number in the sublayer", numbered),
        taken("a right one in the end", |session, frame| one(right(session, frame))),
    ]
}

impl Case {
    fn but(mut self, carrier: Carrier, seen: Seen) -> Self {
        self.others.push((carrier, seen));
        self
    }

    fn by_the_fast_path(mut self) -> Self {
        self.fast = true;
        self
    }
}

fn right(session: &Session, frame: &[u8]) -> Message {
    session.message(session.payload(frame))
}

fn one(message: Message) -> Option<Vec<Vec<u8>>> {
    Some(vec![message.packet()])
}

fn changed(session: &Session, frame: &[u8], change: fn(&mut Message)) -> Option<Vec<Vec<u8>>> {
    let mut message = right(session, frame);
    change(&mut message);
    one(message)
}

fn flipped(session: &Session, frame: &[u8], at: usize, bits: u8) -> Option<Vec<Vec<u8>>> {
    let mut message = right(session, frame);
    message.payload[at] ^= bits;
    one(message)
}

fn cookie(session: &Session, frame: &[u8], at: usize, bits: u8) -> Option<Vec<Vec<u8>>> {
    flipped(session, frame, at, bits).filter(|_| session.peer_cookie > 0)
}

/// An IPv4 header with options, or an IPv6 one with destination options behind it.
fn options(session: &Session, frame: &[u8]) -> Option<Vec<Vec<u8>>> {
    let options = match session.tunnel.underlay {
        Underlay::V4 => (0, vec![1; 4]),
        Underlay::V6 => (60, vec![17, 0, 1, 4, 0, 0, 0, 0]),
    };
    one(Message { options: Some(options), ..right(session, frame) })
}

fn no_checksum(session: &Session, frame: &[u8], allowed: bool) -> Option<Vec<Vec<u8>>> {
    let tunnel = session.tunnel;
    let may_be_missing = tunnel.underlay == Underlay::V4 || !tunnel.checksum;
    let message = Message { checksum: Checksum::None, ..right(session, frame) };
    (may_be_missing == allowed).then(|| vec![message.packet()])
}

fn ip_checksum(session: &Session, frame: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut packet = right(session, frame).packet();
    packet[10] ^= 0x10;
    (session.tunnel.underlay == Underlay::V4).then(|| vec![packet])
}

fn stranger(session: &Session, frame: &[u8]) -> Option<Vec<Vec<u8>>> {
    let address = match session.tunnel.underlay {
        Underlay::V4 => [2, 2, 2, 77].into(),
        Underlay::V6 => [0x2001, 0xdb8, 2, 0, 0, 0, 0, 77].into(),
    };
    let mut message = right(session, frame);
    message.from.set_ip(address);
    one(message)
}

/// Between the right addresses, but from the peer's port of another tunnel to the gateway's port of that.
fn through_sibling(session: &Session, frame: &[u8]) -> Option<Vec<Vec<u8>>> {
    let sibling = session.tunnel.sibling();
    let message = Message { checksum: Checksum::Right, ..right(session, frame) };
    one(Message { from: sibling.peer(), to: sibling.gateway(), ..message })
}

fn numbered(session: &Session, frame: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut payload = session.payload(frame);
    let at = session.header_received() - 4;
    payload[at..at + 4].copy_from_slice(&[0x40, 1, 2, 3]);
    session.sublayer.then(|| vec![session.message(payload).packet()])
}
