//! Messages that are not as they should be, or not for the fast path: each moves the counters that tell of it, and none
//! else.

use std::net::UdpSocket;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use l2xdp_tests::daemon::Daemon;
use l2xdp_tests::interrupt;
use l2xdp_tests::message::{Checksum, Injector, Message};

use super::config::{Family, Session};
use super::endpoint::{Endpoint, encode, encode_numbered};
use crate::bench::Bench;
use crate::differences::Differences;
use crate::frames::{self, Named, is_ours, same};
use crate::packet::PacketSocket;
use crate::slow;

/// What is sent, and what must come of it.
struct Case {
    name: &'static str,
    packets: Vec<Vec<u8>>,
    delivered: bool,
    moved: Vec<(&'static str, u64)>,
}

const QUIET: Duration = Duration::from_millis(40);

pub fn refused(bench: &Bench, xdp_mode: &str, family: Family) -> Result<()> {
    let lab = &bench.lab;
    let session = Session { number: 3, family, cookie: 0, peer_cookie: 8, sublayer: true };
    let daemon = super::start(bench, xdp_mode, &[session], |_| "port = \"eth1\"".to_owned())?;
    let host = PacketSocket::open(&lab.host01, "eth0")?;
    let injector = Injector::open(&lab.inet, "eth1", &lab.tun01, "eth0")?;
    let witness = Endpoint::open(&lab.tun02, &session)?;
    let frame = frames::length(80);
    let mut counters = Differences::since(&daemon, &lab.tun01)?;
    for case in cases(&session, &frame) {
        let check = || {
            case.packets.iter().try_for_each(|packet| injector.send(packet))?;
            if case.delivered {
                let received = host.receive(Duration::from_secs(1), is_ours)?;
                same(&frame, &received.context("it was not delivered")?)?;
            }
            frames::nothing(&host, QUIET)
        };
        check().and_then(|()| counters.are(&case.moved)).with_context(|| case.name)?;
    }
    from_other_sockets(bench, &session, &frame, &mut counters)?;
    frames::nothing(&host, QUIET)?;
    no_icmp(&witness, daemon, &session)
}

fn cases(session: &Session, frame: &Named) -> Vec<Case> {
    let right = encode(session, &frame.bytes);
    let len = frame.bytes.len() as u64;
    let delivered = || vec![("rx_packets", 1), ("rx_bytes", len)];
    let message =
        |payload: Vec<u8>| Message::new(session.family.endpoint(), session.family.gateway(), payload);
    let case = |name, packets, delivered, moved| Case { name, packets, delivered, moved };
    let changed = |at: usize, value: u8| {
        let mut payload = right.clone();
        payload[at] = value;
        vec![message(payload).packet()]
    };
    let flipped = |at: usize, bit: u8| changed(at, right[at] ^ bit);
    let good = message(right.clone());
    let numbered = vec![message(encode_numbered(session, 0x01_0203, &frame.bytes)).packet()];
    let slow = |reason, packets| slow::received(reason, packets, std::slice::from_ref(frame));
    let no_frame = || vec![("reason.length", 1), ("socket.data", 1), ("slow.rx_errors", 1)];
    let cookie = || vec![("rx_errors", 1), ("rx_cookie_discards", 1), ("reason.cookie", 1)];
    let options =
        if session.family == Family::V4 { (0, vec![1; 4]) } else { (0, vec![17, 0, 5, 2, 0, 0, 1, 0]) };
    let optional_way = match session.family {
        Family::V4 => slow("reason.ip_options", 1),
        // Behind an extension header nothing is looked for.
        Family::V6 => slow("reason.not_ours", 1).split_off(1),
    };
    let but = |change: &dyn Fn(&mut Message)| {
        let mut message = good.clone();
        change(&mut message);
        vec![message.packet()]
    };
    let behind = but(&|message| message.behind = vec![0xee; 9]);
    let padded = but(&|message| message.padding = 7);
    let optional = but(&|message| message.options = Some(options.clone()));
    let longer = but(&|message| message.claimed = 5);
    let into_padding = but(&|message| (message.claimed, message.padding) = (5, 9));
    let strange = but(&|message| message.from = session.family.stranger());
    let checksum = |checksum| but(&|message| message.checksum = checksum);
    let (must, refused) = (session.family == Family::V6, vec![("reason.checksum", 1)]);
    let cut = |len: usize| but(&|message| message.payload.truncate(len));
    vec![
        case("a right one", vec![good.packet()], true, delivered()),
        case("first bit of the cookie", flipped(8, 0x80), false, cookie()),
        case("last bit of the cookie", flipped(15, 0x01), false, cookie()),
        case("unknown session", flipped(7, 0x40), false, vec![("reason.no_session", 1), ("socket.data", 1)]),
        case("control message", changed(0, 0xc8), false, vec![("reason.control", 1), ("socket.control", 1)]),
        case("version 2", changed(1, 2), false, vec![("reason.version", 1), ("socket.invalid", 1)]),
        case("S bit and sequence number", numbered, true, slow("reason.sequenced", 1)),
        case("the first without them again", vec![good.packet()], true, slow("reason.sequenced", 1)),
        case("the next", vec![good.packet()], true, delivered()),
        case("fragments", good.fragments().to_vec(), true, slow("reason.fragment", 2)),
        case("bytes behind the datagram", behind, true, delivered()),
        case("padding behind the packet", padded, true, delivered()),
        case("options", optional, true, optional_way),
        case("UDP length beyond the packet", longer, false, vec![("reason.length", 1)]),
        case("UDP length beyond the packet, into padding", into_padding, false, vec![("reason.length", 1)]),
        case("wrong checksum", checksum(Checksum::Wrong), false, vec![("reason.checksum", 1)]),
        case("right checksum", checksum(Checksum::Right), true, delivered()),
        case("no checksum", checksum(Checksum::None), !must, if must { refused } else { delivered() }),
        case("no frame inside", cut(20), false, no_frame()),
        case("13 bytes of a frame", cut(33), false, no_frame()),
        case("four bytes", cut(4), false, vec![("socket.invalid", 1)]),
        case("a stranger's address", strange, false, vec![("reason.peer", 1), ("socket.data", 1)]),
        case("a right one in the end", vec![good.packet()], true, delivered()),
    ]
}

/// The same message from a port that is not the peer's.
fn from_other_sockets(
    bench: &Bench,
    session: &Session,
    frame: &Named,
    counters: &mut Differences<'_>,
) -> Result<()> {
    let mut address = session.family.endpoint();
    address.set_port(5001);
    let socket = bench.lab.tun02.enter(|| Ok(UdpSocket::bind(address)?))?;
    socket.send_to(&encode(session, &frame.bytes), session.family.gateway())?;
    counters.are(&[("reason.peer", 1), ("socket.data", 1)]).context("another port")
}

/// The gateway's port is taken: its peer sees no "port unreachable", until the daemon is gone.
fn no_icmp(witness: &Endpoint<'_>, daemon: Daemon, session: &Session) -> Result<()> {
    let control =
        encode(session, &[]).into_iter().enumerate().map(|(at, byte)| if at == 0 { 0xc8 } else { byte });
    let control: Vec<u8> = control.collect();
    witness.send_raw(&control)?;
    let refused = |limit| interrupt::poll(limit, || witness.icmp_error());
    let error = refused(Duration::from_millis(200))?;
    ensure!(
        error.is_none(),
        "the peer was told: {}",
        error.map(|error| error.to_string()).unwrap_or_default()
    );
    daemon.stop()?;
    witness.send_raw(&control)?;
    ensure!(refused(Duration::from_secs(2))?.is_some(), "without a daemon the peer must be told");
    Ok(())
}
