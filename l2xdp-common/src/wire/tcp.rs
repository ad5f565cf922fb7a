//! TCP (RFC 9293), as far as the MSS clamp reads it.

use super::{Be16, Be32};
use bytemuck::{Pod, Zeroable};

/// The 20 bytes every TCP header starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Tcp {
    /// Source port.
    pub src: Be16,
    /// Destination port.
    pub dst: Be16,
    /// Sequence number.
    pub seq: Be32,
    /// Acknowledged.
    pub ack: Be32,
    /// Header length in words (4 bits), reserved bits.
    pub data_offset: u8,
    /// CWR ECE URG ACK PSH RST SYN FIN.
    pub flags: u8,
    /// Receive window.
    pub window: Be16,
    /// Over pseudo-header, header and payload.
    pub checksum: Be16,
    /// Urgent pointer.
    pub urgent: Be16,
}

impl Tcp {
    /// 20 bytes: a header without options.
    pub const LEN: usize = size_of::<Self>();
    /// The bit of [`flags`](Self::flags) that opens a connection: SYN and SYN-ACK have it.
    pub const SYN: u8 = 0x02;

    /// The header's length in bytes as it says itself, 0 to 60.
    #[inline(always)]
    pub fn header_len(&self) -> usize {
        usize::from(self.data_offset >> 4) * 4
    }
}

/// The first four bytes of a TCP option (RFC 9293 §3.2): all of a maximum segment size option.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct TcpOption {
    /// Which option; 0 and 1 are this byte alone.
    pub kind: u8,
    /// The whole option, in bytes.
    pub len: u8,
    /// Its first value bytes.
    pub value: Be16,
}

impl TcpOption {
    /// End of the option list.
    pub const END: u8 = 0;
    /// Padding of one byte.
    pub const NOP: u8 = 1;
    /// Maximum segment size.
    pub const MSS: u8 = 2;
    /// The length of a maximum segment size option.
    pub const MSS_LEN: u8 = 4;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::testing::{construct, deconstruct, impossible_length};

    #[test]
    fn tcp() {
        let header = Tcp {
            src: Be16::new(40000),
            dst: Be16::new(80),
            seq: Be32::new(0x0102_0304),
            ack: Be32::new(0x0506_0708),
            data_offset: 0xaf,
            flags: Tcp::SYN,
            window: Be16::new(64240),
            checksum: Be16::new(0xabcd),
            urgent: Be16::new(9),
        };
        let bytes = [0x9c, 0x40, 0, 80, 1, 2, 3, 4, 5, 6, 7, 8, 0xaf, 2, 0xfa, 0xf0, 0xab, 0xcd, 0, 9];
        deconstruct(&bytes, header);
        construct(header, &bytes);
        impossible_length::<Tcp>();
        assert_eq!(header.header_len(), 40);
    }

    #[test]
    fn mss_option() {
        let option = TcpOption { kind: TcpOption::MSS, len: TcpOption::MSS_LEN, value: Be16::new(1460) };
        deconstruct(&[2, 4, 0x05, 0xb4], option);
        construct(option, &[2, 4, 0x05, 0xb4]);
        impossible_length::<TcpOption>();
    }
}
