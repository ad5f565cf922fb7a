//! What the data path should hold, worked out from the configuration and the kernel's tables. Nothing here asks or
//! changes anything.

use crate::config::{Attach, Backend, Config, Encap, Mtu, Session, Tunnel};
use crate::datapath::ProgramName;
use crate::devices::{self, Pair};
use crate::observe::{Link, Observed, RouteQuery};
use crate::reconcile::{Made, SessionKey};
use crate::slots::Slots;
use crate::slow_path::SlowSession;
use crate::underlay::{self, NoPath, Underlay};
use l2xdp_common::pseudowire::{Output, Path, Pseudowire};
use l2xdp_common::session::{Delivery, flag};
use l2xdp_common::wire::Eth;
use l2xdp_common::{AttachKey, RxSession, TxSession};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
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
    /// The map of devices from which frames are delivered.
    pub deliveries: HashMap<u32, Delivery>,
    /// UDP ports of tunnels.
    pub ports: BTreeSet<u16>,
    /// What user space carries of standalone sessions.
    pub slow: Vec<SlowSession>,
    /// By session id: `None`: the fast path has it; otherwise what keeps it from that.
    pub trouble: BTreeMap<u32, Option<String>>,
    /// Something is missing that may come by itself: a route, or a next hop's answer.
    pub waits: bool,
}

/// What the plan is made from, beside what is observed.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// The tunnels and sessions; backends must be settled.
    pub config: &'a Config,
    /// Where XDP is used.
    pub mode: XdpMode,
    /// The devices that messages come in on; none: those that the routes to the peers lead to.
    pub wan: &'a [String],
    /// What we have made, and may change.
    pub made: &'a Made,
    /// Which counters are whose.
    pub slots: &'a Slots,
}

/// A session's devices.
struct Ends<'a> {
    /// The pseudowire's device or the port.
    visible: &'a Link,
    /// The hidden end of a pseudowire's device, or of the pair that a kernel session's frames come by.
    wire: Option<&'a Link>,
    /// The other end of such a pair.
    delivery: Option<&'a Link>,
    /// The kernel's device of the session.
    kernel: Option<&'a Link>,
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

/// What keeps a session from the fast path, whatever the kernel's tables say of the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Obstacle {
    EncapIp,
    Sequenced,
    BoundIpsec,
    Ipsec,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = match self {
            Self::EncapIp => "encap ip",
            Self::Sequenced => "sequence numbers are on",
            Self::BoundIpsec => "an IPsec policy is bound to the tunnel",
            Self::Ipsec => "an IPsec policy covers the tunnel (ip xfrm policy)",
        };
        write!(f, "on the slow path: {reason}")
    }
}

impl Obstacle {
    fn of(tunnel: &Tunnel, session: &Session, observed: &Observed) -> Option<Self> {
        let known = observed.l2tp.sessions.get(&(tunnel.tunnel_id, session.session_id));
        let seq = known.map_or(session.pseudowire.seq, |known| known.seq);
        if tunnel.encap == Encap::Ip {
            return Some(Self::EncapIp);
        }
        if observed.l2tp.tunnels.get(&tunnel.tunnel_id).is_some_and(|tunnel| tunnel.using_ipsec) {
            return Some(Self::BoundIpsec);
        }
        let RouteQuery { local, remote, udp_sport, udp_dport } = query(tunnel);
        let udp = libc::IPPROTO_UDP as u8;
        if observed.policies.covers(local, remote, udp, udp_sport, udp_dport) {
            return Some(Self::Ipsec);
        }
        let sequenced = seq.send || seq.recv || observed.sequenced.contains(&session.session_id);
        sequenced.then_some(Self::Sequenced)
    }
}

/// The kernel sessions whose received frames XDP sends through a pair of devices, by session id. Needs no plan.
pub fn deliveries(config: &Config, mode: XdpMode, observed: &Observed) -> BTreeSet<u32> {
    let mut deliveries = BTreeSet::new();
    let tunnels = config.tunnels.iter().filter(|tunnel| tunnel.backend == Backend::Kernel);
    for tunnel in tunnels.filter(|_| mode != XdpMode::Tc) {
        let sessions = tunnel.sessions.iter().filter(|session| {
            matches!(session.attach, Attach::Netdev { .. })
                && Obstacle::of(tunnel, session, observed).is_none()
        });
        deliveries.extend(sessions.map(|session| session.session_id));
    }
    deliveries
}

/// Works out the plan.
pub fn plan(wish: &Wish<'_>, observed: &Observed) -> Plan {
    let mut plan = Plan::default();
    if let Some(splitter) = observed.link(Pair::SPLITTER.wire) {
        plan.hook(splitter, Place::Ingress, ProgramName::TcSplit);
    }
    for tunnel in &wish.config.tunnels {
        let line = Line::new(wish, tunnel, observed);
        line.add_wan(&mut plan);
        for session in &tunnel.sessions {
            let trouble = line.add(&mut plan, session);
            plan.trouble.insert(session.session_id, trouble.err());
        }
    }
    plan
}

/// A tunnel and the way to its peer.
struct Line<'a> {
    wish: &'a Wish<'a>,
    tunnel: &'a Tunnel,
    observed: &'a Observed,
    underlay: Result<Underlay, NoPath>,
    /// Nobody finishes what is sent that way.
    as_they_are: bool,
    /// Where messages come in.
    wans: Vec<&'a Link>,
}

impl<'a> Line<'a> {
    fn new(wish: &'a Wish<'a>, tunnel: &'a Tunnel, observed: &'a Observed) -> Self {
        let underlay = underlay::resolve(observed, &query(tunnel));
        let out = underlay.as_ref().ok().and_then(|underlay| observed.links.get(&underlay.ifindex));
        let as_they_are = out.is_some_and(|wan| observed.hands_over(wan));
        let wans = if wish.wan.is_empty() {
            out.into_iter().collect()
        } else {
            wish.wan.iter().filter_map(|name| observed.link(name)).collect()
        };
        Self { wish, tunnel, observed, underlay, as_they_are, wans }
    }

    fn add_wan(&self, plan: &mut Plan) {
        // What the kernel keeps for itself needs none of our programs.
        let idle = self.tunnel.backend == Backend::Kernel && self.tunnel.sessions.is_empty();
        if self.tunnel.encap == Encap::Ip || idle {
            return;
        }
        plan.ports.insert(self.tunnel.udp_sport);
        if let Ok(underlay) = &self.underlay {
            plan.next_hops.insert((underlay.ifindex, underlay.next_hop));
        }
        for wan in self.wans.iter().filter(|wan| wan.mac.is_some()) {
            plan.hook(wan, Place::Ingress, ProgramName::TcDecap);
            if self.wish.mode != XdpMode::Tc {
                plan.hook(wan, Place::Xdp, ProgramName::XdpDecap);
            }
        }
    }

    fn add(&self, plan: &mut Plan, session: &Session) -> Result<(), String> {
        let kernel = self.tunnel.backend == Backend::Kernel;
        let ends = ends(self.tunnel, session, self.observed)?;
        let slot = self.wish.slots.of(session.session_id);
        let slot = slot.ok_or("there is no room in the maps: restart l2xdp, which makes them larger")?;
        if self.underlay.as_ref().is_ok_and(|underlay| underlay.ifindex == ends.visible.ifindex) {
            let name = &ends.visible.name;
            return Err(format!("{name} is itself the way to the peer: route the tunnel by another device"));
        }
        let obstacle = Obstacle::of(self.tunnel, session, self.observed);
        let mut pseudowire = self.pseudowire(session);
        let path = self.underlay.as_ref().ok().and_then(|underlay| underlay.path.as_ref().ok());
        // User space gets from the programs what it is to carry; the kernel's driver has its own device.
        if !kernel {
            self.add_slow(plan, session, &pseudowire, &ends, slot);
            // The programs know what to leave to it.
            pseudowire.seq.send |= obstacle == Some(Obstacle::Sequenced);
        }
        let fast = obstacle.is_none() || !kernel && obstacle == Some(Obstacle::Sequenced);
        if let (Some(port), Some(device)) = (ends.port(), ends.kernel) {
            plan.hook(device, Place::Ingress, ProgramName::TcDeliver);
            plan.deliveries.insert(device.ifindex, Delivery::to_port(port.ifindex, pseudowire.vlan));
        }
        if !kernel || fast || ends.port().is_some() {
            self.add_tx(plan, &pseudowire, slot, &ends, path.filter(|_| fast));
        }
        if fast {
            self.add_rx(plan, session, &pseudowire, slot, &ends, path);
        }
        // The kernel's driver knows what fits behind which headers.
        if !kernel || obstacle.is_none() {
            self.follow_mtu(plan, session, &ends)?;
        }
        if let Some(obstacle) = obstacle {
            return Err(obstacle.to_string());
        }
        let (Err(no_path) | Ok(Underlay { path: Err(no_path), .. })) = &self.underlay else { return Ok(()) };
        plan.waits = true;
        Err(no_path.to_string())
    }

    /// With the TTL that the kernel gives its own packets, unless another is asked for.
    fn pseudowire(&self, session: &Session) -> Pseudowire {
        let route = self.observed.routes.get(&query(self.tunnel)).and_then(|route| route.as_ref().ok());
        let ttl = self.tunnel.ttl.or(route.map(|route| route.ttl)).unwrap_or(session.pseudowire.ttl);
        Pseudowire { ttl, ..session.pseudowire }
    }

    fn path_mtu(&self) -> u32 {
        self.underlay.as_ref().map_or(DEFAULT_PATH_MTU, |underlay| underlay.mtu)
    }

    fn add_slow(
        &self,
        plan: &mut Plan,
        session: &Session,
        pseudowire: &Pseudowire,
        ends: &Ends<'_>,
        slot: u32,
    ) {
        plan.slow.push(SlowSession {
            session_id: session.session_id,
            slot,
            pseudowire: *pseudowire,
            output: ends.wire.unwrap_or(ends.visible).ifindex,
            path_mtu: self.path_mtu(),
        });
    }

    fn add_tx(
        &self,
        plan: &mut Plan,
        pseudowire: &Pseudowire,
        slot: u32,
        ends: &Ends<'_>,
        path: Option<&Path>,
    ) {
        let flags = if let Some(port) = ends.port() {
            plan.add_port(port, self.wish.mode)
        } else {
            plan.hook(ends.visible, Place::Egress, ProgramName::TcEncap);
            0
        };
        let as_they_are = path.is_some() && self.as_they_are;
        let unreachable = path.is_some_and(|path| !self.observed.xdp_xmit(path.ifindex));
        let vlan = pseudowire.vlan.map_or(AttachKey::ALL_VLANS, u32::from);
        let slow_ifindex = ends.kernel.map_or(0, |device| device.ifindex);
        let flags = flags | choose(flag::VIA_TC, unreachable) | choose(flag::FINISH, as_they_are);
        let tx = pseudowire.tx(slot, path, slow_ifindex, flags);
        plan.tx.insert(AttachKey { ifindex: ends.visible.ifindex, vlan }, tx);
    }

    fn add_rx(
        &self,
        plan: &mut Plan,
        session: &Session,
        pseudowire: &Pseudowire,
        slot: u32,
        ends: &Ends<'_>,
        path: Option<&Path>,
    ) {
        let ifindex = ends.visible.ifindex;
        let mut via_tc = !self.observed.xdp_xmit(ends.xdp_output().ifindex);
        let output = if let Some(port) = ends.port() {
            Output::Port { ifindex, mtu: port.mtu }
        } else if let (Some(wire), Some(delivery)) = (ends.wire, ends.delivery) {
            plan.hook(delivery, Place::Ingress, ProgramName::TcDeliver);
            plan.deliveries.insert(delivery.ifindex, Delivery::into_device(ifindex));
            Output::Netdev { ifindex, wire_ifindex: wire.ifindex, mtu: delivery.mtu }
        } else {
            // Without a pair of devices (a kernel session that XDP is not used for) there is only TC's way.
            via_tc |= ends.wire.is_none();
            let wire_ifindex = ends.wire.map_or(ifindex, |wire| wire.ifindex);
            Output::Netdev { ifindex, wire_ifindex, mtu: ends.visible.mtu }
        };
        let from = self.wans.iter().fold(0, |flags, wan| flags | checksum_flags(wan, self.wish.mode));
        let rx = pseudowire.rx(slot, path, output, choose(flag::VIA_TC, via_tc) | from);
        plan.rx.insert(session.session_id, rx);
    }

    /// The MTU of a device of ours follows the path's, unless it is a cause of it: a bridge's MTU is the least of its
    /// ports'.
    fn follow_mtu(&self, plan: &mut Plan, session: &Session, ends: &Ends<'_>) -> Result<(), String> {
        let Ok(underlay) = &self.underlay else { return Ok(()) };
        let key: SessionKey = (self.tunnel.tunnel_id, session.session_id);
        let ours = self.tunnel.backend != Backend::Kernel || self.wish.made.sessions.contains_key(&key);
        if session.mtu != Mtu::Auto || ends.port().is_some() || !ours {
            return Ok(());
        }
        let mtu = device_mtu(session, Some(underlay.mtu));
        if mtu < MIN_MTU {
            return Err(format!(
                "the path to the peer, of MTU {}, is too small to hold a frame",
                underlay.mtu
            ));
        }
        if ends.visible.controller != Some(underlay.ifindex) {
            plan.mtus.insert(ends.visible.ifindex, mtu);
        }
        Ok(())
    }
}

impl Plan {
    fn hook(&mut self, link: &Link, place: Place, program: ProgramName) {
        self.hooks.insert(Hook { ifindex: link.ifindex, place, program });
    }

    /// The hooks of a port, and the flags of what is sent from it.
    fn add_port(&mut self, port: &Link, mode: XdpMode) -> u32 {
        self.promiscuous.insert(port.ifindex);
        self.hook(port, Place::Ingress, ProgramName::TcEncap);
        // Tags that are handed over beside the frame XDP can't see, and would lose.
        let tags_beside = port.veth || port.rx_vlan_offload;
        let xdp = mode == XdpMode::Native || mode == XdpMode::Auto && !tags_beside;
        if xdp {
            self.hook(port, Place::Xdp, ProgramName::XdpEncap);
        }
        checksum_flags(port, mode)
    }
}

/// The devices that frames would be sent to from XDP.
pub fn outputs(config: &Config, observed: &Observed) -> BTreeSet<u32> {
    let mut outputs = BTreeSet::new();
    for tunnel in &config.tunnels {
        outputs.extend(underlay::resolve(observed, &query(tunnel)).ok().map(|underlay| underlay.ifindex));
        let ends = tunnel.sessions.iter().filter_map(|session| ends(tunnel, session, observed).ok());
        outputs.extend(ends.map(|ends| ends.xdp_output().ifindex));
    }
    outputs
}

impl Ends<'_> {
    /// Where XDP sends decapsulated frames.
    fn xdp_output(&self) -> &Link {
        self.wire.unwrap_or(self.visible)
    }

    /// The port, of a session that has one.
    fn port(&self) -> Option<&Link> {
        let own = self.kernel.map_or(self.wire.is_some(), |device| device.ifindex == self.visible.ifindex);
        (!own).then_some(self.visible)
    }
}

fn ends<'a>(tunnel: &Tunnel, session: &Session, observed: &'a Observed) -> Result<Ends<'a>, String> {
    let id = session.session_id;
    let kernel = if tunnel.backend == Backend::Kernel {
        Some(observed.kernel_device(&(tunnel.tunnel_id, id))?)
    } else {
        None
    };
    match (&session.attach, kernel) {
        (Attach::Port { name, .. }, kernel) => {
            let port = observed.link(name).ok_or_else(|| format!("interface {name} is gone"))?;
            Ok(Ends { visible: port, wire: None, delivery: None, kernel })
        }
        (Attach::Netdev { .. }, Some(device)) => Ok(Ends {
            visible: device,
            wire: observed.link(&devices::wire_name(id)),
            delivery: observed.link(&devices::delivery_name(id)),
            kernel,
        }),
        (Attach::Netdev { name, .. }, None) => {
            let wire = observed.link(&devices::wire_name(id));
            let visible = observed.links.netdev_of(id);
            let (visible, wire) = visible.zip(wire).ok_or_else(|| {
                let name = name.as_deref().unwrap_or("its device");
                format!("{name} is gone: reload (SIGHUP) or restart l2xdp to make it again")
            })?;
            Ok(Ends { visible, wire: Some(wire), delivery: None, kernel })
        }
    }
}

/// The network device of a session that has one, whatever it is called by now.
pub fn netdev<'a>(tunnel: &Tunnel, session: &Session, observed: &'a Observed) -> Option<&'a Link> {
    ends(tunnel, session, observed).ok().filter(|ends| ends.port().is_none()).map(|ends| ends.visible)
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
