//! Tunnels and sessions of every kind, in the words of each who has words for them.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Result, ensure};
use l2xdp::l2tp::{KernelSession, KernelTunnel, L2tpState, PwType, SessionStats, TunnelEncap, has_debugfs};
use l2xdp_common::pseudowire::{L2Spec, Seq};
use l2xdp_tests::netns::Namespace;
use l2xdp_tests::wire::{Side, Underlay};
use serde_json::{Map, Value, json};

use crate::operator;

/// Tunnels, and sessions in them.
#[derive(Clone, Default)]
pub struct Set {
    pub tunnels: Vec<KernelTunnel>,
    pub sessions: Vec<KernelSession>,
}

impl Set {
    /// Tunnels of every kind, with sessions that together are of every kind.
    pub fn all() -> Self {
        Self::with(3)
    }

    /// Tunnels of every kind, with fewer sessions.
    pub fn few() -> Self {
        Self::with(7)
    }

    /// With one session of so many; each tunnel leaves out others.
    fn with(of_so_many: u32) -> Self {
        let mut set = Self::default();
        for encap in encaps() {
            let tunnel_id = 1 + set.tunnels.len() as u32;
            let first = tunnel_id * 100;
            let formats = formats().enumerate().map(|(number, format)| (first + number as u32, format));
            let sessions = formats.filter(|(number, _)| (number + tunnel_id).is_multiple_of(of_so_many));
            set.sessions.extend(sessions.map(|(id, format)| session(tunnel_id, id, format)));
            set.tunnels.push(tunnel(tunnel_id, encap));
        }
        set
    }

    /// In `ip -batch`'s words.
    pub fn batch(&self) -> String {
        self.tunnels.iter().map(add_tunnel).chain(self.sessions.iter().map(add_session)).collect()
    }

    /// In l2xdp's.
    pub fn config(&self) -> String {
        let tunnels = self.tunnels.iter().map(|tunnel| {
            let sessions = self.sessions.iter().filter(|session| session.tunnel_id == tunnel.tunnel_id);
            sessions.map(session_table).fold(tunnel_table(tunnel), |text, session| text + &session)
        });
        tunnels.collect()
    }

    /// This is what `ip l2tp show` shows, and all of it.
    pub fn is_what_ip_shows(&self, gateway: &Namespace) -> Result<()> {
        self.is_what_ip_shows_beside(gateway, [&[], &[]])
    }

    /// The same, beside tunnels and sessions of somebody else's, whose ids are higher.
    pub fn is_what_ip_shows_beside(&self, gateway: &Namespace, theirs: [&[Value]; 2]) -> Result<()> {
        let without = |what: &str, theirs: &[Value]| {
            let mut list = operator::listed(gateway, what)?;
            let others = list.split_off(list.len().saturating_sub(theirs.len()));
            same(&format!("{what} of others"), theirs, &others)?;
            anyhow::Ok(list)
        };
        let tunnels = without("tunnel", theirs[0])?;
        same("tunnel", &self.tunnels.iter().map(shown_tunnel).collect::<Vec<_>>(), &tunnels)?;
        let mut sessions = without("session", theirs[1])?;
        for (shown, session) in sessions.iter_mut().zip(&self.sessions) {
            without_stale_words(shown, session);
        }
        same("session", &self.sessions.iter().map(shown_session).collect::<Vec<_>>(), &sessions)
    }

    /// This is what l2xdp reads, and all of it.
    pub fn is(&self, state: &L2tpState) -> Result<()> {
        same("tunnel", &self.tunnels, &state.tunnels.values().cloned().collect::<Vec<_>>())?;
        let mut sessions: Vec<_> = state.sessions.values().cloned().collect();
        for (there, wanted) in sessions.iter_mut().zip(&self.sessions) {
            let named = there.ifname.as_ref().is_some_and(|name| name.starts_with("l2tpeth"));
            if wanted.ifname.is_none() && named {
                there.ifname = None;
            }
            if !has_debugfs() {
                there.l2spec = wanted.l2spec;
            }
        }
        same("session", &self.sessions, &sessions)
    }
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, wanted: &[T], there: &[T]) -> Result<()> {
    for (wanted, there) in wanted.iter().zip(there) {
        ensure!(wanted == there, "this {what} is there: {there:?}, and not {wanted:?}");
    }
    ensure!(wanted.len() == there.len(), "{} {what}s are there, not {}", there.len(), wanted.len());
    Ok(())
}

fn encaps() -> Vec<TunnelEncap> {
    let mut encaps = Vec::new();
    for (underlay, one, other) in [
        (Underlay::V4, false, true),
        (Underlay::V4, true, true),
        (Underlay::V6, false, false),
        (Underlay::V6, false, true),
        (Underlay::V6, true, false),
        (Underlay::V6, true, true),
    ] {
        let port = encaps.len() as u16;
        let ipv6 = underlay == Underlay::V6;
        encaps.push(TunnelEncap::Udp {
            local: SocketAddr::new(address(underlay, Side::One), 6000 + port),
            remote: SocketAddr::new(address(underlay, Side::Two), 5000 + port),
            udp_csum: !ipv6 && one,
            udp6_csum_tx: ipv6 && one,
            udp6_csum_rx: ipv6 && other,
        });
    }
    encaps.extend([Underlay::V4, Underlay::V6].map(|underlay| TunnelEncap::Ip {
        local: address(underlay, Side::One),
        remote: address(underlay, Side::Two),
    }));
    encaps
}

fn address(underlay: Underlay, side: Side) -> IpAddr {
    underlay.address(side).parse().expect("an address of the lab")
}

fn tunnel(tunnel_id: u32, encap: TunnelEncap) -> KernelTunnel {
    KernelTunnel { tunnel_id, peer_tunnel_id: peer_of(tunnel_id), version: 3, encap, using_ipsec: false }
}

const fn peer_of(id: u32) -> u32 {
    id + 50_000
}

/// What tells sessions apart: both cookies' lengths, sublayer, sequence numbers, a name of its own.
type Format = (usize, usize, L2Spec, Seq, bool);

fn formats() -> impl Iterator<Item = Format> {
    let lengths = [0, 4, 8];
    let cookies = lengths.into_iter().flat_map(move |sent| lengths.map(|required| (sent, required)));
    let seqs = [(false, false), (true, false), (false, true), (true, true)];
    let seqs = seqs.into_iter().map(|(send, recv)| Seq { send, recv }).cycle();
    let default = cookies.clone().zip(seqs).zip([true, false, true].into_iter().cycle());
    let default = default.map(|(((a, b), seq), named)| (a, b, L2Spec::Default, seq, named));
    let none = cookies.zip([false, true].into_iter().cycle());
    default.chain(none.map(|((a, b), named)| (a, b, L2Spec::None, Seq::default(), named)))
}

fn session(tunnel_id: u32, id: u32, format: Format) -> KernelSession {
    let (cookie, peer_cookie, l2spec, seq, named) = format;
    let bytes = |first: u8, len: usize| (first..).take(len).collect();
    KernelSession {
        tunnel_id,
        session_id: id,
        peer_tunnel_id: peer_of(tunnel_id),
        peer_session_id: peer_of(id),
        pw_type: PwType::Eth,
        cookie: bytes(id as u8 & 0x7f, cookie),
        peer_cookie: bytes(!id as u8 & 0x7f, peer_cookie),
        l2spec: Some(l2spec),
        seq,
        lns_mode: false,
        ifname: named.then(|| format!("n{id}")),
        using_ipsec: false,
        stats: SessionStats::default(),
    }
}

fn add_tunnel(tunnel: &KernelTunnel) -> String {
    let on = |on: bool| if on { "on" } else { "off" };
    let encap = match tunnel.encap {
        TunnelEncap::Udp { local, remote, udp_csum, udp6_csum_tx, udp6_csum_rx } => {
            let checksum = if local.is_ipv4() {
                format!("udp_csum {}", on(udp_csum))
            } else {
                format!("udp6_csum_tx {} udp6_csum_rx {}", on(udp6_csum_tx), on(udp6_csum_rx))
            };
            let (sport, dport) = (local.port(), remote.port());
            format!(
                "encap udp local {} remote {} udp_sport {sport} udp_dport {dport} {checksum}",
                local.ip(),
                remote.ip()
            )
        }
        TunnelEncap::Ip { local, remote } => format!("encap ip local {local} remote {remote}"),
    };
    let KernelTunnel { tunnel_id, peer_tunnel_id, .. } = tunnel;
    format!("l2tp add tunnel tunnel_id {tunnel_id} peer_tunnel_id {peer_tunnel_id} {encap}\n")
}

fn add_session(session: &KernelSession) -> String {
    let KernelSession { tunnel_id, session_id, peer_session_id, .. } = session;
    let mut words = format!(
        "l2tp add session tunnel_id {tunnel_id} session_id {session_id} peer_session_id {peer_session_id} \
         l2spec_type {} seq {}",
        l2spec_name(session),
        session.seq.name(),
    );
    for (name, bytes) in [("cookie", &session.cookie), ("peer_cookie", &session.peer_cookie)] {
        if !bytes.is_empty() {
            words += &format!(" {name} {}", hex(bytes));
        }
    }
    words + &session.ifname.as_ref().map(|name| format!(" name {name}")).unwrap_or_default() + "\n"
}

fn tunnel_table(tunnel: &KernelTunnel) -> String {
    let encap = match tunnel.encap {
        TunnelEncap::Udp { local, remote, udp_csum, udp6_csum_tx, udp6_csum_rx } => {
            let checksum = if local.is_ipv4() {
                format!("udp_csum = {udp_csum}")
            } else {
                format!("udp6_csum_tx = {udp6_csum_tx}\nudp6_csum_rx = {udp6_csum_rx}")
            };
            format!(
                "local = \"{}\"\nremote = \"{}\"\nudp_sport = {}\nudp_dport = {}\n{checksum}",
                local.ip(),
                remote.ip(),
                local.port(),
                remote.port()
            )
        }
        TunnelEncap::Ip { local, remote } => {
            format!("encap = \"ip\"\nlocal = \"{local}\"\nremote = \"{remote}\"")
        }
    };
    let KernelTunnel { tunnel_id, peer_tunnel_id, .. } = tunnel;
    format!("[[tunnel]]\ntunnel_id = {tunnel_id}\npeer_tunnel_id = {peer_tunnel_id}\n{encap}\n")
}

fn session_table(session: &KernelSession) -> String {
    let name = session.ifname.as_ref().map(|name| format!("name = \"{name}\"\n")).unwrap_or_default();
    format!(
        "[[tunnel.session]]\nsession_id = {}\npeer_session_id = {}\ncookie = \"{}\"\npeer_cookie = \"{}\"\n\
         l2spec_type = \"{}\"\nseq = \"{}\"\n{name}",
        session.session_id,
        session.peer_session_id,
        hex(&session.cookie),
        hex(&session.peer_cookie),
        l2spec_name(session),
        session.seq.name(),
    )
}

fn shown_tunnel(tunnel: &KernelTunnel) -> Value {
    let ids = json!({"tunnel_id": tunnel.tunnel_id, "peer_tunnel": tunnel.peer_tunnel_id});
    let (ends, others) = match tunnel.encap {
        TunnelEncap::Udp { local, remote, udp_csum, udp6_csum_tx, udp6_csum_rx } => {
            let checksum = if local.is_ipv4() {
                json!({"checksum": udp_csum})
            } else {
                json!({"checksum_tx": udp6_csum_tx, "checksum_rx": udp6_csum_rx})
            };
            let ends = json!({
                "encap": "UDP", "local": local.ip(), "peer": remote.ip(),
                "local_port": local.port(), "peer_port": remote.port(),
            });
            (ends, checksum)
        }
        TunnelEncap::Ip { local, remote } => {
            (json!({"encap": "IP", "local": local, "peer": remote}), json!({}))
        }
    };
    joined([ids, ends, others])
}

fn shown_session(session: &KernelSession) -> Value {
    let optional =
        |name: &str, there: bool, value: Value| if there { json!({name: value}) } else { json!({}) };
    let cookie = |name: &str, bytes: &[u8]| optional(name, !bytes.is_empty(), hex(bytes).into());
    joined([
        json!({
            "session_id": session.session_id, "tunnel_id": session.tunnel_id,
            "peer_session_id": session.peer_session_id, "peer_tunnel_id": session.peer_tunnel_id,
        }),
        json!({"interface": session.ifname.as_deref().unwrap_or("l2tpeth")}),
        cookie("cookie", &session.cookie),
        cookie("peer_cookie", &session.peer_cookie),
        optional("send_seq", session.seq.send, Value::Null),
        optional("recv_seq", session.seq.recv, Value::Null),
    ])
}

fn joined<const N: usize>(parts: [Value; N]) -> Value {
    let maps = parts.into_iter().filter_map(|part| match part {
        Value::Object(map) => Some(map),
        _ => None,
    });
    Value::Object(maps.flatten().collect::<Map<_, _>>())
}

/// iproute2 shows a session without a cookie with the last one it has seen. The number in a name that the kernel chose
/// is nobody's business.
fn without_stale_words(shown: &mut Value, session: &KernelSession) {
    let Value::Object(shown) = shown else { return };
    for (name, bytes) in [("cookie", &session.cookie), ("peer_cookie", &session.peer_cookie)] {
        if bytes.is_empty() {
            shown.shift_remove(name);
        }
    }
    let chosen =
        shown.get("interface").and_then(Value::as_str).is_some_and(|name| name.starts_with("l2tpeth"));
    if chosen {
        shown.insert("interface".to_owned(), "l2tpeth".into());
    }
}

fn l2spec_name(session: &KernelSession) -> &'static str {
    if session.l2spec == Some(L2Spec::None) { "none" } else { "default" }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
