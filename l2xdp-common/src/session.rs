//! What the programs' maps hold: everything about a session that a packet needs, worked out beforehand.
//!
//! The loader writes these from a [`Pseudowire`](crate::pseudowire::Pseudowire) and a resolved path; the programs
//! only read them.

use crate::wire::{Be16, Be32, MAX_OUTER_LEN, Tail, Tailed4, Tailed6};
use bytemuck::{Pod, Zeroable};

/// Key of the map of transmitting sessions: where a frame comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
#[repr(C)]
pub struct AttachKey {
    /// The device the program runs on.
    pub ifindex: u32,
    /// VLAN id, or [`ALL_VLANS`](Self::ALL_VLANS).
    pub vlan: u32,
}

impl AttachKey {
    /// A session that takes every frame of its device, tagged or not.
    pub const ALL_VLANS: u32 = u32::MAX;
}

/// The largest MSS a TCP SYN may offer, in bytes. All zero: the clamp is off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Clamp {
    /// Over IPv4.
    pub ipv4: u16,
    /// Over IPv6.
    pub ipv6: u16,
    /// Ones where the bytes of the inner frame's tags come off the limit, zeros where it is fixed.
    pub tag_mask: u16,
}

/// Bits of [`TxSession::flags`] and [`RxSession::flags`].
pub mod flag {
    /// The underlay is IPv6.
    pub const IPV6: u32 = 1 << 0;
    /// Sent: with an outer UDP checksum.
    pub const CHECKSUM: u32 = 1 << 1;
    /// Sent: the outer DSCP is the inner packet's.
    pub const TOS_INHERIT: u32 = 1 << 2;
    /// Sent and received: XDP leaves this session's frames to TC.
    pub const VIA_TC: u32 = 1 << 3;
    /// Sent and received: frames come from a device without hardware (veth), so that checksums may not be finished;
    /// XDP leaves frames with a checksum that looks so to TC.
    pub const UNFINISHED: u32 = 1 << 4;
    /// The same for frames whose checksums can't be judged.
    pub const UNKNOWN: u32 = 1 << 7;
    /// Sent: the outermost tag comes off. Received: [`RxSession::vlan`](super::RxSession::vlan) goes on.
    pub const RETAG: u32 = 1 << 5;
    /// Received: TC delivers to its output as if the frame had come in there.
    pub const INGRESS: u32 = 1 << 6;
    /// Sent and received: with sequence numbers, which are the slow path's business.
    pub const SEQUENCED: u32 = 1 << 8;
    /// Sent: the WAN device hands frames over as they are, with unfinished checksums and unsplit (veth). A peer that is
    /// not l2xdp would take them for whole: the kernel's driver forgets what is unfinished inside (`l2tp_eth_dev_recv`).
    pub const FINISH: u32 = 1 << 10;
    /// Received: over IPv6 without an outer UDP checksum too.
    pub const ZERO_CSUM: u32 = 1 << 9;
    /// Those that tell XDP something; the others are TC's alone.
    pub const ALL_OF_XDP: u32 = !(INGRESS | FINISH);
}

/// What it takes to send: looked up by [`AttachKey`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct TxSession {
    /// The WAN device; 0 while there is no route or no next hop.
    pub ifindex: u32,
    /// Index of the session's counters.
    pub slot: u32,
    /// See [`flag`].
    pub flags: u32,
    /// The longest inner frame the path takes, in bytes from the destination MAC.
    pub max_inner: u16,
    /// For TCP SYNs on their way out.
    pub clamp: Clamp,
    /// From the outer destination MAC to the inner one, in bytes.
    pub outer_len: u8,
    /// Words of [`Tail`] that are header.
    pub tail_words: u8,
    /// Zero.
    pub pad: [u8; 2],
    /// The outer headers, finished but for their lengths: those are 0, and the IPv4 checksum is over that.
    pub template: [u8; MAX_OUTER_LEN],
    /// Zero.
    pub pad_end: [u8; 2],
    /// The kernel's device of the session, whose driver carries what the programs don't; 0: user space does.
    pub slow_ifindex: u32,
}

impl TxSession {
    /// Are all bits of `flag` set?
    #[inline(always)]
    pub fn has(&self, flag: u32) -> bool {
        self.flags & flag == flag
    }

    /// The outer headers over IPv4.
    #[inline(always)]
    pub fn outer4(&self) -> &Tailed4 {
        &bytemuck::must_cast_ref::<_, Template4>(&self.template).headers
    }

    /// The outer headers over IPv6.
    #[inline(always)]
    pub fn outer6(&self) -> &Tailed6 {
        bytemuck::must_cast_ref(&self.template)
    }
}

/// [`TxSession::template`] over IPv4.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Template4 {
    pub(crate) headers: Tailed4,
    pub(crate) rest: [u8; MAX_OUTER_LEN - Tailed4::LEN],
}

/// What it takes to receive: looked up by our session id, in network order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct RxSession {
    /// The peer's address, then ours, as in an IP header: two words, or eight.
    pub addresses: [Be32; 8],
    /// What must stand behind the session id: the cookie, and no S bit in the default sublayer.
    pub tail: Tail,
    /// Ones in the bits of it that matter: a cookie's words and that S bit.
    pub tail_mask: Tail,
    /// The peer's port, then ours, as in a UDP header.
    pub ports: [Be16; 2],
    /// Index of the session's counters.
    pub slot: u32,
    /// See [`flag`].
    pub flags: u32,
    /// Where XDP sends the inner frame.
    pub xdp_ifindex: u32,
    /// Where TC sends the inner frame, see [`flag::INGRESS`].
    pub tc_ifindex: u32,
    /// The tag of a session of one VLAN, see [`flag::RETAG`].
    pub vlan: u16,
    /// For TCP SYNs on their way in.
    pub clamp: Clamp,
    /// The longest inner frame that the output takes, in bytes; of a pseudowire's device, from XDP.
    pub max_frame: u16,
    /// From the outer destination MAC to the inner one, in bytes.
    pub outer_len: u8,
    /// Zero.
    pub pad: u8,
}

impl RxSession {
    /// Are all bits of `flag` set?
    #[inline(always)]
    pub fn has(&self, flag: u32) -> bool {
        self.flags & flag == flag
    }
}

/// How many rows the arrays have that XDP looks into before it asks a hash table. A power of two.
pub const ROWS: u32 = 1024;

/// A row for the session that takes every frame of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct TxRow {
    /// Whose row this is.
    pub ifindex: u32,
    /// How to send what comes in there.
    pub session: TxSession,
}

impl TxRow {
    /// Where a device's row is, if it has one.
    #[inline(always)]
    pub const fn index(ifindex: u32) -> u32 {
        ifindex % ROWS
    }
}

/// A row for a receiving session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct RxRow {
    /// Whose row this is.
    pub session_id: u32,
    /// How to receive its messages.
    pub session: RxSession,
}

impl RxRow {
    /// Where a session's row is, if it has one.
    #[inline(always)]
    pub const fn index(session_id: u32) -> u32 {
        session_id % ROWS
    }
}

/// What user space is told of a frame it is to send, before the frame's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct SlowFrame {
    /// Index of the session's counters.
    pub slot: u32,
    /// The frame's bytes that follow.
    pub len: u32,
    /// The EtherType of its outermost tag if that is not in the bytes, otherwise 0: to be put in behind the MACs.
    pub vlan_proto: Be16,
    /// The control information of that tag.
    pub vlan_tci: Be16,
}

/// Where what comes in on a device of ours is handed on to: looked up by the device's index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Delivery {
    /// The device.
    pub ifindex: u32,
    /// [`flag::INGRESS`]: as if it had come in there, [`flag::RETAG`]: with a tag on.
    pub flags: u32,
    /// The tag.
    pub vlan: u16,
    /// Zero.
    pub pad: [u8; 2],
}

impl Delivery {
    /// As if frames had come in on a device.
    pub const fn into_device(ifindex: u32) -> Self {
        Self { ifindex, flags: flag::INGRESS, vlan: 0, pad: [0; 2] }
    }

    /// Out of a port, with the tag of its one VLAN.
    pub fn to_port(ifindex: u32, vlan: Option<u16>) -> Self {
        let flags = if vlan.is_some() { flag::RETAG } else { 0 };
        Self { ifindex, flags, vlan: vlan.unwrap_or(0), pad: [0; 2] }
    }

    /// Are all bits of `flag` set?
    #[inline(always)]
    pub fn has(&self, flag: u32) -> bool {
        self.flags & flag == flag
    }
}
