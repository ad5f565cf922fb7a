//! The sessions that the gateway and the foreign endpoint agree on.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The IP version between the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

/// A session.
#[derive(Clone, Copy, Debug)]
pub struct Session {
    pub number: u16,
    pub family: Family,
    /// The length of what the gateway sends.
    pub cookie: usize,
    /// The length of what the gateway requires.
    pub peer_cookie: usize,
    pub sublayer: bool,
}

/// All sessions of a gateway, in a tunnel for each IP version.
pub struct Tunnels<'a> {
    pub sessions: &'a [Session],
    pub attach: fn(&Session) -> String,
}

pub const GATEWAY_PORT: u16 = 6000;
pub const ENDPOINT_PORT: u16 = 5000;

impl Family {
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// The gateway's address: tun01's.
    pub fn gateway(self) -> SocketAddr {
        SocketAddr::new(self.choose([1, 1, 1, 2], [0x2001, 0xdb8, 1, 0, 0, 0, 0, 2]), GATEWAY_PORT)
    }

    /// The endpoint's address: tun02's.
    pub fn endpoint(self) -> SocketAddr {
        SocketAddr::new(self.choose([2, 2, 2, 2], [0x2001, 0xdb8, 2, 0, 0, 0, 0, 2]), ENDPOINT_PORT)
    }

    /// An address behind the endpoint's router that is not the endpoint's.
    pub fn stranger(self) -> SocketAddr {
        SocketAddr::new(self.choose([2, 2, 2, 77], [0x2001, 0xdb8, 2, 0, 0, 0, 0, 77]), ENDPOINT_PORT)
    }

    fn choose(self, v4: [u8; 4], v6: [u16; 8]) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::from(v4).into(),
            Self::V6 => Ipv6Addr::from(v6).into(),
        }
    }
}

impl Session {
    /// What messages to the gateway carry.
    pub fn id_of_gateway(&self) -> u32 {
        0xc000_0000 + u32::from(self.number)
    }

    /// What messages to the endpoint carry.
    pub fn id_of_endpoint(&self) -> u32 {
        77 + u32::from(self.number)
    }

    /// The cookie in messages to the gateway.
    pub fn cookie_to_gateway(&self) -> Vec<u8> {
        (0..self.peer_cookie).map(|at| 0x10 + at as u8 + self.number as u8).collect()
    }

    /// The cookie in messages to the endpoint.
    pub fn cookie_to_endpoint(&self) -> Vec<u8> {
        (0..self.cookie).map(|at| 0xf0 - at as u8 - self.number as u8).collect()
    }

    /// Its VLAN, if it is one.
    pub fn vlan(&self) -> u16 {
        100 + self.number
    }

    /// The longest frame that fits both ways.
    pub fn max(&self) -> u16 {
        let ip = if self.family == Family::V4 { 20 } else { 40 };
        let sublayer = if self.sublayer { 4 } else { 0 };
        1500 - (ip + 8 + 8 + self.cookie.max(self.peer_cookie) + sublayer) as u16
    }
}

impl Tunnels<'_> {
    /// The gateway's configuration.
    pub fn config(&self) -> String {
        Family::BOTH.into_iter().map(|family| self.tunnel(family)).collect()
    }

    fn tunnel(&self, family: Family) -> String {
        let sessions: Vec<_> = self.sessions.iter().filter(|session| session.family == family).collect();
        if sessions.is_empty() {
            return String::new();
        }
        let (id, gateway, endpoint) = (1000 + family as u32, family.gateway(), family.endpoint());
        let tunnel = format!(
            "[[tunnel]]\ntunnel_id = {id}\npeer_tunnel_id = {id}\nlocal = \"{}\"\nremote = \"{}\"\n\
             udp_sport = {}\nudp_dport = {}\nbackend = \"standalone\"\n",
            gateway.ip(),
            endpoint.ip(),
            gateway.port(),
            endpoint.port()
        );
        sessions.into_iter().fold(tunnel, |text, session| text + &self.session(session))
    }

    fn session(&self, session: &Session) -> String {
        format!(
            "[[tunnel.session]]\nsession_id = {}\npeer_session_id = {}\ncookie = \"{}\"\npeer_cookie = \"{}\"\n\
             l2spec_type = \"{}\"\nmss = \"off\"\n{}\n",
            session.id_of_gateway(),
            session.id_of_endpoint(),
            hex(&session.cookie_to_endpoint()),
            hex(&session.cookie_to_gateway()),
            if session.sublayer { "default" } else { "none" },
            (self.attach)(session)
        )
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::V4 { "ipv4" } else { "ipv6" })
    }
}

impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, family, cookie, peer_cookie, sublayer } = self;
        write!(
            f,
            "session {number} over {family}: cookies {cookie} out, {peer_cookie} in, sublayer {sublayer}"
        )
    }
}
