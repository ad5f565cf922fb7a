//! The programs, and the one place that turns reasons into what the kernel does with a packet.

use crate::frame::{TcFrame, XdpFrame};
use crate::maps::{self, Maps};
use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::{BPF_F_INGRESS, TC_ACT_SHOT, TC_ACT_UNSPEC, xdp_action, xdp_md};
use aya_ebpf::helpers::bpf_redirect;
use aya_ebpf::macros::{classifier, xdp};
use aya_ebpf::programs::{TcContext, XdpContext};
use aya_log_ebpf::debug;
use core::hint::cold_path;
use l2xdp_common::session::flag;
use l2xdp_common::{Frame, Reason, RxSession, Sessions, TxSession, Verdict, decap, encap};

/// XDP on a port: encapsulates what comes in.
#[xdp]
pub fn xdp_encap(ctx: XdpContext) -> u32 {
    let mut frame = XdpFrame::new(&ctx);
    if let Some(tx) = maps::tx_row(ctx.ingress_ifindex() as u32)
        && encap::is_usual(&frame, tx)
    {
        return match encap::encap_usual(&mut frame, tx) {
            Ok(bytes) => {
                maps::count_tx(tx.slot, 1, bytes);
                redirect(tx.ifindex, 0)
            }
            Err(_) => xdp_encap_failed(ctx.ctx, tx.slot),
        };
    }
    cold_path();
    xdp_encap_unusual(ctx.ctx)
}

/// What is not usual, in a function of its own, so that the program has registers enough for what is.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn xdp_encap_unusual(ctx: *mut xdp_md) -> u32 {
    let ctx = XdpContext::new(ctx);
    let mut frame = XdpFrame::new(&ctx);
    let tx = encap::find(&frame, ctx.ingress_ifindex() as u32, &Maps);
    match tx.and_then(|tx| encapsulate(&mut frame, tx).map(|()| tx)) {
        Ok(tx) => redirect(tx.ifindex, 0),
        Err(reason) => xdp_verdict(&ctx, reason),
    }
}

/// The kernel has not made room before a usual frame.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn xdp_encap_failed(ctx: *mut xdp_md, slot: u32) -> u32 {
    maps::count_tx_error(slot);
    xdp_verdict(&XdpContext::new(ctx), Reason::Room)
}

/// XDP on a WAN device: decapsulates what is ours.
#[xdp]
pub fn xdp_decap(ctx: XdpContext) -> u32 {
    let mut frame = XdpFrame::new(&ctx);
    if let Some(rx) = decap::find_usual(&frame, maps::rx_row)
        && let Ok(bytes) = decap::decap_usual(&mut frame, rx)
    {
        maps::count_rx(rx.slot, bytes);
        return redirect(rx.xdp_ifindex, 0);
    }
    cold_path();
    xdp_decap_unusual(ctx.ctx)
}

/// What is not usual, as with [`xdp_encap_unusual`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn xdp_decap_unusual(ctx: *mut xdp_md) -> u32 {
    let ctx = XdpContext::new(ctx);
    match decapsulate(&mut XdpFrame::new(&ctx), &Maps) {
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
/// was split into. The mark tells which, and the device it came from.
#[classifier]
pub fn tc_split(ctx: TcContext) -> i32 {
    let mut frame = TcFrame::new(&ctx);
    let mark = frame.take_mark();
    if mark & RECEIVED == 0 {
        return tc_encapsulate(&ctx, frame, mark);
    }
    match decapsulate(&mut frame, &Maps) {
        Ok(rx) => deliver(rx.tc_ifindex, rx.flags),
        // The kernel wants it where it came from. TC sees it there again, as one packet, and counts it.
        Err(reason) if reason.verdict() == Verdict::Pass => {
            redirect(mark & !RECEIVED, BPF_F_INGRESS.into()) as i32
        }
        Err(reason) => tc_verdict(&ctx, &frame, reason, mark),
    }
}

/// TC ingress on a device that frames come in on only to be handed on: the end of a pair that XDP sends what it has
/// decapsulated into, and the kernel's device of a session that has a port.
#[classifier]
pub fn tc_deliver(ctx: TcContext) -> i32 {
    let mut frame = TcFrame::new(&ctx);
    let Some(delivery) = maps::delivery(frame.ifindex()) else { return TC_ACT_UNSPEC };
    if delivery.has(flag::RETAG)
        && let Err(reason) = frame.push_tag(delivery.vlan)
    {
        return tc_verdict(&ctx, &frame, reason, 0);
    }
    deliver(delivery.ifindex, delivery.flags)
}

/// In the mark of a packet on its way through the splitter: it came in on the device, and is not to leave from there.
const RECEIVED: u32 = 1 << 31;

#[inline(always)]
fn tc_encapsulate(ctx: &TcContext, mut frame: TcFrame, ifindex: u32) -> i32 {
    let tx = match encap::find(&frame, ifindex, &Maps) {
        Ok(tx) => tx,
        Err(reason) => return tc_verdict(ctx, &frame, reason, ifindex),
    };
    match encapsulate(&mut frame, tx) {
        Ok(()) => redirect(tx.ifindex, 0) as i32,
        Err(reason) if reason.verdict() == Verdict::Slow => tc_slow(ctx, frame, reason, tx, ifindex),
        Err(reason) => tc_verdict(ctx, &frame, reason, ifindex),
    }
}

#[inline(always)]
fn tc_decapsulate(ctx: &TcContext, mut frame: TcFrame) -> i32 {
    match decapsulate(&mut frame, &Maps) {
        Ok(rx) => deliver(rx.tc_ifindex, rx.flags),
        Err(reason) => tc_verdict(ctx, &frame, reason, frame.ifindex() | RECEIVED),
    }
}

#[inline(always)]
fn encapsulate<F: Frame>(frame: &mut F, tx: &TxSession) -> Result<(), Reason> {
    let segments = frame.segments();
    let result = encap::encap(frame, tx);
    match result {
        Ok(bytes) => maps::count_tx(tx.slot, segments, bytes),
        Err(reason) if matches!(reason.verdict(), Verdict::Drop | Verdict::Abort) => {
            maps::count_tx_error(tx.slot);
        }
        Err(_) => {}
    }
    result.map(drop)
}

#[inline(always)]
fn decapsulate<F: Frame, S: Sessions>(
    frame: &mut F,
    sessions: &'static S,
) -> Result<&'static RxSession, Reason> {
    let rx = decap::find(frame, sessions)?;
    match decap::decap(frame, rx) {
        Ok(bytes) => maps::count_rx(rx.slot, bytes),
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

#[inline(always)]
fn deliver(ifindex: u32, flags: u32) -> i32 {
    redirect(ifindex, if flags & flag::INGRESS != 0 { BPF_F_INGRESS.into() } else { 0 }) as i32
}

/// Gives a frame to the slow path, as it came.
#[inline(always)]
fn tc_slow(ctx: &TcContext, mut frame: TcFrame, reason: Reason, tx: &TxSession, ifindex: u32) -> i32 {
    if tx.slow_ifindex == frame.ifindex() {
        return tc_verdict(ctx, &frame, reason, ifindex);
    }
    if tx.slow_ifindex == 0 && !frame.is_settled() {
        // User space sends packets as they are: it can neither split them nor finish their checksums.
        return tc_verdict(ctx, &frame, Reason::GsoTx, ifindex);
    }
    match hand_over(&mut frame, tx) {
        Ok(action) => {
            // What came from the session's own device meets tc_encap there again, and is counted then.
            if tx.slow_ifindex != ifindex {
                leave(ctx, frame.ifindex(), reason);
            }
            action
        }
        Err(failure) => {
            maps::count_tx_error(tx.slot);
            tc_verdict(ctx, &frame, failure, ifindex)
        }
    }
}

/// To the kernel's driver or user space, a port's tag off.
#[inline(always)]
fn hand_over(frame: &mut TcFrame, tx: &TxSession) -> Result<i32, Reason> {
    if tx.has(flag::RETAG) {
        frame.pop_tag()?;
    }
    if tx.slow_ifindex != 0 {
        return Ok(redirect(tx.slow_ifindex, 0) as i32);
    }
    frame.to_user_space(tx.slot)?;
    Ok(TC_ACT_SHOT) // not TC_ACT_STOLEN, which TCX takes for TC_ACT_UNSPEC
}

/// What XDP passes on, TC behind it sees again and counts; so it is not counted here.
#[inline(always)]
fn xdp_verdict(ctx: &XdpContext, reason: Reason) -> u32 {
    let verdict = reason.verdict();
    if !matches!(verdict, Verdict::Pass | Verdict::Slow) || reason == Reason::ToTc {
        leave(ctx, ctx.ingress_ifindex() as u32, reason);
    }
    match verdict {
        Verdict::Pass | Verdict::Slow => xdp_action::XDP_PASS,
        Verdict::Drop => xdp_action::XDP_DROP,
        // XDP sees no super-packets.
        Verdict::Split | Verdict::Abort => xdp_action::XDP_ABORTED,
    }
}

#[inline(always)]
fn tc_verdict(ctx: &TcContext, frame: &TcFrame, reason: Reason, mark: u32) -> i32 {
    leave(ctx, frame.ifindex(), reason);
    match reason.verdict() {
        // Not TC_ACT_OK, which would end the chain: other programs and filters must see the packet too. The driver that
        // is the slow path is behind them.
        Verdict::Pass | Verdict::Slow => TC_ACT_UNSPEC,
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
