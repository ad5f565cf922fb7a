//! Pseudowire devices: a veth whose one end users see and whose other, hidden end stands for the wire.

use crate::observe::Link;
use crate::sys;
use anyhow::{Context, Result};
use netlink_packet_route::link::LinkAttribute;
use netlink_packet_route::neighbour::{NeighbourAttribute, NeighbourExtFlags, NeighbourState};
use rtnetlink::{Handle, LinkMessageBuilder, LinkUnspec, LinkVeth};
use std::net::IpAddr;
use std::{fs, io};

/// What marks a device as ours, so that the next start can clean up after a crash.
const ALIAS: &str = "l2xdp ";
/// What marks a neighbour as ours, for the same reason (`NDA_PROTOCOL`): L2TP's IP protocol number.
pub const PROTOCOL: u8 = 115;
const SESSION: &str = "session ";
const WIRE: &str = "l2xw";

/// The name of the hidden end: unique, as session ids are, and short enough for any of them.
pub fn wire_name(session_id: u32) -> String {
    format!("{WIRE}{session_id}")
}

/// Did a run of l2xdp make this device?
pub fn is_ours(link: &Link) -> bool {
    let purpose = link.alias.as_ref().and_then(|alias| alias.strip_prefix(ALIAS));
    let session = |purpose: &str| purpose.strip_prefix(SESSION).is_some_and(|id| id.parse::<u32>().is_ok());
    link.veth && purpose.is_some_and(|purpose| session(purpose) || purpose == Pair::SPLITTER.purpose)
}

/// Is this name one that l2xdp gives to devices of its own?
pub fn is_reserved(name: &str) -> bool {
    let wire = |name: &str| name.strip_prefix(WIRE).is_some_and(|id| id.parse::<u32>().is_ok());
    wire(name) || [Pair::SPLITTER.name, Pair::SPLITTER.wire].contains(&name)
}

/// What the pair of a session is for.
pub fn purpose(session_id: u32) -> String {
    format!("{SESSION}{session_id}")
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
    /// The index of the bridge it becomes a port of.
    pub bridge: Option<u32>,
}

impl Pair<'static> {
    /// The pair that splits super-packets: what goes into the one end comes out of the other in packets.
    pub const SPLITTER: Self = Self {
        name: "l2xsplit",
        wire: "l2xsplit-out",
        purpose: "splitter of super-packets",
        mtu: MAX_MTU,
        split: true,
        bridge: None,
    };
}

/// Makes the two devices, and brings them up.
///
/// # Errors
/// What the kernel refused. A half-made pair is removed.
pub async fn create(handle: &Handle, pair: &Pair<'_>) -> Result<()> {
    handle.link().add(LinkVeth::new(pair.name, pair.wire).build()).execute().await.with_context(|| {
        format!("netdev {0}: can't create it and {1}; see ip link show {1}", pair.name, pair.wire)
    })?;
    let result = configure(handle, pair).await;
    if result.is_err() {
        // The first error is the one to report.
        let _ = delete(handle, pair.name).await;
    }
    result
}

async fn configure(handle: &Handle, pair: &Pair<'_>) -> Result<()> {
    let alias = format!("{ALIAS}{}", pair.purpose);
    // The wire must say nothing of its own: everything it sent would arrive on the visible end.
    silence(pair.wire)?;
    sys::enable_gro(pair.name).with_context(|| format!("netdev {}: can't turn GRO on", pair.name))?;
    let hidden = LinkUnspec::new_with_name(pair.wire)
        .alias(alias.clone())
        .arp(false)
        .multicast(false)
        .mtu(MAX_MTU)
        .up();
    set(handle, pair.wire, hidden).await?;
    let mut visible = LinkUnspec::new_with_name(pair.name).alias(alias).mtu(pair.mtu);
    if pair.split {
        sys::disable_tx_checksum(pair.name)
            .with_context(|| format!("{}: can't turn offload off", pair.name))?;
        visible = visible.append_extra_attribute(LinkAttribute::GsoMaxSegs(1));
    }
    if let Some(bridge) = pair.bridge {
        visible = visible.controller(bridge);
    }
    set(handle, pair.name, visible.up()).await
}

/// Turns IPv6 off, with all that it sends unasked.
fn silence(name: &str) -> Result<()> {
    match fs::write(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), "1") {
        // A kernel without IPv6.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.with_context(|| format!("{name}: can't turn IPv6 off")),
    }
}

/// The most a veth takes, in bytes.
const MAX_MTU: u32 = 65_535;

async fn set(handle: &Handle, name: &str, message: LinkMessageBuilder<LinkUnspec>) -> Result<()> {
    handle
        .link()
        .set(message.build())
        .execute()
        .await
        .with_context(|| format!("netdev {name}: can't set it up"))
}

/// Sets a device's MTU.
///
/// # Errors
/// The kernel's.
pub async fn set_mtu(handle: &Handle, ifindex: u32, mtu: u32) -> Result<()> {
    let message = LinkUnspec::new_with_index(ifindex).mtu(mtu).build();
    handle
        .link()
        .set(message)
        .execute()
        .await
        .with_context(|| format!("{}: can't set MTU {mtu}", sys::interface_name(ifindex)))
}

/// Removes a device, and with it its other end.
///
/// # Errors
/// The kernel's.
pub async fn delete(handle: &Handle, name: &str) -> Result<()> {
    let message = LinkUnspec::new_with_name(name).build();
    handle.link().del_with_message(message).execute().await.with_context(|| format!("can't delete {name}"))
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
    request
        .execute()
        .await
        .with_context(|| format!("neighbour {address} on {}", sys::interface_name(ifindex)))
}

/// Forgets a next hop.
///
/// # Errors
/// The kernel's.
pub async fn forget_neighbour(handle: &Handle, ifindex: u32, address: IpAddr) -> Result<()> {
    let mut request = handle.neighbours().add(ifindex, address);
    let message = request.message_mut().clone();
    handle
        .neighbours()
        .del(message)
        .execute()
        .await
        .with_context(|| format!("neighbour {address} on {}", sys::interface_name(ifindex)))
}
