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
            /// What [`raw`](Self::raw) has given.
            #[inline(always)]
            pub const fn from_raw(native: $int) -> Self {
                Self(native.to_ne_bytes())
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

impl Be16 {
    /// This and the next word as a native integer, for comparing both at once.
    #[inline(always)]
    pub fn with(self, next: Self) -> u32 {
        u32::from_ne_bytes(bytemuck::must_cast([self, next]))
    }
}

impl Be32 {
    /// This and the next word as a native integer, for comparing both at once.
    #[inline(always)]
    pub fn with(self, next: Self) -> u64 {
        u64::from_ne_bytes(bytemuck::must_cast([self, next]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_in_network_order() {
        assert_eq!(Be16::new(0x0102).0, [1, 2]);
        assert_eq!(Be32([1, 2, 3, 4]).get(), 0x0102_0304);
    }

    #[test]
    fn raw_values_compare_like_bytes() {
        assert_eq!(Be32::new(7).raw(), Be32([0, 0, 0, 7]).raw());
        assert_ne!(Be16::new(0x0102).raw(), Be16::new(0x0201).raw());
    }
}
