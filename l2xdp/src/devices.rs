//! Pseudowire devices: a veth whose one end users see and whose other, hidden end stands for the wire.

use crate::observe::{self, Link};
use crate::reconcile::{Device, Settings};
use crate::{netlink, sys};
use anyhow::{Context, Result, bail};
use netlink_packet_route::link::LinkAttribute;
use netlink_packet_route::neighbour::{NeighbourAttribute, NeighbourExtFlags, NeighbourState};
use netlink_packet_route::route::RouteProtocol;
use rtnetlink::{Handle, LinkMessageBuilder, LinkUnspec, LinkVeth};
use std::net::IpAddr;
use std::{fs, io};

/// What marks a device as ours, so that the next start can clean up after a crash.
const ALIAS: &str = "l2xdp ";
/// What marks a neighbour as ours, for the same reason (`NDA_PROTOCOL`): L2TP's IP protocol number.
pub const PROTOCOL: u8 = 115;
const SESSION: &str = "session ";
const AND_TUNNEL: &str = " and its tunnel";
const DELIVER: &str = "delivery to session ";
const WIRE: &str = "l2xw";
const DELIVERY: &str = "l2xd";
const KERNEL: &str = "l2xk";
/// The kernel's own pattern for the devices of sessions.
const ANY_NAME: &str = "l2tpeth%d";

/// The name of the hidden end: unique, as session ids are, and short enough for any of them.
pub fn wire_name(session_id: u32) -> String {
    format!("{WIRE}{session_id}")
}

/// The name of the end of such a pair from which a kernel session's frames are delivered into its own device.
pub fn delivery_name(session_id: u32) -> String {
    format!("{DELIVERY}{session_id}")
}

/// The name of the kernel's device of a session of a port, which nobody uses.
pub fn kernel_name(session_id: u32) -> String {
    format!("{KERNEL}{session_id}")
}

fn purpose(link: &Link) -> Option<&str> {
    link.alias.as_ref()?.strip_prefix(ALIAS)
}

/// The alias of the device of a session of ours, whose tunnel may be ours as well.
pub fn alias(session_id: u32, own_tunnel: bool) -> String {
    format!("{ALIAS}{SESSION}{session_id}{}", if own_tunnel { AND_TUNNEL } else { "" })
}

/// The session that a run of l2xdp made this device for: a pseudowire's device of its own or of the kernel's.
pub fn session_of(link: &Link) -> Option<u32> {
    let session = purpose(link)?.strip_prefix(SESSION)?;
    session.strip_suffix(AND_TUNNEL).unwrap_or(session).parse().ok()
}

/// Did that run make the session's tunnel too?
pub fn has_own_tunnel(link: &Link) -> bool {
    session_of(link).is_some() && purpose(link).is_some_and(|purpose| purpose.ends_with(AND_TUNNEL))
}

/// The standalone session of whose devices it is the one that users see, whatever it is called by now.
pub fn netdev_of(link: &Link) -> Option<u32> {
    session_of(link).filter(|id| link.veth && link.name != wire_name(*id))
}

/// Did a run of l2xdp make this device? The kernel's own are another matter.
pub fn is_ours(link: &Link) -> bool {
    let delivery = |purpose: &str| purpose.strip_prefix(DELIVER).is_some_and(|id| id.parse::<u32>().is_ok());
    let ours = |purpose: &str| delivery(purpose) || purpose == Pair::SPLITTER.purpose;
    link.veth && (session_of(link).is_some() || purpose(link).is_some_and(ours))
}

/// Is this name one that l2xdp gives to devices of its own?
pub fn is_reserved(name: &str) -> bool {
    let numbered = |prefix: &str| name.strip_prefix(prefix).is_some_and(|id| id.parse::<u32>().is_ok());
    [WIRE, DELIVERY, KERNEL].into_iter().any(numbered)
        || [Pair::SPLITTER.name, Pair::SPLITTER.wire].contains(&name)
}

/// A veth to be made.
#[derive(Clone, Debug)]
pub struct Pair<'a> {
    /// The one end: what users see.
    pub name: &'a str,
    /// The other end, hidden.
    pub wire: &'a str,
    /// What the two are for, different for each pair.
    pub purpose: &'a str,
    /// MTU of the one end, in bytes. The hidden end takes everything.
    pub mtu: u32,
    /// Super-packets are split and checksums finished on the way to the hidden end.
    pub split: bool,
    /// Nobody uses the one end either.
    pub silent: bool,
    /// The bridge it becomes a port of.
    pub bridge: Option<&'a str>,
}

impl Pair<'static> {
    /// The pair that splits super-packets: what goes into the one end comes out of the other in packets.
    pub const SPLITTER: Self = Self {
        name: "l2xsplit",
        wire: "l2xsplit-out",
        purpose: "splitter of super-packets",
        mtu: MAX_MTU,
        split: true,
        silent: true,
        bridge: None,
    };
}

/// Makes the device of a standalone session.
///
/// # Errors
/// As [`create`].
pub async fn create_netdev(handle: &Handle, device: &Device) -> Result<()> {
    let (id, settings) = (device.session_id, &device.settings);
    let pair = Pair {
        name: device.name.as_deref().unwrap_or(ANY_NAME),
        wire: &wire_name(id),
        purpose: &format!("{SESSION}{id}"),
        mtu: settings.mtu.unwrap_or(MAX_MTU),
        split: false,
        silent: settings.silent,
        bridge: settings.bridge.as_deref(),
    };
    create(handle, &pair).await.with_context(|| format!("session {id}"))
}

/// Makes the pair of devices by which a kernel session's frames come from XDP. They may be of any length there, as what
/// the kernel delivers.
///
/// # Errors
/// As [`create`].
pub async fn create_delivery(handle: &Handle, session_id: u32) -> Result<()> {
    let pair = Pair {
        name: &delivery_name(session_id),
        wire: &wire_name(session_id),
        purpose: &format!("{DELIVER}{session_id}"),
        mtu: MAX_MTU,
        split: false,
        silent: true,
        bridge: None,
    };
    create(handle, &pair).await
}

/// Sets the new device of a session of ours up: marks it, and brings it up.
///
/// # Errors
/// What the kernel refused, or a bridge that is none.
pub async fn set_up(handle: &Handle, session_id: u32, name: &str, settings: &Settings) -> Result<()> {
    if settings.silent {
        silence(name)?;
    }
    let message = LinkUnspec::new_with_name(name).alias(alias(session_id, settings.own_tunnel)).up();
    change(handle, session_id, name, message, &Settings::default(), settings).await
}

/// Sets it up otherwise. What is the same stays as an administrator may have changed it since.
///
/// # Errors
/// As [`set_up`].
pub async fn set_up_anew(
    handle: &Handle,
    session_id: u32,
    name: &str,
    from: &Settings,
    to: &Settings,
) -> Result<()> {
    change(handle, session_id, name, LinkUnspec::new_with_name(name), from, to).await
}

async fn change(
    handle: &Handle,
    session_id: u32,
    name: &str,
    mut message: LinkMessageBuilder<LinkUnspec>,
    from: &Settings,
    to: &Settings,
) -> Result<()> {
    if let Some(mtu) = to.mtu.filter(|_| to.mtu != from.mtu) {
        message = message.mtu(mtu);
    }
    if to.bridge != from.bridge {
        message = message.controller(match &to.bridge {
            Some(bridge) => {
                bridge_index(handle, bridge).await.with_context(|| format!("session {session_id}"))?
            }
            None => 0,
        });
    }
    set(handle, name, message).await
}

/// Takes the mark off the device of a session of ours, which is nobody's from now on.
///
/// # Errors
/// The kernel's.
pub async fn disown(handle: &Handle, ifindex: u32) -> Result<()> {
    let message = LinkUnspec::new_with_index(ifindex).alias(String::new()).build();
    netlink::words(handle.link().set(message).execute().await)
        .with_context(|| format!("{}: can't take its alias off", sys::interface_name(ifindex)))
}

async fn bridge_index(handle: &Handle, name: &str) -> Result<u32> {
    let Some(link) = observe::link_named(handle, name).await? else {
        bail!(
            "bridge = \"{name}\": there is no such interface; see ip link, or make it: ip link add {name} type bridge"
        )
    };
    if !link.bridge {
        bail!("bridge = \"{name}\" is not a bridge; name one, or make one: ip link add NAME type bridge");
    }
    Ok(link.ifindex)
}

/// Makes the two devices, and brings them up.
///
/// # Errors
/// What the kernel refused. A half-made pair is removed.
pub async fn create(handle: &Handle, pair: &Pair<'_>) -> Result<()> {
    netlink::words(handle.link().add(LinkVeth::new(pair.name, pair.wire).build()).execute().await)
        .with_context(|| {
            format!("netdev {0}: can't create it and {1}; see ip link show {1}", pair.name, pair.wire)
        })?;
    let result = configure(handle, pair).await;
    if result.is_err() {
        // The first error is the one to report.
        let _ = delete(handle, pair.wire).await;
    }
    result
}

/// The name that the kernel gave the one end, of a pattern.
async fn actual_name(handle: &Handle, pair: &Pair<'_>) -> Result<String> {
    if pair.name != ANY_NAME {
        return Ok(pair.name.to_owned());
    }
    let wire = observe::link_named(handle, pair.wire).await?;
    let other = match wire.and_then(|wire| wire.peer) {
        Some(peer) => observe::link_at(handle, peer).await?,
        None => None,
    };
    other.map(|link| link.name).with_context(|| format!("{}: it has no other end", pair.wire))
}

async fn configure(handle: &Handle, pair: &Pair<'_>) -> Result<()> {
    let name = &actual_name(handle, pair).await?;
    let alias = format!("{ALIAS}{}", pair.purpose);
    // The wire must say nothing of its own: everything it sent would arrive on the visible end.
    silence(pair.wire)?;
    if pair.silent {
        silence(name)?;
    }
    sys::enable_gro(name).with_context(|| format!("netdev {name}: can't turn GRO on"))?;
    let hidden = LinkUnspec::new_with_name(pair.wire)
        .alias(alias.clone())
        .arp(false)
        .multicast(false)
        .mtu(MAX_MTU)
        .up();
    set(handle, pair.wire, hidden).await?;
    let mut visible = LinkUnspec::new_with_name(name).alias(alias).mtu(pair.mtu);
    if pair.silent {
        visible = visible.arp(false).multicast(false);
    }
    if pair.split {
        sys::disable_tx_checksum(name).with_context(|| format!("{name}: can't turn offload off"))?;
        visible = visible.append_extra_attribute(LinkAttribute::GsoMaxSegs(1));
    }
    if let Some(bridge) = pair.bridge {
        visible = visible.controller(bridge_index(handle, bridge).await?);
    }
    set(handle, name, visible.up()).await
}

/// Turns IPv6 off, with all that it sends unasked.
fn silence(name: &str) -> Result<()> {
    match fs::write(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), "1") {
        // A kernel without IPv6.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.with_context(|| format!("{name}: can't turn IPv6 off")),
    }
}

/// The most that a veth or the kernel's device of a session takes, in bytes.
pub const MAX_MTU: u32 = 65_535;

async fn set(handle: &Handle, name: &str, message: LinkMessageBuilder<LinkUnspec>) -> Result<()> {
    netlink::words(handle.link().set(message.build()).execute().await)
        .with_context(|| format!("netdev {name}: can't set it up"))
}

/// Sets a device's MTU.
///
/// # Errors
/// The kernel's.
pub async fn set_mtu(handle: &Handle, ifindex: u32, mtu: u32) -> Result<()> {
    let message = LinkUnspec::new_with_index(ifindex).mtu(mtu).build();
    netlink::words(handle.link().set(message).execute().await)
        .with_context(|| format!("{}: can't set MTU {mtu}", sys::interface_name(ifindex)))
}

/// Removes a device, and with it its other end.
///
/// # Errors
/// The kernel's.
pub async fn delete(handle: &Handle, name: &str) -> Result<()> {
    let message = LinkUnspec::new_with_name(name).build();
    netlink::words(handle.link().del_with_message(message).execute().await)
        .with_context(|| format!("can't delete {name}"))
}

/// Has the kernel resolve a next hop and keep it resolved by itself (`ip neigh … managed`).
///
/// # Errors
/// The kernel's.
pub async fn manage_neighbour(handle: &Handle, ifindex: u32, address: IpAddr) -> Result<()> {
    let mut request = handle.neighbours().add(ifindex, address).state(NeighbourState::None).replace();
    request.message_mut().attributes.extend([
        NeighbourAttribute::ExtFlags(NeighbourExtFlags::Managed),
        NeighbourAttribute::Protocol(PROTOCOL.into()),
    ]);
    netlink::words(request.execute().await)
        .with_context(|| format!("neighbour {address} on {}", sys::interface_name(ifindex)))
}

/// Gives a next hop back: from now on it ages like any other. To delete it would lose the kernel's packets that wait for
/// its address at that moment.
///
/// # Errors
/// The kernel's.
pub async fn release_neighbour(handle: &Handle, ifindex: u32, address: IpAddr) -> Result<()> {
    let mut request = handle.neighbours().add(ifindex, address).state(NeighbourState::Stale).replace();
    request.message_mut().attributes.push(NeighbourAttribute::Protocol(RouteProtocol::Kernel));
    if request.execute().await.is_ok() {
        return Ok(());
    }
    // Its address was never known.
    let mut request = handle.neighbours().add(ifindex, address);
    let message = request.message_mut().clone();
    netlink::words(handle.neighbours().del(message).execute().await)
        .with_context(|| format!("neighbour {address} on {}", sys::interface_name(ifindex)))
}
