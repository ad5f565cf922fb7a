//! What the packet logic needs of a packet buffer.

use crate::inner::Checksums;
use crate::reason::Reason;
use crate::session::Clamp;
use crate::wire::{Be16, Be32, Eth, Vlan, ethertype};
#[cfg(doc)]
use crate::{encap, inner, mss, udp_checksum};
use bytemuck::Pod;

/// An Ethernet frame with room before it.
///
/// `header*` borrow from the frame, and everything that moves its ends takes `&mut self`: no reference outlives a
/// move, which is the borrow checker's word for what the verifier demands after `bpf_xdp_adjust_head`.
///
/// There are three implementations: an `xdp_md`, an `__sk_buff`, and a `Vec` on the host.
#[expect(clippy::len_without_is_empty, reason = "no frame is empty, and nobody asks")]
pub trait Frame {
    /// Length on the wire in bytes, tags that are kept beside the bytes included.
    fn len(&self) -> usize;

    /// Makes all headers reachable, for a buffer that may have them in pieces. Not done for every packet, because it
    /// costs, and most packets on a WAN device are none of ours.
    #[inline(always)]
    fn reach_headers(&mut self) {}

    /// The header at a byte offset. `T` must have alignment 1.
    ///
    /// # Errors
    /// [`Reason::Short`] if the frame ends before the header does.
    fn header<T: Pod>(&self, offset: usize) -> Result<&T, Reason>;

    /// The header at a byte offset, to be written. `T` must have alignment 1.
    ///
    /// # Errors
    /// [`Reason::Short`] if the frame ends before the header does.
    fn header_mut<T: Pod>(&mut self, offset: usize) -> Result<&mut T, Reason>;

    /// Puts `n` bytes of undefined content in front.
    ///
    /// # Errors
    /// [`Reason::Room`] if there is no room for them; the frame is as it was.
    fn prepend(&mut self, n: usize) -> Result<(), Reason>;

    /// Puts `n` bytes of undefined content in front, to hold outer headers, and all tags of the inner frame into
    /// its bytes. A super-packet stays whole.
    ///
    /// # Errors
    /// [`Reason::Room`] if there is no room for them; the frame may have lost its tags.
    #[inline(always)]
    fn make_room(&mut self, n: usize, _ipv6: bool) -> Result<(), Reason> {
        self.prepend(n)
    }

    /// Takes `n` bytes off the front.
    ///
    /// # Errors
    /// [`Reason::Room`]; the frame is as it was.
    fn shrink_head(&mut self, n: usize) -> Result<(), Reason>;

    /// Cuts the frame's end off, so that `len` bytes are left.
    ///
    /// # Errors
    /// [`Reason::Room`]; the frame is as it was.
    fn truncate(&mut self, len: usize) -> Result<(), Reason>;

    /// Ones' complement sum (RFC 1071) of `len` bytes from `offset`, not inverted, in network order.
    ///
    /// # Errors
    /// [`Reason::Short`] if the frame is shorter, or longer than the implementation can sum.
    fn sum(&mut self, offset: usize, len: usize) -> Result<u16, Reason>;

    /// After a change of 16 bits of a TCP segment, updates its checksum, which lies at `offset`; leaves alone one
    /// that is yet to be finished by a device. `old` and `new` are as at an even offset of the segment.
    ///
    /// # Errors
    /// [`Reason::Short`] if the frame ends before the checksum does.
    fn update_checksum(&mut self, offset: usize, old: Be16, new: Be16) -> Result<(), Reason>;

    /// Lowers the MSS option of a SYN, see [`mss::clamp`]. A method so that a program can keep this rare and long walk
    /// out of its line.
    ///
    /// # Errors
    /// [`Reason::Short`] if the header ends early; nothing was changed then.
    fn clamp_mss(&mut self, clamp: &Clamp, popped: usize) -> Result<(), Reason>;

    /// Judges the checksums of a frame that begins at byte `at`, see [`inner::Inner::checksums`]. A method for the same
    /// reason.
    fn judge_checksums(&mut self, at: usize) -> Checksums;

    /// Writes the outer UDP checksum, see [`udp_checksum::write`]. A method for the same reason.
    ///
    /// # Errors
    /// [`Reason::Short`] if the frame can't be summed.
    fn write_checksum(&mut self, outer_len: usize, ipv6: bool) -> Result<(), Reason>;

    /// Verifies the outer UDP checksum of a message that has one, see [`udp_checksum::check`]. A method for the same
    /// reason, and because TC may know the answer.
    ///
    /// # Errors
    /// [`Reason::Checksum`] or [`Reason::ToTc`].
    fn check_checksum(&mut self, outer_len: usize, flags: u32) -> Result<(), Reason>;

    /// May its checksums leave as they are, see [`encap::check_finished`]? A method for the same reason.
    ///
    /// # Errors
    /// [`Reason::GsoTx`], if they have to be finished first, or it can't be told.
    fn check_finished(&mut self, flags: u32) -> Result<(), Reason>;

    /// The frame is only bytes: there is no word on whether its checksums are finished (XDP), and a second hook
    /// behind this one that knows more (TC).
    fn is_bare(&self) -> bool;

    /// It has been split, and its checksums finished, just now.
    #[inline(always)]
    fn is_settled(&self) -> bool {
        false
    }

    /// The payload in each of the packets this one is to be split into, in bytes; 0: it is one packet.
    fn segment_len(&self) -> usize;

    /// The packets this one counts as.
    fn segments(&self) -> u32;

    /// Bytes of tags that are kept beside the bytes, and that [`make_room`](Self::make_room) puts back.
    fn detached_tags(&self) -> usize;

    /// The control information of the outermost 802.1Q tag.
    #[inline(always)]
    fn outer_tag(&self) -> Option<u16> {
        tag_in_bytes(self)
    }

    /// Takes the outermost tag off.
    ///
    /// # Errors
    /// [`Reason::Short`] or [`Reason::Room`].
    #[inline(always)]
    fn pop_tag(&mut self) -> Result<(), Reason> {
        let macs = *self.header::<Macs>(0)?;
        self.shrink_head(Vlan::LEN)?;
        *self.header_mut(0)? = macs;
        Ok(())
    }

    /// Puts an 802.1Q tag on, outermost.
    ///
    /// # Errors
    /// [`Reason::Short`] or [`Reason::Room`].
    #[inline(always)]
    fn push_tag(&mut self, tci: u16) -> Result<(), Reason> {
        let macs = *self.header::<Macs>(0)?;
        self.prepend(Vlan::LEN)?;
        *self.header_mut(0)? = macs;
        *self.header_mut(size_of::<Macs>())? = [ethertype::VLAN, Be16::new(tci)];
        Ok(())
    }
}

/// The control information of an outermost 802.1Q tag that stands in the bytes of a frame.
#[inline(always)]
pub fn tag_in_bytes<F: Frame + ?Sized>(frame: &F) -> Option<u16> {
    if frame.header::<Eth>(0).ok()?.ethertype != ethertype::VLAN {
        return None;
    }
    Some(frame.header::<Vlan>(Eth::LEN).ok()?.tci.get())
}

/// Both MACs of a frame, in words so that they are copied by words.
pub type Macs = [Be32; 3];
