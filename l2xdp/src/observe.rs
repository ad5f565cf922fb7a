//! What the kernel says of links, neighbours and routes, in the few words the rest needs.

use crate::devices;
use anyhow::{Context, Result};
use futures_util::TryStreamExt;
use netlink_packet_route::link::{
    InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage, LinkXdp,
};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourExtFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteMetric, RouteType, RouteVia,
};
use rtnetlink::{Handle, RouteMessageBuilder};
use std::collections::{HashMap, HashSet};
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
    /// A bridge.
    pub bridge: bool,
    /// The bridge or bond it is a port of.
    pub controller: Option<u32>,
    /// It hands tags over beside the frame (`ethtool -K … rxvlan`). Known of ports only.
    pub rx_vlan_offload: bool,
    /// The id of the XDP program it runs.
    pub xdp: Option<u32>,
    /// `ip link set … alias`.
    pub alias: Option<String>,
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
    pub links: HashMap<u32, Link>,
    /// All neighbours, by device and address.
    pub neighbours: HashMap<(u32, IpAddr), Neighbour>,
    /// The routes asked for; the kernel's words where there is none.
    pub routes: HashMap<RouteQuery, Result<Route, String>>,
    /// Devices that frames can't be redirected to from XDP.
    pub no_xdp_xmit: HashSet<u32>,
}

impl Observed {
    /// The device of a name.
    pub fn link(&self, name: &str) -> Option<&Link> {
        self.links.values().find(|link| link.name == name)
    }

    /// Can XDP send frames out of this device?
    pub fn xdp_xmit(&self, ifindex: u32) -> bool {
        !self.no_xdp_xmit.contains(&ifindex)
    }
}

/// Reads all devices.
///
/// # Errors
/// What rtnetlink answers.
pub async fn links(handle: &Handle) -> Result<HashMap<u32, Link>> {
    let messages: Vec<_> =
        handle.link().get().execute().try_collect().await.context("rtnetlink: list links")?;
    Ok(messages.iter().map(Link::from).map(|link| (link.ifindex, link)).collect())
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
        Err(error) => Err(kernel_words(&error)),
    }
}

/// An rtnetlink error without the crate's wrapping.
fn kernel_words(error: &rtnetlink::Error) -> String {
    match error {
        rtnetlink::Error::NetlinkError(message) => message.to_io().to_string(),
        other => other.to_string(),
    }
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
                LinkAttribute::LinkInfo(infos) => {
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
        let (mut ifindex, mut gateway, mut mtu) = (None, None, None);
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
                    mtu = metrics.iter().find_map(|metric| match metric {
                        RouteMetric::Mtu(mtu) if *mtu != 0 => Some(*mtu),
                        _ => None,
                    });
                }
                _ => {}
            }
        }
        match message.header.kind {
            RouteType::Unicast | RouteType::Local => Ok(Self {
                ifindex: ifindex.ok_or("the route has no device")?,
                gateway,
                mtu,
                local: message.header.kind == RouteType::Local,
            }),
            kind => Err(format!("the route is of type {kind:?}").to_lowercase()),
        }
    }
}
