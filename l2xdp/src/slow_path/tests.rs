//! Sessions and sockets' counters, without a network.

use super::served::{Message, Served};
use super::*;
use l2xdp_common::checksum;
use l2xdp_common::pseudowire::{Cookie, L2Spec, Mss, Seq, Tos};
use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr};

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::new(1, 1, 1, 2));
const REMOTE: IpAddr = IpAddr::V4(Ipv4Addr::new(2, 2, 2, 2));
const SESSION_ID: u32 = 3000;
const OUTPUT: u32 = 9;
const MACS: [u8; 12] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];

/// Both cookies, the default sublayer, no sequence numbers.
fn pseudowire() -> Pseudowire {
    Pseudowire {
        local: LOCAL,
        remote: REMOTE,
        udp_sport: 6000,
        udp_dport: 5000,
        peer_session_id: 4000,
        cookie: cookie(&[0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef]),
        peer_cookie: cookie(&[0xfe, 0xdc, 0xba, 0x98]),
        l2spec: L2Spec::Default,
        seq: Seq::default(),
        ttl: 64,
        tos: Tos::Fixed(0),
        checksum: false,
        zero_csum6_rx: false,
        mss: Mss::Auto,
        vlan: None,
    }
}

fn cookie(bytes: &[u8]) -> Cookie {
    Cookie::new(bytes).expect("a length that cookies have")
}

const fn session(pseudowire: Pseudowire) -> SlowSession {
    SlowSession { session_id: SESSION_ID, slot: 1, pseudowire, output: OUTPUT, path_mtu: 1500 }
}

/// An ARP frame, as far as anybody looks.
fn frame() -> Vec<u8> {
    [&MACS[..], &[0x08, 0x06], &[0xca; 28]].concat()
}

fn tagged(tci: [u8; 2]) -> Vec<u8> {
    [&MACS[..], &[0x81, 0x00], &tci, &[0x08, 0x06], &[0xca; 28]].concat()
}

/// A TCP SYN over IPv4, DSCP 46 and an ECN mark, that offers this MSS.
fn syn(mss: u16) -> Vec<u8> {
    let ip: [u8; 20] = [0x45, 0xbb, 0, 44, 0, 0, 0x40, 0, 64, 6, 0, 0, 192, 168, 0, 1, 192, 168, 0, 2];
    let mut tcp = [0; 24];
    (tcp[12], tcp[13], tcp[20], tcp[21]) = (0x60, 0x02, 2, 4);
    tcp[22..].copy_from_slice(&mss.to_be_bytes());
    let pseudo = [&ip[12..], &[0, 6, 0, 24]].concat();
    let sum = !checksum::of(&[&pseudo[..], &tcp].concat());
    tcp[16..18].copy_from_slice(&sum.to_be_bytes());
    [&MACS[..], &[0x08, 0x00], &ip, &tcp].concat()
}

/// What `served` would send, and its counters afterwards.
fn sent(served: &mut Served, frame: &[u8]) -> Option<Message> {
    let mut message = None;
    served.send(HostFrame::skb(frame), |new| {
        message = Some(new.clone());
        Ok(())
    });
    message
}

/// What `served` would deliver.
fn delivered(served: &mut Served, tail: &[u8]) -> Option<Vec<u8>> {
    let mut delivered = None;
    served.receive(tail, |output, frame| {
        assert_eq!(output, OUTPUT);
        delivered = Some(frame.to_vec());
        Ok(())
    });
    delivered
}

fn sequenced() -> Pseudowire {
    Pseudowire { seq: Seq { send: true, recv: true }, ..pseudowire() }
}

/// What a message to us has before the frame, behind the L2TP header.
const TAIL: [u8; 8] = [0xfe, 0xdc, 0xba, 0x98, 0, 0, 0, 0];

fn message(frame: &[u8]) -> Vec<u8> {
    [&TAIL[..], frame].concat()
}

#[test]
fn headers_sent_are_those_of_the_kernel() {
    let header = [0, 3, 0, 0, 0, 0, 0x0f, 0xa0];
    let cookie_bytes = [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef];
    let bare = Pseudowire { cookie: Cookie::default(), l2spec: L2Spec::None, ..pseudowire() };
    let cases: [(Pseudowire, &[&[u8]]); 4] = [
        (bare, &[]),
        (Pseudowire { l2spec: L2Spec::None, ..pseudowire() }, &[&cookie_bytes]),
        (Pseudowire { cookie: cookie(&cookie_bytes[..4]), ..pseudowire() }, &[&cookie_bytes[..4], &[0; 4]]),
        (sequenced(), &[&cookie_bytes, &[0x40, 0, 0, 0]]),
    ];
    for (pseudowire, tail) in cases {
        let mut served = Served::new(session(pseudowire));
        let bytes = [&header[..], &tail.concat(), &frame()].concat();
        assert_eq!(sent(&mut served, &frame()), Some(Message { bytes, tos: 0, frame_len: 42 }));
        assert_eq!(served.counters, SlowCounters { tx_packets: 1, tx_bytes: 42, ..SlowCounters::default() });
    }
}

#[test]
fn each_message_has_the_next_number() {
    let mut served = Served::new(session(sequenced()));
    for ns in 0..3 {
        let message = sent(&mut served, &frame()).expect("it is sent");
        assert_eq!(message.bytes[16..20], [0x40, 0, 0, ns]);
    }
}

#[test]
fn what_cannot_be_sent_is_an_error() {
    let mut served = Served::new(session(pseudowire()));
    served.send(HostFrame::skb(&frame()), |_| Err(io::ErrorKind::OutOfMemory.into()));
    assert_eq!(served.counters, SlowCounters { tx_errors: 1, ..SlowCounters::default() });
}

/// The vector `user_space_qinq`: the programs hand frames over without it. What tags there are belong to the frame.
#[test]
fn the_tag_of_a_vlan_session_is_off_already_when_sent_and_put_on_when_received() {
    let mut served = Served::new(session(Pseudowire { vlan: Some(100), ..pseudowire() }));
    for inner in [frame(), tagged([0xa0, 7]), tagged([0, 100])] {
        let message = sent(&mut served, &inner).expect("it is sent");
        assert_eq!(message.bytes[20..], inner);
        assert_eq!(message.frame_len, inner.len());
    }
    assert_eq!(delivered(&mut served, &[&TAIL[..], &frame()].concat()), Some(tagged([0, 100])));
    assert_eq!(served.counters.rx_bytes, frame().len() as u64, "as on the wire");
}

/// facts.md: 1500 − 20 − 8 − 12 − 14 − 20 − 20; the cookie we send is 8 bytes long here.
#[test]
fn syns_are_clamped_both_ways() {
    let mut served = Served::new(session(sequenced()));
    let message_sent = sent(&mut served, &syn(1460)).expect("it is sent");
    assert_eq!(message_sent.bytes[20..], syn(1398), "checksum and all");
    let sublayer = [0x40, 0, 0, 0];
    let received = delivered(&mut served, &[&TAIL[..4], &sublayer, &syn(1460)].concat());
    assert_eq!(received, Some(syn(1398)));
    let mut served = Served::new(session(Pseudowire { mss: Mss::Off, ..pseudowire() }));
    assert_eq!(delivered(&mut served, &message(&syn(1460))), Some(syn(1460)));
}

#[test]
fn the_outer_tos_is_fixed_or_the_inner_dscp() {
    for (tos, frame, expected) in
        [(Tos::Fixed(0x48), syn(500), 0x48), (Tos::Inherit, syn(500), 0xb8), (Tos::Inherit, frame(), 0)]
    {
        let mut served = Served::new(session(Pseudowire { tos, ..pseudowire() }));
        assert_eq!(sent(&mut served, &frame).expect("it is sent").tos, expected);
    }
}

#[test]
fn frames_received_are_delivered() {
    let mut served = Served::new(session(pseudowire()));
    assert_eq!(delivered(&mut served, &message(&frame())), Some(frame()));
    let bare = Pseudowire { peer_cookie: Cookie::default(), l2spec: L2Spec::None, ..pseudowire() };
    assert_eq!(delivered(&mut Served::new(session(bare)), &frame()), Some(frame()));
    assert_eq!(served.counters, SlowCounters { rx_packets: 1, rx_bytes: 42, ..SlowCounters::default() });
}

#[test]
fn each_byte_of_the_cookie_must_match() {
    for len in [4, 8] {
        let peer_cookie = cookie(&[0xc5; 8][..len]);
        for wrong in 0..len {
            let mut served = Served::new(session(Pseudowire { peer_cookie, ..pseudowire() }));
            let mut tail = [&[0xc5; 8][..len], &[0; 4], &frame()].concat();
            assert!(delivered(&mut served, &tail).is_some());
            tail[wrong] ^= 0x80;
            assert_eq!(delivered(&mut served, &tail), None);
            let SlowCounters { rx_packets, rx_errors, rx_cookie_discards, .. } = served.counters;
            assert_eq!((rx_packets, rx_errors, rx_cookie_discards), (1, 1, 1));
        }
    }
}

#[test]
fn a_wrong_cookie_does_not_move_the_sequence() {
    let mut served = Served::new(session(sequenced()));
    let tail = |cookie: u8, ns: u8| [&[cookie, 0xdc, 0xba, 0x98, 0x40, 0, 0, ns], &frame()[..]].concat();
    assert!(delivered(&mut served, &tail(0xfe, 5)).is_some());
    assert!(delivered(&mut served, &tail(0xff, 6)).is_none());
    assert!(delivered(&mut served, &tail(0xfe, 6)).is_some());
}

#[test]
fn required_sequence_numbers_are_counted_when_missing() {
    let mut served = Served::new(session(sequenced()));
    assert_eq!(delivered(&mut served, &message(&frame())), None);
    let expected = SlowCounters { rx_errors: 1, rx_seq_discards: 1, ..SlowCounters::default() };
    assert_eq!(served.counters, expected);
}

#[test]
fn what_holds_no_frame_or_does_not_fit_the_output_is_an_error() {
    let mut served = Served::new(session(pseudowire()));
    assert_eq!(delivered(&mut served, &message(&frame()[..13])), None);
    assert!(delivered(&mut served, &message(&frame()[..14])).is_some(), "14 bytes are a frame");
    served.receive(&message(&frame()), |_, _| Err(io::ErrorKind::OutOfMemory.into()));
    assert_eq!(served.counters.rx_errors, 2);
    assert_eq!(served.counters.rx_packets, 1);
}

/// A state with one session and its tunnel's socket.
fn state() -> State {
    let mut state = State::default();
    state.serve(vec![session(pseudowire())]);
    state
}

#[test]
fn sessions_that_stay_go_on() {
    let mut state = state();
    let numbered = |seq| Pseudowire { seq, ..pseudowire() };
    let both = Seq { send: true, recv: true };
    let next = |state: &mut State| {
        let message = sent(state.sessions.get_mut(&SESSION_ID).expect("served"), &frame()).expect("sent");
        message.bytes[19]
    };
    state.serve(vec![session(numbered(both))]);
    assert_eq!((next(&mut state), next(&mut state)), (0, 1));
    state.serve(vec![SlowSession { slot: 5, path_mtu: 1400, ..session(numbered(both)) }]);
    assert_eq!(next(&mut state), 2);
    assert_eq!(state.slots, HashMap::from([(5, SESSION_ID)]));
    assert_eq!(state.sessions[&SESSION_ID].counters.tx_packets, 3);
    state.serve(vec![session(numbered(Seq { send: true, recv: false }))]);
    assert_eq!(next(&mut state), 0, "another configuration begins anew");
    state.serve(Vec::new());
    assert!(state.sessions.is_empty() && state.slots.is_empty());
}

/// What comes in on sockets, each counted once, and what of it is delivered.
#[tokio::test]
async fn datagrams_are_told_apart() {
    let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let socket = TunnelSocket::bind(SocketAddr::new(here, 0)).expect("a free port");
    let at =
        SocketAddr::new(here, socket.reader().and_then(|socket| socket.local_addr()).expect("bound").port());
    let peer = SocketAddr::new(REMOTE, 5000);
    let mut state = State::default();
    state.serve(vec![session(Pseudowire { local: here, udp_sport: at.port(), ..pseudowire() })]);
    state.sockets.insert(at, socket);
    let state = RefCell::new(state);
    let receive = |from: SocketAddr, datagram: &[u8]| {
        let mut delivered = false;
        let mut state = state.borrow_mut();
        state.receive(at, from, datagram, |_, _| {
            delivered = true;
            Ok(())
        });
        let SocketCounters { control, data, invalid } =
            std::mem::take(&mut state.sockets.get_mut(&at).expect("it is open").counters);
        ((control, data, invalid), delivered)
    };
    let good = [&[0, 3, 0, 0, 0, 0, 0x0b, 0xb8], &TAIL[..], &frame()].concat();
    let but = |at: usize, value: u8| {
        let mut datagram = good.clone();
        datagram[at] = value;
        datagram
    };
    assert_eq!(receive(peer, &good), ((0, 1, 0), true));
    assert_eq!(receive(peer, &but(2, 0xff)), ((0, 1, 0), true), "reserved bits are ignored");
    assert_eq!(receive(peer, &but(7, 0)), ((0, 1, 0), false), "unknown session");
    assert_eq!(receive(SocketAddr::new(REMOTE, 5001), &good), ((0, 1, 0), false), "another port");
    assert_eq!(receive(SocketAddr::new(LOCAL, 5000), &good), ((0, 1, 0), false), "another address");
    assert_eq!(receive(peer, &but(0, 0xc8)), ((1, 0, 0), false), "control");
    assert_eq!(receive(peer, &but(1, 2)), ((0, 0, 1), false), "version 2");
    assert_eq!(receive(peer, &good[..7]), ((0, 0, 1), false), "no L2TP header");
    assert_eq!(receive(peer, &good[..13]), ((0, 0, 1), false), "shorter than any");
    assert_eq!(receive(peer, &good[..15]), ((0, 0, 1), false), "within the sublayer");
    assert_eq!(receive(peer, &good[..16]), ((0, 1, 0), false), "no frame");
    assert_eq!(receive(peer, &[]), ((0, 0, 1), false));
}

#[tokio::test]
async fn sockets_tell_what_is_wrong() {
    let taken = std::net::UdpSocket::bind("127.0.0.1:0")
        .and_then(|socket| socket.local_addr().map(|at| (socket, at)));
    let (_taken, at) = taken.expect("a free port");
    for (address, mend) in [(at, "ss -lunp"), ("192.0.2.1:1".parse().expect("an address"), "ip address add")]
    {
        let error = TunnelSocket::bind(address).err().expect("it can't be had");
        assert!(format!("{error:#}").contains(mend), "{error:#}");
    }
}
