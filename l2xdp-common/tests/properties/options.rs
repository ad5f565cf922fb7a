//! Sessions.

use bolero::TypeGenerator;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use l2xdp_common::pseudowire::{Cookie, L2Spec, Mss, Output, Path, Pseudowire, Seq, Tos};
use l2xdp_common::wire::{Be16, Be32};
use l2xdp_common::{RxSession, Sessions};

/// What of a session has an influence on how many headers there are, and which.
#[derive(Clone, Copy, Debug, TypeGenerator)]
pub struct Shape {
    /// The underlay.
    pub ipv6: bool,
    /// 0, 4 or 8.
    #[generator(bolero::generator::one_of([0usize, 4, 8]))]
    pub cookie_len: usize,
    /// The default sublayer, or none.
    pub l2spec: bool,
    /// With outer UDP checksums.
    pub checksum: bool,
    /// TOS inherited, or fixed.
    pub inherit: bool,
    /// One VLAN of a port.
    pub vlan: bool,
}

impl Shape {
    /// Every combination.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..2 * 2 * 2 * 2 * 2 * 3).map(|n: usize| {
            let bit = |at: usize| n >> at & 1 != 0;
            let cookie_len = n / 32 * 4;
            Self { ipv6: bit(0), cookie_len, l2spec: bit(1), checksum: bit(2), inherit: bit(3), vlan: bit(4) }
        })
    }
}

/// The rest of a session: values that only have to come out where they belong.
#[derive(Clone, Copy, Debug, TypeGenerator)]
pub struct Values {
    local: [u8; 16],
    remote: [u8; 16],
    ports: [u16; 2],
    session_id: u32,
    cookie: [u8; 8],
    ttl: u8,
    tos: u8,
    #[generator(1..=4094)]
    pub vlan: u16,
    macs: [[u8; 6]; 2],
    #[generator(bolero::generator::one_of([68u32, 576, 1280, 1500, 9000, 65535]))]
    pub mtu: u32,
}

impl Values {
    /// A session at its sender.
    pub fn pseudowire(&self, shape: Shape, mss: Mss) -> Pseudowire {
        let address = |bytes: [u8; 16]| match shape.ipv6 {
            true => IpAddr::V6(Ipv6Addr::from(bytes)),
            false => IpAddr::V4(Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3])),
        };
        let cookie = Cookie::new(&self.cookie[..shape.cookie_len]).expect("0, 4 or 8 bytes");
        Pseudowire {
            local: address(self.local),
            remote: address(self.remote),
            udp_sport: self.ports[0],
            udp_dport: self.ports[1],
            peer_session_id: self.session_id,
            cookie,
            peer_cookie: cookie,
            l2spec: if shape.l2spec { L2Spec::Default } else { L2Spec::None },
            ttl: self.ttl,
            tos: if shape.inherit { Tos::Inherit } else { Tos::Fixed(self.tos & 0xfc) },
            checksum: shape.checksum,
            zero_csum6_rx: !shape.checksum,
            seq: Seq::default(),
            mss,
            vlan: shape.vlan.then_some(self.vlan),
        }
    }

    /// The way to the peer.
    pub fn path(&self) -> Path {
        Path { ifindex: 3, src_mac: self.macs[0], dst_mac: self.macs[1], mtu: self.mtu }
    }
}

/// The other end of a session.
pub fn mirrored(pseudowire: &Pseudowire) -> Pseudowire {
    Pseudowire {
        local: pseudowire.remote,
        remote: pseudowire.local,
        udp_sport: pseudowire.udp_dport,
        udp_dport: pseudowire.udp_sport,
        ..*pseudowire
    }
}

/// A receiver with one session.
pub struct Receiver {
    id: Be32,
    port: Be16,
    /// The session.
    pub rx: RxSession,
}

impl Receiver {
    /// Of what a sender sends.
    pub fn of(sender: &Pseudowire, path: Option<&Path>, output: Output, flags: u32) -> Self {
        let rx = mirrored(sender).rx(0, path, output, flags);
        Self { id: Be32::new(sender.peer_session_id), port: Be16::new(sender.udp_dport), rx }
    }
}

impl Sessions for Receiver {
    fn rx(&self, session_id: Be32) -> Option<&RxSession> {
        (session_id == self.id).then_some(&self.rx)
    }

    fn is_tunnel_port(&self, port: Be16) -> bool {
        port == self.port
    }
}

/// A port that takes everything.
pub const PORT: Output = Output::Port { ifindex: 2, mtu: 65535 };
