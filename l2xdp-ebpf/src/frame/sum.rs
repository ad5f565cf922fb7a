//! Sums over many bytes of a frame.

use super::hide;
use crate::maps::{self, Piece};
use aya_ebpf::helpers::bpf_csum_diff;
use l2xdp_common::{Reason, checksum};

/// Sums bytes of a frame, a piece at a time: `load(at, to, len)` copies a piece. The pieces are copied because the
/// verifier knows no way to read a variable number of bytes straight from a packet.
#[inline(always)]
pub fn pieces(mut offset: usize, len: usize, load: impl Fn(u32, *mut u8, u32) -> i64) -> Result<u16, Reason> {
    let piece = maps::scratch().ok_or(Reason::Short)?;
    let mut left = len;
    let mut sum = 0;
    for _ in 0..MAX_SUMMED / Piece::LEN {
        if left == 0 {
            break;
        }
        // 1 to LEN, in a form that Linux 6.1 believes.
        let size = (hide(left.min(Piece::LEN) - 1) & (Piece::LEN - 1)) + 1;
        // SAFETY: `Piece` has four bytes more than `LEN`.
        let rest = unsafe { piece.cast::<u8>().add(size) };
        // SAFETY: as above. These bytes make the last word of an odd length whole.
        unsafe { *rest.cast::<[u8; 4]>() = [0; 4] };
        if load(offset as u32, piece.cast(), size as u32) != 0 {
            return Err(Reason::Short);
        }
        let words = (size + 3) & !3;
        // SAFETY: the piece holds this many bytes.
        sum = unsafe { bpf_csum_diff(core::ptr::null_mut(), 0, piece.cast(), words as u32, sum) } as u32;
        offset += size;
        left -= size;
    }
    if left != 0 {
        return Err(Reason::Short);
    }
    // The helper sums words of the machine's order, which gives the sum in the packet's.
    Ok(u16::from_be_bytes(checksum::fold(sum).to_ne_bytes()))
}

/// The longest frame that can be summed, in bytes: a jumbo frame and its headers.
const MAX_SUMMED: usize = 20 * Piece::LEN;
