//! All headers of an encapsulated frame in one piece, the way they are copied and checked.
//!
//! The part of variable length, cookie and L2-specific sublayer, is at most three words long. Those twelve bytes
//! are there to be read and written in every packet, because an Ethernet header of 14 bytes always follows.

use super::{Be32, Eth, Ipv4, Ipv6, L2tpUdp, MAX_TAIL_WORDS, Udp};
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

/// The longest outer header: IPv6, cookie of 8 bytes, L2-specific sublayer.
pub const MAX_OUTER_LEN: usize = Tailed6::LEN;

// The wire's lengths, held by the compiler.
const _: () =
    assert!(Outer4::LEN == 14 + 20 + 8 + 8 && Outer6::LEN == 14 + 40 + 8 + 8 && MAX_OUTER_LEN == 82);
