//! From a frame to an L2TPv3 message.

use crate::checksum;
use crate::frame::Frame;
use crate::inner::{self, Checksums, Inner};
use crate::reason::Reason;
use crate::session::{AttachKey, TxSession, flag};
use crate::wire::{Be16, Eth, Ipv4, Ipv6, Outer4, Outer6, Tail, Tailed4, Tailed6, Vlan};
use bytemuck::{Pod, Zeroable};

/// The map of transmitting sessions.
pub trait Attachments {
    /// The session that takes frames from there.
    fn tx(&self, key: AttachKey) -> Option<&TxSession>;
}

/// The session of a frame that came in on a device: the one for all VLANs, or the one for the frame's.
///
/// # Errors
/// [`Reason::NoAttachment`] if there is neither.
#[inline(always)]
pub fn find<'a, F: Frame, A: Attachments>(
    frame: &F,
    ifindex: u32,
    attachments: &'a A,
) -> Result<&'a TxSession, Reason> {
    if let Some(tx) = attachments.tx(AttachKey { ifindex, vlan: AttachKey::ALL_VLANS }) {
        return Ok(tx);
    }
    let tci = frame.outer_tag().ok_or(Reason::NoAttachment)?;
    let vlan = u32::from(tci & Vlan::ID_MASK);
    attachments.tx(AttachKey { ifindex, vlan }).ok_or(Reason::NoAttachment)
}

/// Puts the outer headers of a session before a frame. Returns the inner bytes sent: of a super-packet, those of all
/// the frames it will be split into.
///
/// # Errors
/// Before the point of no return the frame is untouched, but for a lowered MSS. After it, only
/// [`Reason::Room`] and [`Reason::Short`] are possible.
#[inline(always)]
pub fn encap<F: Frame>(frame: &mut F, tx: &TxSession) -> Result<usize, Reason> {
    let flags = tx.flags;
    if frame.is_bare() && flags & flag::VIA_TC != 0 {
        return Err(Reason::ToTc);
    }
    // What goes to the slow path is decided before what takes a round through the splitter: a packet that the kernel's
    // driver is to have must not be sent back there.
    if flags & flag::SEQUENCED != 0 {
        return Err(Reason::SequencedTx);
    }
    if tx.ifindex == 0 {
        return Err(Reason::NoRoute);
    }
    frame.reach_headers();
    let popped = if flags & flag::RETAG != 0 { Vlan::LEN } else { 0 };
    let bytes = check_size(frame, tx, popped)?;
    let may_be_syn = inner::may_be_syn(frame);
    if frame.is_bare() {
        if flags & (flag::UNFINISHED | flag::UNKNOWN) != 0 {
            leave_to_tc(frame.judge_checksums(0), flags)?;
        }
    } else if flags & (flag::CHECKSUM | flag::FINISH) != 0 && !frame.is_settled() {
        frame.check_finished(flags)?;
    }
    if may_be_syn {
        // One cut short within its options is no reason to keep it.
        let _ = frame.clamp_mss(&tx.clamp, popped);
    }
    let tos = if flags & flag::TOS_INHERIT != 0 { inner_dscp(frame) } else { 0 };
    let inner_len = frame.len() - popped;

    // The point of no return.
    if flags & flag::RETAG != 0 {
        frame.pop_tag()?;
    }
    let (outer_len, ipv6) = (usize::from(tx.outer_len), flags & flag::IPV6 != 0);
    frame.make_room(outer_len, ipv6)?;
    let total = outer_len - Eth::LEN + inner_len;
    if ipv6 {
        write6(frame, tx, total, tos)?
    } else {
        write4(frame, tx, total, tos)?
    }
    if flags & flag::CHECKSUM != 0 {
        frame.write_checksum(outer_len, ipv6)?;
    }
    Ok(bytes)
}

/// A bare frame like most in a session like most: [`encap_usual`] does with it what [`encap`] does, which asks more.
#[inline(always)]
pub fn is_usual<F: Frame>(frame: &F, tx: &TxSession) -> bool {
    let asks_more = flag::ALL_OF_XDP & !flag::UNFINISHED;
    tx.flags & asks_more == 0
        && tx.ifindex != 0
        && frame.len() <= usize::from(tx.max_inner)
        && inner::is_done(frame, 0, tx.has(flag::UNFINISHED))
}

/// [`encap`] for what [`is_usual`] has approved of.
///
/// # Errors
/// [`Reason::Room`] and [`Reason::Short`].
#[inline(always)]
pub fn encap_usual<F: Frame>(frame: &mut F, tx: &TxSession) -> Result<usize, Reason> {
    let (inner_len, outer_len) = (frame.len(), usize::from(tx.outer_len));
    frame.prepend(outer_len)?;
    write4(frame, tx, outer_len - Eth::LEN + inner_len, 0)?;
    Ok(inner_len)
}

/// May a frame's checksums leave as they are? What [`Frame::check_finished`] does.
///
/// # Errors
/// [`Reason::GsoTx`], if they have to be finished first, or it can't be told.
#[inline(always)]
pub fn check_finished<F: Frame>(frame: &F, flags: u32) -> Result<(), Reason> {
    match inner::look(frame, 0).checksums(frame) {
        Checksums::Unknown => Err(Reason::GsoTx),
        Checksums::Unfinished if flags & flag::FINISH != 0 => Err(Reason::GsoTx),
        _ => Ok(()),
    }
}

/// XDP would lose the kernel's note that a checksum is not finished.
///
/// # Errors
/// [`Reason::ToTc`], if it may be so and a session's flags say that it matters.
#[inline(always)]
pub(crate) fn leave_to_tc(checksums: Checksums, flags: u32) -> Result<(), Reason> {
    match checksums {
        Checksums::Unfinished if flags & flag::UNFINISHED != 0 => Err(Reason::ToTc),
        Checksums::Unknown if flags & flag::UNKNOWN != 0 => Err(Reason::ToTc),
        _ => Ok(()),
    }
}

/// Does it fit the path? A super-packet is as long as the packets it will be split into, whose bytes together are
/// returned.
#[inline(always)]
fn check_size<F: Frame>(frame: &F, tx: &TxSession, popped: usize) -> Result<usize, Reason> {
    let (len, repeated) = match frame.segment_len() {
        0 => (frame.len(), 0),
        segment => {
            // The kernel does not give each packet of a super-packet an outer checksum of its own; and super-packets
            // that are not TCP may be tunnels, which it can't nest.
            let whole = tx.flags & (flag::CHECKSUM | flag::FINISH) == 0;
            let Inner::Transport(l4) = inner::look(frame, 0) else { return Err(Reason::GsoTx) };
            if !l4.tcp || !whole {
                return Err(Reason::GsoTx);
            }
            let headers = l4.headers_len(frame)?;
            (headers + segment, (frame.segments() as usize - 1) * (headers - popped))
        }
    };
    if len < Eth::LEN + popped {
        return Err(Reason::Short);
    }
    if len - popped > usize::from(tx.max_inner) {
        return Err(Reason::TooBig);
    }
    Ok(frame.len() - popped + repeated)
}

/// The inner packet's DSCP in the place it has in a TOS byte; 0 for what is not IP. The ECN bits stay clear: a mark
/// set on the way would be lost at the far end, which RFC 6040 §4.1 forbids.
#[inline(always)]
pub fn inner_dscp<F: Frame>(frame: &F) -> u8 {
    const DSCP: u8 = 0xfc;
    let Ok(Some(network)) = inner::network(frame, 0) else { return 0 };
    let tos = if network.ipv6 {
        frame.header::<Ipv6>(network.offset).map(Ipv6::class)
    } else {
        frame.header::<Ipv4>(network.offset).map(|ip| ip.tos)
    };
    tos.unwrap_or(0) & DSCP
}

#[inline(always)]
fn write4<F: Frame>(frame: &mut F, tx: &TxSession, total: usize, tos: u8) -> Result<(), Reason> {
    let from = tx.outer4();
    let to = frame.header_mut::<Tailed4>(0)?;
    copy4(&mut to.base, &from.base);
    copy_tail(&mut to.tail, &from.tail, tx.tail_words);
    // Super-packets may be longer than the field: it is written anew for each packet they are split into.
    let total = total as u16;
    let ip = &mut to.base.ip;
    ip.total_len = Be16::new(total);
    ip.checksum = checksum::add(from.base.ip.checksum, ip.total_len);
    if tos != 0 {
        ip.tos |= tos;
        ip.checksum = checksum::add(ip.checksum, Be16([0, tos]));
    }
    to.base.udp.len = Be16::new(total.wrapping_sub(Ipv4::LEN as u16));
    Ok(())
}

#[inline(always)]
fn write6<F: Frame>(frame: &mut F, tx: &TxSession, total: usize, tos: u8) -> Result<(), Reason> {
    let from = tx.outer6();
    let to = frame.header_mut::<Tailed6>(0)?;
    copy6(&mut to.base, &from.base);
    copy_tail(&mut to.tail, &from.tail, tx.tail_words);
    let len = Be16::new((total - Ipv6::LEN) as u16);
    if tos != 0 {
        to.base.ip.version_class_flow = Ipv6::version_class(tos);
    }
    to.base.ip.payload_len = len;
    to.base.udp.len = len;
    Ok(())
}

/// Copies headers by words of eight bytes. A plain assignment of a struct of alignment 1 becomes a call of `memcpy`
/// on this target, which copies byte by byte.
macro_rules! copy_by_words {
    ($name:ident, $headers:ty, $count:literal: $($word:literal)+; $($rest:ident: $len:literal),+) => {
        #[inline(always)]
        fn $name(to: &mut $headers, from: &$headers) {
            #[derive(Clone, Copy, Pod, Zeroable)]
            #[repr(C)]
            struct Words {
                words: [[u8; 8]; $count],
                $($rest: [u8; $len]),+
            }
            let to: &mut Words = bytemuck::must_cast_mut(to);
            let from: &Words = bytemuck::must_cast_ref(from);
            $(to.words[$word] = from.words[$word];)+
            $(to.$rest = from.$rest;)+
        }
    };
}
copy_by_words!(copy4, Outer4, 6: 0 1 2 3 4 5; last: 2);
copy_by_words!(copy6, Outer6, 8: 0 1 2 3 4 5 6 7; four: 4, last: 2);

#[inline(always)]
fn copy_tail(to: &mut Tail, from: &Tail, words: u8) {
    if words > 0 {
        to[0] = from[0];
    }
    if words > 1 {
        to[1] = from[1];
    }
    if words > 2 {
        to[2] = from[2];
    }
}
