//! What a running gateway has to show.

use crate::adopt::Kept;
use crate::config::{Attach, Backend, Encap, Session, Tunnel};
use crate::gateway::Gateway;
use crate::plan::{self, Place};
use crate::show::{SessionStatus, Status, TunnelStatus};
use crate::underlay::{self, NoPath, Underlay};
use anyhow::Result;
use l2xdp_common::pseudowire::L2Spec;
use serde_json::{Map, Value};
use std::fmt::Write;

/// Reads it all, counters from the kernel included.
///
/// # Errors
/// If a map can't be read.
pub fn status(gateway: &Gateway) -> Result<Status> {
    let reasons = gateway.datapath.reasons()?.into_iter().filter(|(_, count)| *count != 0);
    let mut status = Status {
        tunnels: Vec::new(),
        sessions: Vec::new(),
        reasons: reasons.map(|(reason, count)| (reason.label().to_owned(), count)).collect(),
        attached: attached(gateway),
    };
    for tunnel in &gateway.config.tunnels {
        let underlay = underlay::resolve(&gateway.observed, &plan::query(tunnel));
        status.tunnels.push(tunnel_status(gateway, tunnel, &underlay));
        for session in &tunnel.sessions {
            status.sessions.push(session_status(gateway, tunnel, session, &underlay)?);
        }
    }
    status.sessions.extend(gateway.kept.iter().map(|kept| kept_status(gateway, kept)));
    Ok(status)
}

fn tunnel_status(gateway: &Gateway, tunnel: &Tunnel, underlay: &Result<Underlay, NoPath>) -> TunnelStatus {
    TunnelStatus {
        tunnel_id: tunnel.tunnel_id,
        backend: backend(tunnel).to_owned(),
        encap: match tunnel.encap {
            Encap::Udp => "UDP".to_owned(),
            Encap::Ip => "IP".to_owned(),
        },
        local: tunnel.local,
        peer: tunnel.remote,
        peer_tunnel: tunnel.peer_tunnel_id,
        local_port: tunnel.udp_sport,
        peer_port: tunnel.udp_dport,
        checksum: tunnel.checksum,
        path: match underlay {
            Ok(way) => {
                let trouble = way.path.as_ref().err().map(|no| format!(" ({no})")).unwrap_or_default();
                format!("via {} dev {} mtu {}{trouble}", way.next_hop, way.device, way.mtu)
            }
            Err(no_path) => no_path.to_string(),
        },
        socket: (tunnel.backend == Backend::Standalone).then(|| gateway.slow_path.socket_counters(tunnel)),
    }
}

const fn backend(tunnel: &Tunnel) -> &'static str {
    match tunnel.backend {
        Backend::Standalone => "standalone",
        Backend::Kernel | Backend::Auto => "kernel",
    }
}

fn session_status(
    gateway: &Gateway,
    tunnel: &Tunnel,
    session: &Session,
    underlay: &Result<Underlay, NoPath>,
) -> Result<SessionStatus> {
    let id = session.session_id;
    let kernel = gateway.observed.l2tp.sessions.get(&(tunnel.tunnel_id, id));
    let (interface, vlan) = match &session.attach {
        Attach::Netdev { name, .. } => {
            let device = plan::netdev(tunnel, session, &gateway.observed).map(|link| link.name.clone());
            (device.or_else(|| name.clone()).unwrap_or_default(), None)
        }
        Attach::Port { name, vlan } => (name.clone(), *vlan),
    };
    let pseudowire = &session.pseudowire;
    Ok(SessionStatus {
        session_id: id,
        tunnel_id: tunnel.tunnel_id,
        peer_session_id: session.peer_session_id,
        peer_tunnel: tunnel.peer_tunnel_id,
        interface,
        vlan,
        cookie: hex(pseudowire.cookie.bytes()),
        peer_cookie: hex(pseudowire.peer_cookie.bytes()),
        l2spec_type: Some(l2spec_name(pseudowire.l2spec)),
        seq: kernel.map_or(pseudowire.seq, |kernel| kernel.seq).name().to_owned(),
        max_frame: underlay.as_ref().ok().map(|way| pseudowire.max_inner(way.mtu)),
        backend: backend(tunnel).to_owned(),
        trouble: gateway.plan.trouble.get(&id).cloned().flatten(),
        fast: match gateway.slots.of(id) {
            Some(slot) => counters(gateway.datapath.counters(slot)?.named()),
            None => Map::new(),
        },
        slow: match kernel {
            Some(kernel) => counters(kernel.stats.named()),
            None => counters(gateway.slow_path.counters(id).named()),
        },
    })
}

/// A session that stays on the kernel's path.
fn kept_status(gateway: &Gateway, kept: &Kept) -> SessionStatus {
    let session = &kept.session;
    let device = gateway.observed.kernel_device(&session.key()).ok().map(|link| link.name.clone());
    SessionStatus {
        session_id: session.session_id,
        tunnel_id: session.tunnel_id,
        peer_session_id: session.peer_session_id,
        peer_tunnel: session.peer_tunnel_id,
        interface: device.or_else(|| session.ifname.clone()).unwrap_or_default(),
        vlan: None,
        cookie: hex(&session.cookie),
        peer_cookie: hex(&session.peer_cookie),
        l2spec_type: session.l2spec.map(l2spec_name),
        seq: session.seq.name().to_owned(),
        max_frame: None,
        backend: "kernel".to_owned(),
        trouble: Some(format!("on the slow path: {}", kept.reason)),
        fast: Map::new(),
        slow: counters(session.stats.named()),
    }
}

fn l2spec_name(l2spec: L2Spec) -> String {
    match l2spec {
        L2Spec::None => "none".to_owned(),
        L2Spec::Default => "default".to_owned(),
    }
}

fn counters(named: impl Iterator<Item = (&'static str, u64)>) -> Map<String, Value> {
    named.map(|(name, count)| (name.to_owned(), count.into())).collect()
}

fn attached(gateway: &Gateway) -> Vec<String> {
    let attached = gateway.hooks.iter().filter(|(_, attached)| attached.is_some());
    attached
        .map(|(hook, _)| {
            let device = gateway.observed.links.get(&hook.ifindex).map_or("?", |link| link.name.as_str());
            let place = match hook.place {
                Place::Xdp => "xdp",
                Place::Ingress => "tc ingress",
                Place::Egress => "tc egress",
            };
            format!("{device}: {} ({place})", hook.program.as_str())
        })
        .collect()
}

fn hex(cookie: &[u8]) -> String {
    cookie.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
