//! A session as its two ends agree on it, and the map values that follow from it.

use crate::checksum;
use crate::session::{Clamp, RxSession, Template4, TxSession, flag};
use crate::wire::{
    Be16, Be32, Eth, Ipv4, Ipv6, L2SPEC_DEFAULT, L2SPEC_SEQUENCED, L2tpUdp, MAX_TAIL_WORDS, Outer4, Outer6,
    Tail, Tailed4, Tailed6, Tcp, Udp, Vlan, ethertype, protocol,
};
use bytemuck::Zeroable;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A cookie of 0, 4 or 8 bytes (RFC 3931 §4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cookie {
    words: [Be32; 2],
    len: u8,
}

impl Cookie {
    /// From its bytes; `None` if they are not 0, 4 or 8.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let mut words = [Be32::default(); 2];
        for (word, chunk) in words.iter_mut().zip(bytes.chunks(4)) {
            *word = Be32(chunk.try_into().ok()?);
        }
        matches!(bytes.len(), 0 | 4 | 8).then_some(Self { words, len: bytes.len() as u8 })
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        bytemuck::bytes_of(&self.words).get(..self.wire_len()).unwrap_or_default()
    }

    /// 0, 4 or 8.
    pub fn wire_len(&self) -> usize {
        self.len.into()
    }
}

/// The L2-specific sublayer (RFC 3931 §4.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum L2Spec {
    /// None.
    None,
    /// The default sublayer of 4 bytes, without sequence numbers.
    #[default]
    Default,
}

impl L2Spec {
    /// Bytes on the wire.
    pub const fn wire_len(self) -> usize {
        match self {
            Self::None => 0,
            Self::Default => 4,
        }
    }
}

/// Which messages carry sequence numbers (RFC 3931 §4.6.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seq {
    /// Those we send (`seq send`).
    pub send: bool,
    /// We require them of those we receive (`seq recv`).
    pub recv: bool,
}

impl Seq {
    /// iproute2's word for it.
    pub const fn name(self) -> &'static str {
        match (self.send, self.recv) {
            (false, false) => "none",
            (true, false) => "send",
            (false, true) => "recv",
            (true, true) => "both",
        }
    }
}

/// The outer type of service or traffic class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tos {
    /// The inner packet's DSCP; 0 for what is not IP.
    Inherit,
    /// This byte; its two ECN bits must be 0.
    Fixed(u8),
}

/// The limit of the MSS clamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mss {
    /// MSS options are left alone.
    Off,
    /// What fits through the path.
    Auto,
    /// This many bytes, whatever the IP version and the tags.
    Fixed(u16),
}

/// A session and the tunnel it belongs to, everything checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pseudowire {
    /// Our outer address.
    pub local: IpAddr,
    /// The peer's outer address, of the same family.
    pub remote: IpAddr,
    /// Our UDP port.
    pub udp_sport: u16,
    /// The peer's UDP port.
    pub udp_dport: u16,
    /// The session id we send.
    pub peer_session_id: u32,
    /// The cookie we send.
    pub cookie: Cookie,
    /// The cookie we require.
    pub peer_cookie: Cookie,
    /// The sublayer in both directions.
    pub l2spec: L2Spec,
    /// Sequence numbers, which the default sublayer has room for.
    pub seq: Seq,
    /// Outer TTL or hop limit.
    pub ttl: u8,
    /// Outer type of service or traffic class.
    pub tos: Tos,
    /// Send outer UDP checksums.
    pub checksum: bool,
    /// Over IPv6, accept messages without an outer UDP checksum (`udp6_csum_rx off`).
    pub zero_csum6_rx: bool,
    /// The MSS clamp, both ways.
    pub mss: Mss,
    /// The one VLAN of the port that is carried, its tag taken off.
    pub vlan: Option<u16>,
}

/// The way to the peer, as the kernel's tables have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// The WAN device.
    pub ifindex: u32,
    /// Its MAC.
    pub src_mac: [u8; 6],
    /// The next hop's MAC.
    pub dst_mac: [u8; 6],
    /// The longest outer IP packet, in bytes.
    pub mtu: u32,
}

/// Where decapsulated frames go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Into a veth: XDP sends to the hidden end, so that frames come out of the other; TC lets them come in there.
    Netdev {
        /// The end that users see.
        ifindex: u32,
        /// Its hidden peer.
        wire_ifindex: u32,
        /// Its MTU, in bytes.
        mtu: u32,
    },
    /// Out of a port.
    Port {
        /// The port.
        ifindex: u32,
        /// Its MTU, in bytes.
        mtu: u32,
    },
}

impl Pseudowire {
    /// IP and UDP header, in bytes.
    const fn ip_udp_len(&self) -> usize {
        Udp::LEN + if self.local.is_ipv6() { Ipv6::LEN } else { Ipv4::LEN }
    }

    /// What a frame grows by in outer IP packets: IP, UDP and L2TP headers, in bytes.
    pub fn overhead(&self) -> usize {
        self.ip_udp_len() + L2tpUdp::LEN + self.cookie.wire_len() + self.l2spec.wire_len()
    }

    /// The longest inner Ethernet frame that fits a path, in bytes from the destination MAC; 0 if none does.
    pub fn max_inner(&self, path_mtu: u32) -> u16 {
        u16::try_from((path_mtu as usize).saturating_sub(self.overhead())).unwrap_or(u16::MAX)
    }

    /// The clamp for a path, see [`Mss`].
    pub fn clamp(&self, path_mtu: u32) -> Clamp {
        let auto = |ip: usize| self.max_inner(path_mtu).saturating_sub((Eth::LEN + ip + Tcp::LEN) as u16);
        match self.mss {
            Mss::Off => Clamp::default(),
            Mss::Auto => Clamp { ipv4: auto(Ipv4::LEN), ipv6: auto(Ipv6::LEN), tag_mask: u16::MAX },
            Mss::Fixed(mss) => Clamp { ipv4: mss, ipv6: mss, tag_mask: 0 },
        }
    }

    /// How to send along a path; without one, frames take the slow path as [`NoRoute`](crate::Reason::NoRoute).
    pub fn tx(&self, slot: u32, path: Option<&Path>, slow_ifindex: u32, flags: u32) -> TxSession {
        let flags = flags
            | if self.checksum { flag::CHECKSUM } else { 0 }
            | if self.tos == Tos::Inherit { flag::TOS_INHERIT } else { 0 }
            | if self.vlan.is_some() { flag::RETAG } else { 0 }
            | if self.seq.send { flag::SEQUENCED } else { 0 };
        let tail_len = self.cookie.wire_len() + self.l2spec.wire_len();
        let tail_words = (tail_len / 4) as u8;
        let mut tx = TxSession { slot, flags, tail_words, slow_ifindex, ..Zeroable::zeroed() };
        let Some(path) = path else { return tx };
        tx.ifindex = path.ifindex;
        tx.max_inner = self.max_inner(path.mtu);
        tx.clamp = self.clamp(path.mtu);
        tx.outer_len = (Eth::LEN + self.overhead()) as u8;
        match (self.local, self.remote) {
            (IpAddr::V4(local), IpAddr::V4(remote)) => {
                let headers = Tailed4 { base: self.outer4(path, local, remote), tail: self.tail() };
                *bytemuck::must_cast_mut::<_, Template4>(&mut tx.template) =
                    Template4 { headers, ..Zeroable::zeroed() };
            }
            (IpAddr::V6(local), IpAddr::V6(remote)) => {
                tx.flags |= flag::IPV6;
                *bytemuck::must_cast_mut::<_, Tailed6>(&mut tx.template) =
                    Tailed6 { base: self.outer6(path, local, remote), tail: self.tail() };
            }
            // Mixed families cannot be sent; the configuration refuses them.
            _ => tx.ifindex = 0,
        }
        tx
    }

    /// How to receive, and where to.
    pub fn rx(&self, slot: u32, path: Option<&Path>, output: Output, flags: u32) -> RxSession {
        let mut addresses = [Be32::default(); 8];
        match (self.remote, self.local) {
            (IpAddr::V6(remote), IpAddr::V6(local)) => {
                addresses = bytemuck::must_cast([remote.octets(), local.octets()]);
            }
            (IpAddr::V4(remote), IpAddr::V4(local)) => {
                addresses[..2].copy_from_slice(&[Be32(remote.octets()), Be32(local.octets())]);
            }
            // Mixed families receive nothing; the configuration refuses them.
            _ => {}
        }
        let tail_len = self.peer_cookie.wire_len() + self.l2spec.wire_len();
        let outer_len = Eth::LEN + self.ip_udp_len() + L2tpUdp::LEN + tail_len;
        let (tail, tail_mask) = self.expected_tail();
        let (xdp_ifindex, tc_ifindex, mtu, ingress) = match output {
            Output::Netdev { ifindex, wire_ifindex, mtu } => (wire_ifindex, ifindex, mtu, flag::INGRESS),
            Output::Port { ifindex, mtu } => (ifindex, ifindex, mtu, 0),
        };
        // The kernel's own limit (`xdp_ok_fwd_dev`, `veth_xdp_xmit`), which it enforces without a counter.
        let tag = if self.vlan.is_some() { 0 } else { Vlan::LEN };
        let max_frame = u16::try_from(mtu as usize + Eth::LEN + tag).unwrap_or(u16::MAX);
        RxSession {
            addresses,
            tail,
            tail_mask,
            ports: [Be16::new(self.udp_dport), Be16::new(self.udp_sport)],
            slot,
            flags: flags
                | ingress
                | if self.local.is_ipv6() { flag::IPV6 } else { 0 }
                | if self.vlan.is_some() { flag::RETAG } else { 0 }
                | if self.zero_csum6_rx { flag::ZERO_CSUM } else { 0 }
                | if self.seq.send || self.seq.recv { flag::SEQUENCED } else { 0 },
            xdp_ifindex,
            tc_ifindex,
            vlan: self.vlan.unwrap_or(0),
            clamp: path.map(|path| self.clamp(path.mtu)).unwrap_or_default(),
            max_frame,
            outer_len: outer_len as u8,
            pad: 0,
        }
    }

    fn outer4(&self, path: &Path, local: Ipv4Addr, remote: Ipv4Addr) -> Outer4 {
        let mut ip = Ipv4 {
            version_ihl: Ipv4::VERSION_IHL,
            tos: self.fixed_tos(),
            total_len: Be16::default(),
            id: Be16::default(), // an atomic datagram (RFC 6864 §4.1): DF is set
            fragment: Ipv4::DF,
            ttl: self.ttl,
            protocol: protocol::UDP,
            checksum: Be16::default(),
            src: Be32(local.octets()),
            dst: Be32(remote.octets()),
        };
        let words: [Be16; Ipv4::LEN / 2] = bytemuck::must_cast(ip);
        ip.checksum = Be16::new(!checksum::fold(words.iter().map(|word| u32::from(word.get())).sum()));
        Outer4 { eth: self.eth(path, ethertype::IPV4), ip, udp: self.udp(), l2tp: self.l2tp() }
    }

    fn outer6(&self, path: &Path, local: Ipv6Addr, remote: Ipv6Addr) -> Outer6 {
        let ip = Ipv6 {
            version_class_flow: Ipv6::version_class(self.fixed_tos()),
            payload_len: Be16::default(),
            next_header: protocol::UDP,
            hop_limit: self.ttl,
            src: bytemuck::must_cast(local.octets()),
            dst: bytemuck::must_cast(remote.octets()),
        };
        Outer6 { eth: self.eth(path, ethertype::IPV6), ip, udp: self.udp(), l2tp: self.l2tp() }
    }

    const fn fixed_tos(&self) -> u8 {
        match self.tos {
            Tos::Inherit => 0,
            Tos::Fixed(tos) => tos,
        }
    }

    const fn eth(&self, path: &Path, ethertype: Be16) -> Eth {
        Eth { dst: path.dst_mac, src: path.src_mac, ethertype }
    }

    fn udp(&self) -> Udp {
        Udp { src: Be16::new(self.udp_sport), dst: Be16::new(self.udp_dport), ..Zeroable::zeroed() }
    }

    /// What a data message to the peer starts with.
    pub fn l2tp(&self) -> L2tpUdp {
        L2tpUdp {
            flags: L2tpUdp::DATA,
            reserved: Be16::default(),
            session_id: Be32::new(self.peer_session_id),
        }
    }

    /// What a receiver compares the tail with, and in which bits.
    fn expected_tail(&self) -> (Tail, Tail) {
        let (mut tail, mut mask) = ([Be32::default(); MAX_TAIL_WORDS], [Be32::default(); MAX_TAIL_WORDS]);
        let cookie_words = self.peer_cookie.wire_len() / 4;
        tail[..cookie_words].copy_from_slice(&self.peer_cookie.words[..cookie_words]);
        mask[..cookie_words].fill(Be32::new(u32::MAX));
        if self.l2spec == L2Spec::Default {
            mask[cookie_words] = L2SPEC_SEQUENCED;
        }
        (tail, mask)
    }

    /// RFC 3931 §4.1: session id, cookie, L2-specific sublayer.
    fn tail(&self) -> Tail {
        let mut tail = [Be32::default(); MAX_TAIL_WORDS];
        let cookie_words = self.cookie.wire_len() / 4;
        tail[..cookie_words].copy_from_slice(&self.cookie.words[..cookie_words]);
        if self.l2spec == L2Spec::Default {
            tail[cookie_words] = L2SPEC_DEFAULT;
        }
        tail
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PSEUDOWIRE: Pseudowire = Pseudowire {
        local: IpAddr::V4(Ipv4Addr::new(1, 1, 1, 2)),
        remote: IpAddr::V4(Ipv4Addr::new(2, 2, 2, 2)),
        udp_sport: 6000,
        udp_dport: 5000,
        peer_session_id: 4000,
        cookie: Cookie { words: [Be32::new(0); 2], len: 0 },
        peer_cookie: Cookie { words: [Be32::new(0); 2], len: 0 },
        l2spec: L2Spec::Default,
        seq: Seq { send: false, recv: false },
        ttl: 64,
        tos: Tos::Fixed(0),
        checksum: false,
        zero_csum6_rx: false,
        mss: Mss::Auto,
        vlan: None,
    };
    const PATH: Path = Path { ifindex: 3, src_mac: [1; 6], dst_mac: [2; 6], mtu: 1500 };

    #[test]
    fn cookies_have_0_4_or_8_bytes() {
        for len in 0..=9 {
            let bytes = [0xc5; 9];
            let cookie = Cookie::new(&bytes[..len]);
            assert_eq!(cookie.is_some(), matches!(len, 0 | 4 | 8), "{len} bytes");
            assert!(cookie.is_none_or(|cookie| cookie.bytes() == &bytes[..len]));
        }
    }

    /// facts.md: 1500 − 20 − 8 − 12 − 14 − 20 − 20.
    #[test]
    fn clamp_of_an_ordinary_path() {
        let clamp = PSEUDOWIRE.tx(0, Some(&PATH), 0, 0).clamp;
        assert_eq!(clamp, Clamp { ipv4: 1406, ipv6: 1386, tag_mask: u16::MAX });
        assert_eq!(PSEUDOWIRE.rx(0, Some(&PATH), Output::Port { ifindex: 2, mtu: 1500 }, 0).clamp, clamp);
    }

    #[test]
    fn limits_of_paths_that_are_too_small_or_too_large() {
        let max_inner = |mtu: u32| PSEUDOWIRE.max_inner(mtu);
        assert_eq!((max_inner(0), max_inner(40), max_inner(41)), (0, 0, 1));
        assert_eq!((max_inner(65_575), max_inner(65_576), max_inner(u32::MAX)), (65_535, 65_535, 65_535));
        let tiny = Path { mtu: 80, ..PATH };
        assert_eq!(PSEUDOWIRE.tx(0, Some(&tiny), 0, 0).clamp.ipv4, 0, "no MSS would fit");
    }

    #[test]
    fn nothing_is_sent_without_a_path_or_between_families() {
        assert_eq!(PSEUDOWIRE.tx(0, None, 0, 0).ifindex, 0);
        let mixed = Pseudowire { remote: IpAddr::V6(Ipv6Addr::LOCALHOST), ..PSEUDOWIRE };
        assert_eq!(mixed.tx(0, Some(&PATH), 0, 0).ifindex, 0);
    }
}
