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

/// Takes the kernel's tunnels as a configuration; only `chosen` ones, or all if none is.
pub fn adopt(observed: &Observed, chosen: &BTreeSet<u32>) -> Adopted {
    let mut adopted = Adopted { config: Config { tunnels: Vec::new() }, kept: Vec::new() };
    let tunnels = observed.l2tp.tunnels.values();
    for kernel in tunnels.filter(|tunnel| chosen.is_empty() || chosen.contains(&tunnel.tunnel_id)) {
        let mut of_config = tunnel(kernel);
        for session in sessions(kernel, observed) {
            let found = match &of_config {
                Ok(tunnel) => self::session(tunnel, session, observed),
                Err(reason) => Err(reason.clone()),
            };
            match (found, &mut of_config) {
                (Ok(session), Ok(tunnel)) => tunnel.sessions.push(session),
                (Err(reason), _) => adopted.kept.push(Kept { session: session.clone(), reason }),
                (Ok(_), Err(_)) => {}
            }
        }
        adopted.config.tunnels.extend(of_config);
    }
    adopted
}

fn sessions<'a>(tunnel: &KernelTunnel, observed: &'a Observed) -> impl Iterator<Item = &'a KernelSession> {
    let id = tunnel.tunnel_id;
    observed.l2tp.sessions.range((id, 0)..=(id, u32::MAX)).map(|(_, session)| session)
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
    Ok(tunnel)
}

fn session(tunnel: &Tunnel, kernel: &KernelSession, observed: &Observed) -> Result<Session, String> {
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
        mss: Mss::Auto,
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
