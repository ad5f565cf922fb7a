//! `l2xdp run`: from start to signal.

use crate::config::{Attach, Config};
use crate::gateway::{Gateway, Options};
use crate::plan::{self, Place};
use crate::show::{SessionStatus, Status, TunnelStatus};
use crate::{control, underlay};
use anyhow::{Context, Result, bail};
use futures_util::StreamExt;
use l2xdp_common::pseudowire::{Cookie, L2Spec};
use log::{debug, info};
use rtnetlink::MulticastGroup;
use std::fmt::Write;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval, sleep};

/// Changes to follow.
const GROUPS: [MulticastGroup; 8] = [
    MulticastGroup::Link,
    MulticastGroup::Neigh,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv6Route,
    MulticastGroup::Ipv4Rule,
    MulticastGroup::Ipv6Rule,
];

/// Changes come in bursts: this long we gather them.
const SETTLE: Duration = Duration::from_millis(20);

/// Not everything is announced (a veth's other end, an MTU in a route exception): this often we look anyway.
const LOOK: Duration = Duration::from_millis(500);

/// Runs a configuration until SIGTERM or SIGINT.
///
/// # Errors
/// What kept it from starting; everything is undone then.
pub async fn run(config: Config, options: Options) -> Result<()> {
    check_privileges()?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let listener = control::listen()?;
    let (connection, netlink, mut changes) =
        rtnetlink::new_multicast_connection(&GROUPS).context("can't open rtnetlink")?;
    tokio::spawn(connection);
    let (connection, netdev, _) = genetlink::new_connection().context("can't open generic netlink")?;
    tokio::spawn(connection);

    let mut gateway = Gateway::start(config, options, netlink, netdev).await?;
    info!("ready");
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = look.tick() => gateway.follow().await,
            Some(_) = changes.next() => {
                sleep(SETTLE).await;
                while changes.try_recv().is_ok() {}
                gateway.follow().await;
            }
            Ok((client, _)) = listener.accept() => {
                if let Err(error) = answer(client, &gateway).await {
                    debug!("{error:#}");
                }
            }
        }
    }
    info!("stopping");
    gateway.stop().await;
    Ok(())
}

async fn answer(client: tokio::net::UnixStream, gateway: &Gateway) -> Result<()> {
    control::answer(client, &status(gateway)?).await
}

/// Names the capability that is missing, before the kernel says just "operation not permitted".
fn check_privileges() -> Result<()> {
    /// Of `linux/capability.h`.
    const NEEDED: [(u32, &str); 2] = [(12, "CAP_NET_ADMIN"), (39, "CAP_BPF")];
    const SYS_ADMIN: u32 = 21;
    let status = std::fs::read_to_string("/proc/self/status").context("/proc/self/status")?;
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .context("/proc/self/status: no CapEff")?;
    let has = |bit: u32| effective >> bit & 1 == 1;
    for (bit, name) in NEEDED {
        if !has(bit) && !(name == "CAP_BPF" && has(SYS_ADMIN)) {
            bail!("{name} is missing: run l2xdp as root (sudo l2xdp …), or give it this capability");
        }
    }
    Ok(())
}

fn status(gateway: &Gateway) -> Result<Status> {
    let mut status = Status {
        tunnels: Vec::new(),
        sessions: Vec::new(),
        reasons: gateway
            .datapath
            .reasons()?
            .into_iter()
            .filter(|(_, count)| *count != 0)
            .map(|(reason, count)| (reason.label().to_owned(), count))
            .collect(),
        attached: attached(gateway),
    };
    for tunnel in &gateway.config.tunnels {
        let underlay = underlay::resolve(&gateway.observed, &plan::query(tunnel));
        status.tunnels.push(TunnelStatus {
            tunnel_id: tunnel.tunnel_id,
            encap: "UDP".to_owned(),
            local: tunnel.local,
            peer: tunnel.remote,
            peer_tunnel: tunnel.peer_tunnel_id,
            local_port: tunnel.udp_sport,
            peer_port: tunnel.udp_dport,
            checksum: tunnel.checksum,
            path: match &underlay {
                Ok(way) => {
                    let trouble = way.path.as_ref().err().map(|no| format!(" ({no})")).unwrap_or_default();
                    format!("via {} dev {} mtu {}{trouble}", way.next_hop, way.device, way.mtu)
                }
                Err(no_path) => no_path.to_string(),
            },
            socket: gateway.sockets.counters(tunnel),
        });
        for session in &tunnel.sessions {
            let (interface, vlan) = match &session.attach {
                Attach::Netdev { name, .. } => (name, None),
                Attach::Port { name, vlan } => (name, *vlan),
            };
            let pseudowire = &session.pseudowire;
            let slot = status.sessions.len() as u32;
            let counters = gateway.datapath.counters(slot)?;
            status.sessions.push(SessionStatus {
                session_id: session.session_id,
                tunnel_id: tunnel.tunnel_id,
                peer_session_id: session.peer_session_id,
                peer_tunnel: tunnel.peer_tunnel_id,
                interface: interface.clone(),
                vlan,
                cookie: hex(&pseudowire.cookie),
                peer_cookie: hex(&pseudowire.peer_cookie),
                l2spec_type: match pseudowire.l2spec {
                    L2Spec::None => "none".to_owned(),
                    L2Spec::Default => "default".to_owned(),
                },
                max_frame: underlay.as_ref().ok().map(|way| pseudowire.max_inner(way.mtu)),
                trouble: gateway.plan.trouble.get(&session.session_id).cloned().flatten(),
                counters: counters.named().map(|(name, count)| (name.to_owned(), count.into())).collect(),
            });
        }
    }
    Ok(status)
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
