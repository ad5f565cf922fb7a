//! `[[tunnel.session]]`.

use super::claims::{Claim, Claims, Use};
use super::error::Reported;
use super::interface::interface;
use super::section::Section;
use super::tunnel::Outer;
use super::word::word;
use super::{Attach, Encap, Mtu, Session, value};
use l2xdp_common::pseudowire::{Cookie, L2Spec, Mss, Pseudowire, Seq};
use l2xdp_common::wire::{Eth, Udp};

/// The longest outer IP packet, in bytes.
const MAX_OUTER: u32 = u16::MAX as u32;

/// What a message over IP is shorter by than over UDP, in bytes: the UDP header, and flags and a reserved field in
/// front of the session id (RFC 3931 §4.1.1).
const SHORTER_OVER_IP: u32 = Udp::LEN as u32 + 4;

/// The TTL of packets until the kernel's default is known, which it most likely is.
const LIKELY_TTL: u8 = 64;

/// The words for the name of a session's device: ours, iproute2's, and the kernel's (`L2TP_ATTR_IFNAME`).
const NETDEV: [&str; 3] = ["netdev", "name", "ifname"];

/// Reads a session to the end, whatever is wrong on the way.
pub fn read(
    section: &Section,
    outer: Result<Outer, Reported>,
    claims: &mut Claims,
) -> Result<Session, Reported> {
    let session_id = section.required("session_id", value::id);
    if let Ok(id) = session_id {
        claims.take(Claim::Session(id), section, "session_id");
    }
    let peer_session_id = section.required("peer_session_id", value::id);
    if let (Ok(id), Ok(Outer { local, remote, .. })) = (peer_session_id, outer) {
        claims.take(Claim::PeerSession(local, remote, id), section, "peer_session_id");
    }
    let attach = attach(section);
    if let Ok(attach) = &attach {
        claim_interfaces(attach, section, claims);
    }
    let pseudowire = pseudowire(section, outer, peer_session_id, &attach);
    let mtu = mtu(section, outer, pseudowire);
    exclude_offsets(section)?;
    Ok(Session {
        session_id: session_id?,
        peer_session_id: peer_session_id?,
        attach: attach?,
        mtu: mtu?,
        pseudowire: pseudowire?,
    })
}

fn attach(section: &Section) -> Result<Attach, Reported> {
    let netdev = netdev(section);
    let bridge = section.optional("bridge", interface);
    let port = section.optional("port", interface);
    let vlan = section.optional("vlan", value::vlan);
    match (netdev?, port?) {
        (Some((key, _)), Some(_)) => {
            Err(section.report("port", format!("excludes {key}; keep one of the two")))
        }
        (netdev, None) => {
            let flaw = match netdev {
                Some(_) => "is for a port, and this session has a netdev; leave it out",
                None => "is for a port, and this session has none; add port, or leave it out",
            };
            section.exclude("vlan", flaw)?;
            Ok(Attach::Netdev { name: netdev.map(|(_, name)| name), bridge: bridge? })
        }
        (None, Some(name)) => {
            let bridge =
                section.exclude("bridge", "is for a netdev, and this session has a port; leave it out");
            let mtu = section.exclude("mtu", "is for a netdev, and a port keeps its own MTU; leave it out");
            bridge.and(mtu)?;
            Ok(Attach::Port { name, vlan: vlan? })
        }
    }
}

/// The name of the session's device, and the key that has it.
fn netdev(section: &Section) -> Result<Option<(&'static str, String)>, Reported> {
    // Every one is read before the first wrong one ends it.
    let names = NETDEV.map(|key| (key, section.optional(key, interface)));
    let mut found = None;
    for (key, name) in names {
        match (name?, &found) {
            (Some(_), Some((first, _))) => {
                return Err(section.report(key, format!("is another word for {first}; keep one of the two")));
            }
            (Some(name), None) => found = Some((key, name)),
            (None, _) => {}
        }
    }
    Ok(found)
}

fn claim_interfaces(attach: &Attach, section: &Section, claims: &mut Claims) {
    match attach {
        Attach::Netdev { name, bridge } => {
            if let Some(name) = name {
                let key = NETDEV.into_iter().find(|key| section.has(key)).unwrap_or("netdev");
                claims.take_interface(name, Use::Netdev, section, key);
            }
            if let Some(bridge) = bridge {
                claims.take_interface(bridge, Use::Bridge, section, "bridge");
            }
        }
        Attach::Port { name, vlan } => {
            let key = if vlan.is_some() { "vlan" } else { "port" };
            claims.take_interface(name, Use::Port(*vlan), section, key);
        }
    }
}

/// Refuses what the kernel no longer does, though `ip l2tp` still takes the words.
fn exclude_offsets(section: &Section) -> Result<(), Reported> {
    const FLAW: &str = "the kernel ignores it since Linux 4.16 (no offset is ever sent); leave it out";
    let offset = section.exclude("offset", FLAW);
    let peer_offset = section.exclude("peer_offset", FLAW);
    offset.and(peer_offset)
}

fn pseudowire(
    section: &Section,
    outer: Result<Outer, Reported>,
    peer_session_id: Result<u32, Reported>,
    attach: &Result<Attach, Reported>,
) -> Result<Pseudowire, Reported> {
    let cookie = section.with_default("cookie", Cookie::default(), value::cookie);
    let peer_cookie = section.with_default("peer_cookie", Cookie::default(), value::cookie);
    let l2spec = section.with_default("l2spec_type", L2Spec::Default, word);
    let seq = seq(section, l2spec);
    let mss = section.with_default("mss", Mss::Auto, value::mss);
    let vlan = match attach {
        Ok(Attach::Port { vlan, .. }) => *vlan,
        Ok(Attach::Netdev { .. }) => None,
        Err(reported) => return Err(*reported),
    };
    let Outer { local, remote, ttl, tos, checksum, zero_csum6_rx, .. } = outer?;
    Ok(Pseudowire {
        local: local.ip(),
        remote: remote.ip(),
        udp_sport: local.port(),
        udp_dport: remote.port(),
        peer_session_id: peer_session_id?,
        cookie: cookie?,
        peer_cookie: peer_cookie?,
        l2spec: l2spec?,
        seq: seq?,
        ttl: ttl.unwrap_or(LIKELY_TTL),
        tos,
        checksum,
        zero_csum6_rx,
        mss: mss?,
        vlan,
    })
}

fn seq(section: &Section, l2spec: Result<L2Spec, Reported>) -> Result<Seq, Reported> {
    let seq = section.with_default("seq", Seq::default(), word)?;
    if seq != Seq::default() && l2spec? == L2Spec::None {
        return Err(section.report(
            "seq",
            "numbers stand in the default sublayer, and l2spec_type is \"none\"; leave it out, or write \
             l2spec_type = \"default\" at both ends",
        ));
    }
    Ok(seq)
}

fn mtu(
    section: &Section,
    outer: Result<Outer, Reported>,
    pseudowire: Result<Pseudowire, Reported>,
) -> Result<Mtu, Reported> {
    let mtu = section.with_default("mtu", Mtu::Auto, value::mtu)?;
    let max_outer = match outer?.encap {
        Encap::Udp => MAX_OUTER,
        Encap::Ip => MAX_OUTER + SHORTER_OVER_IP,
    };
    let max = pseudowire?.max_inner(max_outer).saturating_sub(Eth::LEN as u16);
    match mtu {
        Mtu::Fixed(bytes) if bytes > max => Err(section.report(
            "mtu",
            format!("{bytes} does not fit into an outer IP packet; write \"auto\" or at most {max}"),
        )),
        mtu => Ok(mtu),
    }
}
