//! All headers of an encapsulated frame in one piece, the way they are copied and checked.
//!
//! The part of variable length, cookie and L2-specific sublayer, is at most three words long. Those twelve bytes
//! are there to be read and written in every packet, because an Ethernet header of 14 bytes always follows.

use super::{Be32, Eth, Ipv4, Ipv6, Kind4, L2tpUdp, MAX_TAIL_WORDS, Udp, protocol};
use bytemuck::{Pod, Zeroable};

/// Cookie, then L2-specific sublayer, each only if the session has it; what is left over is inner frame.
pub type Tail = [Be32; MAX_TAIL_WORDS];

macro_rules! headers {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $ty:ty),+ })+) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
        #[repr(C)]
        pub struct $name { $($(#[$field_doc])* pub $field: $ty),+ }
        impl $name {
            /// In bytes.
            pub const LEN: usize = size_of::<Self>();
        }
    )+ };
}

headers! {
    /// The headers of constant length over IPv4: 50 bytes.
    Outer4 {
        /// To the next hop.
        eth: Eth,
        /// Between the tunnel's ends.
        ip: Ipv4,
        /// The tunnel's ports.
        udp: Udp,
        /// The session.
        l2tp: L2tpUdp
    }
    /// The headers of constant length over IPv6: 70 bytes.
    Outer6 {
        /// To the next hop.
        eth: Eth,
        /// Between the tunnel's ends.
        ip: Ipv6,
        /// The tunnel's ports.
        udp: Udp,
        /// The session.
        l2tp: L2tpUdp
    }
    /// [`Outer4`] and the most that can follow it.
    Tailed4 {
        /// Constant length.
        base: Outer4,
        /// Variable length.
        tail: Tail
    }
    /// [`Outer6`] and the most that can follow it.
    Tailed6 {
        /// Constant length.
        base: Outer6,
        /// Variable length.
        tail: Tail
    }
}

/// [`Outer4`], as what it begins with.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct OuterKind {
    kind: Kind4,
    rest: [u8; Outer4::LEN - size_of::<Kind4>()],
}

impl Outer4 {
    /// UDP over IPv4, without options, whole.
    #[inline(always)]
    pub fn is_udp(&self) -> bool {
        bytemuck::must_cast_ref::<_, OuterKind>(self).kind.is(protocol::UDP)
    }
}

/// The longest outer header: IPv6, cookie of 8 bytes, L2-specific sublayer.
pub const MAX_OUTER_LEN: usize = Tailed6::LEN;

// The wire's lengths, held by the compiler.
const _: () =
    assert!(Outer4::LEN == 14 + 20 + 8 + 8 && Outer6::LEN == 14 + 40 + 8 + 8 && MAX_OUTER_LEN == 82);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::testing::{deconstruct, impossible_length};

    #[test]
    fn headers_follow_each_other() {
        // Each byte is its own offset.
        let bytes: [u8; MAX_OUTER_LEN] = core::array::from_fn(|at| at as u8);
        let v4: Tailed4 = *bytemuck::from_bytes(&bytes[..Tailed4::LEN]);
        deconstruct(&bytes[..Tailed4::LEN], v4);
        assert_eq!((v4.base.eth.dst[0], v4.base.ip.version_ihl), (0, 14));
        assert_eq!((v4.base.udp.src.0[0], v4.base.l2tp.flags.0[0], v4.tail[0].0[0]), (34, 42, 50));
        let v6: Tailed6 = *bytemuck::from_bytes(&bytes);
        assert_eq!((v6.base.ip.version_class_flow.0[0], v6.base.udp.src.0[0]), (14, 54));
        assert_eq!((v6.base.l2tp.flags.0[0], v6.tail[0].0[0], v6.tail[2].0[3]), (62, 70, 81));
    }

    #[test]
    fn lengths() {
        impossible_length::<Outer4>();
        impossible_length::<Outer6>();
        impossible_length::<Tailed4>();
        impossible_length::<Tailed6>();
    }
}
