//! `[[tunnel.session]]`.

use super::claims::{Claim, Claims, Use};
use super::error::Reported;
use super::interface::interface;
use super::section::Section;
use super::tunnel::Outer;
use super::{Attach, Mtu, Session, value};
use l2xdp_common::pseudowire::{Cookie, L2Spec, Mss, Pseudowire, Seq};
use l2xdp_common::wire::Eth;

/// The longest outer IP packet, in bytes.
const MAX_OUTER: u32 = u16::MAX as u32;

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
    let mtu = mtu(section, pseudowire);
    Ok(Session {
        session_id: session_id?,
        peer_session_id: peer_session_id?,
        attach: attach?,
        mtu: mtu?,
        pseudowire: pseudowire?,
    })
}

fn attach(section: &Section) -> Result<Attach, Reported> {
    let netdev = section.optional("netdev", interface);
    let bridge = section.optional("bridge", interface);
    let port = section.optional("port", interface);
    let vlan = section.optional("vlan", value::vlan);
    match (netdev?, port?) {
        (Some(name), None) => {
            section.exclude("vlan", "is for a port, and this session has a netdev; leave it out")?;
            Ok(Attach::Netdev { name: Some(name), bridge: bridge? })
        }
        (None, Some(name)) => {
            let bridge =
                section.exclude("bridge", "is for a netdev, and this session has a port; leave it out");
            let mtu = section.exclude("mtu", "is for a netdev, and a port keeps its own MTU; leave it out");
            bridge.and(mtu)?;
            Ok(Attach::Port { name, vlan: vlan? })
        }
        (Some(_), Some(_)) => Err(section.report("port", "excludes netdev; keep one of the two")),
        (None, None) => Err(section.report(
            "netdev",
            "is missing, and port too; add one of the two, for example: netdev = \"l2x0\"",
        )),
    }
}

fn claim_interfaces(attach: &Attach, section: &Section, claims: &mut Claims) {
    match attach {
        Attach::Netdev { name, bridge } => {
            if let Some(name) = name {
                claims.take_interface(name, Use::Netdev, section, "netdev");
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

fn pseudowire(
    section: &Section,
    outer: Result<Outer, Reported>,
    peer_session_id: Result<u32, Reported>,
    attach: &Result<Attach, Reported>,
) -> Result<Pseudowire, Reported> {
    let cookie = section.with_default("cookie", Cookie::default(), value::cookie);
    let peer_cookie = section.with_default("peer_cookie", Cookie::default(), value::cookie);
    let l2spec = section.with_default("l2spec_type", L2Spec::Default, value::l2spec);
    let mss = section.with_default("mss", Mss::Auto, value::mss);
    let vlan = match attach {
        Ok(Attach::Port { vlan, .. }) => *vlan,
        Ok(Attach::Netdev { .. }) => None,
        Err(reported) => return Err(*reported),
    };
    let Outer { local, remote, ttl, tos, checksum } = outer?;
    Ok(Pseudowire {
        local: local.ip(),
        remote: remote.ip(),
        udp_sport: local.port(),
        udp_dport: remote.port(),
        peer_session_id: peer_session_id?,
        cookie: cookie?,
        peer_cookie: peer_cookie?,
        l2spec: l2spec?,
        ttl,
        tos,
        checksum,
        zero_csum6_rx: false,
        seq: Seq::default(),
        mss: mss?,
        vlan,
    })
}

fn mtu(section: &Section, pseudowire: Result<Pseudowire, Reported>) -> Result<Mtu, Reported> {
    let mtu = section.with_default("mtu", Mtu::Auto, value::mtu)?;
    let max = pseudowire?.max_inner(MAX_OUTER).saturating_sub(Eth::LEN as u16);
    match mtu {
        Mtu::Fixed(bytes) if bytes > max => Err(section.report(
            "mtu",
            format!("{bytes} does not fit into an outer IP packet; write \"auto\" or at most {max}"),
        )),
        mtu => Ok(mtu),
    }
}
