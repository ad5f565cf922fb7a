//! The Internet checksum (RFC 1071) and its incremental update (RFC 1624).

use crate::wire::{Be16, Be32};

/// Folds a sum of 16-bit words into one.
#[inline(always)]
pub const fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}

/// Folds a sum of 32-bit words into one of 16 bits.
#[inline(always)]
pub const fn fold_wide(sum: u64) -> u16 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    fold((sum as u32 & 0xffff) + (sum as u32 >> 16))
}

/// Ones' complement sum of bytes, not inverted; an odd last byte counts as if a zero followed.
pub fn of(bytes: &[u8]) -> u16 {
    let mut words = bytes.chunks_exact(2);
    let mut sum: u64 = words.by_ref().map(|word| u64::from(word[0]) << 8 | u64::from(word[1])).sum();
    if let [last] = words.remainder() {
        sum += u64::from(*last) << 8;
    }
    fold_wide(sum)
}

/// The checksum after one 16-bit word of what it covers has changed (RFC 1624 equation 3).
#[inline(always)]
pub const fn replace(checksum: Be16, old: Be16, new: Be16) -> Be16 {
    let sum = !checksum.get() as u32 + !old.get() as u32 + new.get() as u32;
    Be16::new(!fold(sum))
}

/// Sum of an IPv4 pseudo-header (RFC 768), not inverted.
#[inline(always)]
pub fn pseudo4(src: Be32, dst: Be32, protocol: u8, len: u16) -> u16 {
    fold_wide(u64::from(src.get()) + u64::from(dst.get()) + u64::from(protocol) + u64::from(len))
}

/// Sum of an IPv6 pseudo-header (RFC 8200 §8.1), not inverted.
#[inline(always)]
pub fn pseudo6(src: &[Be32; 4], dst: &[Be32; 4], protocol: u8, len: u16) -> u16 {
    let address = |a: &[Be32; 4]| {
        u64::from(a[0].get()) + u64::from(a[1].get()) + u64::from(a[2].get()) + u64::from(a[3].get())
    };
    fold_wide(address(src) + address(dst) + u64::from(protocol) + u64::from(len))
}
