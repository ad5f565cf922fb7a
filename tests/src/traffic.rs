//! What hosts do over a pseudowire.

mod ping;
mod syn;
mod tcp;
mod udp;

use std::net::IpAddr;
use std::sync::LazyLock;

use anyhow::{Context as _, Result};

use crate::netns::Namespace;
use crate::topology::Lab;
use crate::wire::Side;

pub use ping::{PINGS, ping, until_answered};
pub use syn::Syns;
pub use tcp::transfer;
pub use udp::datagrams;

/// Two hosts and their addresses of one IP version.
#[derive(Clone, Copy, Debug)]
pub struct Pair<'a> {
    /// The one that begins.
    pub from: &'a Namespace,
    /// The other.
    pub to: &'a Namespace,
    /// The address of the one.
    pub from_address: IpAddr,
    /// The address of the other.
    pub to_address: IpAddr,
}

impl<'a> Pair<'a> {
    /// The host of a side and the one at the far end, over IPv4.
    pub fn v4(lab: &'a Lab, from: Side) -> Result<Self> {
        Self::of(lab, from, Lab::lan_address)
    }

    /// The same over IPv6.
    pub fn v6(lab: &'a Lab, from: Side) -> Result<Self> {
        Self::of(lab, from, Lab::lan_address6)
    }

    /// With addresses of their own, as on a VLAN.
    pub fn of(lab: &'a Lab, from: Side, address: fn(Side) -> &'static str) -> Result<Self> {
        let parsed = |side| address(side).parse::<IpAddr>().context("an address of the lab");
        Ok(Self {
            from: lab.host(from),
            to: lab.host(from.other()),
            from_address: parsed(from)?,
            to_address: parsed(from.other())?,
        })
    }

    /// The IP header, in bytes.
    pub fn ip_header(&self) -> u16 {
        if self.to_address.is_ipv4() { 20 } else { 40 }
    }
}

/// So many bytes that look like chance; others for another seed, the same for the same.
pub fn noise(seed: usize, len: usize) -> &'static [u8] {
    &NOISE[seed * 4099..][..len]
}

/// Made once: in a debug build it takes its time.
static NOISE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    });
    words.take(1 << 20).flat_map(u64::to_le_bytes).collect()
});
