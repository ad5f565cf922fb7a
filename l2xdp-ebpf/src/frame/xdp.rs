//! The buffer of XDP: a bare frame.

use super::{Linear, outline, packet_pointer};
use aya_ebpf::bindings::xdp_md;
use aya_ebpf::helpers::{bpf_xdp_adjust_head, bpf_xdp_adjust_tail};
use aya_ebpf::programs::XdpContext;
use bytemuck::Pod;
use l2xdp_common::inner::Checksums;
use l2xdp_common::session::Clamp;
use l2xdp_common::wire::Be16;
use l2xdp_common::{Frame, Reason, checksum};

/// The bare frame of an XDP program.
pub struct XdpFrame {
    ctx: *mut xdp_md,
    linear: Linear,
}

impl XdpFrame {
    /// The frame of a program's context.
    #[inline(always)]
    pub fn new(ctx: &XdpContext) -> Self {
        Self::of(ctx.ctx)
    }

    #[inline(always)]
    pub(super) fn of(ctx: *mut xdp_md) -> Self {
        Self { ctx, linear: Self::linear(ctx) }
    }

    #[inline(always)]
    fn linear(ctx: *mut xdp_md) -> Linear {
        Linear { data: packet_pointer!(ctx, xdp_md, data), end: packet_pointer!(ctx, xdp_md, data_end) }
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
        outline::summed(outline::sum_xdp(self.ctx, offset as u32, len as u32))
    }

    #[inline(always)]
    fn update_checksum(&mut self, offset: usize, old: Be16, new: Be16) -> Result<(), Reason> {
        let at = self.header_mut::<Be16>(offset)?;
        *at = checksum::replace(*at, old, new);
        Ok(())
    }

    #[inline(always)]
    fn clamp_mss(&mut self, clamp: &Clamp, popped: usize) -> Result<(), Reason> {
        let &Clamp { ipv4, ipv6, tag_mask } = clamp;
        let limits = (ipv4.into(), ipv6.into(), tag_mask.into());
        let error = outline::clamp_mss_xdp(self.ctx, limits.0, limits.1, limits.2, popped as u32);
        self.linear = Self::linear(self.ctx);
        outline::answer(error)
    }

    #[inline(always)]
    fn judge_checksums(&mut self, at: usize) -> Checksums {
        let answer = outline::judge_checksums_xdp(self.ctx, at as u32);
        self.linear = Self::linear(self.ctx);
        outline::judged(answer)
    }

    #[inline(always)]
    fn write_checksum(&mut self, outer_len: usize, ipv6: bool) -> Result<(), Reason> {
        let error = outline::write_checksum_xdp(self.ctx, outer_len as u32, ipv6.into());
        self.linear = Self::linear(self.ctx);
        outline::answer(error)
    }

    #[inline(always)]
    fn check_checksum(&mut self, _outer_len: usize, flags: u32) -> Result<(), Reason> {
        let answer = outline::check_checksum_xdp(self.ctx, flags);
        self.linear = Self::linear(self.ctx);
        outline::verified(answer)
    }

    #[inline(always)]
    fn check_finished(&mut self, _flags: u32) -> Result<(), Reason> {
        Ok(()) // XDP leaves such frames to TC
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
