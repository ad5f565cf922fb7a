//! Files in which nothing is wrong.

use super::super::{Attach, Backend, Config, Encap, Mtu, Session, Tunnel};
use super::{SAMPLE, accept, ipv6, over_ip, with_line};
use l2xdp_common::pseudowire::{Cookie, L2Spec, Mss, Pseudowire, Seq, Tos};
use std::net::IpAddr;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn session(text: &str) -> Session {
    accept(text).tunnels.remove(0).sessions.remove(0)
}

#[test]
fn sample() {
    let pseudowire = Pseudowire {
        local: ip("1.1.1.2"),
        remote: ip("2.2.2.2"),
        udp_sport: 6000,
        udp_dport: 5000,
        peer_session_id: 4000,
        cookie: Cookie::new(&[0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef]).unwrap(),
        peer_cookie: Cookie::new(&[0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54, 0x32, 0x10]).unwrap(),
        l2spec: L2Spec::Default,
        ttl: 64,
        tos: Tos::Fixed(0),
        checksum: false,
        zero_csum6_rx: false,
        seq: Seq::default(),
        mss: Mss::Auto,
        vlan: None,
    };
    let session = Session {
        session_id: 3000,
        peer_session_id: 4000,
        attach: Attach::Netdev { name: Some("l2x0".into()), bridge: Some("br0".into()) },
        mtu: Mtu::Auto,
        pseudowire,
    };
    let tunnel = Tunnel {
        tunnel_id: 1000,
        peer_tunnel_id: 2000,
        local: ip("1.1.1.2"),
        remote: ip("2.2.2.2"),
        udp_sport: 6000,
        udp_dport: 5000,
        backend: Backend::Auto,
        encap: Encap::Udp,
        checksum: false,
        zero_csum6_rx: false,
        ttl: None,
        sessions: vec![session],
    };
    assert_eq!(accept(SAMPLE), Config { tunnels: vec![tunnel] });
}

#[test]
fn defaults_are_what_the_sample_says() {
    let defaults = ["encap", "l2spec_type", "mtu", "mss"];
    let short: Vec<_> =
        SAMPLE.lines().filter(|line| !defaults.iter().any(|key| line.starts_with(key))).collect();
    assert_eq!(accept(&short.join("\n")), accept(SAMPLE));
    let long = with_line(4, "backend = 'auto'\nudp_csum = false\ntos = 0");
    let long = long.replace("mtu = ", "seq = 'none'\nmtu = ");
    assert_eq!(accept(&format!("backend = 'auto'\n{long}")), accept(SAMPLE));
}

#[test]
fn every_value_of_a_session() {
    let of = |line, text: &str| session(&with_line(line, text));
    for (text, bytes) in [
        ("", &[][..]),
        ("cookie = ''", &[]),
        ("cookie = '01aBcDeF'", &[0x01, 0xab, 0xcd, 0xef]),
        ("cookie = '00000000ffffffff'", &[0, 0, 0, 0, 255, 255, 255, 255]),
    ] {
        assert_eq!(of(13, text).pseudowire.cookie.bytes(), bytes, "{text}");
    }
    assert_eq!(of(14, "peer_cookie = '00000001'").pseudowire.peer_cookie.bytes(), [0, 0, 0, 1]);
    assert_eq!(of(15, "l2spec_type = 'none'").pseudowire.l2spec, L2Spec::None);
    assert_eq!(of(18, "mtu = 68").mtu, Mtu::Fixed(68));
    assert_eq!(of(19, "mss = 'off'").pseudowire.mss, Mss::Off);
    for mss in [64, 65495] {
        assert_eq!(of(19, &format!("mss = {mss}")).pseudowire.mss, Mss::Fixed(mss));
    }
    assert_eq!(of(11, "session_id = 0xffff_ffff").session_id, u32::MAX);
}

#[test]
fn every_value_of_a_tunnel() {
    let of = |text| session(&with_line(4, text)).pseudowire;
    assert_eq!(of("tos = 'inherit'").tos, Tos::Inherit);
    assert_eq!(of("tos = 0xb8").tos, Tos::Fixed(0xb8));
    assert!(of("udp_csum = true").checksum);
}

#[test]
fn a_ttl_that_is_not_there_is_the_kernels() {
    for (text, tunnel, likely) in
        [("", None, 64), ("ttl = 1", Some(1), 1), ("ttl = 64", Some(64), 64), ("ttl = 255", Some(255), 255)]
    {
        let read = accept(&with_line(4, text)).tunnels.remove(0);
        assert_eq!((read.ttl, read.sessions[0].pseudowire.ttl), (tunnel, likely), "{text}");
    }
}

#[test]
fn the_backend_of_the_file_and_of_a_tunnel() {
    let of = |top: &str, text: &str| accept(&format!("{top}\n{}", with_line(4, text))).tunnels[0].backend;
    assert_eq!(of("backend = 'kernel'", ""), Backend::Kernel);
    assert_eq!(of("backend = 'standalone'", ""), Backend::Standalone);
    assert_eq!(of("backend = 'standalone'", "backend = 'kernel'"), Backend::Kernel);
    assert_eq!(of("backend = 'kernel'", "backend = 'auto'"), Backend::Auto);
    assert_eq!(of("", "backend = 'standalone'"), Backend::Standalone);
}

#[test]
fn a_tunnel_over_ip() {
    for (text, backend) in [("", Backend::Auto), ("backend = 'kernel'", Backend::Kernel)] {
        let tunnel = accept(&format!("{text}\n{}", over_ip())).tunnels.remove(0);
        assert_eq!((tunnel.encap, tunnel.backend), (Encap::Ip, backend));
        assert_eq!((tunnel.udp_sport, tunnel.udp_dport, tunnel.checksum), (0, 0, false));
        let pseudowire = tunnel.sessions[0].pseudowire;
        assert_eq!((pseudowire.udp_sport, pseudowire.udp_dport, pseudowire.checksum), (0, 0, false));
    }
    let tunnel = accept(&ipv6(&over_ip())).tunnels.remove(0);
    assert!(!tunnel.checksum && !tunnel.zero_csum6_rx);
    accept(&format!("backend = 'standalone'\n{}", over_ip().replace("encap", "backend = 'auto'\nencap")));
    let port = over_ip().replace("netdev = \"l2x0\"\nbridge = \"br0\"\nmtu = \"auto\"", "port = 'eth1'");
    assert_eq!(session(&port).attach, Attach::Port { name: "eth1".into(), vlan: None });
}

#[test]
fn sequence_numbers() {
    for (word, send, recv) in
        [("none", false, false), ("send", true, false), ("recv", false, true), ("both", true, true)]
    {
        let seq = session(&with_line(19, &format!("seq = '{word}'"))).pseudowire.seq;
        assert_eq!(seq, Seq { send, recv }, "{word}");
    }
    let neither = session(&with_line(15, "l2spec_type = 'none'\nseq = 'none'")).pseudowire;
    assert_eq!((neither.l2spec, neither.seq), (L2Spec::None, Seq::default()));
}

#[test]
fn a_netdev_by_each_of_its_names_or_none() {
    for key in ["name", "ifname"] {
        assert_eq!(accept(&with_line(16, &format!("{key} = 'l2x0'"))), accept(SAMPLE));
    }
    let bridged = session(&with_line(16, "")).attach;
    assert_eq!(bridged, Attach::Netdev { name: None, bridge: Some("br0".into()) });
    let alone = session(&SAMPLE.replace("netdev = \"l2x0\"\nbridge = \"br0\"", "")).attach;
    assert_eq!(alone, Attach::Netdev { name: None, bridge: None });
}

#[test]
fn a_port_and_its_vlan() {
    let port = |vlan: &str| {
        let lines = SAMPLE.lines().filter(|line| !line.starts_with("bridge") && !line.starts_with("mtu"));
        let text = lines.collect::<Vec<_>>().join("\n");
        session(&text.replace("netdev = \"l2x0\"", &format!("port = \"eth1\"\n{vlan}")))
    };
    let whole = port("");
    assert_eq!(whole.attach, Attach::Port { name: "eth1".into(), vlan: None });
    assert_eq!((whole.mtu, whole.pseudowire.vlan), (Mtu::Auto, None));
    for id in [1, 4094] {
        let tagged = port(&format!("vlan = {id}"));
        assert_eq!(tagged.attach, Attach::Port { name: "eth1".into(), vlan: Some(id) });
        assert_eq!(tagged.pseudowire.vlan, Some(id));
    }
}

#[test]
fn ipv6_has_checksums_unless_told_otherwise() {
    let tunnel = &accept(&ipv6(SAMPLE)).tunnels[0];
    assert_eq!((tunnel.local, tunnel.remote), (ip("2001:db8::1"), ip("fd00::2")));
    // What the file says, whether checksums are sent then, and whether messages without one are accepted.
    for (text, checksum, zero_csum6_rx) in [
        ("", true, false),
        ("udp6_csum_tx = true\nudp6_csum_rx = true", true, false),
        ("udp6_csum_tx = false", false, false),
        ("udp6_csum_rx = false", true, true),
        ("udp6_csum_tx = false\nudp6_csum_rx = false", false, true),
    ] {
        let tunnel = accept(&ipv6(&with_line(4, text))).tunnels.remove(0);
        let pseudowire = tunnel.sessions[0].pseudowire;
        assert_eq!((tunnel.checksum, tunnel.zero_csum6_rx), (checksum, zero_csum6_rx), "{text}");
        assert_eq!((pseudowire.checksum, pseudowire.zero_csum6_rx), (checksum, zero_csum6_rx), "{text}");
    }
}

#[test]
fn the_longest_mtu_fills_an_outer_packet() {
    // 65535 − 20 (IPv4) − 8 (UDP) − 8 (L2TP) − 8 (cookie) − 4 (L2SS) − 14 (Ethernet)
    assert_eq!(session(&with_line(18, "mtu = 65473")).mtu, Mtu::Fixed(65473));
    // 65535 − 20 (IPv4) − 4 (session id) − 8 (cookie) − 4 (L2SS) − 14 (Ethernet)
    assert_eq!(session(&over_ip().replace("\"auto\"\nmss", "65485\nmss")).mtu, Mtu::Fixed(65485));
}

#[test]
fn a_tunnel_without_sessions() {
    let (tunnel, _) = SAMPLE.split_once("[[tunnel.session]]").unwrap();
    assert_eq!(accept(tunnel).tunnels[0].sessions, []);
}

#[test]
fn loopback_addresses() {
    accept(&SAMPLE.replace("1.1.1.2", "127.0.0.1").replace("2.2.2.2", "127.0.0.2"));
}
