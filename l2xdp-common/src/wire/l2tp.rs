//! L2TPv3 data messages over UDP (RFC 3931 §4.1.2.1).

use super::{Be16, Be32};
use bytemuck::{Pod, Zeroable};

/// What an L2TPv3 data message over UDP starts with. Cookie and L2-specific sublayer follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct L2tpUdp {
    /// T bit, reserved bits, version (RFC 3931 Figure 4.1.2.1).
    pub flags: Be16,
    /// Sent as 0, ignored on receipt.
    pub reserved: Be16,
    /// The **receiver's** session id.
    pub session_id: Be32,
}

impl L2tpUdp {
    /// 8 bytes.
    pub const LEN: usize = size_of::<Self>();
    /// The first 16 bits of a data message.
    pub const DATA: Be16 = Be16::new(0x0003);
    /// Set in control messages (T bit).
    const CONTROL: Be16 = Be16::new(0x8000);
    /// The bits that hold the version.
    const VERSION: Be16 = Be16::new(0x000f);

    /// A data message of version 3. Other bits are "reserved, ignored on receipt".
    #[inline(always)]
    pub fn is_data(&self) -> bool {
        self.flags.raw() & (Self::CONTROL.raw() | Self::VERSION.raw()) == Self::DATA.raw()
    }

    /// A control message: the business of the tunnel's socket.
    #[inline(always)]
    pub fn is_control(&self) -> bool {
        self.flags.raw() & Self::CONTROL.raw() != 0
    }
}

/// The default L2-specific sublayer (RFC 3931 §4.6) of an unsequenced session: S bit clear, sequence number 0.
pub const L2SPEC_DEFAULT: Be32 = Be32::new(0);

/// The S bit in it: a sequence number follows.
pub const L2SPEC_SEQUENCED: Be32 = Be32::new(0x4000_0000);

/// Sequence numbers, Ns, have 24 bits.
pub const SEQUENCE_MASK: u32 = 0x00ff_ffff;

/// The default sublayer with a sequence number, of which 24 bits are taken.
pub const fn l2spec_sequenced(ns: u32) -> Be32 {
    Be32::new(L2SPEC_SEQUENCED.get() | ns & SEQUENCE_MASK)
}

/// The sequence number in a default sublayer, if it holds one.
pub const fn sequence_number(l2spec: Be32) -> Option<u32> {
    let word = l2spec.get();
    if word & L2SPEC_SEQUENCED.get() == 0 { None } else { Some(word & SEQUENCE_MASK) }
}

/// A cookie of up to two words and an L2-specific sublayer of one.
pub const MAX_TAIL_WORDS: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::testing::{construct, deconstruct, impossible_length};

    #[test]
    fn data_message() {
        let header = L2tpUdp { flags: L2tpUdp::DATA, reserved: Be16::default(), session_id: Be32::new(4000) };
        deconstruct(&[0, 3, 0, 0, 0, 0, 0x0f, 0xa0], header);
        construct(header, &[0, 3, 0, 0, 0, 0, 0x0f, 0xa0]);
        impossible_length::<L2tpUdp>();
    }

    #[test]
    fn sequence_numbers() {
        assert_eq!(l2spec_sequenced(0x01_0203).0, [0x40, 1, 2, 3]);
        assert_eq!(l2spec_sequenced(0x0100_0000).0, [0x40, 0, 0, 0]);
        assert_eq!(sequence_number(Be32([0x40, 1, 2, 3])), Some(0x01_0203));
        assert_eq!(sequence_number(Be32([0xff; 4])), Some(0xff_ffff), "other bits are ignored");
        assert_eq!(sequence_number(Be32([0xbf, 1, 2, 3])), None);
    }

    #[test]
    fn control_and_version() {
        let header = |flags: u16| L2tpUdp { flags: Be16::new(flags), ..Zeroable::zeroed() };
        assert!(header(0xc803).is_control() && header(0x8000).is_control());
        assert!(!header(0x7ff3).is_control() && header(0x7ff3).is_data());
        assert!(!header(0x0002).is_data() && !header(0x0007).is_data() && !header(0x000b).is_data());
        assert!(!header(0x8003).is_data());
    }
}
