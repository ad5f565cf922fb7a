//! From an L2TPv3 message to the frame inside.

use crate::encap::leave_to_tc;
use crate::frame::Frame;
use crate::inner;
use crate::reason::Reason;
use crate::session::{RxSession, flag};
use crate::wire::{
    Be16, Be32, Eth, Ipv4, Ipv6, L2SPEC_SEQUENCED, L2tpUdp, Outer4, Outer6, Tail, Tailed4, Tailed6, Udp,
    ethertype, protocol,
};
use core::mem::offset_of;

/// The map of receiving sessions.
pub trait Sessions {
    /// The session with this id of ours.
    fn rx(&self, session_id: Be32) -> Option<&RxSession>;
    /// Does a tunnel of ours use this UDP port?
    fn is_tunnel_port(&self, port: Be16) -> bool;
}

/// The session a packet is for. The packet is only read.
///
/// # Errors
/// Every reason to leave it to the kernel.
#[inline(always)]
pub fn find<'s, F: Frame, S: Sessions>(frame: &mut F, sessions: &'s S) -> Result<&'s RxSession, Reason> {
    if frame.detached_tags() != 0 {
        return Err(Reason::NotOurs); // another VLAN of the WAN device
    }
    let ethertype = frame.header::<Eth>(0).map_err(|_| Reason::NotOurs)?.ethertype;
    if ethertype == ethertype::IPV4 {
        return find4(frame, sessions);
    }
    if ethertype == ethertype::IPV6 {
        return find6(frame, sessions);
    }
    Err(Reason::NotOurs)
}

#[inline(always)]
fn find4<'s, F: Frame, S: Sessions>(frame: &mut F, sessions: &'s S) -> Result<&'s RxSession, Reason> {
    let ip = frame.header::<Ipv4>(Eth::LEN).map_err(|_| Reason::NotOurs)?;
    if ip.protocol != protocol::UDP || ip.version_ihl >> 4 != 4 {
        return Err(Reason::NotOurs);
    }
    if ip.version_ihl != Ipv4::VERSION_IHL {
        return Err(Reason::IpOptions);
    }
    if ip.is_fragment() {
        return Err(Reason::Fragment);
    }
    frame.reach_headers();
    by_headers4(frame.header::<Outer4>(0).map_err(|_| Reason::NotOurs)?, sessions)
}

#[inline(always)]
fn by_headers4<'s, S: Sessions>(outer: &Outer4, sessions: &'s S) -> Result<&'s RxSession, Reason> {
    let rx = session(&outer.udp, &outer.l2tp, sessions)?;
    let same = !rx.has(flag::IPV6) && are_addresses(outer, rx);
    if same { Ok(rx) } else { Err(ours(&outer.udp, sessions, Reason::Peer)) }
}

#[inline(always)]
fn are_addresses(outer: &Outer4, rx: &RxSession) -> bool {
    let [src, dst, ..] = rx.addresses;
    outer.ip.src.with(outer.ip.dst) == src.with(dst)
}

#[inline(always)]
fn find6<'s, F: Frame, S: Sessions>(frame: &mut F, sessions: &'s S) -> Result<&'s RxSession, Reason> {
    let ip = frame.header::<Ipv6>(Eth::LEN).map_err(|_| Reason::NotOurs)?;
    if ip.next_header == protocol::IPV6_FRAGMENT {
        return Err(Reason::Fragment);
    }
    if ip.next_header != protocol::UDP || ip.version() != 6 {
        return Err(Reason::NotOurs);
    }
    frame.reach_headers();
    let outer = frame.header::<Outer6>(0).map_err(|_| Reason::NotOurs)?;
    let rx = session(&outer.udp, &outer.l2tp, sessions)?;
    let [src, dst]: [[Be32; 4]; 2] = bytemuck::must_cast(rx.addresses);
    let same = rx.has(flag::IPV6) && outer.ip.src == src && outer.ip.dst == dst;
    if same { Ok(rx) } else { Err(ours(&outer.udp, sessions, Reason::Peer)) }
}

/// RFC 3931 §4.1.2.1: T bit, version, session id; then the peer's port.
#[inline(always)]
fn session<'s, S: Sessions>(udp: &Udp, l2tp: &L2tpUdp, sessions: &'s S) -> Result<&'s RxSession, Reason> {
    if !l2tp.is_data() {
        let reason = if l2tp.is_control() { Reason::Control } else { Reason::Version };
        return Err(ours(udp, sessions, reason));
    }
    let Some(rx) = sessions.rx(l2tp.session_id) else {
        return Err(ours(udp, sessions, Reason::NoSession));
    };
    if !are_ports(udp, rx) {
        return Err(ours(udp, sessions, Reason::Peer));
    }
    Ok(rx)
}

#[inline(always)]
fn are_ports(udp: &Udp, rx: &RxSession) -> bool {
    let [src, dst] = rx.ports;
    udp.src.with(udp.dst) == src.with(dst)
}

/// What is not for a tunnel's port was never ours, whatever it looks like.
#[cold]
#[inline(always)]
fn ours<S: Sessions>(udp: &Udp, sessions: &S, reason: Reason) -> Reason {
    if sessions.is_tunnel_port(udp.dst) { reason } else { Reason::NotOurs }
}

/// Takes the outer headers off a packet that [`find`] found to be of this session. Returns the inner bytes received,
/// as on the wire: the tag that is put on is not among them.
///
/// # Errors
/// Before the point of no return the packet is untouched. After it, only [`Reason::Room`] and [`Reason::Short`]
/// are possible.
#[inline(always)]
pub fn decap<F: Frame>(frame: &mut F, rx: &RxSession) -> Result<usize, Reason> {
    let flags = rx.flags;
    if frame.segment_len() != 0 {
        return Err(Reason::Gso);
    }
    let Message { end, has_checksum } =
        if flags & flag::IPV6 != 0 { message6(frame, rx, flags)? } else { message4(frame, rx, flags)? };
    let outer_len = usize::from(rx.outer_len);
    let inner_len = end - outer_len;
    if frame.is_bare() {
        if flags & flag::VIA_TC != 0 || inner_len > usize::from(rx.max_frame) {
            return Err(Reason::ToTc);
        }
        if flags & (flag::UNFINISHED | flag::UNKNOWN) != 0 {
            leave_to_tc(frame.judge_checksums(outer_len), flags)?;
        }
    } else if inner_len > usize::from(rx.max_frame) && flags & flag::INGRESS == 0 {
        return Err(Reason::TooBigRx);
    }
    if has_checksum {
        frame.check_checksum(outer_len, flags)?;
    } else if flags & (flag::IPV6 | flag::ZERO_CSUM) == flag::IPV6 {
        return Err(Reason::Checksum);
    }

    // The point of no return.
    if end < frame.len() {
        // Padding of a short Ethernet frame, or whatever else came behind the datagram.
        frame.truncate(end)?;
    }
    frame.shrink_head(outer_len)?;
    if inner::may_be_syn(frame) {
        // One cut short within its options is no reason to keep it.
        let _ = frame.clamp_mss(&rx.clamp, 0);
    }
    if flags & flag::RETAG != 0 {
        frame.push_tag(rx.vlan)?;
    }
    Ok(inner_len)
}

/// What the headers say of a message.
struct Message {
    /// Where it ends, in bytes.
    end: usize,
    /// It has an outer UDP checksum.
    has_checksum: bool,
}

/// The message over IPv4, its lengths and what stands behind the session id found right.
#[inline(always)]
fn message4<F: Frame>(frame: &F, rx: &RxSession, flags: u32) -> Result<Message, Reason> {
    let outer = frame.header::<Tailed4>(0).map_err(|_| Reason::Length)?;
    let end = offset_of!(Outer4, udp) + usize::from(outer.base.udp.len.get());
    let ip_end = offset_of!(Outer4, ip) + usize::from(outer.base.ip.total_len.get());
    check_ends(end, ip_end, frame.len(), rx)?;
    check_tail(&outer.tail, rx, flags)?;
    if !outer.base.ip.is_intact() {
        return Err(Reason::Checksum);
    }
    Ok(Message { end, has_checksum: outer.base.udp.checksum != Be16::default() })
}

/// The message over IPv6, its lengths and what stands behind the session id found right.
#[inline(always)]
fn message6<F: Frame>(frame: &F, rx: &RxSession, flags: u32) -> Result<Message, Reason> {
    let outer = frame.header::<Tailed6>(0).map_err(|_| Reason::Length)?;
    let end = offset_of!(Outer6, udp) + usize::from(outer.base.udp.len.get());
    let ip_end = offset_of!(Outer6, udp) + usize::from(outer.base.ip.payload_len.get());
    check_ends(end, ip_end, frame.len(), rx)?;
    check_tail(&outer.tail, rx, flags)?;
    Ok(Message { end, has_checksum: outer.base.udp.checksum != Be16::default() })
}

/// The headers and an inner Ethernet header lie within the datagram, that within the packet, that within the frame.
#[inline(always)]
fn check_ends(end: usize, ip_end: usize, frame_end: usize, rx: &RxSession) -> Result<(), Reason> {
    let whole = usize::from(rx.outer_len) + Eth::LEN <= end && end <= ip_end && ip_end <= frame_end;
    if whole { Ok(()) } else { Err(Reason::Length) }
}

/// RFC 3931 §4.1 and §4.6: the cookie must match; a sequence number is not ours to look at. All words are compared,
/// wherever the first difference is.
#[inline(always)]
fn check_tail(tail: &Tail, rx: &RxSession, flags: u32) -> Result<(), Reason> {
    if differs(tail, rx) {
        let difference = |word| difference(tail, rx, word);
        let in_sublayer = |word: usize| rx.tail_mask[word] == L2SPEC_SEQUENCED;
        let in_cookie = |word: usize| difference(word) != 0 && !in_sublayer(word);
        return Err(if in_cookie(0) || in_cookie(1) { Reason::Cookie } else { Reason::Sequenced });
    }
    if flags & flag::SEQUENCED != 0 { Err(Reason::Sequenced) } else { Ok(()) }
}

#[inline(always)]
fn differs(tail: &Tail, rx: &RxSession) -> bool {
    let first_two = |tail: &Tail| tail[0].with(tail[1]);
    let differences = (first_two(tail) ^ first_two(&rx.tail)) & first_two(&rx.tail_mask);
    differences | u64::from(difference(tail, rx, 2)) != 0
}

#[inline(always)]
fn difference(tail: &Tail, rx: &RxSession, word: usize) -> u32 {
    (tail[word].raw() ^ rx.tail[word].raw()) & rx.tail_mask[word].raw()
}

/// The session of a bare packet like most, in a session like most: [`decap_usual`] does with it what [`decap`] does. Of all
/// others [`find`] and [`decap`] tell what they are, and why they are not taken.
#[inline(always)]
pub fn find_usual<'s, F: Frame>(
    frame: &F,
    session: impl FnOnce(Be32) -> Option<&'s RxSession>,
) -> Option<&'s RxSession> {
    let Tailed4 { base: outer, tail } = frame.header(0).ok()?;
    if !outer.is_udp() || !outer.l2tp.is_data() || outer.udp.checksum != Be16::default() {
        return None;
    }
    let rx = session(outer.l2tp.session_id)?;
    let asks_more = flag::ALL_OF_XDP & !flag::UNFINISHED;
    if rx.flags & asks_more != 0 || !are_ports(&outer.udp, rx) || !are_addresses(outer, rx) {
        return None;
    }
    // The datagram fills the packet, and that the frame.
    let ip_end = offset_of!(Outer4, ip) + usize::from(outer.ip.total_len.get());
    let end = offset_of!(Outer4, udp) + usize::from(outer.udp.len.get());
    if end != frame.len() || ip_end != frame.len() {
        return None;
    }
    let outer_len = usize::from(rx.outer_len);
    if frame.len() - outer_len > usize::from(rx.max_frame) || differs(tail, rx) || !outer.ip.is_intact() {
        return None;
    }
    if !inner::is_done(frame, outer_len, rx.has(flag::UNFINISHED)) {
        return None;
    }
    Some(rx)
}

/// [`decap`] for a packet that [`find_usual`] has found the session of.
///
/// # Errors
/// [`Reason::Room`]; the packet is as it was.
#[inline(always)]
pub fn decap_usual<F: Frame>(frame: &mut F, rx: &RxSession) -> Result<usize, Reason> {
    let outer_len = usize::from(rx.outer_len);
    let inner_len = frame.len() - outer_len;
    frame.shrink_head(outer_len)?;
    Ok(inner_len)
}
