//! The buffer of TC: a socket buffer, which knows of tags, super-packets and checksum states.

use super::{Linear, outline, packet_pointer};
use crate::maps;
use aya_ebpf::bindings::bpf_adj_room_mode::BPF_ADJ_ROOM_MAC;
use aya_ebpf::bindings::{
    __sk_buff, BPF_CSUM_LEVEL_QUERY, BPF_F_ADJ_ROOM_ENCAP_L2_ETH, BPF_F_ADJ_ROOM_ENCAP_L3_IPV4,
    BPF_F_ADJ_ROOM_ENCAP_L3_IPV6, BPF_F_ADJ_ROOM_ENCAP_L4_UDP, BPF_F_ADJ_ROOM_FIXED_GSO,
};
use aya_ebpf::helpers::{
    bpf_csum_level, bpf_l4_csum_replace, bpf_skb_adjust_room, bpf_skb_change_head, bpf_skb_change_tail,
    bpf_skb_pull_data, bpf_skb_vlan_pop, bpf_skb_vlan_push,
};
use aya_ebpf::programs::TcContext;
use bytemuck::Pod;
use l2xdp_common::frame::{Macs, tag_in_bytes};
use l2xdp_common::inner::{self, Checksums};
use l2xdp_common::session::Clamp;
use l2xdp_common::wire::{Be16, Eth, Ipv4, Ipv6, Tailed6, Vlan, ethertype};
use l2xdp_common::{Frame, Reason, SlowFrame};

/// The socket buffer of a TC program.
pub struct TcFrame {
    skb: *mut __sk_buff,
    linear: Linear,
    settled: bool,
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
        Self::of(ctx.skb.skb)
    }

    #[inline(always)]
    pub(super) fn of(skb: *mut __sk_buff) -> Self {
        Self { skb, linear: Self::linear(skb), settled: false }
    }

    /// The device the program runs on.
    #[inline(always)]
    pub fn ifindex(&self) -> u32 {
        skb_field!(self.ifindex)
    }

    /// Gives the frame to user space.
    ///
    /// # Errors
    /// [`Reason::SlowFull`] if nobody reads, or not fast enough.
    #[inline(always)]
    pub fn to_user_space(&self, slot: u32) -> Result<(), Reason> {
        let [vlan_proto, vlan_tci] = self.detached_tag().unwrap_or_default();
        maps::to_user_space(self.skb, SlowFrame { slot, len: skb_field!(self.len), vlan_proto, vlan_tci })
    }

    /// Notes something on the frame that stays with it within the namespace.
    #[inline(always)]
    pub fn set_mark(&self, mark: u32) {
        // SAFETY: the kernel's context, whose mark programs may write.
        unsafe { (*self.skb).mark = mark };
    }

    /// Takes the note off, which was set on the way to the splitter.
    #[inline(always)]
    pub fn take_mark(&mut self) -> u32 {
        let mark = skb_field!(self.mark);
        self.set_mark(0);
        self.settled = true;
        mark
    }

    #[inline(always)]
    fn linear(skb: *mut __sk_buff) -> Linear {
        Linear { data: packet_pointer!(skb, __sk_buff, data), end: packet_pointer!(skb, __sk_buff, data_end) }
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

    /// EtherType and control information of the tag beside the bytes.
    #[inline(always)]
    fn detached_tag(&self) -> Option<[Be16; 2]> {
        let protocol = || Be16((skb_field!(self.vlan_proto) as u16).to_ne_bytes());
        self.has_detached_tag().then(|| [protocol(), Be16::new(skb_field!(self.vlan_tci) as u16)])
    }

    /// Takes all tags off, from beside the bytes and from the bytes, outermost first.
    #[inline(always)]
    fn take_tags(&mut self, tags: &mut [[Be16; 2]; Self::MAX_TAGS]) -> Result<usize, Reason> {
        let mut count = 0;
        for tag in tags.iter_mut() {
            if let Some(detached) = self.detached_tag() {
                *tag = detached;
            } else {
                // The kernel takes the next tag out of the bytes when it pops the one beside them: what is left
                // in the bytes here is a frame that came with its first tag there.
                let protocol = self.ethertype();
                if !Vlan::is_tag(protocol) {
                    break;
                }
                *tag = [protocol, self.header::<Vlan>(Eth::LEN)?.tci];
            }
            self.pop_tag()?;
            count += 1;
        }
        if self.has_detached_tag() {
            // More than anyone stacks; it must not end up on the outer packet.
            return Err(Reason::Room);
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

impl Frame for TcFrame {
    #[inline(always)]
    fn len(&self) -> usize {
        skb_field!(self.len) as usize + self.detached_tags()
    }

    #[inline(always)]
    fn reach_headers(&mut self) {
        let len = (skb_field!(self.len) as usize).min(Self::HEADERS);
        if self.linear.len() < len {
            // Where this fails, bounds checks will say so.
            // SAFETY: the pointers from before are replaced.
            unsafe { bpf_skb_pull_data(self.skb, len as u32) };
            self.linear = Self::linear(self.skb);
        }
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
        outline::summed(outline::sum_skb(self.skb, offset as u32, len as u32))
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
    fn clamp_mss(&mut self, clamp: &Clamp, popped: usize) -> Result<(), Reason> {
        let &Clamp { ipv4, ipv6, tag_mask } = clamp;
        let limits = (ipv4.into(), ipv6.into(), tag_mask.into());
        let error = outline::clamp_mss_skb(self.skb, limits.0, limits.1, limits.2, popped as u32);
        self.linear = Self::linear(self.skb);
        outline::answer(error)
    }

    #[inline(always)]
    fn judge_checksums(&mut self, at: usize) -> Checksums {
        inner::look(self, at).checksums(self)
    }

    #[inline(always)]
    fn write_checksum(&mut self, outer_len: usize, ipv6: bool) -> Result<(), Reason> {
        let error = outline::write_checksum_skb(self.skb, outer_len as u32, ipv6.into());
        self.linear = Self::linear(self.skb);
        outline::answer(error)
    }

    #[inline(always)]
    fn check_checksum(&mut self, outer_len: usize, flags: u32) -> Result<(), Reason> {
        // SAFETY: a helper that only reads the kernel's context.
        if unsafe { bpf_csum_level(self.skb, BPF_CSUM_LEVEL_QUERY.into()) } >= 0 {
            return Ok(()); // the device or the kernel has verified it
        }
        let answer = outline::check_checksum_skb(self.skb, outer_len as u32, flags);
        self.linear = Self::linear(self.skb);
        outline::verified(answer)
    }

    #[inline(always)]
    fn check_finished(&mut self, flags: u32) -> Result<(), Reason> {
        let error = outline::check_finished_skb(self.skb, flags);
        self.linear = Self::linear(self.skb);
        if error != 0 { Err(Reason::GsoTx) } else { Ok(()) }
    }

    #[inline(always)]
    fn is_bare(&self) -> bool {
        false
    }

    #[inline(always)]
    fn is_settled(&self) -> bool {
        self.settled
    }

    #[inline(always)]
    fn segment_len(&self) -> usize {
        skb_field!(self.gso_size) as usize
    }

    #[inline(always)]
    fn segments(&self) -> u32 {
        let (segments, len) = (skb_field!(self.gso_segs), self.segment_len());
        if segments == 0 && len != 0 {
            // From a virtual machine, whose word for it the kernel has not checked yet.
            return self.len().div_ceil(len) as u32;
        }
        segments.max(1)
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
        tag_in_bytes(self)
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
