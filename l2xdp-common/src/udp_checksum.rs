//! The outer UDP checksum (RFC 768, RFC 8200 §8.1): written, and verified.
//!
//! If the inner checksum is unfinished, its segment is not summed: a finished segment and its pseudo-header sum to
//! zero, whatever they hold (the kernel's `lco_csum`).

use crate::checksum;
use crate::frame::Frame;
use crate::inner::{self, Checksums, Inner};
use crate::reason::Reason;
use crate::session::flag;
use crate::wire::{Be16, Outer4, Outer6, Udp, protocol};
use core::mem::offset_of;

/// Writes the checksum of a finished message, an outer header of `outer_len` bytes before a frame; what
/// [`Frame::write_checksum`] does.
///
/// # Errors
/// [`Reason::Short`] if the frame can't be summed.
#[inline(always)]
pub fn write<F: Frame>(frame: &mut F, outer_len: usize, ipv6: bool) -> Result<(), Reason> {
    let datagram = Datagram::of(frame, ipv6)?;
    let sum = match before_unfinished(frame, outer_len)? {
        Some(part) => datagram.sum_part(frame, part)?,
        None => datagram.sum(frame)?,
    };
    // A checksum of zero is sent as all ones.
    let checksum = if sum == RIGHT { sum } else { !sum };
    frame.header_mut::<Udp>(datagram.udp)?.checksum = Be16::new(checksum);
    Ok(())
}

/// Verifies the checksum of a message that has one; what [`Frame::check_checksum`] does. `flags` are those of its session.
///
/// A message that a local sender left to a device to finish (`CHECKSUM_PARTIAL`) holds the pseudo-header's sum alone,
/// and TC takes it like the kernel. One finished checksum in 65 536 looks so too.
///
/// # Errors
/// [`Reason::Checksum`] if it is wrong, or can't be summed; [`Reason::ToTc`] if XDP can't tell.
#[inline(always)]
pub fn check<F: Frame>(frame: &mut F, outer_len: usize, flags: u32) -> Result<(), Reason> {
    let datagram = Datagram::of(frame, flags & flag::IPV6 != 0)?;
    let unfinished = frame.header::<Udp>(datagram.udp)?.checksum.get() == datagram.pseudo;
    if unfinished && !frame.is_bare() {
        return Ok(());
    }
    if unfinished && flags & flag::UNFINISHED != 0 {
        return Err(Reason::ToTc);
    }
    if datagram.is_right(frame, outer_len) == Ok(true) { Ok(()) } else { Err(Reason::Checksum) }
}

/// What a datagram with its checksum in it sums to, pseudo-header included.
const RIGHT: u16 = u16::MAX;

/// The UDP datagram of a message.
#[derive(Clone, Copy)]
struct Datagram {
    /// Where it begins, in bytes.
    udp: usize,
    /// In bytes.
    len: u16,
    /// Sum of its pseudo-header.
    pseudo: u16,
}

impl Datagram {
    #[inline(always)]
    fn of<F: Frame>(frame: &F, ipv6: bool) -> Result<Self, Reason> {
        if ipv6 {
            let Outer6 { ip, udp, .. } = frame.header(0)?;
            let (udp, len) = (offset_of!(Outer6, udp), udp.len.get());
            return Ok(Self { udp, len, pseudo: checksum::pseudo6(&ip.src, &ip.dst, protocol::UDP, len) });
        }
        let Outer4 { ip, udp, .. } = frame.header(0)?;
        let (udp, len) = (offset_of!(Outer4, udp), udp.len.get());
        Ok(Self { udp, len, pseudo: checksum::pseudo4(ip.src, ip.dst, protocol::UDP, len) })
    }

    /// Its sum.
    #[inline(always)]
    fn sum<F: Frame>(&self, frame: &mut F) -> Result<u16, Reason> {
        let sum = frame.sum(self.udp, self.len.into())?;
        Ok(checksum::fold(u32::from(sum) + u32::from(self.pseudo)))
    }

    /// Its sum as it will be.
    #[inline(always)]
    fn sum_part<F: Frame>(&self, frame: &mut F, part: Part) -> Result<u16, Reason> {
        let sum = frame.sum(self.udp, part.end - self.udp)?;
        Ok(checksum::fold(u32::from(sum) + u32::from(self.pseudo) + u32::from(part.rest)))
    }

    #[inline(always)]
    fn is_right<F: Frame>(&self, frame: &mut F, outer_len: usize) -> Result<bool, Reason> {
        // Nobody finishes a checksum of a frame that came from a wire.
        if !frame.is_bare()
            && let Some(part) = before_unfinished(frame, outer_len)?
            && self.sum_part(frame, part)? == RIGHT
        {
            return Ok(true);
        }
        Ok(self.sum(frame)? == RIGHT)
    }
}

/// A message up to a segment whose checksum is unfinished.
#[derive(Clone, Copy)]
struct Part {
    /// Where the segment begins, in bytes.
    end: usize,
    /// What the segment sums to once it is finished.
    rest: u16,
}

#[inline(always)]
fn before_unfinished<F: Frame>(frame: &F, outer_len: usize) -> Result<Option<Part>, Reason> {
    let inner = inner::look(frame, outer_len);
    Ok(match inner {
        Inner::Transport(l4) if inner.checksums(frame) == Checksums::Unfinished => {
            Some(Part { end: l4.offset, rest: !l4.pseudo_header(frame)? })
        }
        _ => None,
    })
}
