//! `[[tunnel]]`.

use super::address::address;
use super::claims::{Claim, Claims};
use super::error::Reported;
use super::section::Section;
use super::{Backend, Encap, Tunnel};
use super::{keys, session, value};
use l2xdp_common::pseudowire::Tos;
use std::net::{IpAddr, SocketAddr};

/// The TTL that the kernel gives its own tunnels' packets (`net.ipv4.ip_default_ttl`).
const DEFAULT_TTL: u8 = 64;

/// What the sessions of a tunnel have in common on the wire.
#[derive(Clone, Copy)]
pub struct Outer {
    /// Our end.
    pub local: SocketAddr,
    /// The peer's end.
    pub remote: SocketAddr,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Type of service or traffic class.
    pub tos: Tos,
    /// Send UDP checksums.
    pub checksum: bool,
}

/// Reads a tunnel and its sessions to the end, whatever is wrong on the way.
pub fn read(section: &Section, claims: &mut Claims) -> Result<Tunnel, Reported> {
    let tunnel_id = section.required("tunnel_id", value::id);
    if let Ok(id) = tunnel_id {
        claims.take(Claim::Tunnel(id), section, "tunnel_id");
    }
    let peer_tunnel_id = section.required("peer_tunnel_id", value::id);
    let outer = outer(section, claims);
    let sessions = sessions(section, outer, claims);
    let Outer { local, remote, checksum, .. } = outer?;
    Ok(Tunnel {
        tunnel_id: tunnel_id?,
        peer_tunnel_id: peer_tunnel_id?,
        local: local.ip(),
        remote: remote.ip(),
        udp_sport: local.port(),
        udp_dport: remote.port(),
        backend: Backend::Auto,
        encap: Encap::Udp,
        checksum,
        zero_csum6_rx: false,
        ttl: None,
        sessions: sessions?,
    })
}

fn outer(section: &Section, claims: &mut Claims) -> Result<Outer, Reported> {
    let encap = section.with_default("encap", (), value::encap);
    let addresses = addresses(section);
    let udp_sport = section.required("udp_sport", value::udp_port);
    let udp_dport = section.required("udp_dport", value::udp_port);
    let checksum = checksum(section, addresses);
    let ttl = section.with_default("ttl", DEFAULT_TTL, value::ttl);
    let tos = section.with_default("tos", Tos::Fixed(0), value::tos);

    let (local, remote) = addresses?;
    let (local, remote) = (SocketAddr::new(local, udp_sport?), SocketAddr::new(remote, udp_dport?));
    claims.take(Claim::Endpoints(local, remote), section, "local");
    encap?;
    Ok(Outer { local, remote, ttl: ttl?, tos: tos?, checksum: checksum? })
}

fn addresses(section: &Section) -> Result<(IpAddr, IpAddr), Reported> {
    let local = section.required("local", address);
    let remote = section.required("remote", address);
    let (local, remote) = (local?, remote?);
    if local.is_ipv4() != remote.is_ipv4() {
        let message = format!(
            "{remote} is of another family than local, {local}; write two IPv4 or two IPv6 addresses"
        );
        return Err(section.report("remote", message));
    }
    if local == remote {
        return Err(section.report("remote", format!("{remote} is local too; write the peer's address")));
    }
    Ok((local, remote))
}

fn checksum(section: &Section, addresses: Result<(IpAddr, IpAddr), Reported>) -> Result<bool, Reported> {
    let ipv4 = section.with_default("udp_csum", false, value::boolean);
    let ipv6 = section.with_default("udp6_csum_tx", true, value::boolean);
    let (local, _) = addresses?;
    if local.is_ipv4() {
        section.exclude("udp6_csum_tx", "is for IPv6, and local is IPv4; write udp_csum")?;
        ipv4
    } else {
        section.exclude("udp_csum", "is for IPv4, and local is IPv6; write udp6_csum_tx")?;
        ipv6
    }
}

fn sessions(
    section: &Section,
    outer: Result<Outer, Reported>,
    claims: &mut Claims,
) -> Result<Vec<super::Session>, Reported> {
    let sections = section.tables(&keys::SESSION)?;
    // Every session is read before the first failed one ends it.
    let sessions: Vec<_> = sections.iter().map(|section| session::read(section, outer, claims)).collect();
    sessions.into_iter().collect()
}
