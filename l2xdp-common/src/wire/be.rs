//! Integers in network order with alignment 1.

use bytemuck::{Pod, Zeroable};

macro_rules! big_endian {
    ($(#[$doc:meta])* $name:ident, $int:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Pod, Zeroable)]
        #[repr(transparent)]
        pub struct $name(pub [u8; size_of::<$int>()]);

        impl $name {
            /// Puts a host-order value into network order.
            #[inline(always)]
            pub const fn new(host: $int) -> Self {
                Self(host.to_be_bytes())
            }
            /// The value in host order.
            #[inline(always)]
            pub const fn get(self) -> $int {
                <$int>::from_be_bytes(self.0)
            }
            /// The bytes as a native integer, for comparing without a byte swap.
            #[inline(always)]
            pub const fn raw(self) -> $int {
                <$int>::from_ne_bytes(self.0)
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, "{:#x}", self.get())
            }
        }
    };
}

big_endian!(
    /// A `u16` in network order.
    Be16, u16
);
big_endian!(
    /// A `u32` in network order.
    Be32, u32
);
