//! The kernel's tunnels and sessions, whoever made them, in the words of a configuration: what `l2xdp accelerate` runs
//! and `l2xdp import` writes.

use crate::config::{Attach, Backend, Config, Encap, Mtu, Session, Tunnel};
use crate::l2tp::{KernelSession, KernelTunnel, PwType, TunnelEncap};
use crate::observe::{Link, Observed};
use crate::plan;
use crate::reconcile::Settings;
use crate::underlay;
use l2xdp_common::pseudowire::{Cookie, L2Spec, Mss, Pseudowire, Tos};
use l2xdp_common::wire::Eth;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// A session that the fast path can't have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The session.
    pub session: KernelSession,
    /// Why it stays on the kernel's path.
    pub reason: String,
}

/// What became of the kernel's tunnels and sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adopted {
    /// Those that a configuration can describe.
    pub config: Config,
    /// The others.
    pub kept: Vec<Kept>,
}

/// The TTL in a [`Pseudowire`] until the kernel's default is known.
const ANY_TTL: u8 = 64;

/// Takes the kernel's tunnels as a configuration; only `chosen` ones, or all if none is. The kernel knows nothing of an MSS
/// clamp: `mss` is for all sessions.
pub fn adopt(observed: &Observed, chosen: &BTreeSet<u32>, mss: Mss) -> Adopted {
    let mut adopted = Adopted { config: Config { tunnels: Vec::new() }, kept: Vec::new() };
    let tunnels = observed.l2tp.tunnels.values();
    let mut taken = BTreeSet::new();
    for kernel in tunnels.filter(|tunnel| chosen.is_empty() || chosen.contains(&tunnel.tunnel_id)) {
        let mut of_config = tunnel(kernel);
        for (_, kernel) in observed.l2tp.sessions_of(kernel.tunnel_id) {
            let found = match &of_config {
                Ok(tunnel) => session(tunnel, kernel, observed, mss),
                Err(reason) => Err(reason.clone()),
            };
            match (found, &mut of_config) {
                // Since Linux 6.11 tunnels over UDP may have sessions of one id.
                (Ok(session), Ok(_)) if !taken.insert(session.session_id) => {
                    let reason = "another tunnel has a session of this id, which the fast path serves";
                    adopted.kept.push(Kept { session: kernel.clone(), reason: reason.to_owned() });
                }
                (Ok(session), Ok(tunnel)) => tunnel.sessions.push(session),
                (Err(reason), _) => adopted.kept.push(Kept { session: kernel.clone(), reason }),
                (Ok(_), Err(_)) => {}
            }
        }
        adopted.config.tunnels.extend(of_config);
    }
    adopted
}

/// A tunnel as a configuration has it, without its sessions.
///
/// # Errors
/// What a configuration has no words for.
pub fn tunnel(kernel: &KernelTunnel) -> Result<Tunnel, String> {
    if kernel.version != 3 {
        return Err(format!("L2TP version {}", kernel.version));
    }
    let mut tunnel = Tunnel {
        tunnel_id: kernel.tunnel_id,
        peer_tunnel_id: kernel.peer_tunnel_id,
        local: [0; 4].into(),
        remote: [0; 4].into(),
        udp_sport: 0,
        udp_dport: 0,
        backend: Backend::Kernel,
        encap: Encap::Ip,
        checksum: false,
        zero_csum6_rx: false,
        ttl: None,
        sessions: Vec::new(),
    };
    match kernel.encap {
        TunnelEncap::Udp { local, remote, udp_csum, udp6_csum_tx, udp6_csum_rx } => {
            tunnel.encap = Encap::Udp;
            (tunnel.local, tunnel.remote) = (local.ip(), remote.ip());
            (tunnel.udp_sport, tunnel.udp_dport) = (local.port(), remote.port());
            tunnel.checksum = if local.is_ipv6() { udp6_csum_tx } else { udp_csum };
            tunnel.zero_csum6_rx = local.is_ipv6() && !udp6_csum_rx;
        }
        TunnelEncap::Ip { local, remote } => (tunnel.local, tunnel.remote) = (local, remote),
    }
    check_addresses(tunnel.local, tunnel.remote)?;
    Ok(tunnel)
}

/// Do a tunnel's addresses tell where its messages go? Those of a socket that a program has handed over need not.
fn check_addresses(local: IpAddr, remote: IpAddr) -> Result<(), String> {
    if local.is_unspecified() || remote.is_unspecified() {
        return Err("its socket is not connected to a peer".to_owned());
    }
    if matches!(remote, IpAddr::V6(remote) if remote.is_unicast_link_local()) {
        return Err("its addresses are link-local, and the kernel does not tell of which device".to_owned());
    }
    Ok(())
}

fn session(
    tunnel: &Tunnel,
    kernel: &KernelSession,
    observed: &Observed,
    mss: Mss,
) -> Result<Session, String> {
    if let PwType::Other(_) = kernel.pw_type {
        return Err(format!("pseudowire type {}", kernel.pw_type));
    }
    if kernel.using_ipsec {
        return Err("an IPsec policy is bound to the tunnel".to_owned());
    }
    let cookie =
        |bytes: &[u8]| Cookie::new(bytes).ok_or_else(|| format!("a cookie of {} bytes", bytes.len()));
    let device = observed.kernel_device(&kernel.key())?;
    let mut pseudowire = Pseudowire {
        local: tunnel.local,
        remote: tunnel.remote,
        udp_sport: tunnel.udp_sport,
        udp_dport: tunnel.udp_dport,
        peer_session_id: kernel.peer_session_id,
        cookie: cookie(&kernel.cookie)?,
        peer_cookie: cookie(&kernel.peer_cookie)?,
        l2spec: L2Spec::Default,
        seq: kernel.seq,
        ttl: ANY_TTL,
        tos: Tos::Fixed(0),
        checksum: tunnel.checksum,
        zero_csum6_rx: tunnel.zero_csum6_rx,
        mss,
        vlan: None,
    };
    let l2spec = kernel.l2spec.or_else(|| l2spec_by_mtu(tunnel, &pseudowire, device, observed));
    pseudowire.l2spec = l2spec.ok_or(
        "its l2spec_type can't be told: modprobe l2tp_debugfs and mount debugfs, or give the device the MTU it was \
         made with",
    )?;
    let mut session = Session {
        session_id: kernel.session_id,
        peer_session_id: kernel.peer_session_id,
        attach: Attach::Netdev {
            name: Some(device.name.clone()),
            bridge: Settings::of(device, observed).bridge,
        },
        mtu: Mtu::Auto,
        pseudowire,
    };
    if plan::device_mtu(&session, path_mtu(tunnel, observed)) != device.mtu {
        session.mtu = u16::try_from(device.mtu).map_or(Mtu::Auto, Mtu::Fixed);
    }
    Ok(session)
}

/// What the path takes, reckoned as if UDP carried it: over IP there is more room.
fn path_mtu(tunnel: &Tunnel, observed: &Observed) -> Option<u32> {
    /// UDP header, flags and version (RFC 3931 §4.1.2.1).
    const UDP_ALONE: u32 = 8 + 4;
    let way = underlay::resolve(observed, &plan::query(tunnel)).ok()?;
    Some(way.mtu + if tunnel.encap == Encap::Ip { UDP_ALONE } else { 0 })
}

/// The kernel does not tell a session's sublayer. Where debugfs does not either, the MTU that the driver gave the device
/// when it was made does, if nothing has changed since: it leaves room for the sublayer, or does not.
fn l2spec_by_mtu(
    tunnel: &Tunnel,
    pseudowire: &Pseudowire,
    device: &Link,
    observed: &Observed,
) -> Option<L2Spec> {
    let path_mtu = path_mtu(tunnel, observed)?;
    [L2Spec::Default, L2Spec::None].into_iter().find(|&l2spec| {
        let max_inner = Pseudowire { l2spec, ..*pseudowire }.max_inner(path_mtu);
        u32::from(max_inner).checked_sub(Eth::LEN as u32) == Some(device.mtu)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::l2tp::SessionStats;
    use l2xdp_common::pseudowire::Seq;
    use std::net::SocketAddr;

    /// Tunnels, each with one session 10, whose devices are 1, 2, ….
    fn observed(tunnels: &[(u32, &str, &str)]) -> Observed {
        let mut observed = Observed::default();
        for (index, &(tunnel_id, local, remote)) in (1..).zip(tunnels) {
            let address = |ip: &str| SocketAddr::new(ip.parse().unwrap(), 6000);
            let encap = TunnelEncap::Udp {
                local: address(local),
                remote: address(remote),
                udp_csum: false,
                udp6_csum_tx: true,
                udp6_csum_rx: true,
            };
            let tunnel = KernelTunnel { tunnel_id, peer_tunnel_id: 1, version: 3, encap, using_ipsec: false };
            observed.l2tp.tunnels.insert(tunnel_id, tunnel);
            let session = KernelSession {
                tunnel_id,
                session_id: 10,
                peer_tunnel_id: 1,
                peer_session_id: 20,
                pw_type: PwType::Eth,
                cookie: Vec::new(),
                peer_cookie: Vec::new(),
                l2spec: Some(L2Spec::Default),
                seq: Seq::default(),
                lns_mode: false,
                ifname: Some(format!("l2tpeth{index}")),
                using_ipsec: false,
                stats: SessionStats::default(),
            };
            observed.kernel_devices.insert(session.key(), index);
            observed.links.insert(index, Link { ifindex: index, mtu: 1446, ..Link::default() });
            observed.l2tp.sessions.insert(session.key(), session);
        }
        observed
    }

    /// What keeps the session of a tunnel between these addresses.
    fn kept(local: &str, remote: &str) -> Option<String> {
        adopt(&observed(&[(1, local, remote)]), &BTreeSet::new(), Mss::Auto)
            .kept
            .pop()
            .map(|kept| kept.reason)
    }

    #[test]
    fn addresses_that_tell_no_way_keep_a_session() {
        assert_eq!(kept("1.1.1.2", "2.2.2.2"), None);
        assert_eq!(kept("2001:db8::1", "2001:db8::2"), None);
        assert!(kept("0.0.0.0", "2.2.2.2").is_some_and(|reason| reason.contains("not connected")));
        assert!(kept("::", "::").is_some_and(|reason| reason.contains("not connected")));
        assert!(kept("fe80::1", "fe80::2").is_some_and(|reason| reason.contains("link-local")));
    }

    #[test]
    fn the_first_of_sessions_of_one_id_is_adopted() {
        let both = observed(&[(1, "1.1.1.2", "2.2.2.2"), (2, "1.1.1.2", "2.2.2.3")]);
        let adopted = adopt(&both, &BTreeSet::new(), Mss::Auto);
        let counts: Vec<_> = adopted.config.tunnels.iter().map(|tunnel| tunnel.sessions.len()).collect();
        assert_eq!(counts, [1, 0]);
        assert_eq!(adopted.kept.iter().map(|kept| kept.session.tunnel_id).collect::<Vec<_>>(), [2]);
        let second = adopt(&both, &[2].into(), Mss::Auto);
        assert!(second.kept.is_empty(), "of the tunnels that are chosen there is one");
    }
}
