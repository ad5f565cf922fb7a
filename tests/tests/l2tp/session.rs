//! The product: sessions of every kind between a gateway and its peer, in a tunnel for each kind of outer packet.

use std::fmt;
use std::net::SocketAddr;

use l2xdp_tests::message::{Checksum, Message};
use l2xdp_tests::wire::{Side, Underlay};

/// A tunnel: its gateway is tun01, its peer tun02.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunnel {
    pub underlay: Underlay,
    /// Whether outer UDP checksums are sent. Where IPv6 sends none, the gateway takes messages without one.
    pub checksum: bool,
}

/// A session in it.
#[derive(Clone, Copy, Debug)]
pub struct Session {
    pub tunnel: Tunnel,
    /// Unique among all sessions.
    pub number: u8,
    /// The length of what the gateway sends.
    pub cookie: usize,
    /// The length of what the gateway requires.
    pub peer_cookie: usize,
    /// Whether it has the default sublayer.
    pub sublayer: bool,
}

impl Tunnel {
    pub const ALL: [Self; 4] = [
        Self { underlay: Underlay::V4, checksum: false },
        Self { underlay: Underlay::V4, checksum: true },
        Self { underlay: Underlay::V6, checksum: false },
        Self { underlay: Underlay::V6, checksum: true },
    ];

    /// Every pair of cookie lengths, with and without the sublayer.
    pub fn sessions(self) -> Vec<Session> {
        let lengths = [0, 4, 8];
        let formats = lengths.into_iter().flat_map(|cookie| {
            lengths.into_iter().flat_map(move |peer| [(cookie, peer, false), (cookie, peer, true)])
        });
        let first = self.number() * 18;
        let session = |(number, (cookie, peer_cookie, sublayer))| Session {
            tunnel: self,
            number,
            cookie,
            peer_cookie,
            sublayer,
        };
        (first..).zip(formats).map(session).collect()
    }

    /// Where the gateway has it.
    pub fn gateway(self) -> SocketAddr {
        self.socket(Side::One)
    }

    /// Where the peer has it.
    pub fn peer(self) -> SocketAddr {
        self.socket(Side::Two)
    }

    /// The same tunnel id at both ends.
    pub fn id(self) -> u32 {
        1000 + u32::from(self.number())
    }

    /// The tunnel over the same IP version that is not this one.
    pub fn sibling(self) -> Self {
        Self { checksum: !self.checksum, ..self }
    }

    fn number(self) -> u8 {
        u8::from(self.underlay == Underlay::V6) * 2 + u8::from(self.checksum)
    }

    fn socket(self, side: Side) -> SocketAddr {
        let address = self.underlay.address(side).parse().expect("an address of the lab");
        SocketAddr::new(address, side.port() + u16::from(self.number()))
    }

    /// In `ip -batch`'s words: the gateway's end, sessions up and ready.
    pub fn batch(self) -> String {
        let (here, there, id) = (self.gateway(), self.peer(), self.id());
        let on = if self.checksum { "on" } else { "off" };
        let checksum = match self.underlay {
            Underlay::V4 => format!("udp_csum {on}"),
            Underlay::V6 => format!("udp6_csum_tx {on} udp6_csum_rx {on}"),
        };
        let tunnel = format!(
            "l2tp add tunnel tunnel_id {id} peer_tunnel_id {id} encap udp local {} remote {} udp_sport {} \
             udp_dport {} {checksum}\n",
            here.ip(),
            there.ip(),
            here.port(),
            there.port(),
        );
        self.sessions().iter().fold(tunnel, |text, session| text + &session.batch())
    }

    /// The same in l2xdp's.
    pub fn config(self) -> String {
        let (here, there, id, on) = (self.gateway(), self.peer(), self.id(), self.checksum);
        let checksum = match self.underlay {
            Underlay::V4 => format!("udp_csum = {on}"),
            Underlay::V6 => format!("udp6_csum_tx = {on}\nudp6_csum_rx = {on}"),
        };
        let tunnel = format!(
            "[[tunnel]]\ntunnel_id = {id}\npeer_tunnel_id = {id}\nlocal = \"{}\"\nremote = \"{}\"\n\
             udp_sport = {}\nudp_dport = {}\n{checksum}\n",
            here.ip(),
            there.ip(),
            here.port(),
            there.port(),
        );
        self.sessions().iter().fold(tunnel, |text, session| text + &session.config())
    }
}

impl Session {
    /// What messages to the gateway carry.
    pub fn id(&self) -> u32 {
        3000 + u32::from(self.number)
    }

    /// The gateway's pseudowire device.
    pub fn device(&self) -> String {
        format!("n{}", self.number)
    }

    /// L2TP's header in messages of the gateway's, in bytes.
    pub fn header_sent(&self) -> usize {
        8 + self.cookie + self.sublayer_len()
    }

    /// L2TP's header in messages to the gateway, in bytes.
    pub fn header_received(&self) -> usize {
        8 + self.peer_cookie + self.sublayer_len()
    }

    /// The longest frame that the device's MTU allows: its message fills the path.
    pub fn longest(&self) -> u16 {
        let ip = if self.tunnel.underlay == Underlay::V4 { 20 } else { 40 };
        1500 - (ip + 8 + self.header_sent()) as u16
    }

    /// What a right message to the gateway carries in UDP.
    pub fn payload(&self, frame: &[u8]) -> Vec<u8> {
        let sublayer = vec![0; self.sublayer_len()];
        [&[0, 3, 0, 0], self.id().to_be_bytes().as_slice(), &self.expected(), &sublayer, frame].concat()
    }

    /// A message to the gateway with this in it, as the peer of such a tunnel would send it.
    pub fn message(&self, payload: Vec<u8>) -> Message {
        let checksum = if self.tunnel.checksum { Checksum::Right } else { Checksum::None };
        Message { checksum, ..Message::new(self.tunnel.peer(), self.tunnel.gateway(), payload) }
    }

    fn peer_id(&self) -> u32 {
        4000 + u32::from(self.number)
    }

    fn sent(&self) -> Vec<u8> {
        (0..self.cookie).map(|at| 0xa0 + at as u8 + self.number).collect()
    }

    fn expected(&self) -> Vec<u8> {
        (0..self.peer_cookie).map(|at| 0x10 + at as u8 + self.number).collect()
    }

    fn sublayer_len(&self) -> usize {
        if self.sublayer { 4 } else { 0 }
    }

    fn sublayer_name(&self) -> &'static str {
        if self.sublayer { "default" } else { "none" }
    }

    fn batch(&self) -> String {
        let cookie = |name: &str, bytes: &[u8]| match bytes {
            [] => String::new(),
            bytes => format!(" {name} {}", hex(bytes)),
        };
        format!(
            "l2tp add session name {device} tunnel_id {} session_id {} peer_session_id {} l2spec_type {}{}{}\n\
             link set {device} up\n",
            self.tunnel.id(),
            self.id(),
            self.peer_id(),
            self.sublayer_name(),
            cookie("cookie", &self.sent()),
            cookie("peer_cookie", &self.expected()),
            device = self.device(),
        )
    }

    fn config(&self) -> String {
        format!(
            "[[tunnel.session]]\nsession_id = {}\npeer_session_id = {}\ncookie = \"{}\"\npeer_cookie = \"{}\"\n\
             l2spec_type = \"{}\"\nmss = \"off\"\nnetdev = \"{}\"\n",
            self.id(),
            self.peer_id(),
            hex(&self.sent()),
            hex(&self.expected()),
            self.sublayer_name(),
            self.device(),
        )
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl fmt::Display for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ip = if self.underlay == Underlay::V4 { "ipv4" } else { "ipv6" };
        write!(f, "{ip}/{}", if self.checksum { "checksum" } else { "no-checksum" })
    }
}

impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cookie, peer_cookie, .. } = self;
        write!(f, "cookie {cookie}, peer cookie {peer_cookie}, sublayer {}", self.sublayer_name())
    }
}
