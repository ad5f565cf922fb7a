//! Per-session counters, named as the kernel names them (`L2TP_ATTR_STATS` of `linux/l2tp.h`).

use bytemuck::{Pod, Zeroable};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// One session's counters on one CPU.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
        #[repr(C)]
        pub struct SessionCounters { $($(#[$doc])* pub $name: u64),+ }

        impl SessionCounters {
            /// Name and value of each counter.
            pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name)),+].into_iter()
            }
        }

        impl core::ops::AddAssign<&Self> for SessionCounters {
            fn add_assign(&mut self, other: &Self) {
                $(self.$name += other.$name;)+
            }
        }
    };
}

counters! {
    /// Frames encapsulated and sent; each packet of a super-packet counts.
    tx_packets,
    /// Their inner Ethernet frames, in bytes.
    tx_bytes,
    /// Frames for this session that could not be sent.
    tx_errors,
    /// Frames decapsulated and delivered.
    rx_packets,
    /// Their inner Ethernet frames, in bytes.
    rx_bytes,
    /// Messages for this session that were dropped.
    rx_errors,
    /// Those of them whose cookie was not ours.
    rx_cookie_discards,
}
