//! The programs, and the one place that turns reasons into what the kernel does with a packet.

use crate::frame::{TcFrame, XdpFrame};
use crate::maps::{self, Maps};
use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::{BPF_F_INGRESS, TC_ACT_SHOT, TC_ACT_UNSPEC, xdp_action};
use aya_ebpf::helpers::bpf_redirect;
use aya_ebpf::macros::{classifier, xdp};
use aya_ebpf::programs::{TcContext, XdpContext};
use aya_log_ebpf::debug;
use l2xdp_common::session::flag;
use l2xdp_common::{Frame, Reason, RxSession, TxSession, Verdict, decap, encap};

/// XDP on a port: encapsulates what comes in.
#[xdp]
pub fn xdp_encap(ctx: XdpContext) -> u32 {
    let mut frame = XdpFrame::new(&ctx);
    match encapsulate(&mut frame, ctx.ingress_ifindex() as u32) {
        Ok(tx) => redirect(tx.ifindex, 0),
        Err(reason) => xdp_verdict(&ctx, reason),
    }
}

/// XDP on a WAN device: decapsulates what is ours.
#[xdp]
pub fn xdp_decap(ctx: XdpContext) -> u32 {
    let mut frame = XdpFrame::new(&ctx);
    match decapsulate(&mut frame) {
        Ok(rx) => redirect(rx.xdp_ifindex, 0),
        Err(reason) => xdp_verdict(&ctx, reason),
    }
}

/// TC: encapsulates what leaves a pseudowire's device (egress) or comes in on a port (ingress).
#[classifier]
pub fn tc_encap(ctx: TcContext) -> i32 {
    let frame = TcFrame::new(&ctx);
    let ifindex = frame.ifindex();
    tc_encapsulate(&ctx, frame, ifindex)
}

/// TC ingress on a WAN device: decapsulates what is ours.
#[classifier]
pub fn tc_decap(ctx: TcContext) -> i32 {
    tc_decapsulate(&ctx, TcFrame::new(&ctx))
}

/// TC ingress on the splitter's far end: does the work of the two above on the packets that a super-packet of theirs
/// was split into. The mark is the device it was to be encapsulated on, or 0.
#[classifier]
pub fn tc_split(ctx: TcContext) -> i32 {
    let mut frame = TcFrame::new(&ctx);
    match frame.take_mark() {
        0 => tc_decapsulate(&ctx, frame),
        ifindex => tc_encapsulate(&ctx, frame, ifindex),
    }
}

#[inline(always)]
fn tc_encapsulate(ctx: &TcContext, mut frame: TcFrame, ifindex: u32) -> i32 {
    match encapsulate(&mut frame, ifindex) {
        Ok(tx) => redirect(tx.ifindex, 0) as i32,
        Err(reason) => tc_verdict(ctx, &frame, reason, ifindex),
    }
}

#[inline(always)]
fn tc_decapsulate(ctx: &TcContext, mut frame: TcFrame) -> i32 {
    match decapsulate(&mut frame) {
        Ok(rx) => {
            redirect(rx.tc_ifindex, if rx.has(flag::INGRESS) { BPF_F_INGRESS.into() } else { 0 }) as i32
        }
        Err(reason) => tc_verdict(ctx, &frame, reason, 0),
    }
}

#[inline(always)]
fn encapsulate<F: Frame>(frame: &mut F, ifindex: u32) -> Result<&'static TxSession, Reason> {
    let tx = encap::find(frame, ifindex, &Maps)?;
    let segments = frame.segments();
    match encap::encap(frame, tx) {
        Ok(bytes) => maps::count_tx(tx.slot, segments, bytes),
        Err(reason) => {
            if matches!(reason.verdict(), Verdict::Drop | Verdict::Abort) {
                maps::count_tx_error(tx.slot);
            }
            return Err(reason);
        }
    }
    Ok(tx)
}

#[inline(always)]
fn decapsulate<F: Frame>(frame: &mut F) -> Result<&'static RxSession, Reason> {
    let rx = decap::find(frame, &Maps)?;
    match decap::decap(frame, rx) {
        Ok(()) => maps::count_rx(rx.slot, frame.len()),
        Err(reason) => {
            if matches!(reason.verdict(), Verdict::Drop | Verdict::Abort) {
                maps::count_rx_error(rx.slot, reason);
            }
            return Err(reason);
        }
    }
    Ok(rx)
}

#[inline(always)]
fn redirect(ifindex: u32, flags: u64) -> u32 {
    // SAFETY: a helper without pointers; the kernel checks the index.
    unsafe { bpf_redirect(ifindex, flags) as u32 }
}

/// What XDP passes on, TC behind it sees again and counts; so it is not counted here.
#[inline(always)]
fn xdp_verdict(ctx: &XdpContext, reason: Reason) -> u32 {
    let verdict = reason.verdict();
    if verdict != Verdict::Pass || reason == Reason::ToTc {
        leave(ctx, ctx.ingress_ifindex() as u32, reason);
    }
    match verdict {
        Verdict::Pass => xdp_action::XDP_PASS,
        Verdict::Drop => xdp_action::XDP_DROP,
        // XDP sees no super-packets.
        Verdict::Split | Verdict::Abort => xdp_action::XDP_ABORTED,
    }
}

#[inline(always)]
fn tc_verdict(ctx: &TcContext, frame: &TcFrame, reason: Reason, mark: u32) -> i32 {
    leave(ctx, frame.ifindex(), reason);
    match reason.verdict() {
        // Not TC_ACT_OK, which would end the chain: other programs and filters must see the packet too.
        Verdict::Pass => TC_ACT_UNSPEC,
        Verdict::Split => {
            frame.set_mark(mark);
            redirect(maps::split_ifindex(), 0) as i32
        }
        Verdict::Drop | Verdict::Abort => TC_ACT_SHOT,
    }
}

/// Counts a packet that leaves the fast path. Logs it too if the loader was asked to trace: otherwise it sets the log's
/// level so that the verifier removes this.
#[inline(always)]
fn leave<C: EbpfContext>(ctx: &C, ifindex: u32, reason: Reason) {
    maps::count_reason(reason);
    debug!(ctx, "{} {}", ifindex, reason as u8);
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // Never linked in: the packet logic has no index that can panic, and the verifier refuses a loop without end.
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
