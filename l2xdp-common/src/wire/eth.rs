//! Ethernet II (IEEE 802.3 clause 3) and VLAN tags (IEEE 802.1Q clause 9).

use super::Be16;
use bytemuck::{Pod, Zeroable};

/// EtherTypes the packet logic tells apart.
pub mod ethertype {
    use super::Be16;
    /// IPv4.
    pub const IPV4: Be16 = Be16::new(0x0800);
    /// IPv6.
    pub const IPV6: Be16 = Be16::new(0x86dd);
    /// 802.1Q customer tag.
    pub const VLAN: Be16 = Be16::new(0x8100);
    /// 802.1ad service tag.
    pub const QINQ: Be16 = Be16::new(0x88a8);
}

/// The 14 bytes before the payload of an Ethernet frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Eth {
    /// Destination MAC.
    pub dst: [u8; 6],
    /// Source MAC.
    pub src: [u8; 6],
    /// What follows.
    pub ethertype: Be16,
}

impl Eth {
    /// 14 bytes.
    pub const LEN: usize = size_of::<Self>();
}

/// The four bytes a VLAN tag puts between EtherType and payload: control information, then the next EtherType.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Vlan {
    /// Priority (3 bits), drop eligible (1), VLAN id (12).
    pub tci: Be16,
    /// What follows the tag.
    pub ethertype: Be16,
}

impl Vlan {
    /// 4 bytes.
    pub const LEN: usize = size_of::<Self>();
    /// The bits of [`tci`](Self::tci) that name the VLAN.
    pub const ID_MASK: u16 = 0x0fff;

    /// Is this the EtherType of a VLAN tag?
    #[inline(always)]
    pub fn is_tag(ethertype: Be16) -> bool {
        ethertype == ethertype::VLAN || ethertype == ethertype::QINQ
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::testing::{construct, deconstruct, impossible_length};

    const BYTES: [u8; Eth::LEN] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0x88, 0xa8];
    const HEADER: Eth =
        Eth { dst: [1, 2, 3, 4, 5, 6], src: [7, 8, 9, 10, 11, 12], ethertype: ethertype::QINQ };

    #[test]
    fn ethernet() {
        deconstruct(&BYTES, HEADER);
        construct(HEADER, &BYTES);
        impossible_length::<Eth>();
    }

    #[test]
    fn tag() {
        let tag = Vlan { tci: Be16::new(5 << 13 | 100), ethertype: ethertype::IPV6 };
        deconstruct(&[0xa0, 100, 0x86, 0xdd], tag);
        construct(tag, &[0xa0, 100, 0x86, 0xdd]);
        impossible_length::<Vlan>();
        assert_eq!(tag.tci.get() & Vlan::ID_MASK, 100);
    }

    #[test]
    fn customer_and_service_tags_are_tags() {
        assert!(Vlan::is_tag(Be16::new(0x8100)) && Vlan::is_tag(Be16::new(0x88a8)));
        assert!(!Vlan::is_tag(ethertype::IPV4) && !Vlan::is_tag(ethertype::IPV6));
    }
}
