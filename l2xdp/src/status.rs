//! What a running gateway has to show.

use crate::config::{Attach, Session, Tunnel};
use crate::gateway::Gateway;
use crate::plan::{self, Place};
use crate::show::{SessionStatus, Status, TunnelStatus};
use crate::underlay::{self, NoPath, Underlay};
use anyhow::Result;
use l2xdp_common::pseudowire::{Cookie, L2Spec};
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
            let slot = status.sessions.len() as u32;
            status.sessions.push(session_status(gateway, tunnel, session, slot, &underlay)?);
        }
    }
    Ok(status)
}

fn tunnel_status(gateway: &Gateway, tunnel: &Tunnel, underlay: &Result<Underlay, NoPath>) -> TunnelStatus {
    TunnelStatus {
        tunnel_id: tunnel.tunnel_id,
        encap: "UDP".to_owned(),
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
        socket: gateway.slow_path.socket_counters(tunnel),
    }
}

fn session_status(
    gateway: &Gateway,
    tunnel: &Tunnel,
    session: &Session,
    slot: u32,
    underlay: &Result<Underlay, NoPath>,
) -> Result<SessionStatus> {
    let (interface, vlan) = match &session.attach {
        Attach::Netdev { name, .. } => (name.clone().unwrap_or_default(), None),
        Attach::Port { name, vlan } => (name.clone(), *vlan),
    };
    let pseudowire = &session.pseudowire;
    Ok(SessionStatus {
        session_id: session.session_id,
        tunnel_id: tunnel.tunnel_id,
        peer_session_id: session.peer_session_id,
        peer_tunnel: tunnel.peer_tunnel_id,
        interface,
        vlan,
        cookie: hex(&pseudowire.cookie),
        peer_cookie: hex(&pseudowire.peer_cookie),
        l2spec_type: match pseudowire.l2spec {
            L2Spec::None => "none".to_owned(),
            L2Spec::Default => "default".to_owned(),
        },
        max_frame: underlay.as_ref().ok().map(|way| pseudowire.max_inner(way.mtu)),
        trouble: gateway.plan.trouble.get(&session.session_id).cloned().flatten(),
        counters: gateway
            .datapath
            .counters(slot)?
            .named()
            .map(|(name, count)| (name.to_owned(), count.into()))
            .collect(),
    })
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

fn hex(cookie: &Cookie) -> String {
    cookie.bytes().iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
