//! Frames of every kind, as they may come in from a LAN. Lengths and checksums within are as they come: a pseudowire
//! carries what it is given.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::packet::PacketSocket;
use crate::traffic::noise;

/// A frame, and what to call it.
#[derive(Clone, Debug)]
pub struct Named {
    /// What to call it.
    pub name: String,
    /// All of it, from the destination's MAC on.
    pub bytes: Vec<u8>,
}

/// Whatever can send frames.
pub trait Send {
    /// Sends one.
    fn send(&self, frame: &[u8]) -> Result<()>;
}

impl Named {
    /// The same in a VLAN.
    pub fn tagged(&self, vlan: u16) -> Self {
        let [high, low] = vlan.to_be_bytes();
        let (macs, rest) = self.bytes.split_at(12);
        Self {
            name: format!("VLAN {vlan}: {}", self.name),
            bytes: [macs, &[0x81, 0, high, low], rest].concat(),
        }
    }
}

/// Whom they are from: nothing else in a lab sends with this MAC.
pub const SOURCE: [u8; 6] = [0x02, 0xe2, 0xe0, 0, 0, 0x01];
const DESTINATION: [u8; 6] = [0x02, 0xe2, 0xe0, 0, 0, 0x02];
const BROADCAST: [u8; 6] = [0xff; 6];
const GROUP: [u8; 6] = [0x01, 0x00, 0x5e, 0, 0, 0x05];

/// Some at a time, which fit a veth's ring.
const BURST: usize = 32;
const LIMIT: Duration = Duration::from_secs(1);

/// What any Ethernet carries, bridges included.
pub fn varied() -> Vec<Named> {
    let mut frames = vec![
        named("ARP", to(BROADCAST, 0x0806, &arp())),
        named("LLDP", to(GROUP, 0x88cc, b"\x02\x07\x04\x02\xe2\xe0\0\0\x01\x04\x03\x05p1\x06\x02\0\x78\0\0")),
        named("802.3 with LLC", to(DESTINATION, 6, b"\x42\x42\x03abc")),
        named(
            "802.3 with SNAP, padded",
            to(DESTINATION, 10, &[b"\xaa\xaa\x03\0\0\x0c\x20\0ab".as_slice(), &[0; 36]].concat()),
        ),
        named(
            "MPLS, one label",
            to(DESTINATION, 0x8847, &[b"\0\x06\x41\x40".as_slice(), &ipv4(5, 0, 17, &udp(32))].concat()),
        ),
        named(
            "MPLS, two labels",
            to(GROUP, 0x8848, &[b"\0\x06\x40\x40\0\x07\x41\x40".as_slice(), noise(1, 60)].concat()),
        ),
        named(
            "PPPoE",
            to(DESTINATION, 0x8864, &[b"\x11\0\0\x01\0\x2a\0\x21".as_slice(), noise(2, 40)].concat()),
        ),
        named("PTP", to(GROUP, 0x88f7, noise(3, 44))),
        named("EtherType 0xffff", to(DESTINATION, 0xffff, noise(4, 50))),
    ];
    frames.extend(inner_packets().into_iter().flat_map(|(name, ethertype, packet)| {
        let untagged = [ethertype.to_be_bytes().as_slice(), &packet].concat();
        TAGS.into_iter().map(move |(tags, words)| {
            let head = [&DESTINATION, &SOURCE].map(|mac| mac.as_slice()).concat();
            let words: Vec<u8> = words.iter().flat_map(|word: &u16| word.to_be_bytes()).collect();
            named(&format!("{name}{tags}"), [head, words, untagged.clone()].concat())
        })
    }));
    frames.retain(|frame| survives_linux(&frame.bytes));
    frames
}

/// What only a port carries: bridges keep it for themselves (IEEE 802.1Q, 8.6.3).
pub fn link_local() -> Vec<Named> {
    let group = |last| [0x01, 0x80, 0xc2, 0, 0, last];
    vec![
        named("LLDP to the nearest bridge", to(group(0x0e), 0x88cc, noise(5, 40))),
        named("BPDU", to(group(0x00), 38, &[b"\x42\x42\x03".as_slice(), noise(6, 43)].concat())),
        named("LACP", to(group(0x02), 0x8809, noise(7, 110))),
        named("EAPOL", to(group(0x03), 0x888e, b"\x01\x01\0\0")),
    ]
}

/// Every length from the bare header on.
pub fn lengths(max: u16) -> Vec<Named> {
    (14..=max).map(length).collect()
}

/// A frame that is this long.
pub fn length(len: u16) -> Named {
    named(&format!("{len} bytes"), to(DESTINATION, 0x88b5, noise(usize::from(len), usize::from(len) - 14)))
}

/// Sends frames; all must arrive, byte for byte and in order, and nothing else from that MAC.
pub fn carried(from: &impl Send, to: &PacketSocket, frames: &[Named]) -> Result<()> {
    for burst in frames.chunks(BURST) {
        for frame in burst {
            from.send(&frame.bytes).with_context(|| frame.name.clone())?;
        }
        for frame in burst {
            let received = to.receive(LIMIT, is_ours)?;
            let received = received.with_context(|| format!("{} did not arrive", frame.name))?;
            same(frame, &received)?;
        }
    }
    nothing(to, Duration::from_millis(20))
}

/// No frame from our MAC comes within some time.
pub fn nothing(at: &PacketSocket, limit: Duration) -> Result<()> {
    let stranger = at.receive(limit, is_ours)?;
    ensure!(stranger.is_none(), "a frame came that was not to come: {}", hex(&stranger.unwrap_or_default()));
    Ok(())
}

/// Whether a frame is one of a test.
pub fn is_ours(frame: &[u8]) -> bool {
    frame.get(6..12) == Some(&SOURCE)
}

/// An error that shows where a frame is not what it was.
pub fn same(sent: &Named, received: &[u8]) -> Result<()> {
    let at = sent.bytes.iter().zip(received).take_while(|(a, b)| a == b).count();
    ensure!(
        sent.bytes == received,
        "{}: {} bytes became {}, different from byte {at} on: {} became {}",
        sent.name,
        sent.bytes.len(),
        received.len(),
        hex(&sent.bytes[at..]),
        hex(&received[at..])
    );
    Ok(())
}

/// A frame from our MAC.
pub fn to(destination: [u8; 6], ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [destination.as_slice(), &SOURCE, &ethertype.to_be_bytes(), payload].concat()
}

const TAGS: [(&str, &[u16]); 5] = [
    ("", &[]),
    (", 802.1Q", &[0x8100, 0x0064]),
    (", 802.1Q with priority and DEI", &[0x8100, 0xf064]),
    (", QinQ of 802.1ad", &[0x88a8, 0x00c8, 0x8100, 0x2064]),
    (", QinQ of 802.1Q", &[0x8100, 0x00c8, 0x8100, 0x0064]),
];

fn inner_packets() -> Vec<(&'static str, u16, Vec<u8>)> {
    let (tcp, udp) = (tcp(), udp(64));
    let ihl = |words| ipv4(words, 0, 6, &tcp);
    let fragment = |field| ipv4(5, field, 17, &udp);
    vec![
        ("IPv4 UDP", 0x0800, ipv4(5, 0x4000, 17, &udp)),
        ("IPv4 with options", 0x0800, ihl(8)),
        ("IPv4 with all options", 0x0800, ihl(15)),
        ("IPv4, IHL too small", 0x0800, ihl(4)),
        ("IPv4, first fragment", 0x0800, fragment(0x2000)),
        ("IPv4, middle fragment", 0x0800, fragment(0x2007)),
        ("IPv4, last fragment", 0x0800, fragment(0x000e)),
        ("IPv4 TCP SYN", 0x0800, ipv4(5, 0, 6, &tcp)),
        ("IPv4 TCP cut short in its options", 0x0800, ipv4(5, 0, 6, &tcp[..22])),
        ("IPv4 TCP cut short in its header", 0x0800, ipv4(5, 0, 6, &tcp[..13])),
        ("IPv4 UDP cut short", 0x0800, ipv4(5, 0, 17, &udp[..5])),
        ("IPv4 header alone", 0x0800, ipv4(5, 0, 17, &[])),
        ("IPv4 cut short", 0x0800, ipv4(5, 0, 17, &udp)[..11].to_vec()),
        ("IPv4, padded", 0x0800, [ipv4(5, 0, 17, &udp[..12]), vec![0; 14]].concat()),
        ("IPv6 UDP", 0x86dd, ipv6(17, &udp)),
        ("IPv6 TCP SYN", 0x86dd, ipv6(6, &tcp)),
        (
            "IPv6 with hop-by-hop options",
            0x86dd,
            ipv6(0, &[b"\x3a\0\x05\x02\0\0\x01\0".as_slice(), noise(8, 20)].concat()),
        ),
        ("IPv6 fragment", 0x86dd, ipv6(44, &[b"\x11\0\0\x01\0\0\0\x07".as_slice(), &udp].concat())),
        ("IPv6 TCP cut short", 0x86dd, ipv6(6, &tcp[..17])),
        ("IPv6 cut short", 0x86dd, ipv6(6, &tcp)[..33].to_vec()),
        ("no payload", 0x88b5, Vec::new()),
    ]
}

/// Linux itself drops a tagged frame that ends so early (`skb_vlan_untag`).
pub fn survives_linux(frame: &[u8]) -> bool {
    let tagged = matches!(frame[12..14], [0x81, 0x00] | [0x88, 0xa8]);
    !tagged || frame.len() >= 20
}

fn arp() -> Vec<u8> {
    [b"\0\x01\x08\0\x06\x04\0\x01".as_slice(), &SOURCE, &[10, 0, 0, 1], &[0; 6], &[10, 0, 0, 2]].concat()
}

fn ipv4(ihl: u8, fragment: u16, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let options = usize::from(ihl.saturating_sub(5)) * 4;
    let [len, fragment] = [(20 + options + payload.len()) as u16, fragment].map(u16::to_be_bytes);
    let head = [[0x40 | ihl, 0x10], len, [0, 7], fragment, [64, protocol], [0, 0]].concat();
    [head, vec![10, 0, 0, 1, 10, 0, 0, 2], vec![1; options], payload.to_vec()].concat()
}

fn ipv6(next_header: u8, payload: &[u8]) -> Vec<u8> {
    let [high, low] = (payload.len() as u16).to_be_bytes();
    [&[0x60, 0, 0, 0, high, low, next_header, 64], noise(9, 32), payload].concat()
}

/// With an MSS in the SYN that would have to be lowered.
fn tcp() -> Vec<u8> {
    b"\x30\x39\0\x50\0\0\0\x01\0\0\0\0\x70\x02\xff\xff\xab\xcd\0\0\x01\x02\x04\x05\xb4\x01\x01\0".to_vec()
}

fn udp(payload: usize) -> Vec<u8> {
    let [high, low] = (8 + payload as u16).to_be_bytes();
    [&[0x30, 0x39, 0, 0x35, high, low, 0x12, 0x34], noise(10, payload)].concat()
}

fn named(name: &str, bytes: Vec<u8>) -> Named {
    Named { name: name.to_owned(), bytes }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().take(24).map(|byte| format!("{byte:02x}")).collect()
}
