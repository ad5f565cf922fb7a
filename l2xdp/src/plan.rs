//! What the data path should hold, worked out from the configuration and the kernel's tables. Nothing here asks or
//! changes anything.

use crate::config::{Attach, Config, Mtu, Session, Tunnel};
use crate::datapath::ProgramName;
use crate::devices::{self, Pair};
use crate::observe::{Link, Observed, RouteQuery};
use crate::underlay::{self, NoPath, Underlay};
use l2xdp_common::pseudowire::{Output, Path};
use l2xdp_common::session::flag;
use l2xdp_common::wire::Eth;
use l2xdp_common::{AttachKey, RxSession, TxSession};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

/// Where XDP is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum XdpMode {
    /// In the driver where it can be, TC elsewhere.
    #[default]
    Auto,
    /// In the driver, or not at all: what can't attach is an error. On veth ports too, whose frames may carry VLAN
    /// tags that XDP can't see.
    Native,
    /// Nowhere: TC alone.
    Tc,
}

/// Where a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// XDP in the driver.
    Xdp,
    /// TC on the way in.
    Ingress,
    /// TC on the way out.
    Egress,
}

/// A program to be attached to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hook {
    /// The device.
    pub ifindex: u32,
    /// Where on it.
    pub place: Place,
    /// The program.
    pub program: ProgramName,
}

/// What the data path should hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Programs to be attached.
    pub hooks: BTreeSet<Hook>,
    /// Ports that must take frames for every MAC.
    pub promiscuous: BTreeSet<u32>,
    /// Next hops whose MACs must be kept known.
    pub next_hops: BTreeSet<(u32, IpAddr)>,
    /// MTUs of pseudowire devices that follow the path's.
    pub mtus: BTreeMap<u32, u32>,
    /// The map of transmitting sessions.
    pub tx: HashMap<AttachKey, TxSession>,
    /// The map of receiving sessions.
    pub rx: HashMap<u32, RxSession>,
    /// By session id: `None`: frames flow; otherwise what keeps them from it.
    pub trouble: BTreeMap<u32, Option<String>>,
}

/// A session's devices.
struct Ends<'a> {
    /// The pseudowire's device or the port.
    visible: &'a Link,
    /// The hidden end of a pseudowire's device.
    wire: Option<&'a Link>,
}

/// The question that a tunnel asks of the routing table.
pub const fn query(tunnel: &Tunnel) -> RouteQuery {
    let Tunnel { local, remote, udp_sport, udp_dport, .. } = *tunnel;
    RouteQuery { local, remote, udp_sport, udp_dport }
}

/// The path MTU to reckon with while there is no route, in bytes.
pub const DEFAULT_PATH_MTU: u32 = 1500;

/// The least MTU of an Ethernet device (`ETH_MIN_MTU`), in bytes.
const MIN_MTU: u32 = 68;

/// The MTU of a pseudowire's device: what fits the path, without the inner Ethernet header (`l2tp_eth_adjust_mtu`).
pub fn device_mtu(session: &Session, path_mtu: Option<u32>) -> u32 {
    match session.mtu {
        Mtu::Fixed(mtu) => mtu.into(),
        Mtu::Auto => {
            let max_inner = session.pseudowire.max_inner(path_mtu.unwrap_or(DEFAULT_PATH_MTU));
            u32::from(max_inner).saturating_sub(Eth::LEN as u32)
        }
    }
}

/// Works out the plan. Sessions have their counters' slots in the configuration's order.
pub fn plan(config: &Config, mode: XdpMode, observed: &Observed) -> Plan {
    let mut plan = Plan::default();
    if let Some(splitter) = observed.link(Pair::SPLITTER.wire) {
        plan.hooks.insert(Hook {
            ifindex: splitter.ifindex,
            place: Place::Ingress,
            program: ProgramName::TcSplit,
        });
    }
    let mut slot = 0;
    for tunnel in &config.tunnels {
        let underlay = underlay::resolve(observed, &query(tunnel));
        if let Ok(underlay) = &underlay {
            plan.next_hops.insert((underlay.ifindex, underlay.next_hop));
            plan.hooks.insert(Hook {
                ifindex: underlay.ifindex,
                place: Place::Ingress,
                program: ProgramName::TcDecap,
            });
            if mode != XdpMode::Tc {
                plan.hooks.insert(Hook {
                    ifindex: underlay.ifindex,
                    place: Place::Xdp,
                    program: ProgramName::XdpDecap,
                });
            }
        }
        for session in &tunnel.sessions {
            let trouble = plan.add(session, slot, mode, observed, underlay.as_ref());
            plan.trouble.insert(session.session_id, trouble.err());
            slot += 1;
        }
    }
    plan
}

impl Plan {
    fn add(
        &mut self,
        session: &Session,
        slot: u32,
        mode: XdpMode,
        observed: &Observed,
        underlay: Result<&Underlay, &NoPath>,
    ) -> Result<(), String> {
        let ends = ends(session, observed)?;
        if underlay.is_ok_and(|underlay| underlay.ifindex == ends.visible.ifindex) {
            let name = &ends.visible.name;
            return Err(format!("{name} is itself the way to the peer: route the tunnel by another device"));
        }
        let path = underlay.ok().and_then(|underlay| underlay.path.as_ref().ok());
        let wan = underlay.ok().and_then(|underlay| observed.links.get(&underlay.ifindex));
        self.add_tx(session, slot, mode, observed, &ends, path);
        let output = match ends.wire {
            Some(wire) => Output::Netdev {
                ifindex: ends.visible.ifindex,
                wire_ifindex: wire.ifindex,
                mtu: ends.visible.mtu,
            },
            None => Output::Port { ifindex: ends.visible.ifindex, mtu: ends.visible.mtu },
        };
        let flags = choose(flag::VIA_TC, !observed.xdp_xmit(ends.xdp_output().ifindex))
            | wan.map_or(0, |wan| checksum_flags(wan, mode));
        self.rx.insert(session.session_id, session.pseudowire.rx(slot, path, output, flags));
        if let (Mtu::Auto, Some(_), Ok(underlay)) = (session.mtu, ends.wire, underlay) {
            self.follow_mtu(session, ends.visible, underlay)?;
        }
        match underlay {
            Ok(Underlay { path: Ok(_), .. }) => Ok(()),
            Ok(Underlay { path: Err(no_path), .. }) => Err(no_path.to_string()),
            Err(no_path) => Err(no_path.to_string()),
        }
    }

    /// The device's MTU follows the path's, unless it is a cause of it: a bridge's MTU is the least of its ports'.
    fn follow_mtu(&mut self, session: &Session, device: &Link, underlay: &Underlay) -> Result<(), String> {
        let mtu = device_mtu(session, Some(underlay.mtu));
        if mtu < MIN_MTU {
            return Err(format!(
                "the path to the peer, of MTU {}, is too small to hold a frame",
                underlay.mtu
            ));
        }
        if device.controller != Some(underlay.ifindex) {
            self.mtus.insert(device.ifindex, mtu);
        }
        Ok(())
    }

    fn add_tx(
        &mut self,
        session: &Session,
        slot: u32,
        mode: XdpMode,
        observed: &Observed,
        ends: &Ends<'_>,
        path: Option<&Path>,
    ) {
        let ifindex = ends.visible.ifindex;
        let flags = match ends.wire {
            Some(_) => {
                self.hooks.insert(Hook { ifindex, place: Place::Egress, program: ProgramName::TcEncap });
                0
            }
            None => self.add_port(ends.visible, mode),
        };
        let unreachable = path.is_some_and(|path| !observed.xdp_xmit(path.ifindex));
        let vlan = session.pseudowire.vlan.map_or(AttachKey::ALL_VLANS, u32::from);
        let tx = session.pseudowire.tx(slot, path, 0, flags | choose(flag::VIA_TC, unreachable));
        self.tx.insert(AttachKey { ifindex, vlan }, tx);
    }

    /// The hooks of a port, and the flags of what is sent from it.
    fn add_port(&mut self, port: &Link, mode: XdpMode) -> u32 {
        let ifindex = port.ifindex;
        self.promiscuous.insert(ifindex);
        self.hooks.insert(Hook { ifindex, place: Place::Ingress, program: ProgramName::TcEncap });
        // Tags that are handed over beside the frame XDP can't see, and would lose.
        let tags_beside = port.veth || port.rx_vlan_offload;
        let xdp = mode == XdpMode::Native || mode == XdpMode::Auto && !tags_beside;
        if xdp {
            self.hooks.insert(Hook { ifindex, place: Place::Xdp, program: ProgramName::XdpEncap });
        }
        checksum_flags(port, mode)
    }
}

/// The devices that frames would be sent to from XDP.
pub fn outputs(config: &Config, observed: &Observed) -> BTreeSet<u32> {
    let mut outputs = BTreeSet::new();
    for tunnel in &config.tunnels {
        outputs.extend(underlay::resolve(observed, &query(tunnel)).ok().map(|underlay| underlay.ifindex));
        let ends = tunnel.sessions.iter().filter_map(|session| ends(session, observed).ok());
        outputs.extend(ends.map(|ends| ends.xdp_output().ifindex));
    }
    outputs
}

impl Ends<'_> {
    /// Where XDP sends decapsulated frames.
    fn xdp_output(&self) -> &Link {
        self.wire.unwrap_or(self.visible)
    }
}

fn ends<'a>(session: &Session, observed: &'a Observed) -> Result<Ends<'a>, String> {
    let find = |name: &str| observed.link(name).ok_or_else(|| format!("interface {name} is gone"));
    let made = |name: &str| find(name).map_err(|gone| format!("{gone}: restart l2xdp to make it again"));
    match &session.attach {
        Attach::Netdev { name, .. } => {
            let name = name.as_deref().unwrap_or_default();
            Ok(Ends { visible: made(name)?, wire: Some(made(&devices::wire_name(session.session_id))?) })
        }
        Attach::Port { name, .. } => Ok(Ends { visible: find(name)?, wire: None }),
    }
}

/// What XDP must be wary of in frames from a device. Told to insist, it lets pass what can't be judged.
fn checksum_flags(from: &Link, mode: XdpMode) -> u32 {
    choose(flag::UNFINISHED, from.veth) | choose(flag::UNKNOWN, from.veth && mode != XdpMode::Native)
}

/// The ports of all sessions.
pub fn ports(config: &Config) -> HashSet<&str> {
    let sessions = config.tunnels.iter().flat_map(|tunnel| &tunnel.sessions);
    let ports = sessions.filter_map(|session| match &session.attach {
        Attach::Port { name, .. } => Some(name.as_str()),
        Attach::Netdev { .. } => None,
    });
    ports.collect()
}

const fn choose(flag: u32, on: bool) -> u32 {
    if on { flag } else { 0 }
}
