//! From routes and neighbours to the path that outer headers are made of.

use crate::observe::{Observed, RouteQuery};
use l2xdp_common::pseudowire::Path;
use std::fmt;
use std::net::IpAddr;

/// The way to a peer, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Underlay {
    /// The WAN device's index.
    pub ifindex: u32,
    /// The WAN device's name.
    pub device: String,
    /// The address to resolve: the gateway, or the peer itself.
    pub next_hop: IpAddr,
    /// The longest outer IP packet, in bytes.
    pub mtu: u32,
    /// The finished path, or what is missing.
    pub path: Result<Path, NoPath>,
}

/// Why frames can't be sent to a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoPath {
    /// No route; the kernel's words.
    NoRoute(String),
    /// The peer's address is one of this host.
    Local,
    /// The route's device is down or gone.
    Down(String),
    /// The route's device is not Ethernet.
    NotEthernet(String),
    /// The next hop has not answered.
    Unresolved(IpAddr, String),
}

impl fmt::Display for NoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRoute(why) => write!(f, "no route: {why}"),
            Self::Local => write!(f, "the remote address is one of this host's"),
            Self::Down(device) => write!(f, "{device} is down"),
            Self::NotEthernet(device) => write!(f, "{device} is not an Ethernet device"),
            Self::Unresolved(next_hop, device) => write!(f, "{next_hop} on {device} does not answer"),
        }
    }
}

/// Works out the way to a peer.
///
/// # Errors
/// What keeps even the WAN device from being known.
pub fn resolve(observed: &Observed, query: &RouteQuery) -> Result<Underlay, NoPath> {
    let route = match observed.routes.get(query) {
        Some(Ok(route)) => route,
        Some(Err(why)) => return Err(NoPath::NoRoute(why.clone())),
        None => return Err(NoPath::NoRoute("not asked for yet".to_owned())),
    };
    if route.local {
        return Err(NoPath::Local);
    }
    let link = observed
        .links
        .get(&route.ifindex)
        .ok_or_else(|| NoPath::Down(format!("interface {}", route.ifindex)))?;
    let src_mac = link.mac.ok_or_else(|| NoPath::NotEthernet(link.name.clone()))?;
    let next_hop = route.gateway.unwrap_or(query.remote);
    let mtu = route.mtu.map_or(link.mtu, |mtu| mtu.min(link.mtu));
    let neighbour = observed.neighbours.get(&(link.ifindex, next_hop)).and_then(|neighbour| neighbour.mac);
    let path = match neighbour {
        _ if !link.running => Err(NoPath::Down(link.name.clone())),
        Some(dst_mac) => Ok(Path { ifindex: link.ifindex, src_mac, dst_mac, mtu }),
        None => Err(NoPath::Unresolved(next_hop, link.name.clone())),
    };
    Ok(Underlay { ifindex: link.ifindex, device: link.name.clone(), next_hop, mtu, path })
}
