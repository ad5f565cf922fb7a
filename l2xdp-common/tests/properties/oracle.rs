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

/// Where the value of the MSS option is that a clamp may lower (RFC 9293 §3.2), and where the TCP checksum is.
pub fn mss_of_syn(frame: &[u8]) -> Option<(usize, usize)> {
    let word = |at: usize| Some(u16::from_be_bytes([*frame.get(at)?, *frame.get(at + 1)?]));
    let mut at = 12;
    for _ in 0..2 {
        if matches!(word(at)?, 0x8100 | 0x88a8) {
            at += 4;
        }
    }
    let (protocol, tcp) = match word(at)? {
        0x0800 if word(at + 8)? & 0x3fff == 0 => {
            (frame[at + 11], at + 2 + usize::from(frame[at + 2] & 15) * 4)
        }
        0x86dd => (*frame.get(at + 8)?, at + 42),
        _ => return None,
    };
    let (end, syn) = (tcp + usize::from(*frame.get(tcp + 12)? >> 4) * 4, frame.get(tcp + 13)? & 2 != 0);
    let mut option = tcp + 20;
    while protocol == 6 && syn && option + 4 <= end {
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
