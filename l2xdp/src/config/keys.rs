//! The keys of every table, each with an example.

/// A table of the file and what it may hold.
pub struct Table {
    /// The names of the tables down to this one, each with its dot.
    pub path: &'static str,
    /// How the file names it.
    pub header: &'static str,
    /// Its keys.
    pub keys: &'static [Key],
}

/// A key.
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// How a line with it may look.
    pub example: &'static str,
}

/// The file itself.
pub const ROOT: Table = Table {
    path: "",
    header: "the top of the file",
    keys: &[key("backend", "backend = \"auto\""), key("tunnel", "[[tunnel]]")],
};

/// `[[tunnel]]`.
pub const TUNNEL: Table = Table {
    path: "tunnel.",
    header: "[[tunnel]]",
    keys: &[
        key("tunnel_id", "tunnel_id = 1000"),
        key("peer_tunnel_id", "peer_tunnel_id = 2000"),
        key("backend", "backend = \"kernel\""),
        key("encap", "encap = \"udp\""),
        key("local", "local = \"1.1.1.2\""),
        key("remote", "remote = \"2.2.2.2\""),
        key("udp_sport", "udp_sport = 6000"),
        key("udp_dport", "udp_dport = 5000"),
        key("udp_csum", "udp_csum = true"),
        key("udp6_csum_tx", "udp6_csum_tx = false"),
        key("udp6_csum_rx", "udp6_csum_rx = false"),
        key("ttl", "ttl = 64"),
        key("tos", "tos = \"inherit\""),
        key("session", "[[tunnel.session]]"),
    ],
};

/// `[[tunnel.session]]`.
pub const SESSION: Table = Table {
    path: "tunnel.session.",
    header: "[[tunnel.session]]",
    keys: &[
        key("session_id", "session_id = 3000"),
        key("peer_session_id", "peer_session_id = 4000"),
        key("cookie", "cookie = \"0123456789abcdef\""),
        key("peer_cookie", "peer_cookie = \"fedcba9876543210\""),
        key("l2spec_type", "l2spec_type = \"default\""),
        key("seq", "seq = \"both\""),
        key("netdev", "netdev = \"l2x0\""),
        key("name", "name = \"l2x0\""),
        key("ifname", "ifname = \"l2x0\""),
        key("bridge", "bridge = \"br0\""),
        key("mtu", "mtu = \"auto\""),
        key("port", "port = \"eth1\""),
        key("vlan", "vlan = 100"),
        key("mss", "mss = \"auto\""),
        key("offset", "offset = 0"),
        key("peer_offset", "peer_offset = 0"),
    ],
};

/// From here on two keys are alike enough to mean the same; the value clap uses for its flags.
const ALIKE: f64 = 0.7;

const fn key(name: &'static str, example: &'static str) -> Key {
    Key { name, example }
}

impl Table {
    /// A key of this table.
    pub fn get(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// The message about a key that this table does not have.
    pub fn refuse(&self, name: &str) -> String {
        let mend = if let Some(home) = home(name) {
            format!("it belongs to {}", home.header)
        } else if let Some(nearest) = self.nearest(name) {
            format!("did you mean {nearest}?")
        } else {
            format!("known are {}", self.names().collect::<Vec<_>>().join(", "))
        };
        format!("is not a key of {}; {mend}", self.header)
    }

    /// The names of the keys.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.keys.iter().map(|key| key.name)
    }

    fn nearest(&self, name: &str) -> Option<&'static str> {
        self.names()
            .map(|known| (strsim::jaro(known, name), known))
            .filter(|(likeness, _)| *likeness > ALIKE)
            .max_by(|(a, _), (b, _)| a.total_cmp(b))
            .map(|(_, known)| known)
    }
}

/// The table that has such a key.
fn home(name: &str) -> Option<&'static Table> {
    [&ROOT, &TUNNEL, &SESSION].into_iter().find(|table| table.get(name).is_some())
}
