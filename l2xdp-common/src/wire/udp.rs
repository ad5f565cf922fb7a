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
