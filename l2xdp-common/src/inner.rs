//! What the inner frame is, as far as the clamp, the outer DSCP and checksum states ask.

use crate::checksum;
use crate::frame::Frame;
use crate::reason::Reason;
use crate::wire::{Be16, Eth, Ipv4, Ipv6, Tcp, Udp, Vlan, ethertype, protocol};

/// An IP packet behind up to two tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// Where its header begins in the frame, in bytes.
    pub offset: usize,
    /// Bytes of tags before it, those beside the frame included.
    pub tags: usize,
    /// IPv6, not IPv4.
    pub ipv6: bool,
}

/// A whole TCP segment or UDP datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transport {
    /// The packet that holds it.
    pub network: Network,
    /// Where its header begins in the frame, in bytes.
    pub offset: usize,
    /// TCP, not UDP.
    pub tcp: bool,
}

/// The IP packet in a frame that begins at byte `at`.
#[inline(always)]
pub fn network<F: Frame>(frame: &F, at: usize) -> Result<Option<Network>, Reason> {
    let mut ethertype = frame.header::<Eth>(at)?.ethertype;
    let mut tags = 0;
    if Vlan::is_tag(ethertype) {
        ethertype = frame.header::<Vlan>(at + Eth::LEN)?.ethertype;
        tags = Vlan::LEN;
        if Vlan::is_tag(ethertype) {
            ethertype = frame.header::<Vlan>(at + Eth::LEN + Vlan::LEN)?.ethertype;
            tags = 2 * Vlan::LEN;
        }
    }
    if ethertype != ethertype::IPV4 && ethertype != ethertype::IPV6 {
        return Ok(None);
    }
    Ok(Some(Network {
        offset: at + Eth::LEN + tags,
        tags: tags + frame.detached_tags(),
        ipv6: ethertype == ethertype::IPV6,
    }))
}

/// The TCP segment or UDP datagram in a frame that begins at byte `at`; none in fragments, nor behind IPv6
/// extension headers.
#[inline(always)]
pub fn transport<F: Frame>(frame: &F, at: usize) -> Result<Option<Transport>, Reason> {
    let Some(network) = network(frame, at)? else { return Ok(None) };
    let (protocol, header_len) = if network.ipv6 {
        (frame.header::<Ipv6>(network.offset)?.next_header, Ipv6::LEN)
    } else {
        let ip = frame.header::<Ipv4>(network.offset)?;
        if ip.is_fragment() || ip.header_len() < Ipv4::LEN {
            return Ok(None);
        }
        (ip.protocol, ip.header_len())
    };
    if protocol != protocol::TCP && protocol != protocol::UDP {
        return Ok(None);
    }
    Ok(Some(Transport { network, offset: network.offset + header_len, tcp: protocol == protocol::TCP }))
}

impl Transport {
    /// Sum of the pseudo-header, not inverted.
    #[inline(always)]
    pub fn pseudo_header<F: Frame>(&self, frame: &F) -> Result<u16, Reason> {
        let protocol = if self.tcp { protocol::TCP } else { protocol::UDP };
        if self.network.ipv6 {
            let ip = frame.header::<Ipv6>(self.network.offset)?;
            return Ok(checksum::pseudo6(&ip.src, &ip.dst, protocol, ip.payload_len.get()));
        }
        let ip = frame.header::<Ipv4>(self.network.offset)?;
        let len = ip.total_len.get().wrapping_sub(ip.header_len() as u16);
        Ok(checksum::pseudo4(ip.src, ip.dst, protocol, len))
    }

    /// Is the checksum that of the pseudo-header alone, left for a device to finish (`CHECKSUM_PARTIAL`)?
    ///
    /// One finished checksum in 65 536 looks so too.
    #[inline(always)]
    pub fn is_unfinished<F: Frame>(&self, frame: &F) -> Result<bool, Reason> {
        let checksum = if self.tcp {
            frame.header::<Tcp>(self.offset)?.checksum
        } else {
            frame.header::<Udp>(self.offset)?.checksum
        };
        Ok(checksum != Be16::default() && checksum.get() == self.pseudo_header(frame)?)
    }

    /// The frame up to the end of the TCP or UDP header, tags beside the frame included, in bytes.
    #[inline(always)]
    pub fn headers_len<F: Frame>(&self, frame: &F) -> Result<usize, Reason> {
        let header_len = if self.tcp { frame.header::<Tcp>(self.offset)?.header_len() } else { Udp::LEN };
        Ok(self.offset + header_len + frame.detached_tags())
    }
}
