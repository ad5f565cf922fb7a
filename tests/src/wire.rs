//! What is to be tried: one pseudowire with its options, and the configuration of both its ends.

use std::fmt::Write as _;

/// One end of the pseudowire: `One` is at tun01, `Two` at tun02.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// tun01, tunnel 1000, session 3000, port 6000.
    One,
    /// tun02, tunnel 2000, session 4000, port 5000.
    Two,
}

impl Side {
    /// Both, in order.
    pub const BOTH: [Self; 2] = [Self::One, Self::Two];

    /// The far end.
    pub fn other(self) -> Self {
        match self {
            Self::One => Self::Two,
            Self::Two => Self::One,
        }
    }

    /// Its tunnel id.
    pub fn tunnel_id(self) -> u32 {
        self.choose(1000, 2000)
    }

    /// Its session id: what comes to it carries that one.
    pub fn session_id(self) -> u32 {
        self.choose(3000, 4000)
    }

    /// Its UDP port.
    pub fn port(self) -> u16 {
        self.choose(6000, 5000)
    }

    /// The cookie it sends, of eight bytes.
    fn cookie(self) -> &'static str {
        self.choose("0123456789abcdef", "fedcba9876543210")
    }

    fn choose<T>(self, one: T, two: T) -> T {
        match self {
            Self::One => one,
            Self::Two => two,
        }
    }
}

/// How a session is attached to the Ethernet of its gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attach {
    /// A network device l2x0 in the bridge br0, beside eth1.
    Netdev,
    /// All of eth1.
    Port,
    /// One VLAN of eth1.
    PortVlan(u16),
}

/// The IP version between the gateways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Underlay {
    /// 1.1.1.2 and 2.2.2.2.
    V4,
    /// 2001:db8:1::2 and 2001:db8:2::2.
    V6,
}

impl Underlay {
    /// The WAN address of a gateway.
    pub fn address(self, side: Side) -> &'static str {
        match self {
            Self::V4 => side.choose("1.1.1.2", "2.2.2.2"),
            Self::V6 => side.choose("2001:db8:1::2", "2001:db8:2::2"),
        }
    }

    /// The length of an IP header without options.
    fn header(self) -> u16 {
        match self {
            Self::V4 => 20,
            Self::V6 => 40,
        }
    }
}

/// The length of the cookies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cookie {
    /// No cookie.
    None,
    /// Four bytes.
    Four,
    /// Eight bytes.
    Eight,
}

impl Cookie {
    /// The number of bytes.
    pub fn bytes(self) -> u16 {
        match self {
            Self::None => 0,
            Self::Four => 4,
            Self::Eight => 8,
        }
    }
}

/// The L2-specific sublayer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum L2Spec {
    /// No sublayer.
    None,
    /// The default one, of four bytes.
    Default,
}

impl L2Spec {
    /// `l2spec_type`.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Default => "default",
        }
    }
}

/// The MSS clamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mss {
    /// To what the path can carry.
    Auto,
    /// Not at all.
    Off,
    /// To this.
    Fixed(u16),
}

/// Sequence numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seq {
    /// None.
    None,
    /// In what is sent.
    Send,
    /// In what is sent, and required in what is received.
    Both,
}

/// A pseudowire with all its options, the same at both ends.
#[derive(Clone, Copy, Debug)]
pub struct Wire {
    /// How it is attached.
    pub attach: Attach,
    /// What carries it.
    pub underlay: Underlay,
    /// Its cookies.
    pub cookie: Cookie,
    /// Its sublayer.
    pub l2spec: L2Spec,
    /// Its MSS clamp.
    pub mss: Mss,
    /// The MTU of its device; none: what fits the path.
    pub mtu: Option<u16>,
    /// Its sequence numbers.
    pub seq: Seq,
    /// Who has the tunnel: `standalone` is the same on every kernel.
    pub backend: &'static str,
    /// `--xdp-mode` of the daemons.
    pub xdp_mode: &'static str,
}

impl Wire {
    /// The plain one: no cookies, the default sublayer, IPv4.
    pub fn new(attach: Attach) -> Self {
        Self {
            attach,
            underlay: Underlay::V4,
            cookie: Cookie::None,
            l2spec: L2Spec::Default,
            mss: Mss::Auto,
            mtu: None,
            seq: Seq::None,
            backend: "standalone",
            xdp_mode: "auto",
        }
    }

    /// The cookie that one side sends, in hex.
    pub fn cookie(&self, from: Side) -> Option<&'static str> {
        let digits = usize::from(self.cookie.bytes()) * 2;
        (digits > 0).then(|| &from.cookie()[..digits])
    }

    /// What stands before the inner Ethernet frame on the wire, from the outer IP header on.
    pub fn overhead(&self) -> u16 {
        let udp = 8;
        let sublayer = if self.l2spec == L2Spec::Default { 4 } else { 0 };
        self.underlay.header() + udp + 4 + 4 + self.cookie.bytes() + sublayer
    }

    /// The greatest MSS that fits a path of 1500 bytes, for TCP over inner IPv4 without tags.
    pub fn mss_that_fits(&self) -> u16 {
        let (ethernet, ip, tcp) = (14, 20, 20);
        1500 - self.overhead() - ethernet - ip - tcp
    }

    /// The configuration of one side's daemon.
    pub fn config(&self, side: Side) -> String {
        let (here, there) = (side, side.other());
        let mut toml = format!(
            "[[tunnel]]\n\
             tunnel_id = {}\n\
             peer_tunnel_id = {}\n\
             encap = \"udp\"\n\
             local = \"{}\"\n\
             remote = \"{}\"\n\
             udp_sport = {}\n\
             udp_dport = {}\n\
             backend = \"{}\"\n\
             \n\
             [[tunnel.session]]\n\
             session_id = {}\n\
             peer_session_id = {}\n",
            here.tunnel_id(),
            there.tunnel_id(),
            self.underlay.address(here),
            self.underlay.address(there),
            here.port(),
            there.port(),
            self.backend,
            here.session_id(),
            there.session_id(),
        );
        for (key, value) in self.options(side) {
            let _ = writeln!(toml, "{key} = {value}");
        }
        toml
    }

    /// The same for the kernel's own driver, as commands; the device is l2x0, in the bridge br0.
    pub fn ip_l2tp(&self, side: Side) -> Vec<String> {
        let (here, there) = (side, side.other());
        let cookie =
            |name, from| self.cookie(from).map(|cookie| format!(" {name} {cookie}")).unwrap_or_default();
        vec![
            format!(
                "ip l2tp add tunnel tunnel_id {} peer_tunnel_id {} encap udp local {} remote {} udp_sport {} \
                 udp_dport {}",
                here.tunnel_id(),
                there.tunnel_id(),
                self.underlay.address(here),
                self.underlay.address(there),
                here.port(),
                there.port(),
            ),
            format!(
                "ip l2tp add session name l2x0 tunnel_id {} session_id {} peer_session_id {} l2spec_type {}{}{}",
                here.tunnel_id(),
                here.session_id(),
                there.session_id(),
                self.l2spec.name(),
                cookie("cookie", here),
                cookie("peer_cookie", there),
            ),
            "ip link set l2x0 master br0".to_owned(),
            "ip link set l2x0 up".to_owned(),
        ]
    }

    fn options(&self, side: Side) -> Vec<(&'static str, String)> {
        let text = |text: &str| format!("\"{text}\"");
        let mut options = Vec::new();
        options.extend(self.cookie(side).map(|cookie| ("cookie", text(cookie))));
        options.extend(self.cookie(side.other()).map(|cookie| ("peer_cookie", text(cookie))));
        options.push(("l2spec_type", text(self.l2spec.name())));
        match self.attach {
            Attach::Netdev => options.extend([("netdev", text("l2x0")), ("bridge", text("br0"))]),
            Attach::Port => options.push(("port", text("eth1"))),
            Attach::PortVlan(vlan) => options.extend([("port", text("eth1")), ("vlan", vlan.to_string())]),
        }
        let mss = match self.mss {
            Mss::Auto => text("auto"),
            Mss::Off => text("off"),
            Mss::Fixed(bytes) => bytes.to_string(),
        };
        options.push(("mss", mss));
        options.extend(self.mtu.map(|mtu| ("mtu", mtu.to_string())));
        match self.seq {
            Seq::None => {}
            Seq::Send => options.push(("seq", text("send"))),
            Seq::Both => options.push(("seq", text("both"))),
        }
        options
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_case_leaves_1406_bytes() {
        assert_eq!(Wire::new(Attach::Netdev).mss_that_fits(), 1406);
    }

    #[test]
    fn overhead_counts_every_part() {
        let longest = Wire { underlay: Underlay::V6, cookie: Cookie::Eight, ..Wire::new(Attach::Port) };
        assert_eq!(longest.overhead(), 40 + 8 + 8 + 8 + 4);
        let shortest = Wire { l2spec: L2Spec::None, ..Wire::new(Attach::Port) };
        assert_eq!(shortest.overhead(), 20 + 8 + 8);
    }

    #[test]
    fn ip_l2tp_is_told_the_same() {
        let wire = Wire { cookie: Cookie::Four, l2spec: L2Spec::None, ..Wire::new(Attach::Netdev) };
        let [tunnel, session, ..] = &wire.ip_l2tp(Side::Two)[..] else { panic!("no tunnel and session") };
        assert!(tunnel.ends_with("local 2.2.2.2 remote 1.1.1.2 udp_sport 5000 udp_dport 6000"), "{tunnel}");
        assert!(session.contains(" session_id 4000 peer_session_id 3000 l2spec_type none "), "{session}");
        assert!(session.ends_with(" cookie fedcba98 peer_cookie 01234567"), "{session}");
    }

    #[test]
    fn each_side_requires_the_cookie_that_the_other_sends() {
        let wire = Wire { cookie: Cookie::Four, ..Wire::new(Attach::PortVlan(100)) };
        let (one, two) = (wire.config(Side::One), wire.config(Side::Two));
        assert!(one.contains("\ncookie = \"01234567\"\npeer_cookie = \"fedcba98\"\n"), "{one}");
        assert!(two.contains("\ncookie = \"fedcba98\"\npeer_cookie = \"01234567\"\n"), "{two}");
        assert!(one.contains("\nport = \"eth1\"\nvlan = 100\n"), "{one}");
    }
}
