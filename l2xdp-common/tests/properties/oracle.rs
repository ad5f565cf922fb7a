//! What is right by the RFCs, written down the plain way.

use core::net::IpAddr;
use l2xdp_common::pseudowire::{L2Spec, Path, Pseudowire, Tos};

/// Ones' complement sum of bytes, not inverted (RFC 1071). The parts but the last have even lengths.
pub fn sum(parts: &[&[u8]]) -> u16 {
    let mut sum: u32 = 0;
    for word in parts.concat().chunks(2) {
        sum += u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// The pseudo-header of RFC 768 and RFC 9293 for two IPv4 addresses, of RFC 8200 for two of IPv6.
pub fn pseudo_header(addresses: &[u8], protocol: u8, len: usize) -> Vec<u8> {
    let mut bytes = addresses.to_vec();
    if addresses.len() == 8 {
        bytes.extend([0, protocol]);
        bytes.extend((len as u16).to_be_bytes());
    } else {
        bytes.extend((len as u32).to_be_bytes());
        bytes.extend([0, 0, 0, protocol]);
    }
    bytes
}

/// The whole message for an inner frame (RFC 3931 §4.1.2.1). Its UDP checksum is of the same message with another
/// inner frame in it: the one that a device makes of this one.
pub fn message(pseudowire: &Pseudowire, path: &Path, dscp: u8, inner: &[u8], finished: &[u8]) -> Vec<u8> {
    let mut l2tp = vec![0, 3, 0, 0];
    l2tp.extend(pseudowire.peer_session_id.to_be_bytes());
    l2tp.extend(pseudowire.cookie.bytes());
    if pseudowire.l2spec == L2Spec::Default {
        l2tp.extend([0; 4]);
    }
    let udp_len = 8 + l2tp.len() + inner.len();
    let addresses = [octets(pseudowire.local), octets(pseudowire.remote)].concat();

    let mut udp = pseudowire.udp_sport.to_be_bytes().to_vec();
    udp.extend(pseudowire.udp_dport.to_be_bytes());
    udp.extend((udp_len as u16).to_be_bytes());
    let checksum = match pseudowire.checksum {
        true => !sum(&[&pseudo_header(&addresses, 17, udp_len), &udp, &l2tp, finished]),
        false => 0,
    };
    let sent = if pseudowire.checksum && checksum == 0 { 0xffff } else { checksum };
    udp.extend(sent.to_be_bytes());

    let tos = match pseudowire.tos {
        Tos::Inherit => dscp,
        Tos::Fixed(tos) => tos,
    };
    let ip = if pseudowire.local.is_ipv6() {
        let mut ip = vec![0x60 | tos >> 4, tos << 4, 0, 0];
        ip.extend((udp_len as u16).to_be_bytes());
        ip.extend([17, pseudowire.ttl]);
        [ip, addresses].concat()
    } else {
        let mut ip = vec![0x45, tos];
        ip.extend((20 + udp_len as u16).to_be_bytes());
        ip.extend([0, 0, 0x40, 0, pseudowire.ttl, 17]);
        let checksum = !sum(&[&ip, &addresses]);
        ip.extend(checksum.to_be_bytes());
        [ip, addresses].concat()
    };
    let ethertype = if pseudowire.local.is_ipv6() { [0x86, 0xdd] } else { [0x08, 0x00] };
    [&path.dst_mac[..], &path.src_mac, &ethertype, &ip, &udp, &l2tp, inner].concat()
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const FRAGMENT: u8 = 44;
const ICMPV6: u8 = 58;

/// An IP packet that is not a fragment, and behind at most two tags.
#[derive(Clone, Copy)]
pub struct Packet {
    /// What it holds.
    protocol: u8,
    /// Where its addresses begin and end in the frame.
    addresses: (usize, usize),
    /// Where what it holds begins.
    at: usize,
    /// Where the packet ends.
    end: usize,
}

/// The packet in a frame.
pub fn packet(frame: &[u8]) -> Option<Packet> {
    let word = |at: usize| Some(u16::from_be_bytes([*frame.get(at)?, *frame.get(at + 1)?]));
    let mut at = 12;
    for _ in 0..2 {
        if matches!(word(at)?, 0x8100 | 0x88a8) {
            at += 4;
        }
    }
    let ip = at + 2;
    match word(at)? {
        0x0800 if word(ip + 6)? & 0x3fff == 0 => Some(Packet {
            protocol: *frame.get(ip + 9)?,
            addresses: (ip + 12, ip + 20),
            at: ip + usize::from(frame[ip] & 15) * 4,
            end: ip + usize::from(word(ip + 2)?),
        }),
        0x86dd => {
            let end = ip + 40 + usize::from(word(ip + 4)?);
            Some(Packet { protocol: *frame.get(ip + 6)?, addresses: (ip + 8, ip + 40), at: ip + 40, end })
        }
        _ => None,
    }
}

/// Where the TCP or UDP checksum is of a packet that looks as if a device were to finish it.
pub fn unfinished(frame: &[u8]) -> Option<(Packet, usize)> {
    let packet = packet(frame)?;
    let at = packet.at + if packet.protocol == TCP { 16 } else { 6 };
    let addresses = &frame[packet.addresses.0..packet.addresses.1];
    let pseudo = sum(&[&pseudo_header(addresses, packet.protocol, packet.end - packet.at)]);
    let found = matches!(packet.protocol, TCP | UDP) && frame.get(at..at + 2) == Some(&pseudo.to_be_bytes());
    found.then_some((packet, at))
}

/// Nobody can tell whether all its checksums are finished: it is UDP, which may hold a tunnel, or neither TCP nor ICMP
/// nor a fragment.
pub fn is_unknown(frame: &[u8]) -> bool {
    let known = |packet: Packet| matches!(packet.protocol, TCP | ICMP | ICMPV6 | FRAGMENT);
    packet(frame).is_some_and(|packet| !known(packet)) && unfinished(frame).is_none()
}

/// The frame as a device would leave it, if it has a checksum to finish.
pub fn finished(frame: &[u8]) -> Vec<u8> {
    let mut bytes = frame.to_vec();
    if let Some((packet, at)) = unfinished(frame) {
        // The sum of the pseudo-header is there already.
        let checksum = !sum(&[&frame[packet.at..packet.end]]);
        bytes[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
    }
    bytes
}

/// Where the value of the MSS option is that a clamp may lower (RFC 9293 §3.2), and where the TCP checksum is.
pub fn mss_of_syn(frame: &[u8]) -> Option<(usize, usize)> {
    let Packet { protocol: TCP, at: tcp, .. } = packet(frame)? else { return None };
    let (end, syn) = (tcp + usize::from(*frame.get(tcp + 12)? >> 4) * 4, frame.get(tcp + 13)? & 2 != 0);
    let mut option = tcp + 20;
    while syn && option + 4 <= end {
        match (*frame.get(option)?, *frame.get(option + 1)?) {
            (0, _) => return None,
            (1, _) => option += 1,
            (2, 4) => return Some((option + 2, tcp + 16)),
            (2, _) | (_, 0) => return None,
            (_, len) => option += usize::from(len),
        }
    }
    None
}
