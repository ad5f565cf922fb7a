//! What the inner frame is, as far as the clamp, the outer DSCP and checksum states ask.

use crate::checksum;
use crate::frame::Frame;
use crate::reason::Reason;
use crate::wire::{Be16, Eth, Ipv4, Ipv6, Kind4, Tcp, Udp, Vlan, ethertype, protocol};
use bytemuck::{Pod, Zeroable};

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

/// A frame like most: no tags, no IPv4 options, and the place of a TCP header in it.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Usual4 {
    eth: Eth,
    ip: Ipv4,
    tcp: Tcp,
}

/// [`Usual4`], as what it begins with.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct UsualKind {
    kind: Kind4,
    rest: [u8; size_of::<Usual4>() - size_of::<Kind4>()],
}

impl Usual4 {
    #[inline(always)]
    fn is(&self, protocol: u8) -> bool {
        bytemuck::must_cast_ref::<_, UsualKind>(self).kind.is(protocol)
    }
}

/// The same over IPv6, no extension headers.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Usual6 {
    eth: Eth,
    ip: Ipv6,
    tcp: Tcp,
}

/// May this be a TCP SYN? Of most frames it can be told at once, at constant offsets; [`look`] sees for certain.
#[inline(always)]
pub fn may_be_syn<F: Frame>(frame: &F) -> bool {
    match frame.header::<Usual4>(0) {
        Ok(usual) if usual.is(protocol::UDP) => false,
        Ok(usual) if usual.is(protocol::TCP) => usual.tcp.flags & Tcp::SYN != 0,
        Ok(Usual4 { eth, ip, .. }) if eth.ethertype == ethertype::IPV4 => ip.protocol == protocol::TCP,
        Ok(Usual4 { eth, .. }) if eth.ethertype == ethertype::IPV6 => frame
            .header::<Usual6>(0)
            .is_ok_and(|Usual6 { ip, tcp, .. }| ip.next_header == protocol::TCP && tcp.flags & Tcp::SYN != 0),
        Ok(Usual4 { eth, .. }) => Vlan::is_tag(eth.ethertype),
        Err(_) => false,
    }
}

/// Is there nothing to be done about a frame that begins at byte `at`: no SYN, and no checksum that matters is unfinished?
/// The answer is only for frames like most, and "no" for all others.
#[inline(always)]
pub fn is_done<F: Frame>(frame: &F, at: usize, unfinished_matters: bool) -> bool {
    let Ok(usual @ Usual4 { eth, ip, tcp }) = frame.header(at) else { return false };
    let segment_len = || ip.total_len.get().wrapping_sub(Ipv4::LEN as u16);
    let unfinished = |checksum, protocol| {
        unfinished_matters && checksum::is_pseudo4(checksum, ip.src, ip.dst, protocol, segment_len())
    };
    if usual.is(protocol::UDP) {
        let [Udp { checksum, .. }, _] = bytemuck::must_cast_ref::<_, Udps>(tcp).udps;
        return !unfinished(checksum, protocol::UDP);
    }
    if usual.is(protocol::TCP) {
        return tcp.flags & Tcp::SYN == 0 && !unfinished(tcp.checksum, protocol::TCP);
    }
    if eth.ethertype == ethertype::IPV6 {
        return !unfinished_matters
            && frame.header::<Usual6>(at).is_ok_and(|Usual6 { ip, tcp, .. }| {
                ip.next_header != protocol::TCP || tcp.flags & Tcp::SYN == 0
            });
    }
    eth.ethertype != ethertype::IPV4 && !Vlan::is_tag(eth.ethertype)
}

/// A UDP header where a TCP header could lie.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Udps {
    udps: [Udp; 2],
    rest: [u8; 4],
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

impl Checksums {
    /// Judges a TCP segment's by the sum of its pseudo-header.
    #[inline(always)]
    fn of_tcp(checksum: Be16, pseudo: impl FnOnce() -> u16) -> Self {
        if checksum.get() == pseudo() { Self::Unfinished } else { Self::Finished }
    }

    /// Judges a UDP datagram's, which may have none.
    #[inline(always)]
    fn of_udp(checksum: Be16, pseudo: impl FnOnce() -> u16) -> Self {
        let unfinished = checksum != Be16::default() && checksum.get() == pseudo();
        if unfinished { Self::Unfinished } else { Self::Unknown }
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
        let pseudo = self.pseudo_header(frame)?;
        Ok(if self.tcp {
            Checksums::of_tcp(frame.header::<Tcp>(self.offset)?.checksum, || pseudo)
        } else {
            Checksums::of_udp(frame.header::<Udp>(self.offset)?.checksum, || pseudo)
        })
    }

    /// The frame up to the end of the TCP or UDP header, tags beside the frame included, in bytes.
    #[inline(always)]
    pub fn headers_len<F: Frame>(&self, frame: &F) -> Result<usize, Reason> {
        let header_len = if self.tcp { frame.header::<Tcp>(self.offset)?.header_len() } else { Udp::LEN };
        Ok(self.offset + header_len + frame.detached_tags())
    }
}
