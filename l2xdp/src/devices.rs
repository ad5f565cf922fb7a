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
const ALIAS: &str = "l2xdp session ";

/// The name of the hidden end: unique, as session ids are, and short enough for any of them.
pub fn wire_name(session_id: u32) -> String {
    format!("l2xw{session_id}")
}

/// Did a run of l2xdp make this device?
pub fn is_ours(link: &Link) -> bool {
    link.alias.as_ref().is_some_and(|alias| alias.starts_with(ALIAS))
}

/// A pseudowire device to be made.
#[derive(Clone, Debug)]
pub struct Pair<'a> {
    /// The name users see.
    pub name: &'a str,
    /// The session it belongs to.
    pub session_id: u32,
    /// Its MTU, in bytes.
    pub mtu: u32,
    /// Frames are to be split before they reach the hidden end.
    pub split: bool,
    /// The index of the bridge it becomes a port of.
    pub bridge: Option<u32>,
}

/// Makes the two devices, and brings them up.
///
/// # Errors
/// What the kernel refused. A half-made pair is removed.
pub async fn create(handle: &Handle, pair: &Pair<'_>) -> Result<()> {
    let wire = wire_name(pair.session_id);
    handle
        .link()
        .add(LinkVeth::new(pair.name, &wire).build())
        .execute()
        .await
        .with_context(|| format!("netdev {}: can't create it", pair.name))?;
    let result = configure(handle, pair, &wire).await;
    if result.is_err() {
        // The first error is the one to report.
        let _ = delete(handle, pair.name).await;
    }
    result
}

async fn configure(handle: &Handle, pair: &Pair<'_>, wire: &str) -> Result<()> {
    let alias = format!("{ALIAS}{}", pair.session_id);
    // The wire must say nothing of its own: everything it sent would arrive on the visible end.
    match fs::write(format!("/proc/sys/net/ipv6/conf/{wire}/disable_ipv6"), "1") {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("{wire}: can't turn IPv6 off"));
        }
        _ => {}
    }
    sys::enable_gro(pair.name).with_context(|| format!("netdev {}: can't turn GRO on", pair.name))?;
    let hidden =
        LinkUnspec::new_with_name(wire).alias(alias.clone()).arp(false).multicast(false).mtu(MAX_MTU).up();
    set(handle, wire, hidden).await?;
    let mut visible = LinkUnspec::new_with_name(pair.name).alias(alias).mtu(pair.mtu).up();
    if pair.split {
        visible = visible.append_extra_attribute(LinkAttribute::GsoMaxSegs(1));
    }
    if let Some(bridge) = pair.bridge {
        visible = visible.controller(bridge);
    }
    set(handle, pair.name, visible).await
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
        .with_context(|| format!("interface {ifindex}: can't set MTU {mtu}"))
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
    request.message_mut().attributes.push(NeighbourAttribute::ExtFlags(NeighbourExtFlags::Managed));
    request.execute().await.with_context(|| format!("neighbour {address} on interface {ifindex}"))
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
        .with_context(|| format!("neighbour {address} on {ifindex}"))
}
