//! `[[tunnel]]`.

use super::address::address;
use super::claims::{Claim, Claims};
use super::error::Reported;
use super::section::Section;
use super::word::word;
use super::{Backend, Encap, Tunnel, keys, session, value};
use l2xdp_common::pseudowire::Tos;
use std::net::{IpAddr, SocketAddr};

/// What the sessions of a tunnel have in common on the wire.
#[derive(Clone, Copy)]
pub struct Outer {
    /// UDP or IP.
    pub encap: Encap,
    /// Our end; over IP its port is 0.
    pub local: SocketAddr,
    /// The peer's end; over IP its port is 0.
    pub remote: SocketAddr,
    /// TTL or hop limit, if the file says.
    pub ttl: Option<u8>,
    /// Type of service or traffic class.
    pub tos: Tos,
    /// Send UDP checksums.
    pub checksum: bool,
    /// Over IPv6, accept messages without one.
    pub zero_csum6_rx: bool,
}

/// What only a UDP tunnel has; over IP it is nought.
#[derive(Clone, Copy, Default)]
struct Udp {
    sport: u16,
    dport: u16,
    checksum: bool,
    zero_csum6_rx: bool,
}

/// Reads a tunnel and its sessions to the end, whatever is wrong on the way. The backend is what the top of the
/// file says.
pub fn read(
    section: &Section,
    backend: Result<Backend, Reported>,
    claims: &mut Claims,
) -> Result<Tunnel, Reported> {
    let tunnel_id = section.required("tunnel_id", value::id);
    if let Ok(id) = tunnel_id {
        claims.take(Claim::Tunnel(id), section, "tunnel_id");
    }
    let peer_tunnel_id = section.required("peer_tunnel_id", value::id);
    let encap = section.with_default("encap", Encap::Udp, word);
    let backend = self::backend(section, backend, encap);
    let outer = outer(section, encap, claims);
    let sessions = sessions(section, outer, claims);
    let Outer { encap, local, remote, ttl, checksum, zero_csum6_rx, .. } = outer?;
    Ok(Tunnel {
        tunnel_id: tunnel_id?,
        peer_tunnel_id: peer_tunnel_id?,
        local: local.ip(),
        remote: remote.ip(),
        udp_sport: local.port(),
        udp_dport: remote.port(),
        backend: backend?,
        encap,
        checksum,
        zero_csum6_rx,
        ttl,
        sessions: sessions?,
    })
}

/// The tunnel's own backend or that of the whole file, if it can carry the encapsulation.
fn backend(
    section: &Section,
    of_file: Result<Backend, Reported>,
    encap: Result<Encap, Reported>,
) -> Result<Backend, Reported> {
    let backend = section.optional("backend", word)?.map_or(of_file, Ok)?;
    if (backend, encap?) == (Backend::Standalone, Encap::Ip) {
        return Err(section.report(
            "encap",
            "\"ip\" is carried by the kernel alone; write backend = \"kernel\" or \"auto\", or encap = \"udp\"",
        ));
    }
    Ok(backend)
}

fn outer(section: &Section, encap: Result<Encap, Reported>, claims: &mut Claims) -> Result<Outer, Reported> {
    let addresses = addresses(section);
    let udp = match encap {
        Ok(Encap::Ip) => no_udp(section),
        // A word that could not be read says nothing against what else is there: that is read as by default.
        Ok(Encap::Udp) | Err(_) => udp(section, addresses),
    };
    let ttl = section.optional("ttl", value::ttl);
    let tos = section.with_default("tos", Tos::Fixed(0), value::tos);

    let (local, remote) = addresses?;
    let (Udp { sport, dport, checksum, zero_csum6_rx }, encap) = (udp?, encap?);
    let (local, remote) = (SocketAddr::new(local, sport), SocketAddr::new(remote, dport));
    // The kernel tells tunnels over IP apart by their ids.
    if encap == Encap::Udp {
        claims.take(Claim::Endpoints(local, remote), section, "local");
    }
    Ok(Outer { encap, local, remote, ttl: ttl?, tos: tos?, checksum, zero_csum6_rx })
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

fn udp(section: &Section, addresses: Result<(IpAddr, IpAddr), Reported>) -> Result<Udp, Reported> {
    let sport = section.required("udp_sport", value::udp_port);
    let dport = section.required("udp_dport", value::udp_port);
    let csum = section.with_default("udp_csum", false, value::boolean);
    let csum6_tx = section.with_default("udp6_csum_tx", true, value::boolean);
    let csum6_rx = section.with_default("udp6_csum_rx", true, value::boolean);
    let (local, _) = addresses?;
    let (checksum, zero_csum6_rx) = if local.is_ipv4() {
        let tx = section.exclude("udp6_csum_tx", "is for IPv6, and local is IPv4; write udp_csum");
        let rx = section.exclude("udp6_csum_rx", "is for IPv6, and local is IPv4; leave it out");
        tx.and(rx)?;
        (csum?, false)
    } else {
        section.exclude("udp_csum", "is for IPv4, and local is IPv6; write udp6_csum_tx")?;
        (csum6_tx?, !csum6_rx?)
    };
    Ok(Udp { sport: sport?, dport: dport?, checksum, zero_csum6_rx })
}

fn no_udp(section: &Section) -> Result<Udp, Reported> {
    let absent = ["udp_sport", "udp_dport", "udp_csum", "udp6_csum_tx", "udp6_csum_rx"]
        .map(|key| section.exclude(key, "is for UDP, and encap is \"ip\"; leave it out"));
    absent.into_iter().collect::<Result<(), _>>()?;
    Ok(Udp::default())
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
