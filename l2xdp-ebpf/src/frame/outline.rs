//! What programs call instead of having it in their line: the rare and the long.
//!
//! Each is global to the verifier, which checks it once by itself instead of once for each state that its callers come
//! in: within encapsulation, Linux 6.1 would take more than a million instructions for any of them. They answer with
//! numbers, because that is all the verifier lets a global function return.

use super::{TcFrame, XdpFrame, hide, sum};
use aya_ebpf::bindings::{__sk_buff, xdp_md};
use aya_ebpf::helpers::{bpf_skb_load_bytes, bpf_xdp_load_bytes};
use l2xdp_common::inner::{self, Checksums};
use l2xdp_common::session::Clamp;
use l2xdp_common::{Reason, encap, mss, udp_checksum};

macro_rules! outlined {
    ($($name:ident($frame:ident: $ty:ident of $ctx:ty, $($argument:ident),+) => $body:expr;)+) => { $(
        /// 0: done; anything else: an error, and nothing was changed.
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub extern "C" fn $name(ctx: *mut $ctx, $($argument: u32),+) -> u64 {
            let $frame = &mut $ty::of(ctx);
            $body.is_err().into()
        }
    )+ };
}

outlined! {
    clamp_mss_xdp(frame: XdpFrame of xdp_md, ipv4, ipv6, tag_mask, popped) =>
        mss::clamp(frame, &clamp(ipv4, ipv6, tag_mask), popped as usize);
    clamp_mss_skb(frame: TcFrame of __sk_buff, ipv4, ipv6, tag_mask, popped) =>
        mss::clamp(frame, &clamp(ipv4, ipv6, tag_mask), popped as usize);
    write_checksum_xdp(frame: XdpFrame of xdp_md, len, ipv6) => udp_checksum::write(frame, len as usize, ipv6 != 0);
    write_checksum_skb(frame: TcFrame of __sk_buff, len, ipv6) => udp_checksum::write(frame, len as usize, ipv6 != 0);
    check_finished_skb(frame: TcFrame of __sk_buff, flags) => encap::check_finished(frame, flags);
}

#[inline(always)]
fn clamp(ipv4: u32, ipv6: u32, tag_mask: u32) -> Clamp {
    Clamp { ipv4: ipv4 as u16, ipv6: ipv6 as u16, tag_mask: tag_mask as u16 }
}

/// What [`judged`] reads.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn judge_checksums_xdp(ctx: *mut xdp_md, at: u32) -> u64 {
    let frame = XdpFrame::of(ctx);
    // Hidden, because a comparison of its lower half alone tells the verifier nothing of the upper one.
    match inner::look(&frame, hide(at as usize)).checksums(&frame) {
        Checksums::Finished => FINISHED,
        Checksums::Unfinished => UNFINISHED,
        Checksums::Unknown => UNKNOWN,
    }
}

const FINISHED: u64 = 0;
const UNFINISHED: u64 = 1;
const UNKNOWN: u64 = 2;

/// What a function that judges checksums answered.
#[inline(always)]
pub fn judged(answer: u64) -> Checksums {
    match answer {
        FINISHED => Checksums::Finished,
        UNFINISHED => Checksums::Unfinished,
        _ => Checksums::Unknown,
    }
}

/// What [`verified`] reads. It takes no length of the outer headers: where they end matters to TC alone, and LLVM would
/// pass whatever is in the register for an argument that is not used, which the verifier refuses unless it is a number.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn check_checksum_xdp(ctx: *mut xdp_md, flags: u32) -> u64 {
    let unused = 0;
    verdict(udp_checksum::check(&mut XdpFrame::of(ctx), unused, flags))
}

/// What [`verified`] reads.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn check_checksum_skb(skb: *mut __sk_buff, outer_len: u32, flags: u32) -> u64 {
    verdict(udp_checksum::check(&mut TcFrame::of(skb), outer_len as usize, flags))
}

/// A checksum is right.
const RIGHT: u64 = 0;
/// TC can tell whether it is.
const TO_TC: u64 = 1;
/// It is not.
const WRONG: u64 = 2;

#[inline(always)]
fn verdict(checked: Result<(), Reason>) -> u64 {
    match checked {
        Ok(()) => RIGHT,
        Err(Reason::ToTc) => TO_TC,
        Err(_) => WRONG,
    }
}

/// What a function for the verification of a checksum answered.
#[inline(always)]
pub fn verified(answer: u64) -> Result<(), Reason> {
    match answer {
        RIGHT => Ok(()),
        TO_TC => Err(Reason::ToTc),
        _ => Err(Reason::Checksum),
    }
}

/// The sum of bytes of a frame, or `NOT_SUMMED`.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn sum_xdp(ctx: *mut xdp_md, offset: u32, len: u32) -> u64 {
    sum::pieces(offset as usize, len as usize, |at, to, len| {
        // SAFETY: `to` has room for `len` bytes.
        unsafe { bpf_xdp_load_bytes(ctx, at, to.cast(), len) }
    })
    .map_or(NOT_SUMMED, u64::from)
}

/// The sum of bytes of a frame, or `NOT_SUMMED`.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn sum_skb(skb: *mut __sk_buff, offset: u32, len: u32) -> u64 {
    sum::pieces(offset as usize, len as usize, |at, to, len| {
        // SAFETY: `to` has room for `len` bytes.
        unsafe { bpf_skb_load_bytes(skb.cast(), at, to.cast(), len) }
    })
    .map_or(NOT_SUMMED, u64::from)
}

/// No sum of 16 bits.
const NOT_SUMMED: u64 = 1 << 16;

/// What a function for a sum answered.
#[inline(always)]
pub fn summed(sum: u64) -> Result<u16, Reason> {
    if sum == NOT_SUMMED { Err(Reason::Short) } else { Ok(sum as u16) }
}

/// What an outlined function answered, after which packet pointers must be taken anew.
#[inline(always)]
pub fn answer(error: u64) -> Result<(), Reason> {
    if error != 0 { Err(Reason::Short) } else { Ok(()) }
}
