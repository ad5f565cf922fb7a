//! What several programs have in common.

use super::assembler::*;

/// A helper: the monotonic clock, in nanoseconds.
pub const KTIME_GET_NS: i32 = 5;
/// A helper: the verdict that sends a frame out of a device.
pub const REDIRECT: i32 = 23;

/// The body, in an XDP program, run where the frame has so many bytes; r2 is its begin, r3 its end. What follows is run
/// otherwise.
pub fn checked(bytes: usize, body: &[Instruction]) -> Vec<Instruction> {
    let past_end = if_greater(4, 3, body.len() as i16);
    let check = [load(WORD, 2, 1, 0), load(WORD, 3, 1, 4), copy(4, 2), add(4, bytes as i32), past_end];
    [&check[..], body].concat()
}

/// Writes bytes to r2, four at a time.
pub fn words(bytes: &[u8]) -> Vec<Instruction> {
    let word = |(index, word): (usize, &[u8])| {
        let value = i32::from_ne_bytes([word[0], word[1], word[2], word[3]]);
        store_value(2, 4 * index as i16, value)
    };
    bytes.chunks_exact(4).enumerate().map(word).collect()
}

/// Sends it out of a device.
pub fn send_out_of(ifindex: u32, flags: i32) -> Vec<Instruction> {
    vec![set(1, ifindex.cast_signed()), set(2, flags), call(REDIRECT), EXIT]
}
