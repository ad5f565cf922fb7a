//! What the loader would plan for a vector's file.

use super::vector::{Direction, Driver, File, Hook, Vector, Wan};
use l2xdp::config::{Attach, Backend};
use l2xdp::devices::wire_name;
use l2xdp::observe::{Link, Neighbour, Observed, Route};
use l2xdp::plan::{self, Plan, Wish, XdpMode};
use l2xdp::reconcile::Made;
use l2xdp::slots::Slots;
use l2xdp_common::RxSession;
use l2xdp_common::session::flag;
use std::collections::BTreeSet;

/// The device that programs run on. Test runs know no other than the loopback.
pub const ATTACHED: u32 = 1;
/// The hidden end of a pseudowire's device.
const WIRE: u32 = 2;
/// The WAN device.
const WAN: u32 = 3;
/// The kernel's device, where it is another.
const DRIVER: u32 = 4;

/// The maps' content, and what to call its parts.
#[derive(Debug)]
pub struct World {
    /// The maps' content.
    pub plan: Plan,
    /// Our tunnels' UDP ports.
    pub ports: BTreeSet<u16>,
    /// Session ids, by the slots of their counters.
    pub sessions: Vec<u32>,
    /// The file's first session.
    first: u32,
    /// Where the kernel's driver is that carries what the programs don't.
    pub driver: Option<Driver>,
    attach: Attach,
}

/// Where a frame is redirected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The device.
    pub ifindex: u32,
    /// As if it had come in there.
    pub ingress: bool,
}

impl World {
    /// Of a file.
    pub fn new(file: &File) -> Result<Self, String> {
        let sessions = || file.config.tunnels.iter().flat_map(|tunnel| &tunnel.sessions);
        let first = sessions().next().ok_or("no session")?;
        let attach = first.attach.clone();
        let ids: BTreeSet<_> = sessions().map(|session| session.session_id).collect();
        let mut slots = Slots::new(ids.len() as u32);
        slots.follow(&ids);
        let mut config = file.config.clone();
        config.tunnels.iter_mut().for_each(|tunnel| tunnel.backend = Backend::Standalone);
        let wish =
            Wish { config: &config, mode: XdpMode::Auto, wan: &[], made: &Made::default(), slots: &slots };
        let mut plan = plan::plan(&wish, &observed(file, &attach));
        for tx in plan.tx.values_mut() {
            tx.slow_ifindex = match file.device.driver {
                Some(Driver::Here) => ATTACHED,
                Some(Driver::Elsewhere) => DRIVER,
                None => 0,
            };
        }
        Ok(Self {
            plan,
            driver: file.device.driver,
            ports: file.config.tunnels.iter().map(|tunnel| tunnel.udp_sport).collect(),
            sessions: ids.into_iter().collect(),
            first: first.session_id,
            attach,
        })
    }

    /// The id of the session whose counters move.
    pub fn session(&self, vector: &Vector) -> u32 {
        vector.session.unwrap_or(self.first)
    }

    /// Is the vector about a received frame that gets the tag of its session?
    pub fn puts_tag_on(&self, vector: &Vector) -> bool {
        let rx = &self.plan.rx[&self.session(vector)];
        vector.direction == Direction::Decap && rx.has(flag::RETAG)
    }

    /// What a hook makes of the name of a device: XDP sends to the hidden end of a pseudowire's, TC lets come in.
    pub fn target(&self, hook: Hook, name: &str) -> Result<Target, String> {
        if name == "wan" {
            return Ok(Target { ifindex: WAN, ingress: false });
        }
        match (&self.attach, hook) {
            (Attach::Port { name: port, .. }, _) if port == name => {
                Ok(Target { ifindex: ATTACHED, ingress: false })
            }
            (Attach::Netdev { name: netdev, .. }, Hook::Xdp) if netdev.as_deref() == Some(name) => {
                Ok(Target { ifindex: WIRE, ingress: false })
            }
            (Attach::Netdev { name: netdev, .. }, Hook::Tc | Hook::Split)
                if netdev.as_deref() == Some(name) =>
            {
                Ok(Target { ifindex: ATTACHED, ingress: true })
            }
            _ => Err(format!("there is no device {name}")),
        }
    }
}

fn observed(file: &File, attach: &Attach) -> Observed {
    let (wan, device) = (&file.wan, &file.device);
    let mut observed = Observed::default();
    let mut add = |link: Link| observed.links.insert(link.ifindex, link);
    let Wan { mac, mtu, veth, tx_checksum, .. } = *wan;
    add(Link { mac: Some(mac), mtu, veth, tx_checksum, ..link(WAN, "wan") });
    let name = match attach {
        Attach::Netdev { name, .. } => name.as_deref().unwrap_or_default(),
        Attach::Port { name, .. } => name,
    };
    let mut attached = Link { mtu: device.mtu, veth: device.veth, ..link(ATTACHED, name) };
    let mut output = ATTACHED;
    if let Attach::Netdev { .. } = attach {
        output = WIRE;
        for session in file.config.tunnels.iter().flat_map(|tunnel| &tunnel.sessions) {
            let alias = Some(format!("l2xdp session {}", session.session_id));
            attached = Link { veth: true, alias, ..attached };
            add(Link { mtu: device.mtu, ..link(WIRE, &wire_name(session.session_id)) });
        }
    }
    add(attached);
    if !wan.xdp_xmit {
        observed.no_xdp_xmit.insert(WAN);
    }
    if !device.xdp_xmit {
        observed.no_xdp_xmit.insert(output);
    }
    for tunnel in &file.config.tunnels {
        let route = Route { ifindex: WAN, gateway: None, mtu: None, local: false, ttl: 64 };
        observed.routes.insert(plan::query(tunnel), Ok(route));
        let neighbour = Neighbour { mac: wan.next_hop, managed: true, ..Neighbour::default() };
        observed.neighbours.insert((WAN, tunnel.remote), neighbour);
    }
    observed
}

fn link(ifindex: u32, name: &str) -> Link {
    Link {
        ifindex,
        name: name.to_owned(),
        mac: Some([2, 0, 0, 0, 0, 1]),
        mtu: 1500,
        running: true,
        ..Link::default()
    }
}

/// Where a hook sends what a session received.
pub fn rx_target(rx: &RxSession, hook: Hook) -> Target {
    match hook {
        Hook::Xdp => Target { ifindex: rx.xdp_ifindex, ingress: false },
        Hook::Tc | Hook::Split => Target { ifindex: rx.tc_ifindex, ingress: rx.has(flag::INGRESS) },
    }
}
