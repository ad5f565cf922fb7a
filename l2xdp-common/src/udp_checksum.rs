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
    let part = before_unfinished(frame, outer_len)?.unwrap_or(datagram.whole());
    let sum = checksum::fold(datagram.sum(frame, part)?);
    // A checksum of zero is sent as all ones.
    let checksum = if sum == u16::MAX { sum } else { !sum };
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

    #[inline(always)]
    const fn whole(&self) -> Part {
        Part { end: self.udp + self.len as usize, rest: 0 }
    }

    /// Its sum, pseudo-header included.
    #[inline(always)]
    fn sum<F: Frame>(&self, frame: &mut F, part: Part) -> Result<u32, Reason> {
        let sum = frame.sum(self.udp, part.end - self.udp)?;
        Ok(u32::from(sum) + u32::from(self.pseudo) + u32::from(part.rest))
    }

    #[inline(always)]
    fn is_right<F: Frame>(&self, frame: &mut F, outer_len: usize) -> Result<bool, Reason> {
        // Nobody finishes a checksum of a frame that came from a wire.
        if !frame.is_bare()
            && let Some(part) = before_unfinished(frame, outer_len)?
            && is_zero(self.sum(frame, part)?)
        {
            return Ok(true);
        }
        Ok(is_zero(self.sum(frame, self.whole())?))
    }
}

/// Is this sum, not folded, a zero of ones' complement arithmetic? What has its checksum in it sums to that.
#[inline(always)]
const fn is_zero(sum: u32) -> bool {
    sum.is_multiple_of(u16::MAX as u32)
}

/// What of a message is summed.
#[derive(Clone, Copy)]
struct Part {
    /// Where it ends, in bytes: at the end of the datagram, or where a segment begins whose checksum is unfinished.
    end: usize,
    /// What that segment sums to once it is finished.
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
