//! Configurations that are written and read again: [`accept`] does both.

use super::super::keys::{ROOT, SESSION, TUNNEL, Table};
use super::super::{Backend, render};
use super::{SAMPLE, accept};

/// Every way to take one of each row: lines of a table, or nothing.
fn product(rows: &[&[&str]]) -> Vec<String> {
    rows.iter().fold(vec![String::new()], |texts, row| {
        let longer = |text: &String| row.iter().map(|line| format!("{text}{line}\n")).collect::<Vec<_>>();
        texts.iter().flat_map(longer).collect()
    })
}

const SESSION_START: &str = "[[tunnel.session]]\nsession_id = 4294967295\npeer_session_id = 1";

#[test]
fn every_tunnel_is_read_as_it_was_written() {
    const TOP: &[&str] = &["", "backend = 'kernel'"];
    const START: &[&str] = &["[[tunnel]]\ntunnel_id = 1\npeer_tunnel_id = 4294967295"];
    const BACKEND: &[&str] = &["", "backend = 'auto'", "backend = 'kernel'", "backend = 'standalone'"];
    const IP: &[&str] = &["encap = 'ip'"];
    const V4: &str = "local = '192.0.2.1'\nremote = '192.0.2.2'";
    const V6: &str = "local = '2001:db8::1'\nremote = '::1'";
    const PORTS: &[&str] = &["udp_sport = 1701\nudp_dport = 65535"];
    const CSUM: &[&str] = &["", "udp_csum = true", "udp_csum = false"];
    const CSUM6_TX: &[&str] = &["", "udp6_csum_tx = true", "udp6_csum_tx = false"];
    const CSUM6_RX: &[&str] = &["", "udp6_csum_rx = true", "udp6_csum_rx = false"];
    const TTL: &[&str] = &["", "ttl = 1", "ttl = 64", "ttl = 255"];
    const TOS: &[&str] = &["", "tos = 0", "tos = 4", "tos = 252", "tos = 'inherit'"];
    const SESSIONS: &[&str] = &["", SESSION_START];
    let texts = [
        product(&[TOP, START, BACKEND, &[V4], PORTS, CSUM, TTL, TOS, SESSIONS]),
        product(&[TOP, START, BACKEND, &[V6], PORTS, CSUM6_TX, CSUM6_RX, TTL, TOS, SESSIONS]),
        product(&[TOP, START, &BACKEND[..3], IP, &[V4, V6], TTL, TOS, SESSIONS]),
    ];
    for text in texts.concat() {
        accept(&text);
    }
}

#[test]
fn every_session_is_read_as_it_was_written() {
    const COOKIE: &[&str] = &["", "cookie = ''", "cookie = '00000000'", "cookie = '00ABcdef00000001'"];
    const SUBLAYER: &[&str] = &["", "l2spec_type = 'none'", "seq = 'send'", "seq = 'recv'", "seq = 'both'"];
    const ATTACH: &[&str] = &[
        "",
        "bridge = 'br0'\nmtu = 68",
        "netdev = 'l2x0'\nmtu = 'auto'",
        "name = 'l2x0'\nmtu = 9000\nbridge = 'br0'",
        "port = 'eth1'",
        "port = 'eth1'\nvlan = 1",
        "port = 'eth1.100'\nvlan = 4094",
    ];
    const MSS: &[&str] = &["", "mss = 'auto'", "mss = 'off'", "mss = 64", "mss = 65495"];
    let (tunnel, _) = SAMPLE.split_once("[[tunnel.session]]").unwrap();
    let peer_cookie: Vec<_> = COOKIE.iter().map(|line| line.replace("cookie", "peer_cookie")).collect();
    let peer_cookie: Vec<_> = peer_cookie.iter().map(String::as_str).collect();
    for session in product(&[&[SESSION_START], COOKIE, &peer_cookie, SUBLAYER, ATTACH, MSS]) {
        accept(&format!("{tunnel}{session}"));
    }
}

#[test]
fn names_that_need_care_in_toml() {
    for name in [r#""a\"b""#, r"'a\b'", r#""a'b\"c""#, r#""'''""#, r#""\"\"\"""#, "'#[x]='", "'é'", "'true'"]
    {
        accept(&SAMPLE.replace("\"l2x0\"", name));
        accept(&SAMPLE.replace("\"br0\"", name));
    }
}

/// All keys but those that exclude others, and one tunnel with as little as there can be.
const WRITTEN: &str = r#"backend = "kernel"

[[tunnel]]
tunnel_id = 1000
peer_tunnel_id = 2000
local = "2001:db8::1"
remote = "2001:db8::2"
udp_sport = 6000
udp_dport = 5000
udp6_csum_tx = false
udp6_csum_rx = false
ttl = 64
tos = 0x04

[[tunnel.session]]
session_id = 3000
peer_session_id = 4000
cookie = "0123456789abcdef"
peer_cookie = "00000001"
seq = "both"
netdev = "l2x0"
bridge = "br0"
mtu = 1400
mss = "off"

[[tunnel.session]]
session_id = 3001
peer_session_id = 4001
l2spec_type = "none"
port = "eth1"
vlan = 100

[[tunnel]]
tunnel_id = 1001
peer_tunnel_id = 2001
encap = "ip"
local = "192.0.2.1"
remote = "192.0.2.2"

[[tunnel.session]]
session_id = 3002
peer_session_id = 4002
"#;

#[test]
fn what_is_written() {
    assert_eq!(render(&accept(WRITTEN)), WRITTEN);
}

#[test]
fn defaults_are_not_written() {
    let text = SAMPLE.replace("encap", "backend = 'auto'\nudp_csum = false\ntos = 0\nencap");
    let text =
        text.replace("mtu", "seq = 'none'\nmtu").replace("cookie = \"0123456789abcdef\"", "cookie = ''");
    let written: Vec<_> = SAMPLE
        .lines()
        .filter(|line| !["encap", "cookie", "l2spec", "mtu", "mss"].iter().any(|key| line.starts_with(key)))
        .collect();
    assert_eq!(render(&accept(&text)), written.join("\n") + "\n");
}

#[test]
fn the_backend_is_written_where_it_holds() {
    let lines = |backends: [Backend; 2]| -> Vec<usize> {
        let mut config = accept(WRITTEN);
        config.tunnels[1].encap = config.tunnels[0].encap;
        for ((tunnel, backend), port) in config.tunnels.iter_mut().zip(backends).zip(6000..) {
            (tunnel.backend, tunnel.udp_sport, tunnel.udp_dport) = (backend, port, port);
        }
        let text = render(&config);
        let read: Vec<_> = accept(&text).tunnels.iter().map(|tunnel| tunnel.backend).collect();
        assert_eq!(read, backends, "{text}");
        text.lines().zip(1..).filter(|(line, _)| line.starts_with("backend")).map(|(_, at)| at).collect()
    };
    assert_eq!(lines([Backend::Kernel, Backend::Kernel]), [1]);
    assert_eq!(lines([Backend::Standalone, Backend::Standalone]), [1]);
    assert_eq!(lines([Backend::Auto, Backend::Auto]), [0; 0]);
    assert_eq!(lines([Backend::Standalone, Backend::Auto]), [4]);
    assert_eq!(lines([Backend::Standalone, Backend::Kernel]), [4, 35]);
}

#[test]
fn keys_are_in_the_order_of_the_document() {
    let mut table: &Table = &ROOT;
    let mut before = 0;
    for line in WRITTEN.lines().filter(|line| !line.is_empty()) {
        if let Some(next) = [&TUNNEL, &SESSION].into_iter().find(|next| next.header == line) {
            (table, before) = (next, 0);
            continue;
        }
        let (key, _) = line.split_once(' ').unwrap();
        let at = 1 + table.names().position(|name| name == key).unwrap();
        assert!(at > before, "{key}");
        before = at;
    }
}
