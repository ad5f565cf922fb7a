//! Tunnels and sessions as attributes of generic netlink (`linux/l2tp.h`), and back.

use super::{KernelSession, KernelTunnel, PwType, SessionStats, TunnelEncap};
use l2xdp_common::pseudowire::{L2Spec, Seq};
use netlink_packet_core::{
    DecodeError, Emitable, NLA_TYPE_MASK, NlaBuffer, NlasIterator, Parseable, ParseableParametrized,
};
use netlink_packet_generic::{GenlFamily, GenlHeader};
use netlink_packet_l2tp::{
    L2tpAttribute, L2tpCmd, L2tpEncapType, L2tpMessage, L2tpPwType, L2tpStatsAttribute,
};
use std::net::{IpAddr, SocketAddr};

/// `L2TP_ATTR_COOKIE`.
const COOKIE: u16 = 15;
/// `L2TP_ATTR_PEER_COOKIE`.
const PEER_COOKIE: u16 = 16;
/// The version of L2TP that we make tunnels of.
const VERSION: u8 = 3;

/// A message of the family. Unlike the crate's own it takes what the kernel takes: cookies of any length up to 8.
#[derive(Clone, Debug)]
pub(super) struct Message(pub(super) L2tpMessage);

impl GenlFamily for Message {
    fn family_name() -> &'static str {
        L2tpMessage::family_name()
    }

    fn command(&self) -> u8 {
        self.0.command()
    }

    fn version(&self) -> u8 {
        self.0.version()
    }
}

impl Emitable for Message {
    fn buffer_len(&self) -> usize {
        self.0.buffer_len()
    }

    fn emit(&self, buffer: &mut [u8]) {
        self.0.emit(buffer);
    }
}

impl ParseableParametrized<[u8], GenlHeader> for Message {
    fn parse_with_param(payload: &[u8], header: GenlHeader) -> Result<Self, DecodeError> {
        let mut message = L2tpMessage::new(header.cmd.into());
        for nla in NlasIterator::new(payload) {
            let nla: NlaBuffer<&[u8]> = nla?;
            message.attributes.push(match nla.kind() & NLA_TYPE_MASK {
                COOKIE => L2tpAttribute::Cookie(nla.value().to_vec()),
                PEER_COOKIE => L2tpAttribute::PeerCookie(nla.value().to_vec()),
                _ => L2tpAttribute::parse(&nla)?,
            });
        }
        Ok(Self(message))
    }
}

impl Message {
    pub(super) fn new(cmd: L2tpCmd, attributes: Vec<L2tpAttribute>) -> Self {
        let mut message = L2tpMessage::new(cmd);
        message.attributes = attributes;
        Self(message)
    }
}

/// What makes a tunnel.
pub(super) fn of_tunnel(tunnel: &KernelTunnel) -> Vec<L2tpAttribute> {
    let mut attributes = vec![
        L2tpAttribute::ConnId(tunnel.tunnel_id),
        L2tpAttribute::PeerConnId(tunnel.peer_tunnel_id),
        L2tpAttribute::ProtoVersion(VERSION),
    ];
    let (local, remote) = match tunnel.encap {
        TunnelEncap::Udp { local, remote, udp_csum, udp6_csum_tx, udp6_csum_rx } => {
            attributes.extend([
                L2tpAttribute::EncapType(L2tpEncapType::Udp),
                L2tpAttribute::UdpSport(local.port()),
                L2tpAttribute::UdpDport(remote.port()),
            ]);
            // Its presence means on, whatever its value.
            attributes.extend(udp_csum.then_some(L2tpAttribute::UdpCsum(1)));
            if local.is_ipv6() {
                attributes.extend((!udp6_csum_tx).then_some(L2tpAttribute::UdpZeroCsum6Tx));
                attributes.extend((!udp6_csum_rx).then_some(L2tpAttribute::UdpZeroCsum6Rx));
            }
            (local.ip(), remote.ip())
        }
        TunnelEncap::Ip { local, remote } => {
            attributes.push(L2tpAttribute::EncapType(L2tpEncapType::Ip));
            (local, remote)
        }
    };
    attributes.push(match local {
        IpAddr::V4(local) => L2tpAttribute::IpSaddr(local),
        IpAddr::V6(local) => L2tpAttribute::Ip6Saddr(local),
    });
    attributes.push(match remote {
        IpAddr::V4(remote) => L2tpAttribute::IpDaddr(remote),
        IpAddr::V6(remote) => L2tpAttribute::Ip6Daddr(remote),
    });
    attributes
}

/// A tunnel the kernel tells of; `None`: its socket is closed, with which it goes, or it is carried by something new.
pub(super) fn to_tunnel(attributes: &[L2tpAttribute]) -> Option<KernelTunnel> {
    let (mut local, mut remote, mut sport, mut dport) = (None::<IpAddr>, None::<IpAddr>, 0, 0);
    let (mut encap, mut udp_csum, mut zero_tx, mut zero_rx) = (None, false, false, false);
    let (mut tunnel_id, mut peer_tunnel_id, mut version) = (0, 0, 0);
    for attribute in attributes {
        match attribute {
            L2tpAttribute::ConnId(id) => tunnel_id = *id,
            L2tpAttribute::PeerConnId(id) => peer_tunnel_id = *id,
            L2tpAttribute::ProtoVersion(is) => version = *is,
            L2tpAttribute::EncapType(is) => encap = Some(*is),
            L2tpAttribute::IpSaddr(address) => local = Some((*address).into()),
            L2tpAttribute::IpDaddr(address) => remote = Some((*address).into()),
            L2tpAttribute::Ip6Saddr(address) => local = Some((*address).into()),
            L2tpAttribute::Ip6Daddr(address) => remote = Some((*address).into()),
            L2tpAttribute::UdpSport(port) => sport = *port,
            L2tpAttribute::UdpDport(port) => dport = *port,
            L2tpAttribute::UdpCsum(on) => udp_csum = *on != 0,
            L2tpAttribute::UdpZeroCsum6Tx => zero_tx = true,
            L2tpAttribute::UdpZeroCsum6Rx => zero_rx = true,
            _ => {}
        }
    }
    // An IPv6 socket with mapped addresses sends IPv4. Of its checksums the kernel does not tell: they are on by default.
    let (of_socket, remote) = (local?, remote?.to_canonical());
    let local = of_socket.to_canonical();
    let ipv6 = local.is_ipv6();
    let encap = match encap? {
        L2tpEncapType::Ip => TunnelEncap::Ip { local, remote },
        L2tpEncapType::Udp => TunnelEncap::Udp {
            local: SocketAddr::new(local, sport),
            remote: SocketAddr::new(remote, dport),
            udp_csum: udp_csum || local != of_socket,
            udp6_csum_tx: ipv6 && !zero_tx,
            udp6_csum_rx: ipv6 && !zero_rx,
        },
        _ => return None,
    };
    Some(KernelTunnel { tunnel_id, peer_tunnel_id, version, encap, using_ipsec: false })
}

/// What makes a session.
///
/// # Errors
/// A name that is none.
pub(super) fn of_session(session: &KernelSession) -> Result<Vec<L2tpAttribute>, DecodeError> {
    // Not to send a sublayer means the default one.
    let l2spec = match session.l2spec {
        Some(L2Spec::None) => 0,
        Some(L2Spec::Default) | None => 1,
    };
    let mut attributes = vec![
        L2tpAttribute::ConnId(session.tunnel_id),
        L2tpAttribute::SessionId(session.session_id),
        L2tpAttribute::PeerSessionId(session.peer_session_id),
        L2tpAttribute::PwType(L2tpPwType::Eth),
        L2tpAttribute::L2SpecType(l2spec),
    ];
    for (cookie, bytes) in [
        (L2tpAttribute::cookie as fn(_) -> _, &session.cookie),
        (L2tpAttribute::peer_cookie as fn(_) -> _, &session.peer_cookie),
    ] {
        if !bytes.is_empty() {
            attributes.push(cookie(bytes.clone())?);
        }
    }
    // Their values count, but only 1 is asked for.
    attributes.extend(session.seq.send.then_some(L2tpAttribute::SendSeq(1)));
    attributes.extend(session.seq.recv.then_some(L2tpAttribute::RecvSeq(1)));
    if let Some(name) = &session.ifname {
        attributes.push(L2tpAttribute::if_name(name)?);
    }
    Ok(attributes)
}

/// A session the kernel tells of; without its sublayer, which it does not tell.
pub(super) fn to_session(attributes: &[L2tpAttribute]) -> KernelSession {
    let mut session = KernelSession {
        tunnel_id: 0,
        session_id: 0,
        peer_tunnel_id: 0,
        peer_session_id: 0,
        pw_type: PwType::Eth,
        cookie: Vec::new(),
        peer_cookie: Vec::new(),
        l2spec: None,
        seq: Seq::default(),
        lns_mode: false,
        ifname: None,
        using_ipsec: false,
        stats: SessionStats::default(),
    };
    for attribute in attributes {
        match attribute {
            L2tpAttribute::ConnId(id) => session.tunnel_id = *id,
            L2tpAttribute::PeerConnId(id) => session.peer_tunnel_id = *id,
            L2tpAttribute::SessionId(id) => session.session_id = *id,
            L2tpAttribute::PeerSessionId(id) => session.peer_session_id = *id,
            L2tpAttribute::PwType(L2tpPwType::Eth) => session.pw_type = PwType::Eth,
            L2tpAttribute::PwType(other) => session.pw_type = PwType::Other((*other).into()),
            L2tpAttribute::Cookie(bytes) => session.cookie.clone_from(bytes),
            L2tpAttribute::PeerCookie(bytes) => session.peer_cookie.clone_from(bytes),
            L2tpAttribute::SendSeq(on) => session.seq.send = *on != 0,
            L2tpAttribute::RecvSeq(on) => session.seq.recv = *on != 0,
            L2tpAttribute::LnsMode(on) => session.lns_mode = *on != 0,
            L2tpAttribute::IfName(name) => session.ifname = Some(name.to_string_lossy().into_owned()),
            L2tpAttribute::UsingIpsec(on) => session.using_ipsec = *on != 0,
            L2tpAttribute::Stats(stats) => session.stats = to_stats(stats),
            _ => {}
        }
    }
    session
}

fn to_stats(attributes: &[L2tpStatsAttribute]) -> SessionStats {
    let mut stats = SessionStats::default();
    for attribute in attributes {
        match *attribute {
            L2tpStatsAttribute::TxPackets(count) => stats.tx_packets = count,
            L2tpStatsAttribute::TxBytes(count) => stats.tx_bytes = count,
            L2tpStatsAttribute::TxErrors(count) => stats.tx_errors = count,
            L2tpStatsAttribute::RxPackets(count) => stats.rx_packets = count,
            L2tpStatsAttribute::RxBytes(count) => stats.rx_bytes = count,
            L2tpStatsAttribute::RxErrors(count) => stats.rx_errors = count,
            L2tpStatsAttribute::RxSeqDiscards(count) => stats.rx_seq_discards = count,
            L2tpStatsAttribute::RxOosPackets(count) => stats.rx_oos_packets = count,
            L2tpStatsAttribute::RxCookieDiscards(count) => stats.rx_cookie_discards = count,
            L2tpStatsAttribute::RxInvalid(count) => stats.rx_invalid = count,
            _ => {}
        }
    }
    stats
}
