//! Outer packets as they are compared: byte for byte, but for what may differ.

use anyhow::{Context as _, Result, ensure};
use l2xdp_tests::message::sum;

const ETHERNET: usize = 14;
const UDP: u8 = 17;
const FRAGMENT: u8 = 44;
const MORE_FRAGMENTS: u16 = 0x2000;
const DONT_FRAGMENT: u8 = 0x40;
/// The ports of the tunnels, from the lowest on.
const PORTS: std::ops::Range<u16> = 5000..6010;

/// Whether a frame holds a UDP packet from a tunnel's port, or a later fragment.
pub fn is_outer(frame: &[u8]) -> bool {
    let Some(packet) = frame.get(ETHERNET..) else { return false };
    let udp = match ethertype(frame) {
        Some(0x0800) if packet.get(9) == Some(&UDP) => {
            if fragment_field(packet) & 0x1fff != 0 {
                return true;
            }
            packet.get(20..)
        }
        Some(0x86dd) if packet.get(6) == Some(&FRAGMENT) => return true,
        Some(0x86dd) if packet.get(6) == Some(&UDP) => packet.get(40..),
        _ => None,
    };
    udp.and_then(|udp| word(udp, 0)).is_some_and(|port| PORTS.contains(&port))
}

/// Whether further fragments of the same packet follow.
pub fn more_follow(frame: &[u8]) -> bool {
    let packet = &frame[ETHERNET..];
    match ethertype(frame) {
        Some(0x0800) => fragment_field(packet) & MORE_FRAGMENTS != 0,
        _ => packet.get(6) == Some(&FRAGMENT) && packet.get(43).is_some_and(|low| low & 1 != 0),
    }
}

/// The frame without what may differ between the driver and l2xdp:
///
/// - IPv4's identification: any will do (RFC 6864), the driver counts up, l2xdp sends 0 where it forbids fragmentation;
/// - IPv4's DF: the driver's socket leaves it off so that routers may fragment, l2xdp sets it;
/// - IPv4's header checksum, which covers the two: it must be right, that is all;
/// - IPv6's flow label: the kernel makes one up for each socket, l2xdp sends 0;
/// - the identification in IPv6's fragment header.
pub fn comparable(frame: &[u8]) -> Result<Vec<u8>> {
    let mut frame = frame.to_vec();
    let ethertype = ethertype(&frame);
    let packet = &mut frame[ETHERNET..];
    if ethertype == Some(0x0800) {
        let header = packet.get_mut(..20).context("an IPv4 header cut short")?;
        ensure!(sum(header) == 0xffff, "the IPv4 header checksum is wrong: {header:02x?}");
        header[4..6].fill(0);
        header[6] &= !DONT_FRAGMENT;
        header[10..12].fill(0);
    } else {
        let header = packet.get_mut(..40).context("an IPv6 header cut short")?;
        header[1] &= 0xf0;
        header[2..4].fill(0);
        if header[6] == FRAGMENT {
            packet.get_mut(44..48).context("a fragment header cut short")?.fill(0);
        }
    }
    Ok(frame)
}

fn ethertype(frame: &[u8]) -> Option<u16> {
    word(frame, 12)
}

fn fragment_field(packet: &[u8]) -> u16 {
    word(packet, 6).unwrap_or_default()
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}
