//! The Internet checksum (RFC 1071) and its incremental update (RFC 1624).

use crate::wire::{Be16, Be32};

/// Folds a sum of 16-bit words into one.
#[inline(always)]
pub const fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}

/// Folds a sum of 32-bit words, at most 65 536 of them, into one of 16 bits.
#[inline(always)]
pub const fn fold_wide(sum: u64) -> u16 {
    fold(add_parts(sum))
}

/// Is this sum of 32-bit words, at most 65 536 of them and not all 0, a zero of ones' complement arithmetic? What has
/// its checksum in it sums to that.
#[inline(always)]
pub const fn is_zero(sum: u64) -> bool {
    // A multiple of 0xffff, then: times its inverse modulo 2^64, those are the numbers up to the largest quotient.
    const INVERSE: u64 = 0xfffe_fffe_fffe_ffff;
    const _: () = assert!(INVERSE.wrapping_mul(0xffff) == 1);
    sum.wrapping_mul(INVERSE) <= u64::MAX / 0xffff
}

/// The three 16-bit words of such a sum, added.
#[inline(always)]
const fn add_parts(sum: u64) -> u32 {
    let (carries, sum) = ((sum >> 32) as u32, sum as u32);
    (sum & 0xffff) + (sum >> 16) + carries
}

/// The checksum after a 16-bit word of what it covers, which was 0, has become this one.
#[inline(always)]
pub const fn add(checksum: Be16, word: Be16) -> Be16 {
    let sum = !checksum.raw() as u32 + word.raw() as u32;
    // Once is enough for two words.
    Be16::from_raw(!((sum & 0xffff) + (sum >> 16)) as u16)
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
    u16::from_be(fold_wide(sum_pseudo4(src, dst, protocol, len)))
}

/// Is this checksum the sum of an IPv4 pseudo-header, not inverted?
#[inline(always)]
pub fn is_pseudo4(checksum: Be16, src: Be32, dst: Be32, protocol: u8, len: u16) -> bool {
    checksum != Be16::default() && is_zero(sum_pseudo4(src, dst, protocol, len) + u64::from(!checksum.raw()))
}

#[inline(always)]
fn sum_pseudo4(src: Be32, dst: Be32, protocol: u8, len: u16) -> u64 {
    // In network order, as a sum may be (RFC 1071 §2 (B)): two words need not be swapped.
    let rest = u64::from(u16::from(protocol).to_be()) + u64::from(len.to_be());
    u64::from(src.raw()) + u64::from(dst.raw()) + rest
}

/// Sum of an IPv6 pseudo-header (RFC 8200 §8.1), not inverted.
#[inline(always)]
pub fn pseudo6(src: &[Be32; 4], dst: &[Be32; 4], protocol: u8, len: u16) -> u16 {
    let address = |a: &[Be32; 4]| {
        u64::from(a[0].raw()) + u64::from(a[1].raw()) + u64::from(a[2].raw()) + u64::from(a[3].raw())
    };
    let rest = u64::from(u16::from(protocol).to_be()) + u64::from(len.to_be());
    u16::from_be(fold_wide(address(src) + address(dst) + rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 1071 §3.
    const EXAMPLE: [u8; 8] = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];

    #[test]
    fn sum_of_the_rfc() {
        assert_eq!(of(&EXAMPLE), 0xddf2);
    }

    #[test]
    fn odd_last_byte_is_followed_by_zero() {
        assert_eq!(of(&[]), 0);
        assert_eq!(of(&[0xab]), 0xab00);
        assert_eq!(of(&[0x12, 0x34, 0x56]), 0x1234 + 0x5600);
    }

    #[test]
    fn carries_are_folded_to_the_end() {
        assert_eq!(fold(u32::MAX), 0xffff);
        assert_eq!(fold(0x1_ffff), 1);
        assert_eq!(fold_wide(65_536 * 0xffff_ffff), 0xffff);
        assert_eq!(fold_wide(0x1_0000_0001_0001), 3);
        assert_eq!(of(&[0xff; 131_072]), 0xffff);
    }

    /// RFC 1624 §4, the example that older equations get wrong.
    #[test]
    fn replacement_of_the_rfc() {
        assert_eq!(replace(Be16::new(0xdd2f), Be16::new(0x5555), Be16::new(0x3285)), Be16::new(0x0000));
    }

    #[test]
    fn zero_has_carries_or_none() {
        assert!(is_zero(0xffff) && is_zero(0xffff_ffff) && is_zero(5 * 0xffff_ffff));
        assert!(is_zero(0x1_fffe) && is_zero(65_536 * 0xffff_ffff) && is_zero(0x1_0000_fffe));
        assert!(
            !is_zero(1)
                && !is_zero(0xfffe)
                && !is_zero(0x1_0000)
                && !is_zero(0x1_ffff)
                && !is_zero(0x1_0000_ffff)
        );
    }

    /// Against the sum itself, for sums around every kind of carry.
    #[test]
    fn zero_is_what_folds_to_zero() {
        for around in [0xffff, 0x1_0000, 0xffff_ffff, 0xffff_0000_ffff, 0x9abc_def0 * 0xffff] {
            for sum in around - 3..around + 3 {
                assert_eq!(is_zero(sum), fold_wide(sum) == 0xffff, "{sum:#x}");
            }
        }
    }

    #[test]
    fn checksum_of_a_pseudo_header() {
        let (a, b) = (Be32([192, 168, 255, 254]), Be32([255, 254, 253, 252]));
        for len in 0..=u16::MAX {
            let pseudo = Be16::new(pseudo4(a, b, 17, len));
            let other = Be16::new(pseudo.get().wrapping_add(1));
            assert!(is_pseudo4(pseudo, a, b, 17, len) && !is_pseudo4(other, a, b, 17, len));
            assert!(!is_pseudo4(Be16::default(), a, b, 17, len));
        }
    }

    #[test]
    fn word_added() {
        for [others, word] in [[0, 0], [0, 0xffff], [0xffff, 0xffff], [0x1234, 0xfedc], [0xffff, 0], [1, 1]] {
            let sum = !fold(u32::from(others) + u32::from(word));
            assert_eq!(add(Be16::new(!others), Be16::new(word)), Be16::new(sum), "{others:#x} {word:#x}");
        }
    }

    /// `pseudo4` and `pseudo6` against the bytes the RFCs draw.
    #[test]
    fn pseudo_headers() {
        let (a, b) = (Be32([192, 168, 255, 254]), Be32([255, 254, 253, 252]));
        assert_eq!(
            pseudo4(a, b, 17, 0xfffe),
            of(&[192, 168, 255, 254, 255, 254, 253, 252, 0, 17, 0xff, 0xfe])
        );
        let (a, b) = ([Be32::new(0xffff_fffe); 4], [Be32::new(0x2001_0db8); 4]);
        let addresses = [0xffff_fffe_u32, 0x2001_0db8].map(|word| [word.to_be_bytes(); 4].concat()).concat();
        let drawn = [&addresses[..], &[0, 0, 0xff, 0xfd, 0, 0, 0, 6]].concat();
        assert_eq!(pseudo6(&a, &b, 6, 0xfffd), of(&drawn));
    }
}
