//! IPv4 (RFC 791) without options, and the fixed IPv6 header (RFC 8200).

use super::{Be16, Be32};
use bytemuck::{Pod, Zeroable};

/// IP protocol numbers.
pub mod protocol {
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// The IPv6 fragment header.
    pub const IPV6_FRAGMENT: u8 = 44;
}

/// The 20 bytes every IPv4 header starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Ipv4 {
    /// Version (4 bits) and header length in words.
    pub version_ihl: u8,
    /// DSCP (6 bits) and ECN.
    pub tos: u8,
    /// Header and payload, in bytes.
    pub total_len: Be16,
    /// Identification.
    pub id: Be16,
    /// Flags (3 bits) and fragment offset.
    pub fragment: Be16,
    /// Time to live.
    pub ttl: u8,
    /// What follows.
    pub protocol: u8,
    /// Header checksum.
    pub checksum: Be16,
    /// Source address.
    pub src: Be32,
    /// Destination address.
    pub dst: Be32,
}

impl Ipv4 {
    /// 20 bytes: a header without options.
    pub const LEN: usize = size_of::<Self>();
    /// Version 4, five words.
    pub const VERSION_IHL: u8 = 0x45;
    /// The flag "don't fragment".
    pub const DF: Be16 = Be16::new(0x4000);
    /// "More fragments" and the offset: any of them set makes a fragment.
    const FRAGMENT: Be16 = Be16::new(0x3fff);

    /// The header's length in bytes as it says itself, 0 to 60.
    #[inline(always)]
    pub fn header_len(&self) -> usize {
        usize::from(self.version_ihl & 0x0f) * 4
    }

    /// First, middle or last fragment of a datagram.
    #[inline(always)]
    pub fn is_fragment(&self) -> bool {
        self.fragment.raw() & Self::FRAGMENT.raw() != 0
    }
}

/// The 40 bytes every IPv6 header starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Ipv6 {
    /// Version (4 bits), traffic class (8), flow label (20).
    pub version_class_flow: Be32,
    /// What follows this header, in bytes.
    pub payload_len: Be16,
    /// What follows.
    pub next_header: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Source address.
    pub src: [Be32; 4],
    /// Destination address.
    pub dst: [Be32; 4],
}

impl Ipv6 {
    /// 40 bytes.
    pub const LEN: usize = size_of::<Self>();

    /// The first word for a traffic class, flow label 0.
    #[inline(always)]
    pub const fn version_class(class: u8) -> Be32 {
        Be32::new(6 << 28 | (class as u32) << 20)
    }

    /// 6.
    #[inline(always)]
    pub const fn version(&self) -> u8 {
        self.version_class_flow.0[0] >> 4
    }

    /// DSCP and ECN.
    #[inline(always)]
    pub fn class(&self) -> u8 {
        (self.version_class_flow.get() >> 20) as u8
    }
}
