//! From values to the text of a configuration file.

use super::keys::{SESSION, TUNNEL};
use super::word::Word;
use super::{Attach, Backend, Config, Encap, Mtu, Session, Tunnel};
use l2xdp_common::pseudowire::{Cookie, Mss, Tos};
use std::fmt::Display;

/// The text that [`Config::parse`] makes the same configuration of, without what holds by default.
///
/// The keys are in the order of `docs/configuration.md`, with a blank line between the tables.
pub fn render(config: &Config) -> String {
    let mut file = File::default();
    let common = common_backend(config);
    file.word("backend", common);
    for tunnel in &config.tunnels {
        file.tunnel(tunnel, common);
    }
    file.0
}

/// What the top of the file says for all tunnels: their backend, if they have the same.
fn common_backend(config: &Config) -> Backend {
    match config.tunnels.split_first() {
        Some((first, others)) if others.iter().all(|other| other.backend == first.backend) => first.backend,
        _ => Backend::default(),
    }
}

/// The text so far.
#[derive(Default)]
struct File(String);

impl File {
    fn tunnel(&mut self, tunnel: &Tunnel, of_file: Backend) {
        self.header(TUNNEL.header);
        self.line("tunnel_id", tunnel.tunnel_id);
        self.line("peer_tunnel_id", tunnel.peer_tunnel_id);
        if tunnel.backend != of_file {
            self.line("backend", quoted(tunnel.backend.word()));
        }
        self.word("encap", tunnel.encap);
        self.line("local", quoted(&tunnel.local.to_string()));
        self.line("remote", quoted(&tunnel.remote.to_string()));
        if tunnel.encap == Encap::Udp {
            self.udp(tunnel);
        }
        self.optional("ttl", tunnel.ttl);
        // Every session has its tunnel's; without sessions it is nobody's.
        self.optional("tos", tunnel.sessions.first().and_then(|session| tos(session.pseudowire.tos)));
        for session in &tunnel.sessions {
            self.session(session);
        }
    }

    fn udp(&mut self, tunnel: &Tunnel) {
        self.line("udp_sport", tunnel.udp_sport);
        self.line("udp_dport", tunnel.udp_dport);
        if tunnel.local.is_ipv4() {
            self.optional("udp_csum", tunnel.checksum.then_some(true));
        } else {
            self.optional("udp6_csum_tx", (!tunnel.checksum).then_some(false));
            self.optional("udp6_csum_rx", tunnel.zero_csum6_rx.then_some(false));
        }
    }

    fn session(&mut self, session: &Session) {
        let pseudowire = &session.pseudowire;
        self.header(SESSION.header);
        self.line("session_id", session.session_id);
        self.line("peer_session_id", session.peer_session_id);
        self.optional("cookie", cookie(pseudowire.cookie));
        self.optional("peer_cookie", cookie(pseudowire.peer_cookie));
        self.word("l2spec_type", pseudowire.l2spec);
        self.word("seq", pseudowire.seq);
        match &session.attach {
            Attach::Netdev { name, bridge } => {
                self.optional("netdev", name.as_deref().map(quoted));
                self.optional("bridge", bridge.as_deref().map(quoted));
                self.optional("mtu", mtu(session.mtu));
            }
            Attach::Port { name, vlan } => {
                self.line("port", quoted(name));
                self.optional("vlan", *vlan);
            }
        }
        self.optional("mss", mss(pseudowire.mss));
    }

    fn header(&mut self, header: &str) {
        let blank = if self.0.is_empty() { "" } else { "\n" };
        self.0 += &format!("{blank}{header}\n");
    }

    /// A choice, unless it is the default.
    fn word<T: Word + Default + PartialEq>(&mut self, key: &str, choice: T) {
        if choice != T::default() {
            self.line(key, quoted(choice.word()));
        }
    }

    fn optional(&mut self, key: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.line(key, value);
        }
    }

    fn line(&mut self, key: &str, value: impl Display) {
        self.0 += &format!("{key} = {value}\n");
    }
}

/// A TOML string: the names of interfaces may have quotes and backslashes.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn cookie(cookie: Cookie) -> Option<String> {
    let digits: String = cookie.bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    (!digits.is_empty()).then(|| quoted(&digits))
}

fn tos(tos: Tos) -> Option<String> {
    match tos {
        Tos::Inherit => Some(quoted("inherit")),
        Tos::Fixed(0) => None,
        Tos::Fixed(tos) => Some(format!("{tos:#04x}")),
    }
}

fn mtu(mtu: Mtu) -> Option<u16> {
    match mtu {
        Mtu::Auto => None,
        Mtu::Fixed(bytes) => Some(bytes),
    }
}

fn mss(mss: Mss) -> Option<String> {
    match mss {
        Mss::Auto => None,
        Mss::Off => Some(quoted("off")),
        Mss::Fixed(bytes) => Some(bytes.to_string()),
    }
}
