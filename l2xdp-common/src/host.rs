//! A frame over a `Vec`: what tests, fuzz targets and tools run the packet logic on.

use crate::checksum;
use crate::frame::Frame;
use crate::inner::{self, Checksums};
use crate::reason::Reason;
use crate::session::Clamp;
use crate::wire::Be16;
use crate::{encap, mss, udp_checksum};
use bytemuck::Pod;

/// New room is filled with this, so that a byte nobody wrote shows.
pub const POISON: u8 = 0xa5;

/// A frame, and what its hook would know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostFrame {
    /// From the destination MAC on.
    pub bytes: Vec<u8>,
    /// See [`Frame::is_bare`].
    pub bare: bool,
    /// See [`Frame::is_settled`].
    pub settled: bool,
    /// See [`Frame::segment_len`].
    pub segment_len: usize,
    /// See [`Frame::segments`].
    pub segments: u32,
}

impl HostFrame {
    /// A frame as XDP sees it.
    pub fn bare(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), bare: true, settled: false, segment_len: 0, segments: 1 }
    }

    /// A frame as TC sees it, all tags in its bytes.
    pub fn skb(bytes: &[u8]) -> Self {
        Self { bare: false, ..Self::bare(bytes) }
    }

    /// A frame as TC sees it behind the splitter.
    pub fn settled(bytes: &[u8]) -> Self {
        Self { settled: true, ..Self::skb(bytes) }
    }
}

impl Frame for HostFrame {
    fn len(&self) -> usize {
        self.bytes.len()
    }

    fn header<T: Pod>(&self, offset: usize) -> Result<&T, Reason> {
        const { assert!(align_of::<T>() == 1) };
        let bytes = self.bytes.get(offset..offset + size_of::<T>()).ok_or(Reason::Short)?;
        bytemuck::try_from_bytes(bytes).map_err(|_| Reason::Short)
    }

    fn header_mut<T: Pod>(&mut self, offset: usize) -> Result<&mut T, Reason> {
        const { assert!(align_of::<T>() == 1) };
        let bytes = self.bytes.get_mut(offset..offset + size_of::<T>()).ok_or(Reason::Short)?;
        bytemuck::try_from_bytes_mut(bytes).map_err(|_| Reason::Short)
    }

    fn prepend(&mut self, n: usize) -> Result<(), Reason> {
        self.bytes.splice(0..0, std::iter::repeat_n(POISON, n));
        Ok(())
    }

    fn shrink_head(&mut self, n: usize) -> Result<(), Reason> {
        if n > self.bytes.len() {
            return Err(Reason::Room);
        }
        self.bytes.drain(..n);
        Ok(())
    }

    fn truncate(&mut self, len: usize) -> Result<(), Reason> {
        self.bytes.truncate(len);
        Ok(())
    }

    fn sum(&mut self, offset: usize, len: usize) -> Result<u16, Reason> {
        let bytes = self.bytes.get(offset..offset + len).ok_or(Reason::Short)?;
        Ok(checksum::of(bytes))
    }

    fn update_checksum(&mut self, offset: usize, old: Be16, new: Be16) -> Result<(), Reason> {
        let at = self.header_mut::<Be16>(offset)?;
        *at = checksum::replace(*at, old, new);
        Ok(())
    }

    fn clamp_mss(&mut self, clamp: &Clamp, popped: usize) -> Result<(), Reason> {
        mss::clamp(self, clamp, popped)
    }

    fn judge_checksums(&mut self, at: usize) -> Checksums {
        inner::look(self, at).checksums(self)
    }

    fn write_checksum(&mut self, outer_len: usize, ipv6: bool) -> Result<(), Reason> {
        udp_checksum::write(self, outer_len, ipv6)
    }

    fn check_checksum(&mut self, outer_len: usize, flags: u32) -> Result<(), Reason> {
        udp_checksum::check(self, outer_len, flags)
    }

    fn check_finished(&mut self, flags: u32) -> Result<(), Reason> {
        encap::check_finished(self, flags)
    }

    fn is_bare(&self) -> bool {
        self.bare
    }

    fn is_settled(&self) -> bool {
        self.settled
    }

    fn segment_len(&self) -> usize {
        self.segment_len
    }

    fn segments(&self) -> u32 {
        self.segments
    }

    fn detached_tags(&self) -> usize {
        0
    }
}
