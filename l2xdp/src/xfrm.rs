//! IPsec policies (`ip xfrm policy`), which the fast path would go past: what they are to protect would leave in the clear.

use bytemuck::{AnyBitPattern, NoUninit};
use futures_util::{Stream, StreamExt, stream};
use l2xdp_common::wire::Be16;
use netlink_packet_core::{NlaBuffer, NlasIterator};
use rtnetlink::sys::{AsyncSocket, AsyncSocketExt, Socket, SocketAddr, TokioSocket};
use std::io;
use std::net::IpAddr;

/// The policies of a network namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policies {
    policies: Vec<Policy>,
    /// What no policy is for is blocked (`ip xfrm policy setdefault`).
    block: Defaults,
}

/// By direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Defaults {
    in_: bool,
    out: bool,
}

/// One policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Policy {
    selector: Selector,
    /// Of several that match, the one with the least.
    priority: u32,
    direction: u8,
    /// It has packets transformed, or blocks them; others let them pass as they are.
    interferes: bool,
    /// It is for those of some device, user or mark only.
    conditional: bool,
}

/// `struct xfrm_selector`: what a policy is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, AnyBitPattern)]
#[repr(C)]
struct Selector {
    dst: [u8; 16],
    src: [u8; 16],
    dst_port: Be16,
    dst_port_mask: Be16,
    src_port: Be16,
    src_port_mask: Be16,
    family: u16,
    dst_prefix: u8,
    src_prefix: u8,
    protocol: u8,
    pad: [u8; 3],
    ifindex: i32,
    user: u32,
}

/// `struct xfrm_userpolicy_info`.
#[derive(Clone, Copy, AnyBitPattern)]
#[repr(C)]
struct PolicyInfo {
    selector: Selector,
    lifetimes: [u64; 12],
    priority: u32,
    index: u32,
    direction: u8,
    action: u8,
    flags: u8,
    share: u8,
    pad: [u8; 4],
}

/// `struct nlmsghdr`.
#[derive(Clone, Copy, AnyBitPattern, NoUninit)]
#[repr(C)]
struct Header {
    len: u32,
    kind: u16,
    flags: u16,
    seq: u32,
    port: u32,
}

/// `struct xfrm_userpolicy_id`, of a request for all of them.
const ANY: [u8; 64] = [0; 64];

const XFRM_MSG_NEWPOLICY: u16 = 0x13;
const XFRM_MSG_GETPOLICY: u16 = 0x15;
const XFRM_POLICY_IN: u8 = 0;
const XFRM_POLICY_OUT: u8 = 1;
const XFRM_POLICY_ALLOW: u8 = 0;
/// Linux 5.15.
const XFRM_MSG_GETDEFAULT: u16 = 0x28;
const XFRM_USERPOLICY_BLOCK: u8 = 1;
const XFRMA_TMPL: u16 = 5;
const XFRMA_MARK: u16 = 21;
const XFRMA_IF_ID: u16 = 31;

/// Something for every change of policies in this thread's network namespace.
///
/// # Errors
/// The kernel's; none if it has no IPsec.
pub fn changes() -> io::Result<impl Stream<Item = ()> + Unpin> {
    const XFRMNLGRP_POLICY: u32 = 5;
    let mut socket = match TokioSocket::new(libc::NETLINK_XFRM as isize) {
        Ok(socket) => socket,
        Err(error) if error.raw_os_error() == Some(libc::EPROTONOSUPPORT) => {
            return Ok(stream::pending().left_stream());
        }
        Err(error) => return Err(error),
    };
    socket.socket_mut().bind_auto()?;
    socket.socket_mut().add_membership(XFRMNLGRP_POLICY)?;
    let changes = stream::unfold(socket, |socket| async move {
        match socket.recv_from_full().await {
            // What there was no room to announce is a change as well.
            Err(error) if error.raw_os_error() != Some(libc::ENOBUFS) => None,
            _ => Some(((), socket)),
        }
    });
    Ok(Box::pin(changes).fuse().right_stream())
}

/// Reads the policies of this thread's network namespace.
///
/// # Errors
/// The kernel's; none if it has no IPsec.
pub fn read() -> io::Result<Policies> {
    let socket = match Socket::new(libc::NETLINK_XFRM as isize) {
        Ok(socket) => socket,
        Err(error) if error.raw_os_error() == Some(libc::EPROTONOSUPPORT) => return Ok(Policies::default()),
        Err(error) => return Err(error),
    };
    let mut policies = Policies::default();
    send(&socket, XFRM_MSG_GETPOLICY, libc::NLM_F_DUMP, &ANY)?;
    while policies.read(&socket.recv_from_full()?.0)? {}
    send(&socket, XFRM_MSG_GETDEFAULT, libc::NLM_F_ACK, &[0; 3])?;
    while policies.read(&socket.recv_from_full()?.0)? {}
    Ok(policies)
}

fn send(socket: &Socket, kind: u16, flags: i32, payload: &[u8]) -> io::Result<()> {
    let len = (size_of::<Header>() + payload.len()) as u32;
    let header = Header { len, kind, flags: (libc::NLM_F_REQUEST | flags) as u16, seq: 0, port: 0 };
    socket.send_to(&[bytemuck::bytes_of(&header), payload].concat(), &SocketAddr::new(0, 0), 0).map(drop)
}

impl Policies {
    /// Takes in a datagram; `false` at the end of an answer.
    fn read(&mut self, mut datagram: &[u8]) -> io::Result<bool> {
        while let Some(header) = datagram.get(..size_of::<Header>()) {
            let header: Header = bytemuck::pod_read_unaligned(header);
            let end = (header.len as usize).clamp(size_of::<Header>(), datagram.len());
            let (message, rest) = datagram.split_at(end);
            let payload = message.get(size_of::<Header>()..).unwrap_or_default();
            match i32::from(header.kind) {
                libc::NLMSG_DONE => return Ok(false),
                libc::NLMSG_ERROR => {
                    let code = payload.get(..4).map_or(0, bytemuck::pod_read_unaligned::<i32>);
                    return if code == 0 { Ok(false) } else { Err(io::Error::from_raw_os_error(-code)) };
                }
                kind if kind == i32::from(XFRM_MSG_NEWPOLICY) => self.policies.extend(Policy::read(payload)),
                kind if kind == i32::from(XFRM_MSG_GETDEFAULT) => self.block = Defaults::read(payload),
                _ => {}
            }
            datagram = rest.get(end.next_multiple_of(4) - end..).unwrap_or_default();
        }
        Ok(true)
    }

    /// Is a flow, in either direction, not to be sent and received as it is?
    pub fn covers(&self, local: IpAddr, remote: IpAddr, protocol: u8, sport: u16, dport: u16) -> bool {
        let out = Flow { src: local, dst: remote, protocol, src_port: sport, dst_port: dport };
        let back = Flow { src: remote, dst: local, protocol, src_port: dport, dst_port: sport };
        self.interfere(XFRM_POLICY_OUT, &out, self.block.out)
            || self.interfere(XFRM_POLICY_IN, &back, self.block.in_)
    }

    fn interfere(&self, direction: u8, flow: &Flow, default: bool) -> bool {
        let matching =
            self.policies.iter().filter(|policy| policy.direction == direction && policy.is_for(flow));
        // Of the flow's packets some may meet a condition and some not: it is no exception that can be relied upon.
        let certain = matching.filter(|policy| policy.interferes || !policy.conditional);
        let first = certain.min_by_key(|policy| (policy.priority, !policy.interferes));
        first.map_or(default, |policy| policy.interferes)
    }
}

impl Defaults {
    /// `struct xfrm_userpolicy_default`: received, forwarded, sent.
    fn read(payload: &[u8]) -> Self {
        let blocks = |at: usize| payload.get(at) == Some(&XFRM_USERPOLICY_BLOCK);
        Self { in_: blocks(0), out: blocks(2) }
    }
}

/// Packets of one kind.
struct Flow {
    src: IpAddr,
    dst: IpAddr,
    protocol: u8,
    src_port: u16,
    dst_port: u16,
}

impl Policy {
    fn read(payload: &[u8]) -> Option<Self> {
        let (info, attributes) = payload.split_at_checked(size_of::<PolicyInfo>())?;
        let info: PolicyInfo = bytemuck::pod_read_unaligned(info);
        let selector = info.selector;
        let mut policy = Self {
            selector,
            priority: info.priority,
            direction: info.direction,
            interferes: info.action != XFRM_POLICY_ALLOW,
            conditional: selector.ifindex != 0 || selector.user != 0,
        };
        for nla in NlasIterator::new(attributes).map_while(Result::ok) {
            let nla: NlaBuffer<&[u8]> = nla;
            let given = nla.value().iter().any(|byte| *byte != 0);
            match nla.kind() {
                XFRMA_TMPL => policy.interferes |= given,
                XFRMA_MARK => policy.conditional |= given,
                // Only for what goes by an interface of this id, which is none that tunnels are sent from.
                XFRMA_IF_ID if given => return None,
                _ => {}
            }
        }
        Some(policy)
    }

    /// `xfrm_selector_match`; of device and user it can't be told.
    fn is_for(&self, flow: &Flow) -> bool {
        let selector = &self.selector;
        let family = if flow.src.is_ipv6() { libc::AF_INET6 } else { libc::AF_INET };
        let port = |port: u16, want: Be16, mask: Be16| (port ^ want.get()) & mask.get() == 0;
        i32::from(selector.family) == family
            && (selector.protocol == 0 || selector.protocol == flow.protocol)
            && starts_with(flow.src, &selector.src, selector.src_prefix)
            && starts_with(flow.dst, &selector.dst, selector.dst_prefix)
            && port(flow.src_port, selector.src_port, selector.src_port_mask)
            && port(flow.dst_port, selector.dst_port, selector.dst_port_mask)
    }
}

/// Do the first so many bits of an address agree with a prefix?
fn starts_with(address: IpAddr, prefix: &[u8; 16], bits: u8) -> bool {
    let mut bytes = [0; 16];
    match address {
        IpAddr::V4(address) => bytes[..4].copy_from_slice(&address.octets()),
        IpAddr::V6(address) => bytes = address.octets(),
    }
    let difference = u128::from_be_bytes(bytes) ^ u128::from_be_bytes(*prefix);
    difference.leading_zeros() >= bits.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const REMOTE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 1));
    const UDP: u8 = 17;

    fn selector() -> Selector {
        let mut selector: Selector = bytemuck::Zeroable::zeroed();
        selector.family = libc::AF_INET as u16;
        selector
    }

    fn policy(selector: Selector, direction: u8) -> Policy {
        Policy { selector, priority: 10, direction, interferes: true, conditional: false }
    }

    fn cover(policies: &[Policy]) -> bool {
        Policies { policies: policies.to_vec(), ..Policies::default() }.covers(LOCAL, REMOTE, UDP, 6000, 5000)
    }

    #[test]
    fn a_policy_covers_what_its_selector_says() {
        let mut to = selector();
        to.dst[..4].copy_from_slice(&[198, 51, 100, 0]);
        to.dst_prefix = 24;
        assert!(cover(&[policy(to, XFRM_POLICY_OUT)]));
        assert!(!cover(&[policy(to, XFRM_POLICY_IN)]), "received is what the peer sends");
        for (change, covers) in [
            ((|it| it.dst_prefix = 32) as fn(&mut Selector), false),
            (|it| it.family = libc::AF_INET6 as u16, false),
            (|it| it.protocol = UDP, true),
            (|it| it.protocol = 6, false),
            (|it| (it.src_port, it.src_port_mask) = (Be16::new(6000), Be16::new(u16::MAX)), true),
            (|it| (it.src_port, it.src_port_mask) = (Be16::new(6001), Be16::new(u16::MAX)), false),
            (|it| (it.src_port, it.src_port_mask) = (Be16::new(6001), Be16::new(0xfff0)), true),
            (|it| (it.dst_port, it.dst_port_mask) = (Be16::new(5000), Be16::new(u16::MAX)), true),
            (|it| (it.dst_port, it.dst_port_mask) = (Be16::new(6000), Be16::new(u16::MAX)), false),
        ] {
            let mut changed = to;
            change(&mut changed);
            assert_eq!(cover(&[policy(changed, XFRM_POLICY_OUT)]), covers, "{changed:?}");
        }
    }

    #[test]
    fn the_first_priority_decides() {
        let all = policy(selector(), XFRM_POLICY_OUT);
        let bypass = |priority| Policy { priority, interferes: false, ..all };
        assert!(!cover(&[bypass(10)]));
        assert!(!cover(&[all, bypass(9)]) && cover(&[bypass(11), all]));
        assert!(cover(&[bypass(10), all]) && cover(&[all, bypass(10)]), "none is first");
        assert!(!cover(&[Policy { direction: 2, ..all }]), "forwarded");
    }

    #[test]
    fn what_only_some_packets_meet_protects_and_is_no_exception() {
        let all = policy(selector(), XFRM_POLICY_OUT);
        let some = Policy { conditional: true, priority: 1, ..all };
        assert!(cover(&[some]));
        assert!(cover(&[Policy { interferes: false, ..some }, all]));
    }

    #[test]
    fn what_no_policy_is_for_may_be_blocked() {
        let bypass = |direction| Policy { interferes: false, ..policy(selector(), direction) };
        let bypasses = vec![bypass(XFRM_POLICY_IN), bypass(XFRM_POLICY_OUT)];
        for block in [Defaults { in_: true, out: false }, Defaults { in_: false, out: true }] {
            let covers = |policies| Policies { policies, block }.covers(LOCAL, REMOTE, UDP, 6000, 5000);
            assert!(covers(Vec::new()) && !covers(bypasses.clone()), "{block:?}");
        }
    }

    #[test]
    fn layouts_are_the_kernels() {
        assert_eq!((size_of::<Selector>(), size_of::<PolicyInfo>(), size_of::<Header>()), (56, 168, 16));
    }
}
