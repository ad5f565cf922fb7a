//! The kernel's tunnels and sessions in the words of a configuration, from pictures of a kernel that never was.

use l2xdp::adopt::{self, Adopted, adopt};
use l2xdp::config::{Attach, Backend, Config, Encap, Mtu, render};
use l2xdp::l2tp::{KernelSession, KernelTunnel, PwType, SessionStats, TunnelEncap};
use l2xdp::observe::{Link, Observed, Route};
use l2xdp::plan;
use l2xdp_common::pseudowire::{L2Spec, Mss, Seq};
use std::collections::BTreeSet;
use std::net::SocketAddr;

const WAN: u32 = 2;
const BRIDGE: u32 = 3;
const BOND: u32 = 4;
/// The first session's device; the others follow.
const DEVICE: u32 = 10;

const V4: [&str; 2] = ["1.1.1.2", "2.2.2.2"];
const V6: [&str; 2] = ["2001:db8:1::2", "2001:db8:2::2"];

fn udp(ends: [&str; 2]) -> TunnelEncap {
    let ipv6 = ends == V6;
    let [local, remote] = ends.map(|end| end.parse().unwrap());
    TunnelEncap::Udp {
        local: SocketAddr::new(local, 6000),
        remote: SocketAddr::new(remote, 5000),
        udp_csum: false,
        udp6_csum_tx: ipv6,
        udp6_csum_rx: ipv6,
    }
}

fn ip(ends: [&str; 2]) -> TunnelEncap {
    let [local, remote] = ends.map(|end| end.parse().unwrap());
    TunnelEncap::Ip { local, remote }
}

fn tunnel(tunnel_id: u32, encap: TunnelEncap) -> KernelTunnel {
    KernelTunnel { tunnel_id, peer_tunnel_id: tunnel_id + 1000, version: 3, encap, using_ipsec: false }
}

fn session(tunnel_id: u32, session_id: u32) -> KernelSession {
    KernelSession {
        tunnel_id,
        session_id,
        peer_tunnel_id: tunnel_id + 1000,
        peer_session_id: session_id + 1000,
        pw_type: PwType::Eth,
        cookie: Vec::new(),
        peer_cookie: Vec::new(),
        l2spec: Some(L2Spec::Default),
        seq: Seq::default(),
        lns_mode: false,
        ifname: Some(format!("l2tpeth{session_id}")),
        using_ipsec: false,
        stats: SessionStats::default(),
    }
}

/// A kernel with these tunnels, a way to each peer by an interface of MTU 1500, and a device of that MTU for each session.
fn observed(tunnels: &[KernelTunnel], sessions: &[KernelSession]) -> Observed {
    let mut observed = Observed::default();
    let mut add = |ifindex, name: &str, bridge| {
        let link =
            Link { ifindex, name: name.to_owned(), mtu: 1500, running: true, bridge, ..Link::default() };
        observed.links.insert(ifindex, Link { mac: Some([2, 0, 0, 0, 0, ifindex as u8]), ..link });
    };
    add(WAN, "eth0", false);
    add(BRIDGE, "br0", true);
    add(BOND, "bond0", false);
    for (ifindex, session) in (DEVICE..).zip(sessions) {
        add(ifindex, session.ifname.as_deref().unwrap(), false);
    }
    for (ifindex, session) in (DEVICE..).zip(sessions) {
        observed.l2tp.sessions.insert(session.key(), session.clone());
        observed.kernel_devices.insert(session.key(), ifindex);
    }
    for tunnel in tunnels {
        observed.l2tp.tunnels.insert(tunnel.tunnel_id, tunnel.clone());
        if let Ok(tunnel) = adopt::tunnel(tunnel) {
            let route = Route { ifindex: WAN, gateway: None, mtu: None, local: false, ttl: 64 };
            observed.routes.insert(plan::query(&tunnel), Ok(route));
        }
    }
    observed
}

fn all(observed: &Observed) -> Adopted {
    adopt(observed, &BTreeSet::new(), Mss::Auto)
}

/// Of one session in a tunnel over UDP: what keeps it, if anything does.
fn reason(change: impl Fn(&mut KernelSession, &mut Observed)) -> Option<String> {
    let mut changed = session(1, 7);
    let mut observed = observed(&[tunnel(1, udp(V4))], std::slice::from_ref(&changed));
    change(&mut changed, &mut observed);
    observed.l2tp.sessions.insert(changed.key(), changed.clone());
    let adopted = all(&observed);
    let [tunnel] = adopted.config.tunnels.as_slice() else { panic!("{adopted:?}") };
    assert_eq!(tunnel.sessions.len() + adopted.kept.len(), 1, "neither lost nor doubled");
    adopted.kept.first().map(|kept| {
        assert_eq!(kept.session, changed);
        kept.reason.clone()
    })
}

#[test]
fn a_session_has_the_words_of_a_configuration() {
    let kernel = KernelSession { cookie: vec![1, 2, 3, 4], peer_cookie: vec![8; 8], ..session(1, 7) };
    let adopted = all(&observed(&[tunnel(1, udp(V4))], &[kernel]));
    assert_eq!(adopted.kept, []);
    let [tunnel] = adopted.config.tunnels.as_slice() else { panic!("{adopted:?}") };
    let ids = (tunnel.tunnel_id, tunnel.peer_tunnel_id, tunnel.udp_sport, tunnel.udp_dport);
    assert_eq!((ids, tunnel.backend, tunnel.encap), ((1, 1001, 6000, 5000), Backend::Kernel, Encap::Udp));
    assert_eq!([tunnel.local, tunnel.remote].map(|address| address.to_string()), V4);
    let [session] = tunnel.sessions.as_slice() else { panic!("{tunnel:?}") };
    assert_eq!((session.session_id, session.peer_session_id), (7, 1007));
    assert_eq!(session.attach, Attach::Netdev { name: Some("l2tpeth7".into()), bridge: None });
    assert_eq!(session.pseudowire.cookie.bytes(), [1, 2, 3, 4]);
    assert_eq!(session.pseudowire.peer_cookie.bytes(), [8; 8]);
    assert_eq!(session.pseudowire.l2spec, L2Spec::Default);
}

#[test]
fn every_reason_is_told() {
    assert_eq!(reason(|_, _| {}), None);
    let told = |change: fn(&mut KernelSession, &mut Observed)| reason(change).unwrap_or_default();
    assert_eq!(told(|session, _| session.pw_type = PwType::Other(7)), "pseudowire type ppp");
    assert_eq!(told(|session, _| session.pw_type = PwType::Other(4)), "pseudowire type eth_vlan");
    assert_eq!(told(|session, _| session.using_ipsec = true), "an IPsec policy is bound to the tunnel");
    assert_eq!(told(|session, _| session.cookie = vec![1, 2, 3]), "a cookie of 3 bytes");
    assert_eq!(told(|session, _| session.peer_cookie = vec![0; 5]), "a cookie of 5 bytes");
    let elsewhere = told(|_, observed| observed.kernel_devices.clear());
    assert!(elsewhere.contains("l2tpeth7 when it was made") && elsewhere.contains("renamed"), "{elsewhere}");
    let gone = told(|_, observed| _ = observed.links.remove(&DEVICE));
    assert!(gone.contains("not in this namespace"), "{gone}");
    let unknown = told(|session, _| session.l2spec = None);
    assert!(unknown.contains("l2spec_type can't be told") && unknown.contains("l2tp_debugfs"), "{unknown}");
}

#[test]
fn sequence_numbers_are_the_plan_s_to_judge() {
    let seq = Seq { send: true, recv: true };
    assert_eq!(reason(|session, _| session.seq = Seq { send: true, recv: true }), None);
    let adopted = all(&observed(&[tunnel(1, udp(V4))], &[KernelSession { seq, ..session(1, 7) }]));
    assert_eq!(adopted.config.tunnels[0].sessions[0].pseudowire.seq, seq);
}

/// What `l2tp_eth_adjust_mtu` leaves of 1500 bytes.
fn driver_mtu(encap: &TunnelEncap, cookie: usize, l2spec: L2Spec) -> u32 {
    let outer = match encap {
        TunnelEncap::Udp { local, .. } => (if local.is_ipv4() { 20 } else { 40 }) + 8 + 4,
        TunnelEncap::Ip { local, .. } => {
            if local.is_ipv4() {
                20
            } else {
                40
            }
        }
    };
    let sublayer = if l2spec == L2Spec::Default { 4 } else { 0 };
    1500 - (outer + 4 + cookie as u32 + sublayer + 14)
}

#[test]
fn without_debugfs_the_device_s_mtu_tells_the_sublayer() {
    assert_eq!(driver_mtu(&udp(V4), 8, L2Spec::Default), 1438, "as seen of Linux 6.1");
    assert_eq!(driver_mtu(&ip(V6), 0, L2Spec::None), 1442, "as seen of Linux 6.1");
    for encap in [udp(V4), udp(V6), ip(V4), ip(V6)] {
        for cookie in [0, 4, 8] {
            for l2spec in [L2Spec::Default, L2Spec::None] {
                let kernel = KernelSession { cookie: vec![1; cookie], l2spec: None, ..session(1, 7) };
                let mut observed = observed(&[tunnel(1, encap)], &[kernel]);
                let told = |mtu: u32, observed: &mut Observed| {
                    observed.links.get_mut(&DEVICE).unwrap().mtu = mtu;
                    all(observed).config.tunnels[0].sessions.first().map(|session| session.pseudowire.l2spec)
                };
                let mtu = driver_mtu(&encap, cookie, l2spec);
                assert_eq!(told(mtu, &mut observed), Some(l2spec), "{encap:?}, a cookie of {cookie}");
                for other in [mtu - 8, mtu - 1, mtu + 1, mtu + 8, 1500] {
                    assert_eq!(told(other, &mut observed), None, "{encap:?}, MTU {other}");
                }
                observed.routes.clear();
                assert_eq!(told(mtu, &mut observed), None, "no route");
            }
        }
    }
}

#[test]
fn what_debugfs_says_needs_no_mtu() {
    assert_eq!(
        reason(|session, observed| {
            session.l2spec = Some(L2Spec::None);
            observed.routes.clear();
        }),
        None
    );
}

#[test]
fn an_mtu_is_fixed_if_somebody_chose_it() {
    for encap in [udp(V4), udp(V6), ip(V4), ip(V6)] {
        let mut observed = observed(&[tunnel(1, encap)], &[session(1, 7)]);
        let made_with = driver_mtu(&encap, 0, L2Spec::Default);
        for (mtu, expected) in [(made_with, Mtu::Auto), (1300, Mtu::Fixed(1300)), (9000, Mtu::Fixed(9000))] {
            observed.links.get_mut(&DEVICE).unwrap().mtu = mtu;
            assert_eq!(all(&observed).config.tunnels[0].sessions[0].mtu, expected, "{encap:?}, MTU {mtu}");
        }
    }
}

#[test]
fn a_bridge_is_named_and_a_bond_is_none() {
    let mut observed = observed(&[tunnel(1, udp(V4))], &[session(1, 7)]);
    for (controller, expected) in [(BRIDGE, Some("br0")), (BOND, None), (99, None)] {
        observed.links.get_mut(&DEVICE).unwrap().controller = Some(controller);
        let attach = &all(&observed).config.tunnels[0].sessions[0].attach;
        let expected = Attach::Netdev { name: Some("l2tpeth7".into()), bridge: expected.map(str::to_owned) };
        assert_eq!(*attach, expected);
    }
}

#[test]
fn a_device_has_the_name_it_has_now() {
    let mut observed = observed(&[tunnel(1, udp(V4))], &[session(1, 7)]);
    observed.links.get_mut(&DEVICE).unwrap().name = "renamed".into();
    let attach = &all(&observed).config.tunnels[0].sessions[0].attach;
    assert_eq!(*attach, Attach::Netdev { name: Some("renamed".into()), bridge: None });
}

#[test]
fn checksums_are_those_of_the_ip_version() {
    let with = |ends, udp_csum, udp6_csum_tx, udp6_csum_rx| {
        let TunnelEncap::Udp { local, remote, .. } = udp(ends) else { panic!("not UDP") };
        let encap = TunnelEncap::Udp { local, remote, udp_csum, udp6_csum_tx, udp6_csum_rx };
        let tunnel = adopt::tunnel(&tunnel(1, encap)).unwrap();
        (tunnel.checksum, tunnel.zero_csum6_rx)
    };
    assert_eq!(with(V4, false, false, false), (false, false));
    assert_eq!(with(V4, true, false, false), (true, false));
    assert_eq!(with(V6, false, false, false), (false, true));
    assert_eq!(with(V6, false, true, true), (true, false));
    assert_eq!(with(V6, false, false, true), (false, false));
}

#[test]
fn only_chosen_tunnels_are_taken() {
    let tunnels = [1, 2, 3].map(|id| tunnel(id, udp(if id == 2 { V6 } else { V4 })));
    let sessions = [(1, 7), (1, 8), (2, 9), (3, 10)].map(|(tunnel, id)| session(tunnel, id));
    let observed = observed(&tunnels, &sessions);
    let ids = |chosen: &[u32]| {
        let adopted = adopt(&observed, &chosen.iter().copied().collect(), Mss::Auto);
        let sessions = adopted.config.tunnels.iter().map(|tunnel| {
            let sessions = tunnel.sessions.iter().map(|session| session.session_id);
            (tunnel.tunnel_id, sessions.collect::<Vec<_>>())
        });
        sessions.collect::<Vec<_>>()
    };
    assert_eq!(ids(&[]), [(1, vec![7, 8]), (2, vec![9]), (3, vec![10])]);
    assert_eq!(ids(&[2]), [(2, vec![9])]);
    assert_eq!(ids(&[3, 1]), [(1, vec![7, 8]), (3, vec![10])]);
    assert_eq!(ids(&[4]), []);
}

#[test]
fn a_tunnel_of_version_2_keeps_its_sessions() {
    let old = KernelTunnel { version: 2, ..tunnel(1, udp(V4)) };
    let ppp = KernelSession { pw_type: PwType::Other(7), ..session(1, 7) };
    let adopted = all(&observed(&[old, tunnel(2, udp(V6))], &[ppp.clone(), session(2, 8)]));
    assert_eq!(adopted.kept.iter().map(|kept| &kept.session).collect::<Vec<_>>(), [&ppp]);
    assert_eq!(adopted.kept[0].reason, "L2TP version 2");
    assert_eq!(adopted.config.tunnels.iter().map(|tunnel| tunnel.tunnel_id).collect::<Vec<_>>(), [2]);
}

#[test]
fn what_is_kept_leaves_its_neighbours_alone() {
    let odd = KernelSession { cookie: vec![1], ..session(1, 8) };
    let adopted = all(&observed(&[tunnel(1, udp(V4))], &[session(1, 7), odd, session(1, 9)]));
    let taken: Vec<_> = adopted.config.tunnels[0].sessions.iter().map(|session| session.session_id).collect();
    assert_eq!((taken, adopted.kept.len()), (vec![7, 9], 1));
}

#[test]
fn what_is_adopted_can_be_written_and_read() {
    let tunnels = [udp(V4), udp(V6), ip(V4), ip(V6)];
    let tunnels: Vec<_> = (1..).zip(tunnels).map(|(id, encap)| tunnel(id, encap)).collect();
    let sessions = tunnels.iter().flat_map(|KernelTunnel { tunnel_id, .. }| {
        let first = tunnel_id * 10;
        let formats = [(0, L2Spec::Default, true), (4, L2Spec::None, false), (8, L2Spec::Default, false)];
        (first..).zip(formats).map(|(id, (cookie, l2spec, on))| KernelSession {
            cookie: vec![id as u8; cookie],
            l2spec: Some(l2spec),
            seq: Seq { send: on, recv: false },
            ..session(*tunnel_id, id)
        })
    });
    let adopted = all(&observed(&tunnels, &sessions.collect::<Vec<_>>()));
    assert_eq!(adopted.kept, []);
    let read = Config::parse("imported", &render(&adopted.config)).unwrap();
    assert_eq!(render(&read), render(&adopted.config));
    assert_eq!(read.tunnels.iter().map(|tunnel| tunnel.sessions.len()).collect::<Vec<_>>(), [3; 4]);
}
