//! What the kernel says of links, neighbours and routes, in the few words the rest needs.

use crate::config::Config;
use crate::l2tp::{KernelSession, L2tp, L2tpState};
use crate::links::Links;
use crate::plan::{self, XdpMode};
use crate::reconcile::SessionKey;
use crate::xfrm::{self, Policies};
use crate::{adopt, devices, netlink, sys, xdp_features};
use anyhow::{Context, Result};
use futures_util::TryStreamExt;
use genetlink::GenetlinkHandle;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::link::{
    InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage, LinkXdp,
};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourExtFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteMetric, RouteType, RouteVia,
};
use rtnetlink::{Handle, LinkGetRequest, RouteMessageBuilder};
use std::collections::{HashMap, HashSet};
use std::fs;
use std::net::IpAddr;

/// A network device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Its index.
    pub ifindex: u32,
    /// Its name.
    pub name: String,
    /// Its MAC; `None`: not an Ethernet device.
    pub mac: Option<[u8; 6]>,
    /// Its MTU, in bytes of IP packet.
    pub mtu: u32,
    /// Administratively up, with a carrier.
    pub running: bool,
    /// A veth.
    pub veth: bool,
    /// The index of a veth's other end, in whichever namespace; of what is on top of a device (VLAN, macvlan), of that.
    pub peer: Option<u32>,
    /// A bridge.
    pub bridge: bool,
    /// The bridge or bond it is a port of.
    pub controller: Option<u32>,
    /// It hands tags over beside the frame (`ethtool -K … rxvlan`). Known of ports only.
    pub rx_vlan_offload: bool,
    /// It leaves checksums to its hardware (`ethtool -k`, `tx-checksumming`). Known of veths only, which have none.
    pub tx_checksum: bool,
    /// The id of the XDP program it runs.
    pub xdp: Option<u32>,
    /// `ip link set … alias`.
    pub alias: Option<String>,
    /// It is of a kind (`ip -d link`), or there is hardware behind it: not a device of the kernel's L2TP, which has neither.
    pub of_a_kind: bool,
}

/// A neighbour's state and MAC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Neighbour {
    /// Its MAC, if it has answered.
    pub mac: Option<[u8; 6]>,
    /// Set by an administrator: not to be touched.
    pub permanent: bool,
    /// It was asked in vain, and is left alone for a while.
    pub failed: bool,
    /// Kept resolved by the kernel.
    pub managed: bool,
    /// Managed at our word: this run's, or a killed one's.
    pub ours: bool,
}

/// The kernel's answer to `ip route get`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The device.
    pub ifindex: u32,
    /// The gateway; `None`: the destination is on the link.
    pub gateway: Option<IpAddr>,
    /// The route's own MTU (`mtu` in `ip route`), in bytes.
    pub mtu: Option<u32>,
    /// The address is this host's.
    pub local: bool,
    /// The TTL or hop limit that the kernel gives packets on this way.
    pub ttl: u8,
}

/// What to ask the routing table for one tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RouteQuery {
    /// Source address.
    pub local: IpAddr,
    /// Destination address.
    pub remote: IpAddr,
    /// UDP source port.
    pub udp_sport: u16,
    /// UDP destination port.
    pub udp_dport: u16,
}

/// A picture of the kernel's tables.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// All devices, by index.
    pub links: Links,
    /// All neighbours, by device and address.
    pub neighbours: HashMap<(u32, IpAddr), Neighbour>,
    /// The routes asked for; the kernel's words where there is none.
    pub routes: HashMap<RouteQuery, Result<Route, String>>,
    /// Devices that frames can't be redirected to from XDP.
    pub no_xdp_xmit: HashSet<u32>,
    /// The kernel's own tunnels and sessions.
    pub l2tp: L2tpState,
    /// The devices of its sessions.
    pub kernel_devices: HashMap<SessionKey, u32>,
    /// Standalone sessions whose peer has switched sequence numbers on.
    pub sequenced: HashSet<u32>,
    /// What IPsec is to be used for.
    pub policies: Policies,
}

impl Observed {
    /// The device of a name.
    pub fn link(&self, name: &str) -> Option<&Link> {
        self.links.named(name)
    }

    /// The device of a session of the kernel's.
    ///
    /// # Errors
    /// There is none in sight.
    pub fn kernel_device(&self, key: &SessionKey) -> Result<&Link, String> {
        if let Some(link) = self.kernel_devices.get(key).and_then(|ifindex| self.links.get(ifindex)) {
            return Ok(link);
        }
        let session = self.l2tp.sessions.get(key).ok_or("the kernel has no such session any more")?;
        let name = session.ifname.as_deref().unwrap_or("?");
        Err(format!("its device, {name} when it was made, is not in this namespace, or was renamed"))
    }

    /// Do frames sent out of this device reach another as they are, with unfinished checksums and unsplit? A veth hands
    /// them over so, and what is on top of one (VLAN, macvlan, bridge, bond) leaves the work to it.
    pub fn hands_over(&self, link: &Link) -> bool {
        /// More devices than anyone stacks.
        const DEPTH: u32 = 8;
        self.hands_over_within(link, DEPTH)
    }

    fn hands_over_within(&self, link: &Link, depth: u32) -> bool {
        if link.veth || depth == 0 {
            return link.tx_checksum;
        }
        let below = link.peer.and_then(|index| self.links.get(&index));
        below
            .into_iter()
            .chain(self.links.ports(link.ifindex))
            .any(|below| self.hands_over_within(below, depth - 1))
    }

    /// Can XDP send frames out of this device?
    pub fn xdp_xmit(&self, ifindex: u32) -> bool {
        !self.no_xdp_xmit.contains(&ifindex)
    }
}

/// Where the kernel is asked.
pub struct Observer {
    /// Links, addresses, routes, neighbours.
    pub netlink: Handle,
    /// Who takes frames from XDP.
    pub netdev: GenetlinkHandle,
    /// The kernel's L2TP, if it has one and it is wanted.
    pub l2tp: Option<L2tp>,
}

impl Observer {
    /// Opens the sockets, in this thread's network namespace; the kernel's L2TP only if it is wanted.
    ///
    /// # Errors
    /// The kernel's.
    pub async fn open(wants_l2tp: bool) -> Result<Self> {
        let l2tp = if wants_l2tp { L2tp::open().await? } else { None };
        Ok(Self { netlink: netlink::open_rtnetlink(&[])?.0, netdev: netlink::open_genetlink()?, l2tp })
    }

    /// Takes a picture of what a configuration, or the kernel's own tunnels, have to do with. Devices of the kernel's
    /// sessions are known by what was seen `before`, because they may be renamed.
    ///
    /// # Errors
    /// The kernel's.
    pub async fn look(&mut self, config: &Config, mode: XdpMode, before: &Observed) -> Result<Observed> {
        let l2tp = match &self.l2tp {
            Some(l2tp) => l2tp.state().await?,
            None => L2tpState::default(),
        };
        let mut links = links(&self.netlink).await?;
        let ports = plan::ports(config);
        for link in links.values_mut().filter(|link| ports.contains(link.name.as_str())) {
            link.rx_vlan_offload = sys::has_rx_vlan_offload(&link.name).unwrap_or(false);
        }
        for link in links.values_mut().filter(|link| link.veth) {
            link.tx_checksum = sys::has_tx_checksum(&link.name).unwrap_or(true);
        }
        let mut routes = HashMap::new();
        for query in queries(config, &l2tp) {
            routes.insert(query, route(&self.netlink, &query).await);
        }
        let mut observed = Observed {
            kernel_devices: kernel_devices(&l2tp, &links, before),
            links,
            neighbours: neighbours(&self.netlink).await?,
            routes,
            no_xdp_xmit: HashSet::new(),
            l2tp,
            sequenced: HashSet::new(),
            policies: xfrm::read().context("list IPsec policies")?,
        };
        for ifindex in plan::outputs(config, &observed) {
            let known = xdp_features::has_xmit(&mut self.netdev, ifindex).await?;
            // Where the kernel does not say so, we know it only of our own. Told to insist, we believe it of
            // everything but a veth, which needs NAPI at its other end.
            let guess = |link: &Link| devices::is_ours(link) || mode == XdpMode::Native && !link.veth;
            if !known.unwrap_or_else(|| observed.links.get(&ifindex).is_none_or(guess)) {
                observed.no_xdp_xmit.insert(ifindex);
            }
        }
        Ok(observed)
    }
}

/// All that is to be asked of the routing table.
fn queries(config: &Config, l2tp: &L2tpState) -> HashSet<RouteQuery> {
    let adoptable = l2tp.tunnels.values().filter_map(|tunnel| adopt::tunnel(tunnel).ok());
    adoptable.map(|tunnel| plan::query(&tunnel)).chain(config.tunnels.iter().map(plan::query)).collect()
}

/// The devices of the kernel's sessions. Netlink tells the names they were made with, and they may have been renamed
/// since: debugfs tells the names they have, and those that were seen before are known. A name that another session's
/// device was made with, too, says nothing.
fn kernel_devices(l2tp: &L2tpState, links: &Links, before: &Observed) -> HashMap<SessionKey, u32> {
    // The device may be in another namespace, and another device have its name here.
    let candidates = links.values().filter(|link| !link.of_a_kind);
    let by_name: HashMap<_, _> = candidates.map(|link| (link.name.as_str(), link.ifindex)).collect();
    let known =
        |key: &SessionKey| before.kernel_devices.get(key).filter(|ifindex| links.contains_key(ifindex));
    let mut made_with: HashMap<_, usize> = HashMap::new();
    for name in l2tp.sessions.values().filter_map(|session| session.ifname.as_deref()) {
        *made_with.entry(name).or_default() += 1;
    }
    let device = |(key, session): (&SessionKey, &KernelSession)| {
        if let Some(name) = l2tp.devices.get(key) {
            return Some((*key, *by_name.get(name.as_str())?));
        }
        let unique = || session.ifname.as_deref().filter(|name| made_with.get(name) == Some(&1));
        let named = || by_name.get(unique()?);
        Some((*key, known(key).or_else(named).copied()?))
    };
    l2tp.sessions.iter().filter_map(device).collect()
}

/// Reads all devices.
///
/// # Errors
/// What rtnetlink answers.
pub async fn links(handle: &Handle) -> Result<Links> {
    let messages: Vec<_> =
        handle.link().get().execute().try_collect().await.context("rtnetlink: list links")?;
    Ok(messages.iter().map(Link::from).map(|link| (link.ifindex, link)).collect())
}

/// Reads the device of a name.
///
/// # Errors
/// What rtnetlink answers, but for there being none.
pub async fn link_named(handle: &Handle, name: &str) -> Result<Option<Link>> {
    one_link(handle.link().get().match_name(name.to_owned()))
        .await
        .with_context(|| format!("rtnetlink: {name}"))
}

/// Reads the device of an index.
///
/// # Errors
/// As [`link_named`].
pub async fn link_at(handle: &Handle, ifindex: u32) -> Result<Option<Link>> {
    one_link(handle.link().get().match_index(ifindex))
        .await
        .with_context(|| format!("rtnetlink: device {ifindex}"))
}

async fn one_link(request: LinkGetRequest) -> Result<Option<Link>, rtnetlink::Error> {
    match request.execute().try_next().await {
        Ok(message) => Ok(message.as_ref().map(Link::from)),
        Err(rtnetlink::Error::NetlinkError(error)) if error.raw_code() == -libc::ENODEV => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads all IP neighbours.
///
/// # Errors
/// What rtnetlink answers.
pub async fn neighbours(handle: &Handle) -> Result<HashMap<(u32, IpAddr), Neighbour>> {
    let messages: Vec<_> =
        handle.neighbours().get().execute().try_collect().await.context("rtnetlink: list neighbours")?;
    Ok(messages.iter().filter_map(neighbour).collect())
}

/// Asks for the route of a tunnel's packets, as they are sent.
pub async fn route(handle: &Handle, query: &RouteQuery) -> Result<Route, String> {
    let mut message = match (query.local, query.remote) {
        (IpAddr::V4(local), IpAddr::V4(remote)) => RouteMessageBuilder::<std::net::Ipv4Addr>::new()
            .source_prefix(local, 32)
            .destination_prefix(remote, 32)
            .build(),
        (IpAddr::V6(local), IpAddr::V6(remote)) => RouteMessageBuilder::<std::net::Ipv6Addr>::new()
            .source_prefix(local, 128)
            .destination_prefix(remote, 128)
            .build(),
        _ => return Err("mixed address families".to_owned()),
    };
    // Zeroed: a lookup, not a route.
    message.header.table = 0;
    message.header.protocol = 0.into();
    message.header.scope = 0.into();
    message.header.kind = RouteType::Unspec;
    message
        .attributes
        .retain(|attribute| matches!(attribute, RouteAttribute::Source(_) | RouteAttribute::Destination(_)));
    // Policy rules may look at ports (RFC 3931 data goes over UDP).
    message.attributes.extend([
        RouteAttribute::IpProto(libc::IPPROTO_UDP as u8),
        RouteAttribute::Sport(query.udp_sport),
        RouteAttribute::Dport(query.udp_dport),
    ]);
    match handle.route().get(message).execute().try_next().await {
        Ok(Some(message)) => Route::try_from(&message),
        Ok(None) => Err("the kernel gave no answer".to_owned()),
        Err(error) => Err(netlink::kernel_words(&error)),
    }
}

/// What the kernel takes where nobody chose (`IPDEFTTL`), as both sysctls have it unless they are changed.
const DEFAULT_TTL: u8 = 64;

/// The TTL or hop limit of packets that leave by a device (`ip4_dst_hoplimit`, `ip6_dst_hoplimit`).
fn default_ttl(ifindex: u32, ipv6: bool) -> u8 {
    let file = if ipv6 {
        format!("/proc/sys/net/ipv6/conf/{}/hop_limit", sys::interface_name(ifindex))
    } else {
        "/proc/sys/net/ipv4/ip_default_ttl".to_owned()
    };
    fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(DEFAULT_TTL)
}

impl From<&LinkMessage> for Link {
    fn from(message: &LinkMessage) -> Self {
        let header = &message.header;
        let mut link = Self {
            ifindex: header.index,
            running: header.flags.contains(LinkFlags::Up | LinkFlags::LowerUp),
            ..Self::default()
        };
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name.clone_from(name),
                LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
                LinkAttribute::Link(peer) => link.peer = Some(*peer),
                LinkAttribute::Controller(controller) => link.controller = Some(*controller),
                LinkAttribute::IfAlias(alias) => link.alias = Some(alias.clone()),
                LinkAttribute::Address(address) if header.link_layer_type == LinkLayerType::Ether => {
                    link.mac = address.as_slice().try_into().ok();
                }
                LinkAttribute::Xdp(xdp) => {
                    link.xdp = xdp.iter().find_map(|attribute| match attribute {
                        LinkXdp::ProgId(id) if *id != 0 => Some(*id),
                        _ => None,
                    });
                }
                LinkAttribute::ParentDevName(_) => link.of_a_kind = true,
                LinkAttribute::LinkInfo(infos) => {
                    link.of_a_kind |= infos.iter().any(|info| matches!(info, LinkInfo::Kind(_)));
                    link.veth = infos.contains(&LinkInfo::Kind(InfoKind::Veth));
                    link.bridge = infos.contains(&LinkInfo::Kind(InfoKind::Bridge));
                }
                _ => {}
            }
        }
        link
    }
}

fn neighbour(message: &NeighbourMessage) -> Option<((u32, IpAddr), Neighbour)> {
    let mut address = None;
    let mut mac = None;
    let mut managed = false;
    let mut ours = false;
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => address = Some(IpAddr::V4(*v4)),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => address = Some(IpAddr::V6(*v6)),
            NeighbourAttribute::LinkLayerAddress(bytes) => mac = bytes.as_slice().try_into().ok(),
            NeighbourAttribute::ExtFlags(flags) => managed = flags.contains(NeighbourExtFlags::Managed),
            NeighbourAttribute::Protocol(protocol) => ours = u8::from(*protocol) == devices::PROTOCOL,
            _ => {}
        }
    }
    let state = message.header.state;
    // A MAC that stopped answering is worth as much as none.
    let unknown = matches!(state, NeighbourState::Failed | NeighbourState::Incomplete | NeighbourState::None);
    let permanent = state == NeighbourState::Permanent;
    let failed = state == NeighbourState::Failed;
    let mac = mac.filter(|_| !unknown);
    Some(((message.header.ifindex, address?), Neighbour { mac, permanent, failed, managed, ours }))
}

impl TryFrom<&RouteMessage> for Route {
    type Error = String;

    fn try_from(message: &RouteMessage) -> Result<Self, String> {
        let (mut ifindex, mut gateway, mut mtu, mut ttl) = (None, None, None, None);
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Oif(index) => ifindex = Some(*index),
                RouteAttribute::Gateway(RouteAddress::Inet(v4)) | RouteAttribute::Via(RouteVia::Inet(v4)) => {
                    gateway = Some(IpAddr::V4(*v4));
                }
                RouteAttribute::Gateway(RouteAddress::Inet6(v6))
                | RouteAttribute::Via(RouteVia::Inet6(v6)) => {
                    gateway = Some(IpAddr::V6(*v6));
                }
                RouteAttribute::Metrics(metrics) => {
                    for metric in metrics {
                        match metric {
                            RouteMetric::Mtu(bytes) if *bytes != 0 => mtu = Some(*bytes),
                            RouteMetric::Hoplimit(hops) => {
                                ttl = u8::try_from(*hops).ok().filter(|&hops| hops != 0)
                            }
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        match message.header.kind {
            RouteType::Unicast | RouteType::Local => {
                let ifindex = ifindex.ok_or("the route has no device")?;
                let ipv6 = message.header.address_family == AddressFamily::Inet6;
                Ok(Self {
                    ifindex,
                    gateway,
                    mtu,
                    local: message.header.kind == RouteType::Local,
                    ttl: ttl.unwrap_or_else(|| default_ttl(ifindex, ipv6)),
                })
            }
            kind => Err(format!("the route is of type {kind:?}").to_lowercase()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::l2tp::{PwType, SessionStats};
    use l2xdp_common::pseudowire::Seq;

    /// Two sessions whose devices were both made as `l2tpeth0`: the first one's is called `pw0` now.
    fn renamed() -> (L2tpState, Links) {
        let mut l2tp = L2tpState::default();
        for session_id in [1, 2] {
            let session = KernelSession {
                tunnel_id: 7,
                session_id,
                peer_tunnel_id: 7,
                peer_session_id: session_id,
                pw_type: PwType::Eth,
                cookie: Vec::new(),
                peer_cookie: Vec::new(),
                l2spec: None,
                seq: Seq::default(),
                lns_mode: false,
                ifname: Some("l2tpeth0".to_owned()),
                using_ipsec: false,
                stats: SessionStats::default(),
            };
            l2tp.sessions.insert(session.key(), session);
        }
        let link = |(ifindex, name): (u32, &str)| {
            (ifindex, Link { ifindex, name: name.to_owned(), ..Link::default() })
        };
        (l2tp, [(11, "pw0"), (12, "l2tpeth0")].map(link).into_iter().collect())
    }

    #[test]
    fn a_name_that_two_devices_were_made_with_is_nobodys() {
        let (l2tp, links) = renamed();
        assert!(kernel_devices(&l2tp, &links, &Observed::default()).is_empty());
        let before = Observed { kernel_devices: [((7, 1), 11)].into(), ..Observed::default() };
        assert_eq!(kernel_devices(&l2tp, &links, &before), [((7, 1), 11)].into());
    }

    #[test]
    fn debugfs_knows_devices_by_the_names_they_have() {
        let (mut l2tp, links) = renamed();
        l2tp.devices = [((7, 1), "pw0".to_owned()), ((7, 2), "l2tpeth0".to_owned())].into();
        let expected = [((7, 1), 11), ((7, 2), 12)].into();
        assert_eq!(kernel_devices(&l2tp, &links, &Observed::default()), expected);
    }

    #[test]
    fn a_device_of_another_kind_is_not_taken_for_one_that_is_elsewhere() {
        let (mut l2tp, mut links) = renamed();
        l2tp.devices = [((7, 1), "pw0".to_owned()), ((7, 2), "l2tpeth0".to_owned())].into();
        links.get_mut(&11).unwrap().of_a_kind = true;
        assert_eq!(kernel_devices(&l2tp, &links, &Observed::default()), [((7, 2), 12)].into());
    }
}
