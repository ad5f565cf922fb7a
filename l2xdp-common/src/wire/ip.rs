//! IPv4 (RFC 791) without options, and the fixed IPv6 header (RFC 8200).

use super::{Be16, Be32};
use crate::checksum;
use bytemuck::{Pod, Zeroable};

/// IP protocol numbers.
pub mod protocol {
    /// ICMP.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// The IPv6 fragment header.
    pub const IPV6_FRAGMENT: u8 = 44;
    /// ICMP for IPv6.
    pub const ICMPV6: u8 = 58;
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

    /// The header's checksum is right, in a header without options (RFC 791 §3.1).
    #[inline(always)]
    pub fn is_intact(&self) -> bool {
        let words: [Be32; Self::LEN / 4] = bytemuck::must_cast(*self);
        checksum::is_zero(words.iter().map(|word| u64::from(word.raw())).sum())
    }

    /// First, middle or last fragment of a datagram.
    #[inline(always)]
    pub fn is_fragment(&self) -> bool {
        self.fragment.raw() & Self::FRAGMENT.raw() != 0
    }
}

/// What an Ethernet and an IPv4 header begin with, in the words that tell most packets from others by two comparisons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Kind4 {
    macs: [Be32; 3],
    /// EtherType, version and header length, type of service.
    version: Be32,
    lengths: Be32,
    /// Flags and fragment offset, time to live, protocol.
    content: Be32,
}

impl Kind4 {
    /// A whole packet of this protocol, without options, right behind the Ethernet header.
    #[inline(always)]
    pub fn is(&self, protocol: u8) -> bool {
        const VERSION: Be32 = Be32([0x08, 0x00, Ipv4::VERSION_IHL, 0]);
        const VERSION_MASK: Be32 = Be32([u8::MAX, u8::MAX, u8::MAX, 0]);
        let [high, low] = Ipv4::FRAGMENT.0;
        self.version.raw() & VERSION_MASK.raw() == VERSION.raw()
            && self.content.raw() & Be32([high, low, 0, u8::MAX]).raw() == Be32([0, 0, 0, protocol]).raw()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::testing::{construct, deconstruct, impossible_length};

    const V4: Ipv4 = Ipv4 {
        version_ihl: 0x46,
        tos: 0xb8,
        total_len: Be16::new(60),
        id: Be16::new(0x1c46),
        fragment: Ipv4::DF,
        ttl: 64,
        protocol: protocol::TCP,
        checksum: Be16::new(0xb1e6),
        src: Be32([192, 168, 0, 1]),
        dst: Be32([192, 168, 0, 2]),
    };
    const V4_BYTES: [u8; Ipv4::LEN] =
        [0x46, 0xb8, 0, 60, 0x1c, 0x46, 0x40, 0, 64, 6, 0xb1, 0xe6, 192, 168, 0, 1, 192, 168, 0, 2];

    #[test]
    fn ipv4() {
        deconstruct(&V4_BYTES, V4);
        construct(V4, &V4_BYTES);
        impossible_length::<Ipv4>();
        assert_eq!(V4.header_len(), 24);
    }

    #[test]
    fn ipv4_fragments() {
        let fragment = |field: u16| Ipv4 { fragment: Be16::new(field), ..V4 }.is_fragment();
        assert!(!fragment(0) && !fragment(0x4000) && !fragment(0x8000));
        assert!(fragment(0x2000) && fragment(0x2001) && fragment(0x0001) && fragment(0x1000));
    }

    #[test]
    fn a_header_with_a_bit_changed_is_not_intact() {
        // From RFC 1071's arithmetic by hand: 4500 + 0073 + 4000 + 4011 + b861 + c0a8 + 0001 + c0a8 + 00c7 = 2fffd.
        let right = Ipv4 {
            version_ihl: Ipv4::VERSION_IHL,
            tos: 0,
            total_len: Be16::new(0x73),
            id: Be16::new(0),
            fragment: Ipv4::DF,
            ttl: 64,
            protocol: protocol::UDP,
            checksum: Be16::new(0xb861),
            src: Be32([192, 168, 0, 1]),
            dst: Be32([192, 168, 0, 199]),
        };
        assert!(right.is_intact());
        for bit in 0..Ipv4::LEN * 8 {
            let mut bytes: [u8; Ipv4::LEN] = bytemuck::cast(right);
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(!bytemuck::cast::<_, Ipv4>(bytes).is_intact(), "bit {bit}");
        }
    }

    #[test]
    fn ipv6() {
        let header = Ipv6 {
            version_class_flow: Be32::new(0x6b81_2345),
            payload_len: Be16::new(20),
            next_header: protocol::UDP,
            hop_limit: 7,
            src: [Be32::new(0x2001_0db8), Be32::new(1), Be32::new(2), Be32::new(3)],
            dst: [Be32::new(0xfe80_0000), Be32::new(4), Be32::new(5), Be32::new(6)],
        };
        let bytes = [
            0x6b, 0x81, 0x23, 0x45, 0, 20, 17, 7, 0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3,
            0xfe, 0x80, 0, 0, 0, 0, 0, 4, 0, 0, 0, 5, 0, 0, 0, 6,
        ];
        deconstruct(&bytes, header);
        construct(header, &bytes);
        impossible_length::<Ipv6>();
        assert_eq!((header.version(), header.class()), (6, 0xb8));
    }

    #[test]
    fn ipv6_first_word() {
        assert_eq!(Ipv6::version_class(0xb8).0, [0x6b, 0x80, 0, 0]);
    }
}
