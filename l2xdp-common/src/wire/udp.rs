//! UDP (RFC 768).

use super::Be16;
use bytemuck::{Pod, Zeroable};

/// The 8 bytes of a UDP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Udp {
    /// Source port.
    pub src: Be16,
    /// Destination port.
    pub dst: Be16,
    /// Header and payload, in bytes.
    pub len: Be16,
    /// 0: none.
    pub checksum: Be16,
}

impl Udp {
    /// 8 bytes.
    pub const LEN: usize = size_of::<Self>();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::testing::{construct, deconstruct, impossible_length};

    #[test]
    fn udp() {
        let header = Udp {
            src: Be16::new(6000),
            dst: Be16::new(5000),
            len: Be16::new(83),
            checksum: Be16::new(0xffff),
        };
        let bytes = [0x17, 0x70, 0x13, 0x88, 0, 83, 0xff, 0xff];
        deconstruct(&bytes, header);
        construct(header, &bytes);
        impossible_length::<Udp>();
    }
}
