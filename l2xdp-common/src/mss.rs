//! The MSS clamp: TCP SYNs and SYN-ACKs offer no more than fits through the tunnel (RFC 9293 §3.7.1).

use crate::frame::Frame;
use crate::inner::{self, Inner};
use crate::reason::Reason;
use crate::session::Clamp;
use crate::wire::{Be16, Tcp, TcpOption};
use core::mem::offset_of;

/// A TCP header holds 40 bytes of options, and one that starts in the last three can't be an MSS.
const MAX_OPTIONS: usize = 37;

/// Lowers the MSS option of a SYN, and its checksum with it; what [`Frame::clamp_mss`] does. Of the frame's tags,
/// `popped` bytes are not sent. Everything else is left alone.
///
/// # Errors
/// [`Reason::Short`] if the header ends early; nothing was changed then.
#[inline(always)]
pub fn clamp<F: Frame>(frame: &mut F, clamp: &Clamp, popped: usize) -> Result<(), Reason> {
    let Inner::Transport(l4) = inner::look(frame, 0) else { return Ok(()) };
    let limit = if l4.network.ipv6 { clamp.ipv6 } else { clamp.ipv4 };
    if limit == 0 || !l4.tcp || frame.header::<Tcp>(l4.offset)?.flags & Tcp::SYN == 0 {
        return Ok(());
    }
    let tags = l4.network.tags.saturating_sub(popped);
    lower(frame, l4.offset, limit.saturating_sub(tags as u16 & clamp.tag_mask))
}

/// Finds the MSS option of the TCP header at byte `tcp` and lowers it to `limit`.
///
/// # Errors
/// [`Reason::Short`] if the header ends early; nothing was changed then.
#[inline(always)]
pub fn lower<F: Frame>(frame: &mut F, tcp: usize, limit: u16) -> Result<(), Reason> {
    let header_len = frame.header::<Tcp>(tcp)?.header_len();
    let mut at = Tcp::LEN;
    for _ in 0..MAX_OPTIONS {
        if at + size_of::<TcpOption>() > header_len {
            break;
        }
        let option = frame.header_mut::<TcpOption>(tcp + at)?;
        if option.kind == TcpOption::END {
            break;
        }
        if option.kind == TcpOption::MSS {
            let mss = option.value;
            if option.len != TcpOption::MSS_LEN || mss.get() <= limit {
                break;
            }
            option.value = Be16::new(limit);
            // At an odd offset the value lies across two of the checksum's words.
            let word = |value: u16| Be16::new(if at & 1 == 0 { value } else { value.swap_bytes() });
            return frame.update_checksum(tcp + offset_of!(Tcp, checksum), word(mss.get()), word(limit));
        }
        // One byte for a NOP, otherwise the option's length (0 ends the walk). Arithmetic, not a branch: with one,
        // the verifier would keep a state for each offset of each turn, a million instructions on Linux 6.1.
        let not_nop = (usize::from(option.kind ^ TcpOption::NOP) + 0xff) >> 8;
        at += 1 + (not_nop.wrapping_neg() & usize::from(option.len.wrapping_sub(1)));
    }
    Ok(())
}
