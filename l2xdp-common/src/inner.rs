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

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inner {
    /// A TCP segment or UDP datagram.
    Transport(Transport),
    /// Nothing that a device would finish a checksum of: no IP, a fragment, ICMP, or cut short.
    Plain,
    /// IP that holds something else, or holds it behind IPv6 extension headers.
    Opaque,
}

/// What can be told of checksums where nobody says whether a device is still to finish them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksums {
    /// They are finished.
    Finished,
    /// One is that of the pseudo-header alone (`CHECKSUM_PARTIAL`). One finished checksum in 65 536 looks so too.
    Unfinished,
    /// The frame holds a protocol that is not looked into, or UDP, which may be a tunnel's.
    Unknown,
}

/// Looks into a frame that begins at byte `at`.
#[inline(always)]
pub fn look<F: Frame>(frame: &F, at: usize) -> Inner {
    look_into(frame, at).unwrap_or(Inner::Plain)
}

#[inline(always)]
fn look_into<F: Frame>(frame: &F, at: usize) -> Result<Inner, Reason> {
    let Some(network) = network(frame, at)? else { return Ok(Inner::Plain) };
    let (protocol, header_len) = if network.ipv6 {
        (frame.header::<Ipv6>(network.offset)?.next_header, Ipv6::LEN)
    } else {
        let ip = frame.header::<Ipv4>(network.offset)?;
        if ip.is_fragment() || ip.header_len() < Ipv4::LEN {
            return Ok(Inner::Plain);
        }
        (ip.protocol, ip.header_len())
    };
    Ok(match protocol {
        protocol::TCP | protocol::UDP => Inner::Transport(Transport {
            network,
            offset: network.offset + header_len,
            tcp: protocol == protocol::TCP,
        }),
        protocol::ICMP | protocol::ICMPV6 | protocol::IPV6_FRAGMENT => Inner::Plain,
        _ => Inner::Opaque,
    })
}

impl Inner {
    /// The TCP segment or UDP datagram.
    #[inline(always)]
    pub fn transport(self) -> Option<Transport> {
        match self {
            Self::Transport(transport) => Some(transport),
            Self::Plain | Self::Opaque => None,
        }
    }

    /// Judges the checksums.
    #[inline(always)]
    pub fn checksums<F: Frame>(&self, frame: &F) -> Checksums {
        match self {
            Self::Transport(transport) => transport.checksums(frame).unwrap_or(Checksums::Finished),
            Self::Plain => Checksums::Finished,
            Self::Opaque => Checksums::Unknown,
        }
    }
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

    #[inline(always)]
    fn checksums<F: Frame>(&self, frame: &F) -> Result<Checksums, Reason> {
        let checksum = if self.tcp {
            frame.header::<Tcp>(self.offset)?.checksum
        } else {
            frame.header::<Udp>(self.offset)?.checksum
        };
        let absent = !self.tcp && checksum == Be16::default();
        Ok(match checksum.get() == self.pseudo_header(frame)? {
            true if !absent => Checksums::Unfinished,
            _ if self.tcp => Checksums::Finished,
            _ => Checksums::Unknown,
        })
    }

    /// The frame up to the end of the TCP or UDP header, tags beside the frame included, in bytes.
    #[inline(always)]
    pub fn headers_len<F: Frame>(&self, frame: &F) -> Result<usize, Reason> {
        let header_len = if self.tcp { frame.header::<Tcp>(self.offset)?.header_len() } else { Udp::LEN };
        Ok(self.offset + header_len + frame.detached_tags())
    }
}
