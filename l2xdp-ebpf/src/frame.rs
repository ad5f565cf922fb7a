//! The two packet buffers of the kernel. All `unsafe` access to packets is in this file.

use crate::maps::{self, Piece};
use aya_ebpf::bindings::bpf_adj_room_mode::BPF_ADJ_ROOM_MAC;
use aya_ebpf::bindings::{
    __sk_buff, BPF_F_ADJ_ROOM_ENCAP_L2_ETH, BPF_F_ADJ_ROOM_ENCAP_L3_IPV4, BPF_F_ADJ_ROOM_ENCAP_L3_IPV6,
    BPF_F_ADJ_ROOM_ENCAP_L4_UDP, BPF_F_ADJ_ROOM_FIXED_GSO, xdp_md,
};
use aya_ebpf::helpers::{
    bpf_csum_diff, bpf_l4_csum_replace, bpf_skb_adjust_room, bpf_skb_change_head, bpf_skb_change_tail,
    bpf_skb_load_bytes, bpf_skb_pull_data, bpf_skb_vlan_pop, bpf_skb_vlan_push, bpf_xdp_adjust_head,
    bpf_xdp_adjust_tail, bpf_xdp_load_bytes,
};
use aya_ebpf::programs::{TcContext, XdpContext};
use bytemuck::Pod;
use core::arch::asm;
use core::intrinsics::is_val_statically_known;
use l2xdp_common::wire::{Be16, Be32, Eth, Ipv4, Ipv6, Tailed6, Vlan, ethertype};
use l2xdp_common::{Frame, Reason, checksum, encap, mss};

/// No header begins further into a frame: outer headers, two tags, an IPv4 header with options, TCP options.
const MAX_OFFSET: usize = 256;

/// The bytes that can be reached directly. Addresses, so that arithmetic on them stays arithmetic.
#[derive(Clone, Copy)]
struct Linear {
    data: usize,
    end: usize,
}

impl Linear {
    #[inline(always)]
    fn len(&self) -> usize {
        self.end - self.data
    }

    #[inline(always)]
    fn at<T: Pod>(&self, offset: usize) -> Result<*mut T, Reason> {
        const { assert!(align_of::<T>() == 1) };
        // Folds away for a constant; otherwise the verifier wants a small known maximum.
        if offset > MAX_OFFSET {
            return Err(Reason::Short);
        }
        let end = if is_val_statically_known(offset) { self.end } else { hide(self.end) };
        let address = self.data + offset;
        if address + size_of::<T>() > end { Err(Reason::Short) } else { Ok(address as *mut T) }
    }
}

/// The same value, but the compiler does not know. From a passed check at one offset it would infer that a check at
/// a lower one must pass and remove it; the verifier can't follow that where the offset is not a constant. Not an
/// empty `asm`: two lines of BTF would share an instruction, which the kernel refuses.
#[inline(always)]
fn hide(mut value: usize) -> usize {
    // SAFETY: `r = r`.
    unsafe { asm!("{0} = {0}", inout(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

// Functions of their own, global to the verifier: it checks them once, instead of once for each state that their
// callers come in.

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sum_xdp(ctx: *mut xdp_md, offset: u32, len: u32) -> u64 {
    sum_pieces(offset, len, |at, to, len| {
        // SAFETY: `to` has room for `len` bytes.
        unsafe { bpf_xdp_load_bytes(ctx, at, to.cast(), len) }
    })
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sum_skb(skb: *mut __sk_buff, offset: u32, len: u32) -> u64 {
    sum_pieces(offset, len, |at, to, len| {
        // SAFETY: `to` has room for `len` bytes.
        unsafe { bpf_skb_load_bytes(skb.cast(), at, to.cast(), len) }
    })
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn lower_mss_xdp(ctx: *mut xdp_md, tcp: u32, limit: u32) -> u64 {
    let mut frame = XdpFrame { ctx, linear: XdpFrame::linear(ctx) };
    mss::lower(&mut frame, tcp as usize, limit as u16).is_err().into()
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn lower_mss_skb(skb: *mut __sk_buff, tcp: u32, limit: u32) -> u64 {
    let mut frame = TcFrame { skb, linear: TcFrame::linear(skb) };
    mss::lower(&mut frame, tcp as usize, limit as u16).is_err().into()
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn write_checksum_xdp(ctx: *mut xdp_md, outer_len: u32, ipv6: u32) -> u64 {
    let mut frame = XdpFrame { ctx, linear: XdpFrame::linear(ctx) };
    encap::write_checksum(&mut frame, outer_len as usize, ipv6 != 0).is_err().into()
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn write_checksum_skb(skb: *mut __sk_buff, outer_len: u32, ipv6: u32) -> u64 {
    let mut frame = TcFrame { skb, linear: TcFrame::linear(skb) };
    encap::write_checksum(&mut frame, outer_len as usize, ipv6 != 0).is_err().into()
}

/// The result of the first two: a sum, or what no sum is.
const NOT_SUMMED: u64 = u64::MAX;

#[inline(always)]
fn summed(sum: u64) -> Result<u16, Reason> {
    if sum == NOT_SUMMED { Err(Reason::Short) } else { Ok(sum as u16) }
}

/// Sums bytes of a frame, a piece at a time: `load(at, to, len)` copies a piece. The pieces are copied because the
/// verifier knows no way to read a variable number of bytes straight from a packet.
#[inline(always)]
fn sum_pieces(mut offset: u32, len: u32, load: impl Fn(u32, *mut u8, u32) -> i64) -> u64 {
    let Some(piece) = maps::scratch() else { return NOT_SUMMED };
    let mut left = len as usize;
    let mut sum = 0;
    for _ in 0..MAX_SUMMED / Piece::LEN {
        if left == 0 {
            break;
        }
        // 1 to LEN, in a form that Linux 6.1 believes.
        let size = (hide(left.min(Piece::LEN) - 1) & (Piece::LEN - 1)) + 1;
        // SAFETY: `Piece` has four bytes more than `LEN`; they make the last word of an odd length whole.
        unsafe { *piece.cast::<u8>().add(size).cast::<[u8; 4]>() = [0; 4] };
        if load(offset, piece.cast(), size as u32) != 0 {
            return NOT_SUMMED;
        }
        let words = (size + 3) & !3;
        // SAFETY: the piece holds this many bytes.
        sum = unsafe { bpf_csum_diff(core::ptr::null_mut(), 0, piece.cast(), words as u32, sum) } as u32;
        offset += size as u32;
        left -= size;
    }
    if left != 0 {
        return NOT_SUMMED;
    }
    // The helper sums words of the machine's order, which gives the sum in the packet's.
    u16::from_be_bytes(checksum::fold(sum).to_ne_bytes()).into()
}

/// The longest frame that can be summed, in bytes: a jumbo frame and its headers.
const MAX_SUMMED: usize = 20 * Piece::LEN;

/// The bare frame of an XDP program.
pub struct XdpFrame {
    ctx: *mut xdp_md,
    linear: Linear,
}

impl XdpFrame {
    /// The frame of a program's context.
    #[inline(always)]
    pub fn new(ctx: &XdpContext) -> Self {
        Self { ctx: ctx.ctx, linear: Self::linear(ctx.ctx) }
    }

    #[inline(always)]
    fn linear(ctx: *mut xdp_md) -> Linear {
        // SAFETY: the kernel's context, valid while the program runs.
        let data = unsafe { (*ctx).data } as usize;
        // SAFETY: as above.
        let end = unsafe { (*ctx).data_end } as usize;
        Linear { data, end }
    }

    #[inline(always)]
    fn moved(&mut self, error: i64) -> Result<(), Reason> {
        if error != 0 {
            return Err(Reason::Room);
        }
        self.linear = Self::linear(self.ctx);
        Ok(())
    }
}

impl Frame for XdpFrame {
    #[inline(always)]
    fn len(&self) -> usize {
        self.linear.len()
    }

    #[inline(always)]
    fn header<T: Pod>(&self, offset: usize) -> Result<&T, Reason> {
        // SAFETY: `at` has checked the bounds; any bytes are a `T`, and its alignment is 1.
        Ok(unsafe { &*self.linear.at(offset)? })
    }

    #[inline(always)]
    fn header_mut<T: Pod>(&mut self, offset: usize) -> Result<&mut T, Reason> {
        // SAFETY: as above, and `&mut self` keeps every other reference away.
        Ok(unsafe { &mut *self.linear.at(offset)? })
    }

    #[inline(always)]
    fn prepend(&mut self, n: usize) -> Result<(), Reason> {
        // SAFETY: the pointers from before are replaced by `moved`.
        let error = unsafe { bpf_xdp_adjust_head(self.ctx, -(n as i32)) };
        self.moved(error)
    }

    #[inline(always)]
    fn shrink_head(&mut self, n: usize) -> Result<(), Reason> {
        // SAFETY: as above.
        let error = unsafe { bpf_xdp_adjust_head(self.ctx, n as i32) };
        self.moved(error)
    }

    #[inline(always)]
    fn truncate(&mut self, len: usize) -> Result<(), Reason> {
        // SAFETY: as above.
        let error = unsafe { bpf_xdp_adjust_tail(self.ctx, len as i32 - self.len() as i32) };
        self.moved(error)
    }

    #[inline(always)]
    fn sum(&mut self, offset: usize, len: usize) -> Result<u16, Reason> {
        summed(sum_xdp(self.ctx, offset as u32, len as u32))
    }

    #[inline(always)]
    fn update_checksum(&mut self, offset: usize, old: Be16, new: Be16) -> Result<(), Reason> {
        let at = self.header_mut::<Be16>(offset)?;
        *at = checksum::replace(*at, old, new);
        Ok(())
    }

    #[inline(always)]
    fn lower_mss(&mut self, tcp: usize, limit: u16) -> Result<(), Reason> {
        let failed = lower_mss_xdp(self.ctx, tcp as u32, limit.into());
        self.linear = Self::linear(self.ctx);
        if failed != 0 { Err(Reason::Short) } else { Ok(()) }
    }

    #[inline(always)]
    fn write_checksum(&mut self, outer_len: usize, ipv6: bool) -> Result<(), Reason> {
        let failed = write_checksum_xdp(self.ctx, outer_len as u32, ipv6.into());
        self.linear = Self::linear(self.ctx);
        if failed != 0 { Err(Reason::Short) } else { Ok(()) }
    }

    #[inline(always)]
    fn is_bare(&self) -> bool {
        true
    }

    #[inline(always)]
    fn segment_len(&self) -> usize {
        0
    }

    #[inline(always)]
    fn segments(&self) -> u32 {
        1
    }

    #[inline(always)]
    fn detached_tags(&self) -> usize {
        0
    }
}

/// The socket buffer of a TC program.
pub struct TcFrame {
    skb: *mut __sk_buff,
    linear: Linear,
}

macro_rules! skb_field {
    ($self:ident.$field:ident) => {
        // SAFETY: the kernel's context, valid while the program runs.
        unsafe { (*$self.skb).$field }
    };
}

impl TcFrame {
    /// The headers of a frame may lie in fragments; this many bytes are made linear: outer headers with a tail, two
    /// tags, the longest IPv4 header, a TCP header with options.
    const HEADERS: usize = Tailed6::LEN + Eth::LEN + 2 * Vlan::LEN + 60 + 60;
    /// More tags than anyone stacks.
    const MAX_TAGS: usize = 3;

    /// The frame of a program's context.
    #[inline(always)]
    pub fn new(ctx: &TcContext) -> Self {
        let skb = ctx.skb.skb;
        let mut frame = Self { skb, linear: Self::linear(skb) };
        frame.pull((skb_field!(frame.len) as usize).min(Self::HEADERS));
        frame
    }

    /// The device the program runs on.
    #[inline(always)]
    pub fn ifindex(&self) -> u32 {
        skb_field!(self.ifindex)
    }

    /// Notes something on the frame that stays with it within the namespace.
    #[inline(always)]
    pub fn set_mark(&self, mark: u32) {
        // SAFETY: the kernel's context, whose mark programs may write.
        unsafe { (*self.skb).mark = mark };
    }

    /// Takes the note off.
    #[inline(always)]
    pub fn take_mark(&self) -> u32 {
        let mark = skb_field!(self.mark);
        self.set_mark(0);
        mark
    }

    /// Makes the first `len` bytes linear, if they are not; where that fails, bounds checks will say so.
    #[inline(always)]
    fn pull(&mut self, len: usize) {
        if self.linear.len() < len {
            // SAFETY: the pointers from before are replaced.
            unsafe { bpf_skb_pull_data(self.skb, len as u32) };
            self.linear = Self::linear(self.skb);
        }
    }

    #[inline(always)]
    fn linear(skb: *mut __sk_buff) -> Linear {
        // SAFETY: the kernel's context, valid while the program runs.
        let data = unsafe { (*skb).data } as usize;
        // SAFETY: as above.
        let end = unsafe { (*skb).data_end } as usize;
        Linear { data, end }
    }

    #[inline(always)]
    fn moved(&mut self, error: i64) -> Result<(), Reason> {
        self.linear = Self::linear(self.skb);
        if error != 0 { Err(Reason::Room) } else { Ok(()) }
    }

    /// `skb->protocol`: what the kernel believes follows the Ethernet header.
    #[inline(always)]
    fn ethertype(&self) -> Be16 {
        Be16((skb_field!(self.protocol) as u16).to_ne_bytes())
    }

    #[inline(always)]
    fn has_detached_tag(&self) -> bool {
        skb_field!(self.vlan_present) != 0
    }

    /// Takes all tags off, from beside the bytes and from the bytes, outermost first.
    #[inline(always)]
    fn take_tags(&mut self, tags: &mut [[Be16; 2]; Self::MAX_TAGS]) -> Result<usize, Reason> {
        let mut count = 0;
        for tag in tags.iter_mut() {
            if !self.has_detached_tag() {
                // The kernel takes the next tag out of the bytes when it pops the one beside them: what is left
                // in the bytes here is a frame that came with its first tag there.
                let protocol = self.ethertype();
                if !Vlan::is_tag(protocol) {
                    break;
                }
                *tag = [protocol, self.header::<Vlan>(Eth::LEN)?.tci];
            } else {
                *tag = [
                    Be16((skb_field!(self.vlan_proto) as u16).to_ne_bytes()),
                    Be16::new(skb_field!(self.vlan_tci) as u16),
                ];
            }
            self.pop_tag()?;
            count += 1;
        }
        Ok(count)
    }

    /// Room between Ethernet and IP header. The kernel learns where the inner headers begin, and so can split a
    /// super-packet later. Only for frames it believes to be IP.
    #[inline(always)]
    fn insert(&mut self, n: usize, inner_eth_len: usize, ipv6: bool) -> bool {
        let protocol = self.ethertype();
        if protocol != ethertype::IPV4 && protocol != ethertype::IPV6 {
            return false;
        }
        let l3 = if ipv6 { BPF_F_ADJ_ROOM_ENCAP_L3_IPV6 } else { BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 };
        let flags = BPF_F_ADJ_ROOM_FIXED_GSO | l3 | BPF_F_ADJ_ROOM_ENCAP_L4_UDP | BPF_F_ADJ_ROOM_ENCAP_L2_ETH;
        // BPF_F_ADJ_ROOM_ENCAP_L2(len)
        let flags = u64::from(flags) | (inner_eth_len as u64) << 56;
        self.adjust_room(n as i32, flags).is_ok()
    }

    #[inline(always)]
    fn adjust_room(&mut self, by: i32, flags: u64) -> Result<(), Reason> {
        // SAFETY: the pointers from before are replaced by `moved`.
        let error = unsafe { bpf_skb_adjust_room(self.skb, by, BPF_ADJ_ROOM_MAC, flags) };
        self.moved(error)
    }

    #[inline(always)]
    fn change_tail(&mut self, len: usize) -> Result<(), Reason> {
        // SAFETY: the pointers from before are replaced by `moved`.
        let error = unsafe { bpf_skb_change_tail(self.skb, len as u32, 0) };
        self.moved(error)
    }
}

/// Shorter frames can't be decapsulated by `bpf_skb_adjust_room` without padding, over IPv6 at least.
const SHORT: usize = Eth::LEN + Ipv6::LEN;

/// Both MACs of a frame, in words so that they are copied by words.
type Macs = [Be32; 3];

impl Frame for TcFrame {
    #[inline(always)]
    fn len(&self) -> usize {
        skb_field!(self.len) as usize + self.detached_tags()
    }

    #[inline(always)]
    fn header<T: Pod>(&self, offset: usize) -> Result<&T, Reason> {
        // SAFETY: `at` has checked the bounds; any bytes are a `T`, and its alignment is 1.
        Ok(unsafe { &*self.linear.at(offset)? })
    }

    #[inline(always)]
    fn header_mut<T: Pod>(&mut self, offset: usize) -> Result<&mut T, Reason> {
        // SAFETY: as above, and `&mut self` keeps every other reference away.
        Ok(unsafe { &mut *self.linear.at(offset)? })
    }

    #[inline(always)]
    fn prepend(&mut self, n: usize) -> Result<(), Reason> {
        // SAFETY: the pointers from before are replaced by `moved`.
        let error = unsafe { bpf_skb_change_head(self.skb, n as u32, 0) };
        self.moved(error)
    }

    #[inline(always)]
    fn make_room(&mut self, n: usize, ipv6: bool) -> Result<(), Reason> {
        let mut tags = [[Be16::default(); 2]; Self::MAX_TAGS];
        let count = self.take_tags(&mut tags)?;
        let macs = *self.header::<Macs>(0)?;
        let ethertype = self.header::<Eth>(0)?.ethertype;
        let tags_len = count * Vlan::LEN;
        // What `insert` marks as encapsulated, the kernel later refuses to pad; and a short frame would need that if
        // it is decapsulated in TC. Such a frame is no super-packet.
        let short = self.len() < SHORT && self.segment_len() == 0;
        if short || !self.insert(n + tags_len, Eth::LEN + tags_len, ipv6) {
            if self.segment_len() != 0 {
                return Err(Reason::Room);
            }
            self.prepend(n + tags_len)?;
        }
        // Either way the inner Ethernet header is to be written anew, right before the payload.
        *self.header_mut(n)? = macs;
        let mut at = n + size_of::<Macs>();
        for (i, tag) in tags.iter().enumerate() {
            if i < count {
                *self.header_mut(at)? = *tag;
                at += Vlan::LEN;
            }
        }
        *self.header_mut(at)? = ethertype;
        Ok(())
    }

    #[inline(always)]
    fn shrink_head(&mut self, n: usize) -> Result<(), Reason> {
        let macs = *self.header::<Macs>(n)?;
        let ethertype = self.header::<Eth>(n)?.ethertype;
        let len = self.len() - n;
        // The kernel wants the outer IP header's length to be left behind the Ethernet header.
        let header_len = if self.ethertype() == ethertype::IPV6 { Ipv6::LEN } else { Ipv4::LEN };
        let padded = len < Eth::LEN + header_len;
        if padded {
            self.change_tail(self.len() + header_len)?;
        }
        self.adjust_room(-(n as i32), BPF_F_ADJ_ROOM_FIXED_GSO.into())?;
        if padded {
            self.change_tail(len)?;
        }
        *self.header_mut(0)? = macs;
        *self.header_mut(size_of::<Macs>())? = ethertype;
        Ok(())
    }

    #[inline(always)]
    fn truncate(&mut self, len: usize) -> Result<(), Reason> {
        self.change_tail(len)
    }

    #[inline(always)]
    fn sum(&mut self, offset: usize, len: usize) -> Result<u16, Reason> {
        summed(sum_skb(self.skb, offset as u32, len as u32))
    }

    #[inline(always)]
    fn update_checksum(&mut self, offset: usize, old: Be16, new: Be16) -> Result<(), Reason> {
        let size = size_of::<Be16>() as u64;
        // SAFETY: the pointers from before are replaced by `moved`.
        let error =
            unsafe { bpf_l4_csum_replace(self.skb, offset as u32, old.raw().into(), new.raw().into(), size) };
        self.moved(error)
    }

    #[inline(always)]
    fn lower_mss(&mut self, tcp: usize, limit: u16) -> Result<(), Reason> {
        let failed = lower_mss_skb(self.skb, tcp as u32, limit.into());
        self.linear = Self::linear(self.skb);
        if failed != 0 { Err(Reason::Short) } else { Ok(()) }
    }

    #[inline(always)]
    fn write_checksum(&mut self, outer_len: usize, ipv6: bool) -> Result<(), Reason> {
        let failed = write_checksum_skb(self.skb, outer_len as u32, ipv6.into());
        self.linear = Self::linear(self.skb);
        if failed != 0 { Err(Reason::Short) } else { Ok(()) }
    }

    #[inline(always)]
    fn is_bare(&self) -> bool {
        false
    }

    #[inline(always)]
    fn segment_len(&self) -> usize {
        skb_field!(self.gso_size) as usize
    }

    #[inline(always)]
    fn segments(&self) -> u32 {
        skb_field!(self.gso_segs).max(1)
    }

    #[inline(always)]
    fn detached_tags(&self) -> usize {
        if self.has_detached_tag() { Vlan::LEN } else { 0 }
    }

    #[inline(always)]
    fn outer_tag(&self) -> Option<u16> {
        if self.has_detached_tag() {
            // A service tag is not a VLAN of ours.
            let customer = skb_field!(self.vlan_proto) as u16 == ethertype::VLAN.raw();
            return customer.then_some(skb_field!(self.vlan_tci) as u16);
        }
        if self.header::<Eth>(0).ok()?.ethertype != ethertype::VLAN {
            return None;
        }
        Some(self.header::<Vlan>(Eth::LEN).ok()?.tci.get())
    }

    #[inline(always)]
    fn pop_tag(&mut self) -> Result<(), Reason> {
        // SAFETY: the pointers from before are replaced by `moved`.
        let error = unsafe { bpf_skb_vlan_pop(self.skb) };
        self.moved(error)
    }

    #[inline(always)]
    fn push_tag(&mut self, tci: u16) -> Result<(), Reason> {
        // SAFETY: the pointers from before are replaced by `moved`.
        let error = unsafe { bpf_skb_vlan_push(self.skb, ethertype::VLAN.raw(), tci) };
        self.moved(error)
    }
}
