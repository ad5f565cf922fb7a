//! Headers as they lie in a packet, one file each: constants, the view, tests.
//!
//! Every view has alignment 1, no padding, and accepts any bytes ([`bytemuck::Pod`]); fields are in network order.

mod be;
mod eth;
mod ip;
mod l2tp;
mod outer;
mod tcp;
#[cfg(test)]
mod testing;
mod udp;

pub use be::{Be16, Be32};
pub use eth::{Eth, Vlan, ethertype};
pub use ip::{Ipv4, Ipv6, Kind4, protocol};
pub use l2tp::{
    L2SPEC_DEFAULT, L2SPEC_SEQUENCED, L2tpUdp, MAX_TAIL_WORDS, SEQUENCE_MASK, l2spec_sequenced,
    sequence_number,
};
pub use outer::{MAX_OUTER_LEN, Outer4, Outer6, Tail, Tailed4, Tailed6};
pub use tcp::{Tcp, TcpOption};
pub use udp::Udp;
